"""What of the drawn face goes back: MuseTalk's masks of a face that is parted into its regions.

Published is a network that parts a picture of 512 pixels into the classes of CelebAMask, in a square about the box, one
and a half times its larger side. Here the regions come from the mesh, as outlines in that same square (`parted`); what
is made of them is the published arithmetic. `raw`: skin, mouth and lips; `jaw`: the same with the skin grown, the nose
left out and the cheeks narrowed; `neck`: raw with the neck.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from dubbing.face import INNER_LIPS, OUTER_LIPS, OVAL

__all__ = ["BLUR", "SIDE", "Mode", "Square", "mask_of", "parted", "soft", "square_about"]

SIDE = 512  # pixels of the parted picture
BLUR = 0.05  # of the square's side
Mode = Literal["jaw", "raw", "neck"]
Square = tuple[int, int, int, int]
_SKIN, _NOSE, _MOUTH, _UPPER, _LOWER, _NECK = 1, 10, 11, 12, 13, 14
_CHEEK = 90  # columns from the middle to where cheeks are narrowed
_UPPER_HALF = 11  # points of the lips that are the upper one, corners included
# The outline of the nose: down its left side, round its bottom and up again.
_NOSE_LINE = (168, 122, 174, 198, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 420, 399, 351)


def square_about(box: Square, growth: float = 1.5) -> tuple[Square, int]:
    """The square about a box that is parted, and half its side, whole pixels; it may reach out of the picture."""
    left, top, right, bottom = box
    x, y = (left + right) // 2, (top + bottom) // 2
    half = int(max(right - left, bottom - top) // 2 * growth)
    return (x - half, y - half, x + half, y + half), half


def parted(mesh_P2: np.ndarray, square: Square) -> np.ndarray:
    """The regions of a face by its mesh, uint8 (512, 512) of CelebAMask's classes: skin, nose, mouth and lips.

    mesh_P2: (478, 2) pixels of the picture.
    """
    left, top, right, _ = square
    points = (np.asarray(mesh_P2, np.float64) - (left, top)) * SIDE / max(1, right - left) - 0.5
    out = np.zeros((SIDE, SIDE), np.uint8)

    def fill(outline: Sequence[int], label: int) -> None:
        at = np.rint(np.clip(points[list(outline)], -4 * SIDE, 4 * SIDE) * 16).astype(np.int32)
        cv2.fillPoly(out, [at], label, shift=4)

    fill(OVAL, _SKIN)
    fill(_NOSE_LINE, _NOSE)
    outer, inner = OUTER_LIPS, INNER_LIPS
    fill((*outer[:_UPPER_HALF], *inner[_UPPER_HALF - 1 :: -1]), _UPPER)
    fill((*outer[_UPPER_HALF - 1 :], outer[0], inner[0], *inner[: _UPPER_HALF - 2 : -1]), _LOWER)
    fill(inner, _MOUTH)
    return out


def mask_of(labels_512: np.ndarray, mode: Mode) -> np.ndarray:
    """What is drawn anew, uint8 0 or 255 (512, 512), of a parted face."""
    lips = np.isin(labels_512, (_MOUTH, _UPPER, _LOWER))
    if mode != "jaw":
        return np.where(lips | (labels_512 == _SKIN) | ((labels_512 == _NECK) & (mode == "neck")), 255, 0).astype(
            np.uint8
        )
    grown = cv2.dilate(np.where(labels_512 == _SKIN, 255, 0).astype(np.uint8), _jaw_kernel())
    narrow = cv2.erode(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), iterations=2)
    skin = np.where(_cheeks(), narrow, grown)
    return np.where(lips | ((skin > 0) & (labels_512 != _NOSE)), 255, 0).astype(np.uint8)


def soft(mask_512: np.ndarray, box: Square, square: Square, blur: float = BLUR) -> np.ndarray:
    """A mask in the pixels of its square, uint8: nothing outside the box and in the upper half, with soft edges."""
    from PIL import Image

    side = square[2] - square[0]
    sized = np.asarray(Image.fromarray(mask_512).resize((side, side), Image.Resampling.BICUBIC))
    left, top, right, bottom = (max(0, v - square[n % 2]) for n, v in enumerate(box))
    out = np.zeros_like(sized)
    top = max(top, int(0.5 * side))
    out[top:bottom, left:right] = sized[top:bottom, left:right]
    kernel = int(blur * side // 2 * 2) + 1
    return cv2.GaussianBlur(out, (kernel, kernel), 0)


@lru_cache(maxsize=1)
def _jaw_kernel() -> np.ndarray:
    """uint8 (33, 33): a triangle that opens downwards from row 10, and a bar below it."""
    rows, columns = np.mgrid[:33, :33]
    reach = np.minimum(rows - 10, 10)
    return (np.abs(columns - 16) <= reach).astype(np.uint8)


@lru_cache(maxsize=1)
def _cheeks() -> np.ndarray:
    """bool (1, 512): the columns where cheeks are narrowed."""
    return np.abs(np.arange(SIDE) - SIDE // 2)[None] >= _CHEEK
