"""Everything in this process, one task at a time: for debugging, tests and small machines."""

from __future__ import annotations

from collections import Counter

from dubbing.engine.worker import Worker
from dubbing.stage import Outcome, Task
from dubbing.store import Store

__all__ = ["LocalPool"]


class LocalPool:
    """See `dubbing.engine.run.Pool`."""

    slots = 1

    def __init__(self, store: Store) -> None:
        self._worker = Worker(store)
        self._queue: list[Task] = []

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self) -> tuple[list[Outcome], dict[str, int]]:
        task = self._queue.pop(0)
        frames: Counter[str] = Counter()
        outcome = self._worker.run(task, lambda n: frames.update({task.id: n}))
        return [outcome], dict(frames)

    def close(self) -> None:
        self._worker.close()
