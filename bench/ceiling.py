"""What a second recording of the same words would reach: the ceiling of any prediction of a mouth from what is said.

    python -m bench.ceiling CLIPS MESHES [--words FOLDER] [--most N]

CLIPS: a folder of recordings of one speaker (GRID); MESHES: their meshes, `<file name>.npz` as `shipped_weights.clips`
keeps them; --words: where the word times lie, `<name>.align`, if not beside the clips. Each word of a recording is
taken from another one, with the same neighbours where there is one, and stretched in time to this word's length; what
is put together so is held against the recording in the frames of its words. `mean`: of up to ten other recordings of
each word. `lot`: any other word. Prints the median over recordings with its 95 % interval.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.evaluate import yardstick
from dubbing.evaluate.clips import at_lips, words_beside
from dubbing.evaluate.yardstick import Lips
from dubbing.face import canonical, mouth_measures
from shipped_weights.clips import Source, load

NAMES = ("opening", "width", "protrusion")
SILENT = ("sil", "sp")
SEVERAL = 10


@dataclass(frozen=True, eq=False)
class Said:
    """One recording. times_s: (N,) middles of its frames; curves: of NAMES, (N,); words: with start and end, no
    silence."""

    times_s: np.ndarray
    curves: dict[str, np.ndarray]
    words: list[tuple[str, float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--words", type=Path)
    parser.add_argument("--most", type=int, default=150, help="recordings that are looked at")
    args = parser.parse_args()
    said = [
        read(clip, args.meshes, args.words or args.clips)
        for clip in sorted(args.clips.iterdir())
        if (args.meshes / f"{clip.name}.npz").exists()
    ][: args.most]
    said = [s for s in said if s.words]
    print(f"{len(said)} recordings, {sum(len(s.words) for s in said)} words")
    where: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for k, one in enumerate(said):
        for n, (word, _, _) in enumerate(one.words):
            where[word].append((k, n))
    every = [place for places in where.values() for place in places]
    rng = np.random.default_rng(0)

    def one_other(k: int, n: int) -> list[tuple[int, int]]:
        others = [p for p in where[said[k].words[n][0]] if p[0] != k]
        return [max(others, key=lambda p: (alike(said, (k, n), p), rng.random()))] if others else []

    def ten_others(k: int, n: int) -> list[tuple[int, int]]:
        others = [p for p in where[said[k].words[n][0]] if p[0] != k]
        return sorted(others, key=lambda p: (-alike(said, (k, n), p), rng.random()))[:SEVERAL]

    def any_word(k: int, n: int) -> list[tuple[int, int]]:
        others = [p for p in every if p[0] != k]
        return [others[rng.integers(len(others))]]

    for label, chosen in (("second recording", one_other), (f"mean of {SEVERAL}", ten_others), ("any word", any_word)):
        told(label, said, chosen)


def read(clip: Path, meshes: Path, words: Path) -> Said:
    """One recording with its words."""
    mesh = load(Source(clip.name, "one"), meshes)
    frame_s = float(np.median(np.diff(mesh.times_s)))
    found = [w for w in words_beside(words / clip.name) if w[0] not in SILENT]
    return Said(mesh.times_s + frame_s / 2, mouth_measures(canonical(mesh.mesh_NP3)[0]), found)


def alike(said: list[Said], a: tuple[int, int], b: tuple[int, int]) -> int:
    """How many of a word's two neighbours are the same."""

    def beside(place: tuple[int, int], step: int) -> str:
        words, n = said[place[0]].words, place[1] + step
        return words[n][0] if 0 <= n < len(words) else ""

    return sum(beside(a, step) == beside(b, step) for step in (-1, 1))


def told(label: str, said: list[Said], chosen: Callable[[int, int], list[tuple[int, int]]]) -> None:
    """Put every recording together from others, and print how near it comes."""
    corrs: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[float]] = defaultdict(list)
    counts = np.zeros(4)
    for k, one in enumerate(said):
        made = {name: np.full(len(one.times_s), np.nan) for name in NAMES}
        for n, (_, start_s, end_s) in enumerate(one.words):
            at = (one.times_s >= start_s) & (one.times_s < end_s)
            part = (one.times_s[at] - start_s) / max(end_s - start_s, 1e-3)
            others = chosen(k, n)
            for name in NAMES if others else ():
                again = [
                    np.interp(said[j].words[m][1] + part * (said[j].words[m][2] - said[j].words[m][1]),
                              said[j].times_s, said[j].curves[name]) for j, m in others
                ]  # fmt: skip
                made[name][at] = np.mean(again, 0)
        known = np.isfinite(made["opening"])
        if known.sum() < yardstick.LEAST_FRAMES:
            continue
        for name in NAMES:
            corrs[name].append(yardstick.correlation(made[name][known], one.curves[name][known]))
            errors[name].append(float(np.abs(made[name] - one.curves[name])[known].mean()))
        lips = Lips.of(one.curves["opening"][known])
        if lips is not None:
            at = at_lips(one.words, one.times_s)
            met = yardstick.closures(one.curves["opening"], made["opening"], one.times_s, known, lips, at)
            counts += (met.true, met.met, met.made, met.false)
    for name in NAMES:
        low, high = yardstick.confidence(corrs[name], yardstick.median) or (float("nan"), float("nan"))
        print(f"{label:18s} {name:11s} corr {np.median(corrs[name]):.3f} [{low:.3f}, {high:.3f}]"
              f"  error {np.median(errors[name]):.4f}")  # fmt: skip
    true, hit, made_up, false = counts
    print(f"{label:18s} p, b, m: {hit:.0f} of {true:.0f} closures met ({hit / max(true, 1):.0%}), "
          f"{false:.0f} of {made_up:.0f} predicted ones false ({false / max(made_up, 1):.0%})")  # fmt: skip


if __name__ == "__main__":
    main()
