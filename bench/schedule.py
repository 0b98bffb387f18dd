"""How well slots are used: shots that sleep instead of being computed, on a real Ray.

    python -m bench.schedule [--shots 2000] [--slots 64] [--scale 0.25] [--vanish]

Shot lengths are drawn from a lognormal distribution (median 2.5 s, mean 4 s of film, as films of the last decades
are cut; seeded); every shot passes three stages that sleep 0.5, 1 and 0.75 times its length times --scale.
--vanish: two nodes hold the slots; one is killed after a third of the time, and comes back after a sixth.
Prints: slot use (seconds slept over slot-seconds there were) from the first task's start to the last one's end,
tasks a second, and the driver's memory and object store as it went.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import ray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import faulty
from faulty import Sleepers

from dubbing.config import Engine
from dubbing.engine.ray import RayPool
from dubbing.engine.schedule import Event, Schedule
from dubbing.stage import Resources

KIND = Resources(cpus=1.0, gpus=0.0, memory_mb=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--vanish", action="store_true")
    args = parser.parse_args()
    from ray.cluster_utils import Cluster

    half = args.slots // 2
    first = args.slots - half if args.vanish else args.slots
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": first, "include_dashboard": False})
        node = cluster.add_node(num_cpus=half) if args.vanish else None
        ray.init(address=cluster.address, runtime_env=faulty.ENVIRONMENT, log_to_driver=False,
                 logging_level=logging.ERROR)  # fmt: skip
    lengths = np.random.default_rng(1).lognormal(np.log(2.5), 0.97, args.shots)
    work = Sleepers(Path(tempfile.mkdtemp(prefix="dub-schedule-")), [(float(s) * args.scale, None) for s in lengths])
    used, there = Meter(), Slots(args.slots)
    memory: list[float] = []

    def on_event(event: Event) -> None:
        used.see(event)
        if event.kind == "finished" and used.ended % max(1, args.shots // 4) == 0:
            memory.append(psutil.Process().memory_info().rss / 2**20)

    schedule = Schedule(work, on_event)
    changes = threading.Event()
    runs = threading.Thread(
        target=schedule.drain, args=[lambda: RayPool(work.store, Engine(), dict.fromkeys(work.names, KIND))]
    )
    runs.start()
    if node is not None:
        expected_s = sum(t.inputs.seconds for t in work.tasks({})) / args.slots
        changes.wait(expected_s / 3)
        with contextlib.redirect_stderr(io.StringIO()):
            cluster.remove_node(node, allow_graceful=False)
            there.change(first)
            changes.wait(expected_s / 6)
            cluster.add_node(num_cpus=half)
        there.change(args.slots)
    runs.join()
    slept_s = sum(t.inputs.seconds for t in work.tasks({}))
    slot_s = there.seconds(used.first_s, used.last_s)
    wall_s = used.last_s - used.first_s
    tasks = len(work.tasks({}))
    print(f"{tasks} tasks, {len(schedule.failed)} failed, {wall_s:.1f} s from the first start to the last end, "
          f"{tasks / wall_s:.0f} tasks a second")  # fmt: skip
    print(f"slot use {slept_s / slot_s:.3f}: {slept_s:.0f} s slept in {slot_s:.0f} slot-seconds")
    print(f"driver: {memory[0]:.0f} MB after the first quarter of a stage, {memory[-1]:.0f} MB at the end; "
          f"object store used {object_store_mb():.1f} MB")  # fmt: skip
    with contextlib.redirect_stderr(io.StringIO()):
        ray.shutdown()
        cluster.shutdown()


class Meter:
    """When tasks began and ended, as the driver saw it."""

    def __init__(self) -> None:
        self.first_s, self.last_s, self.ended = 0.0, 0.0, 0

    def see(self, event: Event) -> None:
        if event.kind == "started" and not self.first_s:
            self.first_s = time.monotonic()
        if event.kind in ("finished", "failed"):
            self.last_s = time.monotonic()
            self.ended += 1


class Slots:
    """How many slots there were when."""

    def __init__(self, slots: int) -> None:
        self._changes = [(0.0, slots)]

    def change(self, slots: int) -> None:
        self._changes.append((time.monotonic(), slots))

    def seconds(self, first_s: float, last_s: float) -> float:
        """Slot-seconds between two moments."""
        ends = [*(at for at, _ in self._changes[1:]), float("inf")]
        return sum(
            slots * max(0.0, min(end, last_s) - max(at, first_s))
            for (at, slots), end in zip(self._changes, ends, strict=True)
        )


def object_store_mb() -> float:
    total, free = ray.cluster_resources(), ray.available_resources()
    return (total.get("object_store_memory", 0) - free.get("object_store_memory", 0)) / 2**20


if __name__ == "__main__":
    main()
