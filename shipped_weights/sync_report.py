"""How well the sync expert hears: injected offsets, own sound against foreign, and true mouths against foretold ones.

Prints tables; used by shipped_weights/sync.py. Foreign sound is the French, Japanese and German dubs of
`reel.mp4`, or without them the other speakers' own. What is measured is `dubbing.evaluate.judging`'s, and here how
often the mouth that was there lies nearer to its sound than the one that the prior foretells from that sound.
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
from dubbing.experts.lse import lse, windows_in
from dubbing.sound import RATE_HZ
from shipped_weights.clips import TEST, TRAIN, Clip, grid_s1, load_all
from shipped_weights.sync_material import foretold

if TYPE_CHECKING:
    from shipped_weights.sync import Prepared, Recipe

__all__ = ["cross_validate", "report", "true_nearer"]

UNHEARD = 20  # sentences of GRID's first speaker that the expert was not trained on
PART_S = 3.0  # of a clip whose LSE-D is compared


def report(weights: Path, meshes: Path | None, media: Path | None, grid: Path | None = None) -> None:
    """Print how shipped weights do on the test clips."""
    clips = load_all(TEST, meshes, media)
    everyone = clips + load_all(TRAIN, meshes, media)
    expert = Lips(weights)
    print(f"\nlips@{expert.hash12} on clips never trained on:")
    _print((clip, _judged(expert, clip, everyone, media)) for clip in clips)
    print("\ntrue mouth nearer than the foretold one: parts of 3 s, windows, LSE-D true and foretold")
    groups = {clip.name: [clip] for clip in clips}
    if grid:
        sentences = grid_s1(grid, "prior")
        groups["GRID s1"] = load_all(sentences[:: len(sentences) // UNHEARD], meshes, grid)
    for name, some in groups.items():
        print(f"{name:24s}" + "  ".join(f"{value:6.3f}" for value in true_nearer(expert, some)), flush=True)


def true_nearer(expert: Lips, clips: Sequence[Clip]) -> tuple[float, float, float, float]:
    """The parts of clips (PART_S each) and the windows in which the true mouth lies nearer to its own sound than the
    one that the prior foretells from it, each at its own best shift; and the median LSE-D of true and foretold."""
    whole, windows, of_true, of_told = [], [], [], []
    for clip, told in zip(clips, foretold(clips), strict=True):
        step = round(PART_S / float(np.median(np.diff(clip.times_s))))
        for start in range(0, max(len(clip.times_s) - step, 0) + 1, step):
            times_s = clip.times_s[start : start + step]
            heard = expert.embed_sound(clip.wave, float(times_s[0]), windows_in(times_s))
            true, made = (
                lse(expert.embed_video(mesh[start : start + step], times_s), heard) for mesh in (clip.mesh_NP3, told)
            )
            near, far = (one.distance_SV[int(one.distance_S.argmin())] for one in (true, made))
            whole.append(true.d < made.d)
            windows.append(float((near < far).mean()))
            of_true.append(true.d)
            of_told.append(made.d)
    return float(np.mean(whole)), float(np.mean(windows)), float(np.median(of_true)), float(np.median(of_told))


def cross_validate(
    prepared: Prepared, recipe: Recipe, parts: int, media: Path | None, say: bool = True
) -> dict[str, float]:
    """Train without a part of the speakers, test on them, for every part: means over clips by name."""
    from shipped_weights.sync import train, write_npz

    clips = prepared.clips
    speakers = list(dict.fromkeys(clip.speaker for clip in clips))
    done: list[tuple[Clip, Judged]] = []
    for part in range(parts):
        out = speakers[part::parts]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lips.npz"
            write_npz(path, train(prepared.without(out), recipe))
            expert = Lips(path)
        tested = [clip for name in out for clip in [c for c in clips if c.speaker == name][:UNHEARD]]
        done += [(clip, _judged(expert, clip, clips, media)) for clip in tested]
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
