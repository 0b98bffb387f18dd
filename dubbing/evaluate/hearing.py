"""Measure 1, sound to shape: how well a mouth is predicted from sound, before and after a fit on the same person.

The actor is fitted on the first part of a face's speech (`voice.fit_actor`) and judged on the rest, pauses included;
beside it the prior alone, a plain ridge regression on the same first part, and a mouth that never moves. It knows
arrays only. Sound and shapes are on one clock; no lag is corrected but the one that the fit itself found.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from dubbing.face import LOWER_FACE, mouth_measures
from dubbing.generators.rewrite import hearing, voice
from dubbing.generators.rewrite.hearing import STEP_HZ, Prior
from dubbing.generators.rewrite.shape import ShapeSpace
from dubbing.sound import RATE_HZ, at_times

__all__ = ["FIT_PART", "LEAST_S", "NAMES", "Heard", "correlation", "measures_of", "ridge", "sound_to_shape"]

FIT_PART = 0.7
LEAST_S = 2.0  # a shorter stretch says nothing
PAUSE_S = 0.5  # frames at most this far from the face's own speech are pauses in it; in others the face listens
NAMES = ("opening", "width", "protrusion")
_REACH_S, _STRENGTH = 0.25, 300.0


@dataclass(frozen=True, eq=False)
class Heard:
    """numbers: name -> value, correlations -1..1, errors in inter-ocular distances; times_s: (N,); curves: name ->
    (N,) opening, `true`, `fitted`, `prior`, `ridge`; held_N: bool, the frames that are judged."""

    numbers: dict[str, float]
    times_s: np.ndarray
    curves: dict[str, np.ndarray]
    held_N: np.ndarray


def sound_to_shape(
    shape_NP3: np.ndarray,
    times_s: np.ndarray,
    wave: np.ndarray,
    speaks_N: np.ndarray,
    seen_N: np.ndarray,
    *,
    prior: Prior | None = None,
    space: ShapeSpace | None = None,
) -> Heard | None:
    """All numbers of one stretch of one face; None where it is too short, or silent in either part.

    shape_NP3: canonical meshes; times_s: middles of the frames, 0 at sample 0 of `wave` (float32 mono, 16 kHz);
    speaks_N: bool, where this face speaks; seen_N: bool, where the mesh was measured.
    """
    prior, space = prior or Prior.load(), space or ShapeSpace.load()
    count = len(times_s)
    near_N = _near(times_s, speaks_N)
    cut = int(np.searchsorted(np.cumsum(speaks_N), FIT_PART * speaks_N.sum(), side="right"))
    before_N = np.arange(count) < cut
    held_N = ~before_N & seen_N & near_N
    known_N = before_N & seen_N & speaks_N
    if count < 12 or near_N.sum() * float(np.median(np.diff(times_s))) < LEAST_S:
        return None
    if min(held_N.sum(), known_N.sum(), speaks_N[cut:].sum()) < 6:
        return None
    true = mouth_measures(np.asarray(shape_NP3, np.float64))
    began = time.process_time()
    example = voice.Example(shape_NP3[:cut], times_s[:cut], wave[: int(times_s[cut] * RATE_HZ)], known_N[:cut])
    actor = voice.fit_actor([example], prior=prior, space=space)
    fit_s = time.process_time() - began
    alone = voice.default_actor(shape_NP3[:cut], prior=prior)
    hears = voice.heard(prior, wave)  # once for all that is said to it
    fitted = _said(actor, wave, hears, times_s, speaks_N, actor.lag_s, space)
    general = _said(alone, wave, hears, times_s, speaks_N, 0.0, space)
    plain = {name: ridge(wave, times_s, true[name], before_N & near_N) for name in NAMES}
    numbers = {"fit_lag_s": actor.lag_s, "fit_ms_per_frame": 1000 * fit_s / cut, "fit_speech_s": actor.seconds}
    for name in NAMES:
        still = np.full(count, true[name][known_N].mean())
        for who, said in (("fitted", fitted[name]), ("prior", general[name]), ("ridge", plain[name]), ("still", still)):
            if who != "still":
                numbers[f"{who}_{name}_corr"] = correlation(said[held_N], true[name][held_N])
            numbers[f"{who}_{name}_error"] = float(np.abs(said - true[name])[held_N].mean())
        numbers[f"prior_whole_{name}_corr"] = correlation(general[name][seen_N & near_N], true[name][seen_N & near_N])
    lags = {}
    for lag_s in voice.LAGS_S:
        said = _said(alone, wave, hears, times_s, speaks_N, float(lag_s), space)["opening"]
        lags[float(lag_s)] = correlation(said[seen_N & near_N], true["opening"][seen_N & near_N])
    best_s = max(lags, key=lambda lag_s: (lags[lag_s], -abs(lag_s)))
    numbers |= {"prior_best_corr": lags[best_s], "prior_best_lag_s": best_s}
    second = np.abs(np.diff(true["opening"], 2)).mean()
    numbers["fitted_spread"] = float(fitted["opening"][held_N].std() / max(true["opening"][held_N].std(), 1e-9))
    numbers["fitted_jitter"] = float(np.abs(np.diff(fitted["opening"], 2)).mean() / max(second, 1e-9))
    curves = {"true": true["opening"], "fitted": fitted["opening"], "prior": general["opening"],
              "ridge": plain["opening"]}  # fmt: skip
    return Heard(numbers, times_s, curves, held_N)


def measures_of(coef_NK: np.ndarray, rest_L3: np.ndarray, space: ShapeSpace) -> dict[str, np.ndarray]:
    """`face.mouth_measures` of predicted coefficients, each (N,)."""
    lower = space.decode(coef_NK, rest_L3)
    full = np.zeros((len(lower), 478, 3))
    full[:, list(LOWER_FACE)] = lower
    return mouth_measures(full)


def correlation(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Pearson's; 0 where either does not move."""
    return float(np.corrcoef(a_N, b_N)[0, 1]) if a_N.std() > 1e-9 and b_N.std() > 1e-9 else 0.0


def ridge(wave: np.ndarray, times_s: np.ndarray, true_N: np.ndarray, known_N: np.ndarray) -> np.ndarray:
    """The baseline: a measure predicted by ridge regression from normalised log-mel within a quarter of a second,
    fitted on the frames of `known_N` (bool) alone, (N,)."""
    mel = hearing.features(wave).astype(np.float64).reshape(-1, 20, 2).mean(2)
    reach = int(_REACH_S * STEP_HZ)
    padded = np.pad(mel, ((reach, reach), (0, 0)), mode="edge")
    rows = np.concatenate([padded[k : k + len(mel)] for k in range(0, 2 * reach + 1, 2)], 1)
    x = at_times(rows, times_s, STEP_HZ)
    x = x - x[known_N].mean(0)
    mean = true_N[known_N].mean()
    gram = x[known_N].T @ x[known_N] + _STRENGTH * np.eye(x.shape[1])
    return np.asarray(mean + x @ np.linalg.solve(gram, x[known_N].T @ (true_N[known_N] - mean)))


def _near(times_s: np.ndarray, speaks_N: np.ndarray) -> np.ndarray:
    """Frames in which a face speaks, or has just, or is about to: not those in which it listens, bool (N,)."""
    spoken = times_s[speaks_N]
    if not len(spoken):
        return speaks_N
    after = np.clip(np.searchsorted(spoken, times_s), 0, len(spoken) - 1)
    apart = np.minimum(np.abs(spoken[after] - times_s), np.abs(times_s - spoken[np.maximum(after - 1, 0)]))
    return np.asarray(apart <= PAUSE_S)


def _said(
    actor: voice.Actor, wave: np.ndarray, hears_TF: np.ndarray, times_s: np.ndarray, speaks_N: np.ndarray, lag_s: float,
    space: ShapeSpace,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The measures that are predicted for an actor from a sound that is `lag_s` later than the lips."""
    heard_s = times_s + lag_s
    shown = np.searchsorted((times_s[1:] + times_s[:-1]) / 2, heard_s)
    coef = voice.predict(actor, wave, heard_s, speaks_N[shown], hears_TF=hears_TF)
    return measures_of(coef, actor.rest, space)
