"""Between a decoded frame's planes and upright BGR, with the stream's own matrix, range, depth and transfer.

Chroma is replicated on the way out and averaged on the way back, so that what nobody changed comes
back as it was (within one code value where the colour is inside the RGB cube). It knows no file.

Two kinds of BGR leave it. `bgr` is 8 bits and display-referred: what people and networks look at; of PQ and HLG it is
tone-mapped. `deep` is 16 bits in the stream's own transfer: what goes back into a film of more than 8 bits.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer

__all__ = [
    "HDR", "WHITE_NITS", "Colour", "Layout", "beside_samples", "display", "fractions", "in_every_pixel", "layout_of",
    "narrowed", "picture_bytes", "planes_of", "pq_nits", "pq_value", "scaled", "turn_back", "turn_upright",
    "undisplayed",
]  # fmt: skip

HDR = {16: "PQ", 18: "HLG"}
"""Transfers of a high dynamic range, by their number in ITU-T H.273."""

_SUBSAMPLING = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}
_YUV = re.compile(r"yuv([aj]?)(420|422|444)p(?:(9|10|12|14|16)le)?")
_RGB = re.compile(r"gbr(a?)p(?:(9|10|12|14|16)le)?")


@dataclass(frozen=True)
class Layout:
    """How a planar format keeps its samples. sub: log2 of the chroma subsampling, (across, down); depth: bits a sample;
    rgb: planes are green, blue, red; alpha: a fourth plane is transparency; full: 0 to the largest value, always."""

    sub: tuple[int, int]
    depth: int
    rgb: bool = False
    alpha: bool = False
    full: bool = False

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """Of a plane's samples."""
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def deep(self) -> bool:
        """Whether 8 bits of BGR would lose something."""
        return self.depth > 8


@cache
def layout_of(pix_fmt: str) -> Layout | None:
    """The layout of FFmpeg's format of that name; None where pictures are not kept in it as they are."""
    if found := _YUV.fullmatch(pix_fmt):
        kind, sub, depth = found.groups()
        if kind == "j" and depth:
            return None
        return Layout(_SUBSAMPLING[sub], int(depth or 8), alpha=kind == "a", full=kind == "j")
    if found := _RGB.fullmatch(pix_fmt):
        return Layout((0, 0), int(found[2] or 8), rgb=True, alpha=bool(found[1]), full=True)
    return None


def picture_bytes(width: int, height: int, pix_fmt: str) -> int:
    """The memory that a decoded picture takes; where pictures are not kept in their format, that of 4:4:4 of 8 bits."""
    layout = layout_of(pix_fmt) or Layout((0, 0), 8)
    samples = 1 + 2 / (1 << sum(layout.sub)) + layout.alpha
    return round(width * height * samples * np.dtype(layout.dtype).itemsize)


_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


_ROWS = 64  # tone-mapped at once
WHITE_NITS, _PEAK_NITS = 203.0, 1000.0  # diffuse white and the brightest that is told apart (ITU-R BT.2408)


@dataclass(frozen=True)
class Colour:
    """How a stream's samples become RGB. kr, kb: luma weights (ITU-T H.273); full: luma from 0 to the largest value;
    depth: bits a sample; transfer: 16 (PQ), 18 (HLG), else 0: standard range."""

    kr: float
    kb: float
    full: bool
    depth: int = 8
    transfer: int = 0

    @classmethod
    def of(
        cls, matrix: int | None, value_range: int | None, height: int, pix_fmt: str, transfer: int | None = None
    ) -> Colour:
        """The conversion by tags; unspecified means BT.709 from 720 lines up, BT.601 below, and limited range."""
        default = _KR_KB[1] if height >= 720 else _KR_KB[6]
        kr, kb = _KR_KB.get(matrix or 2, default)
        layout = layout_of(pix_fmt) or Layout((0, 0), 8)
        hdr = transfer if transfer in HDR else 0
        return cls(kr, kb, value_range == 2 or layout.full, layout.depth, hdr or 0)

    @cached_property
    def to_bgr(self) -> np.ndarray:
        """float32 (3, 4): BGR = M @ (Y, U, V, 1), of 8 bits."""
        inverse = np.linalg.inv(self._forward[:, :3])
        return np.hstack([inverse, -inverse @ self._forward[:, 3:]]).astype(np.float32)

    @cached_property
    def to_deep(self) -> np.ndarray:
        """float32 (3, 4): 16-bit BGR = M @ (Y, U, V, 1), of the stream's depth."""
        inverse = np.linalg.inv(self._own[:, :3])
        return (np.hstack([inverse, -inverse @ self._own[:, 3:]]) * 257).astype(np.float32)

    @cached_property
    def _forward(self) -> np.ndarray:
        return self._rows(8)

    @cached_property
    def _own(self) -> np.ndarray:
        return self._rows(self.depth)

    def _rows(self, depth: int) -> np.ndarray:
        """float64 (3, 4): YUV of so many bits = M @ (B, G, R, 1), BGR from 0 to 255 (ITU-T H.273, 8.3)."""
        kr, kb, kg = self.kr, self.kb, 1 - self.kr - self.kb
        luma = np.array([kb, kg, kr])
        u = (np.array([1, 0, 0]) - luma) / (2 * (1 - kb))
        v = (np.array([0, 0, 1]) - luma) / (2 * (1 - kr))
        step = 1 << (depth - 8)
        y_scale, c_scale, floor = (1.0, 1.0, 0.0) if self.full else (219 / 255, 224 / 255, 16.0)
        if self.full:
            y_scale = c_scale = ((1 << depth) - 1) / 255 / step
        rows = np.stack([luma * y_scale, u * c_scale, v * c_scale])
        return np.hstack([rows, np.array([[floor], [128.0], [128.0]])]) * step

    def bgr(self, planes: list[np.ndarray], layout: Layout, size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (H, W, 3), display-referred, from a frame's planes; `size` (width, height) scales them first.

        Without `size`, H and W are those of the first plane."""
        if size == planes[0].shape[::-1]:
            size = None
        if layout.rgb and not layout.deep:
            return cv2.merge([p if size is None else scaled(p, size) for p in (planes[1], planes[0], planes[2])])
        if not layout.deep and not self.transfer:
            return cv2.transform(_whole(planes, layout, size), self.to_bgr)
        return display(self.deep(planes, layout, size), self.transfer)

    def deep(self, planes: list[np.ndarray], layout: Layout, size: tuple[int, int] | None = None) -> np.ndarray:
        """uint16 (H, W, 3) from a frame's planes, 0..65535, in the stream's own transfer; as `bgr` else."""
        if layout.rgb:
            whole = cv2.merge([p if size is None else scaled(p, size) for p in (planes[1], planes[0], planes[2])])
            return _stretched(whole, layout.depth)
        whole = _whole(planes, layout, size)
        return cv2.transform(whole.astype(np.uint16) if whole.dtype == np.uint8 else whole, self.to_deep)

    def yuv(self, bgr_HWC: np.ndarray, layout: Layout) -> list[np.ndarray]:
        """The stream's planes as float32 code values of its depth, chroma averaged; H and W must be whole chroma
        blocks. bgr_HWC: uint8, or uint16 as of `deep`."""
        wide = bgr_HWC.astype(np.float32)
        if bgr_HWC.dtype == np.uint16:
            wide *= np.float32(1 / 257)
        if layout.rgb:
            scale = np.float32(((1 << layout.depth) - 1) / 255)
            return [np.ascontiguousarray(wide[..., c]) * scale for c in (1, 0, 2)]
        whole = cv2.transform(wide, self._own.astype(np.float32))
        planes = [np.ascontiguousarray(whole[..., c]) for c in range(3)]
        return [planes[0], mean_blocks(planes[1], layout.sub), mean_blocks(planes[2], layout.sub)]

    def samples(self, bgr_HWC: np.ndarray, layout: Layout) -> list[np.ndarray]:
        """The same in whole numbers: uint8 code values of uint8 pixels for a layout of 8 bits, each within 1 of the
        exact one, else uint16 over all of 16 bits, of which a code value is the highest `layout.depth`."""
        plain = bgr_HWC.dtype == np.uint8 and layout.depth == 8
        if not plain and bgr_HWC.dtype == np.uint8:
            bgr_HWC = bgr_HWC.astype(np.uint16) * 257
        if layout.rgb:
            blue, green, red = cv2.split(bgr_HWC)
            most = ((1 << layout.depth) - 1 << (16 - layout.depth)) / 65535
            return [p if plain or most == 1 else cv2.addWeighted(p, most, p, 0, 0) for p in (green, blue, red)]
        rows = self._own if plain else self._own * (1 << (16 - layout.depth)) * [1 / 257, 1 / 257, 1 / 257, 1]
        luma, u, v = cv2.split(cv2.transform(bgr_HWC, rows.astype(np.float32)))
        size = (luma.shape[1] >> layout.sub[0], luma.shape[0] >> layout.sub[1])
        if layout.sub != (0, 0):
            u, v = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (u, v))
        return [luma, u, v]


def display(deep_HWC: np.ndarray, transfer: int = 0) -> np.ndarray:
    """16-bit BGR of a stream's own transfer as 8 bits that a display of standard range shows, uint8 (H, W, 3).

    transfer: 16 (PQ) and 18 (HLG) are tone-mapped, channel by channel: diffuse white, 203 nits, at three quarters of
    the range, highlights up to 1000 nits above it.
    """
    if not transfer:
        return cv2.convertScaleAbs(deep_HWC, alpha=1 / 257)
    out, curve = np.empty(deep_HWC.shape, np.uint8), _shown(transfer)
    for n in range(0, len(deep_HWC), _ROWS):  # numpy makes 64-bit places of the samples that it is given
        np.take(curve, deep_HWC[n : n + _ROWS], out=out[n : n + _ROWS], mode="clip")
    return out


def fractions(kept_HWC: np.ndarray) -> np.ndarray:
    """Pixels to compute with, of pixels as they are kept: uint8 as it is; of uint16 float32 0..255 with fractions."""
    return kept_HWC if kept_HWC.dtype == np.uint8 else kept_HWC * np.float32(1 / 257)


def undisplayed(bgr_HWC: np.ndarray, transfer: int = 0) -> np.ndarray:
    """The inverse of `display`: float32 (H, W, 3) 0..255 in the stream's transfer from 0..255 that a display shows."""
    if not transfer:
        return np.asarray(bgr_HWC, np.float32)
    steps, curve = np.arange(65536, dtype=np.float64) / 257, _curve(transfer)
    return np.interp(np.asarray(bgr_HWC, np.float64), curve, steps).astype(np.float32)


_PQ_NITS = 10_000.0
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_nits(value: np.ndarray) -> np.ndarray:
    """Light in candela a square metre, 0..10,000, of values 0..1 in PQ (SMPTE ST 2084, equation 4.1)."""
    root = value ** (1 / _M2)
    return np.asarray(_PQ_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def pq_value(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_nits` (equation 5.2): light beyond its ends is that of the ends."""
    root = np.clip(nits / _PQ_NITS, 0, 1) ** _M1
    return np.asarray(((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2)


@cache
def _shown(transfer: int) -> np.ndarray:
    return np.clip(np.rint(_curve(transfer)), 0, 255).astype(np.uint8)


@cache
def _curve(transfer: int) -> np.ndarray:
    """What a display of standard range shows, 0..255, of each of 65,536 values of a transfer; it never falls."""
    value = np.arange(65536) / 65535
    if transfer == 16:
        nits = pq_nits(value)
    else:  # ITU-R BT.2100, HLG on a display of 1000 nits
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        nits = _PEAK_NITS * scene**1.2
    light, most = nits / WHITE_NITS, _PEAK_NITS / WHITE_NITS
    mapped = light * (1 + light / most**2) / (1 + light)  # Reinhard et al. 2002, equation 4
    return np.maximum.accumulate(255 * np.minimum(mapped, 1) ** (1 / 2.4))


def _whole(planes: list[np.ndarray], layout: Layout, size: tuple[int, int] | None) -> np.ndarray:
    """Y, U and V in every pixel, (H, W, 3) of the planes' type."""
    luma, u, v = planes[:3]
    if size is not None:
        return cv2.merge([scaled(p, size) for p in (luma, u, v)])
    return in_every_pixel(luma, cv2.merge([u, v], dst=_scratch("small", (*u.shape, 2), luma.dtype)), layout.sub)


def in_every_pixel(luma: np.ndarray, chroma: np.ndarray, sub: tuple[int, int]) -> np.ndarray:
    """Y, U and V of every pixel, (H, W, 3) of the samples' type, in memory that the next call in this thread uses
    again. luma: (H, W); chroma: U and V side by side, (h, w, 2), replicated. sub: as of `Layout`."""
    height, width = luma.shape
    if sub != (0, 0):
        whole = chroma.shape[1] << sub[0], chroma.shape[0] << sub[1]
        out = _scratch("chroma", (whole[1], whole[0], 2), luma.dtype)
        chroma = cv2.resize(chroma, whole, dst=out, interpolation=cv2.INTER_NEAREST)[:height, :width]
    return cv2.merge([luma, chroma], dst=_scratch("yuv", (height, width, 3), luma.dtype))


def _stretched(whole: np.ndarray, depth: int) -> np.ndarray:
    """Samples of so many bits over all of 16, uint16."""
    return np.rint(whole * np.float32(65535 / ((1 << depth) - 1))).astype(np.uint16)


def beside_samples(frame: Any) -> Any:
    """What else lies in a frame, by FFmpeg's name of its kind: as `frame.side_data`, which refers to its frame and its
    frame to it, so that each picture that was asked once stays in memory until rings are looked for."""
    container: Any = SideDataContainer  # its stub knows no frame
    return container(frame)


def planes_of(frame: Any) -> list[np.ndarray]:
    """Views (H, W) of a planar frame's planes, uint8, or uint16 of more than 8 bits; writable when the frame is."""
    layout = layout_of(frame.format.name)
    kind = np.uint8 if layout is None else layout.dtype
    size = np.dtype(kind).itemsize
    out = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // size)
        out.append(rows[:, : plane.width])
    return out


def narrowed(frame: Any, pix_fmt: str) -> Any:
    """The same picture in a format of the same planes with fewer bits a sample, each rounded; itself where it has it.
    Raises ValueError where the planes are others."""
    if frame.format.name == pix_fmt:
        return frame
    was, will = layout_of(frame.format.name), layout_of(pix_fmt)
    if was is None or will is None or (was.sub, was.rgb, was.alpha) != (will.sub, will.rgb, will.alpha):
        raise ValueError(f"{frame.format.name} and {pix_fmt} differ in more than their depth")
    made = av.VideoFrame(frame.width, frame.height, pix_fmt)
    if frame.interlaced_frame:  # only FFmpeg's own copies keep the marks of fields
        made = frame.reformat(format=pix_fmt)
    less = was.depth - will.depth
    for there, here in zip(planes_of(made), planes_of(frame), strict=True):
        rounded = (here.astype(np.uint32) + (1 << less >> 1)) >> less
        there[:] = np.minimum(rounded, (1 << will.depth) - 1)
    made.pts, made.time_base = frame.pts, frame.time_base
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc  # ProRes writes the frame's own
    return made


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


def scaled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane at another size (width, height): whole factors by their mean, from 4 on by halving, which is the
    quickest; the rest linearly."""
    while (factor := min(plane.shape[1] // size[0], plane.shape[0] // size[1])) >= 2:
        factor = factor if factor < 4 else 2
        height, width = plane.shape[0] // factor, plane.shape[1] // factor
        plane = plane[: height * factor, : width * factor]
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)


_kept = threading.local()


def _scratch(name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """This thread's work array of that name: fresh memory for every frame costs more than the arithmetic."""
    array = getattr(_kept, name, None)
    if array is None or array.shape != shape or array.dtype != kind:
        array = np.empty(shape, kind)
        setattr(_kept, name, array)
    return array
