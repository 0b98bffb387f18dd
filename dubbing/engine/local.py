"""Everything in this process, one task at a time: for debugging, tests and small machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dubbing.engine.pool import Turn
from dubbing.engine.worker import Worker
from dubbing.stage import Task
from dubbing.store import Store

__all__ = ["LocalPool"]


class LocalPool:
    """See `dubbing.engine.pool.Pool`."""

    def __init__(self, store: Store) -> None:
        self._worker = Worker(store)
        self._task: Task | None = None

    def take(self, ready: Sequence[Task]) -> list[Task]:
        if self._task is not None or not ready:
            return []
        self._task = ready[0]
        return [self._task]

    def wait(self) -> Turn:
        task, self._task = self._task, None
        if task is None:
            return Turn()
        frames: Counter[str] = Counter()
        outcome = self._worker.run(task, lambda n: frames.update({task.id: n}))
        return Turn([outcome], dict(frames))

    def see(self, event: Any) -> None:
        pass

    def close(self) -> None:
        self._worker.close()
