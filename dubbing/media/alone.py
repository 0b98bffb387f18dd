"""Pictures that stand alone: of a codec without references between pictures, those that did not change are copied.

Each packet of such a film is one picture. Where no patch lies it goes into the master as it is, byte for byte; only the
others are decoded, pasted and encoded, in the source's codec and profile. It knows neither sound nor containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError, several
from dubbing.media.colour import layout_of, narrowed, planes_of
from dubbing.media.encoders import Encoding
from dubbing.media.film import Film
from dubbing.media.paste import PatchQueue, covered, paste
from dubbing.media.prores import Box, spliced

__all__ = ["Beside", "beside", "decoded_alone", "packets_from", "pictures"]

_THREADS = 8
_MOST_ENCODERS = 16  # of parts of pictures, each for one size and quantiser
_LAMBDA = 118  # FF_QP2LAMBDA: how FFmpeg counts quantisers


class Beside:
    """An encoder whose pictures stand beside the source's own in one stream. stream: of the output."""

    def __init__(self, stream: Any, encoder: Any, made: Encoding) -> None:
        self.stream, self._encoder, self._made = stream, encoder, made
        self._parts: dict[tuple[int, int, int], Any] = {}

    def packet(self, number: int, frame: Any | None, packet: Any, parts: Sequence[Box] = ()) -> Any:
        """A picture's packet, without times: the source's own, or of a frame that is not the source's any more in these
        parts. Of ProRes only the slices that they touch are new."""
        if frame is None or not parts:
            return packet
        frame = narrowed(frame, self._made.pix_fmt)
        if self._made.codec == "prores":
            data = spliced(bytes(packet), parts, lambda box, quantiser: self._part(frame, box, quantiser))
            if data is not None:
                made = av.Packet(data)
                made.is_keyframe = True
                return made
        frame.pts, frame.time_base, frame.pict_type = number, self._encoder.time_base, 0
        (made,) = self._encoder.encode(frame)
        return made

    def _part(self, frame: Any, box: Box, quantiser: int) -> bytes:
        """A cut-out of a frame as a packet of ProRes, every slice with that quantiser."""
        x, y, width, height = box
        encoder: Any = self._parts.get((width, height, quantiser))
        if encoder is None:
            encoder = av.CodecContext.create(self._made.encoder.name, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, self._made.pix_fmt
            encoder.time_base, encoder.framerate = self._encoder.time_base, self._encoder.framerate
            encoder.options = {
                **self._made.options, "flags": "+qscale", "global_quality": str(quantiser * _LAMBDA),
            }  # fmt: skip
            encoder.thread_count = 1
            encoder.open()
            while len(self._parts) >= _MOST_ENCODERS:
                del self._parts[next(iter(self._parts))]
            self._parts[width, height, quantiser] = encoder
        cut = av.VideoFrame(width, height, self._made.pix_fmt)
        layout = layout_of(self._made.pix_fmt)
        assert layout is not None
        for index, (there, here) in enumerate(zip(planes_of(cut), planes_of(frame), strict=True)):
            across, down = layout.sub if index in (1, 2) else (0, 0)
            left, top = x >> across, y >> down
            there[:] = here[top : top + there.shape[0], left : left + there.shape[1]]
        cut.pts, cut.time_base = 0, encoder.time_base
        (made,) = encoder.encode(cut)
        return bytes(made)


def pictures(
    film: Film,
    timeline: Timeline,
    folders: Iterable[str | Path],
    first: int = 0,
    last: int | None = None,
    every: bool = False,
) -> Iterator[tuple[Any, Any | None, tuple[Box, ...]]]:
    """Each picture of a film in which every one stands alone: its packet; the decoded frame with its patches in it,
    None where there are none, unless `every` is wanted; where it is not the source's. first, last: only frames
    [first, last).

    Raises DamagedMedia; MediaError when the film is not the timeline's, or a patch lies beyond its end.
    """
    queue = PatchQueue(folders, first or None, last, own=True)
    count, whole = first, len(timeline) if last is None else min(last, len(timeline))
    for packet in packets_from(film, timeline, first):
        if count >= whole:
            count += whole == len(timeline)
            break
        patches = queue.at(count)
        frame: Any = decoded_alone(film, packet, count) if patches or every else None
        if patches:
            frame.make_writable()
            for patch in patches:
                paste(frame, patch, film)
        parts = (covered(patch, film, (frame.width, frame.height)) for patch in patches)
        yield packet, frame, tuple(part for part in parts if part is not None)
        count += 1
    if count != whole:
        raise MediaError(
            f"{film.path} has changed: its timeline has {several(len(timeline), 'frame')}, the file does not."
        )
    if queue.left:
        raise MediaError(f"{queue.left} patch folders reach beyond the last frame of {film.path}.")


def packets_from(film: Film, timeline: Timeline, first: int) -> Iterator[Any]:
    """The picture's packets from that of frame `first` on: found by its label where such can be trusted and say where
    it is, else by counting."""
    if not first:
        yield from film.packets()
        return
    if film.seekable:
        film.container.seek(int(timeline.pts[first]), stream=film.stream)
        packets = film.packets()
        for packet in packets:
            number = -1 if packet.pts is None else int(np.searchsorted(timeline.pts, packet.pts))
            if not 0 <= number <= first or timeline.pts[number] != packet.pts:
                break
            if number == first:
                yield packet
                yield from packets
                return
    with Film(film.path, 1) as again:
        again.picture_only()
        yield from islice(again.packets(), first, None)


def decoded_alone(film: Film, packet: Any, number: int) -> Any:
    """The one frame of a packet."""
    try:
        frames = packet.decode()
    except av.error.FFmpegError as e:
        raise film.damage(number) from e
    if len(frames) != 1 or frames[0].is_corrupt:
        raise film.damage(number)
    frame = film.shown(frames[0])
    film.check(frame, number)
    return frame


def beside(output: Any, film: Film, made: Encoding, timeline: Timeline) -> Beside | None:
    """A new stream of the output in which the source's pictures and encoded ones lie side by side; None where they
    cannot: pictures refer to each other, or the encoder's header is not the source's."""
    source = film.stream
    if not made.alike or (film.stream.codec_context.field_order not in (0, 1, None) and not made.encoder.fields):
        return None
    encoder: Any = av.CodecContext.create(made.encoder.name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = source.width, source.height, made.pix_fmt
    encoder.time_base, encoder.framerate = 1 / timeline.rate, timeline.rate
    own = source.codec_context
    for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
        value = getattr(own, name)
        if value:
            setattr(encoder, name, value)
    if source.sample_aspect_ratio:
        encoder.sample_aspect_ratio = source.sample_aspect_ratio
    if made.bit_rate:
        encoder.bit_rate = made.bit_rate
    encoder.options = {**made.options, **made.marks}
    encoder.thread_type, encoder.thread_count = "SLICE", _THREADS  # of one picture, so that each comes out at once
    encoder.open()
    if bytes(encoder.extradata or b"") != bytes(own.extradata or b"") and made.codec == "ffv1":
        return None
    stream = output.add_stream_from_template(source, opaque=True)
    stream.codec_context.framerate = timeline.rate  # without it mov writes no timecode track
    if source.sample_aspect_ratio:
        stream.codec_context.sample_aspect_ratio = source.sample_aspect_ratio
    if made.tag:
        stream.codec_context.codec_tag = made.tag
    return Beside(stream, encoder, made)
