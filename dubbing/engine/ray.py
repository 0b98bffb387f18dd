"""Tasks on Ray: a pool of actors, each of which keeps the stages it has set up.

Only references travel: a task's arguments are paths and numbers, its result is a folder on shared
storage. Workers are alike because every stage of this version runs on processor cores; an actor that
dies is replaced and its task tried again. Scheduling over Ray's own actors, rather than Ray Data,
because tasks of one title depend on whole earlier stages and those of the next title should not wait.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import threading
from typing import Any

import ray

from dubbing.config import Engine
from dubbing.engine.worker import Worker
from dubbing.stage import Outcome, Task
from dubbing.store import Store

__all__ = ["RayPool"]

_POLL_S = 0.25


class _Actor:
    """One process. `run` and `frames` are called on threads of their own."""

    def __init__(self, store: Store) -> None:
        self._worker = Worker(store)
        self._frames = 0

    def run(self, task: Task) -> Outcome:
        return self._worker.run(task, self._count)

    def frames(self) -> int:
        """Frames finished since this was last asked."""
        count, self._frames = self._frames, 0
        return count

    def _count(self, frames: int) -> None:
        self._frames += frames


class RayPool:
    """See `dubbing.engine.run.Pool`. Starts Ray on this machine unless the process is in a cluster already."""

    def __init__(self, store: Store, config: Engine) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._own = not ray.is_initialized()
        if self._own:
            before = signal.getsignal(signal.SIGTERM)
            with contextlib.redirect_stderr(io.StringIO()):  # it tells of its token at every start
                ray.init(
                    num_cpus=config.workers or os.cpu_count() or 1,
                    include_dashboard=False,
                    object_store_memory=100 * 1024 * 1024,  # only references travel
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                )
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's native handler would end this process on the spot
        self.slots = max(1, config.workers or int(ray.cluster_resources().get("CPU", 1)))
        self._store, self._tries = store, config.tries
        self._actor = ray.remote(num_cpus=1, concurrency_groups={"watch": 1})(_Actor)
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task]] = {}
        self._tried: dict[str, int] = {}

    def submit(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else self._actor.remote(self._store)
        self._busy[worker.run.remote(task)] = (worker, task)

    def wait(self) -> tuple[list[Outcome], dict[str, int]]:
        ended, _ = ray.wait(list(self._busy), num_returns=1, timeout=_POLL_S)
        outcomes = []
        frames: dict[str, int] = {}
        for ref in ended:
            worker, task = self._busy.pop(ref)
            try:
                outcomes.append(ray.get(ref))
                self._idle.append(worker)
            except ray.exceptions.RayError as e:
                ray.kill(worker)
                self._again(task, e, outcomes)
        watched = {w.frames.options(concurrency_group="watch").remote(): t for w, t in self._busy.values()}
        answered, _ = ray.wait(list(watched), num_returns=len(watched), timeout=1.0) if watched else ([], [])
        for ref in answered:
            try:
                frames[watched[ref].id] = ray.get(ref)
            except ray.exceptions.RayError:
                continue  # the worker died; its task's own reference says so
        return outcomes, {k: v for k, v in frames.items() if v}

    def _again(self, task: Task, error: Exception, outcomes: list[Outcome]) -> None:
        """A worker died under a task: try it on another, or give the shot up."""
        self._tried[task.id] = self._tried.get(task.id, 0) + 1
        if self._tried[task.id] < self._tries:
            self.submit(task)
        else:
            text = f"its worker died {self._tries} times: {str(error).splitlines()[0]}"
            outcomes.append(Outcome(task.id, 0.0, text, "WorkerDied"))

    def close(self) -> None:
        for worker in [*self._idle, *(w for w, _ in self._busy.values())]:
            ray.kill(worker)
        self._idle, self._busy = [], {}
        if self._own:
            ray.shutdown()
