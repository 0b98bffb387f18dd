"""A data folder as a trainer reads it: shards of face clips, their index, and the one reader and writer of both.

Storage: `index.parquet`, a row per clip, and `shards/*.parquet`, a row (a row group of its own) per clip with its
faces as JPEG, its sound as int16 and its shapes as float32. A stretch of a clip costs the decoding of its own frames
only. It knows no video, no network and no torch: numpy, pyarrow and OpenCV are all it needs.

Axes: N frames at 25 a second, P points, S the side of the face pictures, C channels (BGR).
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.errors import InputError
from dubbing.store import output_error
from dubbing.store.folder import PART

__all__ = [
    "FPS", "INDEX", "LEAD", "PER_FRAME", "POINTS", "RATE_HZ", "SHARDS", "SPLITS",
    "Clip", "Dataset", "Packed", "Sample", "held", "jpeg", "load_packed", "pack", "unpack", "write_index",
    "write_shard",
]  # fmt: skip

FPS = 25
RATE_HZ = 16_000
PER_FRAME = RATE_HZ // FPS  # samples
LEAD = RATE_HZ // 2  # samples: the most sound that is given from before a stretch
POINTS = 40  # lip points: the outer ring, then the inner one
SPLITS = ("train", "val", "test")
INDEX, SHARDS = "index.parquet", "shards"
_INDEX_SCHEMA, _SHARD_SCHEMA = "dub.dataset.1", "dub.clips.1"
_QUALITY = 95
_OPEN = 16  # shards that a reader keeps open
_LOSSY = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]

_ROW = pa.schema(
    [
        ("id", pa.string()), ("size", pa.int32()), ("frames", pa.int32()), ("lead", pa.int32()), ("tail", pa.int32()),
        ("faces", pa.list_(pa.binary())), ("wave", pa.list_(pa.int16())),
        ("shapes", pa.list_(pa.float32())), ("lips", pa.list_(pa.float32())),
    ],
    metadata={"schema": _SHARD_SCHEMA},
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One clip of a data folder, by name.

    id: unique in the folder; speaker: whoever is seen, in one split only; split: one of SPLITS; frames: at 25 a second;
    source: the file that it came from, as the source folder names it; shard, row: where it lies (file name without
    `.parquet`); digest: 12 hex digits of what is stored.
    """

    id: str
    speaker: str
    split: str
    frames: int
    source: str
    shard: str = ""
    row: int = -1
    digest: str = ""


@dataclass(frozen=True, eq=False)
class Clip:
    """One speaking face, or a stretch of one, at 25 frames a second.

    faces_NHWC: uint8 (N, S, S, 3) BGR, the detector-like box made square; wave: float32 mono at 16 kHz in -1..1,
    `lead` samples before frame 0, then 640 a frame, then `tail` samples after the last; shapes_NP2: float32
    (N, 40, 2), the lips' outer and inner ring in canonical inter-ocular units; lips_N4: float32 (N, 4), the lips' box
    left, top, right, bottom in parts 0..1 of the face picture.
    """

    faces_NHWC: np.ndarray
    wave: np.ndarray
    lead: int
    shapes_NP2: np.ndarray
    lips_N4: np.ndarray
    tail: int = 0


@dataclass(frozen=True, eq=False)
class Packed:
    """A clip as it is stored. faces: JPEGs; wave: int16; shapes_NP2, lips_N4 as in `Clip`; size: S."""

    faces: tuple[bytes, ...]
    wave: np.ndarray
    lead: int
    shapes_NP2: np.ndarray
    lips_N4: np.ndarray
    tail: int
    size: int

    def digest(self) -> str:
        """12 hex digits of everything in it."""
        found = hashlib.sha256(json.dumps([self.lead, self.tail, self.size, len(self.faces)]).encode())
        for face in self.faces:
            found.update(hashlib.sha256(face).digest())
        for array, kind in ((self.wave, "<i2"), (self.shapes_NP2, "<f4"), (self.lips_N4, "<f4")):
            found.update(np.ascontiguousarray(array, kind).tobytes())
        return found.hexdigest()[:12]


def jpeg(face_HWC: np.ndarray) -> bytes:
    """One face picture as it is stored: quality 95, colour at full resolution."""
    return bytes(cv2.imencode(".jpg", face_HWC, _LOSSY)[1])


def pack(clip: Clip) -> Packed:
    """A clip as it is stored. Raises ValueError where its parts do not fit together."""
    count, size = clip.faces_NHWC.shape[:2]
    if clip.faces_NHWC.shape != (count, size, size, 3) or clip.faces_NHWC.dtype != np.uint8 or not count:
        raise ValueError(f"faces of {clip.faces_NHWC.shape} {clip.faces_NHWC.dtype}; wanted uint8 (N, S, S, 3)")
    faces = tuple(jpeg(face) for face in clip.faces_NHWC)
    wave = np.clip(np.rint(np.asarray(clip.wave, np.float64) * 32767), -32767, 32767).astype(np.int16)
    shapes, lips = np.asarray(clip.shapes_NP2, np.float32), np.asarray(clip.lips_N4, np.float32)
    return _checked(Packed(faces, wave, clip.lead, shapes, lips, clip.tail, size))


def _checked(packed: Packed) -> Packed:
    count = len(packed.faces)
    wanted = ((packed.lead + count * PER_FRAME + packed.tail,), (count, POINTS, 2), (count, 4))
    found = (packed.wave.shape, packed.shapes_NP2.shape, packed.lips_N4.shape)
    if found != wanted or packed.lead < 0 or packed.tail < 0:
        raise ValueError(f"wave, shapes and lips of {found} for {count} frames; wanted {wanted}")
    return packed


def unpack(packed: Packed, first: int = 0, count: int | None = None, tail: int = 0) -> Clip:
    """The frames [first, first + count) with their sound, and up to LEAD samples before and `tail` after it.

    Raises ValueError for a picture that cannot be decoded.
    """
    end = len(packed.faces) if count is None else min(first + count, len(packed.faces))
    pictures = []
    for number, data in enumerate(packed.faces[first:end], first):
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None or picture.shape[:2] != (packed.size, packed.size):
            raise ValueError(f"the picture of frame {number} cannot be decoded")
        pictures.append(picture)
    begins, ends = packed.lead + first * PER_FRAME, packed.lead + end * PER_FRAME
    lead, tail = min(begins, LEAD), min(tail, len(packed.wave) - ends)
    wave = packed.wave[begins - lead : ends + tail].astype(np.float32) / np.float32(32767)
    shapes, lips = packed.shapes_NP2[first:end], packed.lips_N4[first:end]
    return Clip(np.stack(pictures), wave, lead, shapes, lips, tail)


# -- writing --------------------------------------------------------------------------------


def write_shard(folder: Path, name: str, clips: Iterable[tuple[Sample, Clip | Packed]]) -> tuple[Sample, ...]:
    """Write `shards/<name>.parquet` of a data folder, whole or not at all, clip by clip; one clip is held at a time.

    clips: each with its Sample, whose frames, shard, row and digest are filled in here. Returns these, for
    `write_index`. Raises OutputError where it cannot be written, ValueError where a clip's parts do not fit together.
    """
    path = folder / SHARDS / f"{name}.parquet"
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    done: list[Sample] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(
            part, _ROW, compression={"faces.list.element": "NONE"}, use_dictionary=False, write_page_checksum=True,
            write_statistics=False,
        ) as writer:  # fmt: skip
            for sample, clip in clips:
                packed = _checked(clip) if isinstance(clip, Packed) else pack(clip)
                frames = len(packed.faces)
                done.append(replace(sample, shard=name, row=len(done), digest=packed.digest(), frames=frames))
                writer.write_table(_table(sample.id, packed), row_group_size=1)
        part.replace(path)
    except OSError as e:
        raise output_error(path, e) from e
    finally:
        part.unlink(missing_ok=True)
    return tuple(done)


def _table(name: str, packed: Packed) -> pa.Table:
    values = {
        "id": name, "size": packed.size, "frames": len(packed.faces), "lead": packed.lead, "tail": packed.tail,
        "faces": list(packed.faces), "wave": packed.wave,
        "shapes": packed.shapes_NP2.astype(np.float32).ravel(), "lips": packed.lips_N4.astype(np.float32).ravel(),
    }  # fmt: skip
    return pa.table({key: pa.array([value], _ROW.field(key).type) for key, value in values.items()}, schema=_ROW)


def write_index(folder: Path, samples: Iterable[Sample], **metadata: str) -> None:
    """Write `index.parquet`, atomically: from then on the folder is a data folder.

    metadata: further text that stays with it. Raises OutputError where it cannot be written, ValueError where two
    clips have one id or a speaker stands in two splits.
    """
    rows = list(samples)
    if len({s.id for s in rows}) != len(rows):
        raise ValueError("two clips have the same id")
    of: dict[str, str] = {}
    for s in rows:
        if s.split not in SPLITS or of.setdefault(s.speaker, s.split) != s.split:
            raise ValueError(
                f"speaker {s.speaker} stands in {s.split} and in {of.get(s.speaker)}; one split it must be"
            )
    columns = {f.name: [getattr(s, f.name) for s in rows] for f in fields(Sample)}
    kinds = {"frames": pa.int32(), "row": pa.int32()}
    table = pa.table({name: pa.array(v, kinds.get(name, pa.string())) for name, v in columns.items()})
    path = folder / INDEX
    part = path.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"schema": _INDEX_SCHEMA, **metadata}), part, compression="zstd")
        os.replace(part, path)
    except OSError as e:
        raise output_error(path, e) from e
    finally:
        part.unlink(missing_ok=True)


# -- reading --------------------------------------------------------------------------------


class Dataset:
    """A data folder. samples: every clip, in the index's order; hash: 12 hex digits of the whole content.

    Travels to other processes by pickle; shards are opened when first read. Raises InputError for a folder that is
    none, one of another version, or one that lacks a shard.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        table = self._index()
        try:
            self.samples = tuple(Sample(**row) for row in table.to_pylist())
        except TypeError:
            self._other("its columns are " + ", ".join(table.column_names))
        absent = sorted({s.shard for s in self.samples if not self._path(s.shard).is_file()})
        if absent:
            raise InputError(
                f"{self.folder} lacks {len(absent)} of its shards ({', '.join(absent[:3])}); run the `dub dataset "
                "prepare` that made it again, or copy it again, whole."
            )
        self.metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        self.hash = hashlib.sha256(
            json.dumps([(s.id, s.speaker, s.split, s.frames, s.digest) for s in self.samples]).encode()
        ).hexdigest()[:12]
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def of(self, split: str) -> tuple[Sample, ...]:
        """The clips of one split. Raises InputError for a split that there is not."""
        if split not in SPLITS:
            raise InputError(f"There is no split {split!r}; there is: {', '.join(SPLITS)}.")
        return tuple(s for s in self.samples if s.split == split)

    def load(self, sample: Sample, first: int = 0, count: int | None = None, tail: int = 0) -> Clip:
        """Frames [first, first + count) of a clip (None: to its end), with up to 0.5 s of sound before them.

        tail: samples of sound wanted after the last frame, given as far as the clip has them. Only these frames are
        decoded. Raises InputError naming shard and clip where what is stored is broken, ValueError for frames that the
        clip does not have.
        """
        if first < 0 or first >= sample.frames or (count is not None and not 0 < count <= sample.frames - first):
            raise ValueError(f"frames {first} and {count} more of {sample.id}, which has {sample.frames}")
        try:
            name, packed = _row(self._file(sample.shard), sample.row)
            if name != sample.id or len(packed.faces) != sample.frames:
                raise ValueError(f"it holds {name} there, of {len(packed.faces)} frames")
            return unpack(packed, first, count, tail)
        except (pa.ArrowException, OSError, ValueError, IndexError, KeyError, cv2.error) as e:
            self._files.pop(sample.shard, None)
            why = str(e).strip().splitlines()[0].rstrip(".")[:160] if str(e).strip() else type(e).__name__
            raise InputError(
                f"Shard {sample.shard} of {self.folder} is broken at clip {sample.id} ({why}); delete the shard's file "
                "and run the `dub dataset prepare` that made it again, or copy it again."
            ) from e

    def _file(self, shard: str) -> pq.ParquetFile:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        while len(self._files) >= _OPEN:
            self._files.popitem(last=False)[1].close()
        self._files[shard] = _opened(self._path(shard))
        return self._files[shard]

    def _path(self, shard: str) -> Path:
        return self.folder / SHARDS / f"{shard}.parquet"

    def _index(self) -> pa.Table:
        if not self.folder.is_dir():
            raise InputError(
                f"There is no folder {str(self.folder)!r}; `dub dataset prepare SOURCE --out DIR` makes a data folder."
            )
        if not (self.folder / INDEX).is_file():
            held = sorted(p.name + "/" * p.is_dir() for p in self.folder.iterdir() if not p.name.startswith("."))
            more = f" and {len(held) - 3} more" if len(held) > 3 else ""
            self._other(f"it holds {', '.join(held[:3]) or 'nothing'}{more}, and no {INDEX}")
        try:
            with pq.ParquetFile(self.folder / INDEX) as file:  # pq.read_table would load pyarrow.dataset, and pandas
                table = file.read(use_threads=False)
        except (pa.ArrowException, OSError) as e:
            raise InputError(f"{self.folder / INDEX} cannot be read ({_first(e)}); prepare it again.") from e
        found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
        if found != _INDEX_SCHEMA:
            self._other(f"its {INDEX} is of schema {found}, this version reads {_INDEX_SCHEMA}")
        return table

    def _other(self, found: str) -> NoReturn:
        raise InputError(
            f"{str(self.folder)!r} is no data folder: {found}; `dub dataset prepare SOURCE --out DIR` makes one out of "
            "LRS2, VoxCeleb2, clips or finished titles."
        )


def held(folder: Path) -> dict[str, tuple[Path, int]]:
    """Every clip in a data folder's index whose shard exists: digest -> its file and row.

    Empty where there is no index that can be read.
    """
    try:
        rows = pq.read_table(folder / INDEX, columns=["digest", "shard", "row"], use_threads=False).to_pylist()
    except (pa.ArrowException, OSError):
        return {}
    files = {r["shard"]: folder / SHARDS / f"{r['shard']}.parquet" for r in rows}
    there = {name for name, path in files.items() if path.is_file()}
    return {r["digest"]: (files[r["shard"]], r["row"]) for r in rows if r["shard"] in there}


def load_packed(path: Path, row: int) -> Packed:
    """One clip of a shard file as it is stored. Raises InputError where it is broken."""
    try:
        with _opened(path) as file:
            return _row(file, row)[1]
    except (pa.ArrowException, OSError, ValueError) as e:
        raise InputError(f"{path} is broken ({_first(e)}); delete it, and prepare again.") from e


def _opened(path: Path) -> pq.ParquetFile:
    # no thread of Arrow's: a reader may live in a forked process
    return pq.ParquetFile(path, memory_map=True, pre_buffer=False, page_checksum_verification=True)


def _row(file: pq.ParquetFile, number: int) -> tuple[str, Packed]:
    if not 0 <= number < file.num_row_groups:
        raise ValueError(f"it has {file.num_row_groups} clips, and this is number {number}")
    row = file.read_row_group(number, use_threads=False)
    one = {name: row.column(name)[0] for name in _ROW.names}
    count = one["frames"].as_py()
    numbers = {name: one[name].values.to_numpy() for name in ("wave", "shapes", "lips")}
    packed = Packed(
        tuple(one["faces"].as_py()), numbers["wave"], one["lead"].as_py(),
        numbers["shapes"].reshape(count, POINTS, 2), numbers["lips"].reshape(count, 4),
        one["tail"].as_py(), one["size"].as_py(),
    )  # fmt: skip
    return one["id"].as_py(), _checked(packed)


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
