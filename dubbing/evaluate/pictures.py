"""Pictures compared with pictures: PSNR, SSIM, sharpness, a matte's seam, flicker. Arrays only.

Axes: H rows, W columns, C channels (BGR, uint8). Sources of the definitions are in `docs/eval.md`.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = [
    "MOST_DB", "across", "cpbd", "detail", "luma", "mouth_box", "psnr_db", "ring_matte", "seam", "second_difference",
    "ssim",
]  # fmt: skip

MOST_DB = 100.0  # what equal pictures get
# Narvekar and Karam 2011: the psychometric slope, and the chance of seeing blur at its threshold
_BETA, _JNB = 3.6, 0.63
_BLOCK = 64
_EDGE_PART = 0.002  # a block counts if at least this part of its pixels are edges
_LOW_CONTRAST = 50  # grey levels


def luma(bgr_HWC: np.ndarray) -> np.ndarray:
    """Grey, float32 (H, W), 0..255."""
    return np.asarray(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2GRAY), np.float32)


def psnr_db(a_HWC: np.ndarray, b_HWC: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all channels, at most MOST_DB."""
    error = float(((a_HWC.astype(np.float64) - b_HWC) ** 2).mean())
    return min(MOST_DB, 10 * np.log10(255**2 / error)) if error else MOST_DB


def ssim(a_HWC: np.ndarray, b_HWC: np.ndarray) -> float:
    """Structural similarity of the grey pictures (Wang et al. 2004: Gaussian of 1.5 pixels over 11), -1..1."""
    a, b = (luma(p).astype(np.float64) for p in (a_HWC, b_HWC))

    def mean(x: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT))

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    inner = found[5:-5, 5:-5] if min(found.shape) > 12 else found
    return float(inner.mean())


def detail(bgr_HWC: np.ndarray) -> float:
    """Mean absolute Laplacian of the grey picture, in code values."""
    return float(np.abs(cv2.Laplacian(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2GRAY), cv2.CV_32F)).mean())


def cpbd(bgr_HWC: np.ndarray, *, rows_only: bool = False) -> float | None:
    """Cumulative probability of blur detection, 0 (blurred) to 1 (sharp); None where there is no edge.

    Narvekar and Karam 2011. Edges are Canny's; an edge's width is how far the grey keeps rising or falling
    through it, along the row where the edge is upright, else along the column; a width is judged by the
    just noticeable blur of its block: 5 pixels, or 3 where the contrast is over 50. Blocks are of 64 pixels (of a
    smaller picture, the whole is one). rows_only: upright edges alone are measured, along their rows, as the published
    code does (after Marziliano et al. 2002); mouths have few of them.
    """
    gray = cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2GRAY)
    edges = cv2.Canny(gray, 50, 120, L2gradient=True) > 0
    along = _widths(gray, edges, rows_only)
    height, width = gray.shape
    sharp = total = 0
    for top in range(0, max(1, height - _BLOCK // 2), _BLOCK):
        for left in range(0, max(1, width - _BLOCK // 2), _BLOCK):
            part = (slice(top, top + _BLOCK), slice(left, left + _BLOCK))
            widths = along[part][edges[part]]
            widths = widths[widths > 0]
            if len(widths) <= _EDGE_PART * gray[part].size:
                continue
            block = gray[part]
            just = 5.0 if int(block.max()) - int(block.min()) <= _LOW_CONTRAST else 3.0
            blur = 1 - np.exp(-((widths / just) ** _BETA))
            sharp += int((blur <= _JNB).sum())
            total += len(widths)
    return sharp / total if total else None


def _widths(gray_HW: np.ndarray, edges_HW: np.ndarray, rows_only: bool) -> np.ndarray:
    """The width of the edge through each edge pixel, float32 (H, W), 0 elsewhere; of upright ones only."""
    gx, gy = (cv2.Sobel(gray_HW, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    upright = np.abs(gx) >= np.abs(gy)
    rows = _runs(gray_HW)
    columns = np.zeros_like(rows) if rows_only else _runs(gray_HW.T).T
    return np.where(edges_HW, np.where(upright, rows, columns), 0).astype(np.float32)


def _runs(gray_HW: np.ndarray) -> np.ndarray:
    """How many pixels the rise, or the fall, through each pixel of a row takes, (H, W)."""
    step = np.sign(np.diff(gray_HW.astype(np.int16), axis=1))
    height, width = gray_HW.shape
    best = np.zeros((height, width), np.int32)
    for sign in (1, -1):
        same = step == sign
        right = np.zeros((height, width), np.int32)
        for x in range(width - 2, -1, -1):
            right[:, x] = np.where(same[:, x], right[:, x + 1] + 1, 0)
        left = np.zeros((height, width), np.int32)
        for x in range(1, width):
            left[:, x] = np.where(same[:, x - 1], left[:, x - 1] + 1, 0)
        best = np.maximum(best, left + right)
    return best


def mouth_box(lips_P2: np.ndarray, size_wh: tuple[int, int], room: float = 0.25) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) around the lips with `room` of their larger side, inside the picture."""
    low, high = lips_P2.min(0), lips_P2.max(0)
    grow = room * float((high - low).max())
    left, top = np.maximum(np.floor(low - grow), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + grow), size_wh).astype(int)
    return int(left), int(top), int(right), int(bottom)


def seam(before_HWC: np.ndarray, after_HWC: np.ndarray, matte_HW: np.ndarray) -> float | None:
    """The gradient across a matte's edge in the result over the source's at the same place; None without an edge."""
    was, now = across(before_HWC, matte_HW), across(after_HWC, matte_HW)
    return None if was is None or now is None else now / max(was, 1e-3)


def across(bgr_HWC: np.ndarray, matte_HW: np.ndarray) -> float | None:
    """The mean gradient of a picture across a matte's edge, in code values; None where the matte has no edge.

    matte_HW: 0..1 or 0..255. The derivative is taken along the matte's own slope and weighed by it, so that what
    runs along the edge does not count.
    """
    matte = matte_HW.astype(np.float32)
    mx, my = (cv2.Sobel(matte, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    slope = np.hypot(mx, my)
    if slope.max() <= 0:
        return None
    keep = slope > 0.2 * slope.max()
    weight = slope[keep]
    gray = cv2.GaussianBlur(luma(bgr_HWC), (0, 0), 0.7)
    gx, gy = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=1 / 8)[keep] for order in ((1, 0), (0, 1)))
    return float(np.abs(gx * mx[keep] + gy * my[keep]).sum() / weight.sum())


def ring_matte(lips_P2: np.ndarray, size_wh: tuple[int, int], reach: float = 0.3) -> np.ndarray:
    """A soft outline at some distance around the lips, float32 (H, W) 0..1: where a mouth from elsewhere would end.

    reach: of the mouth's width. The slope lies between a quarter of the reach and the whole of it.
    """
    width = float(np.ptp(lips_P2[:, 0]))
    mask = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(cv2.convexHull(lips_P2.astype(np.float32))).astype(np.int32), (1,))
    far = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.clip((reach * width - far) / (0.75 * reach * width), 0, 1).astype(np.float32)


def second_difference(first: np.ndarray, middle: np.ndarray, last: np.ndarray, mask_HW: np.ndarray) -> float:
    """Mean of |a - 2 b + c| of three grey pictures inside a mask, in code values."""
    apart = np.abs(first - 2 * middle + last)
    return float(apart[mask_HW].mean())
