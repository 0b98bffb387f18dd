"""One clip, read once, as pieces of a data folder: a stage, so that both engines can spread clips over processes.

A clip that cannot be used is a result too, with its reason: it is not looked at again until it changes. It knows no
split, no shard and no other clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dubbing import experts, media
from dubbing.artifact import Artifact, File
from dubbing.dataset.pieces import Piece, chosen, pieces
from dubbing.dataset.reading import Sound, even
from dubbing.dataset.segment import Segment
from dubbing.dataset.shards import FPS, LEAD, PER_FRAME, Packed, Sample, write_shard
from dubbing.errors import MediaError
from dubbing.mesh import Detector, Meshes
from dubbing.stage import Resources, Scope, Stage
from dubbing.task import Inputs

__all__ = ["PIECES", "SEGMENT_FRAMES", "ClipInputs", "CutClip", "CutLimits", "Pieces", "write_pieces"]

PIECES = "pieces"  # the shard of one clip
SEGMENT_FRAMES = 60 * FPS  # after which the faces found so far are written


@dataclass(frozen=True)
class CutLimits:
    """The limits of the pieces of a clip."""

    size: int
    """Side of the face pictures in pixels."""
    min_face_px: float
    """Least height of a face."""
    shortest_s: float
    """Shorter pieces are left out."""
    longest_s: float
    """Longer stretches are cut."""
    crop: str | None = None
    """Whose boxes face pictures are, of `faces.CROPS`; None for the first."""


@dataclass(frozen=True)
class Pieces(Artifact):
    """The pieces of one clip; they lie as a shard in its folder, where there are any."""

    schema: ClassVar[str] = "dub.pieces.1"
    status: str
    """used, rejected or unreadable."""
    reason: str | None
    """Why it was not used."""
    text: str
    """What is wrong with an unreadable file."""
    pieces: tuple[Mapping[str, Any], ...]
    """`Piece.about` of each; of a title with its `speaker`."""
    left_out: Mapping[str, float]
    """Seconds that were left out, by reason."""


@dataclass(frozen=True)
class ClipInputs(Inputs):
    """The inputs of the stage `clip`. A file counts by size and time, because hashing a corpus costs hours."""

    clip: str
    """Id of the clip."""
    file: File
    """The clip; its content is its size and time."""
    limits: CutLimits
    """What the pieces are like."""


def write_pieces(out: Path, found: Iterable[tuple[dict[str, Any], Packed]], lost: Mapping[str, int]) -> Pieces:
    """Write the pieces of a clip as the shard of its folder. A MediaError that `found` raises leaves no shard.

    found: `Piece.about` and content of each piece; lost: frames left out, by reason, once `found` was read.
    """
    made: list[dict[str, Any]] = []

    def rows() -> Iterator[tuple[Sample, Packed]]:
        for about, packed in found:
            made.append(about)
            yield Sample(str(len(made)), "", "train", 0, ""), packed

    try:
        write_shard(out, PIECES, rows())
    except MediaError:
        for left in out.rglob("*.parquet"):
            left.unlink()
        raise
    if not made:
        (out / "shards" / f"{PIECES}.parquet").unlink()
    left_out = {reason: round(frames / FPS, 3) for reason, frames in sorted(lost.items()) if frames}
    reason = None if made else max(left_out, key=lambda r: (left_out[r], r), default="no_face")
    return Pieces("rejected" if reason else "used", reason, "", tuple(made), left_out)


class CutClip(Stage[ClipInputs, Pieces]):
    """The pieces of one clip, as `shards/pieces.parquet` of the folder where there are any."""

    name: ClassVar[str] = "clip"
    scope = Scope.TITLE
    bad_input_costs = "shot"
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def setup(self) -> None:
        self._detector, self._meshes = Detector(), Meshes()
        self._expert = experts.load("lips")

    def process(self, inputs: ClipInputs, out: Path, progress: Callable[[int], None]) -> Pieces:
        path, lost = inputs.file.path, Counter[str]()
        try:
            found = self._pieces(path, inputs.limits, lost, progress)
            return write_pieces(out, ((piece.about, piece.packed) for piece in found), lost)
        except MediaError as e:
            return _refused(path, e)

    def _pieces(
        self, path: Path, limits: CutLimits, lost: Counter[str], progress: Callable[[int], None]
    ) -> Iterator[Piece]:
        sound = Sound(path)
        scan = media.scan(path, threads=1)
        segment: Segment | None = None
        begun, count = 0, 0

        for picture in even(scan):
            if segment is None:
                segment = Segment(self._detector, self._meshes, picture.size, limits.size, limits.crop)
            segment.step(picture)
            count += 1
            progress(1)
            if count - begun >= SEGMENT_FRAMES:
                yield from self._of(segment, count - begun, sound, limits, lost)
                sound.forget(count * PER_FRAME - LEAD)
                segment, begun = None, count
        if segment is not None:
            yield from self._of(segment, count - begun, sound, limits, lost)

    def _of(
        self, segment: Segment, frames: int, sound: Sound, limits: CutLimits, lost: Counter[str]
    ) -> Iterator[Piece]:
        """The pieces of a finished segment."""
        bounds = (limits.min_face_px, limits.shortest_s, limits.longest_s)
        runs = segment.finish()
        lost["no_face"] += frames - len({f for r in runs for f in range(r.start, r.end)})
        for run in chosen(runs, sound, self._expert, lost):
            yield from pieces(run, sound, self._expert, limits.size, bounds, lost)

    def close(self) -> None:
        self._detector.close()
        self._meshes.close()


def _refused(path: Path, error: MediaError) -> Pieces:
    """Why a file gave nothing: it lacks a stream, or it is broken."""
    reason = "unreadable"
    try:
        info = media.probe(path)
    except MediaError:
        pass
    else:
        reason = "no_picture" if info.video is None else "no_sound" if not info.audio else "unreadable"
    broken = reason == "unreadable"
    return Pieces("unreadable" if broken else "rejected", reason, str(error) if broken else "", (), {})
