"""Lines with times said within them: the rate of each, and which of them do not fit. Knows no file and no film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from dubbing.speaking import Passage, Speech, Synthesiser

__all__ = ["Slot", "TooLong", "apart", "said_within"]

_NEAR = 0.03  # of a rate: nearer to 1 than this, a line is said at the voice's own
_TRIES = 4
_LEAST_S = 0.3  # of a line that is stretched: a word alone sounds odd


@dataclass(frozen=True)
class Slot:
    """One line. number: its place in its list, from 1; start_s, end_s: seconds of the sound; passage: what is said."""

    number: int
    start_s: Fraction
    end_s: Fraction
    passage: Passage

    @property
    def lasts_s(self) -> float:
        return float(self.end_s - self.start_s)


@dataclass(frozen=True)
class TooLong:
    """A line that does not fit. needs_s: at the fastest rate."""

    slot: Slot
    needs_s: float


def said_within(
    synthesiser: Synthesiser, voice: str, slots: Sequence[Slot], slowest: float, fastest: float
) -> tuple[list[Speech], list[float], list[TooLong]]:
    """What is said in each slot, none longer than it, each as long as its rate allows; the rates, times the voice's
    own; and those that do not fit at the fastest, which are said as fast as that."""
    lasts = np.array([s.lasts_s for s in slots])
    rates = np.ones(len(slots))
    said = synthesiser.speak([s.passage for s in slots], voice, rates.tolist())
    for tried in range(_TRIES):
        took = np.array([one.lasts_s for one in said])
        wanted = np.clip(rates * took / lasts, slowest, fastest)
        if tried:
            wanted = np.where(took > lasts, np.minimum(np.maximum(wanted, rates * 1.04), fastest), rates)
        wanted = np.where(took < _LEAST_S, np.maximum(wanted, 1.0), wanted)
        if not tried:
            wanted = np.where((np.abs(wanted - 1) < _NEAR) & (took <= lasts), 1.0, wanted)
        again = np.flatnonzero(np.abs(wanted - rates) > 1e-9)
        if not len(again):
            break
        if tried == _TRIES - 1:
            wanted[again] = fastest
        anew = synthesiser.speak([slots[n].passage for n in again], voice, wanted[again].tolist())
        for n, one in zip(again.tolist(), anew, strict=True):
            said[n], rates[n] = one, wanted[n]
    long = [TooLong(s, one.lasts_s) for s, one in zip(slots, said, strict=True) if one.lasts_s > s.lasts_s + 1e-6]
    return said, [round(float(r), 3) for r in rates], long


def apart(slots: Sequence[Slot]) -> list[Slot]:
    """The same, each ended where the next one begins."""
    ends = [min(s.end_s, after.start_s) for s, after in zip(slots, slots[1:], strict=False)]
    return [replace(s, end_s=e) for s, e in zip(slots, [*ends, *(s.end_s for s in slots[-1:])], strict=True)]
