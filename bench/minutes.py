"""How well one man's mouth is known after so many minutes of his dialogue: GRID's speaker 1, sentences held out.

    python -m bench.minutes --grid DIR --meshes DIR [--prior FILE] [--most S,S,...] [--held N]

DIR of --grid: *.mpg of the speaker and align/s1/*.align; of --meshes: what `shipped_weights.clips` stores. --prior: one
that `shipped_weights.prior` trained without this man (no --grid); default: the shipped one, which learnt from the half
of his sentences that is not held out. The man's clips hold about half as much speech as film. With --nothing every
number of minutes is fitted again from nothing, the prior's own reading of the sound taken away. Correlation of the
opening and of the width with what the mesh measures, over the frames of words: median over the sentences held out (in
brackets: of all their frames together); share of the p, b, m of the held out words whose lips are shut where the true
ones are; seconds that the fit took.

The ceiling is what another recording of the same word between the same neighbours would reach, stretched to the same
length, and what the mesh says after its noise is smoothed away. The closed mouth at rest is that of all clips.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dubbing.face import canonical, mouth_measures
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.hearing import Prior
from dubbing.generators.rewrite.minutes import Minutes
from dubbing.generators.rewrite.shape import lower_of, smoothed
from dubbing.models import shipped_arrays
from shipped_weights import clips

CURVE_S = (0, 10, 60, 300, 600, 1200, 2400)
SHUT = 0.02
_LEAST_SEEN = 0.9


@dataclass(frozen=True, eq=False)
class Sentence:
    """One clip. opening_N, width_N: as measured; words: (start, end, word), s."""

    example: voice.Example
    opening_N: np.ndarray
    width_N: np.ndarray
    words: list[tuple[float, float, str]]


def words_of(path: Path) -> list[tuple[float, float, str]]:
    """GRID's word list: start and end in seconds, and the word, pauses left out."""
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    return [(int(a) / 25_000, int(b) / 25_000, word) for a, b, word in rows if word not in ("sil", "sp")]


def sentence(source: clips.Source, grid: Path, meshes: Path) -> Sentence | None:
    """None where the face was not seen well."""
    try:
        clip = clips.load(source, meshes)
    except Exception:
        return None
    if clip.ok_N.mean() < _LEAST_SEEN:
        return None
    full, _ = canonical(clip.mesh_NP3)
    times_s = clip.times_s + 0.5 * float(np.median(np.diff(clip.times_s)))
    words = words_of(grid / "align" / "s1" / f"{source.name}.align")
    speaks = np.zeros(len(times_s), bool)
    for start, end, _ in words:
        speaks |= (times_s >= start) & (times_s < end)
    measured = mouth_measures(full)
    lower = lower_of(full).astype(np.float32)
    example = voice.Example(lower, times_s, clip.wave, speaks & clip.ok_N)
    return Sentence(example, measured["opening"], measured["width"], words)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-9 and b.std() > 1e-9 else 0.0


def judged(actor: voice.Actor, prior: Prior, held: Sequence[Sentence], hears: Sequence[np.ndarray]) -> str:
    opening, width, shut = [], [], []
    for one, heard in zip(held, hears, strict=True):
        x = one.example
        coef = voice.predict(actor, x.wave, x.times_s, x.speaking_N, prior=prior, hears_TF=heard)
        said, on = voice.opening_of(coef, actor.rest), x.speaking_N
        opening.append((said[on], one.opening_N[on]))
        width.append((coef[on, 1], one.width_N[on]))
        for start, end, word in one.words:
            first = (x.times_s >= start - 0.06) & (x.times_s < start + 0.5 * (end - start))
            if word[0] in "pbm" and first.any() and one.opening_N[first].min() < SHUT:
                shut.append(bool(said[first].min() < SHUT))

    def told(pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
        every = correlation(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
        return f"{np.median([correlation(*pair) for pair in pairs]):.3f} ({every:.3f})"

    return f"opening {told(opening)}, width {told(width)}, shut {np.mean(shut):.0%} of {len(shut)}"


def ceiling(held: Sequence[Sentence], known: Sequence[Sentence]) -> str:
    """What the same words said again reach, and the mesh smoothed."""
    said: dict[tuple[str, ...], list[tuple[Sentence, float, float]]] = defaultdict(list)

    def around(one: Sentence) -> list[tuple[tuple[str, ...], float, float]]:
        names = ["", *(w[2] for w in one.words), ""]
        return [(tuple(names[n : n + 3]), w[0], w[1]) for n, w in enumerate(one.words)]

    for one in known:
        for key, start, end in around(one):
            said[key].append((one, start, end))
    mine, theirs, smooth = [], [], []
    for one in held:
        x = one.example
        calm = smoothed(one.opening_N[:, None], x.times_s)[:, 0]
        smooth.append(correlation(calm[x.speaking_N], one.opening_N[x.speaking_N]))
        true, again = [], []
        for key, start, end in around(one):
            if not said[key]:
                continue
            other, a, b = said[key][0]
            on = (x.times_s >= start) & (x.times_s < end)
            place_s = a + (x.times_s[on] - start) / (end - start) * (b - a)
            true.append(one.opening_N[on])
            again.append(np.interp(place_s, other.example.times_s, other.opening_N))
        if true:
            mine.append(np.concatenate(true))
            theirs.append(np.concatenate(again))
    each = [correlation(a, b) for a, b in zip(mine, theirs, strict=True)]
    every = correlation(np.concatenate(mine), np.concatenate(theirs))
    return (
        f"ceiling: the same words said again {np.median(each):.3f} ({every:.3f}), smoothed mesh {np.median(smooth):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--meshes", type=Path, required=True)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--most", default=",".join(map(str, CURVE_S)), help="seconds of words, one fit for each")
    parser.add_argument("--held", type=int, default=60, help="sentences held out")
    parser.add_argument("--nothing", action="store_true", help="from nothing too")
    given = parser.parse_args()
    prior = Prior.of(shipped_arrays(given.prior, "the bench", "its trainer")) if given.prior else Prior.load()
    unseen, seen = clips.grid_s1(given.grid, "expert"), clips.grid_s1(given.grid, "prior")
    sources = [half[n] for half in (unseen, seen) for n in np.random.default_rng(0).permutation(len(half))]
    wanted = [float(s) for s in given.most.split(",")]
    found: list[Sentence] = []
    for source in sources:  # those that are held out come first, of the half that the prior never meets
        seconds = sum(s.example.speaking_N.sum() for s in found[given.held :]) * 0.04
        if len(found) > given.held and seconds >= max(wanted):
            break
        one = sentence(source, given.grid, given.meshes)
        found += [one] if one else []
    held, known = found[: given.held], found[given.held :]
    print(f"{len(known)} sentences to learn from, {len(held)} held out; {ceiling(held, known)}", flush=True)
    deaf = replace(prior, readout_XK=0 * prior.readout_XK, shut_X=0 * prior.shut_X, shut_bias=-9.0)
    for name, ear in (("from the prior", prior), *((("from nothing", deaf),) if given.nothing else ())):
        hears = [voice.heard(ear, one.example.wave) for one in held]
        whole = voice.dialogue([one.example for one in known], max_seconds=np.inf, prior=ear)
        for most_s in wanted:
            stretches, seconds = [], 0.0
            for stretch in whole.minutes.stretches:
                if seconds < most_s:
                    stretches.append(stretch)
                    seconds += float(stretch.seconds_N.sum())
            began = time.process_time()
            if stretches:
                actor = voice.fitted(replace(whole, minutes=Minutes(tuple(stretches), seconds)), prior=ear)
            else:
                actor = replace(voice.default_actor(held[0].example.shape_NP3, prior=ear), rest=whole.rest)
            took = time.process_time() - began
            nets = actor.fit.taught.share if actor.fit.taught else 0.0
            print(
                f"{name}, {seconds:.0f} s: {judged(actor, ear, held, hears)}; networks' share {nets:.1f}, {took:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
