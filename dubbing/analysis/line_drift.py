"""Whether a list of lines fits the sound of its dub: an offset, or times made for another frame rate, in numbers.

Where there are lines and where there is speech are compared, for every shift at once (a correlation by Fourier
transform) and for the factors by which frame rates in use are mistaken for each other. It changes no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from dubbing.analysis.lines import SpokenLine
from dubbing.sound import RATE_HZ

__all__ = ["drift"]

_HZ = 50  # steps a second
_RATES = (Fraction(24000, 1001), Fraction(24), Fraction(25))
_FACTORS = tuple(sorted({a / b for a in _RATES for b in _RATES} | {Fraction(1001, 1000), Fraction(1000, 1001)}))
_SURE = 0.5  # correlation from which a fit is believed
_BETTER = 0.15  # than as written: less is the looseness of lists
_BETTER_RATE = 0.05  # another factor must be so much better than a mere shift
_FITS_S = 0.25
_LEAST_LINES = 3
_LONGEST_S = 12 * 3600


def drift(lines: Sequence[SpokenLine], speech: np.ndarray, film_s: float) -> str | None:
    """What is wrong with all the times of a list, with the right value, as a sentence; None where nothing is, or it
    cannot be told.

    lines: in order of their beginnings; speech: int (S, 2), ranges of 16 kHz samples from frame 0; film_s: seconds of
    the film.
    """
    count = int(film_s * _HZ)
    if len(lines) < _LEAST_LINES or count < _HZ or not len(speech):
        return None
    if max(line.end_s for line in lines) - lines[0].start_s > _LONGEST_S:
        return f"its first and last lines are over {_LONGEST_S // 3600} hours apart: take out what is of another film"
    said_T = _mask(((a / RATE_HZ, b / RATE_HZ) for a, b in speech.tolist()), 1.0, count)
    fits = {}
    for factor in _FACTORS:
        fits[factor] = _fits(lines, float(factor), said_T)
    shifts, plain = fits[Fraction(1)]
    as_written = float(plain[np.abs(shifts) <= _FITS_S * _HZ].max(initial=0.0))
    factor = max(fits, key=lambda f: fits[f][1].max())
    if fits[factor][1].max() < plain.max() + _BETTER_RATE:
        factor = Fraction(1)
    shifts, found = fits[factor]
    best = float(found.max())
    offset_s = float(shifts[int(found.argmax())]) / _HZ
    if best < _SURE or best < as_written + _BETTER:
        return None
    move = f"add {offset_s:.2f} s" if offset_s > 0 else f"subtract {-offset_s:.2f} s"
    hours = round(offset_s / 3600)
    if hours and abs(offset_s - 3600 * hours) < _FITS_S:
        move = f"{'add' if hours > 0 else 'subtract'} {abs(hours):02d}:00:00:00"
    if factor != 1:
        shift = f", then {move}" if abs(offset_s) > _FITS_S else ""
        return (
            f"their times fit the dub's speech if they are multiplied by {factor} ({float(factor):.4f}){shift}: they "
            f"look made for {_rates(factor)}"
        )
    return f"they lie {abs(offset_s):.2f} s {'early' if offset_s > 0 else 'late'} against the dub's speech: {move}"


def _rates(factor: Fraction) -> str:
    """Of which mistake a factor tells."""
    if factor in (Fraction(1001, 1000), Fraction(1000, 1001)):
        return "timecode that counts drop-frame where the film's does not (or 24 for 23.976)"
    fast, slow = ("faster", "slower") if factor > 1 else ("slower", "faster")
    return f"a {fast} version (25 frames a second for 24), and the film is the {slow} one"


def _fits(lines: Sequence[SpokenLine], factor: float, said_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How well the lines fit at every shift: (steps to add, correlation with the speech times the part inside)."""
    count = len(said_T)
    base_s = float(lines[0].start_s)
    times_s = [(float(x.start_s) - base_s, float(x.end_s) - base_s) for x in lines]
    line_T = _mask(times_s, factor, int(max(b for _, b in times_s) * factor * _HZ) + 1)
    size = 1 << (count + len(line_T)).bit_length()
    both = np.fft.irfft(np.fft.rfft(said_T, size) * np.conj(np.fft.rfft(line_T, size)), size)
    shifts = np.arange(-len(line_T) + 1, count)
    both = both[shifts]
    sums = np.concatenate([[0.0], np.cumsum(line_T)])
    inside = sums[np.clip(count - shifts, 0, len(line_T))] - sums[np.clip(-shifts, 0, len(line_T))]
    spoken = said_T.sum()
    spread = (count * spoken - spoken**2) * (count * inside - inside**2)
    fit = (count * both - spoken * inside) / np.sqrt(np.maximum(spread, 1e-9))
    return shifts - round(base_s * factor * _HZ), np.where(spread > 1e-6, fit, 0.0) * inside / max(sums[-1], 1.0)


def _mask(ranges: Iterable[tuple[float, float]], factor: float, count: int) -> np.ndarray:
    out = np.zeros(count)
    for a, b in ranges:
        out[round(a * factor * _HZ) : round(b * factor * _HZ)] = 1.0
    return out
