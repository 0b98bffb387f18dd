"""Pictures with transparency for compositing: OpenEXR, TIFF and PNG files, one a frame, or a ProRes 4444 movie.

They hold code values of the film's own transfer, 0..1; nothing is linearised. It knows neither patches nor shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.media.colour import Colour, layout_of, planes_of
from dubbing.media.probe import local_url

__all__ = ["LAYERS", "LayerMovie", "layer_bytes"]

LAYERS: Mapping[str, tuple[str, bool]] = {"exr": (".exr", True), "tiff": (".tif", False), "png": (".png", False),
                                          "prores4444": (".mov", False)}  # fmt: skip
"""By kind: the ending of its files, and whether colour is multiplied by the matte, as OpenEXR has it."""
_ENCODERS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "exr": ("exr", "gbrapf32le", {"compression": "zip16", "format": "float"}),
    "tiff": ("tiff", "rgba64le", {"compression_algo": "deflate"}),
    "png": ("png", "rgba64be", {}),
}


def layer_bytes(kind: str, bgr_HWC: np.ndarray, matte_HW: np.ndarray) -> bytes:
    """One picture file. kind: `exr`, `tiff` or `png`; bgr_HWC: float32 (H, W, 3) 0..1, not multiplied by the matte;
    matte_HW: float32 (H, W) 0..1. EXR has 32-bit floats, the others 16 bits."""
    name, pix_fmt, options = _ENCODERS[kind]
    height, width = matte_HW.shape
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
    encoder.time_base, encoder.options, encoder.thread_count = Fraction(1, 25), dict(options), 1
    if LAYERS[kind][1]:
        bgr_HWC = bgr_HWC * matte_HW[..., None]
    frame = av.VideoFrame(width, height, pix_fmt)
    if kind == "exr":
        samples = (bgr_HWC[..., 1], bgr_HWC[..., 0], bgr_HWC[..., 2], matte_HW)
        for plane, sample_HW in zip(frame.planes, samples, strict=True):
            rows: np.ndarray = np.frombuffer(memoryview(plane), np.float32).reshape(plane.height, plane.line_size // 4)
            rows[:, :width] = sample_HW
    else:
        kinds = np.dtype("<u2" if pix_fmt.endswith("le") else ">u2")
        rgba = np.rint(np.dstack([bgr_HWC[..., ::-1], matte_HW]) * 65535).astype(kinds)
        (plane,) = frame.planes
        rows = np.frombuffer(memoryview(plane), kinds).reshape(plane.height, plane.line_size // 2)
        rows[:, : 4 * width] = rgba.reshape(height, 4 * width)
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return b"".join(bytes(p) for p in packets)


class LayerMovie:
    """A ProRes 4444 movie with transparency. A context manager. colour: the film's; tags: its primaries, transfer and
    matrix, numbers of ITU-T H.273, None where it says none; timecode: of the first frame."""

    def __init__(
        self, path: Path, width: int, height: int, rate: Fraction, colour: Colour,
        tags: tuple[int | None, int | None, int | None], timecode: str,
    ) -> None:  # fmt: skip
        self._file = av.open(local_url(path), "w", format="mov", container_options={"fflags": "+bitexact"})
        stream: Any = self._file.add_stream("prores_ks", rate=rate, width=width, height=height, pix_fmt="yuva444p10le")
        stream.options = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
        ctx = stream.codec_context
        kr = {1: 0.2126, 5: 0.299, 9: 0.2627}
        drawn = min(
            kr, key=lambda matrix: abs(kr[matrix] - colour.kr)
        )  # in which its samples are made, whatever is said
        primaries, transfer, matrix = (tag or 2 for tag in tags)
        self._tags = primaries, transfer, drawn if matrix == 2 else matrix
        ctx.color_primaries, ctx.color_trc, ctx.colorspace = self._tags
        ctx.color_range = 1
        ctx.thread_count = 1
        stream.metadata["timecode"] = timecode
        self._stream, self._count = stream, 0
        self._colour = Colour(colour.kr, colour.kb, False, 10)
        layout = layout_of("yuva444p10le")
        assert layout is not None
        self._layout = layout

    def write(self, bgr_HWC: np.ndarray, matte_HW: np.ndarray) -> None:
        """Add a picture; both as `layer_bytes` takes them."""
        height, width = matte_HW.shape
        frame = av.VideoFrame(width, height, "yuva444p10le")
        deep = np.rint(np.clip(bgr_HWC, 0, 1) * 65535).astype(np.uint16)
        samples = [*self._colour.yuv(deep, self._layout), matte_HW * 1023]
        for plane, sample_HW in zip(planes_of(frame), samples, strict=True):
            plane[:] = np.clip(np.rint(sample_HW), 0, 1023)
        frame.color_primaries, frame.color_trc, frame.colorspace = self._tags  # ProRes writes the frame's own
        frame.color_range = 1
        frame.pts = self._count
        self._count += 1
        self._file.mux(self._stream.encode(frame))

    def __enter__(self) -> LayerMovie:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.mux(self._stream.encode(None))
        self._file.close()
