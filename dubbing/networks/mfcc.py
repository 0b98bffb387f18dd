"""MFCCs as `python_speech_features` makes them by default: what SyncNet, Light-ASD and the speech-driven GAN hear.

16 kHz int16 samples; pre-emphasis 0.97; rectangular windows of 25 ms every 10 ms; power of a 512-point
transform over 512; 26 triangles from 0 to 8 kHz on the mel scale 2595 log10(1 + f / 700); logarithm;
orthonormal DCT-II, 13 of it, liftered with 22; the first is the logarithm of the window's energy instead.
It knows no network and no film.

Written out here because no library that is kept up makes these numbers. librosa's and torchaudio's triangles rise and
fall between the frequencies themselves, these between whole bins of the transform: cepstra are then off by up to 7.7
(librosa) and 12.6 (torchaudio), and the published ones must be met within 1e-6 of their size. python_speech_features
itself has had no release since 2017 and none that installs without building.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import dct

__all__ = ["BANDS", "HOP", "mfcc", "pcm_of", "stretch"]

RATE_HZ, HOP, SIZE, BANDS = 16_000, 160, 400, 13
_FFT, _FILTERS, _LIFTER, _EMPHASIS = 512, 26, 22, 0.97
_TINY = np.finfo(float).eps  # stands for nothing at all before a logarithm
_BLOCK = 6000  # windows at a time


@lru_cache(maxsize=1)
def _triangles() -> np.ndarray:
    """float64 (26, 257): each rises from one whole bin to the next and falls to the one after."""
    top = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    edges = np.floor((_FFT + 1) * edges_hz / RATE_HZ)
    bins = np.arange(_FFT // 2 + 1)
    low, mid, high = (edges[n : n + _FILTERS, None] for n in range(3))
    rising = (bins >= low) & (bins < mid)
    falling = (bins >= mid) & (bins < high)
    up, down = np.maximum(mid - low, 1), np.maximum(high - mid, 1)
    return np.where(rising, (bins - low) / up, 0) + np.where(falling, (high - bins) / down, 0)


def mfcc(pcm: np.ndarray, before: float = 0.0) -> np.ndarray:
    """float64 (T, 13), T = 1 + ceil((len - 400) / 160): the last windows are filled up with zeros.

    pcm: int16 samples (any number type, same scale); before: the sample before the first, 0 at the start
    of a sound as published.
    """
    samples = np.asarray(pcm, np.float64)
    count = 1 if len(samples) <= SIZE else 1 + -(-(len(samples) - SIZE) // HOP)
    lifter = 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(BANDS) / _LIFTER)
    out = np.empty((count, BANDS))
    for a in range(0, count, _BLOCK):
        b = min(count, a + _BLOCK)
        start, end = a * HOP, (b - 1) * HOP + SIZE
        part = samples[max(0, start - 1) : end]
        part = np.concatenate([[before], part]) if start == 0 else part
        part = part[1:] - _EMPHASIS * part[:-1]
        part = np.pad(part, (0, end - start - len(part)))
        frames = np.lib.stride_tricks.sliding_window_view(part, SIZE)[::HOP]
        power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
        bands = power @ _triangles().T
        energy = power.sum(1)
        found = dct(np.log(np.where(bands == 0, _TINY, bands)), type=2, axis=1, norm="ortho")[:, :BANDS] * lifter
        found[:, 0] = np.log(np.where(energy == 0, _TINY, energy))
        out[a:b] = found
    return out


def pcm_of(wave_16k: np.ndarray) -> np.ndarray:
    """int16 samples of a float wave -1..1: exactly the file's, where the file had 16 bits."""
    return np.clip(np.rint(np.asarray(wave_16k, np.float64) * 32768), -32768, 32767).astype(np.int16)


def stretch(wave_16k: np.ndarray, start_s: float, samples: int) -> np.ndarray:
    """`samples` int16 samples from `start_s` on; zeros where the wave has none."""
    first = round(start_s * RATE_HZ)
    held = pcm_of(wave_16k[max(0, first) : max(0, first + samples)])
    left = min(samples, max(0, -first))
    return np.pad(held, (left, samples - left - len(held)))
