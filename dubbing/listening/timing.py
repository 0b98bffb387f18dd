"""When a word begins and ends: from where a network looked while it wrote it, and from where the sound rises.

Where Whisper looks is sure to a tenth of a second inside running speech, and loose beside pauses: there the sound
itself says it. Knows no network and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

__all__ = ["aligned", "settled"]

_EARLY_S, _LATE_S = 0.25, 0.35  # a word that begins, or ends, so near a stretch's edge reaches it
_NEAR_S = 0.6  # a word outside of all speech belongs to a stretch at most so far away
_LEAST_S = 0.02


class _Timed(Protocol):
    """Anything with a time, in seconds: a frozen dataclass."""

    @property
    def start_s(self) -> float: ...

    @property
    def end_s(self) -> float: ...


W = TypeVar("W", bound=_Timed)


def aligned(attention: np.ndarray) -> np.ndarray:
    """The step at which each row begins, int64 (N,), where every row gets at least one step, in order, and the sum of
    what they look at is the greatest (Viterbi's way through it).

    attention: float (N, steps); with fewer steps than rows, several rows begin at one.
    """
    rows, steps = attention.shape
    times = max(1, -(-rows // steps))
    if times > 1:
        attention = np.repeat(attention, times, axis=1)
    best = np.full(rows, -np.inf)
    best[0] = attention[0, 0]
    came = np.zeros((attention.shape[1], rows), bool)  # whether the best way came from the row before
    for step in range(1, attention.shape[1]):
        before = np.concatenate([[-np.inf], best[:-1]])
        came[step] = before > best
        best = np.where(came[step], before, best) + attention[:, step]
    begins = np.zeros(rows, np.int64)
    row = rows - 1
    for step in range(attention.shape[1] - 1, 0, -1):
        if came[step, row]:
            begins[row] = step
            row -= 1
    return begins // times


def settled(words: Sequence[W], speech_s: np.ndarray) -> list[W]:
    """The same words where speech is: one that reaches over a pause lies in the stretch with more of it, the first word
    of a stretch begins with it, and the last one ends with it, where they are near.

    words: in order; speech_s: float (S, 2), stretches in which someone speaks, sorted and apart. No word ends after the
    next one begins.
    """
    if not len(speech_s) or not words:
        return list(words)
    stretches = [_stretch(w, speech_s) for w in words]
    for n in range(1, len(words)):  # in order: what lies in an earlier stretch than the word before goes with that
        stretches[n] = max(stretches[n], stretches[n - 1])
    found: list[W] = []
    for n, word in enumerate(words):
        mine = stretches[n]
        if mine < 0:
            found.append(word)
            continue
        begin, end = (float(v) for v in speech_s[mine])
        first, last = min(max(word.start_s, begin), end - _LEAST_S), min(max(word.end_s, begin + _LEAST_S), end)
        if (n == 0 or stretches[n - 1] != mine) and first - begin < _EARLY_S:
            first = begin
        if (n + 1 == len(words) or stretches[n + 1] != mine) and end - last < _LATE_S:
            last = end
        found.append(replace(word, start_s=first, end_s=max(last, first + _LEAST_S)))  # type: ignore[type-var]
    for n in range(len(found) - 1, 0, -1):
        if found[n - 1].start_s > found[n].start_s:
            found[n - 1] = replace(found[n - 1], start_s=found[n].start_s)  # type: ignore[type-var]
        if found[n - 1].end_s > found[n].start_s:
            found[n - 1] = replace(found[n - 1], end_s=found[n].start_s)  # type: ignore[type-var]
    return found


def _stretch(word: _Timed, speech_s: np.ndarray) -> int:
    """The stretch in which most of a word lies, the later one where it is as much; else the nearest; -1: none is."""
    common = np.minimum(speech_s[:, 1], word.end_s) - np.maximum(speech_s[:, 0], word.start_s)
    if common.max() > 0:
        return int(len(common) - 1 - np.argmax(common[::-1]))
    return int(np.argmax(common)) if common.max() > -_NEAR_S else -1
