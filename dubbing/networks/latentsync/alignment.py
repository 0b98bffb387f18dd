"""LatentSync's alignment of a face to its template, and back: similarities from three points, brows and nose.

The template's canvas is narrower than high (210x280 at 256 pixels, 420x560 at 512) and is squeezed into the network's
square. Points are (x, y) in pixels, whole numbers at pixel centres; a matrix (2, 3) takes the picture to the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

__all__ = [
    "Matrices", "aligned", "canvas_wh", "centres", "mesh_points", "restored", "similarity", "square_of", "squeezed",
    "template", "to_square",
]  # fmt: skip

_TEMPLATE = ((17.0, 20.0), (58.0, 20.0), (37.5, 40.0))  # left brow, right brow, nose
_CANVAS = (75, 100)
_SCALE = 2.8 / 256
_KEEP = 0.2  # of the bias before
_OUTSIDE = 127
_MESH = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336), (5, 4, 64, 294))
_106 = ((43, 48, 49, 51, 50), (101, 102, 103, 104, 105), (74, 77, 83, 86))


def template(side: int) -> np.ndarray:
    """The three points for pictures of a side, float64 (3, 2)."""
    return np.array(_TEMPLATE) * (_SCALE * side)


def canvas_wh(side: int) -> tuple[int, int]:
    """Width and height of the canvas."""
    return int(_CANVAS[0] * 2.8 * side / 256), int(_CANVAS[1] * 2.8 * side / 256)


def centres(landmarks_L2: np.ndarray) -> np.ndarray:
    """The three points of InsightFace's 106, whole numbers, float64 (3, 2)."""
    return np.stack([np.rint(np.asarray(landmarks_L2, np.float64)[list(of)].mean(0)) for of in _106])


def mesh_points(mesh_P2: np.ndarray) -> np.ndarray:
    """What stands for them in our own mesh (478, 2): means over the upper edges of the brows, and of the nose's ridge,
    tip and wings, float64 (3, 2)."""
    mesh = np.asarray(mesh_P2, np.float64)
    return np.stack([mesh[list(of), :2].mean(0) for of in _MESH])


def _normal(points_32: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    centre = points_32.mean(0)
    apart = points_32 - centre
    spread = max(float(apart.std(ddof=1)), 1e-6)
    return apart / spread, centre, spread


def similarity(points_32: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(matrix float64 (2, 3), how far the nose stays off the template's, float64 (2,), in spreads)."""
    seen, centre, spread = _normal(np.asarray(points_32, np.float64))
    wanted, wanted_centre, wanted_spread = _normal(template(side))
    u, _, vt = np.linalg.svd(seen.T @ wanted)
    turn = vt.T @ u.T
    if np.linalg.det(turn) < 0:
        vt[-1] *= -1
        turn = vt.T @ u.T
    turn *= wanted_spread / spread
    return np.column_stack([turn, wanted_centre - turn @ centre]), wanted[2] - seen[2]


class Matrices:
    """Matrices of a track's frames in order; the bias runs along, as published."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.bias: np.ndarray | None = None

    def of(self, points_32: np.ndarray) -> np.ndarray:
        """The next frame's matrix, float64 (2, 3)."""
        matrix, bias = similarity(points_32, self.side)
        self.bias = bias if self.bias is None else _KEEP * self.bias + (1 - _KEEP) * bias
        matrix[:, 2] += self.bias
        return matrix


def to_square(matrix_23: np.ndarray, side: int) -> np.ndarray:
    """What takes the picture to the network's square, float64 (2, 3), pixel centres on whole numbers."""
    width, height = canvas_wh(side)
    scale = np.array([side / width, side / height])
    found = np.asarray(matrix_23, np.float64) * scale[:, None]
    found[:, 2] += 0.5 * scale - 0.5
    return found


def aligned(picture_HWC: np.ndarray, matrix_23: np.ndarray, side: int) -> np.ndarray:
    """A face on the canvas, uint8 (height, width, 3): bilinear, grey where there is no picture, truncated."""
    out = _warped(picture_HWC.astype(np.float32), matrix_23, canvas_wh(side), _OUTSIDE)
    return np.clip(out, 0, 255).astype(np.uint8)


def squeezed(canvas_HWC: np.ndarray, side: int) -> np.ndarray:
    """The canvas as the network's square, uint8 (side, side, 3)."""
    return cv2.resize(canvas_HWC, (side, side), interpolation=cv2.INTER_LANCZOS4)


def square_of(picture_HWC: np.ndarray, matrix_23: np.ndarray, side: int) -> np.ndarray:
    """A face as the network sees it, uint8 (side, side, 3). One of many pixels is made smaller by whole numbers first:
    bilinear would skip some."""
    matrix = np.array(matrix_23, np.float64)
    whole = int(1 / np.sqrt(max(abs(np.linalg.det(matrix[:, :2])), 1e-12)))
    height, width = (n // max(whole, 1) for n in picture_HWC.shape[:2])
    if whole > 1 and height and width:
        held = picture_HWC[: height * whole, : width * whole]
        picture_HWC = cv2.resize(held, (width, height), interpolation=cv2.INTER_AREA)
        matrix[:, 2] += matrix[:, :2] @ np.full(2, (whole - 1) / 2)
        matrix[:, :2] *= whole
    return squeezed(aligned(picture_HWC, matrix, side), side)


def _warped(picture: np.ndarray, matrix_23: np.ndarray, size_wh: Sequence[int], outside: float) -> np.ndarray:
    """Bilinear, exact to float32 (OpenCV's own warp knows 32 steps between pixels); one-pixel ramps at the edges."""
    width, height = size_wh
    back = cv2.invertAffineTransform(np.asarray(matrix_23, np.float64))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    at = back @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    flat = picture.reshape(*picture.shape[:2], -1)
    rows, columns = flat.shape[:2]
    low = np.floor(at).astype(np.int64)
    part = (at - low).astype(np.float32)
    out = np.zeros((x.size, flat.shape[2]), np.float32)
    covered = np.zeros((x.size, 1), np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = low[0] + dx, low[1] + dy
            weight = np.abs(1 - dx - part[0]) * np.abs(1 - dy - part[1])
            weight *= (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            out += flat[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)] * weight[:, None]
            covered += weight[:, None]
    out += outside * (1 - covered)
    return out.reshape(height, width, *picture.shape[2:])


def restored(frame_HWC: np.ndarray, face_SSC: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """A drawn square back on its picture as published, uint8. face_SSC: float32 (side, side, 3), -1..1.

    The generator lays it back in its own way (`generators.paste`); this is what that is compared with.
    """
    import torch
    from torch.nn import functional as F

    side = len(face_SSC)
    width, height = canvas_wh(side)
    face = torch.from_numpy(np.ascontiguousarray(face_SSC.transpose(2, 0, 1), np.float32))[None]
    face = F.interpolate(face, (height, width), mode="bicubic", align_corners=False, antialias=True)
    back = cv2.invertAffineTransform(np.asarray(matrix_23, np.float64))
    size = frame_HWC.shape[1::-1]
    drawn = _warped(face[0].permute(1, 2, 0).numpy(), back, size, 0.0)
    drawn = np.clip(drawn / 2 + 0.5, 0, 1) * 255
    mask = _warped(np.ones((height, width), np.float32), back, size, 0.0)
    mask = cv2.erode(mask, np.ones((2, 2), np.uint8))
    edge = int(float(mask.sum()) ** 0.5) // 20
    soft = cv2.erode(mask, np.ones((2 * edge, 2 * edge), np.uint8)) if edge else mask
    blur = 2 * edge + 1
    soft = cv2.GaussianBlur(soft, (blur, blur), 0.3 * ((blur - 1) * 0.5 - 1) + 0.8, borderType=cv2.BORDER_REFLECT_101)
    out = soft[..., None] * (drawn * mask[..., None]) + (1 - soft[..., None]) * frame_HWC
    return np.clip(out, 0, 255).astype(np.uint8)
