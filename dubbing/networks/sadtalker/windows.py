"""What SadTalker's networks get of a sound and of coefficients, 25 times a second. NumPy only; knows no network.

Coefficients of a frame: expression 64, pose 6 (pitch, yaw, roll in radians, x, y, z), and for `full` also scale and
place of the face in the picture, 3.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from dubbing.networks import mel as mels
from dubbing.sound import RATE_HZ

__all__ = [
    "EXPRESSION", "FPS", "PER_FRAME", "POSE", "STYLES", "WINDOW",
    "angles", "assembled", "blinks", "frames_of", "mel_windows", "renderer_window", "smooth", "spectrogram", "starts",
]  # fmt: skip

EXPRESSION = 64
"""Coefficients of an expression."""
POSE = 6
"""Numbers of a pose: pitch, yaw, roll (radians, as the 3D face model has them), x, y, z."""
STYLES = 46
"""Of the head's motion."""
WINDOW = 27
"""Frames of coefficients that a frame is made from, 13 to each side."""
FPS = 25
PER_FRAME = RATE_HZ // FPS
"""Samples of a frame."""
_LEAD = 2  # frames that a window of sound begins early
_LID = np.array([0.5, 0.9, 1.0, 0.9, 0.5], np.float32)  # a blink
_OPEN_FROM, _OPEN_TO = 10, 70  # frames between blinks
_ORDER, _REACH = 2, 13  # of the filter over the pose


def frames_of(samples: int) -> int:
    """Whole frames in so many samples at 16 kHz."""
    return samples // PER_FRAME


def starts(count: int) -> np.ndarray:
    """The mel column that the window of each of `count` frames begins with, int64: two frames early.

    Rounded towards 0, as published: the first two frames' are -6 and -3.
    """
    return np.array([int(mels.RATE_HZ / mels.HOP * ((n - _LEAD) / FPS)) for n in range(count)], np.int64)


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """Wav2Lip's mel (80, columns) of a float32 mono wave at 16 kHz, cut to whole frames beforehand."""
    return mels.mel(wave[: frames_of(len(wave)) * PER_FRAME])


def mel_windows(mel_BT: np.ndarray, starts_N: np.ndarray) -> np.ndarray:
    """Windows (N, 1, 80, 16) of a mel (80, T) that begin at columns; its first and last columns repeat beyond it."""
    at = np.clip(starts_N[:, None] + np.arange(mels.COLUMNS), 0, mel_BT.shape[1] - 1)
    return np.ascontiguousarray(mel_BT[:, at].transpose(1, 0, 2)[:, None])


def blinks(count: int, chance: random.Random) -> np.ndarray:
    """How far the lids are down in each of `count` frames, float32 0..1: a blink of five frames now and then.

    The published draw, by Python's own generator. Of 21 frames, for which it has no choice, none blinks.
    """
    down = np.zeros(count, np.float32)
    at = 0
    if count <= 21:  # 20 or fewer never blink, and 21 leave an empty range to draw from
        return down
    choices = range(min(_OPEN_FROM, count), min(count // 2, _OPEN_TO))
    while True:
        start = at + chance.choice(choices)
        if start + len(_LID) > count - 1:
            return down
        down[start : start + len(_LID)] = _LID
        at = start + len(_LID)


def smooth(pose_T6: np.ndarray) -> np.ndarray:
    """A pose without its jitter: Savitzky and Golay's filter of order 2 over 13 frames, fewer where there are fewer.

    Fewer than 5 frames stay as they are.
    """
    from scipy.signal import savgol_filter

    count = len(pose_T6)
    if count < 5:
        return pose_T6
    reach = _REACH if count >= _REACH else (count - 1) // 2 * 2 + 1
    return np.asarray(savgol_filter(pose_T6, reach, _ORDER, axis=0), pose_T6.dtype)


def assembled(
    expression_T64: np.ndarray,
    pose_T6: np.ndarray,
    still_73: np.ndarray,
    *,
    scale: float = 1.0,
    full: bool = False,
    still: bool = False,
) -> np.ndarray:
    """What the renderer gets of every frame, float32 (T, 70), or (T, 73) for `full`.

    scale: of the expression; still: the head and its place in the picture stay as in the photograph.
    """
    count = len(expression_T64)
    rest = still_73[EXPRESSION : 73 if full else 70]
    parts = [np.float32(scale) * expression_T64, pose_T6, np.tile(still_73[70:73], (count, 1))]
    out = np.concatenate(parts if full else parts[:2], 1).astype(np.float32)
    if still:
        out[:, EXPRESSION:] = rest
    return out


def renderer_window(coefficients_TC: np.ndarray, frames: Sequence[int]) -> np.ndarray:
    """The windows (N, C, 27) of some frames: 13 to each side; the first and the last frame repeat beyond the ends."""
    reach = WINDOW // 2
    at = np.asarray(frames)[:, None] + np.arange(-reach, reach + 1)
    picked = coefficients_TC[np.clip(at, 0, len(coefficients_TC) - 1)]
    return np.ascontiguousarray(picked.transpose(0, 2, 1))


def angles(degrees: Sequence[float], count: int) -> np.ndarray:
    """An angle for each of `count` frames, float64: from each of `degrees` to the next at one speed.

    One number stays. Legs are as published, `arange(a, b, step)`, cut or carried on with the last value.
    """
    if len(degrees) == 1 or count < 2:
        return np.full(count, float(degrees[0]))
    way = sum(abs(b - a) for a, b in zip(degrees, degrees[1:], strict=False))
    step = way / (count - 1)
    if not step:
        return np.full(count, float(degrees[0]))
    legs = [np.arange(a, b, np.sign(b - a) * step) for a, b in zip(degrees, degrees[1:], strict=False) if a != b]
    out = np.concatenate(legs)[:count]
    return np.concatenate([out, np.full(count - len(out), out[-1])])
