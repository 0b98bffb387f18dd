"""Stages that misbehave on purpose, and a job of them, for the tests and benchmarks of the engines.

Workers are other processes: `ENVIRONMENT` lets them import this module.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ray

from dubbing.artifact import Artifact, Ref
from dubbing.stage import Resources, Scope, Stage
from dubbing.store import Store, key_of
from dubbing.task import Inputs, Outcome, Task

ENVIRONMENT = {"env_vars": {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"}}


@dataclass(frozen=True)
class Slept(Artifact):
    """What lies in value.txt too."""

    schema: ClassVar[str] = "test.slept.1"
    value: str


@dataclass(frozen=True)
class Nap(Inputs):
    """seconds: how long; value: what is left; fault: how it goes wrong, or None; mark: a file of its own."""

    seconds: float
    frames: int
    value: str
    fault: str | None
    mark: str
    before: tuple[Ref[Slept], ...] = ()


class Sleep(Stage[Nap, Slept]):
    """Sleeps instead of computing."""

    scope = Scope.DUB_SHOT

    def process(self, inputs: Nap, out: Path, progress: Callable[[int], None]) -> Slept:
        mark, fault = Path(inputs.mark), inputs.fault
        tries = len(mark.read_text()) if mark.exists() else 0
        if fault:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text("x" * (tries + 1))
        if fault == "poison" or (fault == "dies once" and not tries):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hungry" and tries < 2:
            raise MemoryError
        if fault == "hangs" or (fault == "hangs once" and not tries):
            time.sleep(600)
        time.sleep(inputs.seconds)
        progress(inputs.frames)
        (out / "value.txt").write_text(f"{inputs.value}\n")
        if ray.is_initialized():
            (out / "node.txt").write_text(ray.get_runtime_context().get_node_id())
        return Slept(inputs.value)


class First(Sleep):
    name = "faces"


class Second(Sleep):
    name = "lipsync"


class Third(Sleep):
    name = "sync"


class Sleepers:
    """Work of shots that pass three stages each. shots: (seconds, fault of its second stage) of each; holds: what a
    worker of the second stage holds, by the shot's number; None: as of its stage."""

    stages: tuple[type[Stage[Any, Any]], ...] = (First, Second, Third)
    names = tuple(stage.name for stage in stages)

    def __init__(
        self, out: Path, shots: list[tuple[float, str | None]], holds: Callable[[int], Resources | None] | None = None
    ) -> None:
        self.store = Store(out)
        self._tasks: list[Task] = []
        for n, (seconds, fault) in enumerate(shots):
            before: tuple[Ref[Slept], ...] = ()
            for place, stage in enumerate(self.stages):
                shot = f"shot_{n:04d}"
                frames = round(seconds * 100)
                wrong = fault if stage is Second else None
                nap = Nap(seconds, frames, f"{stage.name} {n}", wrong, str(out / "marks" / shot), before)
                task = Task(stage, key_of(stage.name, n), out / stage.name / shot, nap, "film", "fr", shot,
                            frames=frames, weight=seconds * (len(self.stages) - place),
                            holds=holds(n) if holds and stage is Second else None)  # fmt: skip
                self._tasks.append(task)
                before = (task.ref,)

    def tasks(self, failed: Mapping[str, Outcome]) -> list[Task]:
        return self._tasks

    def done(self, task: Task) -> bool:
        return self.store.done(task.folder)

    def forget(self, task: Task) -> None:
        pass

    def result(self, task: Task) -> None:
        return None

    def nodes(self) -> set[str]:
        """Ids of the nodes of Ray on which something was done."""
        return {p.read_text() for p in self.store.root.glob("*/shot_*/node.txt")}

    def values(self) -> dict[str, str]:
        """What lies in the output folder: shot -> value, by stage."""
        return {str(p.relative_to(self.store.root)): p.read_text() for p in self.store.root.glob("*/shot_*/value.txt")}


class Rendering(Sleepers):
    """Shots of which only the second stage is done."""

    stages = (Second,)
    names = ("lipsync",)
