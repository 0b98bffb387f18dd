"""How well the sync expert hears: offsets, and own sound against foreign, on speakers it never met.

Prints tables; used by training/sync.py. Foreign sound is the French, Japanese and German dubs of
`reel.mp4`, or without them the other speakers' own, cut at eight places each.
The trivial baseline is the correlation of mouth opening with sound level.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dubbing.experts.lips import COLUMNS, PER_FRAME, Lips
from dubbing.experts.lse import SHIFTS, Lse, instants, lse, windows_in
from dubbing.face import canonical, mouth_measures
from dubbing.sound import HOP, RATE_HZ, log_mel
from training.clips import TEST, TRAIN, Clip, load_all

if TYPE_CHECKING:
    from training.sync import Recipe

__all__ = ["cross_validate", "report"]

STRETCH_S = 3.0
PLACES = 8


@dataclass(frozen=True)
class Trial:
    """One stretch with its own sound and with foreign sound.

    offset, d, c, at_zero: of its own sound; foreign_zero, foreign_c: means over foreign sounds; nearer,
    surer: the parts of foreign sounds that own sound beats at shift 0, and in LSE-C; follows: the
    baseline's best shift; louder: the part of foreign sounds that own sound beats by the baseline.
    """

    windows: int
    offset: float
    d: float
    c: float
    at_zero: float
    foreign_zero: float
    foreign_c: float
    nearer: float
    surer: float
    follows: float
    louder: float


def report(weights: Path, meshes: Path | None, media: Path | None) -> None:
    """Print how shipped weights do on the test clips, whole and in stretches of three seconds."""
    clips = load_all(TEST, meshes, media)
    everyone = clips + load_all(TRAIN, meshes, media)
    expert = Lips(weights)
    print(f"\nlips@{expert.hash12} on clips never trained on, whole:")
    _print((clip, [_trial(expert, clip, 0, len(clip.times_s), everyone, media)]) for clip in clips)
    print(f"\nthe same in stretches of {STRETCH_S:.0f} s:")
    _print((clip, _trials(expert, clip, everyone, media)) for clip in clips)


def cross_validate(
    clips: Sequence[Clip], recipe: Recipe, parts: int, media: Path | None, say: bool = True
) -> dict[str, float]:
    """Train without a part of the speakers, test on them in stretches of 3 s, for every part.

    Returns means over speakers: right (offset within 1 frame), c, at_zero, foreign_zero, nearer, surer.
    """
    from training.sync import train, write_npz

    speakers = sorted({clip.speaker for clip in clips}, key=[clip.speaker for clip in clips].index)
    done: list[tuple[Clip, list[Trial]]] = []
    for part in range(parts):
        out = speakers[part::parts]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lips.npz"
            write_npz(path, train([clip for clip in clips if clip.speaker not in out], recipe))
            expert = Lips(path)
        done += [(clip, _trials(expert, clip, clips, media)) for clip in clips if clip.speaker in out]
    if say:
        print(f"\nspeakers never met ({parts} parts), stretches of {STRETCH_S:.0f} s:")
        return _print(done)
    return _means(done)


def _trials(expert: Lips, clip: Clip, everyone: Sequence[Clip], media: Path | None) -> list[Trial]:
    """Stretches of about three seconds, half overlapping."""
    rate = (len(clip.times_s) - 1) / float(clip.times_s[-1] - clip.times_s[0])
    frames = min(round(STRETCH_S * rate), len(clip.times_s))
    rest = len(clip.times_s) - frames
    count = round(2 * rest / frames) + 1
    starts = np.linspace(0, rest, count).round().astype(int)
    return [_trial(expert, clip, int(start), int(start) + frames, everyone, media) for start in starts]


def _trial(expert: Lips, clip: Clip, start: int, end: int, everyone: Sequence[Clip], media: Path | None) -> Trial:
    mesh_NP3, times_s = clip.mesh_NP3[start:end], clip.times_s[start:end]
    count = windows_in(times_s)
    video_VE = expert.embed_video(mesh_NP3, times_s)
    own = lse(video_VE, expert.embed_sound(clip.wave, float(times_s[0]), count))
    opening = np.interp(instants(times_s)[:count] + 0.1, times_s, mouth_measures(canonical(mesh_NP3)[0])["opening"])
    own_follows = _follows(opening, clip.wave, float(times_s[0]))
    foreign: list[Lse] = []
    follows = []
    for wave in _foreign(clip.speaker, everyone, media):
        last_s = len(wave) / RATE_HZ - ((count - 1) * PER_FRAME + COLUMNS) * HOP / RATE_HZ
        for at_s in np.linspace(0, last_s, PLACES) if last_s > 1 else ():
            foreign.append(lse(video_VE, expert.embed_sound(wave, float(at_s), count)))
            follows.append(_follows(opening, wave, float(at_s))[SHIFTS])
    zero = np.array([f.distance_S[SHIFTS] for f in foreign])
    sure = np.array([f.c for f in foreign])
    at_zero = float(own.distance_S[SHIFTS])
    return Trial(
        windows=count, offset=own.offset, d=own.d, c=own.c, at_zero=at_zero,
        foreign_zero=zero.mean(), foreign_c=sure.mean(), nearer=(zero > at_zero).mean(), surer=(sure < own.c).mean(),
        follows=SHIFTS - int(own_follows.argmax()), louder=(np.array(follows) < own_follows[SHIFTS]).mean(),
    )  # fmt: skip


def _follows(opening_V: np.ndarray, wave: np.ndarray, start_s: float) -> np.ndarray:
    """The baseline: correlation of opening with sound level at every shift, (31,)."""
    mel = _mel(wave.tobytes()).mean(1)
    columns = round(start_s * 100) + 10 + PER_FRAME * np.arange(-SHIFTS, len(opening_V) + SHIFTS)
    level = mel[np.clip(columns, 0, len(mel) - 1)]
    shifted = np.lib.stride_tricks.sliding_window_view(level, len(opening_V))
    return np.array([np.corrcoef(opening_V, part)[0, 1] if part.std() > 0 else 0.0 for part in shifted])


@lru_cache(maxsize=64)
def _mel(wave: bytes) -> np.ndarray:
    return log_mel(np.frombuffer(wave, np.float32))


def _foreign(speaker: str, everyone: Sequence[Clip], media: Path | None) -> Iterator[np.ndarray]:
    """Sounds of other voices."""
    yield from _dubs(media) or (clip.wave for clip in everyone if clip.speaker != speaker)


@lru_cache(maxsize=2)
def _dubs(folder: Path | None) -> tuple[np.ndarray, ...]:
    """The reel's dubs without their digital silence."""
    from dubbing import media

    waves = []
    for language in ("fr", "ja", "de") if folder else ():
        path = Path(str(folder)) / f"reel.{language}.flac"
        if path.exists():
            wave = np.asarray(media.read_sound(path, rate_hz=RATE_HZ), np.float32)
            blocks = wave[: len(wave) // 800 * 800].reshape(-1, 800)
            waves.append(blocks[np.abs(blocks).max(1) > 1e-6].ravel())
    return tuple(waves)


def _print(rows: Iterable[tuple[Clip, list[Trial]]]) -> dict[str, float]:
    """A line per clip, means over its stretches; the median offset."""
    print("clip                    stretches windows | offset right LSE-D LSE-C at 0 | foreign: at 0  LSE-C "
          "beaten at 0, in LSE-C | baseline: offset right beaten")  # fmt: skip
    kept = []
    for clip, trials in rows:
        kept.append((clip, trials))
        mean = _mean(trials)
        print(f"{clip.name:24s}{len(trials):8d} {mean['windows']:8.0f} |"
              f"{np.median([t.offset for t in trials]):+6.1f} {mean['right']:6.2f} {mean['d']:5.2f} {mean['c']:5.2f} "
              f"{mean['at_zero']:5.2f} | {mean['foreign_zero']:13.2f} {mean['foreign_c']:6.2f} {mean['nearer']:9.2f} "
              f"{mean['surer']:12.2f} | {np.median([t.follows for t in trials]):+14.1f} {mean['followed']:6.2f} "
              f"{mean['louder']:6.2f}", flush=True)  # fmt: skip
    means = _means(kept)
    print("by speaker: " + "  ".join(f"{key} {value:.3f}" for key, value in means.items() if key != "windows"))
    return means


def _means(rows: Sequence[tuple[Clip, list[Trial]]]) -> dict[str, float]:
    """Means over speakers of the means over their stretches."""
    speakers: dict[str, list[Trial]] = {}
    for clip, trials in rows:
        speakers.setdefault(clip.speaker, []).extend(trials)
    means = [_mean(trials) for trials in speakers.values()]
    return {key: float(np.mean([m[key] for m in means])) for key in means[0]}


def _mean(trials: Sequence[Trial]) -> dict[str, float]:
    keys = ("windows", "d", "c", "at_zero", "foreign_zero", "foreign_c", "nearer", "surer", "louder")
    mean = {key: float(np.mean([getattr(t, key) for t in trials])) for key in keys}
    mean["right"] = float(np.mean([abs(t.offset) <= 1 for t in trials]))
    mean["followed"] = float(np.mean([abs(t.follows) <= 1 for t in trials]))
    return mean
