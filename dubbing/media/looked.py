"""What was seen of a master's pictures while they were made, and whether a file still holds these.

A stretch of pictures that one encoder made is told by a digest of its packets, as a decoder takes them: units without
the lengths, marks and parameter sets that a container writes in its own way; and by the frame that each of them shows.
Whoever has the file reads the packets again, counts their frames by their times, and compares digests: that costs no
decoding. Packets beside such stretches must be the source's own, each at its frame, in groups that nothing outside
refers to. Where anything else is found, all pictures have to be looked at (`likeness`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import MediaError
from dubbing.master_choice import MasterChoice
from dubbing.media.film import Film
from dubbing.media.lazily import samples_of
from dubbing.media.likeness import LEAST_DB, at_their_times
from dubbing.media.parameter_sets import HevcSets, Sets, packed, sets_of, units
from dubbing.media.seen import Likeness, Sums
from dubbing.media.times import shown_pts

__all__ = ["Digest", "Header", "Looked", "confirmed", "least_db", "number_of"]

_ASKED_DB = 24.0  # the limit where a quality was asked for, which may be coarse; another film has at most 16
_EQUAL_DB = 99.0
_OF: dict[str, type[Sets] | type[HevcSets]] = {"h264": Sets, "hevc": HevcSets}
_MESSAGES = {"h264": {6}, "hevc": {39, 40, 62}}  # types of units that may hold what lies in single pictures
_REGISTERED = 0xB5  # of ITU-T T.35: captions and dynamic metadata of this country's codes


def least_db(choice: MasterChoice | None) -> float:
    """The PSNR under which a frame of a master that was asked for so differs; None where nobody knows how."""
    asked = choice is not None and any(
        getattr(choice, name) is not None for name in ("codec", "profile", "bit_depth", "chroma", "crf", "bitrate")
    )
    return _ASKED_DB if asked else LEAST_DB


@dataclass(frozen=True)
class Looked:
    """A stretch of pictures that were compared with their source as soon as they were encoded. first, last: frames
    [first, last), whose packets follow each other in the file; digest: of these packets and the frames that they show;
    sums: what pairs came to."""

    first: int
    last: int
    digest: str
    sums: Sums


class Header:
    """The parameter sets of a stream of H.264 or HEVC, however they are written. sets: their units; prefix: of its
    packets, as `units` takes it; kinds: types of units that are sets. Raises ValueError: there are none."""

    def __init__(self, codec: str, header: bytes) -> None:
        if codec not in _OF:
            raise ValueError(f"{codec} has no parameter sets")
        of = _OF[codec]
        self.kind, self.kinds, self.messages, self.clean = of.kind, of.kinds, _MESSAGES[codec], of.clean
        self.prefix = 0
        if header[:1] == b"\1":
            held = sets_of(codec, header)
            self.prefix = held.prefix
            self.sets = frozenset((*held.sequences, *held.pictures) if isinstance(held, Sets) else held.sets)
        else:
            self.sets = frozenset(unit for unit in units(header, 0) if self.kind(unit) in self.kinds)
        if not self.sets:
            raise ValueError("the header has no parameter sets")

    def plain(self, data: bytes) -> list[bytes]:
        """A packet's units that are no sets. Raises ValueError: it is not made as its header says, or brings sets that
        its header has not."""
        found = []
        for unit in units(data, self.prefix):
            if self.kind(unit) not in self.kinds:
                found.append(unit.rstrip(b"\0"))
            elif unit not in self.sets:
                raise ValueError("a packet brings parameter sets that its header has not")
        return found


class Digest:
    """Of packets as a decoder takes them, with the sets of their header. Raises ValueError as that."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._hash = hashlib.blake2b(packed(sorted(header.sets)), digest_size=16)

    def add(self, data: bytes) -> None:
        """The next packet."""
        self._hash.update(packed((*self._header.plain(data), b"")))

    def value(self, frames: Sequence[int]) -> str:
        """Of all packets so far, in hexadecimal. frames: number of the frame that each of them shows."""
        found = self._hash.copy()
        found.update(np.array(frames, "<i8").tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    data: bytes
    length: int


def number_of(line: Timeline, pts: int) -> int | None:
    """The frame that shows at a time of its film; None where there is none."""
    number = int(np.searchsorted(line.pts, pts))
    return number if number < len(line) and line.pts[number] == pts else None


def _packets(film: Film) -> Iterator[_Packet]:
    film.picture_only()
    for packet in film.packets():
        yield _Packet(packet.pts, bytes(packet), packet.duration or 0)


def _header(film: Film) -> Header:
    context = film.stream.codec_context
    return Header(context.codec.canonical_name, bytes(context.extradata or b""))


def confirmed(source: Path, master: Path, line: Timeline, runs: Sequence[Looked]) -> Likeness | None:
    """What was seen of a master while it was made, where the file still holds these pictures, each at its time; None
    where that is not so, or not sure. line: the source's frames that are delivered. Decodes nothing."""
    try:
        with Film(source, 1) as one, Film(master, 1) as two:
            return _confirmed(one, two, line, sorted(runs, key=lambda run: run.first))
    except (ValueError, MediaError, av.error.FFmpegError):
        return None


def _confirmed(source: Film, master: Film, line: Timeline, runs: Sequence[Looked]) -> Likeness | None:
    header = _header(master)
    copied = _Copied(source, header, line) if sum(run.last - run.first for run in runs) < len(line) else None
    waiting, sums, digest = list(runs), Sums(), Digest(header)
    times: list[tuple[int, int]] = []
    alike: dict[int, int] = {}  # of packets that are the source's own, by their place: the frame that it shows there
    made: list[tuple[Looked, Digest, int]] = []  # of each run, and the place behind its last packet
    for at, packet in enumerate(_packets(master)):
        if packet.pts is None or at >= len(line):
            return None
        times.append((packet.pts, packet.length))
        own = copied.next(packet) if copied is not None else None
        if not waiting or at < waiting[0].first:
            if own is None:
                return None
            alike[at], here = own
            sums += here
            continue
        digest.add(packet.data)
        if at + 1 == waiting[0].last:
            run = waiting.pop(0)
            made.append((run, digest, at + 1))
            sums, digest = sums + run.sums, Digest(header)
            if copied is not None:
                copied.break_off()
    frames = _frames([at for at, _ in times])
    if len(times) != len(line) or waiting or frames is None:
        return None
    if any(frames[at] != number for at, number in alike.items()):
        return None
    if any(found.value(frames[end - run.last + run.first : end]) != run.digest for run, found, end in made):
        return None
    pts = shown_pts([at for at, _ in sorted(times)], master.step)
    end = int(pts[-1]) + (max(times)[1] or master.step)
    return at_their_times(line, Timeline(pts, master.stream.time_base, end, master.rate, master.start_tc), sums)


def _frames(pts: Sequence[int]) -> list[int] | None:
    """Number of the frame that each packet shows, by its time; None where two show at once."""
    of = {at: number for number, at in enumerate(sorted(pts))}
    return [of[at] for at in pts] if len(of) == len(pts) else None


class _Copied:
    """A film's packets beside those of its master, one after another. header: of the master."""

    def __init__(self, source: Film, header: Header, line: Timeline) -> None:
        self._own, self._header, self._line = _header(source), header, line
        self._packets = _packets(source)
        self._samples = samples_of(source.path)
        self._alone = False  # whether what came since a clean key frame are the source's own packets

    def break_off(self) -> None:
        """What comes next must not refer to what lies before it."""
        self._alone = False

    def next(self, packet: _Packet) -> tuple[int, Sums] | None:
        """The source's frame that a packet shows there, and what the pair comes to, which is one packet in both files;
        None where it is not, or does not stand for the same picture, or holds what only a decoder can tell."""
        was, header = next(self._packets, None), self._header
        if was is None or was.pts is None or not self._own.sets <= header.sets:
            return None
        parts = header.plain(packet.data)
        self._alone = self._alone or header.clean({header.kind(unit) for unit in parts})
        tells = any(header.kind(unit) in header.messages and _REGISTERED in unit for unit in parts)
        if not self._alone or tells or parts != self._own.plain(was.data):
            return None
        number = number_of(self._line, was.pts)
        if number is None:
            return None
        return number, Sums(samples=self._samples, pairs=1, worst=(_EQUAL_DB, number), best=_EQUAL_DB)
