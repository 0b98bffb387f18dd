"""An open picture file that decodes in order and notices damage, naming it by timecode.

Decoders conceal: a broken H.264 slice becomes a plausible grey smear, a missing packet a repeated
frame. So three witnesses are heard here: the decoder's own error flags, packets that went in
without a frame coming out, and the number of frames that the container's index promises. Does not
know frame numbers' times beyond the start timecode, and makes no pictures (`read`).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Discard

from dubbing.clock import Timecode
from dubbing.errors import DamagedMedia, MediaError, UnsupportedMedia
from dubbing.media.probe import (
    display_matrix,
    first_video,
    nominal_rate,
    open_media,
    promised_frames,
    start_timecode,
    turn,
)

__all__ = ["Film"]

_SEEKABLE = ("mov", "matroska", "webm")
_ONE_FRAME_A_PACKET = ("h264", "hevc")
_PATIENCE = 64
"""Packets that may follow a decoding error before it is reported without knowing the exact frame."""
_EARLY_S = 1


class Film:
    """An open file and its picture stream, decoding in order. A context manager.

    threads: decoder threads, 0 for as many as there are cores, 1 inside a worker. on_packet: called
    with every packet of the other streams, in file order, during a whole pass (see `frames`).
    Raises MediaError when the file cannot be opened or has no picture.
    """

    def __init__(self, path: str | Path, threads: int = 0, on_packet: Callable[[Any], None] | None = None) -> None:
        self.path = Path(path)
        self.container = open_media(path)
        stream = first_video(self.container)
        if stream is None:
            self.container.close()
            raise MediaError(f"{path} has no video stream.")
        self.stream = stream
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "NONE" if threads == 1 else "AUTO"
        self.rate: Fraction = nominal_rate(stream)
        self.start_tc = start_timecode(self.container, stream) or "00:00:00:00"
        self.promised = promised_frames(self.container, stream)
        self.rotation_deg = 0
        self._shape: tuple[int, int, str] | None = None
        self._on_packet = on_packet
        self._ends = Fraction(0)
        self._packets = 0
        labelled = self.seekable and stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET
        self._watch = labelled and (stream.codec_context.field_order or 0) <= 1

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def step(self) -> int:
        """pts between frames at nominal rate, at least 1."""
        return max(1, round(1 / self.rate / self.stream.time_base))

    @property
    def seekable(self) -> bool:
        """Whether seeking in this kind of container lands on key frames with trustworthy labels."""
        return any(name in self.container.format.name for name in _SEEKABLE)

    def timecode(self, frame: int) -> str:
        """SMPTE name of a frame."""
        return str(Timecode.parse(self.start_tc, self.rate) + frame)

    def damage(self, frame: int, what: str = "is damaged") -> DamagedMedia:
        """The error that names a frame."""
        return DamagedMedia(f"{self.path} {what} at {self.timecode(frame)} (frame {frame}).")

    def whole(self) -> Iterator[Any]:
        """All frames from the first, and then a look whether the file ended where it should.

        Raises DamagedMedia, UnsupportedMedia (the picture changes size), MediaError (no frame)."""
        number = 0
        for frame in self._decoded(0, every_stream=True):
            yield frame
            number += 1
        if number == 0:
            raise MediaError(f"{self.path} holds no picture that can be decoded.")
        slack = self.promised // 50 if self.container.format.name == "avi" else 0
        if self._packets + slack < self.promised:
            raise self.damage(number, f"ends early: its header promises {self.promised} frames; it stops")
        length = Fraction(self.container.duration or 0, av.time_base)
        if self.seekable and not self.promised and self._ends + _EARLY_S < length:
            raise self.damage(number, f"ends early: its header promises {float(length):.1f} s; it stops")

    def onward(self, first: int) -> Iterator[Any]:
        """Frames from where the file has been sought to; `first` is the number of the first wanted
        one, for messages. What is shown before the first key frame is left out."""
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all
        return self._decoded(first, every_stream=False)

    def _decoded(self, first: int, every_stream: bool) -> Iterator[Any]:
        """Frames in the order shown; `first` is the number of the next one, 0 unless after a seek."""
        number, shown, failed_for = first, 0, 0
        pending: list[int] = []
        self._packets = 0
        started = first == 0
        try:
            for packet in self.container.demux() if every_stream else self.container.demux(self.stream):
                if packet.stream is not self.stream:
                    self._note(packet)
                    continue
                if packet.size and not packet.is_discard:
                    self._packets += 1
                    self._note_end(packet)
                    if self._watch and packet.pts is not None:
                        bisect.insort(pending, packet.pts)
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as e:
                    if not self._watch:
                        raise self.damage(number) from e
                    frames, failed_for = [], failed_for + 1
                for frame in frames:
                    started = started or frame.key_frame
                    if not started:
                        continue
                    if frame.is_corrupt:
                        raise self.damage(number)
                    if self._watch and frame.pts is not None:
                        at = bisect.bisect_left(pending, frame.pts)
                        if at and shown:
                            raise self.damage(number)
                        del pending[: at + 1]
                    self._check(frame, number)
                    yield frame
                    number, shown = number + 1, shown + 1
                failed_for += bool(failed_for)
                if failed_for > _PATIENCE:
                    raise self.damage(number)
        except av.error.FFmpegError as e:
            raise self.damage(number) from e
        if failed_for or (pending and shown):
            raise self.damage(number)

    def _note(self, packet: Any) -> None:
        self._note_end(packet)
        if self._on_packet is not None and packet.size:
            self._on_packet(packet)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            self._ends = max(self._ends, (packet.pts + (packet.duration or 0)) * packet.time_base)

    def _check(self, frame: Any, number: int) -> None:
        shape = (frame.width, frame.height, frame.format.name)
        if self._shape is None:
            self._shape = shape
            self.rotation_deg = turn(display_matrix(frame))
        elif shape != self._shape:
            old, new = ("{}x{} {}".format(*s) for s in (self._shape, shape))
            raise UnsupportedMedia(
                f"{self.path} changes from {old} to {new} at {self.timecode(number)}; a film must keep "
                "one picture size and format: split it there."
            )
