"""Long films in spans that are decoded by themselves: where one can begin, by the index of the film's own file, and
the pictures of one, with their numbers in the film.

A span is bounded by key frames. Nothing is decoded to find them, and no packet is read: MOV and MP4 list every packet,
Matroska and WebM the packets of key frames, and a sequence is one file a picture. Which picture of the film a span's
first one is follows from that list: in MOV by counting what lies before it, in Matroska from its time and an even rate.
Whoever joins spans proves both, by the numbers of the pictures that each of them shows (`analysis.scanned`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from dubbing.errors import MediaError
from dubbing.media.film import Film
from dubbing.media.read import Picture, variable_rate

__all__ = ["FilmSpan", "SpanScan", "key_frames"]

_STEPS_BACK = (0, 300)
"""How many frames before a key frame to seek to, one try after another."""


@dataclass(frozen=True)
class FilmSpan:
    """Frames [start, end) of a film, as its index counts them. The other fields are what the packets of four key frames
    bear: decoding times in MOV and MP4, else times of showing, in the stream's time base."""

    start: int
    """First frame."""
    end: int
    """The frame after the last."""
    lead: int | None
    """The key frame that decoding begins with, seconds before the span; None: with the film."""
    lead_frame: int
    """How many pictures lie in the file before that key frame."""
    first: int | None
    """The first key frame of the span, where that is not the film's first picture."""
    next_lead: int | None
    """The key frame that decoding of the next span begins with; None where this is the last."""
    after: int | None
    """The first key frame of the next span; None where this is the last."""


def key_frames(path: str | Path) -> list[tuple[int, int]]:
    """The key frames of a film from which on it can be decoded, in order: what the packet of each bears, as of
    `FilmSpan`, and how many pictures lie before it. Empty where its container's index does not tell, or cannot be
    trusted. Raises as `Film`."""
    with Film(path, 1) as film:
        if film.sequence is not None:
            return [(n, n) for n in range(film.sequence.count)]
        if not film.seekable:
            return []
        if _lists_all(film):
            return _counted(film)
        start, base = film.stream.start_time, film.stream.time_base
        if start is None or not base or variable_rate(path):
            return []
        try:
            film.container.seek(start, stream=film.stream)  # Matroska's index is read when it is needed
        except av.error.FFmpegError:
            return []
        stamps = sorted({entry.timestamp for entry in film.stream.index_entries if entry.is_keyframe})
        return [(stamp, round((stamp - start) * base * film.rate)) for stamp in stamps]


def _lists_all(film: Film) -> bool:
    """Whether its container lists every packet, by decoding time."""
    return "mov" in film.container.format.name


def _counted(film: Film) -> list[tuple[int, int]]:
    """See `key_frames`; nothing of a file in fragments, whose packets are not all listed, or listed twice."""
    entries = film.stream.index_entries
    if not len(entries) or len(entries) != film.stream.frames:
        return []
    found, shown, last = [], 0, None
    for n in range(len(entries)):
        entry = entries[n]
        stamp = int(entry.timestamp)
        if last is not None and stamp <= last:
            return []
        last = stamp
        if entry.is_discard:
            continue
        if entry.is_keyframe:
            found.append((stamp, shown))
        shown += 1
    return found


class SpanScan:
    """One pass over a span and the seconds before it, and after it for as long as it is asked. Iterating yields
    (number of the frame in the film, pts, uint8 (H, W, 3) upright BGR of `width_px` columns).

    first_pts, next_pts, after_pts: of the key frames that the span names, each known before its picture is yielded;
    None before. packets: those of pictures that are shown, from the span's first key frame up to the next span's, in
    the order of the file. Raises, while it runs, MediaError: the file is not what its index says, or damaged.
    """

    def __init__(self, path: str | Path, span: FilmSpan, width_px: int, threads: int = 1) -> None:
        self.film = Film(path, threads)
        self._span, self._width = span, width_px
        self.first_pts: int | None = None
        self.next_pts: int | None = None
        self.after_pts: int | None = None
        self.packets = 0
        self.step = self.film.step
        self.end_pts = 0
        """Where the last picture that was yielded ends."""
        self._lead_pts: int | None = None
        self._before = 0

    def __enter__(self) -> SpanScan:
        self.film.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.film.__exit__(*error)

    def __iter__(self) -> Iterator[tuple[int, int, np.ndarray]]:
        film, span = self.film, self._span
        every = span.after is None  # what the last one reads tells whether the film is whole
        if not every:
            film.picture_only()
        known = None
        if span.lead is not None:
            known = np.zeros(1, np.int64)  # the first picture is a key frame
        number = None
        for frame in film.decoded(every, known, self._packets(every)):
            if frame.pts is None:
                raise MediaError(f"{film.path} has pictures without a time.")
            if number is None:
                if span.lead is not None and frame.pts != self._lead_pts:
                    raise MediaError(f"{film.path} shows another picture than its key frame first, at pts {frame.pts}.")
                number = span.lead_frame + (self._before if _lists_all(film) else 0)
                if span.first is None:
                    self.first_pts = frame.pts
            self.end_pts = frame.pts + (frame.duration or self.step)
            yield number, frame.pts, Picture.of(film, number, frame.pts, frame).bgr(width=self._width)
            number += 1

    def _packets(self, every: bool) -> Iterator[Any]:
        """What is decoded: from the span's lead on."""
        film, span = self.film, self._span
        by_dts = _lists_all(film)
        own = span.first is None
        for packet in film.demuxed(every) if span.lead is None else self._sought(every, by_dts):
            if packet.stream is film.stream and packet.size:
                stamp, key = packet.dts if by_dts else packet.pts, packet.is_keyframe
                if packet.pts is None:
                    raise MediaError(f"{film.path} has pictures without a time.")
                if stamp == span.lead and key:
                    self._lead_pts = packet.pts
                elif self._lead_pts is not None and packet.pts < self._lead_pts and not packet.is_discard:
                    self._before += 1
                if stamp == span.first and key:
                    self.first_pts, own = packet.pts, True
                if stamp == span.next_lead and key:
                    self.next_pts = packet.pts
                if stamp == span.after and key:
                    self.after_pts, own = packet.pts, False
                self.packets += own and not packet.is_discard
            yield packet

    def _sought(self, every: bool, by_dts: bool) -> Iterator[Any]:
        """Packets from the span's lead on."""
        film, lead = self.film, self._span.lead
        assert lead is not None
        for back in _STEPS_BACK:
            film.container.seek(max(0, lead - back * film.step) if back else lead, stream=film.stream)
            found = False
            for packet in film.demuxed(every):
                if not found and packet.stream is film.stream:
                    stamp = packet.dts if by_dts else packet.pts
                    if not packet.size or (stamp is not None and stamp > lead):
                        break
                    found = stamp == lead and packet.is_keyframe
                if found:
                    yield packet
            if found:
                return
        raise MediaError(f"{film.path} has no key frame where its index says so, at {lead}.")
