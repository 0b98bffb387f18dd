"""The sound of a master: the dub's tracks on their way into it, copied packet by packet or written as PCM.

A track's packets come one by one, each when the picture has reached its time, so that nothing holds a film's sound. It
knows neither pictures nor which codec a track is delivered in (`delivery`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Discard

from dubbing.clock import Timeline
from dubbing.errors import MediaError, UnsupportedMedia
from dubbing.media.delivery import Delivery, TrackDelivery
from dubbing.media.language import three_letters
from dubbing.media.sound import JUMP_S, first_sample_time

__all__ = ["NOT_TOGETHER", "SoundTracks", "begins_of", "together"]


NOT_TOGETHER = "The sound of {} does not begin with the picture, which MXF cannot say: ask for `container: mov`."


def begins_of(plan: Delivery, path: str | Path, film: str | Path) -> tuple[list[Fraction], list[Fraction]]:
    """When each track of the dub's file and each that is kept of the film begins, seconds of its own file."""
    own = [first_sample_time(path, one.stream) for one in plan.sound]
    return own, [first_sample_time(film, one.stream) for one in plan.kept]


def together(begins: Sequence[Fraction], kept: Sequence[Fraction], start: Fraction) -> bool:
    """Whether all tracks begin where the picture does, which is at `start` of the film."""
    return len({*begins}) <= 1 and all(begin == start for begin in kept)


class SoundTracks:
    """The sound on its way into the master, a packet at a time, beside the picture's: the dub's, then what is kept of
    the film's own.

    files: the dub's file, opened once for each of its tracks, then the film's; path, film: of these files.
    """

    def __init__(
        self, output: Any, plan: Delivery, files: Sequence[Any], path: str | Path, film: str | Path, timeline: Timeline
    ) -> None:
        self._output, self._muxer = output, plan.muxer
        self._sources = [f.streams[one.stream] for f, one in zip(files, (*plan.sound, *plan.kept), strict=True)]
        self._own = len(plan.sound)
        start = int(timeline.pts[0]) * timeline.time_base
        begins, kept = begins_of(plan, path, film)
        if plan.muxer == "mxf" and not together(begins, kept, start):
            raise UnsupportedMedia(NOT_TOGETHER.format(path))
        end = start + timeline.duration if plan.muxer == "mxf" else None  # else it leaves pictures out at the end
        self._tracks = [
            _Track(output, one, file, path, start, begin - min(begins), min(begins), end)
            for one, file, begin in zip(plan.sound, files, begins, strict=False)
        ]
        for one, file, begin in zip(plan.kept, files[self._own :], kept, strict=True):
            self._tracks.append(_Track(output, one, file, film, begin, Fraction(0), begin, end))

    def tag(self, language: str | None) -> None:
        """Write each track's tags: of a single one the dub's language; of several their own, where they have one. What
        is kept of the film's keeps its own, and is not what is played unless somebody chooses it."""
        several = self._own > 1
        kinds = type(self._sources[0].disposition)
        dubs = self._sources[: self._own]
        first = None if any(source.disposition & kinds.default for source in dubs) else dubs[0]
        for n, (track, source) in enumerate(zip(self._tracks, self._sources, strict=True)):
            kept = n >= self._own
            own = source.metadata.get("language", "und") if several or kept else "und"
            spoken = language if own == "und" and not kept else own
            track.stream.metadata["language"] = three_letters(spoken, quicktime=self._muxer == "mov")
            title = source.metadata.get("title") or source.metadata.get("name")
            if title:
                track.stream.metadata["title"] = title
            as_it_is = kinds.default if source is first else source.disposition
            track.stream.disposition = as_it_is if several else kinds.default
            if kept:
                track.stream.disposition = source.disposition & ~kinds.default

    def mux_until(self, time_s: Fraction | None) -> None:
        """Write the packets that begin before `time_s` of the master (None: all that are left)."""
        while True:
            track = min((t for t in self._tracks if t.due is not None), key=_due, default=None)
            if track is None or (time_s is not None and _due(track) > time_s):
                return
            self._output.mux(track.take())


class _Track:
    """One sound track. due: when its next packet begins, seconds of the master, None after the last.

    start: when the picture begins, seconds of the master; late: how much later than the file's first sound the
    track's begins; zero: when the file's first sound is heard, in the file's own time; end: until when PCM is silent
    where it is shorter, seconds of the master, None where it may end before.
    """

    def __init__(
        self, output: Any, plan: TrackDelivery, file: Any, path: str | Path, start: Fraction, late: Fraction,
        zero: Fraction, end: Fraction | None,
    ) -> None:  # fmt: skip
        self._path = path
        source = file.streams[plan.stream]
        for other in file.streams:
            if other is not source:
                other.discard = Discard.all
        if plan.copied:
            self.stream = output.add_stream_from_template(source, opaque=True)
            self._packets = self._copied(file, source, start - zero)
        else:
            self.stream = output.add_stream(plan.codec, rate=source.codec_context.sample_rate)
            self.stream.codec_context.layout = source.codec_context.layout
            self._packets = self._encoded(file, source, start + late)
        if end is not None:
            self._packets = _until(end, self._packets, source, 2 if plan.codec == "pcm_s16le" else 3)
        self._next: Any = None
        self.due: Fraction | None = None
        self._advance()

    def take(self) -> Any:
        """The next packet, labelled with its stream."""
        packet = self._next
        packet.stream = self.stream
        self._advance()
        return packet

    def _advance(self) -> None:
        self._next = next(self._packets, None)
        self.due = None if self._next is None else self._next.dts * Fraction(self._next.time_base)

    def _copied(self, file: Any, source: Any, later: Fraction) -> Iterator[Any]:
        shift = round(later / source.time_base)
        try:
            for packet in file.demux(source):
                if packet.size and packet.pts is not None:
                    packet.pts += shift
                    packet.dts = packet.pts
                    yield packet
        except av.error.InvalidDataError as e:
            raise MediaError(f"The sound of {self._path} is damaged.") from e

    def _encoded(self, file: Any, source: Any, start: Fraction) -> Iterator[Any]:
        ctx = self.stream.codec_context
        rate_hz = source.codec_context.sample_rate
        begin = at = round(start * rate_hz)
        zero: Fraction | None = None  # when the track begins, by its own labels
        tool = av.AudioResampler(ctx.format.name, source.codec_context.layout.name, rate_hz)
        try:
            for frame in file.decode(source):
                if frame.pts is not None:
                    label = frame.pts * Fraction(frame.time_base or source.time_base)
                    zero = label if zero is None else zero
                    due = begin + round((label - zero) * rate_hz)
                    if due - at > rate_hz * JUMP_S:  # what is heard for the lips has silence here too
                        for rest in _silence(ctx, source, due - at):
                            rest.pts, rest.time_base = at, Fraction(1, rate_hz)
                            at += rest.samples
                            yield from self.stream.encode(rest)
                frame.pts = None
                for part in tool.resample(frame):
                    part.pts, part.time_base = at, Fraction(1, rate_hz)
                    at += part.samples
                    yield from self.stream.encode(part)
        except av.error.InvalidDataError as e:
            raise MediaError(f"The sound of {self._path} is damaged.") from e
        yield from self.stream.encode(None)


def _until(end: Fraction, packets: Iterator[Any], source: Any, sample_bytes: int) -> Iterator[Any]:
    """Packets of PCM, and silence after them up to a time of the master."""
    ctx, at = source.codec_context, 0
    width = ctx.layout.nb_channels * sample_bytes
    for packet in packets:
        at = round(packet.pts * Fraction(packet.time_base) * ctx.sample_rate) + packet.size // width
        yield packet
    missing = round(end * ctx.sample_rate) - at
    if missing > 0:
        rest = av.Packet(bytes(missing * width))
        rest.pts = rest.dts = at
        rest.time_base = Fraction(1, ctx.sample_rate)
        yield rest


def _silence(ctx: Any, source: Any, samples: int) -> Iterator[Any]:
    """So many samples of silence, in frames of at most a second."""
    while samples > 0:
        count = min(samples, source.codec_context.sample_rate)
        frame = av.AudioFrame(ctx.format.name, source.codec_context.layout.name, count)
        frame.sample_rate = source.codec_context.sample_rate
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        samples -= count
        yield frame


def _due(track: _Track) -> Fraction:
    return track.due if track.due is not None else Fraction(0)
