"""The numbers of an actor's voice: ridge regression with blocked cross-validation, and ranges given back.

Regression toward the mean makes lips mumble, so what is predicted is stretched to the spread of the
actor's own mouth, the opening through its whole distribution: the most closed tenth of what is
predicted becomes the most closed tenth of what the mouth does, which is shut. Coefficients that sound
hardly predicts are left nearly still instead of moved wrongly. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

__all__ = ["LEVELS", "Fit", "learn"]

# Of the distribution of openings; denser at both ends, where a lip line shows.
LEVELS = np.array([0, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 100]) / 100
LEAST_S = 3.0  # of speech, below which the prior is scaled but not corrected
STRENGTHS_S = (40.0, 120.0, 400.0, 1200.0, np.inf)  # of the ridge: seconds of speech that would halve it
GAIN_S = 4.0  # seconds of speech that weigh as much as the prior's own gain of 1
RANGE_FRAMES = 50.0  # frames of speech that weigh as much as everyone's range
TRUST_STEPS = 100.0  # steps of speech in a recording that weigh as much as what is known of voices
SURE = 0.35  # correlation from which on a coefficient gets its whole spread; the opening always does
SCORE_S = 20.0  # seconds of speech after which the actor's own correlations weigh as much as everyone's
IMPORTANCE = np.array([3.0, 1.5, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3])
_BLOCK_S, _GAP_S, _FOLDS = 3.0, 0.3, 5


@dataclass(frozen=True, eq=False)
class Fit:
    """Sound to coefficients. F = what `Heard` holds in a row, its first K being the prior's own coefficients.

    mean_K, std_K: coefficients while speaking; opening_Q: the opening's quantiles at LEVELS; heard_mean_F,
    heard_std_F: of what is heard in the same voice's speech; gain_K, weight_FK: z-scored coefficients from that;
    said_mean_K, said_std_K: of these predictions; said_Q: the predicted opening's quantiles, standardised;
    share_K: 0..1, how much of the spread is given back; score: cross-validated correlation of the opening,
    0 where there was too little to tell.
    """

    mean_K: np.ndarray
    std_K: np.ndarray
    opening_Q: np.ndarray
    heard_mean_F: np.ndarray
    heard_std_F: np.ndarray
    gain_K: np.ndarray
    weight_FK: np.ndarray
    said_mean_K: np.ndarray
    said_std_K: np.ndarray
    said_Q: np.ndarray
    share_K: np.ndarray
    score: float

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Fit:
        """From arrays by name. Raises KeyError or TypeError where they are not a fit's."""
        values = {field.name: np.asarray(arrays[field.name], np.float64) for field in fields(Fit)}
        return Fit(**{**values, "score": float(values["score"])})  # type: ignore[arg-type]

    def say(self, heard_TF: np.ndarray, speech_T: np.ndarray) -> np.ndarray:
        """Coefficients, float64 (T, K), before any silence is imposed.

        speech_T: bool, the steps of the recording's own speech: what is heard and said there is centred, and
        scaled, so that another voice, microphone or level moves the mouth like the actor's own.
        """
        own = float(speech_T.sum())
        trust = own / (own + TRUST_STEPS)
        mean_F = self.heard_mean_F
        if own:
            mean_F = mean_F + trust * (heard_TF[speech_T].mean(0) - mean_F)
        said = _said(heard_TF - mean_F, self.heard_std_F, self.gain_K, self.weight_FK)
        mean_K, std_K = self.said_mean_K, self.said_std_K
        if own:
            mean_K = mean_K + trust * (said[speech_T].mean(0) - mean_K)
            std_K = std_K + trust * (np.maximum(said[speech_T].std(0), 0.5 * std_K) - std_K)
        z = (said - mean_K) / std_K
        coef = self.mean_K + self.share_K * self.std_K * z
        whole = np.interp(z[:, 0], self.said_Q, self.opening_Q)
        coef[:, 0] = np.maximum(self.mean_K[0] + self.share_K[0] * (whole - self.mean_K[0]), 0)
        return coef


def _said(centred_TF: np.ndarray, std_F: np.ndarray, gain_K: np.ndarray, weight_FK: np.ndarray) -> np.ndarray:
    return gain_K * centred_TF[:, : len(gain_K)] + (centred_TF / std_F) @ weight_FK


def learn(
    heard_NF: np.ndarray, coef_NK: np.ndarray, example_N: np.ndarray, times_s: np.ndarray, frame_s: float, prior: Fit
) -> Fit:
    """Fit one voice and mouth, starting from everyone's.

    All rows are frames that speak: what is heard there, the coefficients, which example (int) and when in it.
    """
    count, seconds = len(coef_NK), len(coef_NK) * frame_s
    own = count / (count + RANGE_FRAMES)
    mean_K = prior.mean_K + own * (coef_NK.mean(0) - prior.mean_K)
    std_K = np.sqrt(own * coef_NK.var(0) + (1 - own) * prior.std_K**2)
    opening_Q = prior.opening_Q + own * (np.quantile(coef_NK[:, 0], LEVELS) - prior.opening_Q)
    heard_mean_F = prior.heard_mean_F + own * (heard_NF.mean(0) - prior.heard_mean_F)
    start = replace(
        prior, mean_K=mean_K, std_K=std_K, opening_Q=np.maximum(opening_Q, 0), heard_mean_F=heard_mean_F
    )  # fmt: skip
    block_N = _blocks(example_N, times_s)
    if seconds < LEAST_S or block_N.max() < 1:
        return start
    centred_NF, target_NK = heard_NF - heard_NF.mean(0), (coef_NK - coef_NK.mean(0)) / std_K
    said = _cross_validated(centred_NF, target_NK, block_N, example_N, times_s, frame_s, prior)
    error = ((target_NK - said) ** 2).mean(1)  # (strengths, K)
    # Opening is chosen for itself; the others, noisier, together.
    best = np.full(error.shape[1], (error[:, 1:] * IMPORTANCE[1:]).sum(1).argmin())
    best[0] = error[:, 0].argmin()
    held_NK = np.stack([said[b, :, k] for k, b in enumerate(best)], 1)
    gain_K, weights = _solve(centred_NF, target_NK, prior, frame_s)
    weight_FK = np.stack([weights[b][:, k] for k, b in enumerate(best)], 1)
    spread = held_NK.std(0)
    moves = spread > 1e-6
    found_K = np.where(moves, (held_NK * target_NK).mean(0) / np.maximum(spread * target_NK.std(0), 1e-9), 0)
    known = seconds / (seconds + SCORE_S)
    score_K = known * found_K + (1 - known) * SURE * prior.share_K
    said_std_K = np.where(moves, spread, prior.said_std_K)
    standard = (held_NK[:, 0] - held_NK[:, 0].mean()) / said_std_K[0]
    return replace(
        start,
        gain_K=gain_K,
        weight_FK=weight_FK,
        said_mean_K=held_NK.mean(0),
        said_std_K=said_std_K,
        said_Q=_rising(np.quantile(standard, LEVELS)) if moves[0] else prior.said_Q,
        share_K=np.clip(np.append(1.0, score_K[1:] / SURE), 0, 1),
        score=float(found_K[0]),
    )


def _blocks(example_N: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """A running number for every few seconds of every example."""
    keys = np.stack([example_N, np.floor(times_s / _BLOCK_S).astype(int)], 1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _cross_validated(
    centred_NF: np.ndarray, target_NK: np.ndarray, block_N: np.ndarray, example_N: np.ndarray, times_s: np.ndarray,
    frame_s: float, prior: Fit,
) -> np.ndarray:  # fmt: skip
    """Predictions of every frame by fits that did not see its surroundings, (strengths, N, K).

    Means are those of all frames: a fold's own, left out, would pull its prediction the wrong way.
    """
    folds = min(_FOLDS, int(block_N.max()) + 1)
    said = np.zeros((len(STRENGTHS_S), *target_NK.shape))
    place_s = example_N * 1e6 + times_s
    for fold in range(folds):
        test = block_N % folds == fold
        held = np.sort(place_s[test])
        after = np.clip(np.searchsorted(held, place_s), 0, len(held) - 1)
        near = np.minimum(np.abs(held[after] - place_s), np.abs(held[np.maximum(after - 1, 0)] - place_s)) < _GAP_S
        train = ~test & ~near
        if not train.any():
            continue
        gain_K, weights = _solve(centred_NF[train], target_NK[train], prior, frame_s)
        for n, weight in enumerate(weights):
            said[n, test] = _said(centred_NF[test], prior.heard_std_F, gain_K, weight)
    return said


def _solve(
    centred_NF: np.ndarray, target_NK: np.ndarray, prior: Fit, frame_s: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """How far to believe the prior's coefficients, (K,), and for each strength the ridge on what they leave, (F, K)."""
    count = target_NK.shape[1]
    own = centred_NF[:, :count]
    weight = GAIN_S / frame_s * prior.said_std_K**2
    gain_K = np.clip(((own * target_NK).sum(0) + weight * prior.gain_K) / ((own**2).sum(0) + weight), 0, 2)
    x = centred_NF / prior.heard_std_F
    left = target_NK - gain_K * own
    values, vectors = np.linalg.eigh(x.T @ x)
    rotated = vectors.T @ (x.T @ left)
    weights = [
        vectors @ (rotated / (np.maximum(values, 0) + s / frame_s)[:, None])
        if np.isfinite(s)
        else np.zeros_like(rotated)
        for s in STRENGTHS_S
    ]
    return gain_K, weights


def _rising(values: np.ndarray) -> np.ndarray:
    """The same values, strictly rising, as `np.interp` needs."""
    return np.asarray(np.maximum.accumulate(values) + 1e-9 * np.arange(len(values)))
