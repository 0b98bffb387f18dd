"""Where in a sound someone speaks: silero-vad's answers, sharpened by energy.

silero-vad (its weights come in its wheel) answers for 32 ms at a time; what is digitally silent is never speech.
"""

from __future__ import annotations

import numpy as np

from dubbing.analysis.silero import CHUNK, Silero
from dubbing.sound import RATE_HZ

__all__ = ["CHUNK", "Listener", "samples16", "speech_ranges"]

_BEGINS, _ENDS = 0.5, 0.35  # chances of speech
_PAUSE, _SHORTEST = 4, 3  # chunks, that is 128 and 96 ms
_HOP = RATE_HZ // 100
_SILENT = 2  # int16 code values: nothing louder is digital silence


class Listener:
    """silero-vad on one sound after another, each given in blocks."""

    def __init__(self) -> None:
        self._network = Silero()
        self.begin()

    def begin(self) -> None:
        """What comes is another sound."""
        self._network.begin()
        self._rest = np.zeros(0, np.float32)

    def hear(self, block: np.ndarray) -> list[float]:
        """The chance of speech, 0..1, in each chunk that is complete with this block, float32 (T,) at 16 kHz."""
        heard = np.concatenate([self._rest, block])
        whole = len(heard) // CHUNK * CHUNK
        self._rest = heard[whole:]
        return [float(one) for one in self._network.hear(heard[:whole])]


def samples16(block: np.ndarray) -> np.ndarray:
    """Samples in -1..1 as int16 (T,), as analysed sound is kept."""
    return np.clip(np.rint(block * 32767.0), -32767, 32767).astype(np.int16)


def speech_ranges(wave: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The stretches in which someone speaks, int64 (S, 2) sample ranges, sorted and apart.

    wave: int16 (T,) at 16 kHz; chance: silero-vad's answer for each 512 samples, from sample 0.
    """
    rough = _rough(chance, len(wave))
    level, silent = _levels(wave)
    speaks = np.zeros(len(level), bool)
    limits = [0, *(start // _HOP for start, _ in rough), len(level)]
    for n, (start, end) in enumerate(rough):
        first, last = start // _HOP, min(-(-end // _HOP), len(level))
        end_before = min(rough[n - 1][1] // _HOP, first) if n else 0
        a, b = _sharpen(level, first, last, end_before, limits[n + 2])
        speaks[a:b] = True
    speaks &= ~silent
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speaks.astype(np.int8), [0]]))).reshape(-1, 2)
    edges = edges[edges[:, 1] - edges[:, 0] >= 3]
    return np.minimum(edges.astype(np.int64) * _HOP, len(wave))


def _rough(chance: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Ranges of samples [start, end) that are speech, as silero-vad's package puts its answers together: speech begins
    where the chance reaches _BEGINS, and ends where it falls below _ENDS and is not back at _BEGINS within _PAUSE
    chunks; up to _SHORTEST chunks are none. count: samples of the sound, at which the last one may end."""
    found: list[tuple[int, int]] = []
    start, quiet = -1, -1  # chunks where speech began, and where it seemed to end; -1: it did not
    for n, one in enumerate(chance.tolist()):
        if one >= _BEGINS:
            start, quiet = n if start < 0 else start, -1
        elif one < _ENDS and start >= 0:
            quiet = n if quiet < 0 else quiet
            if n - quiet >= _PAUSE:
                found.append((start * CHUNK, quiet * CHUNK))
                start = quiet = -1
    if start >= 0:
        found.append((start * CHUNK, count))
    return [(a, b) for a, b in found if b - a > _SHORTEST * CHUNK]


def _levels(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dB of every 10 ms (float32), and which of them lie in a digital silence of at least 30 ms."""
    count = len(wave) // _HOP
    level = np.full(count, -120.0, np.float32)
    loud = np.zeros(count, np.int16)
    for start in range(0, count, 6000):
        stop = min(count, start + 6000)
        block = np.asarray(wave[start * _HOP : stop * _HOP], np.float32).reshape(-1, _HOP)
        level[start:stop] = 10 * np.log10((block**2).mean(1) / 32768.0**2 + 1e-12)
        loud[start:stop] = np.abs(block).max(1)
    silent = loud <= _SILENT
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]]))).reshape(-1, 2)
    for a, b in edges:
        if b - a < 3:
            silent[a:b] = False
    return level, silent


def _sharpen(level: np.ndarray, first: int, last: int, lowest: int, highest: int) -> tuple[int, int]:
    """Move a stretch's ends, in hops, to where the sound rises out of its surroundings and falls back.

    Inward over what is 30 dB below the stretch's loud parts; outward, up to 0.15 s, over what is not.
    """
    loud = float(np.percentile(level[first:last], 90)) if last > first else -120.0
    around = level[max(0, first - 50) : last + 50]
    floor = max(loud - 30.0, min(float(np.percentile(around, 5)) + 8.0, loud - 12.0))
    above = level > floor
    inside = np.flatnonzero(above[first:last])
    if len(inside) == 0:
        return first, last
    a, b = first + int(inside[0]), first + int(inside[-1]) + 1
    if a == first:
        while a > max(lowest, first - 15) and above[a - 1]:
            a -= 1
    if b == last:
        while b < min(highest, last + 15) and above[b]:
            b += 1
    return a, b
