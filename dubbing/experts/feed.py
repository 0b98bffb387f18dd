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
    """An expert that wants crops, and says where it wants them cut and how large."""

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
        self._done = 0  # instants
        self._held: list[np.ndarray] = []
        self._found: list[np.ndarray] = []

    def wants(self, frame: int) -> bool:
        """Whether this frame, none before the last one asked for, is shown at one of the instants."""
        return self._done < len(self._at_K) and self._at_K[self._done] == frame - self._first

    def give(self, whole_HWC: np.ndarray) -> None:
        """The whole picture of a frame that it wants."""
        number = int(self._at_K[self._done])
        one = crop.cut(whole_HWC, self._crops[number], self._expert.crop_px)
        while self._done < len(self._at_K) and self._at_K[self._done] == number:
            self._held.append(one)
            self._done += 1
            if len(self._held) == BLOCK:
                self._embed()

    def _embed(self) -> None:
        """Embed what is held. The last window of a stretch is never made: the crops it needs stay for the next."""
        times = np.arange(len(self._held)) / lse.FPS
        if lse.windows_in(times):
            self._found.append(self._expert.embed_video(np.stack(self._held), times))
            del self._held[: -lse.WINDOW]

    def finish(self) -> np.ndarray:
        """float32 (V, E), all pictures given."""
        if sum(map(len, self._found)) + len(self._held) - lse.WINDOW < self._windows:
            self._held.append(self._held[-1])  # so that a stretch of five instants has one window too
        self._embed()
        return np.concatenate(self._found)[: self._windows]
