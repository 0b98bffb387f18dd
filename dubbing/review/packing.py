"""What one proxy is: its frames, what lies on both sides, its panes and its sound, and the name made of all that.

Pictures and sound stream. Knows neither files made of them nor who asks (`proxy`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.artifacts.sound import DubSound, Sound, SourceSound
from dubbing.artifacts.tracks import load_tracks
from dubbing.errors import InputError, MediaError, OutputError
from dubbing.review.library import Library, Shown
from dubbing.review.panes import DIFF_GAIN, VERSION, Box, Painter, followed, laid, layout_of, mouth_path, mouth_size
from dubbing.review.sides import Cover, Patches, covers, looked_at, rendered_frames, stretch
from dubbing.store import key_of

__all__ = ["SOUND_HZ", "ProxyPlan", "Sides", "aspect_of", "one_frame", "played", "sides_of"]

SOUND_HZ = 48_000


@dataclass(frozen=True)
class Sides:
    """What a proxy will show. name: 24 hex digits of all it depends on; first, last: frames of the title; a, b: what
    lies over the source; faces: tracks of the faces that are re-rendered, with the folder of their patches (None where
    no take changes one); face: the track whose mouth is looked at throughout, None: of whoever is re-rendered."""

    name: str
    shown: Shown
    video: Path
    audio: Path
    first: int
    last: int
    a: tuple[Cover, ...]
    b: tuple[Cover, ...]
    faces: tuple[tuple[str, Path | None], ...]
    face: str | None


def sides_of(library: Library, shown: Shown, a: str, b: str, face: str | None = None) -> Sides:
    """Quick: no film is opened. face: the track whose mouth is looked at, None: whoever's is re-rendered at each frame.

    Raises InputError where a side is no take of the shot or the face is none of theirs, MediaError: a file is gone.
    """
    first, last = stretch(shown)
    over_a = covers(library, shown, a, first, last)
    over_b = over_a if a == b else covers(library, shown, b, first, last)
    take, main = looked_at(shown, (a, b)), shown.row["face"]
    faces: tuple[tuple[str, Path | None], ...] = ((main, None),) if main else ()
    if take is not None:
        faces = tuple((f.track, take.folder / f.folder) for f in take.faces)
    if face is not None and face not in dict(faces):
        raise InputError(
            f"{shown.step.shot.id} re-renders no face {face!r}; it has: {', '.join(dict(faces)) or 'none'}."
        )
    video, audio = library.job(*shown.key[:2]).film(shown.title), Path(library.store.local(shown.dub.audio))
    try:
        heard = audio.stat()
    except OSError as e:
        raise MediaError(
            f"{audio} cannot be read ({e.strerror}); put the dub's sound back where the manifest says."
        ) from e
    name = key_of(
        "proxy", VERSION, shown.step.faces.key, first, last, [t for t, _ in faces], face,
        take.id if take is not None and len(faces) > 1 else None, heard.st_size, heard.st_mtime_ns,
        [[(c.take, c.folder.name, c.first, c.last) for c in side] for side in (over_a, over_b)],
    )[:24]  # fmt: skip
    return Sides(name, shown, video, audio, first, last, over_a, over_b, faces, face)


class ProxyPlan:
    """How a proxy is drawn. Raises MediaError where the film cannot be opened."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.name = sides, sides.name
        self.info = media.probe(sides.video)
        self.size = self.info.upright_size
        line = sides.shown.line
        self.mouths, self.tracks = self._mouths(line.rate)
        self.layout = layout_of(self.size, aspect_of(self.info), self._wh)
        self.facts: Mapping[str, Any] = self._facts()

    def _mouths(self, rate: Fraction) -> tuple[list[Box] | None, list[str]]:
        """Of each frame what is shown around a mouth, and the track whose it is."""
        sides = self.sides
        known = {t.id: t for t in load_tracks(sides.shown.step.faces.folder)} if sides.faces else {}
        faces = [(known[name], folder) for name, folder in sides.faces if name in known]
        self._wh = mouth_size([track for track, _ in faces], self.size) if faces else None
        if self._wh is None:
            return None, []
        largest = max(track.height_px for track, _ in faces)
        looked = [f for f in faces if sides.face in (None, f[0].id)]
        paths = []
        for track, _ in looked:
            w, h = (max(2, round(side * track.height_px / largest / 2) * 2) for side in self._wh)
            paths.append(mouth_path(track, sides.first, sides.last, self.size, rate, (w, h)))
        who_N = np.zeros(sides.last - sides.first, int)
        if len(looked) > 1:
            who_N = followed([rendered_frames(folder) for _, folder in looked if folder], sides.first, sides.last)
        return [paths[k][n] for n, k in enumerate(who_N)], [looked[k][0].id for k in who_N]

    @property
    def frames(self) -> int:
        return self.sides.last - self.sides.first

    def pictures(self, first: int, last: int, threads: int = 0) -> Generator[np.ndarray, None, None]:
        """Packed pictures of frames [first, last), uint8 (H, W, 3) BGR, each good until the next. Raises MediaError."""
        sides = self.sides
        a = Patches(sides.a, first, last)
        b = Patches(sides.b, first, last, a)
        painter = Painter(self.layout, self.size)
        count = 0
        try:
            for picture in media.read(sides.video, sides.shown.line, first, last, threads=threads):
                mouth = self.mouths[picture.frame - sides.first] if self.mouths else None
                yield painter.draw(picture, a.at(picture.frame), b.at(picture.frame), mouth)
                count += 1
        finally:
            a.close()
            b.close()
        if count != last - first:
            raise MediaError(
                f"{sides.video} shows {count} of the {last - first} frames from frame {first} on; it has changed since "
                "its run."
            )

    def sound(self) -> Iterator[np.ndarray]:
        """Blocks float32 (T, 2) at SOUND_HZ: the source's sound, silence where it has none, and the dub's."""
        sides, line = self.sides, self.sides.shown.line
        start, end = line.time(sides.first), line.time(sides.last)
        step, title, dub = sides.shown.step, sides.shown.title, sides.shown.dub
        own = played(step.sound, DubSound) if dub.dialogue is None else {}
        right = media.sound_between(sides.audio, start, end, SOUND_HZ, **own)
        if self.info.audio:
            apart = title.original is not None and title.original.dialogue is not None
            own = played(step.source_sound, SourceSound) if step.source_sound and not apart else {}
            return _paired(media.sound_between(sides.video, start, end, SOUND_HZ, **own), right)
        return (np.stack([np.zeros_like(block), block], 1) for block in right)

    def _facts(self) -> dict[str, Any]:
        """What a page needs to draw the proxy, ready for JSON.

        layout: width, height, panes {name: [x, y, w, h]}, diff_gain, mouth_scale; first, last: frames of the title;
        pts_s: seconds at which each is shown, from the file's start; duration_s; mouth_boxes: per frame, upright pixels
        of the source, null without a face; size: [w, h] of those; mouths: whose they are, [first frame, one after the
        last, track], ...; faces: the tracks that are re-rendered, each of which may be asked for by its name.
        """
        sides, layout, line = self.sides, self.layout, self.sides.shown.line
        start = float(line.time(sides.first))
        return {
            "layout": {
                "width": layout.width, "height": layout.height,
                "panes": {n: list(box) for n, box in layout.panes.items()},
                "diff_gain": DIFF_GAIN, "mouth_scale": layout.mouth_scale,
            },
            "first": sides.first, "last": sides.last,
            "pts_s": [round(float(t) - start, 6) for t in line.times_s(sides.first, sides.last)],
            "duration_s": round(float(line.time(sides.last)) - start, 6),
            "mouth_boxes": [list(b) for b in self.mouths] if self.mouths else None,
            "size": list(self.size), "mouths": self._runs(),
            "faces": [name for name, _ in sides.faces] if self.mouths else [],
        }  # fmt: skip

    def _runs(self) -> list[list[Any]]:
        """Whose mouth is shown: [first frame, one after the last, track] of each stretch, in the film's order."""
        names = np.array(self.tracks)
        cuts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)] if len(names) else []
        first = self.sides.first
        return [[first + a, first + b, self.tracks[a]] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


def played(folder: Path, kind: type[Sound]) -> dict[str, Any]:
    """What of a file is played: the track that was listened to; of stereo that cancels itself, the channel."""
    try:
        sound = kind.read(folder)
    except (OSError, ValueError, OutputError):  # of an earlier version
        return {}
    two = sound.channels is not None and max(sound.channels) < 2
    return {"stream_index": sound.stream, "channels": sound.channels if two else None}


def one_frame(library: Library, shown: Shown, frame: int) -> tuple[np.ndarray, float]:
    """A frame as the master would show it, upright BGR, and the width of one of its pixels over the height.

    Raises MediaError.
    """
    video = library.job(*shown.key[:2]).film(shown.title)
    patches = Patches(covers(library, shown, "current", frame, frame + 1), frame, frame + 1)
    try:
        picture = next(media.read(video, shown.line, frame, frame + 1), None)
        if picture is None:
            raise MediaError(f"{video} no longer has frame {frame}; it has changed since its run.")
        return laid(picture.bgr(), patches.at(frame)), float(aspect_of(media.probe(video)))
    finally:
        patches.close()


def aspect_of(info: media.MediaInfo) -> Any:
    """Width over height of one upright pixel as shown, a Fraction. Raises MediaError without a picture."""
    video = info.video
    if video is None:
        raise MediaError(f"{info.path} has no video stream.")
    return 1 / video.sample_aspect if video.rotation_deg in (90, 270) else video.sample_aspect


def _paired(left: Iterator[np.ndarray], right: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Two sounds of one length as blocks (T, 2)."""
    held = [np.zeros(0, np.float32), np.zeros(0, np.float32)]
    while True:
        for n, blocks in enumerate((left, right)):
            if not len(held[n]):
                held[n] = next(blocks, held[n])
        count = min(len(held[0]), len(held[1]))
        if not count:
            return
        yield np.stack([held[0][:count], held[1][:count]], 1)
        held = [h[count:] for h in held]
