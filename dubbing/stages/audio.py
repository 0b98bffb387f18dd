"""The sound that drives or explains the lips: 16 kHz mono samples, and where in them someone speaks.

Used for a dub (its dialogue, or its mix) and for the film's own sound alike. Speech is found by
silero-vad (its weights come in its wheel); its 32 ms answers are then sharpened by energy, and what
is digitally silent is never speech. Sample 0 is where frame 0 of the film begins, and there are
exactly as many samples as the film lasts. It knows no faces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.clock import Timeline
from dubbing.errors import ManifestError, MediaError
from dubbing.records import Shot
from dubbing.sound import RATE_HZ
from dubbing.stage import Resources, Stage
from dubbing.stages.shots import load_shots
from dubbing.store import read_json

__all__ = ["Audio", "load_speech", "load_wave", "speech_ranges"]

WAVE, SPEECH = "wave.npy", "speech.json"
MARGIN_S = 0.6  # sound this far outside a shot can still change its lips
_CHUNK = 512  # what silero-vad answers for: 32 ms
_HOP = RATE_HZ // 100
_SILENT = 2  # int16 code values: nothing louder is digital silence
_INAUDIBLE = 33  # int16: -60 dBFS


class Audio(Stage):
    """One sound of a title. Result: `wave.npy` (int16, 16 kHz mono), `speech.json`, and shot keys.

    args: sound, timeline, shots: paths; settings: own (the film's own sound: cut or padded to its
    length without a word, and it may be silent), length_difference ("refuse" or "allow"),
    length_tolerance_frames; frames: how many of the film this sound is for, absent for all. A shot's key
    changes exactly when sound within MARGIN_S of it does. Raises ManifestError when the length does not fit,
    MediaError when there is nothing to hear.
    """

    name: ClassVar[str] = "audio"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=900)

    def setup(self) -> None:
        import torch
        from silero_vad import load_silero_vad

        torch.set_num_threads(1)
        self._torch = torch
        self._model = load_silero_vad(onnx=False)

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        film = media.load_timeline(args["timeline"])
        settings = {"own": False, "length_difference": "refuse", "length_tolerance_frames": 2.0, **args["settings"]}
        count = film.sample(len(film), RATE_HZ)
        wave = np.lib.format.open_memmap(out / WAVE, "w+", np.int16, (count,))
        chance, total = self._listen(Path(args["sound"]), wave, settings["own"])
        if not settings["own"]:
            _check_length(args["sound"], total, film, settings)
        if not settings["own"] and _loudest(wave) < _INAUDIBLE:
            raise MediaError(
                f"{args['sound']} holds no sound: nothing in it is louder than -60 dBFS; give another file."
            )
        speech = speech_ranges(wave, chance)
        wave.flush()
        keys = {s.id: _shot_key(wave, speech, film, s) for s in load_shots(args["shots"])}
        value = {"rate_hz": RATE_HZ, "samples": count, "speech": speech.tolist()}
        (out / SPEECH).write_text(json.dumps(value) + "\n", encoding="utf-8")
        progress(len(film))
        spoken = int((speech[:, 1] - speech[:, 0]).sum())
        return {"samples": count, "speech_s": round(spoken / RATE_HZ, 3), "stretches": len(speech), "shot_keys": keys}

    def _listen(self, path: Path, wave: np.ndarray, own: bool) -> tuple[np.ndarray, int]:
        """Fill `wave` and return the chance of speech in each chunk, float32, and the file's length in samples."""
        chance: list[float] = []
        rest = np.zeros(0, np.float32)
        total = 0
        self._model.reset_states()
        with self._torch.inference_mode():
            for block in media.sound_blocks(path, RATE_HZ, align_to_video=own):
                part = np.clip(np.rint(block * 32767.0), -32767, 32767).astype(np.int16)
                wave[total : total + len(part)] = part[: max(0, len(wave) - total)]
                total += len(part)
                rest = np.concatenate([rest, block])
                whole = len(rest) // _CHUNK * _CHUNK
                for start in range(0, whole, _CHUNK):
                    chunk = self._torch.from_numpy(rest[start : start + _CHUNK])
                    chance.append(float(self._model(chunk, RATE_HZ)))
                rest = rest[whole:]
        return np.array(chance, np.float32), total


def _loudest(wave: np.ndarray) -> int:
    return max((int(np.abs(wave[a : a + (1 << 20)]).max()) for a in range(0, len(wave), 1 << 20)), default=0)


def _check_length(path: str, total: int, film: Timeline, settings: Mapping[str, Any]) -> None:
    frame_s = float(film.duration) / len(film)
    lasts_s = float(film.time(settings.get("frames", len(film))))
    off = total / RATE_HZ - lasts_s
    if settings["length_difference"] == "refuse" and abs(off) > settings["length_tolerance_frames"] * frame_s + 1e-3:
        raise ManifestError(
            f"{path} lasts {total / RATE_HZ:.3f} s and the picture {lasts_s:.3f} s, "
            f"{abs(off) / frame_s:.1f} frames {'more' if off > 0 else 'less'}; give a dub of the picture's length, "
            "or set length_difference: allow."
        )


def speech_ranges(wave: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Where someone speaks, int64 (S, 2) sample ranges, sorted and apart.

    wave: int16 (T,) at 16 kHz; chance: silero-vad's answer for each 512 samples, from sample 0.
    """
    from silero_vad.utils_vad import get_speech_timestamps_from_probs

    rough = get_speech_timestamps_from_probs(
        chance.tolist(), min_speech_duration_ms=96, min_silence_duration_ms=128, speech_pad_ms=0,
        audio_length_samples=len(wave),
    )  # fmt: skip
    level, silent = _levels(wave)
    speaks = np.zeros(len(level), bool)
    limits = [0, *(r["start"] // _HOP for r in rough), len(level)]
    for n, one in enumerate(rough):
        first, last = one["start"] // _HOP, min(-(-one["end"] // _HOP), len(level))
        end_before = min(rough[n - 1]["end"] // _HOP, first) if n else 0
        a, b = _sharpen(level, first, last, end_before, limits[n + 2])
        speaks[a:b] = True
    speaks &= ~silent
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speaks.astype(np.int8), [0]]))).reshape(-1, 2)
    edges = edges[edges[:, 1] - edges[:, 0] >= 3]
    return np.minimum(edges.astype(np.int64) * _HOP, len(wave))


def _levels(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dB of every 10 ms (float32), and which of them lie in a digital silence of at least 30 ms."""
    count = len(wave) // _HOP
    level = np.full(count, -120.0, np.float32)
    loud = np.zeros(count, np.int16)
    for start in range(0, count, 6000):
        stop = min(count, start + 6000)
        block = np.asarray(wave[start * _HOP : stop * _HOP], np.float32).reshape(-1, _HOP)
        level[start:stop] = 10 * np.log10((block**2).mean(1) / 32768.0**2 + 1e-12)
        loud[start:stop] = np.abs(block).max(1)
    silent = loud <= _SILENT
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]]))).reshape(-1, 2)
    for a, b in edges:
        if b - a < 3:
            silent[a:b] = False
    return level, silent


def _sharpen(level: np.ndarray, first: int, last: int, lowest: int, highest: int) -> tuple[int, int]:
    """Move a stretch's ends, in hops, to where the sound rises out of its surroundings and falls back.

    Inward over what is 30 dB below the stretch's loud parts; outward, up to 0.15 s, over what is not.
    """
    loud = float(np.percentile(level[first:last], 90)) if last > first else -120.0
    around = level[max(0, first - 50) : last + 50]
    floor = max(loud - 30.0, min(float(np.percentile(around, 5)) + 8.0, loud - 12.0))
    above = level > floor
    inside = np.flatnonzero(above[first:last])
    if len(inside) == 0:
        return first, last
    a, b = first + int(inside[0]), first + int(inside[-1]) + 1
    if a == first:
        while a > max(lowest, first - 15) and above[a - 1]:
            a -= 1
    if b == last:
        while b < min(highest, last + 15) and above[b]:
            b += 1
    return a, b


def _shot_key(wave: np.ndarray, speech: np.ndarray, film: Timeline, shot: Shot) -> str:
    """sha256 of the samples in and around a shot, and of the speech in them, from the shot's start."""
    margin = int(MARGIN_S * RATE_HZ)
    start = film.sample(shot.start_frame, RATE_HZ)
    a, b = start - margin, film.sample(shot.end_frame, RATE_HZ) + margin
    digest = hashlib.sha256(json.dumps([a, b]).encode())
    near = speech[(speech[:, 1] > a) & (speech[:, 0] < b)]
    digest.update(np.clip(near, a, b).astype("<i8").tobytes())
    digest.update(np.asarray(wave[max(a, 0) : b], "<i2").tobytes())
    return digest.hexdigest()


def load_wave(folder: Path | str, first: int = 0, last: int | None = None) -> np.ndarray:
    """Samples [first, last) of a finished result, float32 in -1..1; silence outside the film."""
    wave = np.load(Path(folder) / WAVE, mmap_mode="r")
    last = len(wave) if last is None else last
    out = np.zeros(max(0, last - first), np.float32)
    a, b = max(first, 0), min(last, len(wave))
    if b > a:
        out[a - first : b - first] = wave[a:b] / np.float32(32767.0)
    return out


def load_speech(folder: Path | str) -> np.ndarray:
    """Speech of a finished result: int64 (S, 2) ranges of samples at 16 kHz, sorted and apart."""
    return np.array(read_json(Path(folder) / SPEECH)["speech"], np.int64).reshape(-1, 2)
