"""Workers die, hang, run out of memory; nodes leave: the run ends, with the result of an undisturbed one.

On a real Ray with two nodes (raylets) on this machine; stages sleep instead of computing (`faulty`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty
import pytest
import ray
from faulty import Rendering, Sleepers
from waiting import NET_S, until

from dubbing.config import Engine
from dubbing.engine.ray import RayPool
from dubbing.engine.schedule import Event, Schedule
from dubbing.stage import Resources

pytestmark = pytest.mark.ray
KIND = Resources(cpus=1.0, gpus=0.0, memory_mb=100)
CALM = [(0.05, None)] * 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    before = os.environ.get("RAY_AUTH_TOKEN")
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # where a run of ours was in this process, Ray asks for one
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        ray.init(address=made.address, runtime_env=faulty.ENVIRONMENT, log_to_driver=False,
                 logging_level=logging.ERROR)  # fmt: skip
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.pop("RAY_AUTH_TOKEN") if before is None else os.environ.update(RAY_AUTH_TOKEN=before)


def run(work: Sleepers, **settings: Any) -> tuple[Schedule, list[str]]:
    """Everything done, and the notes that came."""
    notes: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "message":
            notes.append(event.text)

    schedule = Schedule(work, on_event)
    schedule.drain(lambda: RayPool(work.store, Engine(**settings), dict.fromkeys(work.names, KIND)))
    return schedule, notes


def undisturbed(tmp_path: Path, shots: list[tuple[float, str | None]]) -> dict[str, str]:
    """What a run without faults leaves, worked out without one."""
    return {f"{s}/shot_{n:04d}/value.txt": f"{s} {n}\n" for n in range(len(shots)) for s in Sleepers.names}


def test_a_worker_that_dies_costs_one_try_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    shots = [*CALM, (0.05, "dies once")]
    work = Sleepers(tmp_path / "out", shots)
    schedule, notes = run(work)
    assert not schedule.failed and work.values() == undisturbed(tmp_path, shots)
    assert len(notes) == 1 and "lipsync film/fr/shot_0010: its worker died" in notes[0] and "try 1 of 3" in notes[0]


def test_a_poisoned_shot_is_given_up_and_the_rest_is_done(cluster: Any, tmp_path: Path) -> None:
    work = Sleepers(tmp_path / "out", [*CALM, (0.05, "poison")])
    schedule, notes = run(work)
    assert set(schedule.failed) == {"lipsync film/fr/shot_0010", "sync film/fr/shot_0010"}
    failed = schedule.failed["lipsync film/fr/shot_0010"]
    assert failed.error_class == "WorkerDied" and "3 times" in (failed.error or "")
    assert len(work.values()) == 31 and len(notes) == 3 and "given up" in notes[-1]


def test_a_stage_that_hangs_is_stopped_at_its_deadline_and_tried_again(cluster: Any, tmp_path: Path) -> None:
    shots = [*CALM[:4], (0.05, "hangs once")]
    work = Sleepers(tmp_path / "out", shots)
    schedule, notes = run(work, deadline_s=2.0, deadline_frame_s=0.01)
    assert not schedule.failed and work.values() == undisturbed(tmp_path, shots)
    assert any("passed its deadline, try 1 of 3" in note for note in notes)


def test_a_stage_that_always_hangs_is_given_up(cluster: Any, tmp_path: Path) -> None:
    work = Sleepers(tmp_path / "out", [*CALM[:4], (0.05, "hangs")])
    schedule, _ = run(work, deadline_s=2.0, deadline_frame_s=0.01, tries=2)
    assert schedule.failed["lipsync film/fr/shot_0004"].error_class == "Deadline" and len(work.values()) == 13


def test_a_stage_that_runs_out_of_memory_gets_more(cluster: Any, tmp_path: Path) -> None:
    shots = [*CALM[:4], (0.05, "hungry")]
    work = Sleepers(tmp_path / "out", shots)
    schedule, notes = run(work)
    assert not schedule.failed and work.values() == undisturbed(tmp_path, shots)
    assert [n for n in notes if "ran out of memory" in n] == notes and len(notes) == 2


def test_a_node_that_leaves_costs_no_try(cluster: Any, tmp_path: Path) -> None:
    shots: list[tuple[float, str | None]] = [(0.5, None)] * 12
    work = Sleepers(tmp_path / "out", shots)
    with contextlib.redirect_stderr(io.StringIO()):
        node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def leave() -> None:
        until(lambda: node.node_id in work.nodes())  # and it works on the next task
        cluster.remove_node(node, allow_graceful=False)

    leaver = threading.Thread(target=leave)
    leaver.start()
    schedule, notes = run(work, tries=1)
    leaver.join()
    assert not schedule.failed and work.values() == undisturbed(tmp_path, shots)
    assert any("its node left the cluster" in note for note in notes)


def test_kinds_of_workers_do_not_wait_for_each_other(cluster: Any, tmp_path: Path) -> None:
    """A stage that asks for a GPU the cluster has not got waits; the others go on meanwhile."""
    work = Sleepers(tmp_path / "out", [(0.05, None)] * 3)
    kinds = {"faces": KIND, "lipsync": Resources(1.0, 0.5, 100), "sync": KIND}
    notes: list[str] = []
    schedule = Schedule(work, lambda event: notes.append(event.text) if event.kind == "message" else None)
    runs = threading.Thread(target=schedule.drain, args=[lambda: RayPool(work.store, Engine(), kinds)])
    runs.start()
    until(lambda: len(work.values()) == 3 and bool(notes))
    assert "waits for 0.5 GPU" in notes[0] and "has 0" in notes[0]
    with contextlib.redirect_stderr(io.StringIO()):
        cluster.add_node(num_cpus=1, num_gpus=1)
    runs.join(NET_S)
    assert not schedule.failed and len(work.values()) == 9


def test_generators_that_ask_for_different_shares_of_a_gpu_take_turns(cluster: Any, tmp_path: Path) -> None:
    """On a GPU that is none, on which one of them leaves no room for the other."""
    if not ray.cluster_resources().get("GPU"):
        with contextlib.redirect_stderr(io.StringIO()):
            cluster.add_node(num_cpus=1, num_gpus=1)
        until(lambda: ray.cluster_resources().get("GPU"))
    large, small = (Resources(1.0, gpus, 100) for gpus in (0.75, 0.5))
    work = Rendering(tmp_path / "out", [(0.3, None)] * 9, lambda n: small if n == 8 else large)
    started: list[str | None] = []
    schedule = Schedule(work, lambda event: started.append(event.shot) if event.kind == "started" else None)
    schedule.drain(lambda: RayPool(work.store, Engine(), {"lipsync": KIND}, patience_s=0.5))
    assert not schedule.failed and len(work.values()) == 9
    assert started[-1] != "shot_0008", "it had to wait for all of the others"


def test_a_gpu_that_others_hold_keeps_nobody_else_waiting(cluster: Any, tmp_path: Path) -> None:
    if not ray.cluster_resources().get("GPU"):
        with contextlib.redirect_stderr(io.StringIO()):
            cluster.add_node(num_cpus=1, num_gpus=1)
        until(lambda: ray.cluster_resources().get("GPU"))
    others = [ray.remote(num_cpus=0, num_gpus=1)(dict).remote() for _ in range(int(ray.cluster_resources()["GPU"]))]
    until(lambda: not ray.available_resources().get("GPU"))
    work = Sleepers(tmp_path / "out", [(0.3, None)] * 8)
    kinds = {"faces": KIND, "lipsync": Resources(0.0, 0.5, 100), "sync": KIND}
    runs = threading.Thread(
        target=Schedule(work, lambda event: None).drain,
        args=[lambda: RayPool(work.store, Engine(), kinds, patience_s=0.2, start_s=0.2)],
    )
    runs.start()
    until(lambda: len(work.values()) == 8)
    for one in others:
        ray.kill(one)
    runs.join(NET_S)
    assert len(work.values()) == 24


def said_alone(tmp_path: Path, pool: str, then: str) -> str:
    """What a process with a Ray of its own prints. pool, then: Python, with `R` for Resources and `work`."""
    code = (
        "import faulty, os; from pathlib import Path; from dubbing.stage import Resources as R\n"
        "from dubbing.engine.ray import RayPool; from dubbing.engine.schedule import Schedule\n"
        "from dubbing.config import Engine; from dubbing.errors import InputError\n"
        f"work = faulty.Sleepers(Path({str(tmp_path / 'out')!r}), [(0.01, None)] * 9)\n"
        f"pool = lambda: {pool}\n{then}"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, env=env,
                          cwd=Path(__file__).parent)  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("workers", [None, 2])
def test_a_gpu_that_this_machine_has_not_is_said_at_once(tmp_path: Path, workers: int | None) -> None:
    pool = f"RayPool(work.store, Engine(workers={workers}), dict.fromkeys(work.names, R(1, 400)))"
    drain = "try: Schedule(work, lambda event: None).drain(pool)\nexcept InputError as e: print(e)"
    said = said_alone(tmp_path, pool, drain)
    assert "A worker of faces, lipsync, sync asks for 400 GPU, and this machine has " in said


def test_a_person_may_ask_for_more_workers_than_there_are_cores(tmp_path: Path) -> None:
    pool = "RayPool(work.store, Engine(workers=os.cpu_count() + 1), dict.fromkeys(work.names, R(1, 0, 50)))"
    said = said_alone(tmp_path, pool, "one = pool(); ready = [t for t in work.tasks({}) if t.stage == 'faces'] * 40\n"
                      "one.take(ready)\nwhile any(w.node == '' for w in one.workers()): one.wait()\n"
                      "print(len(one.workers()) - os.cpu_count(), 'more'); one.close()")  # fmt: skip
    assert "1 more" in said
