"""A decoded picture in the format of another codec: depth, chroma, range, YUV and RGB.

It says of what kind the result is, for the master's tags. It knows neither files nor encoders.
"""

from __future__ import annotations

from typing import Any

from av.video.reformatter import Interpolation

from dubbing.media.colour import layout_of
from dubbing.media.probe import VideoInfo

__all__ = ["Conversion"]

_LIMITED_ONLY = {"prores", "dnxhd", "cfhd", "v210"}
"""Codecs that say no range, so that players take it for limited."""


class Conversion:
    """From a source's pictures to those of an encoder of another format: depth, chroma, range, YUV and RGB.

    swscale does it, with rounding that is the same on every machine; the matrix is the source's, of RGB BT.709 or, with
    primaries of BT.2020, BT.2020's. matrix: of the master's tags (ITU-T H.273); full, full_after: whether the source's
    and the master's samples have full range.
    """

    _HOW = (
        Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
    )  # fmt: skip
    _KNOWN = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}

    def __init__(self, pix_fmt: str, colours: int, matrix: int | None, full: bool, full_after: bool) -> None:
        self.pix_fmt, self.matrix, self.full, self.full_after = pix_fmt, matrix, full, full_after
        self._colours = colours

    @classmethod
    def between(cls, video: VideoInfo, pix_fmt: str, codec: str) -> Conversion:
        """From a source's own pictures to a format of a codec's."""
        was, will = layout_of(video.pix_fmt), layout_of(pix_fmt)
        assert will is not None
        rgb = was is None or was.rgb
        full = video.range == 2 or (was is not None and was.full)
        matrix = video.matrix
        if rgb and not will.rgb:
            matrix = 9 if video.primaries == 9 else 1
        elif will.rgb and not rgb:
            matrix = 0
        usual = 1 if video.height >= 720 else 5
        colours = cls._KNOWN.get((matrix if rgb else video.matrix) or 2, usual)
        keeps = will.rgb or (full and not rgb and codec not in _LIMITED_ONLY)
        return cls(pix_fmt, colours, matrix, full, keeps)

    def of(self, frame: Any) -> Any:
        """The frame in the master's format, with the same time."""
        made = frame.reformat(
            format=self.pix_fmt, src_colorspace=self._colours, dst_colorspace=self._colours,
            src_color_range=2 if self.full else 1, dst_color_range=2 if self.full_after else 1,
            interpolation=self._HOW, threads=1,
        )  # fmt: skip
        made.pts, made.time_base = frame.pts, frame.time_base
        return made
