"""Whisper's log-mel: decades of energy in 80 bands, 100 columns a second, and both ways in which it is scaled.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision". 16 kHz; 400-sample periodic Hann
windows every 160 samples; power; 80 Slaney bands up to 8 kHz; log10. What lies 8 decades below the loudest column is
floor. Hugging Face's extractor takes pieces of 30 s, each with its own floor and silence behind the sound (`of_piece`);
OpenAI's takes a recording at once, one floor for all of it, and zeros behind the last column (`Whole`). Memory does not
grow with length but for the sound itself. It knows no network.
"""

from __future__ import annotations

import numpy as np

from dubbing.sound import RATE_HZ, mel_filters

__all__ = ["BANDS", "COLUMNS", "DEPTH", "FFT", "HOP", "PIECE", "Whole", "energies", "of_piece", "scaled"]

BANDS, FFT, HOP = 80, 400, 160
PIECE = 30 * RATE_HZ  # samples that the encoder hears at once
COLUMNS = PIECE // HOP  # of a piece
DEPTH = 8.0  # decades below the loudest that are heard
_BLOCK = 3000  # columns at a time
_LEAST = 1e-10


def energies(sound: np.ndarray, count: int) -> np.ndarray:
    """log10 of the energy in each band, float32 (count, 80); column n is of the samples from 160 n on.

    sound: float32, with half a window before the first column's middle and enough behind the last.
    """
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    out = np.empty((count, BANDS), np.float32)
    for start in range(0, count, _BLOCK):
        stop = min(count, start + _BLOCK)
        block = sound[start * HOP : (stop - 1) * HOP + FFT]
        frames = np.lib.stride_tricks.sliding_window_view(block, FFT)[::HOP]
        power = np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32) ** 2
        out[start:stop] = np.log10(np.maximum(power @ mel_filters(BANDS, FFT, 0.0, RATE_HZ / 2).T, _LEAST))
    return out


def scaled(energies_NM: np.ndarray, loudest: float) -> np.ndarray:
    """What whisper hears of energies: floored 8 decades below `loudest`, a quarter of a decade plus one."""
    return np.asarray((np.maximum(energies_NM, loudest - DEPTH) + 4) / 4, np.float32)


def of_piece(wave: np.ndarray) -> np.ndarray:
    """A piece of at most 30 s as Hugging Face's extractor has it, float32 (3000, 80). wave: float32 mono at 16 kHz."""
    sound = np.zeros(PIECE, np.float32)
    sound[: len(wave)] = wave[:PIECE]
    found = energies(np.pad(sound, FFT // 2, mode="reflect"), COLUMNS)
    return scaled(found, float(found.max()))


class Whole:
    """A recording as OpenAI's whisper has it: one floor for all of it. wave: float32 mono at 16 kHz."""

    def __init__(self, wave: np.ndarray) -> None:
        wave = np.asarray(wave, np.float32)
        self.columns = len(wave) // HOP
        """How many there are."""
        self._sound = np.pad(wave, FFT // 2, mode="reflect") if len(wave) > 1 else np.zeros(FFT, np.float32)
        blocks = range(0, self.columns, COLUMNS)
        self._loudest = max((float(self._block(a, min(self.columns, a + COLUMNS)).max()) for a in blocks), default=0.0)

    def piece(self, k: int) -> np.ndarray:
        """The columns from 3000 k on, float32 (3000, 80); zeros, which are no silence, behind the last."""
        start, stop = k * COLUMNS, min(self.columns, (k + 1) * COLUMNS)
        out = np.zeros((COLUMNS, BANDS), np.float32)
        if start < stop:
            out[: stop - start] = scaled(self._block(start, stop), self._loudest)
        return out

    def _block(self, start: int, stop: int) -> np.ndarray:
        return energies(self._sound[start * HOP : (stop - 1) * HOP + FFT], stop - start)
