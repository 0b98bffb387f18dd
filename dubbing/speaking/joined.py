"""Speech put together out of pieces and pauses, without silence at its ends. Knows no voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dubbing.phones import Phone
from dubbing.speaking import Break, Speech

__all__ = ["joined", "trimmed"]

_QUIET = 0.006  # of full scale: about -44 dBFS
_EDGE_S = 0.01


def trimmed(one: Speech) -> Speech:
    """The same without the silence at its ends; its phones keep their places in it."""
    loud = np.flatnonzero(np.abs(one.samples) > _QUIET)
    if not len(loud):
        return Speech(one.samples[:0], one.rate_hz, ())
    edge = round(_EDGE_S * one.rate_hz)
    first, last = max(0, int(loud[0]) - edge), min(len(one.samples), int(loud[-1]) + 1 + edge)
    start_s, lasts_s = first / one.rate_hz, (last - first) / one.rate_hz
    phones = []
    for p in one.phones:
        a, b = max(0.0, p.start_s - start_s), min(lasts_s, p.end_s - start_s)
        if b > a:
            phones.append(Phone(p.symbol, a, b))
    return Speech(one.samples[first:last], one.rate_hz, tuple(phones))


def joined(parts: Sequence[Speech | Break], rate_hz: int) -> Speech:
    """One after the other, with pauses between them; those at either end are left out."""
    waves: list[np.ndarray] = []
    phones: list[Phone] = []
    at, pause = 0, 0.0
    for part in parts:
        if isinstance(part, Break):
            pause += part.seconds
            continue
        one = trimmed(part)
        if not len(one.samples):
            continue
        if at:
            waves.append(np.zeros(round(pause * rate_hz), np.float32))
            at += len(waves[-1])
        phones += [Phone(p.symbol, p.start_s + at / rate_hz, p.end_s + at / rate_hz) for p in one.phones]
        waves.append(one.samples)
        at, pause = at + len(one.samples), 0.0
    wave = np.concatenate(waves) if waves else np.zeros(0, np.float32)
    return Speech(wave.astype(np.float32), rate_hz, tuple(phones))
