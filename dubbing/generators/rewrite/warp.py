"""Bend pictures by moving points: smooth dense maps from sparse landmarks. Knows nothing of speech.

A map is fitted by a biharmonic-like radial basis (kernel r, with an affine part) on at most ~120
points, evaluated on a coarse grid and enlarged: smooth everywhere, a few milliseconds at 300 px
(Turk and O'Brien 1999 for the method). All coordinates are pixels of the same crop.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["dense_map", "warp"]


def dense_map(
    points_P2: np.ndarray, moves_P2: np.ndarray, size_wh: tuple[int, int], step_px: int, smooth: float = 0.5
) -> np.ndarray:
    """The displacement at every pixel of a crop, float32 (H, W, 2), that equals `moves` at `points`.

    points_P2, moves_P2: (P, 2) pixels; step_px: spacing of the grid the map is evaluated on;
    smooth: how many pixels a point may be missed by, roughly (landmarks carry noise).
    """
    width, height = size_wh
    p = np.asarray(points_P2, np.float64) / step_px
    count = len(p)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = np.sqrt(((p[:, None] - p[None]) ** 2).sum(-1))
    # kernel r is conditionally negative definite: a negative diagonal makes the fit smoother
    system[np.arange(count), np.arange(count)] -= smooth / step_px
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = p
    system[count + 1 :, :count] = p.T
    right = np.zeros((count + 3, 2))
    right[:count] = moves_P2
    weights = np.linalg.solve(system, right)
    cols = np.arange(-1, width // step_px + 3, dtype=np.float64)
    rows = np.arange(-1, height // step_px + 3, dtype=np.float64)
    grid = np.stack(np.meshgrid(cols, rows), -1).reshape(-1, 2)
    radius = np.sqrt(np.maximum((grid**2).sum(1)[:, None] + (p**2).sum(1)[None] - 2 * grid @ p.T, 0))
    values = radius @ weights[:count] + weights[count] + grid @ weights[count + 1 :]
    coarse = values.reshape(len(rows), len(cols), 2).astype(np.float32)
    # node (i, j) of the grid stands at pixel ((j - 1) * step, (i - 1) * step)
    to_grid = np.array([[1 / step_px, 0, 1], [0, 1 / step_px, 1]], np.float32)
    return cv2.warpAffine(coarse, to_grid, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def warp(image_HWC: np.ndarray, move_HW2: np.ndarray, shift_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Read `image` at every pixel plus `move` plus `shift`, cubic: same H, W as `move`, dtype of image."""
    height, width = move_HW2.shape[:2]
    x = move_HW2[..., 0] + (np.arange(width, dtype=np.float32) + np.float32(shift_xy[0]))
    y = move_HW2[..., 1] + (np.arange(height, dtype=np.float32) + np.float32(shift_xy[1]))[:, None]
    return cv2.remap(image_HWC, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
