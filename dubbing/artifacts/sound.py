"""One sound of a title as it drives or judges lips: 16 kHz mono samples, and where in them someone speaks.

Sample 0 is where frame 0 of the film begins, and there are exactly as many samples as the film lasts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import phones
from dubbing.artifact import Artifact
from dubbing.clock import Timeline
from dubbing.sound import RATE_HZ
from dubbing.store import read_json

__all__ = [
    "WAVE", "DubSound", "Sound", "SourceSound", "load_phones", "load_speech", "load_wave", "new_wave", "save_phones",
    "save_speech", "sound_of", "speech_mask",
]  # fmt: skip

WAVE, SPEECH, PHONES = "wave.npy", "speech.json", "phones.json"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Sound(Artifact):
    """A decoded sound. Its folder holds the samples (`load_wave`) and the speech (`load_speech`)."""

    samples: int
    """At 16 kHz."""
    speech_s: float
    """Seconds of speech in all."""
    stretches: int
    """How many stretches of speech there are."""
    shot_keys: Mapping[str, str]
    """By shot id a key that changes exactly when sound in or near the shot does."""
    listened: str = ""
    """Which track and channels of the file were listened to, and why."""
    stream: int | None = None
    """FFmpeg's index of that track; None in results of earlier versions."""
    channels: tuple[int, ...] | None = None
    """Places of those channels; None for the mean of all."""


@dataclass(frozen=True)
class SourceSound(Sound):
    """The film's own sound."""

    schema: ClassVar[str] = "dub.source_sound.1"


@dataclass(frozen=True)
class DubSound(Sound):
    """The sound that drives the lips in one language."""

    schema: ClassVar[str] = "dub.dub_sound.1"
    stems: tuple[str, ...] = ()
    """The characters that have a stem of their own (`sound_of`); then the whole is their sum."""
    spoken_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of speech in each stem."""
    held_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds in which a stem held another's voice, and was silenced, where there are any."""
    phones: int = 0
    """How many phones are known (`load_phones`); 0 where the sound alone is."""


def sound_of(folder: Path, character: str = "") -> Path:
    """The folder of a character's stem in that of a `DubSound`; without a character, of the whole dialogue."""
    return folder / f"stem_{hashlib.sha256(character.encode()).hexdigest()[:12]}" if character else folder


def new_wave(folder: Path, samples: int) -> np.memmap:
    """Silence to be overwritten, int16 (samples,), mapped from the file that `load_wave` will read.

    The disk gives all of its room at once: where a mapped file cannot grow later, the process dies of it. Raises
    OSError where there is too little.
    """
    wave: np.memmap = np.lib.format.open_memmap(folder / WAVE, "w+", np.int16, (samples,))
    with (folder / WAVE).open("r+b") as f:
        size = os.fstat(f.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(f.fileno(), 0, size)
        else:  # macOS: writing is what takes room
            f.seek(size - wave.nbytes)
            for start in range(0, wave.nbytes, _BLOCK):
                f.write(bytes(min(_BLOCK, wave.nbytes - start)))
    return wave


def load_wave(folder: Path | str, first: int = 0, last: int | None = None) -> np.ndarray:
    """Samples [first, last) of a finished result, float32 in -1..1; silence outside the film."""
    wave = np.load(Path(folder) / WAVE, mmap_mode="r")
    last = len(wave) if last is None else last
    out = np.zeros(max(0, last - first), np.float32)
    a, b = max(first, 0), min(last, len(wave))
    if b > a:
        out[a - first : b - first] = wave[a:b] / np.float32(32767.0)
    return out


def save_speech(folder: Path, samples: int, speech: np.ndarray) -> None:
    """Write where someone speaks: int (S, 2) ranges of samples, sorted and apart."""
    value = {"rate_hz": RATE_HZ, "samples": samples, "speech": speech.tolist()}
    (folder / SPEECH).write_text(json.dumps(value) + "\n", encoding="utf-8")


def load_speech(folder: Path | str) -> np.ndarray:
    """Speech of a finished result: int64 (S, 2) ranges of samples at 16 kHz, sorted and apart."""
    return np.array(read_json(Path(folder) / SPEECH)["speech"], np.int64).reshape(-1, 2)


def save_phones(folder: Path, known: Sequence[phones.Phone]) -> None:
    """Write which phone is said when."""
    (folder / PHONES).write_bytes(phones.packed(known))


def load_phones(folder: Path | str) -> tuple[phones.Phone, ...]:
    """The phones of a finished result, in seconds from sample 0; none where they are not known."""
    path = Path(folder) / PHONES
    return phones.read(path) if path.exists() else ()


def speech_mask(speech: np.ndarray, line: Timeline, start: int, end: int) -> np.ndarray:
    """Which frames [start, end) are shown while there is speech, bool.

    speech: int (S, 2) ranges of 16 kHz samples, sorted.
    """
    edges = np.array([line.sample(f, RATE_HZ) for f in range(start, end + 1)])
    speech = np.asarray(speech).reshape(-1, 2)
    first = np.searchsorted(edges, speech[:, 0], side="right") - 1
    last = np.searchsorted(edges, speech[:, 1], side="left")
    change = np.zeros(len(edges) + 1, np.int64)
    np.add.at(change, np.clip(first, 0, end - start), 1)
    np.add.at(change, np.clip(last, 0, end - start), -1)
    mask: np.ndarray = np.cumsum(change)[: end - start] > 0
    return mask
