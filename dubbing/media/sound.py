"""Sound of a file as samples, exactly placed: sample 0 is where video frame 0 begins, or, in a file
without a picture, its first sample. Streams in blocks; knows nothing of speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Discard

from dubbing.clock import samples_at
from dubbing.errors import DamagedMedia, MediaError
from dubbing.media.probe import first_video, open_media

__all__ = ["JUMP_S", "audio_length", "first_sample_time", "read_sound", "silent_after", "sound_between",
           "sound_blocks"]  # fmt: skip

JUMP_S = Fraction(1, 25)
"""A gap or overlap in a stream's time labels longer than this is real and kept as silence or cut."""
_PADDING = 4096
_COUNTED = ("flac", "wav")
"""Formats whose labels count samples: a jump means that some were lost."""
_EXACT_LENGTH = (*_COUNTED, "mov,mp4,m4a,3gp,3g2,mj2")
_SOUGHT = (*_EXACT_LENGTH, "matroska,webm")
"""Formats in which a seek lands where the labels say."""
_KINDS = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}
_LOUDEST = 1e6
"""A sample beyond this, 120 dB over full scale, counts as damage; its square could overflow."""


def audio_length(path: str | Path) -> tuple[int, int]:
    """(samples, rate_hz) of the first sound stream, by decoding it. Raises MediaError without one."""
    with open_media(path) as container:
        stream = _stream(container, path)
        rate_hz = int(stream.codec_context.sample_rate)
        return sum(len(block) for block in _placed(container, stream, path, rate_hz, align=False)), rate_hz


def silent_after(path: str | Path, stream_index: int, samples: int) -> bool:
    """Whether nothing is heard of a track after so many samples, counted from the first picture."""
    at = 0
    for block in sound_blocks(path, None, mono=False, stream_index=stream_index):
        if block[max(0, samples - at) :].any():
            return False
        at += len(block)
    return True


def sound_blocks(
    path: str | Path,
    rate_hz: int | None = 16_000,
    *,
    mono: bool = True,
    align_to_video: bool = True,
    stream_index: int | None = None,
    channels: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """Sound in blocks of about a second, float32 (T,) mono or (T, C), in -1..1.

    rate_hz: resampled to it (None: the stream's own rate); mono: the mean of the channels;
    align_to_video: sample 0 is the start of the first picture frame, silence or a cut before it; else it is where the
    first of the file's sound tracks begins; stream_index: FFmpeg's, None for the first track; channels: places of
    those that count, None for all.
    Raises MediaError without a sound stream, DamagedMedia where it cannot be decoded or holds a sample that is no
    number (NaN, infinity): one of those would spread to all that is made of the sound.
    """
    with open_media(path) as container:
        stream = _stream(container, path, stream_index)
        source_hz = int(stream.codec_context.sample_rate)
        zero = None if align_to_video else _first_of_several(container, path)
        blocks = _chosen(_placed(container, stream, path, source_hz, align_to_video, zero), mono, channels)
        if rate_hz is not None and rate_hz != source_hz:
            blocks = _resampled(blocks, source_hz, rate_hz)
        for block in _gathered(blocks, rate_hz or source_hz):
            yield block[:, 0] if mono else block


def sound_between(
    path: str | Path, start_s: Fraction, end_s: Fraction, rate_hz: int, *, mono: bool = True,
    stream_index: int | None = None, channels: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Sound from `start_s` to `end_s` after the first picture frame, in blocks float32 (T,) or (T, C) in -1..1 that
    together are exactly as long; silence where the file has none. mono, stream_index, channels: as of `sound_blocks`.

    Seeks where the format can be trusted, else decodes from the file's start. Raises MediaError as `sound_blocks`.
    """
    with open_media(path) as container:
        stream = _stream(container, path, stream_index)
        source_hz = int(stream.codec_context.sample_rate)
        video = first_video(container) or stream
        zero = Fraction(video.start_time or 0) * video.time_base
        begin_s = 0
        if container.format.name in _SOUGHT and start_s >= 2:
            begin_s = int(start_s) - 1  # the first packet after a seek refers to the one before it
            container.seek(int((zero + begin_s) / stream.time_base), stream=stream)
        placed = _placed(container, stream, path, source_hz, align=True, zero=zero + begin_s)
        own = _chosen(placed, mono, channels)
        blocks = own if rate_hz == source_hz else _resampled(own, source_hz, rate_hz)
        width = 1 if mono else len(channels) if channels else int(stream.codec_context.layout.nb_channels)
        at, first, last = begin_s * rate_hz, samples_at(start_s, rate_hz), samples_at(end_s, rate_hz)
        for block in blocks:
            part = block[max(0, first - at) : max(0, last - at)]
            at += len(block)
            if len(part):
                yield part[:, 0] if mono else part
            if at >= last:
                return
        if at < last:
            rest = np.zeros((last - max(at, first), width), np.float32)
            yield rest[:, 0] if mono else rest


def read_sound(
    path: str | Path,
    rate_hz: int | None = 16_000,
    mono: bool = True,
    align_to_video: bool = True,
    *,
    dtype: type = np.float32,
    stream_index: int | None = None,
) -> np.ndarray:
    """All of `sound_blocks` in one array (T,) or (T, C). dtype np.int16 halves the memory
    (230 MB for two hours at 16 kHz mono): values then are -32768..32767."""
    kept = [
        to_int16(b) if dtype is np.int16 else b
        for b in sound_blocks(path, rate_hz, mono=mono, align_to_video=align_to_video, stream_index=stream_index)
    ]
    if not kept:
        return np.zeros((0,) if mono else (0, 1), dtype)
    return np.concatenate(kept)


def to_int16(block: np.ndarray) -> np.ndarray:
    """Float samples in -1..1 as int16, rounded and clipped."""
    return np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16)


def _stream(container: Any, path: str | Path, index: int | None = None) -> Any:
    """The track, and of the others no packet is read."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and index in (None, stream.index):
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            return stream
    raise MediaError(f"{path} has no sound stream.")


def _chosen(blocks: Iterator[np.ndarray], mono: bool, channels: Sequence[int] | None) -> Iterator[np.ndarray]:
    """The channels that count, (T, C), or their mean, (T, 1)."""
    for block in blocks:
        own = block if channels is None else block[:, list(channels)]
        yield _mean(own) if mono else own


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean of the channels, float32 (T, 1)."""
    count = block.shape[1]
    if count >= 8:
        return np.asarray(block.mean(axis=1, keepdims=True, dtype=np.float32))
    total = block[:, :1].copy()  # NumPy's mean over so few takes several times as long for the same sum
    for channel in range(1, count):
        total += block[:, channel : channel + 1]
    total /= np.float32(count)
    return total


def first_sample_time(path: str | Path, stream_index: int) -> Fraction:
    """When the first sample that a decoder gives of a track is heard, in the file's own time. Raises MediaError."""
    with open_media(path) as container:
        stream = _stream(container, path, stream_index)
        for frame in container.decode(stream):
            return (frame.pts or 0) * Fraction(frame.time_base or stream.time_base)
    raise MediaError(f"{path} holds no sound that can be decoded in its stream {stream_index}.")


def _first_of_several(container: Any, path: str | Path) -> Fraction | None:
    """When the earliest of several tracks begins, in the file's own time; None where there is one."""
    tracks = [s.index for s in container.streams.audio if s.codec_context is not None]
    return min(first_sample_time(path, index) for index in tracks) if len(tracks) > 1 else None


def _frames(container: Any, stream: Any, path: str | Path) -> Iterator[Any]:
    """Decoded frames. Junk before the first one is passed over; later damage raises DamagedMedia."""
    count, begin, rate_hz = 0, 0, int(stream.codec_context.sample_rate or 1)
    label, of, behind = stream.start_time or 0, stream, 0  # the last label, of what, and samples from it on
    counted = container.format.name in _COUNTED

    def reached() -> Fraction:
        """Seconds from the stream's start; where its labels leave gaps, more than was decoded."""
        since = label * Fraction(of.time_base or stream.time_base) - (stream.start_time or 0) * stream.time_base
        return since + Fraction(behind, rate_hz)

    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                if count == 0:
                    continue
                raise
            for frame in frames:
                if count == 0:
                    begin = frame.pts or 0
                elif frame.is_corrupt or (counted and frame.pts not in (None, begin + count)):
                    raise _damage(path, reached(), "is damaged")
                count += frame.samples
                if frame.pts is not None:
                    label, of, behind = frame.pts, frame, 0
                behind += frame.samples
                yield frame
    except av.error.FFmpegError as e:
        raise _damage(path, reached(), "is damaged") from e
    if container.format.name in _EXACT_LENGTH and stream.duration:
        promised = stream.duration * stream.time_base
        if reached() + JUMP_S < promised:
            raise _damage(path, reached(), f"ends early: its header promises {float(promised):.1f} s; it stops")


def _damage(path: str | Path, reached_s: Fraction, what: str) -> DamagedMedia:
    at = f"{int(reached_s // 60):02d}:{float(reached_s % 60):05.2f}"
    return DamagedMedia(f"The sound of {path} {what} at {at} (minutes:seconds).")


def _raw(frame: Any) -> list[np.ndarray]:
    """A frame's own samples without a copy: (T,) of each channel where they lie apart, else (T, C)."""
    kind, count, channels = _KINDS[frame.format.name.removesuffix("p")], frame.samples, frame.layout.nb_channels
    if frame.format.is_planar:
        return [np.frombuffer(plane, kind, count) for plane in frame.planes]
    return [np.frombuffer(frame.planes[0], kind, count * channels).reshape(count, channels)]


def _converted(held: Sequence[list[np.ndarray]]) -> np.ndarray:
    """float32 (T, C) in -1..1 of pieces of any sample format, one after another."""
    columns = [np.concatenate(pieces) for pieces in zip(*held, strict=True)]
    data = columns[0] if columns[0].ndim == 2 else np.stack(columns, axis=1)
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / 128
    if np.issubdtype(data.dtype, np.integer):
        return (data / -float(np.iinfo(data.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):
        return data.astype(np.float32, copy=False)


def _refuse(block: np.ndarray, path: str | Path, begin_s: Fraction, rate_hz: int) -> None:
    """Raises DamagedMedia: samples, (T, C), hold something that is no number. begin_s: of the first, from the sound's
    start."""
    bad = ~(np.abs(block) <= _LOUDEST)
    row = int(np.argmax(bad.any(axis=1)))
    found = float(block[row][bad[row]][0])
    raise _damage(
        path, begin_s + Fraction(row, rate_hz), f"holds a sample that is no sound ({found:g}); export it again; it lies"
    )


def _placed(
    container: Any, stream: Any, path: str | Path, rate_hz: int, align: bool, zero: Fraction | None = None
) -> Iterator[np.ndarray]:
    """Blocks (T, C) whose first sample is time zero; gaps in the stream are silence, overlaps are cut.

    An encoder's padding past the end of an mp4 track is cut as players cut it. zero: seconds on the file's own clock,
    where time zero is neither the first picture's nor the first sample's."""
    video = first_video(container) if align and zero is None else None
    zero = Fraction(video.start_time or 0) * video.time_base if video is not None else zero
    end: int | None = None
    labels: _Labels | None = None
    jump = int(JUMP_S * rate_hz)
    at, count, begun = 0, 0, Fraction(0)
    held: list[list[np.ndarray]] = []  # pieces that follow each other without a gap, about a second of them

    def laid() -> np.ndarray:
        nonlocal count
        block = _converted(held)
        held.clear()
        count = 0
        if floats and not np.abs(block).max(initial=0.0) <= _LOUDEST:
            _refuse(block, path, begun, rate_hz)
        return block

    floats = False
    for frame in _frames(container, stream, path):
        pieces, pts = _raw(frame), frame.pts
        floats = frame.format.name[:3] in ("flt", "dbl")  # integers are numbers always
        size, first = frame.samples, 0
        if pts is not None:
            due = at if labels is None else labels.sample(pts)
            if labels is None or abs(due - at) > jump:
                base = frame.time_base or stream.time_base  # asked for where it may be another: it takes long
                zero = pts * Fraction(base) if zero is None else zero
                labels = _Labels(base, zero, rate_hz)
                due = labels.sample(pts)
            if end is None and "mov" in container.format.name and stream.duration:
                end = samples_at(((stream.start_time or 0) + stream.duration) * stream.time_base - zero, rate_hz)
            if at == 0 or abs(due - at) > jump:
                if held:
                    yield laid()
                if due > at:
                    yield np.zeros((due - at, frame.layout.nb_channels), np.float32)
                    at = due
                elif due < at:
                    first = min(at - due, size)
        last = size
        if end is not None and at < end < at + size - first:
            last = first + end - at
        elif end is not None and at == end and size - first <= _PADDING:
            continue
        if last > first:
            if not held:
                begun = Fraction(0) if pts is None else pts * Fraction(frame.time_base or stream.time_base)
                begun += Fraction(first, rate_hz) - (stream.start_time or 0) * stream.time_base
            held.append([piece[first:last] for piece in pieces])
            at, count = at + last - first, count + last - first
            if count >= rate_hz:
                yield laid()
    if held:
        yield laid()


class _Labels:
    """The sample that a time label means: `samples_at` in whole numbers, since a film has a label every few
    milliseconds. base: seconds of a label's unit; zero: the time of sample 0."""

    def __init__(self, base: Fraction, zero: Fraction, rate_hz: int) -> None:
        step, shift = base * rate_hz, Fraction(1, 2) - zero * rate_hz
        self._part = math.lcm(step.denominator, shift.denominator)
        self._step, self._shift = int(step * self._part), int(shift * self._part)

    def sample(self, pts: int) -> int:
        return (pts * self._step + self._shift) // self._part


def _resampled(blocks: Iterator[np.ndarray], source_hz: int, rate_hz: int) -> Iterator[np.ndarray]:
    """Each channel through a resampler of its own (FFmpeg's, whose delay it makes good itself)."""
    tools: list[Any] = []
    for block in _gathered(blocks, source_hz):
        tools = tools or [av.AudioResampler("flt", "mono", rate_hz) for _ in range(block.shape[1])]
        columns = []
        for channel, tool in enumerate(tools):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None, :, channel]), "flt", "mono")
            frame.sample_rate = source_hz
            columns.append(_joined(tool.resample(frame)))
        yield np.stack(columns, axis=1)
    if tools:
        yield np.stack([_joined(tool.resample(None)) for tool in tools], axis=1)


def _joined(frames: list[Any]) -> np.ndarray:
    """Mono frames as one float32 (T,)."""
    return np.concatenate([f.to_ndarray()[0] for f in frames]) if frames else np.zeros(0, np.float32)


def _gathered(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of at least `size`, but for the last."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        if len(block):
            held.append(block)
            count += len(block)
        if count >= size:
            yield np.concatenate(held)
            held, count = [], 0
    if held:
        yield np.concatenate(held)
