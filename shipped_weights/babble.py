"""Made speech whose sounds are known: nonsense words in many espeak-ng languages and voices.

It teaches the prior what sounds look like beyond the few real speakers there are, and it belongs to
the project. Needs the optional extra `demo` (espeak-ng). Knows no picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dubbing.demo.voice import RATE_HZ as MADE_HZ
from dubbing.demo.voice import Speech, Utterance, lips, say
from dubbing.generators.rewrite.hearing import CLASSES, STEP_HZ
from dubbing.sound import RATE_HZ

__all__ = ["Babble", "babble"]

LANGUAGES = ("en-us", "en-GB-x-rp", "de", "fr", "es", "it", "pt-br", "pl", "cs", "hu", "tr", "fi", "nl",
             "sv", "ro", "hr", "id", "sw", "cmn", "ja", "ru", "hi", "ta", "te", "el")  # fmt: skip
VOICES = (
    "",
    "+f1",
    "+f2",
    "+f3",
    "+f4",
    "+f5",
    "+m1",
    "+m2",
    "+m3",
    "+m4",
    "+m5",
    "+m6",
    "+m7",
    "+klatt",
    "+klatt2",
    "+klatt3",
)
ONSETS = ("p", "t", "k", "b", "d", "g", "m", "n", "f", "v", "s", "z", "l", "r", "w", "j", "h",
          "sh", "ch", "st", "pr", "tr", "k", "m", "b", "l", "n", "s")  # fmt: skip
NUCLEI = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "au", "oo", "ee")
CODAS = ("n", "s", "r", "m", "l", "t", "k", "p", "d")
EDGE_S = 0.5  # silence before and after each utterance
AT_ONCE = 50  # utterances per espeak process
# espeak mnemonics of each class of `hearing.CLASSES` but silence; what is in none is told by its first letters.
_MNEMONICS = {
    "pbm": ("p", "b", "m"),
    "fv": ("f", "v"),
    "uw": ("w", "u", "U"),
    "o": ("o", "O", "0", "V:"),
    "a": ("a", "A", "aa", "V", "3"),
    "e": ("e", "E", "@"),
    "i": ("i", "I", "j", "y"),
    "tdnszl": ("t", "d", "n", "s", "z", "l", "T", "D", "r", "R", "*"),
    "sh": ("S", "Z", "tS", "dZ", "c", "J"),
    "kg": ("k", "g", "N", "h", "H", "x", "Q", "?"),
}
_CLASS_OF = {name: CLASSES.index(group) for group, names in _MNEMONICS.items() for name in names}


@dataclass(frozen=True, eq=False)
class Babble:
    """wave: float32 mono 16 kHz; every 20 ms phone_T, int64, index into CLASSES, and lips_T2, opening and spread."""

    wave: np.ndarray
    phone_T: np.ndarray
    lips_T2: np.ndarray


def babble(count: int, seed: int = 0) -> list[Babble]:
    """`count` utterances of about five seconds. Raises InputError where espeak-ng is not installed."""
    rng = np.random.default_rng(seed)
    wanted = []
    for _ in range(count):
        text = " ".join(_word(rng) + ("," if rng.random() < 0.12 else "") for _ in range(rng.integers(6, 14)))
        voice = str(rng.choice(LANGUAGES)) + str(rng.choice(VOICES))
        wanted.append(Utterance(text, voice, longest_s=60.0))
    spoken = [speech for n in range(0, count, AT_ONCE) for speech in say(wanted[n : n + AT_ONCE])]
    return [_labelled(speech) for speech in spoken]


def _word(rng: np.random.Generator) -> str:
    syllables = [str(rng.choice(ONSETS)) + str(rng.choice(NUCLEI)) for _ in range(rng.integers(1, 4))]
    return "".join(syllables) + (str(rng.choice(CODAS)) if rng.random() < 0.5 else "")


def _labelled(speech: Speech) -> Babble:
    from scipy.signal import resample_poly

    edge = int(EDGE_S * RATE_HZ)
    wave = np.pad(resample_poly(speech.samples, RATE_HZ, MADE_HZ).astype(np.float32), (edge, edge))
    times_s = np.arange(len(wave) // (RATE_HZ // STEP_HZ) + 1) / STEP_HZ - EDGE_S
    phone = np.zeros(len(times_s), np.int64)
    for start_s, end_s, name in speech.phones:
        phone[(times_s >= start_s) & (times_s < end_s)] = _class(name)
    phone[(times_s < 0) | (times_s > len(speech.samples) / MADE_HZ)] = 0
    return Babble(wave, phone, np.stack(lips(speech, times_s), 1))


def _class(mnemonic: str) -> int:
    bare = mnemonic.lstrip("',%=|")
    if not bare or bare.startswith("_"):
        return 0
    for length in range(len(bare), 0, -1):
        if bare[:length] in _CLASS_OF:
            return _CLASS_OF[bare[:length]]
    return CLASSES.index("tdnszl")
