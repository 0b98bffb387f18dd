"""How well slots are used, and what the process that hands out the work costs.

    python -m bench.schedule [COSTS.json] [--shots 2000] [--frames 158400] [--languages 10] [--titles 1] [--slots 64]
    python -m bench.schedule --ray [--shots 300] [--slots 8] [--scale 0.1] [--vanish]

Without --ray: features by the real job and the real loop, with slots, results and clock made up (`bench.simulated` says
what is real). COSTS.json, which `bench.cost --json` writes, says what stages cost; without it the committed table does.
Prints slot use of the whole and from one mark to the next (cuts known; the last faces; the first take; the last take;
the last window; the end), when each title and its first language are ready, the processor time of the loop a task, and
its memory.

With --ray: shots that sleep on a real Ray, three stages each, for 0.5, 1 and 0.75 times their lengths times --scale;
slot use, and the processor time of the driver a task. --vanish: two nodes hold the slots; one is killed after a third
of the time, and comes back after a sixth.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import resource
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

from bench.simulated import LANGUAGES, Costs, Feature, made_job, simulate, used, write_film
from dubbing.config import Engine
from dubbing.engine.ray import RayPool
from dubbing.engine.schedule import Event, Schedule
from dubbing.stage import Resources

COSTS = Path(__file__).with_name("costs.json")
KB = 1024 if sys.platform != "darwin" else 2**20  # of what the system says of memory, in a megabyte
KIND = Resources(cpus=1.0, gpus=0.0, memory_mb=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, nargs="?", default=COSTS)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=158_400, help="of a title; default: 110 minutes")
    parser.add_argument("--languages", type=int, default=10)
    parser.add_argument("--titles", type=int, default=1)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--one-pass", action="store_true", help="look for cuts in one pass, as in films of ten minutes")
    parser.add_argument("--share", type=float, help="of frames that are re-rendered; default: as of the costs")
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--vanish", action="store_true")
    args = parser.parse_args()
    if args.ray:
        on_ray(args)
    else:
        made_up(args)


def made_up(args: argparse.Namespace) -> None:
    """Features on a clock that jumps."""
    costs = Costs.read(args.costs)
    film = Feature.drawn(args.frames, args.shots, args.share or costs.share)
    with tempfile.TemporaryDirectory(prefix="dub-schedule-") as name:
        folder = Path(name)
        manifest = write_film(folder, args.languages, args.titles)
        job = made_job(manifest, folder / "out", film=film, one_pass=args.one_pass)
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KB
        run = simulate(job, film, costs, args.slots)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KB
    spans, last = run.spans, max(s.end for s in run.spans)
    print(f"{args.titles} titles of {args.shots} shots in {args.languages} languages on {args.slots} slots: "
          f"{len(spans)} tasks, {len(run.failed)} failed, {sum(s.end - s.start for s in spans) / 3600:.1f} "
          "core-hours")  # fmt: skip
    print(f"slot use {used(spans, args.slots):.3f} over {last / 60:.1f} minutes")
    marks = {"cuts known": max, "last faces": max, "first take begins": min, "last take": max, "end": max}
    stages = ("shots", "faces", "lipsync", "lipsync", None)
    at = 0.0
    for (what, of), stage in zip(marks.items(), stages, strict=True):
        own = [s for s in spans if stage in (None, s.task.stage)]
        end = of(s.end if of is max else s.start for s in own)
        if end > at:
            print(f"  until {what:18} {end / 60:7.1f} min, slot use {used(spans, args.slots, at, end):.3f}")
            at = end
    for n in range(args.titles):
        proofs = [s.end for s in spans if s.task.title == f"film{n}" and s.task.stage == "proof"]
        first = [s.end for s in spans if s.task.id == f"proof film{n}/{LANGUAGES[0]}"]
        print(f"  title {n + 1}: first language {first[0] / 60:.1f} min, all {max(proofs) / 60:.1f} min")
    for stage in ("shots", "source_audio", "people", "overlay_list", "speakers", "actors", "donors", "turns"):
        if own := [s for s in spans if s.task.stage == stage and s.task.title == "film0"]:
            print(f"  {stage}: {max(s.end - s.start for s in own):.0f} s, slot use meanwhile "
                  f"{used(spans, args.slots, min(s.start for s in own), max(s.end for s in own)):.3f}")  # fmt: skip
    print(f"loop: {1000 * run.driver_s / len(spans):.2f} ms of processor time a task, planned {run.plans} times; "
          f"memory {before_mb:.0f} MB before, {peak_mb:.0f} MB at most")  # fmt: skip


def on_ray(args: argparse.Namespace) -> None:
    """Shots that sleep."""
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
    meter, there = Meter(), Slots(args.slots)
    memory: list[float] = []

    def on_event(event: Event) -> None:
        meter.see(event)
        if event.kind == "finished" and meter.ended % max(1, args.shots // 4) == 0:
            memory.append(psutil.Process().memory_info().rss / 2**20)

    schedule = Schedule(work, on_event)
    changes, before_s = threading.Event(), time.process_time()
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
    driver_s = time.process_time() - before_s
    slept_s = sum(t.inputs.seconds for t in work.tasks({}))
    slot_s = there.seconds(meter.first_s, meter.last_s)
    wall_s = meter.last_s - meter.first_s
    tasks = len(work.tasks({}))
    print(f"{tasks} tasks, {len(schedule.failed)} failed, {wall_s:.1f} s from the first start to the last end, "
          f"{tasks / wall_s:.0f} tasks a second")  # fmt: skip
    print(f"slot use {slept_s / slot_s:.3f}: {slept_s:.0f} s slept in {slot_s:.0f} slot-seconds")
    print(f"driver: {1000 * driver_s / tasks:.1f} ms of processor time a task")
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
