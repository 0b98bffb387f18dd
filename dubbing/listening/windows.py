"""What of a sound is given to the network at once: its speech, in windows of up to 20 s, with the long pauses left out.

A window knows where each of its moments lies in the sound. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dubbing.sound import RATE_HZ

__all__ = ["Window", "windows"]

_LONGEST = 20 * RATE_HZ
_AROUND = RATE_HZ // 5  # sound kept before and after speech; pauses up to twice this stay whole
_LEAST = 3 * RATE_HZ  # no window is halved below this
_HOP = RATE_HZ // 100


@dataclass(frozen=True)
class Window:
    """Some of a sound. pieces: sample ranges at 16 kHz, in order and apart."""

    pieces: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return sum(b - a for a, b in self.pieces)

    @property
    def start_s(self) -> float:
        """Where it begins in the sound."""
        return self.pieces[0][0] / RATE_HZ

    @property
    def end_s(self) -> float:
        """Where it ends in the sound."""
        return self.pieces[-1][1] / RATE_HZ

    def wave(self, sound: np.ndarray) -> np.ndarray:
        """Its samples, float32 (T,) in -1..1, of a sound of int16 (T,)."""
        return np.concatenate([sound[a:b] for a, b in self.pieces]).astype(np.float32) / np.float32(32767.0)

    def at_s(self, time_s: float, *, end: bool = False) -> float:
        """The moment of the sound at a moment of the window. end: of what ends there, and not of what begins."""
        left = time_s * RATE_HZ
        for a, b in self.pieces:
            if left < b - a or (end and left <= b - a):
                return (a + left) / RATE_HZ
            left -= b - a
        return self.end_s

    def halves(self, sound: np.ndarray) -> tuple[Window, Window] | None:
        """The same in two, cut where it is quietest around its middle; None where it is too short for that."""
        if len(self) < 2 * _LEAST:
            return None
        third = len(self) // 3
        cut = third + _quietest(self.wave(sound)[third : len(self) - third])
        before: list[tuple[int, int]] = []
        after: list[tuple[int, int]] = []
        for a, b in self.pieces:
            if cut > 0:
                before.append((a, min(b, a + cut)))
            if cut < b - a:
                after.append((a + max(0, cut), b))
            cut -= b - a
        return Window(tuple(before)), Window(tuple(after))


def windows(sound: np.ndarray, speech: np.ndarray, around: int = _AROUND) -> list[Window]:
    """All speech of a sound in windows of at most 20 s.

    sound: int16 (T,); speech: int (S, 2) sample ranges, sorted; around: samples that are kept before and after them.
    """
    pieces: list[tuple[int, int]] = []
    for a, b in speech:
        first, last = max(0, int(a) - around), min(len(sound), int(b) + around)
        if pieces and first <= pieces[-1][1]:
            first, _ = pieces.pop()
        while last - first > _LONGEST:
            at = first + _LONGEST // 2 + _quietest(sound[first + _LONGEST // 2 : first + _LONGEST])
            pieces.append((first, at))
            first = at
        pieces.append((first, last))
    found: list[list[tuple[int, int]]] = []
    for piece in pieces:
        if found and sum(b - a for a, b in found[-1]) + piece[1] - piece[0] <= _LONGEST:
            found[-1].append(piece)
        else:
            found.append([piece])
    return [Window(tuple(one)) for one in found]


def _quietest(wave: np.ndarray) -> int:
    """The middle of the quietest 50 ms of some samples (T,), as a number of samples."""
    hops = np.asarray(wave[: len(wave) // _HOP * _HOP], np.float64).reshape(-1, _HOP)
    power = np.convolve((hops**2).mean(1), np.ones(5), "valid")
    return (int(np.argmin(power)) + 2) * _HOP + _HOP // 2 if len(power) else len(wave) // 2
