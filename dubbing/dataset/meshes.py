"""The mesh of every face picture of a data folder, found once and kept beside the shards.

    DIR/coefficients/meshes/<shard>.parquet   a row (row group) per clip, in the shard's order

A clip in which no mesh is found in over a quarter of the frames has a row without one. Single gaps are bridged.

Axes: N frames, P = 468 points.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.dataset.linear_face import SURFACE
from dubbing.dataset.shards import Dataset, Sample
from dubbing.face import canonical
from dubbing.mesh import Meshes, MeshTracker
from dubbing.store import output_error
from dubbing.store.folder import PART

__all__ = [
    "FIVE",
    "Faces",
    "Finder",
    "faces_of",
    "find_meshes",
    "of_shard",
    "read_faces",
    "stored",
    "told",
    "write_rows",
]

T = TypeVar("T")

FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
"""The eyes, the nose's tip and the mouth's corners, as SadTalker is shown them: points whose mean each is."""
_UNIT = 1e-4  # inter-ocular distances that a stored number counts
_ABSENT = 0.25
_MARGIN = 0.15  # of the picture's side, around it
_ROW = pa.schema(
    [
        ("id", pa.string()), ("digest", pa.string()), ("frames", pa.int32()),
        ("shapes", pa.list_(pa.int16())), ("poses", pa.list_(pa.float32())), ("five", pa.list_(pa.float32())),
    ],
    metadata={"schema": "dub.meshes.1"},
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Faces:
    """The meshes of one clip. shapes_NP3: canonical, float32; poses_N6: pitch, yaw and roll in radians (as rotations
    about x, then y, then z), then where the eyes' middle lies beside the picture's, x and y, and the inter-ocular
    distance, all three in parts of the picture's side; five_N52: `FIVE` in pixels of the picture."""

    shapes_NP3: np.ndarray
    poses_N6: np.ndarray
    five_N52: np.ndarray


class Finder:
    """Finds meshes in face pictures. To be closed."""

    def __init__(self) -> None:
        self._pool = Meshes()

    def __call__(self, faces_NHWC: np.ndarray) -> Faces | None:
        """The meshes of one face's pictures in order, uint8 BGR (N, S, S, 3); None where there are too few."""
        side = faces_NHWC.shape[1]
        edge = round(_MARGIN * side)
        tracker = MeshTracker(self._pool)
        try:
            found = [
                tracker.find(cv2.copyMakeBorder(face, edge, edge, edge, edge, cv2.BORDER_REPLICATE))
                for face in faces_NHWC
            ]
        finally:
            tracker.close()
        at = np.flatnonzero([mesh is not None for mesh in found])
        if len(at) < max(1.0, (1 - _ABSENT) * len(found)):
            return None
        seen = np.stack([mesh for mesh in found if mesh is not None]) - np.array([edge, edge, 0], np.float32)
        place = np.interp(np.arange(len(found)), at, np.arange(len(at)))
        low = np.floor(place).astype(int)
        part = (place - low)[:, None, None]
        return faces_of(seen[low] * (1 - part) + seen[np.minimum(low + 1, len(at) - 1)] * part, side)

    def close(self) -> None:
        self._pool.close()


def faces_of(mesh_NP3: np.ndarray, side_px: int) -> Faces:
    """What is kept of meshes (N, 478, 3) in pixels of pictures of that side."""
    shapes, (scale, turn, shift) = canonical(mesh_NP3)
    angles = np.stack(
        [
            np.arctan2(turn[:, 2, 1], turn[:, 2, 2]),
            np.arctan2(-turn[:, 2, 0], np.hypot(turn[:, 2, 1], turn[:, 2, 2])),
            np.arctan2(turn[:, 1, 0], turn[:, 0, 0]),
        ],
        1,
    )
    place = np.concatenate([shift[:, :2] / side_px - 0.5, scale[:, None] / side_px], 1)
    five = np.stack([np.asarray(mesh_NP3)[:, list(points), :2].mean(1) for points in FIVE], 1)
    return Faces(
        shapes[:, :SURFACE].astype(np.float32), np.concatenate([angles, place], 1).astype(np.float32),
        five.astype(np.float32),
    )  # fmt: skip


def find_meshes(data: Dataset, folder: Path, on_clip: Callable[[int, int], None] = lambda done, of: None) -> None:
    """Find the meshes of every clip of a data folder, shard by shard; shards that are done already cost nothing.

    on_clip(done, of): clips so far. Raises InputError where a shard is broken, OutputError.
    """
    finder, done = Finder(), 0
    try:
        for shard, samples in of_shard(data.samples):
            path = folder / f"{shard}.parquet"
            if stored(path) != [(s.id, s.digest) for s in samples]:
                rows = _rows(data, finder, samples)
                write_rows(path, _ROW, told(rows, lambda n, before=done: on_clip(before + n, len(data.samples))))  # type: ignore[misc]
            done += len(samples)
    finally:
        finder.close()


def of_shard(samples: tuple[Sample, ...]) -> Iterator[tuple[str, list[Sample]]]:
    """Shards with their clips in the order of their rows."""
    of: dict[str, list[Sample]] = {}
    for sample in samples:
        of.setdefault(sample.shard, []).append(sample)
    for name, held in of.items():
        yield name, sorted(held, key=lambda s: s.row)


def told(rows: Iterable[T], on_row: Callable[[int], None]) -> Iterator[T]:
    """The rows, each counted once it was used."""
    for n, row in enumerate(rows, 1):
        yield row
        on_row(n)


def _rows(data: Dataset, finder: Finder, samples: list[Sample]) -> Iterator[dict[str, Any]]:
    for sample in samples:
        faces = finder(data.load(sample).faces_NHWC)
        row: dict[str, Any] = {"id": sample.id, "digest": sample.digest, "frames": sample.frames}
        if faces is None:
            row |= {"shapes": [], "poses": [], "five": []}
        else:
            limits = np.iinfo(np.int16)
            whole = np.rint(faces.shapes_NP3 / _UNIT).clip(limits.min, limits.max).astype(np.int16)
            row |= {"shapes": whole.ravel(), "poses": faces.poses_N6.ravel(), "five": faces.five_N52.ravel()}
        yield row


def write_rows(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    """Write a Parquet file of one row a row group, whole or not at all. Raises OutputError."""
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(part, schema, write_statistics=False, write_page_checksum=True) as writer:
            for row in rows:
                values = {f.name: pa.array([row[f.name]], f.type) for f in schema}
                writer.write_table(pa.table(values, schema=schema), row_group_size=1)
        part.replace(path)
    except OSError as e:
        raise output_error(path, e) from e
    finally:
        part.unlink(missing_ok=True)


def stored(path: Path) -> list[tuple[str, str]]:
    """Ids and digests of the clips in a file of `write_rows`; none where there is no such file."""
    try:
        table = pq.read_table(path, columns=["id", "digest"], use_threads=False)
    except (pa.ArrowException, OSError):
        return []
    return list(zip(table.column("id").to_pylist(), table.column("digest").to_pylist(), strict=True))


def read_faces(path: Path) -> Iterator[tuple[str, Faces | None]]:
    """The clips of one shard's meshes in order, one held at a time: (id, their meshes or None)."""
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        for n in range(file.num_row_groups):
            row = file.read_row_group(n, use_threads=False)
            numbers = {name: row.column(name)[0].values.to_numpy() for name in ("shapes", "poses", "five")}
            count = row.column("frames")[0].as_py()
            faces = None
            if len(numbers["shapes"]):
                shapes = numbers["shapes"].reshape(count, SURFACE, 3).astype(np.float32) * np.float32(_UNIT)
                faces = Faces(shapes, numbers["poses"].reshape(count, 6), numbers["five"].reshape(count, 5, 2))
            yield row.column("id")[0].as_py(), faces
