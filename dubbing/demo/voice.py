"""Speech for the demo, and the lips that go with it. Knows no picture and no file.

`say` asks the espeak program (a child process); `lips` turns its phones into a mouth: visemes as targets
in time, joined by cosine ramps and smoothed (coarticulation), with lips that truly close for p, b, m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dubbing.errors import InputError
from dubbing.speaking import espeak_ng

__all__ = ["RATE_HZ", "Speech", "Utterance", "lips", "say"]

RATE_HZ = 48_000


@dataclass(frozen=True)
class Utterance:
    """What to say, in which espeak voice, in at most longest_s seconds (it is sped up until it fits)."""

    text: str
    voice: str
    longest_s: float


@dataclass(frozen=True, eq=False)
class Speech:
    """samples: float32 mono at 48 kHz, peak 0.5, no silence at its ends; phones: (start_s, end_s, mnemonic)."""

    samples: np.ndarray
    phones: tuple[tuple[float, float, str], ...]


# espeak mnemonics without stress marks, longest match first: (opening 0..1, spread -1..1) at one or two instants.
_VISEMES: dict[str, tuple[tuple[float, float], ...]] = {
    "_": ((0.0, 0.0),),
    **dict.fromkeys(("p", "b", "m"), ((0.0, 0.0),)),
    **dict.fromkeys(("f", "v"), ((0.16, 0.1),)),
    **dict.fromkeys(("w", "u:", "u", "U"), ((0.24, -1.0),)),
    **dict.fromkeys(("o:", "o", "oU", "O", "O:", "O2"), ((0.62, -0.6), (0.34, -0.95))),
    **dict.fromkeys(("aU",), ((0.95, -0.1), (0.4, -0.8))),
    **dict.fromkeys(("aI",), ((0.95, 0.0), (0.42, 0.6))),
    **dict.fromkeys(("OI",), ((0.6, -0.7), (0.4, 0.5))),
    **dict.fromkeys(("eI", "e:", "e", "E:", "E", "E2"), ((0.62, 0.35), (0.5, 0.5))),
    **dict.fromkeys(("a", "a:", "A:", "A", "aa", "0"), ((1.0, -0.05),)),
    **dict.fromkeys(("V", "@", "3:", "3", "a#"), ((0.58, 0.0),)),
    **dict.fromkeys(("i:", "i", "I", "I2", "j"), ((0.36, 0.75),)),
    **dict.fromkeys(("S", "Z", "tS", "dZ", "c", "J"), ((0.24, -0.5),)),
    **dict.fromkeys(("r", "R"), ((0.3, -0.35),)),
    **dict.fromkeys(("t", "d", "n", "s", "z", "l", "T", "D"), ((0.26, 0.2),)),
    **dict.fromkeys(("k", "g", "N", "h", "H", "x"), ((0.4, 0.0),)),
}
_CLOSED = ("p", "b", "m")
_STEP_HZ = 400


def say(utterances: Sequence[Utterance]) -> list[Speech]:
    """Speak; the same list gives the same samples. Raises InputError when espeak-ng is not installed or fails."""
    if not utterances:
        return []
    if espeak_ng.absent():
        raise InputError("The demo speaks with espeak-ng, which is not installed: pip install 'dubbing[demo]'.")
    answer = espeak_ng.ask({"do": "say", "utterances": [vars(u) for u in utterances]})
    rate_hz = int(answer["rate_hz"])
    return [
        _speech(answer[f"wave_{n}"], answer[f"at_{n}"], answer[f"name_{n}"], rate_hz) for n in range(len(utterances))
    ]


def _speech(wave: np.ndarray, at: np.ndarray, names: np.ndarray, rate_hz: int) -> Speech:
    from scipy.signal import resample_poly

    common = np.gcd(RATE_HZ, rate_hz)
    samples = resample_poly(wave.astype(np.float64), RATE_HZ // common, rate_hz // common)
    ramp = np.linspace(0, 1, RATE_HZ // 200)
    samples[: len(ramp)] *= ramp
    samples[-len(ramp) :] *= ramp[::-1]
    samples *= 0.5 / np.abs(samples).max()
    ends = np.append(at[1:], len(wave))
    phones = tuple((s / rate_hz, e / rate_hz, str(n)) for s, e, n in zip(at, ends, names, strict=True) if e > s)
    return Speech(samples.astype(np.float32), phones)


def _viseme(mnemonic: str) -> tuple[tuple[float, float], ...]:
    name = mnemonic.lstrip("',%=_|") or "_"
    for length in range(len(name), 0, -1):
        if name[:length] in _VISEMES:
            return _VISEMES[name[:length]]
    return ((0.4, 0.0),)


def lips(speech: Speech, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mouth at times counted from the speech's first sample: opening 0..1 and spread -1..1, each float64 (N,).

    Both are 0 well before and after the speech; the mouth opens about 0.1 s early, as mouths do.
    """
    from scipy.ndimage import gaussian_filter1d

    end_s = len(speech.samples) / RATE_HZ
    pad_s = 0.5
    clock_s = np.arange(-pad_s, end_s + pad_s, 1 / _STEP_HZ)
    keys = [(-pad_s, 0.0, 0.0), (-0.1, 0.0, 0.0)]
    shut = np.zeros_like(clock_s)
    for start, stop, name in speech.phones:
        viseme = _viseme(name)
        bare = name.lstrip("',%=")
        if bare[:1] == "_" and stop - start > 0.2:
            keys += [(start + 0.12, 0.0, 0.0), (stop - 0.09, 0.0, 0.0)]
        elif bare[:1] != "_":
            keys += [
                (start + (stop - start) * (k + 1) / (len(viseme) + 1), opening, spread)
                for k, (opening, spread) in enumerate(viseme)
            ]
        if bare[:1] in _CLOSED:
            shut[(clock_s >= start) & (clock_s < min(stop, start + 0.11))] = 1
    keys += [(end_s + 0.1, 0.0, 0.0), (end_s + pad_s, 0.0, 0.0)]
    key_s, opening_K, spread_K = (np.array(v) for v in zip(*sorted(keys), strict=True))
    after = np.clip(np.searchsorted(key_s, clock_s, side="right"), 1, len(key_s) - 1)
    part = (clock_s - key_s[after - 1]) / np.maximum(key_s[after] - key_s[after - 1], 1e-6)
    part = 0.5 - 0.5 * np.cos(np.pi * np.clip(part, 0, 1))
    smooth = 0.022 * _STEP_HZ
    opening = gaussian_filter1d(opening_K[after - 1] * (1 - part) + opening_K[after] * part, smooth)
    spread = gaussian_filter1d(spread_K[after - 1] * (1 - part) + spread_K[after] * part, 1.6 * smooth)
    opening *= 1 - gaussian_filter1d(shut, 0.012 * _STEP_HZ)
    return np.interp(times_s, clock_s, opening, 0, 0), np.interp(times_s, clock_s, spread, 0, 0)
