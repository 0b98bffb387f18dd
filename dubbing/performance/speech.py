"""What a performance hears: how loud speech is, which syllables are stressed, where phrases end.

Everything is relative to the recording's own loud twentieth, so a quiet mix moves a head as a loud one does. Knows
no word, no picture and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.clock import runs
from dubbing.smoothstep import smoothstep
from dubbing.sound import HOP, RATE_HZ, log_mel

__all__ = ["STEP_HZ", "Heard", "hear"]

STEP_HZ = RATE_HZ / HOP
_RANGE_DB = 35.0  # under the loud twentieth, at which speech counts as silence
_QUIETEST = -9.0  # log-mel under which a recording has nothing to hear
_SPEAKS = 0.35  # of the range
_CALM_S = 0.1  # standard deviation of what smooths speech into phrases
_PAUSE_S = 0.25  # shorter ones are inside a phrase
_SYLLABLE_S = 0.07
_APART_S, _STRESSED = 0.55, 0.7  # two stresses are so far apart, and so many spreads above their phrase
_PITCH_HZ = (70.0, 400.0)
_VOICED = 0.55  # of the autocorrelation's peak


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording as a performer hears it, at STEP_HZ from its first sample.

    loud_T: float64, 0 (silence) to 1 (as its loud twentieth); speaks_T: the same as chance of speech, smooth, 0..1;
    stresses: (time in seconds, strength 0..1) of stressed syllables, in order.
    """

    loud_T: np.ndarray
    speaks_T: np.ndarray
    stresses: tuple[tuple[float, float], ...]

    @property
    def lasts_s(self) -> float:
        return len(self.loud_T) / STEP_HZ

    @cached_property
    def phrases(self) -> list[tuple[float, float]]:
        """Stretches of speech between pauses, in seconds, in order."""
        found: list[tuple[int, int]] = []
        for a, b in runs(self.speaks_T > 0.5):
            if found and a - found[-1][1] < _PAUSE_S * STEP_HZ:
                found[-1] = (found[-1][0], b)
            else:
                found.append((a, b))
        return [(a / STEP_HZ, b / STEP_HZ) for a, b in found]

    def at(self, curve_T: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """One of the curves at any times, linear between steps."""
        return np.interp(np.asarray(times_s) * STEP_HZ, np.arange(len(curve_T)), curve_T)


def hear(wave: np.ndarray) -> Heard:
    """Listen. wave: float32 mono at 16 kHz, -1..1, any length."""
    mel_TM = log_mel(np.asarray(wave, np.float32))
    level_T = np.log(np.exp(mel_TM.astype(np.float64)).mean(1) + 1e-9)
    decibels_T = 10 / np.log(10) * level_T
    loud = float(np.percentile(decibels_T, 95))
    if float(level_T.max()) < _QUIETEST:
        nothing = np.zeros(len(level_T))
        return Heard(nothing, nothing, ())
    loud_T = np.clip((decibels_T - loud + _RANGE_DB) / _RANGE_DB, 0, 1)
    speaks_T = smoothstep((gaussian_filter1d((loud_T > _SPEAKS).astype(float), _CALM_S * STEP_HZ) - 0.15) / 0.5)
    return Heard(loud_T, speaks_T, _stresses(np.asarray(wave, np.float32), loud_T, speaks_T))


def _stresses(wave: np.ndarray, loud_T: np.ndarray, speaks_T: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Syllables that are louder or higher than the speech around them."""
    speaks = speaks_T > 0.5
    if speaks.sum() < 20:
        return ()
    pitch_T, voiced_T = _pitch(wave, len(loud_T))
    voiced = voiced_T & speaks
    score_T = _above(gaussian_filter1d(loud_T, _SYLLABLE_S * STEP_HZ), speaks)
    if voiced.sum() >= 20:
        known = np.interp(np.arange(len(pitch_T)), np.flatnonzero(voiced), np.log(pitch_T[voiced]))
        score_T = 0.6 * score_T + 0.6 * _above(gaussian_filter1d(known, _SYLLABLE_S * STEP_HZ), speaks)
    score_T = np.where(speaks, score_T, 0)
    from scipy.signal import find_peaks  # slow to load, and every command loads this module

    tops, _ = find_peaks(score_T, height=_STRESSED, distance=max(1, round(_APART_S * STEP_HZ)))
    return tuple((float(t / STEP_HZ), float(np.clip((score_T[t] - 0.4) / 1.6, 0, 1))) for t in tops)


def _above(curve_T: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How many spreads a curve is above itself within two seconds."""
    slow = gaussian_filter1d(np.where(where, curve_T, 0.0), STEP_HZ)
    weight = gaussian_filter1d(where.astype(float), STEP_HZ)
    away = curve_T - slow / np.maximum(weight, 1e-3)
    return np.asarray(away / max(float(away[where].std()), 1e-6))


def _pitch(wave: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz at each step and whether there is one: the peak of the autocorrelation (Boersma 1993)."""
    rate, window = RATE_HZ // 4, 160  # 40 ms at a quarter of the rate
    coarse = np.pad(wave, (0, -len(wave) % 4)).reshape(-1, 4).mean(1)
    coarse = np.pad(coarse, (window // 2, window // 2 + HOP))
    taper = np.hanning(window)
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * window)) ** 2)
    low, high = (round(rate / hz) for hz in (_PITCH_HZ[1], _PITCH_HZ[0]))
    pitch, strength = np.zeros(steps), np.zeros(steps)
    for start in range(0, steps, 4000):
        stop = min(steps, start + 4000)
        parts = np.lib.stride_tricks.sliding_window_view(coarse[start * HOP // 4 :], window)[:: HOP // 4]
        parts = parts[: stop - start]
        parts = (parts - parts.mean(1, keepdims=True)) * taper
        alike = np.fft.irfft(np.abs(np.fft.rfft(parts, 2 * window)) ** 2)
        alike = alike / np.maximum(alike[:, :1], 1e-9) * (own[0] / np.maximum(own, 1e-3 * own[0]))
        best = alike[:, low : high + 1].argmax(1) + low
        here = slice(start, start + len(parts))
        pitch[here], strength[here] = rate / best, alike[np.arange(len(parts)), best]
    return pitch, strength > _VOICED
