"""Crops of one face for experts that look at pictures: cut as the pictures come, embedded block by block.

It knows no cuts, no sound and no distance. Axes: N frames, K instants at 25 a second, V windows, E embedding.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dubbing.clock import runs
from dubbing.experts import Expert, crop, lse
from dubbing.records import Track

__all__ = ["BLOCK", "CropExpert", "Feed"]

BLOCK = 125  # crops of one face that are held


class CropExpert(Expert, Protocol):
    """An expert that wants crops, and says where it wants them cut and how large.

    One may have `cut(whole_HWC, crop)`, where `crop.cut` would not do; and `around`, how many frames before and behind
    a window it looks at as well (where there are none, it does with the nearest).
    """

    crop_px: int

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[crop.Crop]: ...


class Feed:
    """The crops of one face, taken as the pictures come, embedded as soon as there are BLOCK of them.

    wanted_V: which windows are to be embedded, bool (V,); None for all.
    """

    def __init__(
        self, expert: CropExpert, track: Track, times_s: np.ndarray, wanted_V: np.ndarray | None = None
    ) -> None:
        self._crops = expert.crops(track.mesh_NP3, times_s)
        self._first = track.start_frame
        self._cut = getattr(expert, "cut", None) or (lambda whole, at: crop.cut(whole, at, expert.crop_px))
        self._windows = lse.windows_in(times_s)
        at_K = crop.shown(times_s)
        before, behind = getattr(expert, "around", (0, 0))
        wanted = np.ones(self._windows, bool) if wanted_V is None else wanted_V
        spans: list[list[int]] = []
        for a, b in runs(wanted):
            if spans and a - before < spans[-1][1] + lse.WINDOW + behind:  # they share crops
                spans[-1][1] = b
            else:
                spans.append([a, b])
        self._stretches = [_Stretch(expert, at_K, a, b) for a, b in spans]
        self._open = 0  # the first stretch that is not full

    @property
    def frames(self) -> tuple[int, int] | None:
        """The frames [first, last) between which all lie that it wants; None where it wants none."""
        if not self._stretches:
            return None
        first, last = self._stretches[0].at_K[0], self._stretches[-1].at_K[-1]
        return self._first + int(first), self._first + int(last) + 1

    def wants(self, frame: int) -> bool:
        """Whether this frame, none before the last one asked for, is shown at one of the instants."""
        number = frame - self._first
        return any(one.wants(number) for one in self._stretches[self._open : self._open + 2])

    def give(self, whole_HWC: np.ndarray) -> None:
        """The whole picture of a frame that it wants."""
        number = self._stretches[self._open].next
        one = self._cut(whole_HWC, self._crops[number])
        for stretch in self._stretches[self._open :]:
            if not stretch.wants(number):
                break
            stretch.give(one)
            self._open += stretch.full

    def finish(self) -> np.ndarray:
        """float32 (V, E), all pictures given, of one wanted window at least; what others hold means nothing."""
        parts = [(one.first, one.finish()) for one in self._stretches]
        out = np.zeros((self._windows, parts[0][1].shape[1]), np.float32)
        for first, part in parts:
            out[first : first + len(part)] = part
        return out


class _Stretch:
    """The crops of some windows running. at_K: of all instants of the face, the frame that is shown, counted from the
    track's first; first, last: the windows [first, last)."""

    def __init__(self, expert: CropExpert, at_K: np.ndarray, first: int, last: int) -> None:
        self._expert, self.first, self._windows = expert, first, last - first
        around: tuple[int, int] = getattr(expert, "around", (0, 0))
        self._before, self._behind = around
        begin = max(0, first - self._before)
        self.at_K = at_K[begin : last + lse.WINDOW + self._behind]  # one more than windows have: the last is not made
        self._led = first - begin  # held crops in front of the next window's own
        self._done = 0  # instants
        self._held: list[np.ndarray] = []
        self._found: list[np.ndarray] = []

    @property
    def full(self) -> bool:
        """Whether it has all its crops."""
        return self._done == len(self.at_K)

    @property
    def next(self) -> int:
        """The frame that it wants next, where it is not full."""
        return int(self.at_K[self._done])

    def wants(self, number: int) -> bool:
        """Whether that is this one."""
        return not self.full and self.next == number

    def give(self, crop_HWC: np.ndarray) -> None:
        """The crop of the next frame."""
        number = self.next
        while self.wants(number):
            self._held.append(crop_HWC)
            self._done += 1
            if len(self._held) == BLOCK + self._before + self._behind:
                self._embed(self._behind)

    def _embed(self, behind: int = 0) -> None:
        """Embed what is held, but the last `behind` windows, for which more is to come. The last window of a stretch is
        never made: the crops it needs stay for the next."""
        times = np.arange(len(self._held)) / lse.FPS
        if lse.windows_in(times):
            made = self._expert.embed_video(np.stack(self._held), times)
            until = len(made) - behind
            self._found.append(made[self._led : until])
            kept = max(0, until - self._before)
            self._led = until - kept
            del self._held[:kept]

    def finish(self) -> np.ndarray:
        """float32 (windows, E), all crops given."""
        if sum(map(len, self._found)) + len(self._held) - self._led - lse.WINDOW < self._windows:
            self._held.append(self._held[-1])  # so that a stretch of five instants has one window too
        self._embed()
        return np.concatenate(self._found)[: self._windows]
