"""What the renderer sees of a photograph: a rectangle about the head that is not turned.

After the crop of the FFHQ dataset (Karras et al., 2019), as published in SadTalker. NumPy only; knows no detector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Crop", "crop_of", "crop_of_68"]

_LARGE = 512  # pixels of a face, twice of which is made smaller first
_ROOM = 0.1


class Crop(NamedTuple):
    """shrunk: width and height that the picture is reduced to beforehand; box: left, top, right, bottom in it, whole
    pixels; inner: the smaller rectangle within the box, counted from its corner."""

    shrunk: tuple[int, int]
    box: tuple[int, int, int, int]
    inner: tuple[float, float, float, float]

    def region(self, inner: bool) -> tuple[int, int, int, int]:
        """What is cut, of the shrunk picture: left, top, right, bottom. inner: for `crop` and `full`, not for those
        with `ext`."""
        left, top, right, bottom = self.box
        if not inner:
            return self.box
        a, b, c, d = (int(v) for v in self.inner)
        return left + a, top + b, min(left + c, right), min(top + d, bottom)


def crop_of_68(landmarks_682: np.ndarray, size_wh: tuple[int, int]) -> Crop:
    """The crop of a face by the 68 points that are common, y downwards."""
    p = np.asarray(landmarks_682, np.float64)
    return crop_of(p[36:42].mean(0), p[42:48].mean(0), p[[48, 54]].mean(0), size_wh)


def crop_of(left_eye: np.ndarray, right_eye: np.ndarray, mouth: np.ndarray, size_wh: tuple[int, int]) -> Crop:
    """The crop of a face by the middles of its eyes and of the corners of its mouth, (2,) pixels each.

    The published rule to the letter, with one slip of its own: the inner rectangle's bottom is held within the
    picture's width, not its height.
    """
    eyes, across = (left_eye + right_eye) / 2, right_eye - left_eye
    down = mouth - eyes
    x = across - down[::-1] * (-1, 1)
    x = x / np.hypot(*x) * max(np.hypot(*across) * 2, np.hypot(*down) * 1.8)
    y = x[::-1] * (-1, 1)
    centre = eyes + 0.1 * down
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    size, (width, height) = 2 * np.hypot(*x), size_wh
    shrink = int(np.floor(size / _LARGE * 0.5))
    if shrink > 1:
        width, height = int(np.rint(width / shrink)), int(np.rint(height / shrink))
        quad, size = quad / shrink, size / shrink
    border = max(int(np.rint(size * _ROOM)), 3)
    low, high = np.floor(quad.min(0)).astype(int) - border, np.ceil(quad.max(0)).astype(int) + border
    box = max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)
    if box[2] - box[0] < width or box[3] - box[1] < height:
        quad = quad - box[:2]
    quad = quad + 0.5
    inner = (
        max(min(quad[0, 0], quad[1, 0]), 0), max(min(quad[0, 1], quad[3, 1]), 0),
        min(max(quad[2, 0], quad[3, 0]), width), min(max(quad[1, 1], quad[2, 1]), width),
    )  # fmt: skip
    return Crop((width, height), box, tuple(float(v) for v in inner))  # type: ignore[arg-type]
