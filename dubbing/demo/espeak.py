"""A program of its own: reads utterances as JSON on stdin, answers with an .npz of samples and phones on stdout.

`voice.say` runs it in a fresh process for two reasons: espeak-ng keeps noise and
intonation state between utterances, so only a new process says the same thing twice; and GPL code stays
out of the process that uses this package. It knows nothing of films, shots or lips.
"""

from __future__ import annotations

import ctypes
import io
import json
import sys

import numpy as np

__all__ = ["main"]

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 1, 0x8000
_RATE_PARAMETER, _UTF8, _EVENT_END, _EVENT_PHONEME = 1, 1, 0, 7
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


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Synthesiser:
    def __init__(self) -> None:
        import espeakng_loader

        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz = self.lib.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _DONT_EXIT)
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak-ng does not start with the voices in {data.decode()}")
        self.lib.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]

    def say(self, text: str, voice: str, rate_wpm: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """int16 samples without silent ends, and phones as (first sample, espeak mnemonic)."""
        waves: list[np.ndarray] = []
        phones: list[tuple[int, str]] = []

        def collect(wave: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
            if wave and count:
                waves.append(np.ctypeslib.as_array(wave, (count,)).copy())
            i = 0
            while events[i].type != _EVENT_END:
                if events[i].type == _EVENT_PHONEME:
                    phones.append((events[i].sample, events[i].id.string.decode()))
                i += 1
            return 0

        callback = _Callback(collect)
        self.lib.espeak_SetSynthCallback(callback)
        self.lib.espeak_ng_SetRandSeed(1)
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        self.lib.espeak_SetParameter(_RATE_PARAMETER, rate_wpm, 0)
        raw = text.encode()
        self.lib.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None)
        self.lib.espeak_Synchronize()
        wave = np.concatenate(waves)
        loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > _QUIET)
        first, last = int(loud[0]), int(loud[-1]) + 1
        return wave[first:last], [(max(0, at - first), name) for at, name in phones if at < last]


def main() -> None:
    """stdin: [{"text", "voice", "longest_s"}]; each is said at the slowest rate that fits longest_s."""
    speaker = _Synthesiser()
    answer: dict[str, np.ndarray] = {"rate_hz": np.array(speaker.rate_hz)}
    for n, wanted in enumerate(json.load(sys.stdin)):
        for rate_wpm in _RATES_WPM:
            wave, phones = speaker.say(wanted["text"], wanted["voice"], rate_wpm)
            if len(wave) <= wanted["longest_s"] * speaker.rate_hz:
                break
        else:
            raise RuntimeError(f"{wanted['text']!r} does not fit into {wanted['longest_s']:.2f} s")
        answer[f"wave_{n}"] = wave
        answer[f"at_{n}"] = np.array([at for at, _ in phones], np.int64)
        answer[f"name_{n}"] = np.array([name for _, name in phones], "U8")
    packed = io.BytesIO()
    np.savez(packed, **answer)
    sys.stdout.buffer.write(packed.getvalue())


if __name__ == "__main__":
    main()
