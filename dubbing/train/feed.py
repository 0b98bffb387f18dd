"""Items of a dataset, drawn on threads ahead of the step that needs them, in order. Knows no design."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

__all__ = ["ahead"]

Item = Mapping[str, np.ndarray]


def ahead(
    batches: Iterable[list[int]], draw: Callable[[int], Item], threads: int, depth: int = 3
) -> Iterator[list[Item]]:
    """The items of each batch, at most `depth` batches ahead. What `draw` raises is raised at its batch."""
    with ThreadPoolExecutor(threads, thread_name_prefix="items") as pool:
        waiting: deque[list[Future[Item]]] = deque()
        source = iter(batches)
        try:
            while True:
                while len(waiting) < depth and (batch := next(source, None)) is not None:
                    waiting.append([pool.submit(draw, n) for n in batch])
                if not waiting:
                    return
                yield [f.result() for f in waiting.popleft()]
        finally:
            for futures in waiting:
                for future in futures:
                    future.cancel()
