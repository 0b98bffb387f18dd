"""Idle motion of a photograph: eyes that blink, and a head that is never quite still.

The head is the photograph's own pixels, bent a little by a smooth map; the lid is painted of the skin around
the eye, because a photograph shows it under lashes that would smear. The moments are drawn at random, seeded by
the picture's content, so the same photograph moves the same way every time. It knows no sound, no mouth and no file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Blinks", "Sway", "blink_times"]

# Lids from one corner of the eye to the other, and the lower edge of the brow above; right eye, left eye.
_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
         152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
_FIRST_S, _BETWEEN_S = (1.0, 3.0), (3.0, 6.0)
_DOWN_S, _UP_S = 0.06, 0.09  # plus one frame fully shut: 0.19 s at 25 frames a second
_STEP = 8  # px, the grid that the head's map is worked out on
# Degrees of turn, nod and tilt at most; each wanders by three slow waves.
_TURN, _NOD, _TILT = 1.6, 0.9, 0.9
_SLOWEST_HZ, _FASTEST_HZ = 0.07, 0.32
_EASE_S = 1.5  # the film begins with the photograph as it is


def _seed(*parts: bytes) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], "big"))


def blink_times(rng: np.random.Generator, until_s: float) -> np.ndarray:
    """The times at which blinks begin, float64 seconds, increasing."""
    times = [float(rng.uniform(*_FIRST_S))]
    while times[-1] < until_s:
        times.append(times[-1] + float(rng.uniform(*_BETWEEN_S)))
    return np.array([t for t in times if t < until_s])


def _shut(since_s: float, frame_s: float) -> float:
    """How far the lids are down, 0..1, `since_s` after a blink began."""
    down = np.clip(since_s / _DOWN_S, 0, 1)
    up = np.clip((since_s - _DOWN_S - frame_s) / _UP_S, 0, 1)
    return float(_ease(down) * (1 - _ease(up)))


def _ease(x: np.ndarray | float) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


class Blinks:
    """The eyes of every face in a photograph. bgr_HWC: uint8; meshes: (478, 3) pixels each."""

    def __init__(self, bgr_HWC: np.ndarray, meshes: list[np.ndarray]) -> None:
        self._still = bgr_HWC
        self._eyes = [[_Eye.of(bgr_HWC, m, side) for side in (0, 1)] for m in meshes]
        self._known_s = 0.0
        self._rngs = [_seed(bgr_HWC.tobytes(), bytes([n % 256])) for n in range(len(meshes))]
        self._times = [np.zeros(0) for _ in meshes]

    def at(self, time_s: float, frame_s: float) -> np.ndarray:
        """The photograph with its lids as they stand at a time, uint8 (H, W, 3): itself where none is down."""
        if time_s >= self._known_s:  # drawn anew from the same seeds, further
            self._known_s = max(60.0, 4 * time_s)
            states = [rng.bit_generator.state for rng in self._rngs]
            self._times = [blink_times(rng, self._known_s) for rng in self._rngs]
            for rng, state in zip(self._rngs, states, strict=True):
                rng.bit_generator.state = state
        out = self._still
        for eyes, times in zip(self._eyes, self._times, strict=True):
            before = times[times <= time_s]
            shut = _shut(time_s - before[-1], frame_s) if len(before) else 0.0
            if shut > 0.01:
                out = out.copy() if out is self._still else out
                for eye in eyes:
                    eye.close(out, shut)
        return out


@dataclass(frozen=True, eq=False)
class _Eye:
    """One eye as it looks shut. lid_HWC: float, a crop of the photograph at (x, y) with skin where the eye and its
    lashes were; reach_HW: 0..1, where it may be laid at all; down_HW: each pixel's place down the eye, in pixels turned
    to its corners; upper_HW, gap_HW: where the upper lid is there, and how far it has to go; dark: colour of lashes."""

    lid_HWC: np.ndarray
    x: int
    y: int
    down_HW: np.ndarray
    upper_HW: np.ndarray
    gap_HW: np.ndarray
    reach_HW: np.ndarray
    dark: np.ndarray
    width: float

    @staticmethod
    def of(bgr_HWC: np.ndarray, mesh: np.ndarray, side: int) -> _Eye:
        points = [mesh[list(p[side]), :2] for p in (_UPPER, _LOWER, _BROW)]
        left, right = points[0][0], points[0][-1]
        width = max(float(np.linalg.norm(right - left)), 2.0)
        across = (right - left) / width
        turn = np.array([across, [-across[1], across[0]]])
        centre = (left + right) / 2
        inside = np.concatenate(points)
        low = np.maximum(np.floor(inside.min(0) - 0.35 * width), 0).astype(int)
        high = np.minimum(np.ceil(inside.max(0) + 0.45 * width) + 1, bgr_HWC.shape[1::-1]).astype(int)
        crop = bgr_HWC[low[1] : high[1], low[0] : high[0]].astype(np.float64)
        grid = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])), -1) - centre
        u, v = grid @ turn[0], grid @ turn[1]
        upper, lower, brow = (_curve((p - centre) @ turn.T, u) for p in points)
        brow = np.minimum(brow, upper - 0.2 * width)
        # between the corners, and fading just outside them
        near = _ease((0.66 * width - np.abs(u)) / (0.2 * width))
        top = np.maximum(brow + 0.12 * width, upper - 0.34 * width)
        bottom = lower + 0.16 * width
        above, below = (v > brow + 0.1 * width) & (v < upper - 0.1 * width), (v > bottom) & (v < bottom + 0.2 * width)
        skins = [_along(crop, u, where, width) for where in (above, below)]
        part = np.clip((v - top) / np.maximum(bottom - top, 1.0), 0, 1)[..., None]
        lid = skins[0] + (skins[1] - skins[0]) * part
        # shading of the round lid, the fold of the open eye, and the grain of the photograph
        lid *= 1 - 0.10 * np.exp(-0.5 * ((v - upper) / (0.05 * width)) ** 2)[..., None] * near[..., None]
        rng = _seed(crop.tobytes(), b"grain")
        grain = cv2.GaussianBlur(rng.standard_normal(u.shape), (0, 0), 0.7)
        fine = crop - cv2.GaussianBlur(crop, (0, 0), 1.2)
        level = float(np.median(np.abs(fine[below]))) * 1.5 if below.any() else 0.0
        lid += (grain / max(float(grain.std()), 1e-6) * level)[..., None]
        reach = near * _ease((v - top) / (0.16 * width)) * _ease((bottom - v) / (0.10 * width))
        eye = (v > upper) & (v < lower)
        dark = np.percentile(crop[eye], 8, axis=0) if eye.any() else np.zeros(3)
        return _Eye(lid, int(low[0]), int(low[1]), v, upper, np.maximum(lower - upper, 0) * near, reach, dark, width)

    def close(self, out_HWC: np.ndarray, shut: float) -> None:
        """Draw the lid over the eye, in place: its skin comes down behind its lashes; the eye itself stays."""
        edge = self.upper_HW + shut * self.gap_HW
        soft = max(0.8, 0.03 * self.width)
        # the open eye's lashes fade as the lid comes down
        old = _ease((self.down_HW - self.upper_HW) / (0.12 * self.width) + 1)
        cover = np.clip((edge - self.down_HW) / soft + 0.5, 0, 1) * np.maximum(old, _ease(1.6 * shut))
        cover *= self.reach_HW * _ease(4 * shut)
        height, width = cover.shape
        into = out_HWC[self.y : self.y + height, self.x : self.x + width]
        picture = into + (self.lid_HWC - into) * cover[..., None]
        thick = (0.035 + 0.015 * shut) * self.width
        line = np.exp(-0.5 * ((self.down_HW - edge - 0.01 * self.width) / (0.6 * thick)) ** 2)
        line *= np.clip(self.gap_HW / (0.12 * self.width), 0, 1) * _ease(4 * shut) * 0.8
        picture += (self.dark - picture) * line[..., None]
        into[:] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _along(crop_HWC: np.ndarray, u: np.ndarray, where: np.ndarray, width: float) -> np.ndarray:
    """Skin colour in a band beside the eye as it changes along the eye, read at u, float (H, W, 3)."""
    middles = np.linspace(-0.6, 0.6, 9) * width
    whole = np.median(crop_HWC[where], axis=0) if where.any() else np.median(crop_HWC.reshape(-1, 3), axis=0)
    found = []
    for at in middles:
        here = where & (np.abs(u - at) < 0.14 * width)
        if here.sum() < 6:
            found.append(whole)
            continue
        some = crop_HWC[here]
        light = some.sum(1)
        lit = some[light >= np.percentile(light, 45)]  # not the lashes and hairs that lie over it
        found.append(np.median(lit, axis=0))
    smooth = cv2.GaussianBlur(np.array(found), (1, 5), 1.0, borderType=cv2.BORDER_REPLICATE)
    return np.stack([np.interp(u, middles, smooth[:, c]) for c in range(3)], -1)


def _curve(points_P2: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A smooth line through points, read at u; level beyond its ends."""
    from scipy.interpolate import PchipInterpolator  # slow to load, and every command loads this module

    order = np.argsort(points_P2[:, 0])
    x, y = points_P2[order, 0], points_P2[order, 1]
    keep = np.concatenate([[True], np.diff(x) > 1e-3])
    x, y = x[keep], y[keep]
    if len(x) < 2:
        return np.full(u.shape, float(y[0]))
    return np.asarray(PchipInterpolator(x, y)(np.clip(u, x[0], x[-1])))


class Sway:
    """A head that turns, nods and tilts slowly about the neck; the background beside it gives way smoothly.

    bgr_HWC: the photograph; mesh: (478, 3) pixels of the face that moves.
    """

    def __init__(self, bgr_HWC: np.ndarray, mesh: np.ndarray) -> None:
        self._size = height, width = bgr_HWC.shape[:2]
        rng = _seed(bgr_HWC.tobytes(), b"sway")
        self._waves = [
            (rng.uniform(_SLOWEST_HZ, _FASTEST_HZ, 3), rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.4, 1.0, 3))
            for _ in range(3)
        ]
        oval = mesh[list(_OVAL), :2]
        face_h, face_w = float(np.ptp(oval[:, 1])), float(np.ptp(oval[:, 0]))
        centre = oval.mean(0)
        chin = oval.max(0)[1]
        rows, cols = np.arange(0, height + _STEP, _STEP), np.arange(0, width + _STEP, _STEP)
        x, y = np.meshgrid(cols.astype(np.float64), rows.astype(np.float64))
        self._x, self._y = x - centre[0], y - (chin + 0.35 * face_h)
        radius = np.hypot((x - centre[0]) / (0.85 * face_w), (y - centre[1] + 0.15 * face_h) / (0.95 * face_h))
        # full weight over head and hair, 0 from 2.5 times their size on and at the picture's edges
        weight = 1 - _ease((radius - 0.9) / 1.5)
        inset = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
        self._weight = weight * _ease(inset / (0.5 * face_w))
        # how far the surface stands out towards the camera: a dome over the head
        self._out = 0.55 * face_w * np.exp(-1.1 * radius**2)

    def angles(self, time_s: float) -> tuple[float, float, float]:
        """Turn, nod and tilt at a time, in radians."""
        ease = float(_ease(time_s / _EASE_S))
        values = [
            float((size * np.sin(2 * np.pi * hz * time_s + phase)).sum() / size.sum())
            for hz, phase, size in self._waves
        ]
        turn, nod, tilt = (ease * float(np.radians(m)) * v for m, v in zip((_TURN, _NOD, _TILT), values, strict=True))
        return turn, nod, tilt

    def move(self, bgr_HWC: np.ndarray, time_s: float) -> np.ndarray:
        """A picture of the photograph's size with the head where it is at a time."""
        turn, nod, tilt = self.angles(time_s)
        dx = turn * self._out - tilt * self._y
        dy = nod * self._out + tilt * self._x
        grid = np.stack([dx, dy], -1) * self._weight[..., None]
        height, width = self._size
        to_grid = np.array([[1 / _STEP, 0, 0], [0, 1 / _STEP, 0]], np.float32)
        move = cv2.warpAffine(
            grid.astype(np.float32), to_grid, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        x = np.arange(width, dtype=np.float32) - move[..., 0]
        y = np.arange(height, dtype=np.float32)[:, None] - move[..., 1]
        return cv2.remap(bgr_HWC, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
