"""The store of mouths that one actor can lend to any shot of a title: chosen frames, with all that choosing needs.

Two files: `mouths_HASH.npz` has the numbers (shapes, pose, size, light, grain), `.raw` the crops, one after another at
their XX holds a hash of both, so two stores of one name are the same. Knows no sound and no target frame, and
does not look who is who.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.errors import ModelError
from dubbing.face import LOWER_FACE, OUTER_LIPS, canonical, mouth_measures
from dubbing.generators import grain
from dubbing.generators.rewrite.geometry import AROUND_LIPS, Box, Face, skin_of
from dubbing.generators.rewrite.steady import savitzky_golay
from dubbing.records import Track

__all__ = [
    "MOST_BYTES", "MOST_FRAMES", "Looks", "Store", "StoreWriter", "angles", "boxes_of", "light_of", "load", "looks_of",
    "pick", "sizes_of",
]  # fmt: skip

SCHEMA = "dub.donors.1"
MOST_FRAMES = 400
MOST_BYTES = 64_000_000  # of crops
_EYE_PX = 320.0  # crops of larger faces are kept at this many pixels between the eyes
_STEPS = np.array([0.03, 0.06, 0.05])  # of the grid over opening, width and protrusion, inter-ocular distances
_YAW_STEP = 12.0
_MOST_YAW, _MOST_PITCH = 45.0, 35.0
_MOST_MOVE = 0.2  # inter-ocular distances a frame: a lip that jumps further was not found
_RUN = 2  # neighbours on either side that come along with a chosen frame
_PASSES = 6
_BLUR = 8.0  # what motion of one inter-ocular distance a frame costs a frame's quality
_AT_ONCE = 2000  # frames of a track whose shapes are looked at together
_ROOM = 0.3  # of the eyes' distance around the mouth's surroundings that a crop keeps
_LIGHT_AT = (*AROUND_LIPS, 205, 425, 50, 280)


@dataclass(frozen=True, eq=False)
class Looks:
    """What the meshes of one track say about its frames, N of them.

    frames_N: of the title; measures_N3: opening, width and protrusion; lower_NL3: float32 canonical LOWER_FACE;
    turn_N3: yaw, pitch, roll in degrees; scale_N: pixels of an inter-ocular distance; mesh_NP2: smoothed, pixels of the
    picture; usable_N: whether it may be kept; quality_N: the more the better.
    """

    frames_N: np.ndarray
    measures_N3: np.ndarray
    lower_NL3: np.ndarray
    turn_N3: np.ndarray
    scale_N: np.ndarray
    mesh_NP2: np.ndarray
    usable_N: np.ndarray
    quality_N: np.ndarray

    def only(self, n: int) -> Looks:
        """The same of one frame, which keeps none of the others in memory."""
        return Looks(*(getattr(self, f.name)[n : n + 1].copy() for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Store:
    """M frames that may lend a mouth, by track and frame.

    tracks: ids; track_M: places in it; frame_M: of the title; measures_M3, turn_M3, scale_M: as in `Looks`, scale in
    pixels of the crop; lower_ML3; mesh_MP2: (478, 2) pixels of the crop; light_M33: `light_of`; grain_MB:
    `grain.levels`; size_M2: width and height; place_M: first byte of the crop; deep: whether crops have 16 bits.
    """

    tracks: np.ndarray
    track_M: np.ndarray
    frame_M: np.ndarray
    measures_M3: np.ndarray
    turn_M3: np.ndarray
    scale_M: np.ndarray
    lower_ML3: np.ndarray
    mesh_MP2: np.ndarray
    light_M33: np.ndarray
    grain_MB: np.ndarray
    size_M2: np.ndarray
    place_M: np.ndarray
    deep: np.ndarray
    crops: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_M)

    @property
    def follows_M(self) -> np.ndarray:
        """For each frame the one that comes after it in the film, -1 where that is not in the store, int (M,)."""
        count = len(self)
        after = np.arange(1, count + 1)
        here = (np.append(self.frame_M[1:], -2) == self.frame_M + 1) & (np.append(self.track_M[1:], -1) == self.track_M)
        return np.where(here, after, -1)

    def face(self, m: int) -> Face:
        """One frame's crop with its mesh: uint8, or float32 0..255."""
        width, height = (int(v) for v in self.size_M2[m])
        kind = np.dtype(np.uint16 if self.deep else np.uint8)
        first = int(self.place_M[m])
        kept = np.frombuffer(self.crops[first : first + width * height * 3 * kind.itemsize].tobytes(), kind)
        bgr = media.fractions(kept.reshape(height, width, 3))
        return Face(bgr, Box(0, 0, width, height), self.mesh_MP2[m].astype(np.float64), lent=True)


def looks_of(track: Track, picture_wh: tuple[int, int]) -> Iterator[Looks]:
    """What the meshes of a track say, part by part, so that memory does not grow with a track."""
    count = len(track.frames_N)
    edges = np.linspace(0, count, max(1, -(-count // _AT_ONCE)) + 1).round().astype(int).tolist()
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        yield _looks(track, a, b, picture_wh)


def _looks(track: Track, a: int, b: int, picture_wh: tuple[int, int]) -> Looks:
    mesh = track.mesh_NP3[a:b].astype(np.float64)
    if len(mesh) >= 7:
        mesh = savitzky_golay(mesh)
    shape, (scale, rotation, _) = canonical(mesh)
    found = mouth_measures(shape)
    turn = angles(rotation)
    flat = mesh[..., :2]
    moves = np.zeros(len(mesh))
    if len(mesh) > 1:
        step = np.linalg.norm(np.diff(flat[:, list(AROUND_LIPS)], axis=0), axis=-1).mean(1)
        moves[:-1], moves[1:] = step, np.maximum(moves[1:], step)
    mouths = flat[:, list(AROUND_LIPS)]
    inside = (mouths.min((1, 2)) >= 0) & (mouths.max(1) < picture_wh).all(1)
    usable = track.seen_N[a:b] & inside & (moves <= _MOST_MOVE * scale)
    usable &= (np.abs(turn[:, 0]) <= _MOST_YAW) & (np.abs(turn[:, 1]) <= _MOST_PITCH)
    quality = -_BLUR * moves / scale - 0.01 * np.maximum(np.abs(turn[:, 0]) - 15, 0)
    return Looks(
        track.frames_N[a:b], np.stack([found[n] for n in ("opening", "width", "protrusion")], 1),
        shape[:, list(LOWER_FACE)].astype(np.float32), turn, scale, flat, usable, quality,
    )  # fmt: skip


def angles(rotation_N33: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees, (N, 3). Roll goes on beyond half a turn, from a median within it."""
    r = rotation_N33
    yaw = np.arctan2(r[:, 0, 2], r[:, 2, 2])
    pitch = np.arcsin(np.clip(-r[:, 1, 2], -1, 1))
    roll = np.unwrap(np.arctan2(r[:, 1, 0], r[:, 1, 1]))
    roll -= 2 * np.pi * np.round(np.median(roll) / (2 * np.pi)) if len(roll) else 0.0
    return np.degrees(np.stack([yaw, pitch, roll], 1))


def pick(
    measures_N3: np.ndarray,
    yaw_N: np.ndarray,
    quality_N: np.ndarray,
    track_N: np.ndarray,
    frame_N: np.ndarray,
    bytes_N: np.ndarray,
    *,
    most_frames: int = MOST_FRAMES,
    most_bytes: int = MOST_BYTES,
) -> np.ndarray:
    """Which of N usable frames are kept, rising places in N, in runs: the best of every cell of a grid over opening,
    width, protrusion and turn, then the next best of each, as far as there is room.

    frame_N: rising within a track, tracks one after another; bytes_N: of each one's crop.
    """
    count = len(frame_N)
    if not count:
        return np.zeros(0, int)
    grid = np.column_stack([np.floor(measures_N3 / _STEPS), np.floor(yaw_N / _YAW_STEP + 0.5)]).astype(int)
    cells, cell_N, size_C = np.unique(grid, axis=0, return_inverse=True, return_counts=True)
    cell_N, first_C = cell_N.reshape(-1), [int(c) for c in cells[:, 0]]
    order = sorted(range(len(size_C)), key=lambda c: (-int(size_C[c]), c))
    place: dict[int, int] = {}
    rank: dict[int, int] = {}
    for c in order:  # the usual shapes of every opening in turn, closed and wide open alike
        rank[c] = place[first_C[c]] = place.get(first_C[c], -1) + 1
    order.sort(key=lambda c: (rank[c], first_C[c], c))
    by_cell = {c: np.flatnonzero(cell_N == c) for c in order}
    worth = quality_N.astype(np.float64).copy()
    taken = np.zeros(count, bool)
    covered = np.zeros(count, bool)
    frames = total = 0
    for _ in range(_PASSES):
        for c in order:
            mine = by_cell[c][~covered[by_cell[c]]]
            if not len(mine):
                continue
            best = int(mine[np.argmax(worth[mine])])
            run = [best]
            for step in (-1, 1):
                for n in range(best + step, best + step * (_RUN + 1), step):
                    if not 0 <= n < count or track_N[n] != track_N[best] or frame_N[n] - frame_N[n - step] != step:
                        break
                    run.append(n)
            new = [n for n in run if not taken[n]]
            much = int(bytes_N[new].sum())
            if frames + len(new) > most_frames or total + much > most_bytes:
                return np.flatnonzero(taken)
            taken[new] = covered[run] = True
            frames, total = frames + len(new), total + much
            worth[mine[track_N[mine] == track_N[best]]] -= 0.2  # then another shot's, in another light
    return np.flatnonzero(taken)


def boxes_of(mesh_NP2: np.ndarray, picture_wh: tuple[int, int]) -> np.ndarray:
    """What is kept of pictures, the mouth with its surroundings: x, y, width and height, int (N, 4)."""
    eye = np.linalg.norm(mesh_NP2[:, 33] - mesh_NP2[:, 263], axis=-1)[:, None]
    around = mesh_NP2[:, [*AROUND_LIPS, *OUTER_LIPS]]
    low = np.clip(np.floor(around.min(1) - _ROOM * eye).astype(int), 0, np.array(picture_wh) - 2)
    high = np.minimum(np.ceil(around.max(1) + _ROOM * eye).astype(int), picture_wh)
    low -= low % 2  # whole blocks of colour
    return np.concatenate([low, np.maximum(high - low, 2)], 1)


def sizes_of(box_N4: np.ndarray, scale_N: np.ndarray) -> np.ndarray:
    """Width and height of crops as they are kept, int (N, 2). scale_N: pixels of an inter-ocular distance."""
    part = np.minimum(1.0, _EYE_PX / np.maximum(scale_N, 1e-6))[:, None]
    return np.maximum(2, np.rint(box_N4[:, 2:] * part)).astype(int)


def light_of(bgr_HWC: np.ndarray, mesh_P2: np.ndarray) -> np.ndarray:
    """The light on the skin around a mouth, float64 (3, 3): mean, change across and change down for each channel, in
    code values and code values an inter-ocular distance. mesh_P2: (478, 2) pixels of this crop."""
    eye = _eye(mesh_P2)
    height, width = bgr_HWC.shape[:2]
    smooth = cv2.blur(np.asarray(bgr_HWC, np.float32), (max(1, int(0.05 * eye)) | 1,) * 2)
    at = mesh_P2[list(_LIGHT_AT)]
    here = (at >= 0).all(1) & (at < (width, height)).all(1)
    if here.sum() < 6:
        return np.full((3, 3), np.nan)
    x, y = at[here].astype(int).T
    middle = mesh_P2[list(AROUND_LIPS)].mean(0)
    basis = np.column_stack([np.ones(len(x)), (at[here] - middle) / eye])
    values = smooth[y, x].astype(np.float64)
    weight = np.ones(len(x))
    found = np.zeros((3, 3))
    for _ in range(3):  # a moustache or a spot of light is not the skin's light
        found = np.linalg.lstsq(basis * weight[:, None], values * weight[:, None], rcond=None)[0]
        off = np.abs(values - basis @ found).mean(1)
        weight = 1 / np.maximum(off, max(1.0, float(np.median(off))))
    return found


class StoreWriter:
    """Writes a store, frame by frame, in the film's order within a track; crops go to disk at once. name: of a file
    that is there until it is closed; then a hash of the content is the name."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._file = (folder / f"{name}.part").open("wb")
        self._hash = hashlib.sha256()
        self._rows: dict[str, list[np.ndarray]] = {}
        self._tracks: list[str] = []
        self._deep = False
        self._bytes = 0

    def add(self, looks: Looks, track: str, kept_HWC: np.ndarray, box_xywh: tuple[int, int, int, int]) -> None:
        """Keep a frame. looks: of it alone; kept_HWC: as of `Picture.kept_bgr`, of that box of the picture."""
        width, height = (int(v) for v in sizes_of(np.array([box_xywh]), looks.scale_N)[0])
        part = np.array([width / box_xywh[2], height / box_xywh[3]])
        crop = kept_HWC if part.min() >= 1 else cv2.resize(kept_HWC, (width, height), interpolation=cv2.INTER_AREA)
        crop = np.ascontiguousarray(crop)
        mesh = (looks.mesh_NP2[0] - box_xywh[:2] + 0.5) * part - 0.5
        shown = media.fractions(crop)
        skin = skin_of(mesh, _eye(mesh), (width, height))
        if track not in self._tracks:
            self._tracks.append(track)
        about = {
            "track_M": np.int32(self._tracks.index(track)), "frame_M": np.int32(looks.frames_N[0]),
            "measures_M3": looks.measures_N3[0].astype(np.float32), "turn_M3": looks.turn_N3[0].astype(np.float32),
            "scale_M": np.float32(looks.scale_N[0] * part.mean()), "lower_ML3": looks.lower_NL3[0],
            "mesh_MP2": mesh.astype(np.float32), "light_M33": light_of(shown, mesh).astype(np.float32),
            "grain_MB": grain.levels(shown, skin).astype(np.float32), "size_M2": np.array([width, height], np.int32),
            "place_M": np.int64(self._bytes),
        }  # fmt: skip
        for key, value in about.items():
            self._rows.setdefault(key, []).append(np.asarray(value))
        self._deep = crop.dtype == np.uint16
        self._file.write(crop.data)
        self._hash.update(crop.data)
        self._bytes += crop.nbytes

    def close(self) -> tuple[str | None, int]:
        """The name of the file of numbers, and how many frames there are; None where there is no frame."""
        self._file.close()
        part = self._folder / f"{self._name}.part"
        if not self._rows:
            part.unlink()
            return None, 0
        arrays: Mapping[str, np.ndarray] = {
            "schema": np.array(SCHEMA), "tracks": np.array(self._tracks), "deep": np.array(self._deep),
            **{key: np.stack(rows) for key, rows in self._rows.items()},
        }  # fmt: skip
        for key, value in arrays.items():
            self._hash.update(f"{key}{value.dtype}{value.shape}".encode())
            self._hash.update(np.ascontiguousarray(value).tobytes())
        name = f"mouths_{self._hash.hexdigest()[:12]}"
        with (self._folder / f"{name}.npz").open("wb") as file:
            np.savez(file, **arrays)
        part.rename(self._folder / f"{name}.raw")
        return f"{name}.npz", len(self._rows["frame_M"])


def load(path: Path) -> Store:
    """Read what `StoreWriter` wrote. Raises ModelError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["schema"]) != SCHEMA:
                raise ModelError(f"{path} holds {data['schema']}, this version reads {SCHEMA}; run the job again.")
            values = {f.name: data[f.name] for f in fields(Store) if f.name != "crops"}
        return Store(**values, crops=np.memmap(path.with_suffix(".raw"), np.uint8, "r"))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} is not a store of mouths ({e}); run the job again.") from e


def _eye(mesh_P2: np.ndarray) -> float:
    return max(float(np.linalg.norm(mesh_P2[33] - mesh_P2[263])), 1.0)
