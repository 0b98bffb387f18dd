"""What the network of coefficients sees of a picture: the face at a set place and size, in 224 by 224 pixels.

By five points: left eye, right eye, nose, left and right corner of the mouth, left and right as they lie in the
picture. After Deng et al. (2019), as published in SadTalker. NumPy and Pillow; knows no network and no detector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Alignment", "aligned", "five_of_68", "fitted", "place_of", "standard_of_68"]

_SIDE = 224
_SIZE = 102.0  # what the standard face is enlarged by


class Alignment(NamedTuple):
    """How a face lies in a picture. scale: of the picture, to the standard size; x, y: of the face's middle in pixels
    of the picture, y counted upwards. `trans` of the published code is width, height, scale, x, y."""

    scale: float
    x: float
    y: float


def five_of_68(landmarks_68K: np.ndarray) -> np.ndarray:
    """Five points (5, K) of the 68 that are common."""
    p = np.asarray(landmarks_68K, np.float64)
    return np.stack([p[[36, 39]].mean(0), p[[42, 45]].mean(0), p[30], p[48], p[54]])


standard_of_68 = five_of_68
"""The standard face (5, 3) of the 68 points of `similarity_Lm3D_all.mat`, the same way."""


def fitted(five_52: np.ndarray, standard_53: np.ndarray) -> tuple[float, float, float]:
    """x, y and size of the standard face where five points (y upwards) lie: least squares of a linear camera.

    Raises ValueError where the points do not span a face.
    """
    a = np.zeros((10, 8))
    a[0::2, :3], a[0::2, 3] = standard_53, 1
    a[1::2, 4:7], a[1::2, 7] = standard_53, 1
    found, _, rank, _ = np.linalg.lstsq(a, np.asarray(five_52, np.float64).reshape(-1), rcond=None)
    size = (np.linalg.norm(found[:3]) + np.linalg.norm(found[4:7])) / 2
    if rank < 8 or not size > 0:
        raise ValueError("these five points lie on a line, or in one place")
    return float(found[3]), float(found[7]), float(size)


def place_of(five_52: np.ndarray, standard_53: np.ndarray) -> Alignment:
    """How a face whose five points (y upwards) are known has to be brought to the standard size."""
    x, y, size = fitted(five_52, standard_53)
    return Alignment(_SIZE / size, x, y)


def aligned(rgb_HWC: np.ndarray, at: Alignment) -> tuple[np.ndarray, tuple[int, int]]:
    """The face, uint8 (224, 224, 3), black beyond the picture, and its corner in the resized picture: left, top."""
    height, width = rgb_HWC.shape[:2]
    size = int(width * at.scale), int(height * at.scale)
    left = int(size[0] / 2 - _SIDE / 2 + float((at.x - width / 2) * at.scale))
    top = int(size[1] / 2 - _SIDE / 2 + float((height / 2 - at.y) * at.scale))
    resized = Image.fromarray(rgb_HWC).resize(size, resample=Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + _SIDE, top + _SIDE))), (left, top)
