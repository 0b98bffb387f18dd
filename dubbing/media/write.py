"""Small films from arrays: for the demo and the tests. It knows nothing of masters (`master`)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.media.encoders import usual_priority
from dubbing.media.probe import local_url

__all__ = ["ClipWriter"]

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi", ".mpg": "mpeg", ".webm": "webm"}
_SOUND = {".flac": "flac", ".wav": "pcm_s16le", ".mpg": "mp2", ".avi": "mp2", ".webm": "libopus"}
_THREADS = 4


class ClipWriter:
    """Writes a film frame by frame, with sound beside it. A context manager.

    path: its ending names the container (.mp4, .mov, .mkv, .avi, .mpg, .webm; .flac and .wav take sound
    only); width, height: pixels, 0 for no picture; rate: nominal frames a second; sample_rate_hz: None
    for no sound; channels: 1, 2, 6 or 8; crf: of x264 and x265, 0 to 51; timecode: of frame 0; metadata:
    tags of the file; pix_fmt: FFmpeg's name; sound_codec: None for AAC, FLAC or 16-bit PCM by the
    ending; time_base: of the picture, None for one tick a frame; options, container_options:
    FFmpeg's, for the picture's encoder and the container; rotation_deg: clockwise turn that shows it
    upright; matrix: of ITU-T H.273, for all three colour tags (None: BT.709 from 720 lines up, BT.601 below);
    transfer: where it is another (16: PQ, 18: HLG); sample_aspect: width over height of a pixel, as it is shown
    (None: not said). The same calls give the same bytes.
    """

    def __init__(
        self,
        path: str | Path,
        width: int = 0,
        height: int = 0,
        rate: Fraction = Fraction(25),
        codec: str = "libx264",
        sample_rate_hz: int | None = None,
        channels: int = 2,
        crf: float | None = 18,
        timecode: str | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        pix_fmt: str = "yuv420p",
        sound_codec: str | None = None,
        time_base: Fraction | None = None,
        options: Mapping[str, str] | None = None,
        container_options: Mapping[str, str] | None = None,
        rotation_deg: int = 0,
        matrix: int | None = None,
        transfer: int | None = None,
        sample_aspect: Fraction | None = None,
    ) -> None:
        suffix = Path(path).suffix.lower()
        self._file = av.open(
            local_url(path),
            "w",
            format=_FORMATS.get(suffix, suffix.lstrip(".")),
            container_options={"fflags": "+bitexact", **(container_options or {})},
        )
        self._file.metadata.update(metadata or {})
        self._video: Any = None
        self._sound: Any = None
        self._base = time_base or 1 / Fraction(rate)
        self._step = max(1, round(1 / Fraction(rate) / self._base))
        self._next_pts = 0
        self._last_pts: int | None = None
        self._durations: dict[int, int] = {}
        self._transfer, self._sample_aspect = transfer, sample_aspect
        self._samples = 0
        if width:
            self._add_video(codec, width, height, Fraction(rate), crf, pix_fmt, timecode, options or {}, rotation_deg,
                            matrix or (1 if height >= 720 else 6))  # fmt: skip
        if sample_rate_hz is not None:
            self._sound = self._file.add_stream(sound_codec or _SOUND.get(suffix, "aac"), rate=sample_rate_hz)
            self._sound.codec_context.layout = av.AudioLayout(_layout(channels))
            self._sound.codec_context.thread_count = 1
            self._tool: Any = None

    def _add_video(
        self,
        codec: str,
        width: int,
        height: int,
        rate: Fraction,
        crf: float | None,
        pix_fmt: str,
        timecode: str | None,
        options: Mapping[str, str],
        rotation_deg: int,
        matrix: int,
    ) -> None:
        stream: Any = self._file.add_stream(codec, rate=rate, width=width, height=height, pix_fmt=pix_fmt)
        ctx = stream.codec_context
        ctx.time_base = self._base
        stream.time_base = self._base
        ctx.thread_count = _THREADS
        chosen = {"crf": str(crf), "preset": "veryfast"} if codec.startswith("libx26") and crf is not None else {}
        if codec == "libx265":
            chosen["x265-params"] = "log-level=none:pools=1:frame-threads=1"
        stream.options = {**chosen, "flags": "+bitexact", **options}
        ctx.colorspace = ctx.color_primaries = ctx.color_trc = matrix
        ctx.color_trc = self._transfer or matrix
        ctx.color_range = 2 if pix_fmt.startswith("yuvj") else 1
        if timecode is not None:
            stream.metadata["timecode"] = timecode
        if self._sample_aspect is not None:
            ctx.sample_aspect_ratio = self._sample_aspect
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        self._video = stream

    def frame(self, bgr_HWC: np.ndarray, pts: int | None = None) -> None:
        """Add a picture, uint8 or uint16 (H, W, 3) BGR. pts: in the film's time base; None follows on by one frame."""
        ctx = self._video.codec_context
        deep = bgr_HWC.dtype == np.uint16
        given = np.ascontiguousarray(bgr_HWC[..., ::-1] if deep else bgr_HWC)
        picture = av.VideoFrame.from_ndarray(given, "rgb48le" if deep else "bgr24")
        matrix = 1 if ctx.colorspace == 1 else 5
        picture = picture.reformat(
            format=ctx.pix_fmt, dst_colorspace=matrix, dst_color_range=ctx.color_range, threads=1
        )
        at = self._next_pts if pts is None else pts
        picture.pts, picture.time_base = at, self._base
        self._durations[at] = self._step
        if self._last_pts is not None:
            self._durations[self._last_pts] = at - self._last_pts
        self._last_pts, self._next_pts = at, at + self._step
        with usual_priority():
            packets = self._video.encode(picture)
        self._mux(packets)

    def sound(self, wave_TC: np.ndarray) -> None:
        """Add samples, float32 (T, C) or (T,) in -1..1, after those already there."""
        wave = np.atleast_2d(np.asarray(wave_TC, np.float32).T).T
        ctx = self._sound.codec_context
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave).reshape(1, -1), "flt", _layout(wave.shape[1]))
        frame.sample_rate = ctx.sample_rate
        frame.pts = self._samples
        frame.time_base = Fraction(1, ctx.sample_rate)
        self._samples += len(wave)
        if self._tool is None:
            self._tool = av.AudioResampler(ctx.format.name, ctx.layout.name, ctx.sample_rate, ctx.frame_size or None)
        for part in self._tool.resample(frame):
            self._file.mux(self._sound.encode(part))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, self._step)
            self._file.mux(packet)

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self._video is not None:
                self._mux(self._video.encode(None))
            if self._sound is not None:
                for part in self._tool.resample(None) if self._tool is not None else ():
                    self._file.mux(self._sound.encode(part))
                self._file.mux(self._sound.encode(None))
        self._file.close()


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(channels, f"{channels}c")
