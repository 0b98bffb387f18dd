"""Stages that misbehave on purpose, and a job of them, for the tests and benchmarks of the engines.

Workers are other processes: `register` runs in each of them when it starts, and makes the stages known there.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dubbing import pipeline
from dubbing.stage import Stage
from dubbing.store import Store, key_of
from dubbing.task import Outcome, Task

ENVIRONMENT = {
    "worker_process_setup_hook": "faulty.register",
    "env_vars": {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"},
}


class Sleep(Stage):
    """Sleeps instead of computing. args: seconds, fault (None or how it goes wrong), mark (a file of its own)."""

    name = "faces"

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        mark = Path(args["mark"])
        tries = len(mark.read_text()) if mark.exists() else 0
        if args["fault"]:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text("x" * (tries + 1))
        if args["fault"] == "poison" or (args["fault"] == "dies once" and not tries):
            os.kill(os.getpid(), signal.SIGKILL)
        if args["fault"] == "hungry" and tries < 2:
            raise MemoryError
        if args["fault"] == "hangs" or (args["fault"] == "hangs once" and not tries):
            time.sleep(600)
        time.sleep(args["seconds"])
        progress(args["frames"])
        (out / "value.txt").write_text(f"{args['value']}\n")
        return {"value": args["value"]}


def register() -> None:
    """Put the stages of this file in place of the real ones, in this process."""
    for name in ("faces", "lipsync", "sync"):
        pipeline.STAGES[name] = (__name__, "Sleep")
    pipeline._class.cache_clear()


class Sleepers:
    """Work of shots that pass three stages each. shots: (seconds, fault of its second stage) of each."""

    expands = frozenset[str]()
    per_shot = frozenset({"faces", "lipsync", "sync"})
    stages = ["faces", "lipsync", "sync"]

    def __init__(self, out: Path, shots: list[tuple[float, str | None]]) -> None:
        self.store = Store(out)
        self._tasks: list[Task] = []
        for n, (seconds, fault) in enumerate(shots):
            before: tuple[str, ...] = ()
            for stage in self.stages:
                name = f"shot_{n:04d}"
                frames = round(seconds * 100)
                args = {"seconds": seconds, "frames": frames, "value": f"{stage} {n}",
                        "fault": fault if stage == "lipsync" else None,
                        "mark": str(out / "marks" / name)}  # fmt: skip
                task = Task(f"{stage} film/fr/{name}", stage, key_of(stage, n), out / stage / name, args, before, (),
                            frames, weight=seconds * (3 - self.stages.index(stage)))  # fmt: skip
                self._tasks.append(task)
                before = (task.id,)

    def tasks(self, failed: Mapping[str, Outcome]) -> list[Task]:
        return self._tasks

    def done(self, task: Task) -> bool:
        return self.store.done(task.folder)

    def forget(self, task: Task) -> None:
        pass

    def result(self, task: Task) -> None:
        return None

    def values(self) -> dict[str, str]:
        """What lies in the output folder: shot -> value, by stage."""
        return {str(p.relative_to(self.store.root)): p.read_text() for p in self.store.root.glob("*/shot_*/value.txt")}
