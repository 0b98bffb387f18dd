"""How well sound predicts mouths: correlations on speakers the prior never saw, before and after a fit.

Lag is not forgiven unless a column says so. Correlations are of the opening (or width) of the lips over
all frames of a clip, or its last 30 %, pauses included; those of `judge` are in speech. Knows nothing of how a prior is
trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.evaluate.hearing import FIT_PART, correlation, ridge
from dubbing.face import mouth_measures
from dubbing.generators.rewrite import hearing, voice
from dubbing.generators.rewrite.hearing import STEP_HZ, Prior
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace
from dubbing.sound import at_times
from shipped_weights import clips
from shipped_weights.readout import LAGS_S, SHUT, Lesson, spoken_steps

__all__ = ["FIT_PART", "Row", "Subject", "foreign", "judge", "judged", "mean", "measure", "summary", "table"]

CLEAR = 2  # frames beside shut lips that count neither as shut nor as open


@dataclass(frozen=True, eq=False)
class Subject:
    """A clip: canonical meshes (N, 478, 3), the middles of its frames, its sound."""

    name: str
    full_NP3: np.ndarray
    times_s: np.ndarray
    wave: np.ndarray


@dataclass(frozen=True)
class Row:
    """One clip's results; correlations -1..1, ratios predicted over true. `best`: at the most favourable lag_s."""

    name: str
    prior: float
    best: float
    lag_s: float
    prior_width: float
    held_prior: float
    fitted: float
    fitted_width: float
    ridge: float
    spread: float
    shut: float
    jitter: float
    fit_lag_s: float


def measure(subject: Subject, prior: Prior, space: ShapeSpace) -> Row:
    """Everything about one clip that `prior` was not trained on."""
    times_s, wave = subject.times_s, subject.wave
    true = mouth_measures(subject.full_NP3)
    opening = true["opening"]
    always = np.ones(len(times_s), bool)

    def said(actor: voice.Actor, lag_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        coef = voice.predict(actor, wave, times_s + lag_s, always, prior=prior)
        return voice.opening_of(coef, actor.rest, space), coef[:, 1]

    alone = voice.default_actor(subject.full_NP3, prior=prior)
    lags = [(correlation(said(alone, lag_s)[0], opening), lag_s) for lag_s in voice.LAGS_S]
    cut = int(len(times_s) * FIT_PART)
    known = voice.Example(
        subject.full_NP3[:cut], times_s[:cut], wave[: int(times_s[cut] * 16_000)], np.ones(cut, bool)
    )  # fmt: skip
    actor = voice.fit_actor([known], prior=prior, space=space)
    alone_said, alone_width = said(alone)
    fitted_said, fitted_width = said(actor, actor.lag_s)
    held = slice(cut, None)
    return Row(
        name=subject.name,
        prior=correlation(alone_said, opening),
        best=max(lags)[0],
        lag_s=float(max(lags)[1]),
        prior_width=correlation(alone_width, true["width"]),
        held_prior=correlation(alone_said[held], opening[held]),
        fitted=correlation(fitted_said[held], opening[held]),
        fitted_width=correlation(fitted_width[held], true["width"][held]),
        ridge=correlation(ridge(subject.wave, times_s, opening, np.arange(len(times_s)) < cut)[held], opening[held]),
        spread=float(fitted_said[held].std() / opening[held].std()),
        shut=float((fitted_said < SHUT).mean() - (opening < SHUT).mean()),
        jitter=float(np.abs(np.diff(fitted_said, 2)).mean() / np.abs(np.diff(opening, 2)).mean()),
        fit_lag_s=actor.lag_s,
    )


def table(rows: Sequence[Row]) -> str:
    """One line per clip, to read."""
    head = (
        f"{'clip':<18}{'prior':>7}{'best':>7}{'@ s':>7}{'width':>7} |{'last 30 %: prior':>17}{'ridge':>7}"
        f"{'fitted':>8}{'width':>7} |{'spread':>7}{'shut':>7}{'jitter':>7}{'lag s':>7}"
    )
    lines = [
        f"{r.name[:17]:<18}{r.prior:>7.2f}{r.best:>7.2f}{r.lag_s:>7.2f}{r.prior_width:>7.2f} |{r.held_prior:>17.2f}"
        f"{r.ridge:>7.2f}{r.fitted:>8.2f}{r.fitted_width:>7.2f} |{r.spread:>7.2f}{r.shut:>7.2f}{r.jitter:>7.2f}"
        f"{r.fit_lag_s:>7.2f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def summary(rows: Sequence[Row], what: str) -> str:
    """Medians over clips."""

    def median(field: str) -> float:
        return float(np.median([getattr(r, field) for r in rows]))

    return (
        f"{what} ({len(rows)} clips), medians: prior {median('prior'):.3f}, width {median('prior_width'):.3f}; "
        f"last 30 %: ridge {median('ridge'):.3f}, prior {median('held_prior'):.3f}, fitted {median('fitted'):.3f}, "
        f"width {median('fitted_width'):.3f}; spread {median('spread'):.2f}, jitter {median('jitter'):.2f}"
    )


def judge(one: Lesson, prior: Prior) -> dict[str, float]:
    """What a prior that never saw this speaker says of a clip's speech: correlations of the coefficients at the clip's
    own lag, the opening's at the best lag, and of the times when the lips were shut how many it shuts (hit), and of
    frames with open lips how many (false)."""
    use = one.use_N
    if use.sum() < 12:
        return {}
    around = hearing.surroundings(one.ear_TE)
    coef = around @ prior.readout_XK

    def said(lag_s: float) -> np.ndarray:
        return at_times(coef, one.times_s + lag_s, STEP_HZ)[use]

    out = {f"c{k}": correlation(said(one.lag_s)[:, k], one.target_NK[use, k]) for k in range(COEFS)}
    out["best"] = max(correlation(said(lag_s)[:, 0], one.target_NK[use, 0]) for lag_s in LAGS_S)
    odds = around @ prior.shut_X + prior.shut_bias
    shuts = at_times(odds[:, None], one.times_s + one.lag_s, STEP_HZ)[:, 0] > 0
    true = one.opening_N < SHUT
    near = np.convolve(true, np.ones(2 * CLEAR + 1), "same") > 0.5
    if (use & ~near).sum() > 4:
        out["false"] = float(shuts[use & ~near].mean())
    edge = np.diff(np.concatenate([[0], true & use, [0]]).astype(int))
    runs = list(zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1), strict=True))
    if runs:
        out["hit"] = float(np.mean([shuts[max(a - 1, 0) : b + 1].any() for a, b in runs]))
    return out


def foreign(data: Path, prior: Prior) -> dict[str, float]:
    """The opening that is heard against the jaw of the Mandarin recordings, in speech, at the best of a few frames."""
    rows = []
    for wave, jaw in clips.curves(data / "mandarin_curves"):
        times_s = (np.arange(len(jaw)) + 0.5) / 30
        coef = prior.hear(wave).coef_TK[:, :1]
        speech = spoken_steps(wave)
        use = np.interp(times_s, np.arange(len(speech)) / STEP_HZ, speech, right=0) > 0.5
        said = {lag: at_times(coef, times_s + lag / 30, STEP_HZ)[use, 0] for lag in range(-3, 4)}
        found = {lag: correlation(one, jaw[use]) for lag, one in said.items()}
        rows.append({"jaw": max(found.values()), "lag": float(max(found, key=lambda lag: found[lag]))})
    return mean(rows)


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each number over those that have it."""
    names = sorted({name for row in rows for name in row})
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def judged(row: dict[str, float]) -> str:
    """What `judge` found, to read."""
    return "  ".join(f"{name} {value:.2f}" for name, value in row.items())
