"""Bend a face in a picture to another expression: the skin moves with its mesh, eyes and what is between lips do not.

Three layers: the picture's own pixels under one smooth map (`generators.rewrite.warp`); in each eye, where its lids
move, the eyeball, which stays, and is continued under lids that open further; between lips that part, a drawn inside
(`generators.rewrite.interior`). Folds that the moved skin would throw are hinted at by a little shade. Outside the face
no pixel changes. Knows no emotion, no time and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from dubbing.face import INNER_LIPS, LOWER_LIDS, OVAL, UPPER_LIDS
from dubbing.generators.rewrite.geometry import boxes_around
from dubbing.generators.rewrite.interior import SHOWN, Inside, draw, shut, tones
from dubbing.generators.rewrite.warp import dense_map, moved
from dubbing.smoothstep import smoothstep

__all__ = ["Bent", "bend", "boxes", "region"]

_IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
_SKIN = 468  # mesh points before the irises'
_UPPER, _LOWER = INNER_LIPS[:11], (INNER_LIPS[0], *INNER_LIPS[:9:-1])
# Lengths are inter-ocular distances.
_RING = 0.42  # how far outside the face's outline everything stands still
_REACH = 0.20  # how far outside it anything moves
_LASHES = 0.020  # of an open eye beside its lids, which belongs to the lids
_EDGE = 0.012
_PARTED = 0.035  # a gap between lips that is grown shut before it is bent shut
# Folds: the unit that throws them, points along each (a pair: half way), how dark at 1, how wide.
_FOLDS: tuple[tuple[int, tuple[int | tuple[int, int], ...], float, float], ...] = (
    (12, ((129, 203), (203, 92), (206, 186), (216, 57)), 0.075, 0.050),
    (12, ((358, 423), (423, 322), (426, 410), (436, 287)), 0.075, 0.050),
    (9, ((129, 102), (203, 92), (206, 92)), 0.09, 0.040), (9, ((358, 331), (423, 322), (426, 322)), 0.09, 0.040),
    (4, ((107, 9), (55, 8)), 0.10, 0.022), (4, ((336, 9), (285, 8)), 0.10, 0.022),
    (6, (228, 229, 230), 0.05, 0.025), (6, (448, 449, 450), 0.05, 0.025),
)  # fmt: skip
_WARM = np.array([1.25, 1.05, 0.7], np.float32)  # of a fold's shade in blue, green and red: skin is lit from within


@dataclass(frozen=True, eq=False)
class Bent:
    """A part of a picture whose face was bent. bgr_HWC: of the given type; mesh_P2: (478, 2) where its points went, in
    pixels of the part; touched_HW: bool, where it may differ."""

    bgr_HWC: np.ndarray
    mesh_P2: np.ndarray
    touched_HW: np.ndarray


def region(mesh_P2: np.ndarray, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part (x, y, width, height) of a picture of that size outside which `bend` changes nothing. mesh_P2: pixels,
    (..., 478, 2 or more), of one face or of all its frames."""
    points = mesh_P2[..., :2].reshape(-1, mesh_P2.shape[-2], 2)
    eye = float(np.linalg.norm(points[:, 33] - points[:, 263], axis=-1).max())
    low = np.maximum(np.floor(points.min((0, 1)) - _RING * eye), 0).astype(int) // 2 * 2
    high = np.minimum(np.ceil(points.max((0, 1)) + (_RING + 0.1) * eye), size_wh).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def boxes(mesh_NP2: np.ndarray, picture_wh: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """The same (x, y, width, height) for every frame of a track, even and of one size, inside the picture. mesh_NP2:
    (N, 478, 2) pixels."""
    eye = np.linalg.norm(mesh_NP2[:, 33] - mesh_NP2[:, 263], axis=-1)[:, None]
    low, high = mesh_NP2.min(1) - _RING * eye, mesh_NP2.max(1) + (_RING + 0.1) * eye
    return [(b.x, b.y, b.width, b.height) for b in boxes_around(low, high, picture_wh)]


def bend(
    bgr_HWC: np.ndarray, here_P2: np.ndarray, goal_P2: np.ndarray, amount: Mapping[int, float], *, grid: int = 24,
    speaking: bool = False,
) -> Bent:  # fmt: skip
    """The face with its mesh where it is wanted, uint8 or float32 0..255 as given.

    here_P2, goal_P2: (478, 2) its mesh and the wanted one, pixels of this picture; amount: how much of each unit was
    added, for the folds; grid: nodes of the map between the eyes' outer corners; speaking: whether what is between the
    lips is left to whoever moves them.
    """
    size = (bgr_HWC.shape[1], bgr_HWC.shape[0])
    eye = float(np.linalg.norm(here_P2[33] - here_P2[263]))
    goal = goal_P2.copy()
    source = bgr_HWC
    if not speaking:
        goal = _uncrossed(goal)
        if _gap(here_P2) > _PARTED * eye > 2 * _gap(goal):
            source = shut(source, here_P2)
    outline = here_P2[list(OVAL)]
    middle = outline.mean(0)
    away = (outline - middle) / np.maximum(np.linalg.norm(outline - middle, axis=1, keepdims=True), 1e-6)
    both = np.where((((goal - here_P2)[list(OVAL)] * away).sum(1) > 0)[:, None], goal[list(OVAL)], outline)
    ring = both[::2] + _RING * eye * away[::2]
    points = np.concatenate([goal[:_SKIN], ring])
    moves = np.concatenate([here_P2[:_SKIN] - goal[:_SKIN], np.zeros_like(ring)])
    step = max(2, round(eye / grid))
    move = dense_map(points, moves, size, step, smooth=0.25)
    weight = np.zeros((size[1], size[0]), np.float32)
    hull = cv2.convexHull((both + 0.55 * _REACH * eye * away).astype(np.float32))
    cv2.fillConvexPoly(weight, np.rint(hull * 16).astype(np.int32), 1.0, shift=4)
    for _ in range(2):
        weight = cv2.blur(weight, (int(0.4 * _REACH * eye) | 1,) * 2, borderType=cv2.BORDER_CONSTANT)
    touched = weight > 0
    out = moved(source, move * weight)
    if out.dtype == np.float32:
        np.clip(out, 0, 255, out=out)
    for side in (0, 1):
        _eye(out, bgr_HWC, here_P2, goal, side, eye)
    _fold(out, goal, amount, eye, weight)
    if not speaking and _gap(goal) > max(1.3 * _gap(here_P2), 0.012 * eye):
        seam = here_P2.copy()
        seam[list(_UPPER)] = seam[list(_LOWER)] = (here_P2[list(_UPPER)] + here_P2[list(_LOWER)]) / 2
        own = _gap(here_P2) >= SHOWN * eye
        draw(out, bgr_HWC, here_P2, goal, Inside(tones(bgr_HWC, here_P2), seam, own, 1.0), (0, 0))
    out[~touched] = bgr_HWC[~touched]
    return Bent(out, goal, touched)


def _gap(mesh_P2: np.ndarray) -> float:
    """How far the inner lips stand apart in the middle, pixels."""
    return float(np.mean([np.linalg.norm(mesh_P2[a] - mesh_P2[b]) for a, b in ((82, 87), (13, 14), (312, 317))]))


def _uncrossed(goal_P2: np.ndarray) -> np.ndarray:
    """The same mesh with lips that have crossed meeting half way."""
    down = goal_P2[152] - goal_P2[168]
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    upper, lower = list(_UPPER[1:-1]), list(_LOWER[1:-1])
    crossed = ((goal_P2[lower] - goal_P2[upper]) @ down) < 0
    half = 0.5 * (goal_P2[lower] - goal_P2[upper]) * crossed[:, None]
    goal_P2[upper] += half
    goal_P2[lower] -= half
    return goal_P2


def _line(points_P2: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A smooth line through points from left to right, read at u; level beyond its ends."""
    order = np.argsort(points_P2[:, 0])
    x = np.maximum.accumulate(points_P2[order, 0] + 1e-3 * np.arange(len(order)))
    return np.asarray(PchipInterpolator(x, points_P2[order, 1])(np.clip(u, x[0], x[-1])))


def _eye(out_HWC: np.ndarray, own_HWC: np.ndarray, here_P2: np.ndarray, goal_P2: np.ndarray, side: int,
         eye: float) -> None:  # fmt: skip
    """Put the eyeball back where it was, in place: it does not move with its lids."""
    lids = [*UPPER_LIDS[side], *LOWER_LIDS[side]]
    if np.linalg.norm(goal_P2[lids] - here_P2[lids], axis=1).max() < 0.25:
        return
    left, right = goal_P2[UPPER_LIDS[side][0]], goal_P2[UPPER_LIDS[side][-1]]
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    turn = np.array([across, [-across[1], across[0]]])
    centre = here_P2[_IRISES[side][0]]
    near = np.concatenate([goal_P2[lids], here_P2[lids]])
    low = np.maximum(np.floor(near.min(0) - 2), 0).astype(int)
    high = np.minimum(np.ceil(near.max(0) + 3), out_HWC.shape[1::-1]).astype(int)
    if (high - low < 4).any():
        return
    grid = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])), -1) - centre
    u, v = grid @ turn[0], grid @ turn[1]

    def lines(mesh_P2: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far down the lids' edges lie, less the lashes."""
        upper, lower = (_line((mesh_P2[list(k[side])] - centre) @ turn.T, at) for k in (UPPER_LIDS, LOWER_LIDS))
        lashes = np.minimum(_LASHES * eye, 0.3 * np.maximum(lower - upper, 0))
        return upper + lashes, lower - 0.5 * lashes

    upper, lower = lines(goal_P2, u)
    soft = max(1.0, _EDGE * eye)
    seen = (
        smoothstep((v - upper) / soft + 0.5)
        * smoothstep((lower - v) / soft + 0.5)
        * smoothstep((lower - upper) / (2 * soft))
    )
    # where a lid used to be, the eyeball goes on round the iris's middle, as the row beside the lid shows it
    at = [u, v]
    radius = np.hypot(u, v)
    for k, sign in ((0, 1.0), (1, -1.0)):
        edge = lines(here_P2, u)[k]
        under = sign * (edge - v) > 0
        aside = np.sqrt(np.maximum(radius**2 - np.minimum(edge**2, radius**2), 0)) * np.where(u < 0, -1.0, 1.0)
        at[0] = np.where(under, aside, at[0])
        at[1] = np.where(under, lines(here_P2, aside)[k], at[1])
    x = centre[0] + at[0] * turn[0, 0] + at[1] * turn[1, 0]
    y = centre[1] + at[0] * turn[0, 1] + at[1] * turn[1, 1]
    ball = cv2.remap(
        own_HWC, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    part = out_HWC[low[1] : high[1], low[0] : high[0]]
    mixed = part + (ball.astype(np.float64) - part) * seen[..., None]
    part[:] = np.clip(mixed if part.dtype == np.float32 else np.rint(mixed), 0, 255).astype(part.dtype)


def _fold(out_HWC: np.ndarray, goal_P2: np.ndarray, amount: Mapping[int, float], eye: float,
          weight_HW: np.ndarray) -> None:  # fmt: skip
    """Shade the folds that the added units throw, in place: dark in the fold, a little light beside it."""
    shade = np.zeros(out_HWC.shape[:2], np.float32)
    for unit, along, depth, wide in _FOLDS:
        much = depth * min(amount.get(unit, 0.0), 1.2)
        if much < 0.005:
            continue
        line = np.array([goal_P2[p] if isinstance(p, int) else goal_P2[list(p)].mean(0) for p in along])
        dense = np.linspace(0, len(line) - 1, 24)
        path = np.stack([PchipInterpolator(np.arange(len(line)), line[:, k])(dense) for k in (0, 1)], 1)
        outwards = np.sign(line.mean(0)[0] - goal_P2[168, 0])
        for shift, part in ((0.0, 1.0), (1.7 * wide * eye * outwards, -0.5)):
            mark = np.zeros_like(shade)
            for n in range(len(path) - 1):
                thin = float(np.sin(np.pi * (n + 0.5) / (len(path) - 1)))
                a, b = (tuple(np.rint((path[k] + (shift, 0)) * 16).astype(int).tolist()) for k in (n, n + 1))
                cv2.line(mark, a, b, thin, max(1, round(0.3 * wide * eye)), cv2.LINE_AA, shift=4)
            mark = cv2.GaussianBlur(mark, (0, 0), max(0.8, 0.6 * wide * eye))
            top = float(mark.max())
            shade += mark * (part * much / max(top, 1e-6))
    if shade.any():
        lit = np.clip(out_HWC * (1 - (np.clip(shade, -0.2, 0.35) * weight_HW)[..., None] * _WARM), 0, 255)
        out_HWC[:] = lit if out_HWC.dtype == np.float32 else np.rint(lit).astype(out_HWC.dtype)
