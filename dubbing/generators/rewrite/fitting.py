"""The numbers of an actor's voice: weighted ridge regression with blocked cross-validation, and ranges given back.

What is heard around a moment, a quarter of a second to either side, corrects what the prior says of it; from minutes of
dialogue on, small networks of the actor's own say the same with other errors (`taught`), and the two are averaged where
that is better on dialogue held out. A frame counts for as much as its mouth was seen clearly.

Regression toward the mean makes lips mumble, so what is predicted is stretched to the spread of the
actor's own mouth, the opening through its whole distribution: the most closed tenth of what is
predicted becomes the most closed tenth of what the mouth does, which is shut. Coefficients that sound
hardly predicts are left nearly still instead of moved wrongly. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np

from dubbing.generators.rewrite import taught
from dubbing.generators.rewrite.minutes import Minutes
from dubbing.generators.rewrite.taught import Taught
from dubbing.sound import at_times

__all__ = ["LEVELS", "TAUGHT_S", "Fit", "learn"]

# Of the distribution of openings; denser at both ends, where a lip line shows.
LEVELS = np.array([0, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 100]) / 100
LEAST_S = 3.0  # of speech, below which the prior is scaled but not corrected
TAUGHT_S = 120.0  # of speech, from which on networks are taught
STRENGTHS_S = (3.0, 10.0, 40.0, 150.0, 600.0, np.inf)  # of the ridge: seconds of speech that would halve it
GAIN_S = 4.0  # seconds of speech that weigh as much as the prior's own gain of 1
RANGE_S = 2.0  # seconds of speech that weigh as much as everyone's range
TRUST_STEPS = 100.0  # steps of speech in a recording that weigh as much as what is known of voices
SURE = 0.35  # correlation from which on a coefficient gets its whole spread; the opening always does
SCORE_S = 20.0  # seconds of speech after which the actor's own correlations weigh as much as everyone's
CLOSES = (0.0, 0.25, 0.5, 1.0)
IMPORTANCE = np.array([3.0, 1.5, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3])
TAPS = np.array([-14, -9, -5, -2, 0, 2, 5, 9, 14])  # steps from a moment at which the ear is read, denser near it
_BLOCK, _GAP, _FOLDS = 150, 15, 5  # steps: 3 s, 0.3 s
_CHUNK = 8192  # frames whose products are summed at once, so that memory does not grow with their number


@dataclass(frozen=True, eq=False)
class Fit:
    """Sound to coefficients. F = what `voice.heard` holds in a row, its first K being the prior's own coefficients;
    W = what lies around a moment: the other F - K at each of TAPS.

    mean_K, std_K: coefficients while speaking; opening_Q: the opening's quantiles at LEVELS; heard_mean_F,
    heard_std_F: of what is heard in the same voice's speech; gain_K: z-scored coefficients from the prior's;
    said_mean_K, said_std_K: of these predictions; said_Q: the predicted opening's quantiles, standardised;
    share_K: 0..1, how much of the spread is given back; score: cross-validated correlation of the opening,
    0 where there was too little to tell; closes: 0..1, how far to believe the prior of where lips shut, which a fit
    that knows the actor's own closures hardly needs; weight_WK: what lies around corrects, None where it does not;
    taught: the actor's networks, None where there are none.
    """

    mean_K: np.ndarray
    std_K: np.ndarray
    opening_Q: np.ndarray
    heard_mean_F: np.ndarray
    heard_std_F: np.ndarray
    gain_K: np.ndarray
    said_mean_K: np.ndarray
    said_std_K: np.ndarray
    said_Q: np.ndarray
    share_K: np.ndarray
    score: float
    closes: float = 1.0
    weight_WK: np.ndarray | None = None
    taught: Taught | None = None

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Fit:
        """From arrays by name, as `arrays` gives them. Raises KeyError or TypeError where they are not a fit's."""
        values: dict[str, Any] = {
            field.name: np.asarray(arrays[field.name], np.float64)
            for field in fields(Fit)
            if field.name in arrays or field.default is MISSING
        }
        nets = {name[7:]: value for name, value in arrays.items() if name.startswith("taught.")}
        values |= {name: float(values[name]) for name in ("score", "closes") if name in values}
        return Fit(**values, taught=Taught.of(nets) if nets else None)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, for `of`."""
        own = {f.name: getattr(self, f.name) for f in fields(Fit) if f.name != "taught"}
        nets = self.taught.arrays() if self.taught else {}
        return {name: np.asarray(v) for name, v in own.items() if v is not None} | {
            f"taught.{name}": value for name, value in nets.items()
        }

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
        said = self._said(heard_TF - mean_F)
        mean_K, std_K = self.said_mean_K, self.said_std_K
        if own:
            mean_K = mean_K + trust * (said[speech_T].mean(0) - mean_K)
            std_K = std_K + trust * (np.maximum(said[speech_T].std(0), 0.5 * std_K) - std_K)
        z = (said - mean_K) / std_K
        coef = self.mean_K + self.share_K * self.std_K * z
        whole = np.interp(z[:, 0], self.said_Q, self.opening_Q)
        coef[:, 0] = np.maximum(self.mean_K[0] + self.share_K[0] * (whole - self.mean_K[0]), 0)
        return coef

    def _said(self, centred_TF: np.ndarray) -> np.ndarray:
        said = np.asarray(self.gain_K * centred_TF[:, : len(self.gain_K)])
        if self.weight_WK is None:
            return said
        around = _around(centred_TF, np.arange(len(centred_TF)), self)
        said = said + around @ self.weight_WK
        return said if self.taught is None else self.taught.blended(around, said)


def _around(centred_TF: np.ndarray, place_N: np.ndarray, fit: Fit) -> np.ndarray:
    """What is heard around these places, float32 (N, W), in one unit: what varies little says little."""
    count = len(fit.gain_K)
    ear = (centred_TF[:, count:] / np.sqrt((fit.heard_std_F[count:] ** 2).mean())).astype(np.float32)
    return np.concatenate([at_times(ear, place_N + tap, 1.0) for tap in TAPS], 1)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Frames to fit on: prior_NK, what the prior says there, centred; around_NW; target_NK, z-scored; weight_N, in
    seconds; fold_N: which fifth; near_N: bool (folds, N), beside a frame of that fifth and not in it."""

    prior_NK: np.ndarray
    around_NW: np.ndarray
    target_NK: np.ndarray
    weight_N: np.ndarray
    fold_N: np.ndarray
    near_N: np.ndarray


def learn(minutes: Minutes, prior: Fit, shut_N: np.ndarray) -> Fit:
    """Fit one voice and mouth, starting from everyone's; deterministic.

    shut_N: of every frame, how far the prior says that its lips are shut, 0..1.
    """
    coef_NK = np.concatenate([s.coef_NK for s in minutes.stretches])
    weight_N = np.concatenate([s.seconds_N for s in minutes.stretches])
    heard_NF = np.concatenate([at_times(s.heard_TF, s.place_N, 1.0) for s in minutes.stretches]).astype(np.float64)
    seconds, part_N = float(weight_N.sum()), weight_N / weight_N.sum()
    own = seconds / (seconds + RANGE_S)
    own_K, heard_F = part_N @ coef_NK, part_N @ heard_NF
    std_K = np.sqrt(own * (part_N @ (coef_NK - own_K) ** 2) + (1 - own) * prior.std_K**2)
    opening_Q = prior.opening_Q + own * (_quantiles(coef_NK[:, 0], part_N) - prior.opening_Q)
    start = replace(
        prior,
        mean_K=prior.mean_K + own * (own_K - prior.mean_K),
        std_K=std_K,
        opening_Q=np.maximum(opening_Q, 0),
        heard_mean_F=prior.heard_mean_F + own * (heard_F - prior.heard_mean_F),
        weight_WK=None,
        taught=None,
    )
    fold_N, near_N, blocks = _folds(minutes)
    if seconds < LEAST_S or blocks < 2:
        return start
    around_NW = np.concatenate([_around(s.heard_TF - heard_F, s.place_N, prior) for s in minutes.stretches])
    prior_NK = heard_NF[:, : len(std_K)] - heard_F[: len(std_K)]
    rows = _Rows(prior_NK, around_NW, (coef_NK - own_K) / std_K, weight_N, fold_N, near_N)
    gain_K, weight_WK, held_NK = _ridge(rows, prior)
    nets, target_NK = None, rows.target_NK
    if seconds >= TAUGHT_S:
        test_N = fold_N == 0
        nets, tested_NK = taught.teach(
            around_NW, target_NK, weight_N, IMPORTANCE, held_NK=held_NK, test_N=test_N, train_N=~test_N & ~near_N[0]
        )
        if nets is not None:  # what they say of what they have not seen is known of one fifth
            held_NK, target_NK, part_N = tested_NK, target_NK[test_N], part_N[test_N] / part_N[test_N].sum()
            shut_N = shut_N[test_N]
    said_mean_K = part_N @ held_NK
    spread_K = np.sqrt(part_N @ (held_NK - said_mean_K) ** 2)
    moves_K = spread_K > 1e-6
    together_K = part_N @ ((held_NK - said_mean_K) * (target_NK - part_N @ target_NK))
    true_K = np.sqrt(part_N @ (target_NK - part_N @ target_NK) ** 2)
    found_K = np.where(moves_K, together_K / np.maximum(spread_K * true_K, 1e-9), 0)
    known = seconds / (seconds + SCORE_S)
    score_K = known * found_K + (1 - known) * SURE * prior.share_K
    said_std_K = np.where(moves_K, spread_K, prior.said_std_K)
    standard = (held_NK[:, 0] - said_mean_K[0]) / said_std_K[0]
    return replace(
        start,
        gain_K=gain_K,
        weight_WK=weight_WK if weight_WK.any() else None,
        taught=nets,
        said_mean_K=said_mean_K,
        said_std_K=said_std_K,
        said_Q=_rising(_quantiles(standard, part_N)) if moves_K[0] else prior.said_Q,
        share_K=np.clip(np.append(1.0, score_K[1:] / SURE), 0, 1),
        score=float(found_K[0]),
        closes=_closes(held_NK[:, 0], target_NK[:, 0], own_K[0] / std_K[0], shut_N, part_N),
    )


def _folds(minutes: Minutes) -> tuple[np.ndarray, np.ndarray, int]:
    """Of every frame, which fifth it is in, by blocks of some seconds of the same stretch; for each fifth, which frames
    lie so near to it that they know it; and how many blocks there are."""
    fold_N: list[np.ndarray] = []
    near_N: list[np.ndarray] = []
    blocks = 0
    for stretch in minutes.stretches:
        block = np.floor(stretch.place_N / _BLOCK).astype(int)
        block = blocks + np.unique(block, return_inverse=True)[1].reshape(-1) if len(block) else block
        blocks = int(block.max()) + 1 if len(block) else blocks
        fold = block % _FOLDS
        near = np.zeros((_FOLDS, len(fold)), bool)
        for n in range(_FOLDS):
            held = stretch.place_N[fold == n]
            if len(held):
                after = np.clip(np.searchsorted(held, stretch.place_N), 0, len(held) - 1)
                apart = np.abs(held[np.stack([after, np.maximum(after - 1, 0)])] - stretch.place_N).min(0)
                near[n] = (apart < _GAP) & (fold != n)
        fold_N.append(fold)
        near_N.append(near)
    return np.concatenate(fold_N), np.concatenate(near_N, 1), blocks


def _ridge(rows: _Rows, prior: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far to believe the prior's coefficients, (K,); the ridge on what they leave, (W, K); and what fits that did
    not see a frame's surroundings say of it, (N, K). Each coefficient has the strength that is best held out."""
    every = np.ones(len(rows.weight_N), bool)
    whole = _sums(rows, every, prior)
    said = np.zeros((len(STRENGTHS_S), *rows.target_NK.shape))
    for fold in range(_FOLDS):
        test = rows.fold_N == fold
        if not test.any():
            continue
        left_out = _sums(rows, test | rows.near_N[fold], prior)
        gain_K, weights = _solved([a - b for a, b in zip(whole, left_out, strict=True)], prior)
        for n, weight in enumerate(weights):
            said[n, test] = gain_K * rows.prior_NK[test] + rows.around_NW[test] @ weight
    error = np.einsum("n,snk->sk", rows.weight_N, (rows.target_NK - said) ** 2)
    # Opening is chosen for itself; the others, noisier, together.
    best = np.full(error.shape[1], (error[:, 1:] * IMPORTANCE[1:]).sum(1).argmin())
    best[0] = error[:, 0].argmin()
    gain_K, weights = _solved(whole, prior)
    held_NK = np.stack([said[b, :, k] for k, b in enumerate(best)], 1)
    return gain_K, np.stack([weights[b][:, k] for k, b in enumerate(best)], 1), held_NK


def _sums(rows: _Rows, which: np.ndarray, prior: Fit) -> list[np.ndarray]:
    """Weighted sums of products over some frames: prior by target and by itself, (K,); around by itself (W, W), by
    target (W, K) and by the prior (W, K)."""
    sums: list[np.ndarray] = []
    found = np.flatnonzero(which)
    for at in np.split(found, range(_CHUNK, len(found), _CHUNK)):
        weight = rows.weight_N[at][:, None]
        own, target = rows.prior_NK[at], rows.target_NK[at]
        root = np.sqrt(weight)
        x = rows.around_NW[at] * root
        here = [(weight * own * target).sum(0), (weight * own**2).sum(0)]
        here += [x.T @ x, x.T @ (root * target), x.T @ (root * own)]
        sums = [a + b for a, b in zip(sums, here, strict=True)] if sums else here
    return sums


def _solved(sums: list[np.ndarray], prior: Fit) -> tuple[np.ndarray, list[np.ndarray]]:
    """The gain (K,), and for each strength the weights (W, K)."""
    from scipy.linalg import cho_factor, cho_solve  # slow to load, and every command loads this module

    together, own, square, target, said = sums
    trust = GAIN_S * prior.said_std_K**2
    gain_K = np.clip((together + trust * prior.gain_K) / (own + trust), 0, 2)
    left, found = target - gain_K * said, []
    for strength in STRENGTHS_S:
        if np.isfinite(strength):
            factor = cho_factor(square + strength * np.eye(len(square)), overwrite_a=True, check_finite=False)
            found.append(cho_solve(factor, left, check_finite=False))
        else:
            found.append(np.zeros_like(left))
    return gain_K, found


def _closes(held_N: np.ndarray, true_N: np.ndarray, usual: float, shut_N: np.ndarray, part_N: np.ndarray) -> float:
    """How far to shut the lips where the prior says so, as is best held out. held_N, true_N: the opening in units of
    its spread, of which `usual` is the mean."""
    said, true = np.maximum(held_N + usual, 0), true_N + usual
    errors = [float(part_N @ ((said * (1 - part * shut_N) - true) ** 2)) for part in CLOSES]
    return CLOSES[int(np.argmin(errors))]


def _quantiles(values_N: np.ndarray, part_N: np.ndarray) -> np.ndarray:
    """The weighted quantiles at LEVELS; part_N sums to 1."""
    order = np.argsort(values_N, kind="stable")
    below = np.cumsum(part_N[order]) - 0.5 * part_N[order]
    return np.asarray(np.interp(LEVELS, below, values_N[order]))


def _rising(values: np.ndarray) -> np.ndarray:
    """The same values, strictly rising, as `np.interp` needs."""
    return np.asarray(np.maximum.accumulate(values) + 1e-9 * np.arange(len(values)))
