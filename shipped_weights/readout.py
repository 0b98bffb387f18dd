"""The linear half of the prior: ridge regression from what is heard around a moment to the lips, on speech alone.

Trained on the clips as recorded: augmented copies made it worse on speakers unseen (LOG.md). Knows no network
but the prior's, which it listens through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.generators.rewrite import hearing, shape
from dubbing.generators.rewrite.hearing import ENCODED, STEP_HZ, Prior
from dubbing.networks import voice_encoder
from dubbing.sound import RATE_HZ

__all__ = ["basis", "readout", "spoken_steps"]

STRENGTH = 1000.0
EDGE_S = 0.1  # before and after speech that still counts as speech


def spoken_steps(wave: np.ndarray, near: bool = False) -> np.ndarray:
    """Where silero-vad hears speech, bool (T,) at STEP_HZ; near: and EDGE_S before and after it."""
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    speech = np.zeros(len(wave) * STEP_HZ // RATE_HZ + 1, bool)
    model = load_silero_vad(onnx=False)
    for stretch in get_speech_timestamps(torch.from_numpy(np.asarray(wave, np.float32)), model):
        speech[round(stretch["start"] * STEP_HZ / RATE_HZ) : round(stretch["end"] * STEP_HZ / RATE_HZ)] = True
    reach = int(EDGE_S * STEP_HZ) * near
    return np.asarray(np.convolve(speech, np.ones(2 * reach + 1), "same") > 0.5)


def basis(waves: Sequence[np.ndarray]) -> np.ndarray:
    """The main directions of speech's encoding, float32 (SIZE, ENCODED), scaled to a mean variance of 1."""
    total = np.zeros((voice_encoder.SIZE, voice_encoder.SIZE))
    for wave in waves:
        smooth = gaussian_filter1d(voice_encoder.encoded(wave).astype(np.float64), 1.0, axis=0, mode="nearest")
        total += np.cov(smooth[spoken_steps(wave)].T) / len(waves)
    values, vectors = np.linalg.eigh(total)
    main = vectors[:, ::-1][:, :ENCODED]
    main = main * np.sign(main[np.abs(main).argmax(0), np.arange(ENCODED)])
    return (main / np.sqrt(values[::-1][:ENCODED].mean())).astype(np.float32)


def readout(
    prior: Prior, waves: Sequence[np.ndarray], times_s: Sequence[np.ndarray], coefs: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """`level` and `readout` of a prior, from clips: their sounds, middles of frames (N,) and coefficients (N, K).

    Speakers count by the square root of their speech, and what is predicted is z-scored in it.
    """
    gram, product, scale, levels = 0.0, 0.0, [], []
    for wave, times, coef in zip(waves, times_s, coefs, strict=True):
        feature, _, _, phones = prior.sounds(wave)
        row = prior.row(wave, feature, phones)
        speech = spoken_steps(wave)
        levels.append(row[speech].mean(0))
        at_s = np.arange(len(row)) / STEP_HZ
        use = spoken_steps(wave, near=True) & (at_s <= times[-1] + 0.5 / STEP_HZ)
        smooth = shape.smoothed(coef, times)
        target = np.stack([np.interp(at_s, times, column) for column in smooth.T], 1)[use]
        target = (target - target.mean(0)) / target.std(0)
        x = hearing.surroundings(row - levels[-1])[use]
        scale.append(use.sum() ** -0.5)
        gram = gram + scale[-1] * x.T @ x
        product = product + scale[-1] * x.T @ target
    strength = STRENGTH * np.mean(scale) * np.eye(len(gram))
    return {
        "level": np.mean(levels, 0).astype(np.float32),
        "readout": np.linalg.solve(gram + strength, product).astype(np.float32),
    }
