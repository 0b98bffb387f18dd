"""What trembles is smoothed, each for itself: the head's pose, the face's shape, what a mouth keeps beside its words.

A mesh found frame by frame trembles. In the pose that moves the whole mouth on the face; in the shape it enters
wherever the wanted mouth is added to the one that is there. Knows arrays only: no sound, no donors, no picture.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.face import LOWER_FACE, RIGID, apply_pose

__all__ = ["Pose", "carried", "savitzky_golay", "settled", "steady"]

Pose = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scale (N,), rotation (N, 3, 3) and shift (N, 3) of `face.canonical`."""

_LIPS_NOISE = 2.0  # times the power of the noise of the skull's points: lips are soft and have less to hold on to
_SETTLED_S = 0.1  # standard deviation of what smooths the part of a shape that words do not move
_MOOD_S = 0.6  # standard deviation of what tells an expression from words
_CARRIED = 0.5  # how much of the expression stays under other words


def steady(full_NP3: np.ndarray, pose: Pose) -> tuple[np.ndarray, Pose]:
    """Take the mesh's frame-to-frame noise out of shape and pose, each on its own (Savitzky-Golay, 5 frames).

    What the filter takes is given back where it is more than noise (a Wiener gain): a mouth that opens within two
    frames does open, and a head that jerks does jerk; a mesh beside its pixels puts the borrowed mouth beside its face.
    The noise is what is taken from points of the skull, which do not move with speech. full_NP3: canonical meshes
    (N, 478, 3).
    """
    if len(full_NP3) < 7:
        return full_NP3, pose
    lower = list(LOWER_FACE)
    smooth = savitzky_golay(full_NP3)
    taken = full_NP3 - smooth
    noise = float(np.median((taken[:, list(RIGID), :2] ** 2).mean((1, 2))))
    smooth[:, lower] += _gain(taken[:, lower], _LIPS_NOISE * noise)[:, None, None] * taken[:, lower]
    scale, rotation, shift = (savitzky_golay(v) for v in pose)
    rotation = _turned(rotation)
    face = np.repeat(full_NP3.mean(0)[None, lower], len(full_NP3), 0)
    moved = (apply_pose(face, *pose) - apply_pose(face, scale, rotation, shift)) / pose[0][:, None, None]
    back = _gain(moved, noise)
    turned = _turned(rotation + back[:, None, None] * (pose[1] - rotation))
    scale, shift = scale + back * (pose[0] - scale), shift + back[:, None] * (pose[2] - shift)
    return smooth, (scale, turned, shift)


def savitzky_golay(values_N: np.ndarray) -> np.ndarray:
    """Each value of a row (N, ...), N at least 5, by the parabola of least squares through it and two on either side of
    it, float64; the first two and the last two by that of the five at that end (Savitzky and Golay 1964)."""
    values = np.asarray(values_N, np.float64)
    powers = np.arange(-2.0, 3.0)[:, None] ** np.arange(3)
    fit = powers @ np.linalg.pinv(powers)
    count = len(values) - 4
    out = np.empty_like(values)
    out[2:-2] = sum(weight * values[n : n + count] for n, weight in enumerate(fit[2]))
    out[:2], out[-2:] = np.tensordot(fit[:2], values[:5], 1), np.tensordot(fit[3:], values[-5:], 1)
    return out


def _gain(taken_NP3: np.ndarray, noise: float) -> np.ndarray:
    """How much of what was taken is given back, (N,), 0..1."""
    power = (taken_NP3[..., :2] ** 2).mean((1, 2))
    return np.asarray(np.maximum(0, 1 - noise / np.maximum(power, 1e-15)))


def settled(left_NL3: np.ndarray, rate: float) -> np.ndarray:
    """What a lower face shows beyond the shapes that words make, (N, L, 3): an expression, which is slow."""
    return np.asarray(gaussian_filter1d(left_NL3, _SETTLED_S * rate, axis=0, mode="nearest"))


def carried(have_NK: np.ndarray, rate: float) -> np.ndarray:
    """How much of the face's own expression is added to other words, (N, K): a smile's cheeks want a smile's lips.

    have_NK: coefficients of the original mouth. The opening, which belongs to the words, gets nothing. Zero on average
    over the track.
    """
    mood = gaussian_filter1d(have_NK, _MOOD_S * rate, axis=0, mode="nearest")
    mood = _CARRIED * (mood - mood.mean(0))
    mood[:, 0] = 0
    return np.asarray(mood)


def _turned(rotation_N33: np.ndarray) -> np.ndarray:
    """The rotations nearest to averaged ones."""
    u, _, vt = np.linalg.svd(rotation_N33)
    return np.asarray(u @ vt)
