"""What one proxy is: its frames, what lies on both sides, its panes and its sound, and the name made of all that.

Pictures and sound stream. Knows neither files made of them nor who asks (`proxy`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.artifacts.tracks import load_tracks
from dubbing.errors import MediaError
from dubbing.review.library import Library, Shown
from dubbing.review.panes import DIFF_GAIN, VERSION, Painter, laid, layout_of, mouth_path
from dubbing.review.sides import Cover, Patches, covers, main_track, stretch
from dubbing.store import key_of

__all__ = ["SOUND_HZ", "ProxyPlan", "Sides", "one_frame", "sides_of"]

SOUND_HZ = 48_000


@dataclass(frozen=True)
class Sides:
    """What a proxy will show. name: 24 hex digits of all it depends on; first, last: frames of the title; a, b: what
    lies over the source; track: whose mouth is followed."""

    name: str
    shown: Shown
    video: Path
    audio: Path
    first: int
    last: int
    a: tuple[Cover, ...]
    b: tuple[Cover, ...]
    track: str | None


def sides_of(library: Library, shown: Shown, a: str, b: str) -> Sides:
    """Quick: no film is opened. Raises InputError where a side is no take of the shot, MediaError: a file is gone."""
    first, last = stretch(shown)
    over_a = covers(library, shown, a, first, last)
    over_b = over_a if a == b else covers(library, shown, b, first, last)
    track = main_track(shown, (a, b))
    video, audio = library.job(*shown.key[:2]).film(shown.title), Path(library.store.local(shown.dub.audio))
    try:
        heard = audio.stat()
    except OSError as e:
        raise MediaError(
            f"{audio} cannot be read ({e.strerror}); put the dub's sound back where the manifest says."
        ) from e
    name = key_of(
        "proxy", VERSION, shown.step.faces.key, first, last, track, heard.st_size, heard.st_mtime_ns,
        [[(c.take, c.folder.name, c.first, c.last) for c in side] for side in (over_a, over_b)],
    )[:24]  # fmt: skip
    return Sides(name, shown, video, audio, first, last, over_a, over_b, track)


class ProxyPlan:
    """How a proxy is drawn. Raises MediaError where the film cannot be opened."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.name = sides, sides.name
        self.info = media.probe(sides.video)
        self.size = self.info.upright_size
        line = sides.shown.line
        tracks = {t.id: t for t in load_tracks(sides.shown.step.faces.folder)} if sides.track else {}
        track = tracks.get(sides.track or "")
        self.mouths = mouth_path(track, sides.first, sides.last, self.size, line.rate) if track else None
        self.layout = layout_of(self.size, _aspect(self.info), self.mouths[0][2:] if self.mouths else None)
        self.facts: Mapping[str, Any] = self._facts()

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
        right = media.sound_between(sides.audio, start, end, SOUND_HZ)
        if self.info.audio:
            return _paired(media.sound_between(sides.video, start, end, SOUND_HZ), right)
        return (np.stack([np.zeros_like(block), block], 1) for block in right)

    def _facts(self) -> dict[str, Any]:
        """What a page needs to draw the proxy, ready for JSON.

        layout: width, height, panes {name: [x, y, w, h]}, diff_gain, mouth_scale; first, last: frames of the title;
        pts_s: seconds at which each is shown, from the file's start; duration_s; mouth_boxes: per frame, upright pixels
        of the source, null without a face; size: [w, h] of those; track: whose mouth it is, or null.
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
            "size": list(self.size), "track": sides.track if self.mouths else None,
        }  # fmt: skip


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
        return laid(picture.bgr(), patches.at(frame)), float(_aspect(media.probe(video)))
    finally:
        patches.close()


def _aspect(info: media.MediaInfo) -> Any:
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
