"""A decoded picture in the format of another codec: depth, chroma, range, YUV and RGB.

It says of what kind the result is, for the master's tags. It knows neither files nor encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from av.video.reformatter import Interpolation

from dubbing.media.colour import layout_of
from dubbing.media.probe import VideoInfo

__all__ = ["Conversion"]

_LIMITED_ONLY = {"prores", "dnxhd", "cfhd", "v210"}
"""Codecs that say no range, so that players take it for limited."""


_HOW = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)  # fmt: skip
_KNOWN = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""swscale's coefficients by the matrix of ITU-T H.273."""


@dataclass(frozen=True)
class Conversion:
    """From a source's pictures to those of an encoder of another format, by swscale, with rounding that is the same on
    every machine. pix_fmt: what comes out; coefficients: swscale's, between YUV and RGB; matrix: of the master's tags
    (ITU-T H.273); full, full_after: whether the source's and the master's samples have full range."""

    pix_fmt: str
    coefficients: int
    matrix: int | None
    full: bool
    full_after: bool

    @classmethod
    def plain(cls, pix_fmt: str, matrix: int | None, full: bool, full_after: bool, lines: int = 720) -> Conversion:
        """To a format, by the matrix of whichever of the two is YUV (None, or not known: BT.709 from 720 lines up)."""
        return cls(pix_fmt, _KNOWN.get(matrix or 2, 1 if lines >= 720 else 5), matrix, full, full_after)

    @classmethod
    def between(cls, video: VideoInfo, pix_fmt: str, codec: str) -> Conversion:
        """From a source's own pictures to a format of a codec's. The matrix is the source's; of RGB BT.709, or with
        primaries of BT.2020 that one's."""
        was, will = layout_of(video.pix_fmt), layout_of(pix_fmt)
        assert will is not None
        rgb = was is None or was.rgb
        full = video.range == 2 or (was is not None and was.full)
        matrix = video.matrix
        if rgb and not will.rgb:
            matrix = 9 if video.primaries == 9 else 1
        elif will.rgb and not rgb:
            matrix = 0
        keeps = will.rgb or (full and not rgb and codec not in _LIMITED_ONLY)
        made = cls.plain(pix_fmt, matrix if rgb else video.matrix, full, keeps, video.height)
        return replace(made, matrix=matrix)

    def of(self, frame: Any) -> Any:
        """The frame in the master's format, with the same time."""
        made = frame.reformat(
            format=self.pix_fmt, src_colorspace=self.coefficients, dst_colorspace=self.coefficients,
            src_color_range=2 if self.full else 1, dst_color_range=2 if self.full_after else 1,
            interpolation=_HOW, threads=1,
        )  # fmt: skip
        made.pts, made.time_base = frame.pts, frame.time_base
        made.colorspace = 2 if self.matrix is None else self.matrix  # ProRes says what the frame says
        return made
