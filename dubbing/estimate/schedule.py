"""How long a set of tasks takes on so many cores: the engine's order of work, simulated.

The first dub's tasks first, among them the one with the most work before the dub's end (`Task.rank`, `Task.weight`), as
many at once as fit. It knows no stage and starts nothing; it leaves out what an engine itself costs (an estimate adds
the start-up that was measured).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = ["Piece", "in_parts", "longest_chain", "makespan", "spans"]


@dataclass(frozen=True)
class Piece:
    """One simulated task: the seconds that it takes, the resources that it holds, the ids that it waits for, and its
    place in the engine's order (see `Task`)."""

    id: str
    seconds: float
    waits: tuple[str, ...] = ()
    cpus: float = 1.0
    gpus: float = 0.0
    rank: int = 0
    weight: float = 0.0


def in_parts(piece: Piece, count: int) -> list[Piece]:
    """A piece split into `count` equal parts that may run at once, and the piece that joins them, which takes no time;
    for 0 the piece itself."""
    parts = [
        replace(piece, id=f"{piece.id}/part_{n}", seconds=piece.seconds / count, weight=piece.weight / count)
        for n in range(count)
    ]
    return [*parts, replace(piece, seconds=0.0, waits=tuple(p.id for p in parts)) if parts else piece]


def makespan(pieces: Sequence[Piece], cores: float, gpus: float) -> float:
    """Seconds from the first start to the last end. As `spans`."""
    return max((end for _, end in spans(pieces, cores, gpus).values()), default=0.0)


def spans(pieces: Sequence[Piece], cores: float, gpus: float) -> dict[str, tuple[float, float]]:
    """When each piece starts and ends, in seconds from the first start, by its id. A piece that asks for more than
    there is gets all there is; what waits for an id that is not here does not wait for it."""
    known = {p.id: p for p in pieces}
    left = {p.id: len({w for w in p.waits if w in known}) for p in pieces}
    follows: dict[str, list[str]] = defaultdict(list)
    for p in pieces:
        for w in {w for w in p.waits if w in known}:
            follows[w].append(p.id)
    ready: dict[tuple[float, float], list[tuple[int, float, str]]] = defaultdict(list)

    def offer(p: Piece) -> None:
        kind = (min(p.cpus, cores), min(p.gpus, gpus))
        heapq.heappush(ready[kind], (p.rank, -p.weight, p.id))

    for p in pieces:
        if not left[p.id]:
            offer(p)
    now, free_cores, free_gpus = 0.0, cores, gpus
    running: list[tuple[float, str, float, float]] = []
    at: dict[str, tuple[float, float]] = {}
    ended = 0
    while True:
        while True:
            fit = [k for k, heap in ready.items() if heap and k[0] <= free_cores + 1e-9 and k[1] <= free_gpus + 1e-9]
            if not fit:
                break
            kind = min(fit, key=lambda k: ready[k][0])
            name = heapq.heappop(ready[kind])[-1]
            free_cores, free_gpus = free_cores - kind[0], free_gpus - kind[1]
            at[name] = now, now + known[name].seconds
            heapq.heappush(running, (now + known[name].seconds, name, *kind))
        if not running:
            break
        now, name, held_cores, held_gpus = heapq.heappop(running)
        free_cores, free_gpus, ended = free_cores + held_cores, free_gpus + held_gpus, ended + 1
        for after in follows[name]:
            left[after] -= 1
            if not left[after]:
                offer(known[after])
    if ended < len(known):
        raise ValueError("these pieces wait for each other in a circle")
    return at


def longest_chain(pieces: Iterable[Piece]) -> float:
    """Seconds of the longest chain of pieces that wait for one another: no cluster is faster."""
    known = {p.id: p for p in pieces}
    ends: dict[str, float] = {}
    for p in known.values():
        stack = [p.id]
        while stack:
            one = known[stack[-1]]
            open_ = [w for w in one.waits if w in known and w not in ends]
            if open_:
                stack += open_
                continue
            stack.pop()
            ends[one.id] = one.seconds + max((ends[w] for w in one.waits if w in known), default=0.0)
    return max(ends.values(), default=0.0)
