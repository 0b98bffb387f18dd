"""The linear readouts of the prior: from what the ear hears around a moment to the lips, on speech alone.

Ridge regression gives the shape, logistic regression whether the lips are shut. Speakers count by the square root of
their speech. Frames are told by where silero-vad hears speech. Knows no file.

Axes: N frames, T steps at 50 Hz, E components of the ear, X = taps * E what `hearing.surroundings` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from dubbing.generators.rewrite import hearing
from dubbing.generators.rewrite.hearing import EARS, STEP_HZ
from dubbing.networks.whisper_front import CORE, WIDTH, Front
from dubbing.sound import RATE_HZ, at_times

__all__ = [
    "LAGS_S", "Lesson", "align", "basis", "lesson", "levelled", "places", "ridge",
    "shut_head", "spoken_steps", "sums",
]  # fmt: skip

STRENGTH = 30.0
PLACES, PLACE_STEPS = 5, 4.0  # places at which a sound is begun, and the smoothing over them
SHUT = 0.02  # an opening below this is shut lips
SHUT_STRENGTH = 3e-4
EDGE_S = 0.1  # before and after speech that still counts as speech
ROOT = 0.004  # added to an opening before its root is taken, so that noise at shut lips stays small
LAGS_S = np.round(np.arange(-0.08, 0.285, 0.02), 2)


@dataclass(frozen=True, eq=False)
class Lesson:
    """A clip to learn from. ear_TE: centred; times_s (N,): middles of frames; opening_N; target_NK: the shape with the
    root of the opening, z-scored over the speaker; use_N: frames in or beside speech; weight: of one frame; lag_s: how
    much later than the lips the sound is."""

    speaker: str
    ear_TE: np.ndarray
    times_s: np.ndarray
    opening_N: np.ndarray
    target_NK: np.ndarray
    use_N: np.ndarray
    weight: float = 1.0
    lag_s: float = 0.0

    def rows(self, lag_s: float | None = None) -> np.ndarray:
        """What is heard around each used frame, float32 (n, X)."""
        around = hearing.surroundings(self.ear_TE)
        return at_times(around, self.times_s[self.use_N] + (self.lag_s if lag_s is None else lag_s), STEP_HZ)


def spoken_steps(wave: np.ndarray, near: bool = False) -> np.ndarray:
    """Where silero-vad hears speech, bool (T,) at STEP_HZ; near: and EDGE_S before and after it."""
    from silero_vad import get_speech_timestamps

    speech = np.zeros(len(wave) * STEP_HZ // RATE_HZ + 1, bool)
    for stretch in get_speech_timestamps(torch.from_numpy(np.asarray(wave, np.float32)), _vad()):
        speech[round(stretch["start"] * STEP_HZ / RATE_HZ) : round(stretch["end"] * STEP_HZ / RATE_HZ)] = True
    reach = int(EDGE_S * STEP_HZ) * near
    return np.asarray(np.convolve(speech, np.ones(2 * reach + 1), "same") > 0.5)


_vads: list[torch.nn.Module] = []


def _vad() -> torch.nn.Module:
    from silero_vad import load_silero_vad

    if not _vads:
        _vads.append(load_silero_vad(onnx=False))
    return _vads[0]


def places(front: Front, waves: Sequence[np.ndarray]) -> np.ndarray:
    """What the place in a window adds to what the ear says, float32 (CORE, WIDTH): the same sounds, begun at several
    places, are compared with their mean."""
    total, count = np.zeros((CORE, WIDTH)), np.zeros((CORE, 1))
    shifts = range(0, CORE, CORE // PLACES)
    for wave in waves:
        wave = wave[: CORE * (RATE_HZ // STEP_HZ)]
        said = [front.hear(np.pad(wave, (shift * (RATE_HZ // STEP_HZ), 0)))[shift:][:CORE] for shift in shifts]
        mean = np.mean(said, 0)
        for shift, one in zip(shifts, said, strict=True):
            place = (np.arange(len(one)) + shift) % CORE
            np.add.at(total, place, one - mean)
            np.add.at(count, place, 1)
    return gaussian_filter1d(total / np.maximum(count, 1), PLACE_STEPS, axis=0, mode="nearest").astype(np.float32)


def basis(heard: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The ear's main directions in speech, float32 (WIDTH, EARS), of mean variance 1, and the mean, (EARS,).

    heard: per recording its speaker, what the ear says (T, WIDTH) without its places, and which steps speak.
    Recordings are centred.
    """
    total: dict[str, np.ndarray] = {}
    steps: dict[str, int] = {}
    means = []
    for speaker, said, speech in heard:
        x = said[speech].astype(np.float64)
        means.append(x.mean(0))
        x -= means[-1]
        total[speaker] = total.get(speaker, 0) + x.T @ x
        steps[speaker] = steps.get(speaker, 0) + len(x)
    values, vectors = np.linalg.eigh(np.sum([total[s] / np.sqrt(steps[s]) for s in total], 0))
    main = vectors[:, ::-1][:, :EARS]
    main = main * np.sign(main[np.abs(main).argmax(0), np.arange(EARS)])
    variance = np.mean([np.trace(main.T @ total[s] @ main) / steps[s] / EARS for s in total])
    main = main / np.sqrt(variance)
    return main.astype(np.float32), (np.mean(means, 0) @ main).astype(np.float32)


def lesson(
    speaker: str, ear_TE: np.ndarray, times_s: np.ndarray, coef_NK: np.ndarray, seen_N: np.ndarray, wave: np.ndarray
) -> Lesson:
    """A clip's lesson, not yet levelled: coef_NK smoothed; frames after the sound's end teach nothing."""
    near = spoken_steps(wave, near=True)
    use = np.interp(times_s, np.arange(len(near)) / STEP_HZ, near) > 0.5
    target = coef_NK.copy()
    target[:, 0] = np.sqrt(np.maximum(target[:, 0], 0) + ROOT)
    return Lesson(speaker, ear_TE, times_s, coef_NK[:, 0], target, use & seen_N & (times_s < len(wave) / RATE_HZ))


def levelled(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Targets centred in each clip, those of one speaker scaled alike; every speaker weighs by the root of its frames.

    A clip with little speech leans on its speaker's mean."""
    spread, count, mean = {}, {}, {}
    for speaker in {one.speaker for one in lessons}:
        own = [one for one in lessons if one.speaker == speaker and one.use_N.any()]
        rows = np.concatenate([one.target_NK[one.use_N] for one in own])
        mean[speaker], count[speaker] = rows.mean(0), len(rows)
        spread[speaker] = np.concatenate([(one.target_NK - _mean(one, mean[speaker]))[one.use_N] for one in own]).std(0)
    return [
        replace(
            one,
            target_NK=(one.target_NK - _mean(one, mean[one.speaker])) / spread[one.speaker],
            weight=count[one.speaker] ** -0.5,
        )
        for one in lessons
    ]


def _mean(one: Lesson, general_K: np.ndarray) -> np.ndarray:
    own = one.use_N.sum()
    return general_K + own / (own + 50) * (one.target_NK[one.use_N].mean(0) - general_K) if own else general_K


def sums(one: Lesson) -> tuple[np.ndarray, np.ndarray]:
    """A clip's part of the normal equations: (X, X) and (X, K)."""
    x = one.rows().astype(np.float64)
    return one.weight * x.T @ x, one.weight * x.T @ one.target_NK[one.use_N]


def ridge(gram_XX: np.ndarray, product_XK: np.ndarray) -> np.ndarray:
    """The readout, (X, K)."""
    return np.linalg.solve(gram_XX + STRENGTH * np.eye(len(gram_XX)), product_XK)


def align(one: Lesson, readout_XK: np.ndarray) -> float:
    """How much later than the lips a clip's sound is, by a readout that never saw its speaker."""
    true = one.target_NK[one.use_N, 0]
    around = hearing.surroundings(one.ear_TE) @ readout_XK[:, :1]
    said = [at_times(around, one.times_s[one.use_N] + lag_s, STEP_HZ)[:, 0] for lag_s in LAGS_S]
    return float(LAGS_S[int(np.argmax([np.corrcoef(s, true)[0, 1] for s in said]))])


def shut_head(lessons: Sequence[Lesson]) -> tuple[np.ndarray, float]:
    """Logistic regression from what is heard to shut lips: (X,) and a bias."""
    x = torch.from_numpy(np.concatenate([one.rows() for one in lessons]))
    y = torch.from_numpy(np.concatenate([one.opening_N[one.use_N] < SHUT for one in lessons]).astype(np.float32))
    weight = torch.from_numpy(np.concatenate([np.full(one.use_N.sum(), one.weight, np.float32) for one in lessons]))
    weight = weight / weight.sum()
    head = torch.zeros(x.shape[1] + 1, requires_grad=True)
    search = torch.optim.LBFGS([head], max_iter=80, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        error = torch.nn.functional.binary_cross_entropy_with_logits(x @ head[:-1] + head[-1], y, reduction="none")
        total = (weight * error).sum() + SHUT_STRENGTH * (head[:-1] ** 2).sum()
        total.backward()
        return total

    search.step(loss)
    found = head.detach().numpy().astype(np.float64)
    return found[:-1], float(found[-1])
