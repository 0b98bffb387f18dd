"""Between a film's own pixels and square ones, for pictures whose pixels are shown wider or higher than they are.

All that is measured or drawn is in square pixels: the direction in which pixels are the longer is enlarged, so that
nothing is lost, and only patches go back. Pictures here lie as they are coded, not turned; where pixels are square both
ways are the identity, and nobody need ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

__all__ = ["MOST", "Grid"]

MOST = 4
"""How many times longer than the other a side of a pixel may be; more is taken for a mistake."""
_NEARLY = Fraction(1, 100)  # a rounding of sizes, which nobody sees
_REACH = 4  # coded pixels beside a box that its interpolation looks at


@dataclass(frozen=True)
class Grid:
    """A picture's size in its own pixels and in square ones. coded, square: (width, height)."""

    coded: tuple[int, int]
    square: tuple[int, int]

    @classmethod
    def of(cls, width: int, height: int, aspect: Fraction) -> Grid:
        """aspect: width over height of a pixel as it is shown."""
        if abs(aspect - 1) < _NEARLY or not Fraction(1, MOST) <= aspect <= MOST:
            return cls((width, height), (width, height))
        if aspect > 1:
            return cls((width, height), (_even(width * aspect), height))
        return cls((width, height), (width, _even(height / aspect)))

    @property
    def same(self) -> bool:
        """Whether pixels are square."""
        return self.coded == self.square

    def around(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """The coded pixels (x, y, w, h) that a box (x, y, w, h) in square pixels is made of."""
        edges = []
        for at, length, own, square in zip(box[:2], box[2:], self.coded, self.square, strict=True):
            low = max(0, at * own // square - _REACH)
            edges.append((low, min(own, -(-(at + length) * own // square) + _REACH) - low))
        (x, w), (y, h) = edges
        return x, y, w, h

    def squared(self, part: np.ndarray, corner: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
        """A box (x, y, w, h) in square pixels of a coded part (H, W[, C]), whose top left is at `corner`, as `around`
        says it. Lanczos, by cv2: uint8, uint16 or float32."""
        x, y = _places(self.square, self.coded, box, corner)
        return cv2.remap(part, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)

    def coded_part(
        self, bgr: np.ndarray, matte: np.ndarray, corner: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """A patch in square pixels, whose top left is at `corner`, in coded ones: its picture, its matte, its corner.

        The matte stays 0 where it is 0 all around. What `squared` made comes back nearly as it was: it holds no detail
        that coded pixels have not.
        """
        box = (*corner, *matte.shape[::-1])
        left, top = (int(at * own // square) for at, own, square in zip(corner, self.coded, self.square, strict=True))
        right, bottom = (
            -(-(at + length) * own // square)
            for at, length, own, square in zip(corner, box[2:], self.coded, self.square, strict=True)
        )
        x, y = _places(self.coded, self.square, (left, top, right - left, bottom - top), corner)
        made = cv2.remap(bgr, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        return made, cv2.remap(matte, x, y, cv2.INTER_LINEAR), (left, top)


def _places(
    there: tuple[int, int], here: tuple[int, int], box: tuple[int, int, int, int], start: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a box (x, y, w, h) of a picture of size `there` lie in a part that begins at `start`, of the
    same picture in size `here`: x and y, float32 (h, w), in the 32nds of a pixel that cv2 tells apart."""
    places = []
    for at, length, wanted, own, begin in zip(box[:2], box[2:], there, here, start, strict=True):
        middle = (at + np.arange(length) + 0.5) * own / wanted - 0.5
        places.append((np.rint(middle * 32) / 32 - begin).astype(np.float32))
    return np.tile(places[0], (box[3], 1)), np.repeat(places[1], box[2]).reshape(box[3], box[2])


def _even(length: Fraction) -> int:
    return max(2, round(length / 2) * 2)
