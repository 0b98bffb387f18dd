"""What SadTalker's networks learn from: 64 numbers of expression and 6 of pose for every frame of a data folder.

    DIR/coefficients/meshes/             see `meshes`: found once, whatever the coefficients are
    DIR/coefficients/<name>/face.npz     how a face's points follow the numbers (`linear_face`)
    DIR/coefficients/<name>/<shard>.parquet   a row per clip of which there are any, in the shard's order
    DIR/coefficients/<name>/index.parquet     digest -> shard, row, style of its speaker
    DIR/coefficients/<name>/card.json    what they are; written last

Two kinds. `sadtalker`: those that the published network of a 3D face model sees in the pictures (`face_network`);
what learns them can stand in the place of SadTalker's own networks. `mesh`: fitted to our own meshes (principal
components of canonical shapes, pose by rigid alignment), for which nothing has to be downloaded; what learns them
speaks a language of its own, which no published renderer understands. With a teacher, a Wav2Lip network draws each
clip's first frame saying the clip's sentence, and what is seen in that is kept as well.

Axes: N frames, P = 468 points, K = 64.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.dataset.linear_face import COUNT, SURFACE, Followed, LinearFace, Principal
from dubbing.dataset.meshes import Faces, Finder, find_meshes, of_shard, read_faces, write_rows
from dubbing.dataset.shards import Clip, Dataset, Sample
from dubbing.errors import InputError
from dubbing.store import alone, output_error, read_json
from dubbing.store.folder import replace

__all__ = ["FOLDER", "MESH", "POSE", "Coefficients", "Network", "Row", "Teacher", "make", "opened"]

FOLDER = "coefficients"
MESH = "mesh"
POSE = 6
"""Numbers of a pose: three angles in radians, three of place."""
STYLES = 46
"""Styles of PoseVAE; speakers of the split `train` get one each, by name, from the first again after the last."""
_CARD, _FACE, _INDEX, _MESHES = "card.json", "face.npz", "index.parquet", "meshes"
_SCHEMA = "dub.coefficients.1"
_ROW = pa.schema(
    [
        ("id", pa.string()), ("digest", pa.string()), ("frames", pa.int32()),
        ("values", pa.list_(pa.float32())), ("taught", pa.list_(pa.float32())), ("rest", pa.list_(pa.float32())),
    ],
    metadata={"schema": _SCHEMA},
)  # fmt: skip


class Network(Protocol):
    """A network that sees coefficients in face pictures; `face_network.FaceNetwork` is one. name: of the kind;
    digest: hex, of its weights."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def __call__(self, faces_NHWC: np.ndarray, five_N52: np.ndarray) -> np.ndarray:
        """Coefficients (N, 70) of BGR pictures and their five points, `meshes.FIVE`."""
        ...


class Teacher(Protocol):
    """Draws a clip's first frame so that it says the clip's sentence; `lip_teacher.LipTeacher` is one."""

    @property
    def digest(self) -> str: ...
    def __call__(self, clip: Clip) -> np.ndarray:
        """Face pictures, uint8 BGR (N, S, S, 3), one for each frame of the clip."""
        ...


@dataclass(frozen=True, eq=False)
class Row:
    """The coefficients of one clip. values_N70: expression 64, pose 6; taught_N64: the expressions that a teacher drew
    from the first frame's, None without one; rest_P3: what of the clip's face no coefficient moves, so that its points
    are rest + coefficients times basis."""

    values_N70: np.ndarray
    taught_N64: np.ndarray | None
    rest_P3: np.ndarray


def make(
    folder: Path, network: Network | None = None, teacher: Teacher | None = None,
    on_clip: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Path:  # fmt: skip
    """Make the coefficients of a data folder, or find them made; the folder that they are in.

    network: None for those of our own meshes. on_clip(what, done, of). Raises InputError (no data folder; nobody is
    seen in it, or moves), OutputError.
    """
    data = Dataset(folder)
    name = (network.name if network else MESH) + ("-taught" if teacher else "")
    out = folder / FOLDER / name
    said = {
        "schema": _SCHEMA, "kind": network.name if network else MESH, "data": data.hash,
        "network": network.digest if network else None, "teacher": teacher.digest if teacher else None,
    }  # fmt: skip
    busy = f"Coefficients of {str(folder)!r} are being made; wait for that to end."
    with alone(folder / FOLDER / ".lock", busy):
        if _card(out).items() >= said.items():
            return out
        meshes = folder / FOLDER / _MESHES
        find_meshes(data, meshes, lambda done, of: on_clip("meshes", done, of))
        try:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            held = _Making(data, meshes, network, teacher, on_clip).write(out)
            replace(out / _CARD, (json.dumps({**said, **held}, indent=1) + "\n").encode())
        except OSError as e:
            raise output_error(out, e) from e
    return out


class _Making:
    def __init__(
        self, data: Dataset, meshes: Path, network: Network | None, teacher: Teacher | None,
        on_clip: Callable[[str, int, int], None],
    ) -> None:  # fmt: skip
        self._data, self._meshes, self._network, self._teacher = data, meshes, network, teacher
        self._on_clip, self._done = on_clip, Counter[str]()

    def write(self, out: Path) -> dict[str, Any]:
        """Everything but the card. Returns what the card says of it."""
        if self._network is not None:  # the network looks once; the face that follows it is known afterwards
            self._seen(out / "seen")
        face = self._face(out / "seen")
        face.save(out / _FACE)
        styles = {who: n % STYLES for n, who in enumerate(sorted({s.speaker for s in self._data.of("train")}))}
        index: list[dict[str, Any]] = []
        finder = Finder() if self._teacher is not None else None
        try:
            for shard, samples in of_shard(self._data.samples):
                style_of = {s.id: styles.get(s.speaker, -1) for s in samples}
                rows = self._rows(face, out / "seen", shard, samples, finder)
                write_rows(out / f"{shard}.parquet", _ROW, _noted(rows, shard, style_of, index))
        finally:
            if finder is not None:
                finder.close()
        if not index:
            where = "what the teacher drew of the clips" if finder else "the clips' pictures"
            raise InputError(f"No face is seen throughout in any of {where}; there are no coefficients to learn.")
        shutil.rmtree(out / "seen", ignore_errors=True)
        kinds = {"digest": pa.string(), "shard": pa.string(), "row": pa.int32(), "style": pa.int32()}
        columns = {name: pa.array([row[name] for row in index], kind) for name, kind in kinds.items()}
        pq.write_table(pa.table(columns), out / _INDEX)
        spread = self._spread(out, [row for row in index if row["style"] >= 0])
        return {"clips": len(index), "left_out": len(self._data.samples) - len(index), "motion": spread}

    def _tell(self, what: str) -> None:
        self._done[what] += 1
        self._on_clip(what, self._done[what], len(self._data.samples))

    def _faces(self, shard: str) -> Iterator[tuple[str, Faces | None]]:
        return read_faces(self._meshes / f"{shard}.parquet")

    def _seen(self, folder: Path) -> None:
        """Write what the network sees in every clip, a file each shard."""
        assert self._network is not None
        folder.mkdir()
        for shard, samples in of_shard(self._data.samples):
            for n, (sample, (_, faces)) in enumerate(zip(samples, self._faces(shard), strict=True)):
                if faces is not None:
                    seen = self._network(self._data.load(sample).faces_NHWC, faces.five_N52)
                    np.save(folder / f"{shard}-{n}.npy", seen)
                self._tell("looked at")

    def _face(self, seen: Path) -> LinearFace:
        principal, followed = Principal(), Followed()
        for shard, samples in of_shard(self._data.samples):
            for n, (sample, (_, faces)) in enumerate(zip(samples, self._faces(shard), strict=True)):
                if sample.split != "train" or faces is None:
                    continue
                if self._network is None:
                    principal.add(faces.shapes_NP3)
                else:
                    followed.add(faces.shapes_NP3, np.load(seen / f"{shard}-{n}.npy")[:, :COUNT])
        return principal.face() if self._network is None else followed.face()

    def _rows(
        self, face: LinearFace, seen: Path, shard: str, samples: list[Sample], finder: Finder | None
    ) -> Iterator[dict[str, Any]]:
        """The rows of a shard's clips in which meshes were found, and in what the teacher drew of them too."""
        for n, (sample, (_, faces)) in enumerate(zip(samples, self._faces(shard), strict=True)):
            if faces is not None:
                if self._network is None:
                    values = np.concatenate([face.coefficients(faces.shapes_NP3), faces.poses_N6], 1)
                else:
                    values = np.load(seen / f"{shard}-{n}.npy")
                rest = (faces.shapes_NP3 - face.shapes(values[:, :COUNT]) + face.mean_P3).mean(0)
                taught = None if finder is None else self._taught(sample, face, finder)
                if finder is None or taught is not None:
                    yield {
                        "id": sample.id, "digest": sample.digest, "frames": len(values), "values": values.ravel(),
                        "taught": [] if taught is None else taught.ravel(), "rest": rest.ravel(),
                    }  # fmt: skip
            self._tell("coefficients")

    def _taught(self, sample: Sample, face: LinearFace, finder: Finder) -> np.ndarray | None:
        """The expressions in what the teacher draws of a clip, (N, 64); None where no face is seen in it."""
        assert self._teacher is not None
        drawn = self._teacher(self._data.load(sample))
        faces = finder(drawn)
        if faces is None:
            return None
        if self._network is not None:
            return self._network(drawn, faces.five_N52)[:, :COUNT]
        return face.coefficients(faces.shapes_NP3)

    def _spread(self, out: Path, rows: list[dict[str, Any]]) -> list[float]:
        """How far each number of a pose moves within a clip of the split `train`: root mean square."""
        squares, frames = np.zeros(POSE), 0
        for row in rows:
            pose = _read(out / f"{row['shard']}.parquet", row["row"]).values_N70[:, COUNT:].astype(np.float64)
            squares += ((pose - pose.mean(0)) ** 2).sum(0)
            frames += len(pose)
        return [float(v) for v in np.sqrt(squares / max(1, frames))]


def _noted(
    rows: Iterator[dict[str, Any]], shard: str, style_of: Mapping[str, int], index: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows of a shard, each entered in the index as it goes by."""
    for n, row in enumerate(rows):
        index.append({"digest": row["digest"], "shard": shard, "row": n, "style": style_of[row["id"]]})
        yield row


class Coefficients:
    """The coefficients in a folder that `make` returned. Its methods may be called from several threads.

    Raises InputError where there are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.card = folder, _card(folder)
        if not self.card:
            raise InputError(
                f"There are no coefficients in {str(folder)!r}; `dub dataset coefficients DIR` makes those of a data "
                f"folder, in DIR/{FOLDER}/{MESH}."
            )
        with pq.ParquetFile(folder / _INDEX) as file:
            self._at = {row["digest"]: row for row in file.read(use_threads=False).to_pylist()}

    @property
    def kind(self) -> str:
        """`mesh`, or the name of the network that saw them."""
        return str(self.card["kind"])

    @property
    def taught(self) -> bool:
        """Whether a teacher drew the lips."""
        return self.card["teacher"] is not None

    @property
    def motion_6(self) -> np.ndarray:
        """How far each number of a pose moves within a clip, root mean square, float32."""
        return np.asarray(self.card["motion"], np.float32)

    @cached_property
    def face(self) -> LinearFace:
        """How a face's points follow the numbers."""
        return LinearFace.load(self.folder / _FACE)

    @cached_property
    def lower(self) -> np.ndarray:
        """`LinearFace.lower` of it."""
        return self.face.lower()

    @property
    def files(self) -> tuple[Path, ...]:
        """What these coefficients depend on, for whoever wants to know that they are the same."""
        return (self.folder / _CARD, self.folder / _FACE)

    def has(self, digest: str) -> bool:
        """Whether there are any of a clip with that digest."""
        return digest in self._at

    def style(self, digest: str) -> int:
        """The style of the clip's speaker, 0 to 45; of speakers who are not in the split `train` it is 0."""
        return max(0, int(self._at[digest]["style"]))

    def of(self, digest: str) -> Row:
        """Those of one clip. Raises InputError where they cannot be read."""
        at = self._at[digest]
        try:
            return _read(self.folder / f"{at['shard']}.parquet", at["row"])
        except (pa.ArrowException, OSError, ValueError) as e:
            raise InputError(
                f"{self.folder} is broken at shard {at['shard']}; remove that folder, and run `dub dataset "
                "coefficients` again."
            ) from e


def opened(folder: Path) -> Coefficients:
    """The coefficients in a folder, held as long as its card stays the same. Raises InputError."""
    try:
        stamp = (folder / _CARD).stat().st_mtime_ns
    except OSError:
        stamp = 0
    return _opened(folder, stamp)


@lru_cache(maxsize=4)
def _opened(folder: Path, stamp: int) -> Coefficients:
    return Coefficients(folder)


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = read_json(folder / _CARD)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) and card.get("schema") == _SCHEMA else {}


def _read(path: Path, number: int) -> Row:
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False, page_checksum_verification=True) as file:
        row = file.read_row_group(number, use_threads=False)
    values, taught, rest = (row.column(name)[0].values.to_numpy() for name in ("values", "taught", "rest"))
    return Row(
        values.reshape(-1, COUNT + POSE), taught.reshape(-1, COUNT) if len(taught) else None,
        rest.reshape(SURFACE, 3),
    )  # fmt: skip
