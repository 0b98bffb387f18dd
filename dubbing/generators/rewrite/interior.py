"""The inside of a mouth that no frame shows: shade, upper teeth, a hint of tongue, behind lips that part.

For footage in which the mouth is never open as far as wanted: a photograph, a silent actor. Bending closed
lips apart smears them over the gap; so the gap is drawn. Teeth belong to the skull: they hang where the
closed lips met and do not move with the lips that uncover them. What a photograph itself shows between its
lips stays where it is, unbent, and the drawing begins below it. All colours come from the face. Knows no
sound, no time and no other frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dubbing.face import INNER_LIPS, OUTER_LIPS
from dubbing.smoothstep import smoothstep

__all__ = ["SHOWN", "Inside", "Tones", "draw", "shut", "tones"]

_UPPER = INNER_LIPS[:11]  # corner to corner, as the picture shows them
_LOWER = (INNER_LIPS[0], *INNER_LIPS[:9:-1])
_ABOVE, _UNDER = OUTER_LIPS[:11], (OUTER_LIPS[0], *OUTER_LIPS[:9:-1])
_CHEEKS = (50, 280, 205, 425, 118, 347)
_LIP_MIDDLES = (0, 17, 37, 267, 84, 314)
# All lengths are in inter-ocular distances, of which one is about 9 cm.
SHOWN = 0.06  # a frame whose lips stand so far apart shows what is between them
_SOFT = 0.012
_EDGE = 0.038  # how far the upper front teeth reach below the line where the closed lips met
_RISE = 0.032  # by how much less they do at the mouth's corners
_TOOTH_EDGES = (0.0, 0.085, 0.155, 0.225)  # from the middle to either side
_SEEN = (0.025, 0.085)  # openings between which teeth come out of the dark
_TONGUE = (0.07, 0.17)  # and the tongue
_LIGHTER = (1.04, 1.2)  # times a lip's usual light, from which on what is grown is skin
_SEAM = np.array([0.58, 0.60, 0.42])  # light that is lost where closed lips meet, BGR


@dataclass(frozen=True, eq=False)
class Tones:
    """Colours of the inside, float (3,) BGR."""

    shade: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray


@dataclass(frozen=True, eq=False)
class Inside:
    """What to draw into one frame. tones: of the face; seam_P2: (478, 2), the mesh with its lips closed, in the
    picture; own: whether this frame's own gap between the lips is shown; share: 0..1, how much of the gap is drawn."""

    tones: Tones
    seam_P2: np.ndarray
    own: bool
    share: float


def tones(bgr_HWC: np.ndarray, mesh_P2: np.ndarray) -> Tones:
    """Colours from a face's cheeks and lips. mesh_P2: (478, 2) pixels of this picture."""
    eye = float(np.linalg.norm(mesh_P2[33] - mesh_P2[263]))
    skin = _around(bgr_HWC, mesh_P2[list(_CHEEKS)], eye)
    lip = _around(bgr_HWC, mesh_P2[list(_LIP_MIDDLES)], eye)
    light = float(skin @ (0.114, 0.587, 0.299))
    grey = np.full(3, light)
    return Tones(
        shade=0.6 * lip * (0.19, 0.16, 0.30) + 0.4 * skin * (0.10, 0.09, 0.15),
        teeth=np.minimum((0.50 * grey + 0.50 * skin) * (0.86, 0.91, 0.93), 235.0),
        tongue=lip * (0.40, 0.38, 0.50),
    )


def shut(bgr_HWC: np.ndarray, mesh_P2: np.ndarray) -> np.ndarray:
    """A frame whose lips are grown over what is between them, of the frame's type: bent shut, it has no teeth in its
    seam.

    mesh_P2: (478, 2) pixels of this picture.
    """
    eye = float(np.linalg.norm(mesh_P2[33] - mesh_P2[263]))
    axes = _Axes.of(mesh_P2)
    lips = mesh_P2[list(INNER_LIPS)]
    low = np.maximum(np.floor(lips.min(0) - 0.08 * eye), 0).astype(int)
    high = np.minimum(np.ceil(lips.max(0) + 0.08 * eye) + 1, bgr_HWC.shape[1::-1]).astype(int)
    out = bgr_HWC.copy()
    if (high - low < 4).any():
        return out
    u, v = axes.grid(low, high)
    edge = 0.022 * eye
    upper, lower = axes.curve(mesh_P2[list(_UPPER)], u) - edge, axes.curve(mesh_P2[list(_LOWER)], u) + edge
    middle = (upper + lower) / 2
    # each lip mirrored at its own edge, as far as the middle, and never as far as the skin beyond it
    thick_up = upper - axes.curve(mesh_P2[list(_ABOVE)], u)
    thick_down = axes.curve(mesh_P2[list(_UNDER)], u) - lower
    # (nor at its very edge, which the mesh does not meet exactly)
    reach_up, reach_down = (
        np.clip(d, 0.12 * np.maximum(t, 0), 0.3 * np.maximum(t, 0))
        for d, t in ((v - upper, thick_up), (lower - v, thick_down))
    )
    away = np.where(v < middle, upper - reach_up, lower + reach_down) - v
    x, y = np.meshgrid(np.arange(low[0], high[0], dtype=np.float32), np.arange(low[1], high[1], dtype=np.float32))
    at = [(c + away * axes.turn[1, k]).astype(np.float32) for k, c in enumerate((x, y))]
    lip = cv2.remap(bgr_HWC, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    wide = 0.5 * float(np.linalg.norm(mesh_P2[308] - mesh_P2[78]))
    for side in (v < middle, v >= middle):
        _as_lip(lip, side & (v > upper) & (v < lower), np.abs(u) < 0.6 * wide)
    half = np.maximum((lower - upper) / 2, 1.0)
    lip *= 1 - smoothstep(1 - np.abs(v - middle) / (0.4 * half))[..., None] * _SEAM
    soft = max(0.8, 0.006 * eye)
    cover = np.clip((v - upper) / soft, 0, 1) * np.clip((lower - v) / soft, 0, 1)
    cover *= (u > axes.across(mesh_P2[78])) & (u < axes.across(mesh_P2[308]))
    part = out[low[1] : high[1], low[0] : high[0]]
    part[:] = _kept(part + (lip - part) * cover[..., None], part.dtype)
    return out


def _as_lip(lip_HWC: np.ndarray, where: np.ndarray, middle: np.ndarray) -> None:
    """Give what is lighter than the middle of a grown lip the lip's own colour, in place: skin beside a thin lip."""
    if not (where & middle).any():
        return
    usual = np.median(lip_HWC[where & middle], axis=0)
    light = float(usual.sum())
    over = smoothstep((lip_HWC.sum(-1) / max(light, 1.0) - _LIGHTER[0]) / (_LIGHTER[1] - _LIGHTER[0])) * where
    lip_HWC += (usual - lip_HWC) * over[..., None]


def _kept(values: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Values as a picture of that type keeps them: uint8, or float32 0..255 with fractions."""
    clipped = np.clip(values if kind == np.float32 else np.rint(values), 0, 255)
    return clipped.astype(kind)


def _around(bgr_HWC: np.ndarray, points_P2: np.ndarray, eye: float) -> np.ndarray:
    """The median colour near some points, float (3,)."""
    height, width = bgr_HWC.shape[:2]
    reach = max(1, round(0.02 * eye))
    found = []
    for x, y in np.rint(points_P2).astype(int):
        if reach <= x < width - reach and reach <= y < height - reach:
            found.append(bgr_HWC[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3))
    if not found:
        return np.array([110.0, 125.0, 160.0])
    return np.asarray(np.median(np.concatenate(found), axis=0), np.float64)


def draw(face_HWC: np.ndarray, own_HWC: np.ndarray, here_P2: np.ndarray, goal_P2: np.ndarray, inside: Inside,
         corner_xy: tuple[float, float]) -> None:  # fmt: skip
    """Draw the inside into a rendered crop, in place, uint8 or float32 (H, W, 3), 0..255.

    own_HWC: the frame itself; here_P2, goal_P2: (478, 2) its mesh and the wanted one, pixels of the crop;
    corner_xy: where the crop lies in the picture.
    """
    eye = float(np.linalg.norm(here_P2[33] - here_P2[263]))
    axes = _Axes.of(goal_P2)
    room = 0.06 * eye
    lips = goal_P2[list(INNER_LIPS)]
    low = np.maximum(np.floor(lips.min(0) - room), 0).astype(int)
    high = np.minimum(np.ceil(lips.max(0) + room) + 1, face_HWC.shape[1::-1]).astype(int)
    if (high - low < 4).any() or inside.share <= 0:
        return
    u, v = axes.grid(low, high)
    upper, lower = axes.curve(goal_P2[list(_UPPER)], u), axes.curve(goal_P2[list(_LOWER)], u)
    gap = np.maximum(lower - upper, 0)
    widest = float(gap.max()) / eye
    if widest < 0.004:
        return
    soft = max(0.8, _SOFT * eye)
    # the lips' own edge stays outside; where the gap closes, nothing is drawn
    cover = smoothstep((v - upper) / soft + 0.5) * smoothstep((lower - v) / soft + 0.5) * smoothstep(gap / (1.5 * soft))
    half = 0.5 * float(np.linalg.norm(goal_P2[308] - goal_P2[78]))
    picture = _cavity(u / max(half, 1.0), v - upper, lower - v, eye, widest, inside.tones)
    seam = axes.curve(inside.seam_P2[list(_UPPER)] - corner_xy, u)
    middle = axes.across(here_P2[[13, 14]].mean(0))
    teeth, there = _teeth(u - middle, v - seam, v - upper, eye, widest, half, inside.tones)
    part = face_HWC[low[1] : high[1], low[0] : high[0]]
    if inside.own:
        kept = _own_gap(here_P2, axes, u, v, eye)
        own = own_HWC[low[1] : high[1], low[0] : high[0]].astype(np.float64)
        there = there * (1 - kept)
        picture += (own - picture) * kept[..., None]
    picture += (teeth - picture) * there[..., None]
    weight = (cover * inside.share)[..., None]
    part[:] = _kept(part + (picture - part) * weight, part.dtype)


@dataclass(frozen=True, eq=False)
class _Axes:
    """Across the mouth and down it, in pixels from its middle."""

    middle: np.ndarray
    turn: np.ndarray

    @staticmethod
    def of(goal_P2: np.ndarray) -> _Axes:
        left, right = goal_P2[78], goal_P2[308]
        across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
        return _Axes((left + right) / 2, np.array([across, [-across[1], across[0]]]))

    def grid(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xy = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])), -1) - self.middle
        return xy @ self.turn[0], xy @ self.turn[1]

    def across(self, point_2: np.ndarray) -> float:
        return float((point_2 - self.middle) @ self.turn[0])

    def curve(self, points_P2: np.ndarray, u: np.ndarray) -> np.ndarray:
        """How far down a line through points lies at u; level beyond its ends."""
        from scipy.interpolate import PchipInterpolator  # slow to load, and every command loads this module

        at = (points_P2 - self.middle) @ self.turn.T
        x, y = np.maximum.accumulate(at[:, 0] + 1e-3 * np.arange(len(at))), at[:, 1]
        x = x + 1e-6 * np.arange(len(x))
        return np.asarray(PchipInterpolator(x, y)(np.clip(u, x[0], x[-1])))


def _cavity(across: np.ndarray, below_upper: np.ndarray, above_lower: np.ndarray, eye: float, widest: float,
            colours: Tones) -> np.ndarray:  # fmt: skip
    """Shade that is deepest behind the upper teeth, and the tongue rising out of it towards the lower lip."""
    depth = below_upper / np.maximum(below_upper + above_lower, 1.0)
    light = 0.55 + 0.75 * np.clip(depth, 0, 1) ** 2
    light = light * (1 - 0.35 * np.clip(np.abs(across), 0, 1) ** 2)
    picture = colours.shade * light[..., None]
    out = smoothstep((widest - _TONGUE[0]) / (_TONGUE[1] - _TONGUE[0]))
    height = (0.15 + 0.35 * out) * widest * eye
    bed = smoothstep(1.25 - above_lower / max(height, 1.0)) * smoothstep((1 - np.abs(across) * 1.35) / 0.5)
    bed = bed * smoothstep(above_lower / (0.035 * eye))  # the lower lip's shadow
    return np.asarray(picture + (colours.tongue - picture) * (0.75 * out * bed)[..., None])


def _teeth(u: np.ndarray, below_seam: np.ndarray, below_upper: np.ndarray, eye: float, widest: float, half: float,
           colours: Tones) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The upper row and where it is, 0..1."""
    aside = np.abs(u) / max(half, 1.0)
    edge = _EDGE * eye - _RISE * eye * np.clip(aside, 0, 1.2) ** 2
    gaps = np.zeros_like(u)
    if eye > 45:
        for at in _TOOTH_EDGES:
            gaps = np.maximum(gaps, np.exp(-0.5 * ((np.abs(u) / eye - at) / max(0.006, 0.5 / eye)) ** 2))
        edge = edge - 0.006 * eye * gaps
    soft = max(1.0, 0.010 * eye)
    there = smoothstep((edge - below_seam) / soft + 0.5) * smoothstep((1.0 - aside) / 0.45)
    there = there * smoothstep((widest - _SEEN[0]) / (_SEEN[1] - _SEEN[0]))
    # round in the dark: less light to the sides, and under the upper lip
    light = (1 - 0.5 * np.clip(aside, 0, 1) ** 1.6) * (0.62 + 0.38 * smoothstep(below_upper / (0.03 * eye)))
    light = light * (0.80 + 0.20 * smoothstep(widest / 0.14)) * (1 - 0.09 * gaps)
    return colours.teeth * light[..., None], 0.92 * there


def _own_gap(here_P2: np.ndarray, axes: _Axes, u: np.ndarray, v: np.ndarray, eye: float) -> np.ndarray:
    """Where the frame itself shows what is between its lips, 0..1."""
    upper, lower = axes.curve(here_P2[list(_UPPER)], u), axes.curve(here_P2[list(_LOWER)], u)
    soft = max(1.0, 0.015 * eye)
    wide = smoothstep((lower - upper) / (3 * soft) - 0.5)
    return np.asarray(smoothstep((v - upper) / soft + 0.2) * smoothstep((lower - v) / soft - 0.3) * wide)
