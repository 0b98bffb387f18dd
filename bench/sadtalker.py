"""SadTalker's renderer as dub runs it beside plain eager float32 layers of the same weights, in one process.

    python -m bench.sadtalker [--rounds 3] [--threads 2] [--size 256]

Two pictures a round each way, by turns: `plain` is `SpadeGenerator`, one picture after another with all threads;
`quick` is what renders, a picture a thread. A still is looked at once by `quick`, and by `plain` in every picture, as
published; so `plain, seen` has that taken out. Printed for a picture: processor time (what counts where a machine is
shared) and wall time, the least of the rounds; how many times quicker than `plain`; and how far the result lies from
`plain`, of 1. Weights are made: each tensor by its name, as in the tests' reference numbers (`tests/formula.py`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dubbing.networks.folding import in_lanes
from dubbing.networks.sadtalker.generator import SpadeGenerator
from dubbing.networks.sadtalker.quick import QuickGenerator

__all__ = ["main"]

PICTURES = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, choices=(256, 512), default=256)
    given = parser.parse_args()
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    fill = import_module("formula").fill
    torch.set_num_threads(given.threads)
    net: SpadeGenerator = fill(SpadeGenerator())
    quick = QuickGenerator(net)
    rng = np.random.default_rng(1)
    picture = torch.from_numpy(rng.uniform(0, 1, (1, 3, given.size, given.size)).astype(np.float32))
    old = torch.from_numpy(rng.uniform(-0.7, 0.7, (1, 15, 3)).astype(np.float32))
    new = [old + torch.from_numpy(rng.normal(0, 0.03, (1, 15, 3)).astype(np.float32)) for _ in range(PICTURES)]
    with torch.inference_mode():
        seen, volume = quick.see(picture), net.volume(picture)

        def known(points: Tensor) -> Tensor:
            motion = net.dense_motion_network(volume, old, points)
            drawn: Tensor = net.decoder(net.features(volume, motion))
            return drawn

        ways: dict[str, Callable[[], list[Tensor]]] = {
            "plain": lambda: [net(picture, old, points) for points in new],
            "plain, seen": lambda: [known(points) for points in new],
            "quick": lambda: in_lanes(lambda points: quick.draw(seen, old, points), new),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        results = {name: run() for name, run in ways.items()}
        for _ in range(given.rounds):
            for name, run in ways.items():
                cpu, wall = time.process_time(), time.perf_counter()
                run()
                times[name].append(((time.process_time() - cpu) / PICTURES, (time.perf_counter() - wall) / PICTURES))
    least = {name: tuple(min(one[axis] for one in found) for axis in (0, 1)) for name, found in times.items()}
    print(f"{given.size} px, {given.threads} threads, {given.rounds} rounds, s a picture")
    for name, (cpu, wall) in least.items():
        apart = max(float((a - b).abs().max()) for a, b in zip(results[name], results["plain"], strict=True))
        ratio = least["plain"][0] / cpu, least["plain"][1] / wall
        print(f"{name:12} cpu {cpu:6.2f} ({ratio[0]:.2f}x)  wall {wall:6.2f} ({ratio[1]:.2f}x)  apart {apart:.1e}")


if __name__ == "__main__":
    main()
