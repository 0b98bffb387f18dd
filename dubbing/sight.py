"""What is seen of a take: one rendered face looked at as a viewer would, while its pictures are in memory.

Each patch is laid over the crop of the source around the whole face. There the mesh is found again (never taken from
what was wanted), metrics of single frames are asked (`dubbing.metrics`), and some moments are drawn for the contact
sheet. What was seen lies beside the patches, so that whoever scores a take needs no picture. Of a long shot each window
begins with a tracker that knows no face; so it is wherever the pictures come from. It knows no stage and no expert.

Axes: N frames of the track, K frames in which a mesh was found, C numbers of a frame.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dubbing import media
from dubbing.analysis.sheet import Sheet
from dubbing.analysis.windows import windows
from dubbing.clock import Timeline
from dubbing.face import roll_deg
from dubbing.mesh import Meshes, MeshTracker, face_boxes, turn_of
from dubbing.metrics import FramePair, Metric, looks
from dubbing.records import Patch, Track

__all__ = [
    "HELD_BYTES",
    "Eye",
    "Seen",
    "Sight",
    "SourceCrops",
    "join",
    "load_seen",
    "look_again",
    "looked_at",
    "moments",
    "said_by",
]

Crop = np.ndarray | media.Planes
"""A part of a picture: uint8 (H, W, 3) BGR, or the film's own samples where they are 4:2:0."""

_SEEN, _MOMENTS = "seen.npz", "moments.npz"
_SAID = "said "
HELD_BYTES = 128_000_000  # of crops that wait for their patches in memory; more do on disk
_MOST_BYTES = 2_000_000_000  # on disk; what comes after them is decoded again
_READ_ON = 48  # frames to the next wanted one that are decoded rather than sought


@dataclass(eq=False)
class Seen:
    """What was seen of one face. at: places of the frames in the track, int64 (K,), rising; mesh_KP3: float32 (K, 478,
    3) pixels of the upright picture; said: what each metric of single frames said of the rendered ones, in their order,
    by `said_by`."""

    at: list[int] = field(default_factory=list)
    meshes: list[np.ndarray] = field(default_factory=list)
    said: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def over(self, track: Track) -> np.ndarray:
        """The meshes of a track with what was found instead where it was rendered, float32 (N, 478, 3)."""
        mesh_NP3 = track.mesh_NP3.copy()
        if self.at:
            mesh_NP3[self.at] = np.stack(self.meshes)
        return mesh_NP3

    def save(self, folder: Path) -> None:
        """Beside the patches of the face. Same numbers, same bytes."""
        mesh_KP3 = np.stack(self.meshes) if self.meshes else np.zeros((0, 478, 3), np.float32)
        said = {_SAID + name: np.array(rows, np.float64) for name, rows in self.said.items()}
        np.savez(folder / _SEEN, at=np.array(self.at, np.int64), mesh=mesh_KP3, **said)

    def add(self, other: Seen) -> None:
        """What was seen in later frames."""
        self.at += other.at
        self.meshes += other.meshes
        for name, rows in other.said.items():
            self.said.setdefault(name, []).extend(rows)


def load_seen(folder: Path) -> Seen | None:
    """What was seen of the face whose patches lie in a folder; None where nobody looked."""
    if not (folder / _SEEN).is_file():
        return None
    with np.load(folder / _SEEN) as data:
        said = {k.removeprefix(_SAID): list(map(tuple, data[k].tolist())) for k in data.files if k.startswith(_SAID)}
        return Seen(data["at"].tolist(), list(data["mesh"]), said)


def said_by(metric: Metric) -> str:
    """What a metric's numbers of single frames are kept by: another version says other numbers."""
    return f"{metric.name}@{metric.version}"


def moments(frames: np.ndarray) -> list[int]:
    """The frames that are drawn of all that are rendered, (M,), rising: eight, evenly spread."""
    return (
        [int(frames[n]) for n in np.linspace(0, len(frames) - 1, 10).round().astype(int)[1:-1]] if len(frames) else []
    )


class Sight:
    """Looks at the rendered frames of one face, in order. A context manager.

    meshes: where its tracker is lent from; drawn: frames that are drawn, where they are rendered; name: what the sheet
    calls the face; asked: metrics, of which those that look at single frames are asked; known: what was seen before,
    whose meshes are not looked for again.
    """

    def __init__(
        self, track: Track, line: Timeline, picture_wh: tuple[int, int], meshes: Meshes, asked: Sequence[Metric], *,
        name: str = "", drawn: Iterable[int] = (), known: Seen | None = None,
    ) -> None:  # fmt: skip
        self._track = track
        self._boxes = face_boxes(track.mesh_NP3, picture_wh)
        self.sheet = Sheet(name, line, drawn)
        self._asked = [metric for metric in asked if looks(metric)]
        self.seen = Seen(said={said_by(metric): [] for metric in self._asked})
        self._known = dict(zip(known.at, known.meshes, strict=True)) if known else None
        self._meshes = meshes
        self._turn = turn_of(float(np.median(roll_deg(track.mesh_NP3))))
        self._tracker: MeshTracker | None = None

    def box(self, frame: int) -> tuple[int, int, int, int]:
        """Where the crop of a frame of the film lies that it looks at: (x, y, width, height), all of one size."""
        return self._boxes[frame - self._track.start_frame]

    def crop(self, picture: media.Picture) -> Crop:
        """What lies in its box of a picture of the film."""
        return _crop(picture, self.box(picture.frame))

    def see(self, before: Crop, patch: Patch) -> None:
        """One rendered frame. before: its `crop` of the source."""
        n = patch.frame - self._track.start_frame
        x, y, _, _ = self._boxes[n]
        after: Crop
        if isinstance(before, media.Planes) and isinstance(patch.pixels, media.Planes):
            after = media.laid_over(before, patch, x, y)
        else:
            before = before.bgr if isinstance(before, media.Planes) else before
            after = media.composite(before, patch, x, y)
        found = self._found(n, after)
        was_P2 = self._track.mesh_NP3[n, :, :2] - (x, y)
        if found is not None:
            self.seen.at.append(n)
            self.seen.meshes.append(found)
        now_P2 = was_P2 if found is None else found[:, :2] - (x, y)
        pair = FramePair(patch.frame, before, after, was_P2, now_P2)
        for metric in self._asked:
            if numbers := tuple(metric.frame(pair)):
                self.seen.said[said_by(metric)].append(numbers)
        if self.sheet.wants(patch.frame):
            self.sheet.add(patch.frame, pair.before_HWC, pair.after_HWC, was_P2)

    def _found(self, n: int, after: Crop) -> np.ndarray | None:
        """The mesh of a frame in pixels of the picture, float32 (478, 3); None where no face is seen."""
        if self._known is not None:
            return self._known.get(n)
        if self._tracker is None:
            self._tracker = MeshTracker(self._meshes, self._turn)
        found = self._tracker.find(after)
        return None if found is None else (found + (*self._boxes[n][:2], 0)).astype(np.float32)

    def save(self, folder: Path, *, part: bool) -> None:
        """Beside the patches; part: of a window of the shot, with what it drew, for `join`."""
        self.seen.save(folder)
        if part:
            np.savez(folder / _MOMENTS, **self.sheet.columns)

    def forget(self) -> None:
        """Begin with a tracker that knows no face."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def __enter__(self) -> Sight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()


def looked_at(folders: Iterable[Path]) -> bool:
    """Whether somebody looked at the patches of all of these folders."""
    return all((folder / _SEEN).is_file() for folder in folders)


def join(folders: Sequence[Path], out: Path, sheet: Sheet) -> None:
    """What was seen in the windows of a shot, all of them `looked_at`, in their order, as if it had been seen at once;
    their moments go into the sheet."""
    whole = Seen()
    for folder in folders:
        part = load_seen(folder)
        assert part is not None
        whole.add(part)
        with np.load(folder / _MOMENTS) as data:
            sheet.columns |= {name: data[name] for name in data.files}
    whole.save(out)


def look_again(
    sight: Sight, folder: Path, source: Path, line: Timeline, shot: tuple[int, int], meant: frozenset[int]
) -> Iterator[int]:
    """Look at a finished take by decoding the film: yields each frame that was decoded. folder: of the patches; shot:
    its frames [start, end); meant: frames whose mouth is rendered. Raises what `media.read` and `media.read_patches`
    raise."""
    if not meant:
        return
    for begin, end in windows(*shot):
        first, last = max(begin, min(meant)), min(end, max(meant) + 1)
        sight.forget()
        if first >= last:
            continue
        patches = media.read_patches(folder, first, last)
        patch = next(patches, None)
        for picture in media.read(source, line, first, last, threads=1):
            yield picture.frame
            if patch is None or patch.frame != picture.frame:
                continue
            if patch.frame in meant:
                sight.see(sight.crop(picture), patch)
            patch = next(patches, None)


def _crop(picture: media.Picture, box: tuple[int, int, int, int]) -> Crop:
    """What lies in an even box of a picture."""
    return picture.planes(box) if picture.planar else picture.hold(box)


class SourceCrops:
    """Crops of the film for a `Sight`, taken as pictures pass by on their way to a generator, which may show many
    before the first patch comes. A context manager.

    box: where a frame's crop lies, all of one size; wanted: the frames of which there will be patches; still: whether
    all pictures are the same; scratch: where crops wait of which there are many, in a file without a name (None: the
    system's own). As soon as one cannot be written there, those that wait there give their room back, and no more do.
    """

    def __init__(
        self, source: Path, line: Timeline, box: Callable[[int], tuple[int, int, int, int]], wanted: Iterable[int], *,
        still: bool = False, scratch: Path | None = None,
    ) -> None:  # fmt: skip
        self._source, self._line, self._box = source, line, box
        self._wanted = set() if still else set(wanted)
        self._last = max(self._wanted, default=-1) + 1
        self._still = still
        self._picture: media.Picture | None = None
        self._scratch = scratch
        self._held: dict[int, Crop] = {}
        self._colour: Any = None  # of crops that wait in the file as samples
        self._file: Any = None
        self._places: dict[int, int] = {}
        self._free: list[int] = []
        self._slots = 0
        self._full = False
        self._again: Iterator[media.Picture] | None = None
        self._next = 0

    def watch(self, picture: media.Picture) -> None:
        """A picture of the film passes by; its crop is kept if it is wanted and was not kept yet."""
        frame = picture.frame
        if frame not in self._wanted:
            return
        box = self._box(frame)
        size = (3 * box[2] * box[3]) >> picture.planar
        if (len(self._held) + 1) * size <= HELD_BYTES:
            self._held[frame] = _crop(picture, box)
            self._wanted.discard(frame)
            return
        if self._full or not self._free and (self._slots + 1) * size > _MOST_BYTES:
            return
        kept = _crop(picture, box)
        self._colour, crop = (kept.colour, kept.both) if isinstance(kept, media.Planes) else (None, kept)
        slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, slot + 1)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._scratch)  # noqa: SIM115 - closed by __exit__
            done = 0
            while done < size:
                done += os.pwrite(self._file.fileno(), crop.data.cast("B")[done:], slot * size + done)
        except OSError:  # the patches need the room more than what only saves time
            self._full = True
            self._places.clear()
            if self._file is not None:
                with suppress(OSError):
                    self._file.truncate(0)
            return
        self._wanted.discard(frame)
        self._places[frame] = slot

    def take(self, frame: int) -> Crop:
        """The crop of a frame, once; frames rise. One that was not kept is decoded."""
        if (held := self._held.pop(frame, None)) is not None:
            return held
        _, _, width, height = box = self._box(frame)
        slot = self._places.pop(frame, None)
        if slot is None:
            self._wanted.discard(frame)
            return _crop(self._shown(frame), box)
        self._free.append(slot)
        crop = np.empty((height, width, 3) if self._colour is None else (height * 3 // 2, width), np.uint8)
        size, done = crop.nbytes, 0
        while done < size:
            part = os.pread(self._file.fileno(), size - done, slot * size + done)
            crop.reshape(-1)[done : done + len(part)] = np.frombuffer(part, np.uint8)
            done += len(part)
        return crop if self._colour is None else media.Planes(crop, self._colour)

    def _shown(self, frame: int) -> media.Picture:
        """A picture of the film, decoded again."""
        if self._still and self._picture is not None:
            return self._picture
        if self._again is None or not 0 <= frame - self._next <= _READ_ON:
            self._again = media.read(self._source, self._line, frame, max(self._last, frame + 1), threads=1)
        for picture in self._again:
            if picture.frame == frame:
                self._picture, self._next = picture, frame + 1
                return picture
        raise AssertionError(f"the film has no frame {frame}")

    def __enter__(self) -> SourceCrops:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class Eye:
    """Looks at one face while it is rendered: at each patch, over a crop that was taken as the picture passed by. A
    context manager.

    spans: frames [a, b) of the title in which the mouth is rendered, rising; window: the frames of a long shot that are
    rendered now, None for all; the rest as of `Sight` and `SourceCrops`.
    """

    def __init__(
        self, track: Track, line: Timeline, picture_wh: tuple[int, int], meshes: Meshes, asked: Sequence[Metric], *,
        source: Path, name: str, spans: Sequence[tuple[int, int]], window: tuple[int, int] | None = None,
        still: bool = False, scratch: Path | None = None,
    ) -> None:  # fmt: skip
        frames = np.concatenate([np.arange(a, b) for a, b in spans]) if spans else np.zeros(0, np.int64)
        self.sight = Sight(track, line, picture_wh, meshes, asked, name=name, drawn=moments(frames))
        now = frames if window is None else frames[(frames >= window[0]) & (frames < window[1])]
        self.crops = SourceCrops(source, line, self.sight.box, now.tolist(), still=still, scratch=scratch)

    def see(self, patch: Patch) -> None:
        """A patch with a mouth in it, as it will be read."""
        self.sight.see(self.crops.take(patch.frame), patch)

    def __enter__(self) -> Eye:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crops.__exit__(kind, value, trace)
        self.sight.__exit__(kind, value, trace)
