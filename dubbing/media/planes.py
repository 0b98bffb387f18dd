"""A part of a picture in a film's own samples of 4:2:0: half of the bytes of BGR, and nothing is lost on the way back.

Most films of 8 bits are kept so, and what is rendered into them stays so from the decoder to the encoder. Other films'
pictures are BGR (`Picture.kept_bgr`). It knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from dubbing.media.colour import Colour, Layout, in_every_pixel, layout_of
from dubbing.media.probe import VideoInfo
from dubbing.media.square import Grid

__all__ = ["LAYOUT", "Planes", "planar", "planar_colour"]

LAYOUT = Layout((1, 1), 8)


def planar(pix_fmt: str, grid: Grid, colour: Colour) -> bool:
    """Whether `Planes` hold all of a picture: 4:2:0 of 8 bits, even sides, square pixels and standard range."""
    layout = layout_of(pix_fmt)
    plain = layout is not None and (layout.sub, layout.depth, layout.alpha) == (LAYOUT.sub, LAYOUT.depth, False)
    return plain and grid.same and not (grid.coded[0] % 2 or grid.coded[1] % 2 or colour.transfer)


def planar_colour(video: VideoInfo | None) -> Colour | None:
    """The colour of a film whose pictures are `planar`; None of others, and without one."""
    if video is None:
        return None
    colour = Colour.of(video.matrix, video.range, video.height, video.pix_fmt, video.transfer)
    return colour if planar(video.pix_fmt, video.grid, colour) else None


@dataclass(frozen=True, eq=False)
class Planes:
    """Luma, and chroma at half its size. both: uint8, or float32 of the same range, (3 H / 2, W), H and W even: H rows
    of luma, and under them U and V of each block side by side, which FFmpeg calls nv12; colour: how it becomes BGR."""

    both: np.ndarray
    colour: Colour

    @classmethod
    def of(cls, planes: Sequence[np.ndarray], colour: Colour) -> Planes:
        """Of the three planes of a picture, (H, W) and twice (H / 2, W / 2), which are copied."""
        luma, u, v = planes
        height, width = luma.shape
        made = cls(np.empty((height * 3 // 2, width), luma.dtype), colour)
        np.copyto(made.luma, luma)
        made.chroma[..., 0], made.chroma[..., 1] = u, v
        return made

    @classmethod
    def of_bgr(cls, bgr_HWC: np.ndarray, colour: Colour) -> Planes:
        """Of pixels (H, W, 3): uint8 of uint8, each sample within 1 of the exact one; float32 of float32."""
        convert = colour.samples if bgr_HWC.dtype == np.uint8 else colour.yuv
        return cls.of(convert(bgr_HWC, LAYOUT), colour)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        rows, width = self.both.shape
        return rows // 3 * 2, width

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        return self.both.nbytes

    @property
    def luma(self) -> np.ndarray:
        """(H, W), a view."""
        return self.both[: self.shape[0]]

    @property
    def chroma(self) -> np.ndarray:
        """(H / 2, W / 2, 2), a view."""
        height, width = self.shape
        return self.both[height:].reshape(height // 2, width // 2, 2)

    @property
    def layers(self) -> tuple[np.ndarray, np.ndarray]:
        """Luma and chroma."""
        return self.luma, self.chroma

    @property
    def three(self) -> list[np.ndarray]:
        """The three planes as a frame has them: views, of chroma of every other sample."""
        return [self.luma, self.chroma[..., 0], self.chroma[..., 1]]

    @cached_property
    def bgr(self) -> np.ndarray:
        """uint8 (H, W, 3), display-referred, as `Colour.bgr` of the planes."""
        return self.shown(slice(None), slice(None))

    def scaled(self, each: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`bgr` at another size, uint8: each makes luma, (H, W), and chroma, (H / 2, W / 2, 2), of one size."""
        return cv2.transform(cv2.merge([each(layer) for layer in self.layers]), self.colour.to_bgr)

    def shown(self, rows: slice, columns: slice) -> np.ndarray:
        """`bgr` of a part of it, uint8, whose other pixels are not converted."""
        (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip((rows, columns), self.shape, strict=True))
        y, x = top % 2, left % 2
        luma = self.luma[top - y : bottom, left - x : right]
        chroma = self.chroma[top // 2 : -(-bottom // 2), left // 2 : -(-right // 2)]
        return cv2.transform(in_every_pixel(luma, chroma, LAYOUT.sub), self.colour.to_bgr)[y:, x:]
