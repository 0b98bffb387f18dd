"""What the speech-driven GAN is given: windows of MFCCs, 25 a second, chance, and a still. Numpy only.

A tick is 1/25 s, 640 samples at 16 kHz; tick k of a sound is [k/25 s, (k+1)/25 s). It hears the 20 columns of
MFCCs (see `networks.mfcc`; 0.215 s) whose middle lies 2.5 ms before its own, the nearest that whole columns allow.
The paper hears 0.2 s; 13 x 20 is what the published audio networks of the VGG-M shape take (SyncNet). Pictures are
BGR 0..1. It knows no network.
"""

from __future__ import annotations

import numpy as np

from dubbing.networks.mfcc import BANDS, HOP, SIZE, mfcc, pcm_of

__all__ = ["CHANCE", "COLUMNS", "DEVIATION", "LEAD", "PICTURE_HW", "TICK", "between", "noise", "picture", "windows"]

PICTURE_HW = (128, 96)
COLUMNS = 20  # of 13 MFCCs, 100 a second
TICK = 640  # samples at 16 kHz: 25 ticks a second
LEAD = 9 * HOP  # samples that a window begins before its tick
CHANCE, DEVIATION = 10, 0.77  # normal numbers a tick, and how far they spread around 0
_PER_TICK = TICK // HOP
# Speech's middle and spread by coefficient, about; silence's energy, -36, is taken for what lies just under any room's.
_MIDDLE = np.array([14.0] + [0.0] * (BANDS - 1))
_SPREAD = np.array([4.0] + [15.0] * (BANDS - 1))
_MOST = 4.0


def windows(wave_16k: np.ndarray, lead: int, count: int) -> np.ndarray:
    """The MFCCs that `count` ticks hear, float32 (count, 1, 13, 20), about -1..1 and never beyond +-4.

    wave_16k: float mono samples -1..1; lead: how many of them lie before tick 0 (more than LEAD are not heard, fewer
    are filled up with silence, as is what lies behind the last). Any stretch gives the same numbers as the whole of a
    sound, where it has the LEAD samples and one more before, and 2000 samples behind its last tick's beginning.
    """
    held = min(lead, LEAD)
    need = (count - 1) * TICK + (COLUMNS - 1) * HOP + SIZE
    first = lead - held
    pcm = pcm_of(wave_16k[first : first + need - LEAD + held])
    pcm = np.pad(pcm, (LEAD - held, max(0, need - len(pcm) - LEAD + held)))
    before = float(pcm_of(wave_16k[first - 1 : first]).sum()) if first > 0 else 0.0
    found = np.clip((mfcc(pcm, before) - _MIDDLE) / _SPREAD, -_MOST, _MOST).astype(np.float32)
    seen = np.lib.stride_tricks.sliding_window_view(found, COLUMNS, axis=0)[::_PER_TICK][:count]
    return np.ascontiguousarray(seen[:, None])


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """Chance for `count` ticks, float32 (count, 10): normal, mean 0, deviation 0.77. In parts the same as at once."""
    return (rng.standard_normal((count, CHANCE)) * DEVIATION).astype(np.float32)


def picture(bgr_NHWC: np.ndarray) -> np.ndarray:
    """Pictures as the networks take them, float32 (N, 3, 128, 96), 0..1, of uint8 (N, 128, 96, 3)."""
    return np.ascontiguousarray(np.moveaxis(bgr_NHWC, -1, 1), np.float32) / 255


def between(times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of moments among the middles of ticks: the tick before (N,), int, and how far to the next, 0..1 (N,).

    times_s: seconds from the beginning of tick 0; moments before its middle count as its middle.
    """
    at = np.maximum(np.asarray(times_s, np.float64) * 16_000 / TICK - 0.5, 0)
    at = np.where(np.abs(at - np.rint(at)) < 1e-6, np.rint(at), at)
    return at.astype(np.int64), at - np.floor(at)
