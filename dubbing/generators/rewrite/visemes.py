"""What a mouth does for phones that are known, because who spoke them told them (text to speech).

What the prior hears in made voices is right on the whole and blurred in the particular: of a p, b or m it is sure in
half of all cases. So what it hears is mixed with what mouths do for each class of phones, and lips shut exactly where,
and only where, one of those is said. Both were measured (LOG); phones alone follow a sound worse than listening does.
Knows no sound and no actor; letters that it does not know change nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.generators.rewrite.hearing import STEP_HZ
from dubbing.phones import Phone

__all__ = ["CLASSES", "SHARE", "classes", "open_at", "told"]

SHARE = 0.3  # of what is told, beside what is heard
_TOGETHER_S = 0.04  # standard deviation over which neighbouring phones share a mouth
_FINE_HZ = 400
_LETTERS = {
    "shut": "pbmɓʙ", "lip_teeth": "fvʋɱ", "round": "wʍɥβɸ", "th": "θð", "stop": "tdɗʈɖɾ", "nasal": "nɲɳɴ",
    "lateral": "lɫɭʎʟɬɮ", "s": "szɧ", "sh": "ʃʒʂʐɕʑ", "r": "ɹɻrʁɽʀɺ", "k": "kɡgŋxɣqɢχcɟçʝɰ", "j": "j", "i": "iɪɨ",
    "e": "eɛɘ", "ae": "æa", "open": "ɑɐ", "mid": "ʌəɜɚɝɤ", "o": "oɔɒɵ", "u": "uʊɯʉyʏøœ",
}  # fmt: skip
# Shape coefficients, z-scored, as the prior's are: fitted on what it hears in 40 sentences of each of two made voices
# (ridge; every phone spread as above), whose numbers agree (bench/visemes.py).
_TARGETS = {
    "shut": (-1.02, 0.01, 0.47, -0.44, 0.17, 0.22, 0.27, 0.24),
    "lip_teeth": (-0.71, 0.30, -0.04, -0.12, 0.07, 0.65, 0.29, 0.19),
    "round": (-1.00, -1.10, 0.59, -0.11, 0.44, 0.40, -0.01, 0.02),
    "th": (-0.14, 0.59, -0.23, -0.07, -0.07, -0.13, -0.10, -0.04),
    "stop": (0.00, 0.20, -0.31, 0.00, 0.03, -0.07, 0.02, 0.08),
    "nasal": (0.23, 0.39, 0.07, -0.03, -0.13, 0.01, -0.12, -0.08),
    "lateral": (-0.16, -0.25, 0.22, 0.14, 0.17, -0.16, -0.15, -0.08),
    "s": (0.13, 0.30, -0.72, 0.06, -0.11, 0.05, 0.02, 0.14),
    "sh": (0.49, 0.02, -0.65, 0.25, -0.09, -0.05, 0.01, -0.02),
    "r": (-0.57, -0.69, -0.09, 0.24, 0.39, 0.76, 0.00, -0.21),
    "k": (0.25, 0.15, -0.14, 0.12, -0.14, -0.29, -0.17, 0.08),
    "j": (0.34, -0.12, -0.33, 0.06, -0.25, -0.24, -0.10, -0.12),
    "i": (0.43, 0.37, 0.07, -0.02, -0.28, -0.39, -0.01, 0.09),
    "e": (0.50, 0.43, 0.69, 0.09, -0.22, -0.01, 0.34, -0.19),
    "ae": (0.99, 0.41, 0.93, -0.10, -0.33, -0.15, 0.15, -0.08),
    "open": (0.62, -0.25, 0.44, -0.02, -0.08, 0.12, -0.21, -0.04),
    "mid": (-0.07, -0.21, -0.11, -0.04, 0.16, 0.20, -0.09, -0.11),
    "o": (0.13, -0.79, 0.15, 0.13, -0.03, 0.40, 0.08, -0.09),
    "u": (0.00, -0.85, -0.09, 0.09, 0.38, 0.21, -0.23, -0.16),
}  # fmt: skip
CLASSES = tuple(_TARGETS)
_PLACE = {name: n for n, name in enumerate(_TARGETS)}
_CLASS = {letter: name for name, letters in _LETTERS.items() for letter in letters}
_SHUT_EDGE_S = 0.03  # before and after a closure, in which the lips close and part
_LEAST_STEPS = 25  # of phones, below which nothing is mixed: too few to be scaled


def told(heard_TF: np.ndarray, phones: Sequence[Phone], share: float = SHARE) -> np.ndarray:
    """What is heard (`voice.heard`, float32 (T, F) at STEP_HZ) with what is known of phones in it.

    Its first columns, the coefficients, become a mixture of both, each of the same spread; the last, the chance that
    the lips are shut, becomes 0: where they are is known (`open_at`). share: 0..1, of what is known in the mixture.
    """
    coefs = len(next(iter(_TARGETS.values())))
    said_TG = classes(phones, len(heard_TF))
    on = said_TG.sum(1) > 0.5
    found = np.array(heard_TF)
    if on.sum() >= _LEAST_STEPS:
        here = heard_TF[:, :coefs].astype(np.float64)
        mean_K, std_K = here[on].mean(0), here[on].std(0)
        want = said_TG @ np.array(list(_TARGETS.values()))
        want = (want - want[on].mean(0)) / np.maximum(want[on].std(0), 1e-6) * std_K + mean_K
        found[on, :coefs] = (1 - share) * here[on] + share * want[on]
    found[:, -1] = 0.0
    return found


def open_at(phones: Sequence[Phone], times_s: np.ndarray) -> np.ndarray:
    """How much of its opening a mouth has at these times, 0..1, (N,): 0 while a p, b or m is said, and at the time
    nearest to the middle of each, so that none falls between two frames. times_s: rising."""
    left = np.ones(len(times_s))
    for start_s, end_s in _closures(phones):
        a = np.searchsorted(times_s, start_s - _SHUT_EDGE_S)
        b = np.searchsorted(times_s, end_s + _SHUT_EDGE_S, side="right")
        near = times_s[a:b]
        away = np.clip(np.maximum(start_s - near, near - end_s) / _SHUT_EDGE_S, 0, 1)
        left[a:b] = np.minimum(left[a:b], 0.5 - 0.5 * np.cos(np.pi * away))
        if b > a:
            left[a + int(np.argmin(np.abs(near - (start_s + end_s) / 2)))] = 0.0
    return left


def _closures(phones: Sequence[Phone]) -> list[tuple[float, float]]:
    """When lips are shut; of an affricate such as pf in its first part."""
    found = []
    for p in phones:
        letters = _letters(p.symbol)
        if letters and _CLASS[letters[0]] == "shut":
            found.append((p.start_s, p.start_s + (p.end_s - p.start_s) / len(letters)))
    return found


def classes(phones: Sequence[Phone], count: int) -> np.ndarray:
    """How much of each of CLASSES is said at each step, float64 (count, classes)."""
    per = _FINE_HZ // STEP_HZ
    fine = np.zeros((count * per, len(_PLACE)))
    for p in phones:
        letters = _letters(p.symbol)
        edges = np.linspace(p.start_s, p.end_s, len(letters) + 1) * _FINE_HZ
        for n, letter in enumerate(letters):
            a, b = max(0, round(edges[n])), min(len(fine), max(round(edges[n + 1]), round(edges[n]) + 1))
            fine[a:b, _PLACE[_CLASS[letter]]] = 1.0
    return np.asarray(gaussian_filter1d(fine, _TOGETHER_S * _FINE_HZ, axis=0, mode="constant")[::per])


def _letters(symbol: str) -> list[str]:
    """The letters of a phone that say what the mouth does: two of a diphthong or an affricate."""
    return [c for c in unicodedata.normalize("NFD", symbol) if c in _CLASS]
