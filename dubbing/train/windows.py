"""Pictures and mel windows out of a data folder's clips, at the grid of the clip as published trainers cut them.

A clip's mel spectrogram has 80 columns a second from the clip's first frame on; frame n's window begins at column
int(3.2 n). It knows no design.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from dubbing.networks import mel
from dubbing.train.recipe import ClipLike

__all__ = ["TAIL", "WINDOW", "leaned", "masked", "mel_windows", "other_than", "pictures", "sized"]

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


def pictures(faces: Tensor) -> Tensor:
    """uint8 (..., S, S, 3) as float32 (N, 3, S, S), 0..1; all axes before the picture's become N."""
    return faces.flatten(0, -4).permute(0, 3, 1, 2).float() / 255


def masked(faces_NCHW: Tensor) -> Tensor:
    """A copy whose lower half is black."""
    copy = faces_NCHW.clone()
    copy[:, :, copy.shape[2] // 2 :] = 0
    return copy


def leaned(faces_NHWC: np.ndarray, lips_N4: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Faces turned in the plane of the picture about its middle, counter-clockwise, and the boxes around their lips.

    faces_NHWC: uint8; lips_N4: left, top, right, bottom in parts of the picture. Beyond a picture its edge goes on.
    """
    if degrees == 0:
        return faces_NHWC, lips_N4
    side = faces_NHWC.shape[1]
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    made = np.stack([cv2.warpAffine(f, turn, (side, side), borderMode=cv2.BORDER_REPLICATE) for f in faces_NHWC])
    corners_N42 = lips_N4[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] * side - 0.5
    moved = (corners_N42 @ turn[:, :2].T + turn[:, 2] + 0.5) / side
    boxes = np.concatenate([moved.min(1), moved.max(1)], 1).clip(0, 1)
    return made, boxes.astype(lips_N4.dtype)


def other_than(chosen: int, count: int, rng: np.random.Generator, apart: int = 1) -> int:
    """One of range(count) at least `apart` away from `chosen`; the farthest there is where none is."""
    found = [n for n in range(count) if abs(n - chosen) >= apart]
    return int(found[rng.integers(len(found))]) if found else (0 if chosen > count // 2 else count - 1)
