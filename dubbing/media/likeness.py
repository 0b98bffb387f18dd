"""How like a film's pictures those of another file are, frame by frame, in one pass over both.

Samples are compared as they are coded (Y, U, V), so that no conversion hides or adds a difference; where the master has
another format than the source, the source's are converted to it first. What a matte covers
is left out, and of the chroma whatever block it touches. A frame that is absent, or one too many, is found by its
picture: where a pair differs and the next frame of either film fits, the pass goes on from there. Two frames of each
film are held.

A frame differs where its PSNR, or that of its worst block of 16x16 pixels, in luma or chroma, is under a limit: the
first finds what is spread, the second what is small. It does not find a frame that is shown twice where nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import DamagedMedia, MediaError
from dubbing.media.colour import layout_of, planes_of, turn_back
from dubbing.media.convert import Conversion
from dubbing.media.paste import PatchQueue, own_pixels
from dubbing.media.read import Picture, scan
from dubbing.records import Patch

__all__ = ["LEAST_DB", "Likeness", "compare_pictures", "until_damage"]

LEAST_DB = 34.0
"""PSNR under which a frame differs. In the masters of seventeen films, in the encoder's default quality, the least of
a frame is 36.8 dB, of a block of luma 32.7, and of chroma, which encoders spend less on, 29.1."""
_BLOCK_DB, _CHROMA_DB = 6.0, 10.0  # by how much less a block of luma, and of chroma, may have
T = TypeVar("T")
_EQUAL_DB = 99.0
_BLOCK = 16
_PROGRESS_FRAMES = 24


@dataclass(frozen=True)
class Likeness:
    """What a pass over both found. PSNR is in dB, of 8-bit samples of Y, U and V together; 99 where all are equal.

    source, master: times of all frames (the master's None where it is damaged); pairs: frames that were compared;
    psnr_db: over all of them; worst_frame, worst_db: the source's frame of the least PSNR, and best_db the greatest,
    None without a pair; differing: frames of the source [first, last] that differ, with the least PSNR of each stretch,
    over the frame and in a block; missing: frames of the source [first, last] that the master has not; extra: frames of
    the master that the source has not; masked: pairs of which a matte was left out; damage: the sentence that says
    where the master is damaged, None where it is whole.
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


@dataclass(frozen=True)
class _Gap:
    """How far two pictures are apart. error: sum of squared differences; samples: how many; luma, chroma: the
    greatest mean squared difference of a block."""

    error: float
    samples: int
    luma: float
    chroma: float

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
    """Compare every frame of `master` with the source's. patch_folders: what was pasted into it, whose mattes are left
    out; least_db: PSNR under which a frame differs, and 6 dB less a block of its luma, 10 of its chroma; threads:
    decoder threads of each, 0 for as many as there are cores; progress(n): n more frames are done.

    Raises MediaError: a file cannot be opened or has no picture, the two are of different sizes, or patches lie beyond
    the source's end; DamagedMedia: the source is damaged.
    """
    scans, queue = (
        (scan(source, threads=threads), scan(master, threads=threads)),
        PatchQueue(patch_folders),
    )
    damage: list[str] = []
    ours, theirs = _Ahead(scans[0].pictures()), _Ahead(until_damage(scans[1].pictures(), damage))
    patches = queue.at(0)
    error, samples, pairs, masked = 0.0, 0, 0, 0
    worst: tuple[float, int] | None = None
    best: float | None = None
    differing: list[tuple[int, int, float, float]] = []
    missing: list[tuple[int, int]] = []
    extra: list[tuple[int, int]] = []
    while ours.now is not None or not (theirs.now is None or damage):
        a, b = ours.now, theirs.now
        if b is None and damage:  # nothing is known of what would have come
            ours.skip()
            break
        if a is None or b is None:
            gap, with_a, with_b = None, a is not None, b is not None
        else:
            gap = _gap(a, b, patches)
            with_a, with_b = True, True
            fits = gap.fits(least_db)
            late = b.pts * scans[1].time_base - a.pts * scans[0].time_base
            if (not fits or late > 0) and ours.next is not None:
                by_time = late > 0 and late == (ours.next.pts - a.pts) * scans[0].time_base
                with_b = not _nearer(_gap(ours.next, b, ()), gap, by_time, least_db)
            if with_b and not fits and theirs.next is not None:
                with_a = not _nearer(_gap(a, theirs.next, patches), gap, False, least_db)
        if a is not None and b is not None and gap is not None and with_a and with_b:
            error, samples, pairs, masked = error + gap.error, samples + gap.samples, pairs + 1, masked + bool(patches)
            worst, best = min(worst or (gap.db, a.frame), (gap.db, a.frame)), max(best or gap.db, gap.db)
            if not gap.fits(least_db):
                _stretch(differing, a.frame, gap.db, _db(max(gap.luma, gap.chroma)))
        elif a is not None and with_a:
            _range(missing, a.frame)
        elif b is not None:
            _range(extra, b.frame)
        if a is not None and with_a:
            if progress is not None and a.frame % _PROGRESS_FRAMES == _PROGRESS_FRAMES - 1:
                progress(_PROGRESS_FRAMES)
            patches = queue.at(a.frame + 1)
            ours.step()
        if with_b:
            theirs.step()
    if queue.left and not damage:
        raise MediaError(
            f"{queue.left} patch folders reach beyond the last frame of {source}: they are of another film."
        )
    return Likeness(
        scans[0].timeline, None if damage else scans[1].timeline, pairs, _db(error / samples if samples else 0.0),
        worst[1] if worst else None, worst[0] if worst else None, best, tuple(differing), tuple(missing),
        tuple(extra), masked, damage[0] if damage else None,
    )  # fmt: skip


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
    """Pictures of which the next one may be looked at. now, next: None at the end; next is decoded when it is asked
    for."""

    def __init__(self, pictures: Iterator[Picture]) -> None:
        self._rest = pictures
        self._held: list[Picture] = []
        self.now = next(pictures, None)

    @property
    def next(self) -> Picture | None:
        if not self._held:
            self._held.extend(islice(self._rest, 1))
        return self._held[0] if self._held else None

    def step(self) -> None:
        self.now = self._held.pop() if self._held else next(self._rest, None)

    def skip(self) -> None:
        """To the end."""
        for _ in self._rest:
            pass


def _gap(a: Picture, b: Picture, patches: Sequence[Patch]) -> _Gap:
    """How far two frames are apart outside the mattes of `patches`. Raises MediaError where their sizes differ."""
    one, two = a.av_frame, b.av_frame
    if (one.width, one.height) != (two.width, two.height):
        raise MediaError(
            f"A picture of {two.width}x{two.height} cannot be compared with one of {one.width}x{one.height}."
        )
    kind = next((f.format.name for f in (two, one) if layout_of(f.format.name)), "yuv444p")
    layout = layout_of(kind)
    assert layout is not None
    sub = layout.sub
    if not all(layout_of(f.format.name) == layout or _alike(f.format.name, kind) for f in (one, two)):
        matrix = (one if layout.rgb else two).colorspace
        one, two = (
            Conversion.plain(kind, matrix, p.colour.full, b.colour.full, one.height).of(p.av_frame) for p in (a, b)
        )
    planes = [planes_of(f) for f in (one, two)]
    unit = 255 / ((1 << layout.depth) - 1)  # everything is measured in steps of 8 bits
    mask = _covered(a, patches) if patches else None
    error, samples, worst = 0.0, 0, [0.0, 0.0]
    for index, (x, y) in enumerate(zip(*planes, strict=True)):
        free = None
        if mask is not None:
            free = np.ascontiguousarray(1 - (mask if index == 0 else _blocks(mask, sub, x.shape)))
        error += float(cv2.norm(x, y, cv2.NORM_L2SQR, free)) * unit**2
        samples += x.size if free is None else int(cv2.countNonZero(free))
        far = cv2.absdiff(x, y)
        if free is not None:
            far *= free
        square = cv2.multiply(far, far, scale=unit**2, dtype=cv2.CV_32F)
        shifts = sub if index else (0, 0)
        blocks = [max(1, (side << shift) // _BLOCK) for side, shift in zip(x.shape[::-1], shifts, strict=True)]
        here = float(cv2.resize(square, blocks, interpolation=cv2.INTER_AREA).max())
        worst[bool(index)] = max(worst[bool(index)], here)
    return _Gap(error, samples, *worst)


def _alike(one: str, two: str) -> bool:
    """Whether two formats differ in nothing but their range's mark (yuv420p, yuvj420p)."""
    return one.replace("yuvj", "yuv") == two.replace("yuvj", "yuv")


def _covered(picture: Picture, patches: Sequence[Patch]) -> np.ndarray:
    """uint8 (H, W) of the frame as it is coded: 1 where a matte covers."""
    width, height = picture.coded.size
    mask = np.zeros((height, width), np.uint8)
    for patch in patches:
        patch = own_pixels(patch, picture.grid, picture.rotation_deg)
        top, left = max(0, patch.y), max(0, patch.x)
        matte = patch.matte_HW[top - patch.y : height - patch.y, left - patch.x : width - patch.x]
        mask[top : top + matte.shape[0], left : left + matte.shape[1]] |= matte > 0
    return turn_back(mask, picture.rotation_deg)


def _blocks(mask: np.ndarray, sub: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """The mask of a chroma plane of that shape: 1 where any pixel of the block is covered."""
    height, width = shape[0] << sub[1], shape[1] << sub[0]
    whole = np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1])))
    grouped: np.ndarray = whole.reshape(shape[0], 1 << sub[1], shape[1], 1 << sub[0]).max(axis=(1, 3))
    return grouped


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
