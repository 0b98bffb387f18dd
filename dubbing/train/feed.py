"""Items of a dataset, drawn ahead of the step that needs them and given in order: on threads, or in processes.

Threads cost nothing to start and serve a processor, whose steps take longer than their items. A GPU's steps do not:
there, processes decode. Either way an item is a function of seed, epoch and clip, so both give the same items.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

from dubbing.errors import DubError
from dubbing.train.recipe import Data, Recipe
from dubbing.train.sampler import item_rng

__all__ = ["Draw", "Feed"]

Item = Mapping[str, np.ndarray]
_AHEAD = 3  # batches
_ORPHAN_S = 2.0


@dataclass(frozen=True)
class Draw:
    """Draws items. samples: by split, those the recipe can use, in their order. Numbers beyond the last
    sample start again with the first, at another moment of the clip."""

    recipe: Recipe
    settings: Any
    data: Data
    samples: Mapping[str, Sequence[Any]]

    def __call__(self, split: str, epoch: int | str, n: int) -> Item:
        again, n = divmod(n, len(self.samples[split]))
        sample = self.samples[split][n]
        rng = item_rng(self.settings.seed, f"{epoch} again {again}" if again else epoch, sample.id)
        return self.recipe.item(self.data, sample, rng, self.settings)

    def apart(self) -> Draw:
        """A copy with its own open files."""
        return Draw(self.recipe, self.settings, copy.copy(self.data), self.samples)


class Feed:
    """Draws items on `threads` threads, or in `processes` processes where that is not 0. To be closed."""

    def __init__(self, draw: Draw, threads: int = 2, processes: int = 0) -> None:
        self._draw, self._own = draw, threading.local()
        self._pool: Executor
        if processes:
            context = multiprocessing.get_context("spawn")  # forks and CUDA do not go together
            self._pool = ProcessPoolExecutor(processes, context, _begin, (draw, os.getpid()))
        else:
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="items")
        self._job: Any = _in_process if processes else self._on_thread

    def _on_thread(self, split: str, epoch: int | str, n: int) -> Item:
        if not hasattr(self._own, "draw"):
            self._own.draw = self._draw.apart()
        item: Item = self._own.draw(split, epoch, n)
        return item

    def ahead(self, split: str, epoch: int | str, batches: Iterable[list[int]]) -> Iterator[list[Item]]:
        """The items of each batch. What drawing one raises is raised at its batch; DubError where a process died."""
        waiting: deque[list[Future[Item]]] = deque()
        source = iter(batches)
        try:
            while True:
                while len(waiting) < _AHEAD and (batch := next(source, None)) is not None:
                    waiting.append([self._pool.submit(self._job, split, epoch, n) for n in batch])
                if not waiting:
                    return
                yield [f.result() for f in waiting.popleft()]
        except BrokenProcessPool as e:
            raise DubError(
                "A process that reads the data died, perhaps for want of memory; run the same command to go on from "
                "the last checkpoint."
            ) from e
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


# -- in a process of its own -------------------------------------------------------------------

_here: Draw | None = None


def _begin(draw: Draw, parent: int) -> None:
    """Set a process up: one thread for everything, deaf to Ctrl-C (its parent stops it), gone when its parent is."""
    global _here
    import cv2
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threadpool_limits(1)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    _here = draw


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_S)
    os._exit(1)


def _in_process(split: str, epoch: int | str, n: int) -> Item:
    assert _here is not None
    return _here(split, epoch, n)
