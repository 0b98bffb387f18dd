"""Between a decoded frame's planes and upright BGR, exactly, with the stream's own matrix and range.

Chroma is replicated on the way out and averaged on the way back, so that what nobody changed comes
back as it was (within one code value where the colour is inside the RGB cube). It knows no file.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

__all__ = ["PLANAR", "Colour", "planes_of", "turn_back", "turn_upright"]

PLANAR = {
    "yuv420p": (1, 1),
    "yuvj420p": (1, 1),
    "yuv422p": (1, 0),
    "yuvj422p": (1, 0),
    "yuv444p": (0, 0),
    "yuvj444p": (0, 0),
}
"""8-bit planar formats: log2 of the chroma subsampling, (across, down)."""

_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class Colour:
    """How a stream's YUV becomes RGB. kr, kb: luma weights (ITU-T H.273); full: 0..255 luma."""

    kr: float
    kb: float
    full: bool

    @classmethod
    def of(cls, matrix: int | None, value_range: int | None, height: int, pix_fmt: str) -> Colour:
        """The conversion by tags; unspecified means BT.709 from 720 lines up, BT.601 below, and limited range."""
        default = _KR_KB[1] if height >= 720 else _KR_KB[6]
        kr, kb = _KR_KB.get(matrix or 2, default)
        return cls(kr, kb, value_range == 2 or pix_fmt.startswith("yuvj"))

    @cached_property
    def to_bgr(self) -> np.ndarray:
        """float32 (3, 4): BGR = M @ (Y, U, V, 1)."""
        inverse = np.linalg.inv(self._forward[:, :3])
        return np.hstack([inverse, -inverse @ self._forward[:, 3:]]).astype(np.float32)

    @cached_property
    def _forward(self) -> np.ndarray:
        """float64 (3, 4): YUV = M @ (B, G, R, 1)."""
        kr, kb, kg = self.kr, self.kb, 1 - self.kr - self.kb
        luma = np.array([kb, kg, kr])
        u = (np.array([1, 0, 0]) - luma) / (2 * (1 - kb))
        v = (np.array([0, 0, 1]) - luma) / (2 * (1 - kr))
        y_scale, c_scale, floor = (1.0, 1.0, 0.0) if self.full else (219 / 255, 224 / 255, 16.0)
        rows = np.stack([luma * y_scale, u * c_scale, v * c_scale])
        return np.hstack([rows, np.array([[floor], [128.0], [128.0]])])

    def bgr(self, planes: list[np.ndarray], sub: tuple[int, int], size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (H, W, 3) from Y, U, V planes; `size` (width, height) scales them first.

        Without `size`, H and W are those of the luma plane."""
        luma, u, v = planes
        if size is not None and size != luma.shape[::-1]:
            return cv2.transform(cv2.merge([_scaled(p, size) for p in (luma, u, v)]), self.to_bgr)
        height, width = luma.shape
        if sub != (0, 0):
            u, v = (_replicated(p, sub, name)[:height, :width] for p, name in ((u, "u"), (v, "v")))
        whole = cv2.merge([luma, u, v], dst=_scratch("yuv", (height, width, 3)))
        return cv2.transform(whole, self.to_bgr)

    def yuv(self, bgr_HWC: np.ndarray, sub: tuple[int, int]) -> list[np.ndarray]:
        """Y, U, V as float32 code values, chroma averaged; H and W must be whole chroma blocks."""
        whole = cv2.transform(bgr_HWC.astype(np.float32), self._forward.astype(np.float32))
        planes = [np.ascontiguousarray(whole[..., c]) for c in range(3)]
        return [planes[0], mean_blocks(planes[1], sub), mean_blocks(planes[2], sub)]


def planes_of(frame: Any) -> list[np.ndarray]:
    """Views (H, W) uint8 of an 8-bit planar frame's planes; writable when the frame is."""
    out = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        out.append(rows[:, : plane.width])
    return out


def mean_blocks(plane: np.ndarray, sub: tuple[int, int]) -> np.ndarray:
    """The mean of each chroma block of a float32 (H, W) plane."""
    across, down = 1 << sub[0], 1 << sub[1]
    if (across, down) == (1, 1):
        return plane
    total = plane[::down, ::across].copy()
    for y, x in [(y, x) for y in range(down) for x in range(across)][1:]:
        total += plane[y::down, x::across]
    return total * np.float32(1 / (across * down))


def turn_upright(picture: np.ndarray, degrees: int) -> np.ndarray:
    """A picture (H, W[, C]) turned clockwise by 0, 90, 180 or 270 degrees, contiguous."""
    return np.ascontiguousarray(np.rot90(picture, -(degrees // 90)))


def turn_back(picture: np.ndarray, degrees: int) -> np.ndarray:
    """The inverse of `turn_upright`."""
    return np.ascontiguousarray(np.rot90(picture, degrees // 90))


def _scaled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane at another size (width, height): whole factors by their mean, the rest linearly."""
    factor = min(plane.shape[1] // size[0], plane.shape[0] // size[1])
    if factor >= 2:
        height, width = plane.shape[0] // factor, plane.shape[1] // factor
        plane = plane[: height * factor, : width * factor]
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


def _replicated(plane: np.ndarray, sub: tuple[int, int], name: str) -> np.ndarray:
    height, width = plane.shape[0] << sub[1], plane.shape[1] << sub[0]
    out = _scratch(name, (height, width))
    return cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_NEAREST)


_kept = threading.local()


def _scratch(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """This thread's work array of that name: fresh memory for every frame costs more than the arithmetic."""
    array = getattr(_kept, name, None)
    if array is None or array.shape != shape:
        array = np.empty(shape, np.uint8)
        setattr(_kept, name, array)
    return array
