"""A master's picture in which groups of the source's pictures stand beside encoded ones: packets with their times.

Each run of encoded pictures has an encoder of its own. Its parameter sets have other numbers than the source's and
stand in the header beside them (H.264), or both come with each key frame (HEVC). It opens no file (`master_file`), and
which groups are copied is for `groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np

from dubbing.clock import Timeline
from dubbing.media.film import Film
from dubbing.media.groups import VARIABLE, Copied, Ground, GroupsRefused

__all__ = ["GroupWriter"]


class GroupWriter:
    """A stream of an output in which the source's groups and encoded ones follow each other. stream: of the output."""

    def __init__(
        self, output: Any, film: Film, timeline: Timeline, base: Ground, encoder_delay: int,
        opened: Callable[[Mapping[str, str]], Any],
    ) -> None:  # fmt: skip
        """encoder_delay: how many pictures the encoder codes at most before one that is shown before them;
        opened(options): such an encoder, its header apart. Raises GroupsRefused: groups cannot be copied."""
        if base.sets is None:
            raise GroupsRefused(base.why)
        if base.delay and not encoder_delay:
            raise GroupsRefused(VARIABLE)
        self._film, self._line, self._opened = film, timeline, opened
        self._sets, self._options = base.sets, base.sets.options()
        self._encoder: Any = None
        self._written, self._delay = 0, max(base.delay, encoder_delay)
        header = base.sets.beside(bytes(opened(self._options).extradata or b""))
        if header is None:
            raise GroupsRefused("the encoder's pictures are of another kind")
        source = film.stream
        stream = output.add_stream_from_template(source, opaque=True)
        stream.time_base = timeline.time_base
        ctx = stream.codec_context
        ctx.framerate = timeline.rate  # without it mov writes no timecode track
        ctx.extradata = header
        ctx.codec_tag = base.sets.tag if output.format.name != "matroska" else "\0\0\0\0"
        if source.sample_aspect_ratio:
            ctx.sample_aspect_ratio = source.sample_aspect_ratio
        self.stream = stream

    def copy(self, one: Copied) -> list[Any]:
        """Packets for a picture of which there is one: what was left of the run before it, and its own."""
        made = self.flush()
        packet = av.Packet(one.data)
        packet.pts, packet.is_keyframe = int(self._line.pts[one.number]), one.key
        return [*made, *self._timed([packet])]

    def own(self, packet: Any) -> Copied | None:
        """A packet of the film as it is copied; None where the film has no frame of its time."""
        number = int(np.searchsorted(self._line.pts, packet.pts or 0))
        if packet.pts is None or number >= len(self._line) or int(self._line.pts[number]) != packet.pts:
            return None
        return Copied(self._sets.copied(bytes(packet), packet.is_keyframe), number, packet.is_keyframe)

    def encode(self, frame: Any) -> list[Any]:
        """Packets that come out as a frame with its pts goes in."""
        if self._encoder is None:
            self._encoder = self._opened(self._options)
        return self._timed(self._beside(self._encoder.encode(frame)))

    def flush(self) -> list[Any]:
        """The rest of a run."""
        if self._encoder is None:
            return []
        left, self._encoder = self._encoder.encode(None), None
        return self._timed(self._beside(left))

    def _beside(self, packets: list[Any]) -> list[Any]:
        """An encoder's packets as they stand beside the source's."""
        found = []
        for packet in packets:
            data = self._sets.encoded(bytes(packet))
            made = packet if data is None else av.Packet(data)
            made.pts, made.is_keyframe = packet.pts, packet.is_keyframe
            found.append(made)
        return found

    def _timed(self, packets: list[Any]) -> list[Any]:
        """With decoding times: those of showing, later by the delay of the whole stream."""
        line = self._line
        for packet in packets:
            at = self._written - self._delay
            early = at * self._film.step if at < 0 else 0
            packet.dts = int(line.pts[max(0, at)]) + early
            packet.time_base, packet.stream = line.time_base, self.stream
            self._written += 1
        return packets
