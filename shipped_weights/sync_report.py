"""How well the sync expert hears: injected offsets, and own sound against foreign, on speakers it never met.

Prints tables; used by shipped_weights/sync.py. Foreign sound is the French, Japanese and German dubs of
`reel.mp4`, or without them the other speakers' own. What is measured is `dubbing.evaluate.judging`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dubbing.evaluate.judging import Judged, judge, spoken_only
from dubbing.experts.lips import Lips
from dubbing.sound import RATE_HZ
from shipped_weights.clips import TEST, TRAIN, Clip, load_all

if TYPE_CHECKING:
    from shipped_weights.sync import Recipe

__all__ = ["cross_validate", "report"]


def report(weights: Path, meshes: Path | None, media: Path | None) -> None:
    """Print how shipped weights do on the test clips."""
    clips = load_all(TEST, meshes, media)
    everyone = clips + load_all(TRAIN, meshes, media)
    expert = Lips(weights)
    print(f"\nlips@{expert.hash12} on clips never trained on:")
    _print((clip, _judged(expert, clip, everyone, media)) for clip in clips)


def cross_validate(
    clips: Sequence[Clip], recipe: Recipe, parts: int, media: Path | None, say: bool = True
) -> dict[str, float]:
    """Train without a part of the speakers, test on them, for every part: means over clips by name."""
    from shipped_weights.sync import train, write_npz

    speakers = sorted({clip.speaker for clip in clips}, key=[clip.speaker for clip in clips].index)
    done: list[tuple[Clip, Judged]] = []
    for part in range(parts):
        out = speakers[part::parts]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lips.npz"
            write_npz(path, train([clip for clip in clips if clip.speaker not in out], recipe))
            expert = Lips(path)
        done += [(clip, _judged(expert, clip, clips, media)) for clip in clips if clip.speaker in out]
    if say:
        print(f"\nspeakers never met ({parts} parts):")
        return _print(done)
    return _means([judged for _, judged in done])


def _judged(expert: Lips, clip: Clip, everyone: Sequence[Clip], media: Path | None) -> Judged:
    foreign = _dubs(media) or [other.wave for other in everyone if other.speaker != clip.speaker]
    judged = judge(expert, clip.mesh_NP3, clip.times_s, clip.wave, np.ones(len(clip.times_s), bool), foreign)
    assert judged is not None, f"{clip.name} is too short to test on"
    return judged


@lru_cache(maxsize=2)
def _dubs(folder: Path | None) -> tuple[np.ndarray, ...]:
    """The reel's dubs."""
    from dubbing import media

    paths = [Path(str(folder)) / f"reel.{language}.flac" for language in ("fr", "ja", "de") if folder]
    return tuple(spoken_only(media.read_sound(path, rate_hz=RATE_HZ)) for path in paths if path.exists())


def _print(rows: Iterable[tuple[Clip, Judged]]) -> dict[str, float]:
    """A line per clip, then means over clips."""
    print(f"{'clip':24s}stretches  offset  found  consistent  nearer  LSE-C")
    kept = []
    for clip, one in rows:
        kept.append(one)
        print(f"{clip.name:24s}{one.stretches:9d} {one.offset_frames:+7.1f} {one.found:6.2f} {one.consistent:11.2f} "
              f"{one.nearer:7.2f} {one.c:6.2f}", flush=True)  # fmt: skip
    means = _means(kept)
    print("mean over clips: " + "  ".join(f"{key} {value:.3f}" for key, value in means.items()))
    return means


def _means(rows: Sequence[Judged]) -> dict[str, float]:
    return {key: float(np.mean([getattr(one, key) for one in rows])) for key in ("found", "consistent", "nearer", "c")}
