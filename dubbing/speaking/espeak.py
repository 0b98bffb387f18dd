"""A program of its own: reads what espeak-ng is to do as JSON on stdin, answers with an .npz on stdout.

`espeak_ng.ask` runs it in a fresh process for two reasons: espeak-ng keeps noise and
intonation state between utterances, so only a new process says the same thing twice; and GPL code stays
out of the process that uses this package. It knows nothing of films, shots or lips, and imports nothing of ours.

    {"do": "voices"}                       names, languages, genders: one string each for every voice
    {"do": "phonemes", "voice", "texts"}   ipa: of every text
    {"do": "say", "ipa", "utterances": [{"text", "voice", "longest_s" or "rate_wpm", "ssml"}]}
        rate_hz; of the n-th wave_n, int16 without silent ends, at_n and name_n: first sample and name of each phone
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["main"]

_SYNCHRONOUS, _PHONEME_EVENTS, _IPA_EVENTS, _DONT_EXIT = 2, 1, 2, 0x8000
_RATE_PARAMETER, _UTF8, _SSML, _EVENT_END, _EVENT_PHONEME = 1, 1, 0x10, 0, 7
_IPA_TEXT, _TIED = 0x02, 0x80  # of espeak_TextToPhonemes: IPA, with the letters of one sound tied by bits 8 to 23
_RATES_WPM = range(145, 300, 5)
_QUIET = 200  # of 32767: below it, the ends of an utterance are cut off


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),  # a priority, a name and a NUL each, and a NUL after the last
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Synthesiser:
    def __init__(self, ipa: bool) -> None:
        import espeakng_loader

        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        options = _PHONEME_EVENTS | _DONT_EXIT | (_IPA_EVENTS if ipa else 0)
        self.rate_hz = self.lib.espeak_Initialize(_SYNCHRONOUS, 0, data, options)
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak-ng does not start with the voices in {data.decode()}")
        self.lib.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]

    def say(self, text: str, voice: str, rate_wpm: int, ssml: bool = False) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """int16 samples without silent ends, and phones as (first sample, name)."""
        waves: list[np.ndarray] = []
        phones: list[tuple[int, str]] = []

        def collect(wave: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
            if wave and count:
                waves.append(np.ctypeslib.as_array(wave, (count,)).copy())
            i = 0
            while events[i].type != _EVENT_END:
                if events[i].type == _EVENT_PHONEME:
                    phones.append((events[i].sample, events[i].id.string.decode(errors="ignore")))
                i += 1
            return 0

        callback = _Callback(collect)
        self.lib.espeak_SetSynthCallback(callback)
        self.lib.espeak_ng_SetRandSeed(1)
        self._speak_as(voice)
        self.lib.espeak_SetParameter(_RATE_PARAMETER, rate_wpm, 0)
        raw = text.encode()
        self.lib.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8 | (_SSML if ssml else 0), None, None)
        self.lib.espeak_Synchronize()
        wave = np.concatenate(waves) if waves else np.zeros(0, np.int16)
        loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > _QUIET)
        if not len(loud):
            return wave[:0], []
        first, last = int(loud[0]), int(loud[-1]) + 1
        return wave[first:last], [(max(0, at - first), name) for at, name in phones if at < last]

    def phonemes(self, text: str, voice: str) -> str:
        """A text in IPA, clause by clause, with a space between words."""
        self._speak_as(voice)
        self.lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
        raw = ctypes.create_string_buffer(text.encode())
        at = ctypes.c_void_p(ctypes.addressof(raw))
        found = []
        while at.value:
            said = self.lib.espeak_TextToPhonemes(ctypes.byref(at), _UTF8, _IPA_TEXT)
            found.append((said or b"").decode(errors="ignore").strip())
        return " ".join(part for part in found if part)

    def voices(self) -> list[tuple[str, str, str]]:
        """Of every voice that can speak its language, as espeak-ng spells it, its name, and whether it is a man's or a
        woman's. Of some the package lacks the dictionary, which espeak-ng says on stderr alone."""
        found = []
        kept = os.dup(2)
        with tempfile.TemporaryFile() as said:
            os.dup2(said.fileno(), 2)
            try:
                for language, identifier, name, gender in self._listed():
                    before = said.seek(0, os.SEEK_END)
                    good = self.lib.espeak_SetVoiceByName(identifier) == 0
                    if good and said.seek(0, os.SEEK_END) == before:
                        found.append((language, name, {1: "m", 2: "f"}.get(gender, "")))
            finally:
                os.dup2(kept, 2)
                os.close(kept)
        return found

    def _listed(self) -> list[tuple[str, bytes, str, int]]:
        """Language, identifier, name and gender of every voice."""
        self.lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        listed, found, n = self.lib.espeak_ListVoices(None), [], 0
        while listed[n]:
            one, end = listed[n].contents, 1
            while one.languages[end] != b"\0":
                end += 1
            language = b"".join(one.languages[k] for k in range(1, end)).decode()
            found.append((language, one.identifier, one.name.decode(), one.gender))
            n += 1
        return found

    def _speak_as(self, voice: str) -> None:
        """By a voice's name, or its language, under which some are not found."""
        if self.lib.espeak_SetVoiceByName(voice.encode()) == 0:
            return
        names = [identifier for tag, identifier, *_ in self._listed() if tag == voice]
        if not names or self.lib.espeak_SetVoiceByName(names[0]) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")


def _said(speaker: _Synthesiser, wanted: Mapping[str, Any]) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """One utterance: at its rate, or at the slowest that fits `longest_s`."""
    if "rate_wpm" in wanted:
        return speaker.say(wanted["text"], wanted["voice"], wanted["rate_wpm"], wanted.get("ssml", False))
    for rate_wpm in _RATES_WPM:
        wave, phones = speaker.say(wanted["text"], wanted["voice"], rate_wpm)
        if len(wave) <= wanted["longest_s"] * speaker.rate_hz:
            return wave, phones
    raise RuntimeError(f"{wanted['text']!r} does not fit into {wanted['longest_s']:.2f} s")


def main() -> None:
    """Does what stdin asks."""
    asked = json.load(sys.stdin)
    speaker = _Synthesiser(bool(asked.get("ipa")))
    answer: dict[str, np.ndarray] = {"rate_hz": np.array(speaker.rate_hz)}
    if asked["do"] == "voices":
        found = speaker.voices()
        for n, key in enumerate(("language", "name", "sex")):
            answer[key] = np.array([one[n] for one in found])
    elif asked["do"] == "phonemes":
        answer["ipa"] = np.array([speaker.phonemes(text, asked["voice"]) for text in asked["texts"]])
    else:
        for n, wanted in enumerate(asked["utterances"]):
            wave, phones = _said(speaker, wanted)
            answer[f"wave_{n}"] = wave
            answer[f"at_{n}"] = np.array([at for at, _ in phones], np.int64)
            answer[f"name_{n}"] = np.array([name for _, name in phones], "U8")
    packed = io.BytesIO()
    np.savez(packed, **answer)
    sys.stdout.buffer.write(packed.getvalue())


if __name__ == "__main__":
    main()
