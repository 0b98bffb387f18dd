"""LipGAN's sound: MFCC (mel-frequency cepstral coefficients) and the windows of them for a frame, as published.

Published in MATLAB (Wojcicki's HTK-like `mfcc`), here as described there: 16 kHz, samples on the scale of 16 bits;
pre-emphasis 0.97; Hamming windows of 25 ms every 10 ms, none that would not fit whole; magnitude of a 512-point
transform; 40 triangles of unit height from 300 to 3700 Hz, evenly spaced on 1127 ln(1 + f / 700); logarithm; DCT of
which 12 numbers are kept, the zeroth is not; liftered with 22. Column k begins at sample 160 k. Transform and triangles
are librosa's, the DCT is scipy's; librosa's own `mfcc` lifts every number as if it were the one after. It knows no
network.

One thing differs: the published code leaves out frames that hear digital silence, whose logarithm has no value. Here
no band is less than 1e-5, which 24-bit sound does not fall below: silence is 0 in every number, and every frame has a
window.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from scipy.fft import dct
from scipy.signal.windows import hamming

__all__ = ["ALIGNMENTS", "BANDS", "BLOCK", "COLUMNS", "Alignment", "mfcc", "starts", "windows"]

BANDS, COLUMNS = 12, 35
RATE_HZ, HOP, SIZE = 16_000, 160, 400
_PER_S = RATE_HZ // HOP
_FFT, _FILTERS, _LIFTER, _EMPHASIS = 512, 40, 22, 0.97
_LOW_HZ, _HIGH_HZ = 300.0, 3700.0
_FLOOR = 1e-5
BLOCK = 6000  # columns at a time
Alignment = Literal["training", "inference"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)
_LEAD_S = {"training": Fraction(4, 25), "inference": Fraction(0)}


@lru_cache(maxsize=1)
def _triangles() -> np.ndarray:
    """float64 (40, 257): each rises from the peak before its own and falls to the one after, in hertz."""
    import librosa

    return librosa.filters.mel(
        sr=RATE_HZ, n_fft=_FFT, n_mels=_FILTERS, fmin=_LOW_HZ, fmax=_HIGH_HZ, htk=True, norm=None, dtype=np.float64
    )


def mfcc(wave_16k: np.ndarray) -> np.ndarray:
    """float32 (12, T) of float32 mono samples at 16 kHz, -1..1; T = (len - 400) // 160 + 1, at least 0."""
    import librosa

    samples = np.asarray(wave_16k, np.float64) * 2**15
    count = max(0, (len(samples) - SIZE) // HOP + 1)
    lifter = 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(1, BANDS + 1) / _LIFTER)
    beside = (_FFT - SIZE) // 2  # librosa lays the window into the middle of the transform
    out = np.empty((BANDS, count), np.float32)
    for a in range(0, count, BLOCK):
        b = min(count, a + BLOCK)
        start, end = a * HOP, (b - 1) * HOP + SIZE
        before = samples[start - 1] if start else 0.0
        part = samples[start:end] - _EMPHASIS * np.concatenate([[before], samples[start : end - 1]])
        bands = _triangles() @ np.abs(
            librosa.stft(
                np.pad(part, beside), n_fft=_FFT, hop_length=HOP, win_length=SIZE, window=hamming(SIZE), center=False
            )
        )
        cepstra = dct(np.log(np.maximum(_FLOOR, bands)), axis=0, norm="ortho")
        out[:, a:b] = cepstra[1 : BANDS + 1] * lifter[:, None]
    return out


def starts(times: Sequence[Fraction], alignment: Alignment = "training") -> np.ndarray:
    """The first column of each frame's window, int32 (N,); it may be negative.

    times: when each frame begins, exact seconds from the sound's first sample. `training`: 4/25 s before, so that the
    frame lies in the middle of its 0.35 s, as the network was trained; `inference`: with the frame, as the published
    call pairs them, whose mouths are therefore early by as much.
    """
    return np.array([(t - _LEAD_S[alignment]) * _PER_S // 1 for t in times], np.int32)


def windows(cepstra_BT: np.ndarray, starts_N: np.ndarray) -> np.ndarray:
    """The windows (N, 1, 12, 35) that begin at `starts_N`; silence where there is no column."""
    count = cepstra_BT.shape[1]
    at = np.asarray(starts_N)[:, None] + np.arange(COLUMNS)
    padded = np.concatenate([cepstra_BT, np.zeros((BANDS, 1), np.float32)], 1)
    found = padded[:, np.where((at >= 0) & (at < count), at, count)]
    return np.ascontiguousarray(found.transpose(1, 0, 2)[:, None], np.float32)
