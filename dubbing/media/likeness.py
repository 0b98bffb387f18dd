"""How like a film's pictures those of another file are, frame by frame, in one pass over both.

Samples are compared as they are coded (Y, U, V), so that no conversion hides or adds a difference; where the master has
another format than the source, the source's are converted to it first. What a matte covers
is left out, and of the chroma whatever block it touches. A frame that is absent, or one too many, is found by its
picture: where a pair differs and the next frame of either film fits, the pass goes on from there. Two frames of each
film are held. Where every picture stands alone in its packet, equal packets are equal pictures, and are not decoded.
Captions and what else lies in single pictures are compared on the way.

A frame differs where its PSNR, or that of its worst block of 16x16 pixels, in luma or chroma, is under a limit: the
first finds what is spread, the second what is small. It does not find a frame that is shown twice where nothing moves.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, tee
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import DamagedMedia, MediaError
from dubbing.media.colour import layout_of, planes_of, turn_back
from dubbing.media.convert import Conversion
from dubbing.media.lazily import Pictures, Seen, samples_of, stand_alone
from dubbing.media.paste import PatchQueue, own_pixels
from dubbing.media.read import Picture, coded_box
from dubbing.records import Patch

__all__ = ["LEAST_DB", "InPictures", "Likeness", "compare_masters", "compare_pictures", "until_damage"]

LEAST_DB = 34.0
"""PSNR under which a frame differs. In the masters of seventeen films, in the encoder's default quality, the least of
a frame is 36.8 dB, of a block of luma 32.7, and of chroma, which encoders spend less on, 29.1."""
_BLOCK_DB, _CHROMA_DB = 6.0, 10.0  # by how much less a block of luma, and of chroma, may have
T = TypeVar("T")
_EQUAL_DB = 99.0
_BLOCK = 16
_PROGRESS_FRAMES = 24
_CLOCK = Fraction(1, 1000)  # Matroska's: times within it are the same
_IN_PICTURES = {
    "A53_CC": "captions", "DYNAMIC_HDR_PLUS": "HDR10+", "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_RPU_BUFFER": "Dolby Vision",
}  # fmt: skip
"""What may lie in single pictures, by FFmpeg's names of it."""


@dataclass(frozen=True)
class InPictures:
    """What lies in single pictures of a film beside their samples. source, master: in how many of each; first: the
    source's first frame whose own is not the master's, None where all are."""

    source: int = 0
    master: int = 0
    first: int | None = None


@dataclass(frozen=True)
class Likeness:
    """What a pass over both found. PSNR is in dB, of 8-bit samples of Y, U and V together; 99 where all are equal.

    source, master: times of all frames (the master's None where it is damaged); pairs: frames that were compared;
    psnr_db: over all of them; worst_frame, worst_db: the source's frame of the least PSNR, and best_db the greatest,
    None without a pair; differing: frames of the source [first, last] that differ, with the least PSNR of each stretch,
    over the frame and in a block; missing: frames of the source [first, last] that the master has not; extra: frames of
    the master that the source has not; masked: pairs of which a matte was left out; damage: the sentence that says
    where the master is damaged, None where it is whole; same: pairs whose packets are the same bytes; within: by name,
    what lies in single pictures (`captions`, `HDR10+`, ...), where there is any.
    """

    source: Timeline
    master: Timeline | None
    pairs: int
    psnr_db: float
    worst_frame: int | None
    worst_db: float | None
    best_db: float | None
    differing: tuple[tuple[int, int, float, float], ...]
    missing: tuple[tuple[int, int], ...]
    extra: tuple[tuple[int, int], ...]
    masked: int
    damage: str | None
    same: int
    within: dict[str, InPictures]

    @property
    def fits(self) -> bool:
        """Whether every picture is there, and none differs."""
        return not (self.differing or self.missing or self.extra or self.damage)


@dataclass(frozen=True)
class _Gap:
    """How far two pictures are apart. error: sum of squared differences; samples: how many; luma, chroma: the
    greatest mean squared difference of a block, 0 where no block can be beyond its limit."""

    error: float
    samples: int
    luma: float = 0.0
    chroma: float = 0.0

    @property
    def mean(self) -> float:
        return self.error / self.samples if self.samples else 0.0

    @property
    def db(self) -> float:
        return _db(self.mean)

    def fits(self, least_db: float) -> bool:
        """Whether neither the whole nor a block is under its limit."""
        blocks = _db(self.luma) >= least_db - _BLOCK_DB and _db(self.chroma) >= least_db - _CHROMA_DB
        return self.db >= least_db and blocks


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
        patches, samples = _Patches(folders), samples_of(source)
        own_each = zip(tee(shown, len(made)), made, least_db, strict=True)
        passes = [_Pass(ours, theirs, patches, least, samples) for ours, theirs, least in own_each]
        frame = 0
        while [one for one in passes if one.on(frame, own.time_base)]:
            frame += 1
            if progress is not None and frame % _PROGRESS_FRAMES == 0:
                progress(_PROGRESS_FRAMES)
        if patches.left and not all(one.damage for one in passes):
            raise MediaError(
                f"{patches.left} patch folders reach beyond the last frame of {source}: they are of another film."
            )
        line = own.timeline if timeline is None else timeline
        return [one.found(line) for one in passes]


class _Patches:
    """The patches of frames that are asked for in order, by several who are one or two frames apart."""

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self._queue, self._next = PatchQueue(folders), 0
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
        self, ours: Iterator[Seen], master: Pictures, patches: _Patches, least_db: float, samples: int
    ) -> None:
        self.damage: list[str] = []
        self._master, self._all, self._least, self._samples = master, patches, least_db, samples
        self._ours, self._theirs = _Ahead(ours), _Ahead(until_damage(iter(master), self.damage))
        self._patches = patches.at(0)
        self._error, self._count, self._pairs, self._masked, self._same = 0.0, 0, 0, 0, 0
        self._worst: tuple[float, int] | None = None
        self._best: float | None = None
        self._differing: list[tuple[int, int, float, float]] = []
        self._missing: list[tuple[int, int]] = []
        self._extra: list[tuple[int, int]] = []
        self._within: dict[str, InPictures] = {}

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

    def _gap(self, a: Seen, b: Seen, patches: Sequence[Patch]) -> _Gap:
        if a.data is not None and a.data == b.data:
            return _Gap(0.0, self._samples)
        return _gap(a.picture, b.picture, patches, self._least)

    def _pair(self, a: Seen, b: Seen, gap: _Gap) -> None:
        self._error, self._count, self._pairs = self._error + gap.error, self._count + gap.samples, self._pairs + 1
        self._worst = min(self._worst or (gap.db, a.frame), (gap.db, a.frame))
        self._best = max(self._best or gap.db, gap.db)
        if a.data is not None and a.data == b.data:
            self._same += 1
            return
        self._masked += bool(self._patches)
        if not gap.fits(self._least):
            _stretch(self._differing, a.frame, gap.db, _db(max(gap.luma, gap.chroma)))
        for name, (own, made) in _in_both(a.picture.av_frame, b.picture.av_frame).items():
            was = self._within.get(name, InPictures())
            first = a.frame if was.first is None and own != made else was.first
            self._within[name] = InPictures(was.source + (own is not None), was.master + (made is not None), first)

    def found(self, line: Timeline) -> Likeness:
        """What the whole pass found. line: the source's frames."""
        worst = self._worst or (None, None)
        return Likeness(
            line, None if self.damage else self._master.timeline, self._pairs,
            _db(self._error / self._count if self._count else 0.0), worst[1], worst[0], self._best,
            tuple(self._differing), tuple(self._missing), tuple(self._extra), self._masked,
            self.damage[0] if self.damage else None, self._same, self._within,
        )  # fmt: skip


def _in_both(own: Any, made: Any) -> dict[str, tuple[bytes | None, bytes | None]]:
    """What lies in one or both of two pictures beside their samples, by name."""
    found = {}
    sides = own.side_data, made.side_data
    for kind, name in _IN_PICTURES.items() if any(map(len, sides)) else ():
        a, b = (None if (data := side.get(kind)) is None else bytes(data) for side in sides)
        if (a, b) != (None, None):
            found[name] = (a, b)
    return found


def _nearer(other: _Gap, gap: _Gap, by_time: bool, least_db: float) -> bool:
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


def _gap(a: Picture, b: Picture, patches: Sequence[Patch], least_db: float) -> _Gap:
    """How far two frames are apart outside the mattes of `patches`; its blocks where one could be beyond its limit.
    Raises MediaError where their sizes differ."""
    one, two = a.av_frame, b.av_frame
    if (one.width, one.height) != (two.width, two.height):
        raise MediaError(
            f"A picture of {two.width}x{two.height} cannot be compared with one of {one.width}x{one.height}."
        )
    kind = next((f.format.name for f in (two, one) if layout_of(f.format.name)), "yuv444p")
    layout = layout_of(kind)
    assert layout is not None
    if not all(layout_of(f.format.name) == layout or _alike(f.format.name, kind) for f in (one, two)):
        matrix = (one if layout.rgb else two).colorspace
        one, two = (
            Conversion.plain(kind, matrix, p.colour.full, b.colour.full, one.height).of(p.av_frame) for p in (a, b)
        )
    unit = 255 / ((1 << layout.depth) - 1)  # everything is measured in steps of 8 bits
    covered = _covered(a, patches, layout.sub) if patches else None
    apart, samples = [cv2.absdiff(x, y) for x, y in zip(planes_of(one), planes_of(two), strict=True)], 0
    for index, far in enumerate(apart):
        samples += far.size
        if covered is not None and index < 3:
            samples -= _taken_out(far, *covered, layout.sub if index else (0, 0))
    errors = [float(cv2.norm(far, cv2.NORM_L2SQR)) * unit**2 for far in apart]
    gap = _Gap(sum(errors), samples)
    most = [(float(cv2.norm(far, cv2.NORM_INF)) * unit) ** 2 for far in apart]
    if _Gap(gap.error, samples, most[0], max(most[1:], default=0.0)).fits(least_db):
        return gap  # no block can be worse than its worst sample
    worst = [_worst_block(far, unit, layout.sub if index in (1, 2) else (0, 0)) for index, far in enumerate(apart)]
    return replace(gap, luma=worst[0], chroma=max(worst[1:], default=0.0))


def _taken_out(far: np.ndarray, x: int, y: int, mask: np.ndarray, sub: tuple[int, int]) -> int:
    """Make a plane's differences 0 where a mask at (x, y) covers any pixel of a sample. Returns how many these are."""
    across, down = sub
    if across:
        mask = mask[:, ::2] | mask[:, 1::2]
    if down:
        mask = mask[::2] | mask[1::2]
    part = far[y >> down : (y >> down) + mask.shape[0], x >> across : (x >> across) + mask.shape[1]]
    mask = mask[: part.shape[0], : part.shape[1]]
    part *= (1 - mask).astype(far.dtype)
    return int(cv2.countNonZero(mask))


def _worst_block(far: np.ndarray, unit: float, sub: tuple[int, int]) -> float:
    """The greatest mean square of a block of 16x16 pixels of the picture; blocks at the right and below are filled by
    what is reflected."""
    height, width = far.shape
    sides = _BLOCK >> sub[0], _BLOCK >> sub[1]
    columns, rows = -(-width // sides[0]), -(-height // sides[1])
    beyond = rows * sides[1] - height, columns * sides[0] - width
    if any(beyond):
        far = cv2.copyMakeBorder(far, 0, beyond[0], 0, beyond[1], cv2.BORDER_REFLECT)
    square = cv2.multiply(far, far, scale=unit**2, dtype=cv2.CV_32F)
    return float(cv2.resize(square, (columns, rows), interpolation=cv2.INTER_AREA).max())


def _alike(one: str, two: str) -> bool:
    """Whether two formats differ in nothing but their range's mark (yuv420p, yuvj420p)."""
    return one.replace("yuvj", "yuv") == two.replace("yuvj", "yuv")


def _covered(picture: Picture, patches: Sequence[Patch], sub: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """Where mattes cover the frame as it is coded: left and top of whole blocks of chroma, and uint8, 1 under them."""
    coded = picture.coded.size if picture.rotation_deg in (0, 180) else picture.coded.size[::-1]
    parts = []
    for patch in patches:
        patch = own_pixels(patch, picture.grid, picture.rotation_deg)
        height, width = patch.matte_HW.shape
        x, y, _, _ = coded_box((patch.x, patch.y, width, height), picture.rotation_deg, coded)
        parts.append((x, y, (turn_back(patch.matte_HW, picture.rotation_deg) > 0).astype(np.uint8)))
    across, down = 1 << sub[0], 1 << sub[1]
    left = max(0, min(x for x, _, _ in parts)) // across * across
    top = max(0, min(y for _, y, _ in parts)) // down * down
    right = max(left, min(coded[0], max(x + matte.shape[1] for x, _, matte in parts)))
    bottom = max(top, min(coded[1], max(y + matte.shape[0] for _, y, matte in parts)))
    mask = np.zeros((-(-(bottom - top) // down) * down, -(-(right - left) // across) * across), np.uint8)
    for x, y, matte in parts:
        a, b = max(top, y), max(left, x)
        part = mask[a - top : bottom - top, b - left : right - left]
        piece = matte[a - y : a - y + part.shape[0], b - x : b - x + part.shape[1]]
        part[: piece.shape[0], : piece.shape[1]] |= piece
    return left, top, mask


def _db(mean_square: float) -> float:
    """PSNR of 8-bit samples."""
    return min(_EQUAL_DB, 10 * float(np.log10(255**2 / max(mean_square, 1e-9))))


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
