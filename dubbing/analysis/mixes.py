"""Where one scene is mixed into the next: dissolves, and fades from or to a plain picture, from small pictures given
one after another.

In a dissolve every picture is (1 - a) A + a B, pixel by pixel, with `a` growing from 0 to 1. So two pictures A and B
are tried as its ends, at several distances, and `a` is fitted to every picture between them by least squares. They are
the ends of a mix where those pictures lie near the straight line from A to B, `a` only grows, without a leap, most of
the picture changes, and A and B are not one scene. A wipe or an object that crosses the picture, a pan, a zoom and fast
movement leave the line (a wipe by a (1 - a) |B - A|^2, which the distance is measured in); a slow movement and light
that changes stay near it, but their ends show one scene. A flash has no ends that differ, a cut leaps, and a caption
changes little of the picture. In a fade one of the ends is plain. The model is that of the field: Lienhart, "Reliable
transition detection in videos", 2001; Hanjalic, "Shot-boundary detection", 2002.

A finder may begin in the middle of a film: once it holds as many pictures as it ever does, it finds what one does that
has seen the film from its first frame.

It knows neither faces nor cuts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Protocol

import cv2
import numpy as np

__all__ = ["Mix", "MixFinder", "Mixes", "mixed_in"]

_AREA_PX = 768  # of the pictures that are compared: 37 x 21 of a wide one
_LOOKED_HZ = 30  # more pictures a second than this tell no more
_LONGEST_S = 4.5
_LEAST, _GROWS = 6, 1.3  # the shortest distance tried between two ends, in pictures, and how many times the next is
# What follows is measured (LOG.md): 13 mixes of real films and 48 made of real pictures lie on the one side, 14 real
# clips without, pans, zooms and lamps over ten pictures on the other.
_CLEAR = 9.0  # mean change of B, G and R from end to end, 0..255
_CHANGED, _WIDE = 8.0, 0.45  # a pixel has changed by so much; part of the picture that must have
_OFF_LINE = 0.25  # of a wipe's distance: mixes 0.00 to 0.24, fast movement 0.3 and more
_OFF_DETAIL = 0.5  # likewise, of what of the change is no mere change of brightness
_LEAP = 0.4  # of the whole way, from one picture to the next
_BACK = 0.15  # `a` may fall by so much
_BETWEEN = (0.2, 0.8)  # where the distance from the line tells something
_LEAST_BETWEEN = 3  # pictures there
_ONE_SCENE = 0.7  # correlation: two scenes up to 0.68, one scene 0.73 and more
_ONE_DETAIL = 0.75  # likewise of fine detail alone, where a lamp has changed the rest: two scenes up to 0.58
_PLAIN = 12.0  # spread of nine tenths of a plain picture, where it has changed: a title on black is plain
_STILL_A = 0.05  # `a` that is no mix yet, or no more
_ZOOMS = (0.8, 0.9, 1.0, 1.12, 1.25)


@dataclass(frozen=True)
class Mix:
    """Two ends that were found, by the numbers of the pictures looked at. start, end: what lies mixed between them;
    change: how far apart they are; length: between the ends."""

    start: int
    end: int
    change: float
    length: int


class Takes(Protocol):
    """Who is told of ends that were found."""

    def take(self, looked: int, ends: list[Mix]) -> None:
        """ends: all that end at the last of `looked` pictures of a film; they are told in order."""
        ...


class Mixes:
    """The mixes of a film, from all ends that are found in it. rate: frames a second."""

    def __init__(self, rate: Fraction) -> None:
        self._every = _every(rate)
        self._held = _lengths(rate)[-1] + 1
        self._near: list[Mix] = []
        self._found: list[tuple[int, int]] = []

    def take(self, looked: int, ends: list[Mix]) -> None:
        """See `Takes`. Where it is told of some pictures only, it is told of all that ends were found at."""
        self._rest(looked - 1)
        self._near += ends
        self._rest(looked)

    def _rest(self, looked: int) -> None:
        """What no further ends can belong to is settled."""
        last = max((m.end for m in self._near), default=looked)
        if self._near and (looked - last > self._held or len(self._near) > 100 * self._held):
            self._settle()

    def finish(self, frames: int) -> list[tuple[int, int]]:
        """The mixed frames as ranges [start, end), in order and apart, once all of so many frames were looked at."""
        self._settle()
        merged: list[tuple[int, int]] = []
        for start, end in sorted(self._found):
            start, end = max(0, start), min(end, frames)
            if merged and start <= merged[-1][1] + 2 * self._every:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            elif start < end:
                merged.append((start, end))
        return merged

    def _settle(self) -> None:
        """Of ends that overlap keep those that are furthest apart, and the shortest of these."""
        near, self._near = self._near, []
        while near:
            most = max(near, key=lambda m: (m.change, -m.length))
            rivals = [m for m in near if _overlap(m, most) and m.change > 0.95 * most.change]
            best = min(rivals, key=lambda m: (m.length, -m.change))
            near = [m for m in near if not _overlap(m, best) and not _overlap(m, most)]
            self._found.append(((best.start - 1) * self._every + 1, best.end * self._every))


class MixFinder:
    """Finds the mixed frames of a film in pictures given one after another, uint8 BGR, all of one size.

    rate: frames a second; first: number of the first frame given; into: told of all ends that are found, instead of
    making mixes of them. Holds the small pictures of the last 4.5 seconds, whatever the length of the film.
    """

    def __init__(self, rate: Fraction, first: int = 0, into: Takes | None = None) -> None:
        self._every = _every(rate)
        lengths = _lengths(rate)
        self._lengths = np.array(lengths)
        self._held = lengths[-1] + 1
        self._small: np.ndarray | None = None  # (2 * held, pixels * 3): the last pictures, at the end of what is filled
        self._steps = np.zeros(2 * self._held, np.float32)  # mean change from the picture before
        self._filled = 0
        self._shape = (0, 0)
        self._frames, self._looked = first, -(-first // self._every)
        self._mixes = Mixes(rate)
        self._into: Takes = self._mixes if into is None else into

    def feed(self, bgr_HWC: np.ndarray) -> None:
        """The next frame."""
        if self._frames % self._every == 0:
            self._look(self._shrunk(bgr_HWC))
        self._frames += 1

    def finish(self) -> list[tuple[int, int]]:
        """The mixed frames as ranges [start, end), in order and apart, once all frames were fed; none where another is
        told of them."""
        return self._mixes.finish(self._frames)

    def state(self) -> int:
        """A checksum, 63 bits, of all that finding depends on from here on: where it is the same for two finders after
        the same frame, they find the same in what follows. What they found before does not count."""
        told = blake2b(repr((self._frames, self._looked, self._shape)).encode(), digest_size=8)
        if self._small is not None:
            told.update(self._small[max(0, self._filled - self._held) : self._filled].data)
        return int.from_bytes(told.digest(), "big") >> 1

    def _shrunk(self, bgr_HWC: np.ndarray) -> np.ndarray:
        height, width = bgr_HWC.shape[:2]
        part = min(1.0, (_AREA_PX / (height * width)) ** 0.5)
        self._shape = (max(4, round(height * part)), max(4, round(width * part)))
        small = cv2.resize(bgr_HWC, self._shape[::-1], interpolation=cv2.INTER_AREA)
        return small.reshape(-1).astype(np.float32)

    def _look(self, small_P: np.ndarray) -> None:
        if self._small is None:
            self._small = np.zeros((2 * self._held, len(small_P)), np.float32)
        if self._filled == len(self._small):
            self._small[: self._held] = self._small[self._held :]
            self._steps[: self._held] = self._steps[self._held :]
            self._filled = self._held
        at = self._filled
        self._small[at] = small_P
        self._steps[at] = np.abs(small_P - self._small[at - 1]).mean() if at else 0.0
        self._filled += 1
        self._looked += 1
        due = self._looked % np.maximum(1, self._lengths // _LEAST // 2) == 0  # long ones need not be tried everywhere
        lengths = self._lengths[due & (self._lengths <= at)]
        change_L = np.abs(self._small[at - lengths] - small_P).mean(1)
        ends = [
            self._between(at - length, at, float(change))
            for length, change in zip(lengths[change_L >= _CLEAR].tolist(), change_L[change_L >= _CLEAR], strict=True)
        ]
        self._into.take(self._looked, [mix for mix in ends if mix is not None])

    def _between(self, first: int, last: int, change: float) -> Mix | None:
        """The mix between two of the pictures held, if they are the ends of one."""
        assert self._small is not None
        if self._steps[first + 1 : last + 1].max() > _LEAP * change:
            return None
        a_P, b_P = self._small[first], self._small[last]
        way_P = b_P - a_P
        changed = np.abs(way_P.reshape(-1, 3)).max(1) > _CHANGED
        if changed.mean() < _WIDE:
            return None
        off_NP = self._small[first : last + 1] - a_P
        whole = float(way_P @ way_P)
        part_N = off_NP @ way_P / whole
        if np.diff(part_N).max() > _LEAP or (np.maximum.accumulate(part_N) - part_N).max() > _BACK:
            return None
        inner = np.flatnonzero((part_N > _BETWEEN[0]) & (part_N < _BETWEEN[1]))
        if len(inner) < _LEAST_BETWEEN:
            return None
        part = part_N[inner]
        beside = np.square(off_NP[inner]).sum(1) - part**2 * whole
        detail_P = way_P.reshape(-1, 3)[changed]
        detail = float(np.square(detail_P - detail_P.mean(0)).sum())
        if (beside / (part * (1 - part))).mean() > min(_OFF_LINE * whole, _OFF_DETAIL * detail):
            return None
        plain = [_plain(end_P, changed) for end_P in (a_P, b_P)]
        if all(plain) or not any(plain) and self._one_scene(a_P, b_P):
            return None
        start, end = _ramp(part_N, inner)
        begin = self._looked - 1 - (last - first)
        return Mix(begin + start, begin + end, change, last - first)

    def _one_scene(self, a_P: np.ndarray, b_P: np.ndarray) -> bool:
        """Whether the middle of one picture is found in the other, moved or nearer or farther, in whatever light."""
        height, width = self._shape
        a_HW, b_HW = (p.reshape(height, width, 3).mean(-1) for p in (a_P, b_P))
        rows, columns = round(height * 0.6), round(width * 0.6)
        for zoom in _ZOOMS:
            size = (round(width * zoom), round(height * zoom))
            moved_HW = cv2.resize(a_HW, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
            y, x = (size[1] - rows) // 2, (size[0] - columns) // 2
            like = [
                cv2.matchTemplate(there, here[y : y + rows, x : x + columns], cv2.TM_CCOEFF_NORMED)
                for there, here in ((b_HW, moved_HW), (_detail(b_HW), _detail(moved_HW)))
            ]
            if float(np.mean(like, 0).max()) > _ONE_SCENE or float(like[1].max()) > _ONE_DETAIL:
                return True
        return False


def _every(rate: Fraction) -> int:
    """Of how many frames one is looked at."""
    return max(1, round(rate / _LOOKED_HZ))


def _lengths(rate: Fraction) -> list[int]:
    """The distances that are tried between two ends, in pictures looked at."""
    longest = max(_LEAST, int(rate * Fraction(_LONGEST_S) / _every(rate)))
    lengths = [_LEAST]
    while round(lengths[-1] * _GROWS) <= longest:
        lengths.append(round(lengths[-1] * _GROWS))
    return lengths


def _overlap(a: Mix, b: Mix) -> bool:
    return min(a.end, b.end) > max(a.start, b.start)


def _plain(small_P: np.ndarray, changed: np.ndarray) -> bool:
    low, high = np.percentile(small_P.reshape(-1, 3)[changed], (5, 95), axis=0)
    return bool((high - low).max() < _PLAIN)


def _detail(grey_HW: np.ndarray) -> np.ndarray:
    """What is finer than light and shade, of even strength all over."""
    fine = grey_HW - cv2.GaussianBlur(grey_HW, (0, 0), 2.0)
    strength = np.sqrt(np.maximum(cv2.GaussianBlur(fine * fine, (0, 0), 4.0), 0.0))
    return np.asarray(fine / (strength + 2.0), np.float32)


def _ramp(part_N: np.ndarray, inner: np.ndarray) -> tuple[int, int]:
    """The pictures [start, end) that are mixed: between where the line through the middle of `a` leaves 0 and reaches
    1, and what beyond is mixed too, as where it leaves slowly."""
    slope, offset = np.polyfit(inner, part_N[inner], 1)
    slope = max(float(slope), 1e-3)
    start = max(1, int(np.floor((0 - offset) / slope)) + 1)
    end = min(len(part_N) - 1, int(np.ceil((1 - offset) / slope)))
    more = max(1, (end - start) // 5)
    first, last = max(1, start - more), min(len(part_N) - 1, end + more)
    while start > first and part_N[start - 1] > _STILL_A:
        start -= 1
    while end < last and part_N[end] < 1 - _STILL_A:
        end += 1
    return start, end


def mixed_in(mixes: Iterable[tuple[int, int]], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """What of the ranges [a, b) lies within [start, end)."""
    cut = ((max(a, start), min(b, end)) for a, b in mixes)
    return tuple((a, b) for a, b in cut if a < b)
