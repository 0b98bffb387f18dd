"""What runs tasks somewhere: the protocol that every engine keeps. Knows no Ray and no order of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dubbing.task import Outcome, Task

__all__ = ["Pool", "Turn"]


@dataclass(frozen=True)
class Turn:
    """What happened since the last one. outcomes: tasks that ended; frames: finished since, by task id;
    notes: a line for each thing that a person may want to know (a worker that died, a node that left)."""

    outcomes: list[Outcome] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Pool(Protocol):
    """Runs tasks. A task that was taken ends exactly once, well or not, whatever happens to its worker."""

    def take(self, ready: Sequence[Task]) -> list[Task]:
        """Begin as many of these as there is room for now, in their order, and return them."""
        ...

    def wait(self) -> Turn:
        """Wait a moment for something to happen."""
        ...

    def see(self, event: Any) -> None:
        """An `Event` of the run, for those that count them (metrics)."""
        ...

    def close(self) -> None:
        """Stop everything that is under way and let go of the workers."""
        ...
