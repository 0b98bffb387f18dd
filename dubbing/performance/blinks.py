"""Eyes that blink: when, by what is said, and how lids look that no photograph shows shut.

People blink where it costs the listener nothing: as a phrase ends and in pauses (Condon and Ogston 1967, Nakano and
Kitazawa 2010), 8 to 25 times a minute when they talk. The lid is painted of the skin around the eye, because a
photograph shows it under lashes that would smear. Knows no head that moves, no mouth and no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing.face import LOWER_LIDS, UPPER_LIDS
from dubbing.performance.speech import Heard
from dubbing.smoothstep import smoothstep

__all__ = ["Eyes", "blink_times", "shut_at"]

# The lower edge of the brow above each eye.
_BROW = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
_FIRST_S = (0.8, 2.5)
_USUAL_S, _SPREAD = 3.8, 0.4  # between blinks: the median, and the spread of its logarithm
_LEAST_S, _MOST_S = 2.4, 6.5  # so that nobody blinks more than 25 times a minute
_DRAWN_S = 1.4  # a phrase that ends so near draws a blink to it
_AFTER_S = (-0.08, 0.14)  # of a phrase's end
_DOWN_S, _UP_S = 0.06, 0.09  # plus one frame fully shut: 0.19 s at 25 frames a second


def _seed(*parts: bytes) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], "big"))


def blink_times(heard: Heard, until_s: float, seed: int) -> np.ndarray:
    """The times at which blinks begin, float64 seconds, increasing, before until_s: where phrases end, or between."""
    rng = np.random.default_rng(seed)
    ends = np.array([end for _, end in heard.phrases])
    times = [float(rng.uniform(*_FIRST_S))]
    while times[-1] < until_s:
        gap = float(np.clip(_USUAL_S * np.exp(_SPREAD * rng.standard_normal()), _LEAST_S, _MOST_S))
        due, shift = times[-1] + gap, float(rng.uniform(*_AFTER_S))
        near = ends[(np.abs(ends - due) < _DRAWN_S) & (ends > times[-1] + _LEAST_S)]
        if len(near):
            due = float(near[np.argmin(np.abs(near - due))]) + shift
        times.append(due)
    return np.array([t for t in times if t < until_s])


def shut_at(times_s: np.ndarray, at_s: float, frame_s: float) -> float:
    """How far the lids are down at a time, 0..1. times_s: when blinks begin; frame_s: how long a frame lasts."""
    before = int(np.searchsorted(times_s, at_s, side="right"))
    if not before:
        return 0.0
    since_s = at_s - float(times_s[before - 1])
    down = np.clip(since_s / _DOWN_S, 0, 1)
    up = np.clip((since_s - _DOWN_S - frame_s) / _UP_S, 0, 1)
    return float(smoothstep(down) * (1 - smoothstep(up)))


class Eyes:
    """The eyes of one face. bgr_HWC: uint8, a picture of it; mesh_P2: (478, 2) pixels of that picture."""

    def __init__(self, bgr_HWC: np.ndarray, mesh_P2: np.ndarray) -> None:
        self._eyes = [_Eye.of(bgr_HWC, mesh_P2, side) for side in (0, 1)]

    @property
    def boxes(self) -> Sequence[tuple[int, int, int, int]]:
        """What may change, (x, y, width, height) of each eye."""
        return [(e.x, e.y, e.reach_HW.shape[1], e.reach_HW.shape[0]) for e in self._eyes]

    def close(self, out_HWC: np.ndarray, shut: float) -> None:
        """Draw the lids over the eyes of a picture of the same place, in place. shut: 0..1, above 0."""
        for eye in self._eyes:
            eye.close(out_HWC, shut)


@dataclass(frozen=True, eq=False)
class _Eye:
    """One eye as it looks shut. lid_HWC: float, a crop of the picture at (x, y) with skin where the eye and its
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
        points = [mesh[list(p[side]), :2] for p in (UPPER_LIDS, LOWER_LIDS, _BROW)]
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
        near = smoothstep((0.66 * width - np.abs(u)) / (0.2 * width))
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
        reach = near * smoothstep((v - top) / (0.16 * width)) * smoothstep((bottom - v) / (0.10 * width))
        eye = (v > upper) & (v < lower)
        dark = np.percentile(crop[eye], 8, axis=0) if eye.any() else np.zeros(3)
        return _Eye(lid, int(low[0]), int(low[1]), v, upper, np.maximum(lower - upper, 0) * near, reach, dark, width)

    def close(self, out_HWC: np.ndarray, shut: float) -> None:
        """Draw the lid over the eye, in place: its skin comes down behind its lashes; the eye itself stays."""
        edge = self.upper_HW + shut * self.gap_HW
        soft = max(0.8, 0.03 * self.width)
        # the open eye's lashes fade as the lid comes down
        old = smoothstep((self.down_HW - self.upper_HW) / (0.12 * self.width) + 1)
        cover = np.clip((edge - self.down_HW) / soft + 0.5, 0, 1) * np.maximum(old, smoothstep(1.6 * shut))
        cover *= self.reach_HW * smoothstep(4 * shut)
        height, width = cover.shape
        into = out_HWC[self.y : self.y + height, self.x : self.x + width]
        picture = into + (self.lid_HWC - into) * cover[..., None]
        thick = (0.035 + 0.015 * shut) * self.width
        line = np.exp(-0.5 * ((self.down_HW - edge - 0.01 * self.width) / (0.6 * thick)) ** 2)
        line *= np.clip(self.gap_HW / (0.12 * self.width), 0, 1) * smoothstep(4 * shut) * 0.8
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
