"""`dub plan` against a finished run: how far off is the estimate, from a history or a trial, before and after analysis?

    python -m bench.estimate MANIFEST RUN [--history FILE] [--trial] [--workers N] [--engine ray|local] [--wall SECONDS]

MANIFEST: what RUN (an --out folder) was made from. Only titles and languages of MANIFEST are compared, so a manifest of
the first language compares that one. The history must come from other films, or the comparison says nothing.
Core seconds are processor time where the run kept it, else the wall seconds of its tasks. The wall time is run.json's
where that run did everything; --wall gives it otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from dubbing import config, estimate, manifest
from dubbing.job import Job
from dubbing.store import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--trial", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--wall", type=float, help="wall seconds of the run")
    args = parser.parse_args()
    job, settings = manifest.load(args.manifest), config.load()
    named = (job.generators[0].name, settings.sync.expert, args.engine)
    run = read_json(args.run / "run.json")
    actual: dict[str, float] = {}
    for costs in estimate.measure(Job(job, args.run, settings), args.engine).titles:
        for stage, cost in costs.items():
            actual[stage] = actual.get(stage, 0.0) + cost.cpu_s
    wall = args.wall or (run["seconds"] if not run.get("found_done") else None)
    sources = {}
    if args.history:
        sources["history"] = estimate.Rates.pooled(estimate.recall(args.history), *named)
    if args.trial:
        sources["trial"] = estimate.Rates.pooled([estimate.trial(job, settings)], *named)
    with tempfile.TemporaryDirectory(prefix="dub-bench-") as folder:
        empty, analysed = Path(folder) / "empty", Path(folder) / "analysed"
        for title in job.titles:
            shutil.copytree(args.run / title.id / "analysis", analysed / title.id / "analysis")
        for name, rates in sources.items():
            print(f"\nfrom the {name}: {rates.runs} runs, {rates.frames} frames, dubbed share "
                  f"{rates.dubbed_share:.2f}, faces a frame {rates.faces:.2f}, "
                  f"start-up {rates.startup_s or 'assumed'}")  # fmt: skip
            expected = estimate.estimate(Job(job, empty, settings), rates, args.workers, engine=args.engine)
            compare(expected, actual, wall)
            left = {s: v for s, v in actual.items() if s in ("lipsync", "sync", "master")}
            print("   after the analysis, what is left:")
            compare(
                estimate.estimate(Job(job, analysed, settings), rates, args.workers, engine=args.engine), left, None
            )


def compare(expected: estimate.Estimate, actual: dict[str, float], wall: float | None) -> None:
    """One row per stage, the sum, and the wall time."""
    rows = [(s.stage, (s.core_hours or 0.0) * 3600, actual[s.stage]) for s in expected.stages if s.stage in actual]
    rows.append(("core seconds", sum(r[1] for r in rows), sum(r[2] for r in rows)))
    if wall is not None and expected.wall_s is not None:
        rows.append(("wall seconds", expected.wall_s, wall))
    for name, said, was in rows:
        print(f"   {name:<13} {said:7.1f} expected {was:7.1f} measured  {100 * (said / was - 1):+5.0f} %")


if __name__ == "__main__":
    main()
