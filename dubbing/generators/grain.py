"""Grain: how much fine noise skin has around a mouth, and putting back what bending and blending took of it.

Two bands are told apart, which is all the spectrum that a mouth of a hundred pixels lets one measure. Levels are robust
(the median of absolute values), so a few hairs, pores and edges do not count for noise. Knows no mesh and no time but
the number that its noise is drawn by: the same number gives the same noise.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

__all__ = ["BANDS", "BLURS", "LEAST", "LEAST_PIXELS", "MOST", "NORMAL", "PERIOD", "SAMPLES", "SIGMAS", "SLACK",
           "blur_px", "blurred", "corner", "levels", "noise", "regrained"]  # fmt: skip

BANDS = 2
SIGMAS = (0.7, 1.4)
"""Pixels: the finest band is what the first blur takes, the next what the second takes more."""
NORMAL = 1.4826
"""The standard deviation of normal values over their median absolute value."""
LEAST_PIXELS = 60
"""Fewer tell no level."""
BLURS = (0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
"""Pixels by which what is too sharp is blurred, the least that does it."""
MOST = 6.0
"""Code values; more is texture, not grain."""
SAMPLES = 6000
"""Pixels that tell a level, about: to 1 %."""
PERIOD = 512
"""Pixels after which drawn noise repeats itself."""
SLACK = (1.15, 0.1)
"""Times the wanted level, and code values more, that are left as they are."""
LEAST = 0.15
"""Code values of noise below which none is added."""
_ROOM = 6  # pixels beyond the mask that the blurs look at


def levels(bgr_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """How strong the grain of a part of a picture is, in code values, float64 (BANDS,), the finest band first.

    bgr_HWC: 0..255, or luma (H, W); mask_HW: bool, the pixels that count. All nan where these are too few to tell.
    """
    mask = np.asarray(mask_HW, np.uint8)
    if cv2.countNonZero(mask) < LEAST_PIXELS:
        return np.full(BANDS, np.nan)
    x, y, width, height = cv2.boundingRect(mask)
    part = (slice(max(0, y - _ROOM), y + height + _ROOM), slice(max(0, x - _ROOM), x + width + _ROOM))
    luma = _luma(bgr_HWC[part])
    at = np.flatnonzero(mask[part])
    at = at[:: max(1, len(at) // SAMPLES)]
    half = len(at) // 2
    found = (np.abs(band.ravel()[at]) for band in _bands(luma))
    return np.array([NORMAL * float(np.partition(values, half)[half]) for values in found])


def blur_px(bgr_HWC: np.ndarray, mask_HW: np.ndarray, wanted_B: np.ndarray) -> float:
    """By how much a mouth that is sharper than the picture it is lent to is to be blurred until its skin is as soft;
    0 for not at all.

    bgr_HWC, mask_HW: as of `levels`; wanted_B: `levels` of the picture.
    """
    out = np.asarray(bgr_HWC, np.float32)
    if np.isnan(wanted_B).any():
        return 0.0
    for sigma in (0.0, *BLURS):
        have = levels(blurred(out, sigma), mask_HW)
        if np.isnan(have).any() or (have <= SLACK[0] * wanted_B + SLACK[1]).all():
            break
    return sigma


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture blurred by a Gauss bell, float32."""
    out = np.asarray(picture, np.float32)
    return cv2.GaussianBlur(out, (0, 0), sigma) if sigma else out


def regrained(
    bgr_HWC: np.ndarray, mask_HW: np.ndarray, wanted_B: np.ndarray, number: int, weight_HW: np.ndarray | None = None
) -> np.ndarray:
    """Pixels with the grain that they lack, float32 (H, W, 3): noise of the bands in which they are too clean.

    bgr_HWC, mask_HW: as of `levels`, (H, W) of luma; wanted_B: `levels` of what they are to look like; number: draws
    the noise; weight_HW: 0..1, where it is wanted.
    """
    out = np.asarray(bgr_HWC, np.float32)
    have = levels(out, mask_HW)
    lack = np.sqrt(np.maximum(np.minimum(wanted_B, MOST) ** 2 - have**2, 0))
    if np.isnan(lack).any() or (lack < LEAST).all():
        return out
    rows, cols = ((start + np.arange(n)) % PERIOD for start, n in zip(corner(number), out.shape[:2], strict=True))
    made = np.zeros(out.shape[:2], np.float32)
    for band, much in zip(noise(), lack, strict=True):
        if much:
            made += band[rows][:, cols] * np.float32(much)
    if weight_HW is not None:
        made *= weight_HW
    return cv2.add(out, made if out.ndim == 2 else cv2.merge([made] * 3))


def corner(number: int) -> tuple[int, int]:
    """Row and column of `noise` at which that of a number begins."""
    row, col = np.random.default_rng(number).integers(PERIOD, size=2).tolist()
    return row, col


@cache
def noise() -> list[np.ndarray]:
    """Noise of each band with a standard deviation of 1, float32 (PERIOD, PERIOD), which goes on at its edges."""
    white = np.random.default_rng(0).standard_normal((PERIOD, PERIOD), np.float32)
    wide = _bands(cv2.copyMakeBorder(white, *(16,) * 4, cv2.BORDER_WRAP))
    return [band[16:-16, 16:-16] / np.float32(band.std()) for band in wide]


def _luma(bgr_HWC: np.ndarray) -> np.ndarray:
    picture = np.asarray(bgr_HWC, np.float32)
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


def _bands(plane_HW: np.ndarray) -> list[np.ndarray]:
    """What lies between one blur and the next, the finest first; light and shade are in none."""
    smooth = [plane_HW, *(cv2.GaussianBlur(plane_HW, (0, 0), s) for s in SIGMAS)]
    return [a - b for a, b in zip(smooth, smooth[1:], strict=False)]
