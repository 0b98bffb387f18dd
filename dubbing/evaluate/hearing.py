"""Measure 1, sound to shape: how well a mouth is predicted from sound, before and after a fit on the same person.

A face's speech is cut into blocks (`yardstick.blocks`). For each the actor is fitted on all the others but half a
second (`voice.fit_actor`) and judged on it, pauses included; beside it the prior alone, a plain ridge regression on the
same frames, a mouth that keeps its mean, and the mouth of a frame by lot. A number is the median over blocks; `whole`,
closures, lag and leak are of the blocks put together. It knows arrays only. Sound and shapes are on one clock; no lag
is corrected but the one that the fit itself found.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from dubbing.evaluate import yardstick
from dubbing.evaluate.yardstick import Lips, correlation, median
from dubbing.face import LOWER_FACE, mouth_measures
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.shape import ShapeSpace
from dubbing.sound import HOP, RATE_HZ, at_times, log_mel

__all__ = ["FIT_PART", "LEAST_S", "NAMES", "Heard", "correlation", "measures_of", "ridge", "sound_to_shape"]

FIT_PART = 1 - 1 / yardstick.BLOCKS  # of a face's speech that a fit learns from, the guards included
LEAST_S = 2.0  # a shorter stretch says nothing
PAUSE_S = 0.5  # frames at most this far from the face's own speech are pauses in it; in others the face listens
NAMES = ("opening", "width", "protrusion")
_REACH_S, _STRENGTH = 0.25, 300.0


@dataclass(frozen=True, eq=False)
class Heard:
    """numbers: name -> value, correlations -1..1, errors in inter-ocular distances; times_s: (N,); curves: name ->
    (N,) opening, `true`, `fitted`, `prior`, `ridge`, nan where nothing was held out; held_N: bool, the frames that are
    judged; edges_s: (B,), where the blocks begin."""

    numbers: dict[str, float]
    times_s: np.ndarray
    curves: dict[str, np.ndarray]
    held_N: np.ndarray
    edges_s: np.ndarray


def sound_to_shape(
    shape_NP3: np.ndarray,
    times_s: np.ndarray,
    wave: np.ndarray,
    speaks_N: np.ndarray,
    seen_N: np.ndarray,
    *,
    lips_N: np.ndarray | None = None,
) -> Heard | None:
    """All numbers of one stretch of one face; None where it is too short, or silent in all parts but one.

    shape_NP3: canonical meshes; times_s: middles of the frames, 0 at sample 0 of `wave` (float32 mono, 16 kHz);
    speaks_N: bool, where this face speaks; seen_N: bool, where the mesh was measured; lips_N: bool, where a p, b or m
    is said, if that is known.
    """
    near_N = _near(times_s, speaks_N)
    if len(times_s) < 12 or near_N.sum() * float(np.median(np.diff(times_s))) < LEAST_S:
        return None
    blocks = yardstick.blocks(times_s, speaks_N, near_N, seen_N)
    if not blocks:
        return None
    true = mouth_measures(np.asarray(shape_NP3, np.float64))
    alone = _said(voice.default_actor(shape_NP3), wave, times_s, speaks_N, 0.0)
    lot = {name: yardstick.by_lot(true[name], times_s, near_N & seen_N) for name in NAMES}
    blank = np.full(len(times_s), np.nan)
    whole = {who: {name: blank.copy() for name in NAMES} for who in ("fitted", "ridge")}
    each: dict[str, list[float]] = defaultdict(list)
    fit_s, learnt = 0.0, 0
    for block in blocks:
        part, here = slice(block.begin, block.end), block.held_N
        began = time.process_time()
        rest = block.apart_N  # frames are left out, not blanked: what a fit does not see it cannot learn
        actor = voice.fit_actor([voice.Example(shape_NP3[rest], times_s[rest], wave, block.learnt_N[rest])])
        fit_s, learnt = fit_s + time.process_time() - began, learnt + int(rest.sum())
        fitted = _said(actor, wave, times_s, speaks_N, actor.lag_s)
        plain = {name: ridge(wave, times_s, true[name], block.learnt_N) for name in NAMES}
        each["fit_lag_s"].append(actor.lag_s)
        each["fit_speech_s"].append(actor.seconds)
        for name in NAMES:
            mean = np.full(len(times_s), true[name][block.learnt_N].mean())
            whole["fitted"][name][part], whole["ridge"][name][part] = fitted[name][part], plain[name][part]
            for who, said in (("fitted", fitted[name]), ("prior", alone[name]), ("ridge", plain[name]),
                              ("still", mean), ("lot", lot[name])):  # fmt: skip
                if who != "still":
                    each[f"{who}_{name}_corr"].append(correlation(said[here], true[name][here]))
                each[f"{who}_{name}_error"].append(float(np.abs(said - true[name])[here].mean()))
        opening, own = fitted["opening"][part], true["opening"][part]
        each["fitted_spread"].append(float(fitted["opening"][here].std() / max(true["opening"][here].std(), 1e-9)))
        each["fitted_jitter"].append(_jitter(opening) / max(_jitter(own), 1e-9))
    held_N = np.logical_or.reduce([b.held_N for b in blocks])
    numbers = {name: median(values) for name, values in each.items()}
    numbers |= {"blocks": float(len(blocks)), "fit_ms_per_frame": 1000 * fit_s / learnt}
    numbers |= _together(true, alone, whole["fitted"], times_s, held_N, near_N & seen_N)
    lips = Lips.of(true["opening"][speaks_N & seen_N])
    quiet_N = yardstick.quiet(wave, times_s) & seen_N
    for who, said in (("fitted", whole["fitted"]["opening"]), ("prior", alone["opening"])):
        known_N = np.isfinite(said)
        if lips is not None:
            found = yardstick.closures(true["opening"], said, times_s, held_N, lips, lips_N)
            chance = yardstick.met_by_chance(true["opening"], said, times_s, held_N, lips, lips_N)
            numbers |= {"closures": float(found.true), f"{who}_met": float(found.met), f"{who}_met_by_chance": chance,
                        f"{who}_closures": float(found.made), f"{who}_false": float(found.false)}  # fmt: skip
        leaks = yardstick.leak(said, true["opening"], quiet_N & known_N, speaks_N & seen_N)
        if leaks is not None:
            numbers[f"{who}_leak"] = leaks
    curves = {"true": true["opening"], "fitted": whole["fitted"]["opening"], "prior": alone["opening"],
              "ridge": whole["ridge"]["opening"]}  # fmt: skip
    return Heard(numbers, times_s, curves, held_N, times_s[[b.begin for b in blocks]])


def measures_of(coef_NK: np.ndarray, rest_L3: np.ndarray, space: ShapeSpace) -> dict[str, np.ndarray]:
    """`face.mouth_measures` of predicted coefficients, each (N,)."""
    lower = space.decode(coef_NK, rest_L3)
    full = np.zeros((len(lower), 478, 3))
    full[:, list(LOWER_FACE)] = lower
    return mouth_measures(full)


def ridge(wave: np.ndarray, times_s: np.ndarray, true_N: np.ndarray, known_N: np.ndarray) -> np.ndarray:
    """The baseline: a measure predicted by ridge regression from log-mel within a quarter of a second, fitted on the
    frames of `known_N` (bool) alone, (N,)."""
    rate_hz = RATE_HZ / HOP / 2
    mel = np.clip(log_mel(wave)[::2].astype(np.float64) / 2, -6, 3).reshape(-1, 20, 2).mean(2)
    reach = int(_REACH_S * rate_hz)
    padded = np.pad(mel, ((reach, reach), (0, 0)), mode="edge")
    rows = np.concatenate([padded[k : k + len(mel)] for k in range(0, 2 * reach + 1, 2)], 1)
    x = at_times(rows, times_s, rate_hz)
    x = x - x[known_N].mean(0)
    mean = true_N[known_N].mean()
    gram = x[known_N].T @ x[known_N] + _STRENGTH * np.eye(x.shape[1])
    return np.asarray(mean + x @ np.linalg.solve(gram, x[known_N].T @ (true_N[known_N] - mean)))


def _together(
    true: dict[str, np.ndarray], alone: dict[str, np.ndarray], fitted: dict[str, np.ndarray], times_s: np.ndarray,
    held_N: np.ndarray, whole_N: np.ndarray,
) -> dict[str, float]:  # fmt: skip
    """Numbers of all blocks as one curve: held_N for the fit, whole_N for the prior, which has learnt from none."""
    numbers: dict[str, float] = {}
    for name in NAMES:
        numbers[f"fitted_whole_{name}_corr"] = correlation(fitted[name][held_N], true[name][held_N])
        numbers[f"prior_whole_{name}_corr"] = correlation(alone[name][whole_N], true[name][whole_N])
    for who, said, at_N in (("fitted", fitted["opening"], held_N), ("prior", alone["opening"], whole_N)):
        known_N = np.isfinite(said)
        lag_s, best = yardstick.best_lag(said[known_N], true["opening"][known_N], times_s[known_N], at_N[known_N])
        numbers |= {f"{who}_best_corr": best, f"{who}_best_lag_s": lag_s}
    return numbers


def _jitter(curve_N: np.ndarray) -> float:
    """Mean second difference."""
    return float(np.abs(np.diff(curve_N, 2)).mean())


def _near(times_s: np.ndarray, speaks_N: np.ndarray) -> np.ndarray:
    """Frames in which a face speaks, or has just, or is about to: not those in which it listens, bool (N,)."""
    spoken = times_s[speaks_N]
    if not len(spoken):
        return speaks_N
    after = np.clip(np.searchsorted(spoken, times_s), 0, len(spoken) - 1)
    apart = np.minimum(np.abs(spoken[after] - times_s), np.abs(times_s - spoken[np.maximum(after - 1, 0)]))
    return np.asarray(apart <= PAUSE_S)


def _said(
    actor: voice.Actor, wave: np.ndarray, times_s: np.ndarray, speaks_N: np.ndarray, lag_s: float
) -> dict[str, np.ndarray]:
    """The measures that are predicted for an actor from a sound that is `lag_s` later than the lips."""
    heard_s = times_s + lag_s
    shown = np.searchsorted((times_s[1:] + times_s[:-1]) / 2, heard_s)
    coef = voice.predict(actor, wave, heard_s, speaks_N[shown])
    return measures_of(coef, actor.rest, ShapeSpace.load())
