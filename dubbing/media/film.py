"""An open picture file that decodes in order and notices damage, naming it by timecode.

Decoders conceal damage: a broken H.264 slice becomes a plausible grey smear, a missing packet a repeated frame. So five
signs are checked here: the decoder's own error flags, packets that went in without a frame coming out, zeros where
none may be, FFV1's checksums, and the number of frames that the index promises. It does not know frame numbers' times
beyond the start timecode, and makes no pictures (`read`).
"""

from __future__ import annotations

import bisect
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Discard

from dubbing import sequences
from dubbing.clock import Timecode
from dubbing.errors import DamagedMedia, MediaError, UnsupportedMedia, several
from dubbing.media.colour import Colour, picture_bytes
from dubbing.media.numbered import CONTAINER, planar, planar_name, start_of
from dubbing.media.probe import (
    display_matrix,
    first_video,
    nominal_rate,
    open_media,
    promised_frames,
    start_timecode,
    turn,
)

__all__ = ["Film", "seekable", "threads_for"]

_SEEKABLE = ("mov", "matroska", "webm", CONTAINER)
_ONE_FRAME_A_PACKET = ("h264", "hevc")
_ALONE = ("cfhd", "dnxhd", "ffv1", "jpeg2000", "mjpeg", "prores")
"""Codecs of which a packet is a picture, shown in the order in which they lie in the file."""
_PATIENCE = 64
"""Packets that may follow a decoding error before it is reported without knowing the exact frame."""
_EARLY_S = 1
_PADDING_BYTES = 64
_HELD_BYTES = 256_000_000  # of pictures, by a decoder's threads
_FFMPEG_THREADS = 16  # FFmpeg starts no more by itself
_FOOTER_BYTES = 8
"""Of an FFV1 slice: its length, an error mark, a checksum."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Film:
    """An open file and its picture stream, decoding in order. A context manager.

    threads: decoder threads, 0 for as many as there are cores (fewer of large pictures), 1 inside a worker. `on_packet`
    may be set before a whole pass: it is given every packet of the other streams, in file order. Raises MediaError when
    the file cannot be opened or has no picture.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        self.path = Path(path)
        self.container = open_media(path)
        stream = first_video(self.container)
        if stream is None:
            self.container.close()
            raise MediaError(f"{path} has no video stream.")
        self.stream = stream
        stream.codec_context.thread_count = threads or threads_for(stream.codec_context)
        stream.codec_context.thread_type = "NONE" if threads == 1 else "AUTO"
        self.rate: Fraction = nominal_rate(stream)
        self.sequence = sequences.find(path)
        """Its files, where it is one file a picture."""
        if self.sequence is None:
            said = start_timecode(self.container, stream)
            self.promised = promised_frames(self.container, stream)
            self.aspect = Fraction(stream.sample_aspect_ratio or 1)
        else:
            said, self.promised, self.aspect = start_of(self.sequence).start_tc, self.sequence.count, Fraction(1)
        self.start_tc = said or "00:00:00:00"
        self.rotation_deg = 0
        self._shape: tuple[int, int, str] | None = None
        self.on_packet: Callable[[Any], None] | None = None
        self._ends = Fraction(0)
        self._packets = self._labelled = 0
        labelled = self.seekable and stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET
        self._watch = labelled and (stream.codec_context.field_order or 0) <= 1
        self._prefix = _prefix_bytes(stream.codec_context)
        name = stream.codec_context.codec.canonical_name
        self._alone = self.seekable and name in _ALONE
        self._sums = self._alone and name == "ffv1"
        self._summed = False  # whether a checksum was seen to be right: not every FFV1 has them
        if name == "mjpeg":  # else it draws what it can of a damaged picture, and says nothing
            stream.codec_context.options = {"err_detect": "explode"}

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def step(self) -> int:
        """pts between frames at nominal rate, at least 1."""
        return max(1, round(1 / self.rate / self.stream.time_base))

    @cached_property
    def colour(self) -> Colour:
        """How the film's pictures become RGB, from its tags."""
        ctx = self.stream.codec_context
        if self.sequence is not None:
            transfer = 16 if "f16" in ctx.pix_fmt or "f32" in ctx.pix_fmt else start_of(self.sequence).transfer
            return Colour.of(0, 2, ctx.height, planar_name(ctx.pix_fmt), transfer)
        return Colour.of(ctx.colorspace, ctx.color_range, ctx.height, ctx.pix_fmt or "", ctx.color_trc)

    @property
    def seekable(self) -> bool:
        """Whether seeking in this kind of container lands on key frames with trustworthy labels."""
        return seekable(self.container.format.name)

    def timecode(self, frame: int) -> str:
        """SMPTE name of a frame."""
        return str(Timecode.parse(self.start_tc, self.rate) + frame)

    def damage(self, frame: int, what: str = "is damaged") -> DamagedMedia:
        """The error that names a frame."""
        return DamagedMedia(f"{self.path} {what} at {self.timecode(frame)} (frame {frame}); give a whole copy of it.")

    def whole(self) -> Iterator[Any]:
        """All frames from the first; then checks whether the file ended where it should.

        Raises DamagedMedia, UnsupportedMedia (the picture changes size), MediaError (no frame)."""
        number = 0
        for frame in self.decoded(every_stream=True):
            yield frame
            number += 1
        if number == 0:
            raise MediaError(f"{self.path} holds no picture that can be decoded.")
        # An AVI's header counts empty chunks, each of which shows the picture before it once more. Its labels count
        # them too, but for the last ones.
        avi = self.container.format.name == "avi"
        reached = self._labelled + max(2, self.promised // 50) if avi else self._packets
        if reached < self.promised:
            raise self.damage(number, f"ends early: its header promises {several(self.promised, 'frame')}; it stops")
        length = Fraction(self.container.duration or 0, av.time_base)
        if self.ends_early:
            raise self.damage(number, f"ends early: its header promises {float(length):.1f} s; it stops")

    @property
    def ends_early(self) -> bool:
        """Whether all that was read ends long before the length that is promised, where no number of frames is."""
        length = Fraction(self.container.duration or 0, av.time_base)
        return self.seekable and not self.promised and self._ends + _EARLY_S < length

    def packets(self, left_out: bool = False) -> Iterator[Any]:
        """The picture's packets that are shown, as they lie in the file; those of other streams go to `on_packet`.
        left_out: also those that are decoded only, because an edit list leaves them out."""
        for packet in self.demuxed(every_stream=True):
            if packet.stream is not self.stream:
                self._note(packet)
            elif packet.size and (left_out or not packet.is_discard):
                yield packet

    def picture_only(self) -> None:
        """Pass over all other streams from now on."""
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all

    def onward(self, pts: Sequence[int] | np.ndarray) -> Iterator[Any]:
        """Frames from where the file has been sought to, beginning with a key frame; the pts of all
        frames of the film name the bad one. Other streams are not read."""
        self.picture_only()
        return self.decoded(every_stream=False, known_pts=pts)

    def decoded(
        self, every_stream: bool, known_pts: Sequence[int] | np.ndarray | None = None,
        packets: Iterable[Any] | None = None,
    ) -> Iterator[Any]:  # fmt: skip
        """Frames in the order shown, counted from 0, or from the first key frame's place in `known_pts`. packets: what
        is decoded; None for all from where the file stands (`demuxed`)."""
        number, shown, failed_for = 0, 0, 0
        pending: list[int] = []
        holes: list[int] = []
        self._packets = self._labelled = 0
        try:
            for packet in self.demuxed(every_stream) if packets is None else packets:
                if packet.stream is not self.stream:
                    self._note(packet)
                    continue
                if packet.size and not packet.is_discard:
                    self._packets += 1
                    self._labelled = max(self._packets, 1 + (packet.dts or 0))
                    self._note_end(packet)
                    if (self._watch or self._alone) and packet.pts is not None:
                        bisect.insort(pending, packet.pts)
                        if self._has_hole(packet) or self._has_wrong_sum(packet):
                            bisect.insort(holes, packet.pts)
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as e:
                    if self._alone and pending and known_pts is not None:  # the first that has not come out
                        number = int(np.searchsorted(known_pts, pending[0]))
                    if not self._watch:
                        raise self.damage(number) from e
                    frames, failed_for = [], failed_for + 1
                for frame in frames:
                    if shown == 0 and known_pts is not None:
                        key = frame.key_frame or (self._alone and not self._sums)  # CineForm marks none
                        if not key or frame.pts is None:
                            continue
                        number = int(np.searchsorted(known_pts, frame.pts))
                        holes = [pts for pts in holes if pts >= frame.pts]
                    if frame.is_corrupt:
                        raise self.damage(number)
                    if (self._watch or self._alone) and frame.pts is not None:
                        before = bisect.bisect_left(pending, frame.pts)
                        whole = self._alone and known_pts is None  # nothing comes before its first picture
                        if (before and (shown or whole)) or (holes and holes[0] <= frame.pts):
                            raise self.damage(number)
                        del pending[: before + 1]
                    frame = self.shown(frame)
                    self.check(frame, number)
                    yield frame
                    number, shown = number + 1, shown + 1
                failed_for += bool(failed_for)
                if failed_for > _PATIENCE:
                    raise self.damage(number)
        except av.error.FFmpegError as e:
            raise self.damage(number) from e
        if failed_for or (pending and shown):
            raise self.damage(number)

    def shown(self, frame: Any) -> Any:
        """A decoded frame as it is worked on: of a sequence in planes (`numbered.planar`)."""
        if self.sequence is None:
            return frame
        made, told = planar(frame), start_of(self.sequence)
        made.color_primaries, made.color_trc = told.primaries or 2, self.colour.transfer or told.transfer or 2
        return made

    def demuxed(self, every_stream: bool) -> Iterator[Any]:
        """Packets in file order, and empty ones at the end, which let the last frames out of the decoder."""
        packets = self.container.demux() if every_stream else self.container.demux(self.stream)
        for packet in packets:
            if self.sequence is not None and packet.size and packet.pts >= self.sequence.count:
                last = av.Packet()
                last.stream = self.stream
                yield last
                return
            yield packet

    def _has_hole(self, packet: Any) -> bool:
        """Whether an H.264 or HEVC packet holds what none may: a run of zeros inside a unit, or a unit
        that does not fit (ITU-T H.264 and H.265, 7.3.1, and the length prefixes of ISO 14496-15).

        Lost blocks of a disk read as zeros; decoders often make a picture of them without an error."""
        if not self._prefix:
            return False
        data = bytes(packet)
        at = 0
        while at < len(data):
            begin = at + self._prefix
            at = begin + int.from_bytes(data[at:begin], "big")
            if at == begin or at > len(data):
                return True
            hole = data.find(b"\0\0\0", begin, at)
            if hole >= 0 and (data[hole:at].strip(b"\0") or at - hole > _PADDING_BYTES):
                return True
        return False

    def _has_wrong_sum(self, packet: Any) -> bool:
        """Whether a slice of an FFV1 packet is not what its checksum says (RFC 9043, 4.8: CRC-32 with the highest bit
        first, over a slice with its footer, is 0). The decoder shows the picture before in its place."""
        if not self._sums:
            return False
        data = bytes(packet)
        end = len(data)
        while end > 0:
            length = int.from_bytes(data[max(0, end - _FOOTER_BYTES) : end - 5], "big") + _FOOTER_BYTES
            # zlib counts the lowest bit first, and turns all bits before and after
            if length > end or zlib.crc32(data[end - length : end].translate(_REVERSED), 0xFFFFFFFF) != 0xFFFFFFFF:
                return self._summed
            end -= length
        self._summed = True
        return False

    def _note(self, packet: Any) -> None:
        self._note_end(packet)
        if self.on_packet is not None and packet.size:
            self.on_packet(packet)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            self._ends = max(self._ends, (packet.pts + (packet.duration or 0)) * packet.time_base)

    @property
    def shape(self) -> tuple[int, int, str, int]:
        """Width, height, format and turn of its pictures, once one was looked at."""
        return (*(self._shape or (0, 0, "")), self.rotation_deg)

    def check(self, frame: Any, number: int) -> None:
        """Look at a decoded frame: the first says how the film is turned, and all others must have its size and format.
        Raises UnsupportedMedia."""
        shape = (frame.width, frame.height, frame.format.name)
        if self._shape is None:
            self._shape = shape
            self.rotation_deg = turn(display_matrix(frame)) if self.sequence is None else 0
        elif shape != self._shape:
            old, new = ("{}x{} {}".format(*s) for s in (self._shape, shape))
            raise UnsupportedMedia(
                f"{self.path} changes from {old} to {new} at {self.timecode(number)}; a film must keep "
                "one picture size and format: split it there."
            )


def seekable(container: str) -> bool:
    """Whether a frame of a film is found without reading those before it. container: FFmpeg's name of its format."""
    return any(name in container for name in _SEEKABLE)


def threads_for(ctx: Any) -> int:
    """How many threads may decode a film at once: 0, which is as many as there are cores, or fewer, because each holds
    a picture."""
    most = _HELD_BYTES // max(1, picture_bytes(ctx.width, ctx.height, ctx.pix_fmt or ""))
    return 0 if most >= _FFMPEG_THREADS else max(1, min(most, os.cpu_count() or 1))


def _prefix_bytes(ctx: Any) -> int:
    """How many bytes say the length of each unit in a packet, 0 where units are marked otherwise."""
    record = bytes(ctx.extradata or b"")
    place = {"h264": 4, "hevc": 21}.get(ctx.codec.canonical_name)
    if place is None or len(record) <= place or record[0] != 1:
        return 0
    return (record[place] & 3) + 1
