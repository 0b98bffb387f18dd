"""Everything in this process, one task at a time: for small machines, short films, and where Ray cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dubbing.engine.pool import Turn
from dubbing.engine.worker import Worker
from dubbing.store import Store
from dubbing.task import Task

__all__ = ["LocalPool"]


class LocalPool:
    """See `dubbing.engine.pool.Pool`. on_frames: told while a task is at work that it has finished some more."""

    def __init__(self, store: Store, on_frames: Callable[[Task, int], None]) -> None:
        self._worker, self._on_frames = Worker(store), on_frames
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
        return Turn([self._worker.run(task, lambda n: self._on_frames(task, n))])

    def see(self, event: Any) -> None:
        pass

    def close(self) -> None:
        self._worker.close()
