"""Wav2Lip's mel spectrogram and the windows of it that belong to a frame, exactly as published.

16 kHz; pre-emphasis 0.97; 800-sample periodic Hann windows every 200 samples; 80 Slaney bands from 55
to 7600 Hz of the magnitude; decibels above -100, less a reference of 20, scaled to -4..4. Column k is
centred on sample 200 k, outside the sound is silence. Transform and bands are librosa's, as in the published code.
It knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

__all__ = ["ALIGNMENTS", "BANDS", "BLOCK", "COLUMNS", "Alignment", "mel", "starts", "windows"]

BANDS, COLUMNS = 80, 16
RATE_HZ, HOP, SIZE = 16_000, 200, 800
_PER_S = RATE_HZ // HOP
_SILENCE = -4.0
BLOCK = 4000  # columns at a time
Alignment = Literal["inference", "training", "sadtalker"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)
_LEAD_S = {"inference": Fraction(0), "training": Fraction(1, 25), "sadtalker": Fraction(2, 25)}


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    """Mel filter bank, float32 (80, 401)."""
    import librosa

    return librosa.filters.mel(sr=RATE_HZ, n_fft=SIZE, n_mels=BANDS, fmin=55, fmax=7600).astype(np.float32)


def mel(wave_16k: np.ndarray) -> np.ndarray:
    """float32 (80, len // 200 + 1), -4 (silence) to 4, of float32 mono samples at 16 kHz, -1..1."""
    import librosa

    wave = np.asarray(wave_16k, np.float32)
    emphasised = wave.copy()
    emphasised[1:] -= np.float32(0.97) * wave[:-1]
    padded = np.pad(emphasised, SIZE // 2)
    count = len(wave) // HOP + 1
    out = np.empty((BANDS, count), np.float32)
    for a in range(0, count, BLOCK):
        b = min(count, a + BLOCK)
        part = padded[a * HOP : (b - 1) * HOP + SIZE]
        loudness = _filters() @ np.abs(librosa.stft(part, n_fft=SIZE, hop_length=HOP, center=False))
        decibel = 20 * np.log10(np.maximum(1e-5, loudness)) - 20
        out[:, a:b] = np.clip(8 * (decibel + 100) / 100 - 4, -4, 4)
    return out


def starts(times: Sequence[Fraction], columns: int, alignment: Alignment = "inference") -> np.ndarray:
    """The first mel column of each frame's window, int32 (N,), for a spectrogram of `columns` columns.

    times: when each frame begins, exact seconds from the sound's first sample. `inference` is the published
    rule: the window begins with the frame, `int(i * 80 / fps)`; `training`: a 25th of a second earlier, as
    the published network was trained; `sadtalker`: two, as SadTalker calls it. The published code stops
    at the first window that would not fit and gives it the last 16 columns; so do all frames after it here,
    which the published code drops. A window may begin before the sound (negative): what is missing is silence.
    """
    lead = _LEAD_S[alignment]
    last = max(0, columns - COLUMNS)
    return np.array([min((t - lead) * _PER_S // 1, last) for t in times], np.int32)


def windows(mel_BT: np.ndarray, starts_N: np.ndarray) -> np.ndarray:
    """The windows (N, 1, 80, 16) that begin at `starts_N`; silence where the spectrogram has no column."""
    at = np.asarray(starts_N)[:, None] + np.arange(COLUMNS)
    inside = (at >= 0) & (at < mel_BT.shape[1])
    found = mel_BT[:, np.where(inside, at, 0)].transpose(1, 0, 2)
    return np.where(inside[:, None], found, np.float32(_SILENCE))[:, None].astype(np.float32)
