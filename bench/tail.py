"""How well slots are used to the end of a run: a film of many shots in 4K, simulated by what stages cost.

    python -m bench.tail [--shots 2000] [--slots 64] [--dubs 1]

Shot lengths are drawn from a lognormal distribution (median 2.5 s, mean 4 s, as films of the last decades are cut;
seeded); three of five speak, with faces of 500 pixels. The analysis is taken to be done. Costs are those by which `dub
plan` counts (`MIX`), the order is the engine's, simulated (`estimate.schedule`), windows are the project's own; what
joins them costs --join milliseconds a frame.
Prints, with one master task and with windows: minutes, slot use over the whole run, over its last tenth, and up to
where only joins are left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from dubbing.analysis.windows import film_windows, windows
from dubbing.estimate.costs import Work
from dubbing.estimate.schedule import Piece, spans
from dubbing.stages.lipsync import Lipsync
from dubbing.stages.master import MakeMaster
from dubbing.stages.proof import ProveMasters
from dubbing.stages.sync import Sync

RATE, MEGAPIXELS, FACE_MP, SPEAKS = Fraction(24), 3840 * 2160 / 1e6, 0.25, 0.6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--dubs", type=int, default=1)
    parser.add_argument("--join", type=float, default=0.1)
    parser.add_argument("--start", type=float, default=0.5, help="seconds that a window takes to begin")
    parser.add_argument("--proof", action="store_true", help="compare the masters too, in the same windows")
    args = parser.parse_args()
    random = np.random.default_rng(1)
    lengths = np.maximum(8, np.round(random.lognormal(np.log(2.5), 0.97, args.shots) * float(RATE))).astype(int)
    speaks = random.random(args.shots) < SPEAKS
    edges = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    parts = film_windows(edges[:-1], edges[-1], RATE)
    minutes = float(edges[-1] / RATE / 60)
    print(f"{args.shots} shots, {minutes:.0f} minutes at 24 a second, {args.dubs} dubs, {args.slots} slots")
    ways = [("one task", [(0, edges[-1])]), (f"{len(parts)} windows", parts)]
    for name, cuts in ways:
        pieces = [p for turn in range(args.dubs) for p in dub(turn, edges, speaks.tolist(), cuts, args)]
        at = spans(pieces, args.slots, 0.0)
        whole = max(end for _, end in at.values())
        joins = min((start for piece, (start, _) in at.items() if piece.startswith("join")), default=whole)
        found = [used(at.values(), a, b, args.slots) for a, b in ((0, whole), (0.9 * whole, whole), (0, joins),
                                                                  (0.9 * joins, joins))]  # fmt: skip
        print(f"{name}: {whole / 60:.1f} minutes; use {found[0]:.3f}, of the last tenth {found[1]:.3f}")
        print(f"  before joining: {joins / 60:.1f} minutes; use {found[2]:.3f}, of the last tenth {found[3]:.3f}")


def used(at: Iterable[tuple[float, float]], first: float, last: float, slots: int) -> float:
    """The share of the slots that is busy between two moments."""
    return sum(max(0.0, min(end, last) - max(start, first)) for start, end in at) / slots / (last - first)


def dub(
    turn: int,
    edges: Sequence[int],
    speaks: Sequence[bool],
    cuts: Sequence[tuple[int, int]],
    args: argparse.Namespace,
) -> list[Piece]:
    """The pieces of one dub: takes, scores, windows of the master and what joins them."""
    made: list[Piece] = []
    ends: list[tuple[str, str]] = []

    def add(name: str, seconds: float, waits: Sequence[str], weight: float) -> None:
        made.append(Piece(name, seconds, tuple(waits), rank=turn, weight=weight))

    for n, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        names = f"lips {turn} {n}", f"sync {turn} {n}"
        for stage, name, waits in ((Lipsync, names[0], []), (Sync, names[1], [names[0]])):
            split = windows(a, b)
            own = [f"{name} {k}" for k in range(len(split))] if len(split) > 1 else [name]
            for one, (c, d) in zip(own, split, strict=True):
                work = Work(1, MEGAPIXELS, 1, FACE_MP) * (float(d - c) if speaks[n] else 0.0)
                add(one, work.reference_s(stage.name), waits, stage.weight(d - c))
            if len(split) > 1:
                add(name, 0.0, own, stage.weight(b - a))
        ends.append(names)
    for k, (a, b) in enumerate(cuts):
        over = [n for n in range(len(ends)) if edges[n] < b and a < edges[n + 1]]
        work = Work(
            b - a, (b - a) * MEGAPIXELS, sum(speaks[n] * (min(b, edges[n + 1]) - max(a, edges[n])) for n in over)
        )
        add(
            f"master {turn}/{k}",
            work.reference_s("master"),
            [e for n in over for e in ends[n]],
            MakeMaster.weight(b - a),
        )
    joined = f"master {turn}/0"
    if len(cuts) > 1:
        parts = [f"master {turn}/{k}" for k in range(len(cuts))]
        joined = f"join {turn}"
        add(joined, args.join / 1000 * edges[-1], parts, MakeMaster.weight(edges[-1]))
    for k, (a, b) in enumerate(cuts if args.proof else ()):
        work = Work(b - a, (b - a) * MEGAPIXELS, SPEAKS * (b - a))
        add(f"proof {turn}/{k}", work.reference_s("proof") + args.start, [joined], ProveMasters.weight(b - a))
    return made


if __name__ == "__main__":
    main()
