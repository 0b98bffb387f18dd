"""Action units: what the muscles of a face do to its mesh, one by one, and how far each of them stands in a face.

The units and the emotions are those of the Facial Action Coding System (Ekman and Friesen 1978; Ekman, Friesen and
Hager 2002) and of its table of emotions, EMFACS (Friesen and Ekman 1983). A unit is a field of moves of the 478 mesh
points, written here by what the manual says of it: which skin moves which way. What lies between the points that are
named moves with them; nothing else does.

How far a unit stands in a face is read off heights and widths (corners, brows, lids, cheeks, lips) by least squares
against the neutral face, each weighed by how much people at rest differ in it (`Reading`). Lengths are in inter-ocular
distances (about 9 cm) of an upright face: x to the picture's right, y down. Knows no picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from dubbing.face import INNER_LIPS, RIGID, align
from dubbing.models import shipped_arrays

__all__ = ["EMOTIONS", "NEUTRAL_FILE", "UNITS", "WORDS", "Reading", "Units", "mirrored", "of_emotion"]

NEUTRAL_FILE = Path(__file__).with_name("neutral.npz")

WORDS = {
    1: "inner brow raiser", 2: "outer brow raiser", 4: "brow lowerer", 5: "upper lid raiser", 6: "cheek raiser",
    7: "lid tightener", 9: "nose wrinkler", 12: "lip corner puller", 15: "lip corner depressor",
    16: "lower lip depressor", 18: "lip pucker", 20: "lip stretcher", 23: "lip tightener", 26: "jaw drop",
}  # fmt: skip
"""The units there are, by their number in the manual."""
UNITS = tuple(WORDS)

EMOTIONS: Mapping[str, Mapping[int, float]] = {
    "neutral": {},
    "happy": {6: 1.0, 12: 1.0},
    "sad": {1: 1.0, 4: 0.6, 15: 1.0},
    "angry": {4: 1.0, 5: 0.5, 7: 1.0, 23: 1.0},
    "surprised": {1: 1.0, 2: 1.0, 5: 0.8, 26: 1.0},
    "disgusted": {9: 1.0, 15: 0.8, 16: 0.8},
    "afraid": {1: 1.0, 2: 0.7, 4: 0.7, 5: 1.0, 20: 1.0, 26: 0.35},
}
"""The units of each emotion, and how far each of them goes at strength 1."""

# What is named is of the half at the picture's left, and of the middle; the other half is its mirror image. A move is
# (outwards, down), in hundredths of an inter-ocular distance; what is held does not move.
_UPPER_LID, _LOWER_LID = (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)
_LID_PROFILE = (0.30, 0.65, 0.92, 1.0, 0.92, 0.65, 0.28)
_ABOVE_LID, _BELOW_LID = (247, 30, 29, 27, 28, 56, 190), (25, 110, 24, 23, 22, 26, 112)
_FOLD, _BAG = (113, 225, 224, 223, 222, 221, 189), (31, 228, 229, 230, 231, 232, 233)
_EYE = (33, 133, 468, 469, 470, 471, 472, *_UPPER_LID, *_LOWER_LID)
_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
_HAIRLINE = (10, 109, 67, 103, 54, 21, 162, 127)
_JAWLINE = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
_NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 2, 98, 64, 48, 129, 97)
# From the corner to the middle: rings of the upper and of the lower lip, outer ring first, the last where lips meet.
_UPPER_LIP = ((185, 40, 39, 37, 0), (184, 74, 73, 72, 11), (183, 42, 41, 38, 12), (191, 80, 81, 82, 13))
_LOWER_LIP = ((146, 91, 181, 84, 17), (77, 90, 180, 85, 16), (96, 89, 179, 86, 15), (95, 88, 178, 87, 14))
_CORNER = (61, 76, 62, 78)
_MOUTH = (*_CORNER, *(p for ring in (*_UPPER_LIP, *_LOWER_LIP) for p in ring))

Moves = list[tuple[tuple[int, ...], tuple[float, float]]]


def _lid(points: tuple[int, ...], down: float) -> Moves:
    return [((point,), (0.0, down * part)) for point, part in zip(points, _LID_PROFILE, strict=True)]


def _lips(corner: tuple[float, float], upper: Mapping[int, float] | None = None) -> Moves:
    """Both lips pulled by their corners, so that they stay shut. upper: how much of the corner's move (0..1) each place
    from the corner (0) to the middle (4) makes."""
    parts = upper or {0: 0.85, 1: 0.58, 2: 0.28, 3: 0.08, 4: 0.0}
    moves: Moves = [(_CORNER, corner)]
    for ring in (*_UPPER_LIP, *_LOWER_LIP):
        moves += [((ring[n],), (corner[0] * part, corner[1] * part)) for n, part in parts.items()]
    return moves


def _rings(rings: tuple[tuple[int, ...], ...], downs: tuple[float, ...], profile: tuple[float, ...]) -> Moves:
    """One lip up or down. downs: of each ring; profile: of each place from the corner to the middle."""
    return [
        ((point,), (0.0, down * part))
        for ring, down in zip(rings, downs, strict=True)
        for point, part in zip(ring, profile, strict=True)
    ]


@dataclass(frozen=True)
class _Unit:
    moves: Moves
    held: tuple[int, ...]
    reach: float = 0.13


_WRITTEN: Mapping[int, _Unit] = {
    1: _Unit([((55, 107), (0.2, -5.5)), ((65, 66), (0.0, -4.0)), ((52, 105), (0.0, -1.6)), ((9,), (0.0, -3.0)),
              ((8,), (0.0, -1.2)), ((108,), (0.0, -3.0)), ((151,), (0.0, -2.4)), ((69,), (0.0, -1.2)),
              ((221, 222), (0.0, -1.8)), ((223, 189), (0.0, -0.7))],
             (*_EYE, *_ABOVE_LID, 53, 63, 70, 46, 168, 6, *_HAIRLINE)),
    2: _Unit([((70, 63, 46, 53), (0.2, -4.6)), ((105, 52), (0.0, -4.6)), ((66, 65), (0.0, -2.2)),
              ((104, 68), (0.0, -2.6)),
              ((69,), (0.0, -1.4)), ((225, 224), (0.0, -1.7)), ((223,), (0.0, -1.5)), ((222,), (0.0, -0.8)),
              ((156, 124), (0.0, -1.5))],
             (*_EYE, *_ABOVE_LID, 107, 55, 9, 8, 108, *_HAIRLINE)),
    4: _Unit([((55, 107), (-2.2, 3.4)), ((65, 66), (-1.8, 3.4)), ((52, 105), (-0.9, 2.2)), ((53, 63), (-0.3, 0.9)),
              ((9,), (0.0, 2.4)), ((8,), (0.0, 1.6)), ((168,), (0.0, 0.5)), ((108,), (-0.4, 1.4)), ((151,), (0.0, 1.0)),
              ((69,), (0.0, 0.9)), ((221, 222), (-0.5, 1.5)), ((223,), (-0.2, 1.0)), ((189,), (-0.2, 0.7)),
              ((28, 56), (0.0, 0.4))],
             (*_EYE, 70, 46, 6, *_HAIRLINE)),
    5: _Unit([*_lid(_UPPER_LID, -2.9), *_lid(_ABOVE_LID, -2.0), *_lid(_FOLD, -0.5)],
             (33, 133, *_LOWER_LID, *_BROW), reach=0.06),
    6: _Unit([((50, 101, 118, 117, 119), (0.3, -2.8)), ((123, 187), (0.3, -1.6)), ((36, 205), (0.3, -2.4)),
              ((116, 111), (0.0, -1.6)), ((206, 203), (0.2, -1.0)), ((100, 142), (0.0, -1.6)), ((120, 47), (0.0, -0.9)),
              *_lid(_LOWER_LID, -1.5), *_lid(_BELOW_LID, -1.9), *_lid(_BAG, -2.3)],
             (33, 133, *_UPPER_LID, *_NOSE, *_MOUTH, 234, 93, 132, 58)),
    7: _Unit([*_lid(_LOWER_LID, -2.0), *_lid(_BELOW_LID, -1.4), *_lid(_BAG, -0.7), *_lid(_UPPER_LID, 1.4),
              *_lid(_ABOVE_LID, 0.7)],
             (33, 133, *_BROW, 118, 119, 120, 117), reach=0.06),
    9: _Unit([((129, 102, 48, 49, 64, 98, 219, 235, 240, 59, 166), (0.3, -2.6)), ((131, 209, 198), (0.3, -2.2)),
              ((126, 142, 217), (0.2, -1.6)), ((203, 36), (0.0, -2.0)), ((165, 92), (0.0, -1.5)), ((206,), (0.0, -1.3)),
              ((100, 47), (0.0, -1.2)), ((37, 39, 167), (0.0, -1.0)), ((0, 164), (0.0, -0.7)), ((40, 186), (0.0, -0.8)),
              ((72, 73, 11), (0.0, -0.6)), ((55, 107), (-0.8, 1.9)), ((65, 66), (-0.4, 1.6)), ((8, 9), (0.0, 1.2)),
              ((122, 188, 196, 174), (0.0, -0.7)), *_lid(_LOWER_LID, -0.6), *_lid(_BAG, -0.9)],
             (33, 133, *_UPPER_LID, 4, 1, 2, 5, 195, 13, 82, 81, 80, *_CORNER, 17, 18, *_HAIRLINE, 234, 93, 132),
             reach=0.10),
    12: _Unit([*_lips((5.2, -5.2)), ((57,), (5.2, -4.8)), ((186,), (4.2, -5.0)), ((212,), (4.4, -3.9)),
               ((43,), (3.2, -2.8)), ((202,), (2.3, -1.8)), ((92,), (1.9, -2.7)), ((216,), (3.0, -4.4)),
               ((207,), (1.9, -3.8)), ((206,), (1.6, -3.6)), ((205,), (1.1, -3.0)), ((203,), (0.7, -1.4)),
               ((187,), (1.0, -2.4)), ((214,), (2.2, -1.8)), ((36,), (0.5, -1.9)), ((50,), (0.5, -1.8)),
               ((101,), (0.0, -0.9)), ((129, 48, 64), (0.8, -0.3)), ((165,), (0.7, -0.6)), ((106,), (1.2, -0.9))],
              (132, 58, 136, 150, 149, 176, 148, 152, 18, 83, 200, 2, 164, 97, 167, 118, 119, 93, 234)),
    15: _Unit([*_lips((0.3, 3.4), {0: 0.80, 1: 0.45, 2: 0.15, 3: 0.03, 4: 0.0}), ((57,), (0.2, 3.2)),
               ((43,), (0.0, 3.0)),
               ((186,), (0.0, 1.9)), ((212,), (0.2, 2.4)), ((202,), (0.1, 2.2)), ((92,), (0.0, 0.6)),
               ((216,), (0.1, 1.0)),
               ((106,), (0.0, 1.4)), ((204,), (0.0, 1.0)), ((210, 214), (0.0, 0.9))],
              (58, 172, 136, 150, 149, 176, 148, 152, 18, 83, 200, 2, 164, 97, 167, 165, 205, 206, 187)),
    16: _Unit([*_rings(_LOWER_LIP, (2.4, 2.3, 2.2, 2.1), (0.1, 0.45, 0.85, 1.0, 1.0)), ((18, 83), (0.0, 1.3)),
               ((182,), (0.0, 0.9)), ((200, 201), (0.0, 0.5))],
              (*_CORNER, *(p for ring in _UPPER_LIP for p in ring), 43, 57, 152, 148, 176), reach=0.10),
    18: _Unit([*_lips((-4.2, 0.0)), ((57,), (-4.0, 0.0)), ((186, 43), (-3.0, 0.0)), ((212,), (-3.0, 0.0)),
               ((202, 92), (-2.0, 0.0)), ((216, 106), (-1.6, 0.0)), ((214,), (-1.2, 0.0))],
              (132, 58, 136, 150, 149, 176, 148, 152, 18, 83, 200, 2, 164, 97, 167, 205, 187), reach=0.11),
    20: _Unit([*_lips((4.2, 1.0)), ((57,), (4.2, 1.0)), ((186, 43), (3.2, 0.8)), ((212,), (3.6, 0.9)),
               ((202,), (2.4, 0.8)),
               ((216,), (2.4, 0.3)), ((92, 106), (1.6, 0.4)), ((207, 214), (1.6, 0.2)), ((206,), (0.9, 0.0))],
              (132, 58, 136, 150, 149, 176, 148, 152, 18, 83, 2, 164, 97, 167, 205, 187)),
    23: _Unit([*_rings(_UPPER_LIP, (1.3, 0.8, 0.4, 0.0), (0.4, 0.8, 1.0, 1.0, 0.9)),
               *_rings(_LOWER_LIP, (-1.5, -0.9, -0.4, 0.0), (0.4, 0.8, 1.0, 1.0, 1.0)), (_CORNER, (-1.5, 0.0)),
               ((57,), (-1.2, 0.0)), ((164, 167, 165), (0.0, 0.5)), ((18, 83), (0.0, -0.7)), ((212,), (-0.6, 0.0))],
              (2, 97, 98, 206, 216, 200, 201, 152), reach=0.08),
    26: _Unit([((152, 175, 148, 171, 199, 200, 208, 201), (0.0, 9.0)), ((176, 140), (-0.1, 7.8)),
               ((149, 32), (-0.2, 6.6)),
               ((150, 170, 211), (-0.3, 4.4)), ((136, 169), (-0.3, 2.4)), ((172, 135), (-0.1, 1.0)),
               ((18, 83), (0.0, 8.6)),
               ((182, 194), (0.0, 8.0)), ((106, 204), (-0.2, 6.0)), ((43, 202), (-0.5, 3.4)), ((210,), (-0.3, 3.0)),
               ((57, 212), (-1.0, 2.4)), ((214,), (-0.3, 1.4)), (_CORNER, (-1.6, 3.0)),
               *_rings(_LOWER_LIP, (8.4, 8.4, 8.5, 8.6), (0.48, 0.72, 0.90, 1.0, 1.0)),
               *_rings(_UPPER_LIP, (-0.1, -0.2, -0.2, -0.3), (-9.0, -3.0, 0.8, 1.0, 1.0)), ((186,), (-0.6, 1.2))],
              (58, 132, 93, 234, 2, 164, 97, 98, 205, 187, 92), reach=0.11),
}  # fmt: skip

_PARTING = (16, 26)
_CUT = 0.25  # by which the lower lip is set off from the upper one, so that neither moves the other
_LIKELY = 0.8  # spread of a unit's amount among faces with an expression, before anything is seen
_TREMBLE = 0.008  # of a gauge between two meshes of one face
_SURE = 0.25  # of the doubt about a unit's amount, which is taken off it
_NEAR = 0.3  # of a unit at 1: how sure a face must be to be said to show it
# What is read of a face, each the mean height (down) or distance (across) of points less that of others.
_DOWN: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "corners": ((61, 291), (13, 14)), "inner brow": ((55, 285, 107, 336), ()), "outer brow": ((70, 300, 63, 293), ()),
    "upper lid": ((159, 386, 160, 385, 158, 387), ()), "lower lid": ((145, 374, 144, 373, 153, 380), ()),
    "cheeks": ((50, 280, 118, 347), ()), "wings": ((129, 358, 98, 327), (4, 1)), "upper lip": ((13, 82, 312),
    (0, 37, 267)),
    "lower lip": ((17, 84, 314), (14, 87, 317)), "gap": ((14, 87, 317), (13, 82, 312)), "mouth": ((13, 82, 312), (2,)),
}  # fmt: skip
# By how much more people differ than the few that were measured; eyes, which were small in their pictures, most.
_WIDER = np.array([1.2 if name not in ("upper lid", "lower lid") else 1.8 for name in (*_DOWN, "width", "brows")])
# How much of a move the mesh shows when it is found in a picture that moved so (bench/expression.py): brows and cheeks
# little, the nose nothing.
_FOUND = np.array([0.75, 0.45, 0.55, 0.5, 0.7, 0.3, 0.0, 0.5, 0.5, 1.0, 1.0, 0.85, 0.25])
_ACROSS = {"width": (291, 61), "brows": (285, 55)}


def mirrored(shape_P3: np.ndarray, like_P3: np.ndarray) -> np.ndarray:
    """A canonical face seen in a mirror, (478, 3). like_P3: a face by which a point's counterpart is found."""
    return np.asarray(shape_P3[_counterparts(like_P3)] * (-1, 1, 1))


def _counterparts(face_P3: np.ndarray) -> np.ndarray:
    """For each point the one that a mirror shows in its place, int (478,)."""
    from scipy.optimize import linear_sum_assignment

    face = face_P3 - (face_P3[[33, 263]].mean(0) * (1, 0, 0))
    apart = np.linalg.norm(face[:, None] * (-1, 1, 1) - face[None], axis=-1)
    return np.asarray(linear_sum_assignment(apart**2)[1])


@dataclass(frozen=True, eq=False)
class Reading:
    """How far each unit stands in one face.

    amount: by the unit's number, 0 not at all, 1 as far as it is written here, or more; what people's own differences
    may explain is taken off.
    """

    amount: dict[int, float]

    @property
    def shown(self) -> tuple[int, ...]:
        """The units that are plainly there."""
        return tuple(unit for unit, amount in self.amount.items() if amount >= _NEAR)


class Units:
    """The neutral face and the moves of each unit. Build it by `load`."""

    def __init__(self, faces_FP3: np.ndarray) -> None:
        """faces_FP3: resting faces of people, canonical, (F, 478, 3)."""
        faces = np.asarray(faces_FP3, np.float64)
        mean = faces.mean(0)
        self.neutral_P3 = (mean + mirrored(mean, mean)) / 2
        other = _counterparts(self.neutral_P3)
        self.moves = {unit: _field(written, self.neutral_P3, other) for unit, written in _WRITTEN.items()}
        self._usual = _gauges(self.neutral_P3)
        self._spread = _WIDER * np.stack([_gauges(face) for face in faces]).std(0)
        move = _FOUND[:, None] * np.stack([_gauges(self.moves[unit]) for unit in UNITS], 1)
        likely = np.eye(len(UNITS)) / _LIKELY
        self._system = np.concatenate([move / self._spread[:, None], likely])
        self._same_person = np.concatenate([move / _TREMBLE, likely])
        self._doubt = np.sqrt(np.diag(np.linalg.inv(self._system.T @ self._system)))

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> Units:
        """With the resting faces that ship with the package. Raises ModelError where their file is damaged."""
        return Units(shipped_arrays(NEUTRAL_FILE, "the neutral face", "shipped_weights/neutral.py")["faces"])

    def pose(self, mesh_P3: np.ndarray) -> tuple[np.ndarray, tuple[float, np.ndarray, np.ndarray]]:
        """A face beside the neutral one: its shape (478, 3), and the scale, turn (3, 3) and shift (3,) by which its
        mesh, in pixels, is made of that shape."""
        rigid = list(RIGID)
        mesh = np.asarray(mesh_P3, np.float64)
        scale, turn, shift = (v[0] for v in align(mesh[None, rigid], self.neutral_P3[rigid]))
        return (mesh - shift) @ turn / scale, (float(scale), turn, shift)

    def read(self, mesh_P3: np.ndarray) -> Reading:
        """What one face shows. mesh_P3: (478, 3) pixels."""
        shape, _ = self.pose(mesh_P3)
        seen = np.concatenate([(_gauges(shape) - self._usual) / self._spread, np.zeros(len(UNITS))])
        found, _ = nnls(self._system, seen)
        return Reading(dict(zip(UNITS, np.maximum(found - _SURE * self._doubt, 0).tolist(), strict=True)))

    def gauges(self, mesh_P3: np.ndarray) -> dict[str, float]:
        """What is read of one face, by name, in inter-ocular distances: heights are down. mesh_P3: (478, 3) pixels."""
        return dict(zip((*_DOWN, *_ACROSS), _gauges(self.pose(mesh_P3)[0]).tolist(), strict=True))

    def change(self, before_P3: np.ndarray, after_P3: np.ndarray) -> dict[int, float]:
        """How much more of each unit a second picture of one person shows than a first, by meshes (478, 3), pixels."""
        first, second = (_gauges(self.pose(mesh)[0]) for mesh in (before_P3, after_P3))
        seen = np.concatenate([(second - first) / _TREMBLE, np.zeros(len(UNITS))])
        found, *_ = np.linalg.lstsq(self._same_person, seen, rcond=None)
        return dict(zip(UNITS, found.tolist(), strict=True))

    def moved(self, amount: Mapping[int, float], *, speaking: bool = False) -> np.ndarray:
        """Where the points of a canonical face go, float64 (478, 3). amount: of each unit, negative takes it away;
        speaking: whether words move the mouth besides, so that no unit may part or press the lips."""
        out = np.zeros_like(self.neutral_P3)
        for unit, much in amount.items():
            if not (speaking and unit in _PARTING):
                out += much * self.moves[unit]
        if speaking:
            upper, lower = list(INNER_LIPS[1:10]), list(INNER_LIPS[:10:-1])
            both = (out[upper] + out[lower]) / 2
            out[upper] = out[lower] = both
        return out


def _gauges(shape_P3: np.ndarray) -> np.ndarray:
    """What is read of a canonical face or of its moves, float64 (G,)."""
    down = [shape_P3[list(a), 1].mean() - (shape_P3[list(b), 1].mean() if b else 0.0) for a, b in _DOWN.values()]
    return np.array(down + [shape_P3[a, 0] - shape_P3[b, 0] for a, b in _ACROSS.values()])


def of_emotion(name: str, strength: float) -> dict[int, float]:
    """How far each unit goes in an emotion, `strength` 0..1. Raises KeyError for another name."""
    return {unit: strength * part for unit, part in EMOTIONS[name].items()}


def _field(unit: _Unit, neutral_P3: np.ndarray, other_P: np.ndarray) -> np.ndarray:
    """The moves of all points, float64 (478, 3): as written at the points that are named, smooth between them.
    other_P: the counterpart of each point in a mirror."""
    at: dict[int, tuple[float, float]] = {}
    for points in (unit.held,):
        at.update(dict.fromkeys(points, (0.0, 0.0)))
    for points, move in unit.moves:
        at.update(dict.fromkeys(points, move))
    whole = {p: (-x, y) for p, (x, y) in at.items()}  # outwards is to the left in this half
    whole.update({int(other_P[p]): (x, y) for p, (x, y) in at.items() if other_P[p] != p})
    names = list(whole)
    place = _spread_lips(neutral_P3)
    apart = np.linalg.norm(place[names][:, None] - place[names][None], axis=-1)
    near = np.exp(-0.5 * (apart / unit.reach) ** 2) + 3e-3 * np.eye(len(names))
    weight = np.linalg.solve(near, np.array([whole[n] for n in names]) / 100)
    reach = np.exp(-0.5 * (np.linalg.norm(place[:, None] - place[names][None], axis=-1) / unit.reach) ** 2)
    out = np.zeros_like(neutral_P3)
    out[:, :2] = reach @ weight
    out[names, :2] = np.array([whole[n] for n in names]) / 100
    return out


def _spread_lips(neutral_P3: np.ndarray) -> np.ndarray:
    """Places (478, 2) of the points, those below the line where the lips meet moved down, most in the middle."""
    upper, lower = neutral_P3[list(INNER_LIPS[:11])], neutral_P3[[INNER_LIPS[0], *INNER_LIPS[:9:-1]]]
    x, y = neutral_P3[:, 0], neutral_P3[:, 1]
    seam = np.interp(x, upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2)
    half = np.ptp(upper[:, 0]) / 2
    down = _CUT * np.maximum(1 - ((x - upper[:, 0].mean()) / (1.15 * half)) ** 2, 0)
    below = (y > seam) | np.isin(np.arange(len(x)), INNER_LIPS[11:])
    below &= ~np.isin(np.arange(len(x)), INNER_LIPS[:11])
    return np.stack([x, y + np.where(below, down, 0)], 1)
