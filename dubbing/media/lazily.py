"""A film's pictures in their order, each decoded when somebody looks at it: equal packets need no look.

Where every picture of a stream stands alone, a picture is its packet until it is asked for. It compares nothing
(`likeness`) and knows no patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import av.error

from dubbing.clock import Timeline
from dubbing.media.alone import decoded_alone, packets_from
from dubbing.media.colour import layout_of
from dubbing.media.encoders import ENCODERS
from dubbing.media.film import Film
from dubbing.media.numbered import planar_name
from dubbing.media.read import Picture, Scan, read
from dubbing.media.times import shown_pts

__all__ = ["Pictures", "Seen", "packet_times", "samples_of", "stand_alone"]


class Seen:
    """One picture. frame: its number; pts: in the stream's time base; data: its packet, where that holds no other
    picture, else None; picture: decoded."""

    def __init__(self, frame: int, pts: int, data: bytes | None, decode: Callable[[], Picture]) -> None:
        self.frame, self.pts, self.data, self._decode = frame, pts, data, decode

    @cached_property
    def picture(self) -> Picture:
        """Raises DamagedMedia."""
        return self._decode()


class Pictures:
    """A film's pictures from the first, to be iterated once. A context manager: pictures can be decoded until its end.
    alone: by their packets, where every one stands alone; threads: decoder threads, 0 for as many as there are cores;
    line: the film's frames, of which only [first, last) are read, None for all. `timeline` is known when all have
    passed; time_base: seconds of a pts.

    Iterating raises DamagedMedia as `Scan`, and where `alone` is said of a stream of which it does not hold.
    """

    def __init__(
        self, path: Path, alone: bool, threads: int, line: Timeline | None = None, first: int = 0, last: int = 0
    ) -> None:
        self._path, self._line, self._first, self._last = path, line, first, last
        self._scan = Scan(path, None, threads)
        self._timeline: Timeline | None = None
        self._film = Film(path, 1) if alone else None
        self._threads = threads
        self.time_base: Fraction = self._scan.time_base

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._film is not None:
            self._film.container.close()

    @property
    def timeline(self) -> Timeline:
        """Times of all frames."""
        return self._timeline or self._scan.timeline

    def __iter__(self) -> Iterator[Seen]:
        if self._film is not None:
            yield from self._packets(self._film) if self._line is None else self._part(self._film, self._line)
            return
        line = self._line
        shown = (
            self._scan.pictures()
            if line is None
            else read(self._path, line, self._first, self._last, threads=self._threads)
        )
        for picture in shown:
            yield Seen(picture.frame, picture.pts, None, partial(_itself, picture))

    def _packets(self, film: Film) -> Iterator[Seen]:
        raw: list[int | None] = []
        last, length = 0, 0
        film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "SLICE", self._threads
        for packet in film.packets():
            if not packet.is_keyframe:
                raise film.damage(len(raw), "has a picture that does not stand alone")
            last = packet.pts if packet.pts is not None and (not raw or packet.pts > last) else last + film.step
            yield Seen(len(raw), last, bytes(packet), partial(_decoded, film, packet, len(raw), last))
            raw.append(packet.pts)
            length = packet.duration or 0
        if not raw or len(raw) < film.promised:
            raise film.damage(len(raw), "ends early: its header promises more; it stops")
        pts = shown_pts(raw, film.step)
        end = int(pts[-1]) + (length or film.step)
        self._timeline = Timeline(pts, film.stream.time_base, end, film.rate, film.start_tc)

    def _part(self, film: Film, line: Timeline) -> Iterator[Seen]:
        film.picture_only()
        film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "SLICE", self._threads
        found = islice(packets_from(film, line, self._first), self._last - self._first)
        for number, packet in enumerate(found, self._first):
            if not packet.is_keyframe:
                raise film.damage(number, "has a picture that does not stand alone")
            pts = int(line.pts[number])
            yield Seen(number, pts, bytes(packet), partial(_decoded, film, packet, number, pts))


def _itself(picture: Picture) -> Picture:
    return picture


def _decoded(film: Film, packet: Any, number: int, pts: int) -> Picture:
    return Picture.of(film, number, pts, decoded_alone(film, packet, number))


def stand_alone(source: Path, master: Path) -> bool:
    """Whether two films are of one codec without references between pictures, so that equal packets are equal
    pictures."""
    with Film(source, 1) as one, Film(master, 1) as two:
        a, b = (film.stream.codec_context for film in (one, two))
        known = ENCODERS.get(a.codec.canonical_name)
        said = [(c.codec.canonical_name, c.pix_fmt, bytes(c.extradata or b"")) for c in (a, b)]
        return known is not None and known.intra and said[0] == said[1]


def samples_of(path: Path) -> int:
    """How many samples a picture of a film has, by its header; 0 where its format is not planar."""
    with Film(path, 1) as film:
        ctx = film.stream.codec_context
        layout = layout_of(planar_name(ctx.pix_fmt or "") if film.sequence else ctx.pix_fmt or "")
        if layout is None:
            return 0
        across, down = (-(-side >> shift) for side, shift in zip((ctx.width, ctx.height), layout.sub, strict=True))
        return int(ctx.width * ctx.height * (2 if layout.alpha else 1) + 2 * across * down)


def packet_times(path: Path) -> Timeline:
    """Times of a film's frames as its packets say them, without decoding any. Raises MediaError."""
    with Film(path, 1) as film:
        film.picture_only()
        try:
            found = sorted((p.pts, p.duration or 0) for p in film.packets() if p.pts is not None)
        except av.error.FFmpegError as e:
            raise film.damage(0) from e
        if not found:
            raise film.damage(0, "holds no picture that has a time")
        pts = shown_pts([p for p, _ in found], film.step)
        return Timeline(
            pts, film.stream.time_base, int(pts[-1]) + (found[-1][1] or film.step), film.rate, film.start_tc
        )
