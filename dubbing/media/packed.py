"""A film for a browser to step through: 8-bit H.264 and AAC in an mp4, every picture a key frame.

Pictures are given as BGR and shown at the film's own times, counted from the first. The sound's two channels are two
separate sounds that must not mix, so joint stereo is off (a tone of one lies at -116 dB in the other under music that
they share; with joint stereo forced, at -2 dB). It knows neither panes nor takes.

Measured on pictures of 1920x1400 (two sides, mouths, differences; CPU ms to encode and to decode one, MB for a second
at 24 a second, PSNR at the mouth), all pictures key frames, so that a seek decodes one and no more:

    ultrafast crf 20   14   6   2.6   44.5        superfast crf 21            18  11   1.7   43.9
    ultrafast crf 21    9   5   2.3   43.8        superfast crf 23, CAVLC     12   8   1.6   43.7
    ultrafast crf 23    8   5   2.0   42.6        veryfast  crf 21            22  10   1.6   43.8

With superfast, GOPs of 6 or 12 save 15 to 20 % and a seek takes four times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from dubbing.media.colour import planes_of
from dubbing.media.probe import local_url

__all__ = ["PackedWriter"]

_BT709, _BT601 = 1, 6
_OPTIONS = {"preset": "ultrafast", "crf": "22", "g": "1", "bf": "0", "flags": "+bitexact"}
_SOUND_BITS = 320_000
_SOUND_OPTIONS = {"aac_ms": "0", "aac_is": "0", "aac_pns": "0", "flags": "+bitexact"}


class PackedWriter:
    """Writes one file. A context manager; nothing is complete before its end.

    path: of any name, always an mp4 that streams; width, height: pixels, even; pts: int64 (N,) when each picture is
    shown, in `time_base` seconds, increasing, of any start; end_pts: when the last one ends; rate: nominal, frames a
    second; sound: blocks of float32 (T, 2) in -1..1 that begin with the first picture, None for none; rate_hz: theirs;
    threads: of the encoder, 0 for as many as there are cores.
    """

    def __init__(
        self, path: str | Path, width: int, height: int, *, pts: np.ndarray, end_pts: int, time_base: Fraction,
        rate: Fraction, sound: Iterator[np.ndarray] | None = None, rate_hz: int = 48_000, threads: int = 0,
    ) -> None:  # fmt: skip
        if width % 2 or height % 2 or width < 2 or height < 2:
            raise ValueError(f"a packed picture must be even and at least 2x2, not {width}x{height}")
        self._file = av.open(
            local_url(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        ends = np.append(np.asarray(pts, np.int64), end_pts) - int(pts[0])
        self._starts, self._lengths = ends[:-1], np.diff(ends)
        self._base, self._next = time_base, 0
        stream: Any = self._file.add_stream("libx264", rate=rate, width=width, height=height, pix_fmt="yuv420p")
        ctx = stream.codec_context
        ctx.time_base = stream.time_base = time_base
        ctx.thread_count = threads
        ctx.colorspace, ctx.color_primaries, ctx.color_trc, ctx.color_range = _BT601, _BT709, _BT709, 1
        stream.options = dict(_OPTIONS)
        self._video = stream
        self._picture = av.VideoFrame(width, height, "yuv420p")  # one for all: fresh memory costs more than its filling
        self._planes = np.empty((height * 3 // 2, width), np.uint8)
        self._sound: Any = None
        self._blocks, self._rate_hz, self._samples = sound, rate_hz, 0
        if sound is not None:
            self._sound = self._file.add_stream("aac", rate=rate_hz)
            self._sound.codec_context.layout = "stereo"
            self._sound.codec_context.bit_rate = _SOUND_BITS
            self._sound.options = dict(_SOUND_OPTIONS)
            self._tool = av.AudioResampler("fltp", "stereo", rate_hz, 1024)

    def frame(self, bgr_HWC: np.ndarray) -> None:
        """Add the next picture, uint8 (H, W, 3) BGR; it may be changed afterwards."""
        cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2YUV_I420, dst=self._planes)  # BT.601, limited range: so the file says too
        picture, flat, at = self._picture, self._planes.reshape(-1), 0
        picture.make_writable()
        for plane in planes_of(picture):
            plane[:] = flat[at : at + plane.size].reshape(plane.shape)
            at += plane.size
        picture.pts, picture.time_base = int(self._starts[self._next]), self._base
        self._next += 1
        self._mux(self._video.encode(picture))
        if self._sound is not None:
            now = self._next - 1
            self._hear(float(self._starts[now] + self._lengths[now]) * float(self._base) + 0.5)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            at = int(np.searchsorted(self._starts, packet.pts))
            packet.duration = int(self._lengths[at])
            self._file.mux(packet)

    def _hear(self, until_s: float) -> None:
        """Write sound up to a time: beside the pictures, so that the file can be played while it comes."""
        while self._blocks is not None and self._samples < until_s * self._rate_hz:
            block = next(self._blocks, None)
            if block is None:
                self._blocks = None
                return
            data = np.ascontiguousarray(np.clip(block, -1, 1), np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(data, "flt", "stereo")
            frame.sample_rate, frame.pts = self._rate_hz, self._samples
            frame.time_base = Fraction(1, self._rate_hz)
            self._samples += len(block)
            for part in self._tool.resample(frame):
                self._file.mux(self._sound.encode(part))

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._mux(self._video.encode(None))
            if self._sound is not None:
                self._hear(float("inf"))
                for part in self._tool.resample(None):
                    self._file.mux(self._sound.encode(part))
                self._file.mux(self._sound.encode(None))
        self._file.close()
