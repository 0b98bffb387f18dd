"""How like a film's pictures those of another file are, frame by frame, in one pass over both.

What a matte covers is left out (`gap`). A frame that is absent, or one too many, is found by its picture: where a pair
differs and the next frame of either film fits, the pass goes on from there. Two frames of each film are held. Where
every picture stands alone in its packet, equal packets are equal pictures, and are not decoded. Captions and what else
lies in single pictures are compared on the way.

A frame differs where its PSNR, or that of its worst block of 16x16 pixels, in luma or chroma, is under a limit: the
first finds what is spread, the second what is small. It does not find a frame that is shown twice where nothing moves.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice, tee
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import DamagedMedia, MediaError
from dubbing.media.colour import beside_samples
from dubbing.media.film import Film
from dubbing.media.gap import Gap, decibels
from dubbing.media.gap import gap as gap_of
from dubbing.media.lazily import Pictures, Seen, packet_times, samples_of, stand_alone
from dubbing.media.paste import PatchQueue
from dubbing.media.read import Picture
from dubbing.media.seen import InPictures, Likeness, Sums
from dubbing.records import Patch

__all__ = [
    "LEAST_DB", "at_their_times", "compare_masters", "compare_part", "compare_pictures", "joined_parts", "pair",
    "until_damage",
]  # fmt: skip

LEAST_DB = 34.0
"""PSNR under which a frame differs. In the masters of seventeen films, in the encoder's default quality, the least of
a frame is 36.8 dB, of a block of luma 32.7, and of chroma, which encoders spend less on, 29.1."""
T = TypeVar("T")
_PROGRESS_FRAMES = 24
_CLOCK = Fraction(1, 1000)  # Matroska's: times within it are the same
_IN_PICTURES = {
    "A53_CC": "captions", "DYNAMIC_HDR_PLUS": "HDR10+", "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_RPU_BUFFER": "Dolby Vision",
}  # fmt: skip
"""What may lie in single pictures, by FFmpeg's names of it."""


def compare_pictures(
    source: str | Path, master: str | Path, patch_folders: Iterable[str | Path] = (), *, least_db: float = LEAST_DB,
    threads: int = 0, progress: Callable[[int], None] | None = None,
) -> Likeness:  # fmt: skip
    """`compare_masters` of one master. least_db: its limit."""
    return compare_masters(source, [master], patch_folders, least_db=[least_db], threads=threads, progress=progress)[0]


def compare_masters(
    source: str | Path, masters: Sequence[str | Path], patch_folders: Iterable[str | Path] = (), *,
    least_db: Sequence[float], timeline: Timeline | None = None, threads: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Likeness]:  # fmt: skip
    """Compare every frame of each master with the source's, which is decoded once. patch_folders: what was pasted into
    them, whose mattes are left out; least_db: for each master the PSNR under which a frame differs, and 6 dB less a
    block of its luma, 10 of its chroma; timeline: the source's frames that are delivered, None for all that it has;
    threads: decoder threads of each, 0 for as many as there are cores; progress(n): n more frames are done.

    Raises MediaError: a file cannot be opened or has no picture, two are of different sizes, or patches lie beyond
    the source's end; DamagedMedia: the source is damaged.
    """
    paths, folders = [Path(master) for master in masters], list(patch_folders)
    alone = [stand_alone(Path(source), path) for path in paths]

    def compared(alone: Sequence[bool]) -> list[Likeness]:
        return _compared(Path(source), paths, alone, folders, least_db, timeline, threads, progress)

    if any(alone):
        # what is wrong, or only seems so, is for decoders to say, picture by picture
        with contextlib.suppress(DamagedMedia):
            found = compared(alone)
            if all(seen.fits for seen, by_packets in zip(found, alone, strict=True) if by_packets):
                return found
    return compared([False] * len(paths))


def _compared(
    source: Path, masters: Sequence[Path], alone: Sequence[bool], folders: Sequence[str | Path],
    least_db: Sequence[float], timeline: Timeline | None, threads: int, progress: Callable[[int], None] | None,
) -> list[Likeness]:  # fmt: skip
    """See `compare_masters`. alone: of which masters equal packets are equal pictures."""
    with contextlib.ExitStack() as files:
        own = files.enter_context(Pictures(source, any(alone), threads))
        made = [files.enter_context(Pictures(p, a, threads)) for p, a in zip(masters, alone, strict=True)]
        shown = iter(own) if timeline is None else islice(own, len(timeline))
        patches = _Patches(folders)
        passes = _passed(own, shown, made, patches, least_db, samples_of(source), 0, progress)
        if patches.left and not all(one.damage for one in passes):
            raise MediaError(
                f"{patches.left} patch folders reach beyond the last frame of {source}: they are of another film."
            )
        line = own.timeline if timeline is None else timeline
        return [one.found(line) for one in passes]


def _passed(
    own: Pictures, shown: Iterator[Seen], made: Sequence[Pictures], patches: _Patches, least_db: Sequence[float],
    samples: int, first: int, progress: Callable[[int], None] | None,
) -> list[_Pass]:  # fmt: skip
    """One pass over a film, and over each master beside it."""
    each = zip(tee(shown, len(made)), made, least_db, strict=True)
    passes = [_Pass(ours, theirs, patches, least, samples, first) for ours, theirs, least in each]
    frame = first
    while [one for one in passes if one.on(frame, own.time_base)]:
        frame += 1
        if progress is not None and (frame - first) % _PROGRESS_FRAMES == 0:
            progress(_PROGRESS_FRAMES)
    return passes


def compare_part(
    source: Path, masters: Sequence[Path], patch_folders: Iterable[str | Path], line: Timeline, first: int, last: int,
    *, least_db: Sequence[float], threads: int = 0, progress: Callable[[int], None] | None = None,
) -> list[Sums | None]:  # fmt: skip
    """Frames [first, last) of a film and its masters, as of `compare_masters`; what the pairs come to, None of a master
    in which not every one of them is as it should be: then all of it has to be looked at. line: the source's frames.

    It looks for a frame where its time says that it is; whether the master has that many, and at these times, its
    packets say (`joined_parts`). Raises MediaError: a file cannot be opened.
    """
    alone = [stand_alone(source, master) for master in masters]
    with contextlib.ExitStack() as files:
        own = files.enter_context(Pictures(source, any(alone), threads, line, first, last))
        lines = [_timed(line, master) for master in masters]
        made = [
            files.enter_context(Pictures(master, by_packets, threads, at, first, last))
            for master, by_packets, at in zip(masters, alone, lines, strict=True)
        ]
        patches = _Patches(patch_folders, first, last)
        try:
            passes = _passed(own, iter(own), made, patches, least_db, samples_of(source), first, progress)
        except MediaError:
            return [None] * len(masters)
    found = [one.found(line, part=True) for one in passes]
    return [one.sums if one.fits and one.pairs == last - first else None for one in found]


def _timed(line: Timeline, master: Path) -> Timeline:
    """A film's frames in the clock of its master."""
    with Film(master, 1) as film:
        time_base: Fraction = film.stream.time_base
    factor = line.time_base / time_base
    pts = [int(pts * factor + Fraction(1, 2)) for pts in line.pts.tolist()]
    return replace(line, pts=np.array(pts, np.int64), time_base=time_base, end_pts=int(line.end_pts * factor))


def joined_parts(line: Timeline, master: Path, parts: Sequence[Sums | None]) -> Likeness | None:
    """What windows of a film found of a master; None where all of it has to be looked at: something differs in one of
    them, or its packets are not as many as the film's frames, at their times. line: the source's frames."""
    whole = [one for one in parts if one is not None]
    if len(whole) < len(parts):
        return None
    try:
        times = packet_times(master)
    except MediaError:
        return None
    return at_their_times(line, times, sum(whole, Sums()))


def at_their_times(line: Timeline, times: Timeline, sums: Sums) -> Likeness | None:
    """What was found of a master whose pictures are all as they should be, where they are as many as the source's and
    each shows when it should; else None. line, times: the source's frames, the master's."""
    if len(times) != len(line):
        return None
    late = max(
        abs(int(b) * times.time_base - int(a) * line.time_base) for a, b in zip(line.pts, times.pts, strict=True)
    )
    return Likeness(line, times, sums) if late <= _CLOCK else None


class _Patches:
    """The patches of frames that are asked for in order, by several who are one or two frames apart."""

    def __init__(self, folders: Iterable[str | Path], first: int = 0, last: int | None = None) -> None:
        self._queue, self._next = PatchQueue(folders, first or None, last, mattes=True), first
        self._held: OrderedDict[int, list[Patch]] = OrderedDict()

    def at(self, frame: int) -> list[Patch]:
        while self._next <= frame:
            self._held[self._next] = self._queue.at(self._next)
            self._next += 1
            if len(self._held) > 4:
                self._held.popitem(last=False)
        return self._held[frame]

    @property
    def left(self) -> int:
        """How many folders still hold patches."""
        return self._queue.left


class _Pass:
    """One master beside its source. damage: where the master is damaged, one sentence."""

    def __init__(
        self, ours: Iterator[Seen], master: Pictures, patches: _Patches, least_db: float, samples: int, first: int = 0
    ) -> None:
        self.damage: list[str] = []
        self._master, self._all, self._least, self._samples = master, patches, least_db, samples
        self._ours, self._theirs = _Ahead(ours), _Ahead(until_damage(iter(master), self.damage))
        self._patches = patches.at(first)
        self._sums = Sums()
        self._differing: list[tuple[int, int, float, float]] = []
        self._missing: list[tuple[int, int]] = []
        self._extra: list[tuple[int, int]] = []

    def on(self, frame: int, time_base: Fraction) -> bool:
        """Go on behind that frame of the source; at its end to the master's. Returns whether the source goes on."""
        while self._ours.now is not None or not (self._theirs.now is None or self.damage):
            if self._ours.now is not None and self._ours.now.frame > frame:
                return True
            if self._theirs.now is None and self.damage:  # nothing is known of what would have come
                self._ours.step()
                continue
            self._step(time_base)
        return False

    def _step(self, time_base: Fraction) -> None:
        """One pair, or a frame that one of the two has not."""
        ours, theirs, least_db = self._ours, self._theirs, self._least
        a, b = ours.now, theirs.now
        if a is None or b is None:
            gap, with_a, with_b = None, a is not None, b is not None
        else:
            gap = self._gap(a, b, self._patches)
            with_a, with_b = True, True
            fits = gap.fits(least_db)
            late = b.pts * self._master.time_base - a.pts * time_base
            if (not fits or late > _CLOCK) and ours.next is not None:
                by_time = late > _CLOCK and late == (ours.next.pts - a.pts) * time_base
                with_b = not _nearer(self._gap(ours.next, b, ()), gap, by_time, least_db)
            if with_b and not fits and theirs.next is not None:
                with_a = not _nearer(self._gap(a, theirs.next, self._patches), gap, False, least_db)
        if a is not None and b is not None and gap is not None and with_a and with_b:
            self._pair(a, b, gap)
        elif a is not None and with_a:
            _range(self._missing, a.frame)
        elif b is not None:
            _range(self._extra, b.frame)
        if a is not None and with_a:
            self._patches = self._all.at(a.frame + 1)
            ours.step()
        if with_b:
            theirs.step()

    def _gap(self, a: Seen, b: Seen, patches: Sequence[Patch]) -> Gap:
        if a.data is not None and a.data == b.data:
            return Gap(0.0, self._samples)
        return gap_of(a.picture, b.picture, patches, self._least)

    def _pair(self, a: Seen, b: Seen, gap: Gap) -> None:
        if a.data is not None and a.data == b.data:
            one = Sums(gap.error, gap.samples, 1, int(bool(self._patches)), worst=(gap.db, a.frame), best=gap.db)
            self._sums += replace(one, same=1)
            return
        other = a.frame if a.data is not None and b.data is not None and not self._patches else None
        self._sums += replace(pair(a.picture, b.picture, gap, bool(self._patches)), other=other)
        if not gap.fits(self._least):
            _stretch(self._differing, a.frame, gap.db, decibels(max(gap.luma, gap.chroma)))

    def found(self, line: Timeline, part: bool = False) -> Likeness:
        """What the whole pass found. line: the source's frames; part: not all of them were looked at."""
        made = None if self.damage or part else self._master.timeline
        return Likeness(
            line, made, self._sums, tuple(self._differing), tuple(self._missing), tuple(self._extra),
            self.damage[0] if self.damage else None,
        )  # fmt: skip


def pair(own: Picture, made: Picture, gap: Gap, patched: bool) -> Sums:
    """What two pictures that were decoded come to. own: the source's; gap: between them; patched: whether a matte was
    left out."""
    within = {
        name: InPictures(int(a is not None), int(b is not None), own.frame if a != b else None)
        for name, (a, b) in _in_both(own.av_frame, made.av_frame).items()
    }
    return Sums(
        gap.error, gap.samples, 1, int(patched), worst=(gap.db, own.frame), best=gap.db, within=within,
    )  # fmt: skip


def _in_both(own: Any, made: Any) -> dict[str, tuple[bytes | None, bytes | None]]:
    """What lies in one or both of two pictures beside their samples, by name."""
    found = {}
    sides = beside_samples(own), beside_samples(made)
    for kind, name in _IN_PICTURES.items() if any(map(len, sides)) else ():
        a, b = (None if (data := side.get(kind)) is None else bytes(data) for side in sides)
        if (a, b) != (None, None):
            found[name] = (a, b)
    return found


def _nearer(other: Gap, gap: Gap, by_time: bool, least_db: float) -> bool:
    """Whether the next frame is the one that belongs here: clearly nearer, or no further off and of the same time."""
    return (by_time and other.mean <= gap.mean) or (other.fits(least_db) and 2 * other.mean < gap.mean)


def until_damage(parts: Iterator[T], damage: list[str]) -> Iterator[T]:
    """Pictures or blocks of sound up to where their file is damaged. damage: gets the sentence that says so."""
    try:
        yield from parts
    except DamagedMedia as e:
        damage.append(str(e))


class _Ahead:
    """Pictures of which the next one may be looked at. now, next: None at the end; next is read when it is asked
    for."""

    def __init__(self, pictures: Iterator[Seen]) -> None:
        self._rest = pictures
        self._held: list[Seen] = []
        self.now = next(pictures, None)

    @property
    def next(self) -> Seen | None:
        if not self._held:
            self._held.extend(islice(self._rest, 1))
        return self._held[0] if self._held else None

    def step(self) -> None:
        self.now = self._held.pop() if self._held else next(self._rest, None)


def _range(found: list[tuple[int, int]], frame: int) -> None:
    """Adds a frame to stretches of frames."""
    if found and found[-1][1] == frame - 1:
        found[-1] = (found[-1][0], frame)
    else:
        found.append((frame, frame))


def _stretch(found: list[tuple[int, int, float, float]], frame: int, db: float, block_db: float) -> None:
    """The same with the least PSNR of each stretch."""
    if found and found[-1][1] == frame - 1:
        found[-1] = (found[-1][0], frame, min(db, found[-1][2]), min(block_db, found[-1][3]))
    else:
        found.append((frame, frame, db, block_db))
