"""Everything in this process, one task at a time: for debugging, tests and small machines."""

from __future__ import annotations

from collections import Counter

from dubbing.pipeline import build
from dubbing.stage import Outcome, Stage, Task, execute
from dubbing.store import Store

__all__ = ["LocalPool"]


class LocalPool:
    """See `dubbing.engine.run.Pool`."""

    slots = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stages: dict[str, Stage] = {}
        self._queue: list[Task] = []

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self) -> tuple[list[Outcome], dict[str, int]]:
        task = self._queue.pop(0)
        if task.stage not in self._stages:
            stage = build(task.stage)
            stage.setup()
            self._stages[task.stage] = stage
        frames: Counter[str] = Counter()
        outcome = execute(self._stages[task.stage], task, self._store, lambda n: frames.update({task.id: n}))
        return [outcome], dict(frames)

    def close(self) -> None:
        for stage in self._stages.values():
            stage.close()
        self._stages.clear()
