"""How long commands take that do no work: what a person waits for before anything is said.

    python -m bench.start OUT [--repeats 9]
    python -m bench.start --workers 2 [--repeats 3]

Runs `dub --version`, `dub --help`, `dub status OUT` and `dub check` of no manifest in processes of their own, by turns,
and prints the median and the least of wall time and processor time, in seconds. OUT: the output folder of a run.

With --workers: how long a run on Ray takes until its first task, which does nothing, has ended: wall time, and
processor time of its process and of all that it started, Ray's own and the workers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.engine import spent

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"}  # for workers too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="absent")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    for _ in range(args.repeats if args.workers else 0):
        code = f"from bench.start import workers; workers({args.workers})"
        subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
    if args.workers:
        return
    commands = {name: name.split() for name in ("--version", "--help", "check absent.yaml")}
    commands["status"] = ["status", args.out]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(args.repeats):
        for name, command in commands.items():
            taken[name].append(once(command))
    for name, pairs in taken.items():
        wall, cpu = zip(*pairs, strict=True)
        print(
            f"dub {name:<17} wall {median(wall):.2f} (least {min(wall):.2f}), processor {median(cpu):.2f} "
            f"(least {min(cpu):.2f})"
        )


def workers(count: int) -> None:
    """Print what it takes to start Ray and workers, in this process."""
    began = time.perf_counter()
    from faulty import Sleepers

    from dubbing.config import Engine
    from dubbing.engine.ray import RayPool
    from dubbing.engine.schedule import Event, Schedule
    from dubbing.stage import Resources

    def told(event: Event) -> None:
        if event.kind == "finished" and event.stage == "faces":
            print(f"first task done after {time.perf_counter() - began:.2f} s, processor {spent():.2f} s")

    with tempfile.TemporaryDirectory() as folder:
        work = Sleepers(Path(folder) / "out", [(0.0, None)])
        kinds = dict.fromkeys(work.names, Resources(memory_mb=10))
        Schedule(work, told).drain(lambda: RayPool(work.store, Engine(workers=count), kinds))


def once(command: list[str]) -> tuple[float, float]:
    """Seconds of wall time and of processor time of one command."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "dubbing", *command], capture_output=True, check=False)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent


if __name__ == "__main__":
    main()
