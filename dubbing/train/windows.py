"""Pictures and mel windows out of a data folder's clips, at the grid of the clip as published trainers cut them.

A clip's mel spectrogram has 80 columns a second from the clip's first frame on; frame n's window begins at column
int(3.2 n). Knows no design.
"""

from __future__ import annotations

import cv2
import numpy as np

from dubbing.networks import mel
from dubbing.train.recipe import ClipLike

__all__ = ["TAIL", "WINDOW", "mel_windows", "other_than", "sized"]

WINDOW = 5  # frames
TAIL = 2 * 640  # samples after a window's last frame that its own mel columns reach
_PER_FRAME, _HOP = 640, mel.HOP


def mel_windows(clip: ClipLike, first: int, frames: list[int]) -> np.ndarray:
    """The mel windows that begin with some frames of a clip, float32 (len(frames), 80, 16).

    clip: a stretch that begins at frame `first`; frames: numbers in the whole clip, possibly before `first`. What
    the stretch does not hold is silence.
    """
    begins = first * _PER_FRAME - clip.lead  # of the stretch's sound, in samples of the clip
    cut = -begins % _HOP
    columns = mel.mel(clip.wave[cut:])
    starts = [n * 16 // 5 - (begins + cut) // _HOP for n in frames]
    return mel.windows(columns, np.array(starts))[:, 0]


def sized(faces_NHWC: np.ndarray, size_px: int) -> np.ndarray:
    """Face pictures at another size, uint8 (N, S, S, 3)."""
    if faces_NHWC.shape[1] == size_px:
        return faces_NHWC
    smaller = size_px < faces_NHWC.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.stack([cv2.resize(face, (size_px, size_px), interpolation=how) for face in faces_NHWC])


def other_than(chosen: int, count: int, rng: np.random.Generator, apart: int = 1) -> int:
    """One of range(count) at least `apart` away from `chosen`; the farthest there is where none is."""
    found = [n for n in range(count) if abs(n - chosen) >= apart]
    return int(found[rng.integers(len(found))]) if found else (0 if chosen > count // 2 else count - 1)
