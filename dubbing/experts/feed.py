"""Crops of one face for experts that look at pictures: cut as the pictures come, embedded block by block.

It knows no cuts, no sound and no distance. Axes: N frames, K instants at 25 a second, V windows, E embedding.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

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
    """The crops of one face, taken as the pictures come, embedded as soon as there are BLOCK of them."""

    def __init__(self, expert: CropExpert, track: Track, times_s: np.ndarray) -> None:
        self._expert = expert
        self._windows = lse.windows_in(times_s)
        self._crops = expert.crops(track.mesh_NP3, times_s)
        self._at_K = crop.shown(times_s)
        self._first = track.start_frame
        self._cut = getattr(expert, "cut", None) or (lambda whole, at: crop.cut(whole, at, expert.crop_px))
        around: tuple[int, int] = getattr(expert, "around", (0, 0))
        self._before, self._behind = around
        self._led = 0  # held crops in front of the next window's own
        self._done = 0  # instants
        self._held: list[np.ndarray] = []
        self._found: list[np.ndarray] = []

    def wants(self, frame: int) -> bool:
        """Whether this frame, none before the last one asked for, is shown at one of the instants."""
        return self._done < len(self._at_K) and self._at_K[self._done] == frame - self._first

    def give(self, whole_HWC: np.ndarray) -> None:
        """The whole picture of a frame that it wants."""
        number = int(self._at_K[self._done])
        one = self._cut(whole_HWC, self._crops[number])
        while self._done < len(self._at_K) and self._at_K[self._done] == number:
            self._held.append(one)
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
        """float32 (V, E), all pictures given."""
        if sum(map(len, self._found)) + len(self._held) - self._led - lse.WINDOW < self._windows:
            self._held.append(self._held[-1])  # so that a stretch of five instants has one window too
        self._embed()
        return np.concatenate(self._found)[: self._windows]
