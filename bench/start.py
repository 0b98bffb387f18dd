"""How long commands take that do no work: what a person waits for before anything is said.

    python -m bench.start OUT [--repeats 9]

Runs `dub --version`, `dub --help`, `dub status OUT` and `dub check` of no manifest in processes of their own, by turns,
and prints the median and the least of wall time and processor time, in seconds. OUT: the output folder of a run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
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


def once(command: list[str]) -> tuple[float, float]:
    """Seconds of wall time and of processor time of one command."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "dubbing", *command], capture_output=True, check=False)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent


if __name__ == "__main__":
    main()
