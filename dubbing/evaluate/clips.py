"""What is measured: clips and their names, the words said in them, the sounds they are dubbed with, and stills of them.

A dub sound is made as long as its clip, with a little silence at both ends, so that rest can be judged too.
It knows no measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.clock import Timeline
from dubbing.errors import MediaError
from dubbing.scoring import find_films
from dubbing.store import key_of

__all__ = ["Clip", "Voice", "at_lips", "find_clips", "fitted_sound", "rolled", "voice_for", "voices_named",
           "words_beside", "write_sound", "write_standing", "write_still"]  # fmt: skip

USUAL = Path("../shared/media")  # beside a checkout; the clips that are measured where none are named
WORDS, TICKS_HZ = ".align", 25_000  # word times as the GRID corpus has them (Cooke et al. 2006)
LIP_LETTERS, LETTER_REACH_S = "pbm", 0.12
QUIET_S = 0.4  # of silence at both ends of a dub sound
RATE_HZ = 48_000


@dataclass(frozen=True)
class Clip:
    """id: a-z, 0-9, _ and -, unique among those measured; path: of the film."""

    id: str
    path: Path


@dataclass(frozen=True)
class Voice:
    """A sound to dub with. language: a BCP 47 tag that names it in tables; path: of any file with sound."""

    language: str
    path: Path


def find_clips(places: Sequence[Path]) -> list[Clip]:
    """The clips that files and folders (taken recursively) hold, each once, by id; of USUAL where none is named.

    Raises MediaError: no such file, a folder without a clip, or nothing named and no USUAL here.
    """
    places = places or [p for p in (USUAL,) if p.is_dir()]
    if not places:
        raise MediaError(
            "There is nothing to measure: give clips of talking people with their own sound, or a folder of them, "
            "for example: dub eval clips/"
        )
    paths = [film.resolve() for film in find_films(places)]
    stems = [re.sub(r"[^a-z0-9_-]+", "-", p.stem.lower()).strip("-")[:40] or "clip" for p in paths]
    return [
        Clip(stem if stems.count(stem) == 1 else f"{stem}-{key_of(str(path))[:6]}", path)
        for stem, path in zip(stems, paths, strict=True)
    ]


def words_beside(path: Path) -> list[tuple[str, float, float]]:
    """The words said in a clip, each with its start and end in seconds, from `<name>.align` beside it: lines of start,
    end (25,000 a second) and word. Empty where there is no such file. Raises MediaError where it says something else.
    """
    file = path.with_suffix(WORDS)
    if not file.is_file():
        return []
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            raise MediaError(
                f"{str(file)!r}, line {number}: word times are lines of start, end ({TICKS_HZ:,} a second) and "
                f"word, for example `29500 34000 blue`; found {line[:40]!r}. Mend the file or take it away."
            )
        found.append((parts[2].lower(), int(parts[0]) / TICKS_HZ, int(parts[1]) / TICKS_HZ))
    return found


def at_lips(words: Sequence[tuple[str, float, float]], times_s: np.ndarray) -> np.ndarray:
    """Frames in which the lips have to shut: within LETTER_REACH_S of a letter p, b or m, where a word's letters share
    its time equally; bool (N,). times_s: (N,) middles of the frames, on the words' clock."""
    at_N = np.zeros(len(times_s), bool)
    for word, start_s, end_s in words:
        for k, letter in enumerate(word):
            if letter in LIP_LETTERS:
                middle_s = start_s + (k + 0.5) / len(word) * (end_s - start_s)
                at_N |= np.abs(times_s - middle_s) <= LETTER_REACH_S
    return at_N


def voices_named(sounds: Sequence[str]) -> Iterator[Voice]:
    """`fr=fr.wav`, or a file whose last dotted part before its ending, or whose name, is a language.

    Raises MediaError where there is no such file, or it holds no media.
    """
    for text in sounds:
        name, _, file = text.rpartition("=")
        path = Path(file)
        media.probe(path)
        word = name or path.stem.split(".")[-1].split("_")[0].lower()
        yield Voice(word if name or word.isalpha() and 2 <= len(word) <= 3 else "x-other", path)


def voice_for(clips: Sequence[Clip], n: int) -> Voice:
    """The voice of clip `n` where none is given: the sound of the next clip that has any, else its own."""
    for clip in (*clips[n + 1 :], *clips[:n]):
        try:
            if media.probe(clip.path).audio:
                return Voice("x-other", clip.path)
        except MediaError:
            continue
    return Voice("x-other", clips[n].path)


def fitted_sound(wave_T: np.ndarray, length: int, quiet: int) -> np.ndarray:
    """A sound of exactly `length` samples, float32: repeated or cut, silent for `quiet` samples at both ends.

    A sound that is as long already (within a tenth of a second) keeps its place in time.
    """
    if abs(len(wave_T) - length) <= RATE_HZ // 10:
        return np.pad(wave_T, (0, max(0, length - len(wave_T))))[:length].astype(np.float32)
    quiet = min(quiet, length // 4)
    made = np.zeros(length, np.float32)
    made[quiet : length - quiet] = np.resize(wave_T, length - 2 * quiet)
    return made


def rolled(wave_T: np.ndarray) -> np.ndarray:
    """A clip's own sound with its second half first: other words under every picture, in the same voice."""
    return np.roll(wave_T, -(len(wave_T) // 2))


def write_sound(wave_T: np.ndarray, path: Path) -> None:
    """48 kHz stereo FLAC of a mono wave."""
    with media.ClipWriter(path, sample_rate_hz=RATE_HZ, channels=2) as writer:
        writer.sound(np.stack([wave_T, wave_T], 1).astype(np.float32))


def write_still(source: Path, line: Timeline, frame: int, path: Path) -> None:
    """A film without sound, as long as the clip, in which one frame of it stands still; 25 frames a second."""
    picture = next(iter(media.read(source, line, frame, frame + 1))).bgr()
    write_standing(picture, float(line.duration), path)


def write_standing(picture: np.ndarray, seconds: float, path: Path) -> None:
    """A film without sound in which a picture (uint8 BGR) stands still; 25 frames a second."""
    height, width = (n // 2 * 2 for n in picture.shape[:2])
    count = max(1, round(seconds * 25))
    with media.ClipWriter(path, width, height, Fraction(25), crf=12) as writer:
        for _ in range(count):
            writer.frame(np.ascontiguousarray(picture[:height, :width]))
