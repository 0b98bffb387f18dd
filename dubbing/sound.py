"""Speech features at exact times, from 16 kHz mono samples. Reads no file; knows no model.

The log-mel here is this project's own (torch-free, so it is the same everywhere): 25 ms Hann
windows every 10 ms, 40 mel bands from 60 Hz to 7.6 kHz (Slaney scale), column k centred on sample
160 k. It must not move: what was trained on it is shipped, and `librosa.feature.melspectrogram`, 3e-6 off,
would change what `rewrite` draws. Models that define their own features (SyncNet's MFCC, Wav2Lip's mel) keep
them beside themselves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["HOP", "MELS", "RATE_HZ", "at_times", "log_mel", "mel_filters"]

RATE_HZ = 16_000
HOP = 160
MELS = 40
_WINDOW, _FFT = 400, 512


@lru_cache(maxsize=4)
def mel_filters(bands: int, fft: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Mel filter bank at 16 kHz, float32 (bands, fft / 2 + 1), Slaney's scale and area normalisation; not to be written
    to."""
    at_hz = np.linspace(0, RATE_HZ / 2, fft // 2 + 1)
    low, high = (_mel(np.array(hz)) for hz in (low_hz, high_hz))
    edges_hz = _hz(np.linspace(low, high, bands + 2))
    wide = np.diff(edges_hz)
    ramps = edges_hz[:, None] - at_hz
    rises, falls = -ramps[:-2] / wide[:-1, None], ramps[2:] / wide[1:, None]
    weights = np.maximum(0, np.minimum(rises, falls)).astype(np.float32)
    return (weights * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)


def _mel(hz: np.ndarray) -> np.ndarray:
    """Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, then logarithmic."""
    return np.where(hz >= 1000, 15 + np.log(np.maximum(hz, 1) / 1000) / (np.log(6.4) / 27), hz / (200 / 3))


def _hz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `_mel`."""
    return np.where(mel >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)), mel * (200 / 3))


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Log-mel energies, float32 (T, 40) with T = len(wave) // 160 + 1, about -11.5 (silence) to 5.

    wave: float32 mono at 16 kHz, -1..1. Column k is centred on sample 160 k; outside is silence.
    """
    padded = np.pad(np.asarray(wave, np.float32), (_FFT // 2, _FFT // 2 + HOP))
    count = len(wave) // HOP + 1
    window = np.zeros(_FFT, np.float32)
    edge = (_FFT - _WINDOW) // 2
    window[edge : edge + _WINDOW] = np.hanning(_WINDOW + 1)[:-1]
    out = np.empty((count, MELS), np.float32)
    for start in range(0, count, 3000):
        stop = min(count, start + 3000)
        block = padded[start * HOP : (stop - 1) * HOP + _FFT]
        frames = np.lib.stride_tricks.sliding_window_view(block, _FFT)[::HOP]
        power = np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32) ** 2
        out[start:stop] = np.log(power @ mel_filters(MELS, _FFT, 60.0, 7600.0).T + 1e-5)
    return out


def at_times(signal_TK: np.ndarray, times_s: np.ndarray, rate_hz: float = RATE_HZ / HOP) -> np.ndarray:
    """A feature track read at arbitrary times, linear between columns: (len(times_s), K)."""
    position = np.clip(np.asarray(times_s) * rate_hz, 0, len(signal_TK) - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(signal_TK) - 1)
    part = (position - low)[:, None].astype(signal_TK.dtype)
    return signal_TK[low] * (1 - part) + signal_TK[high] * part
