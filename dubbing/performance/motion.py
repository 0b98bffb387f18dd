"""The head's pose over time, from speech: nod, turn, tilt, a little place and size, about the photograph's own pose.

A small prior in state-space form, learnt from talking heads (`motion.md`): the pose at 12.5 Hz is a linear function
of its last two values and of speech (loudness about a syllable, phrases that begin and end), plus noise of the
learnt covariance, which is less in pauses, so that a head settles there. It is the linear case of a
recurrent VAE (a latent that is drawn anew at each step, conditioned on sound), which two minutes of footage allow.
The same seed and sound give the same motion at any frame rate. Knows no picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.models import shipped_arrays
from dubbing.performance.speech import Heard

__all__ = ["KNOT_HZ", "LIMITS", "POSE", "PRIOR_FILE", "SPREAD", "Prior", "drive", "motion_hash", "poses"]

PRIOR_FILE = Path(__file__).with_name("motion.npz")
KNOT_HZ = 12.5
POSE = ("nod", "turn", "tilt", "right", "down", "nearer")
"""What a pose is made of: angles about the picture's x, y and z axis in degrees, where the middle of the eyes goes, in
distances between the eyes' outer corners, and the logarithm of its size."""
# A photograph's shoulders stand still, so a head moves less than those that the prior was learnt from (`motion.md`).
SPREAD = np.array([1.5, 1.9, 1.3, 0.035, 0.025, 0.006])
LIMITS = 2.5 * SPREAD
_LAGS_S = (-0.24, -0.08, 0.08, 0.24)
_CALM_S = 0.09  # standard deviation of what smooths a motion: two values of a pose do not say how smooth it is
_BEGINS_S = 1.0  # the head leaves the photograph's pose over this time


@dataclass(frozen=True, eq=False)
class Prior:
    """Arrays of the motion prior, in spreads of its own motion in speech: pose_t = sum of next_K66[k] @ pose_(t-1-k)
    + drive_F @ sound_t + noise. noise_66: a Cholesky factor; pause: its size in pauses over that in speech."""

    next_K66: np.ndarray
    drive_6F: np.ndarray
    noise_66: np.ndarray
    pause: float

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> Prior:
        """The prior that ships with the package. Raises ModelError where it is damaged."""
        data = shipped_arrays(PRIOR_FILE, "the motion of heads", "shipped_weights/motion.py")
        steps, pushes, noise = (data[n].astype(np.float64) for n in ("next", "drive", "noise"))
        return Prior(steps, pushes, noise, float(data["pause"]))

    def wander(self, drive_TF: np.ndarray, speaks_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A motion from rest, float64 (T, 6), in spreads."""
        out = np.zeros((len(drive_TF) + 2, 6))
        noise_T6 = rng.standard_normal((len(drive_TF), 6)) @ self.noise_66.T
        noise_T6 *= (self.pause + (1 - self.pause) * speaks_T)[:, None]
        pushed_T6 = drive_TF @ self.drive_6F.T + noise_T6
        for t, push in enumerate(pushed_T6):
            out[t + 2] = self.next_K66[0] @ out[t + 1] + self.next_K66[1] @ out[t] + push
        return np.asarray(gaussian_filter1d(out[2:], _CALM_S * KNOT_HZ, axis=0, mode="nearest"))


@lru_cache(maxsize=1)
def motion_hash() -> str:
    """sha256 of the shipped file: what motion depends on besides sound and seed."""
    return hashlib.sha256(PRIOR_FILE.read_bytes()).hexdigest()


def drive(heard: Heard, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What pushes a head at some times: features float64 (T, F), and the chance of speech (T,)."""
    mean = float(heard.loud_T[heard.speaks_T > 0.5].mean()) if (heard.speaks_T > 0.5).any() else 0.0
    speaks = heard.at(heard.speaks_T, times_s)
    syllable = [
        (heard.at(heard.loud_T, times_s + lag) - mean) * heard.at(heard.speaks_T, times_s + lag) for lag in _LAGS_S
    ]
    begins = [heard.at(heard.speaks_T, times_s + lag + 0.16) - heard.at(heard.speaks_T, times_s + lag - 0.16)
              for lag in (-0.16, 0.16)]  # fmt: skip
    return np.stack([*syllable, *begins], 1), speaks


def poses(heard: Heard, times_s: np.ndarray, seed: int, prior: Prior | None = None) -> np.ndarray:
    """The pose at each frame, float64 (N, 6) as POSE, within LIMITS; 0 (the photograph's own) at time 0.

    times_s: (N,), rising, from the first sample on; seed: which of the motions that one sound allows.
    """
    from scipy.interpolate import CubicSpline  # slow to load, and every command loads this module

    times = np.asarray(times_s, np.float64)
    count = int(np.ceil(float(times.max(initial=0.0)) * KNOT_HZ)) + 3
    knots_s = np.arange(count) / KNOT_HZ
    features, speaks = drive(heard, knots_s)
    moved = (prior or Prior.load()).wander(features, speaks, np.random.default_rng(seed))
    part = np.clip(knots_s / _BEGINS_S, 0, 1)
    moved *= (part * part * (3 - 2 * part))[:, None]
    bounded = LIMITS * np.tanh(SPREAD * moved / LIMITS)
    # rounded, so that the last bits of a sum on another machine do not change a picture
    return np.asarray(np.round(CubicSpline(knots_s, bounded)(times), 6)) + 0.0
