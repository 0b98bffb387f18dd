"""Which task may run when: dependencies, order, failures. Knows no Ray, no stage and no table.

A task is ready when what it needs has succeeded and what it comes after has ended. Tasks of the first dub go first
(results early; a title's analysis goes with a dub of the title before, so that slots find work when that one ends);
among them the one with the most work before the dub's end, so that nothing long is left for last.
Each end of a task costs time in proportion to what waits for it, not to the size of the job. Where tasks fail, what
waits for their end is held back until it is planned again, which then takes a twentieth of the time at most.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any, Literal, Protocol

from dubbing.artifact import Artifact
from dubbing.engine.pool import Pool
from dubbing.errors import DamagedResult, MediaError, during
from dubbing.stage import Stage
from dubbing.task import Outcome, Task, Windowed

__all__ = ["Event", "Schedule", "Workload"]

_AHEAD = 512  # ready tasks of a stage that a pool is shown at once
_REST = 20  # times as long as planning took it is not planned again for tasks that failed, while others go on


_Key = tuple[int, float, str]


def _key(task: Task) -> _Key:
    """What orders ready tasks."""
    return task.rank, -task.weight, task.id


@dataclass(frozen=True)
class Event:
    """Something a watcher may show.

    kind: expected (how long the run should take, by earlier ones: seconds), planned, started, frames (some more are
    finished), finished, failed, message; task_id, stage, title, language,
    shot, window: of the task, as `Task` has them; frames: how many (of `finished`: the task's); seconds: the task's, of
    `finished` and `failed`; result: of `finished`, what the task left; totals: stage -> (tasks known, tasks done,
    frames known, frames done), only with `planned`; windows of long shots count as frames there, not as tasks.
    """

    kind: Literal["expected", "planned", "started", "frames", "finished", "failed", "message"]
    task_id: str = ""
    stage: str = ""
    frames: int = 0
    text: str = ""
    seconds: float = 0.0
    result: Artifact | None = None
    totals: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    title: str = ""
    language: str | None = None
    shot: str | None = None
    window: int | None = None

    @classmethod
    def of(cls, kind: Literal["started", "frames", "finished", "failed"], task: Task, **more: Any) -> Event:
        """An event of a task."""
        return cls(
            kind, task.id, task.stage, title=task.title, language=task.language, shot=task.shot, window=task.window,
            **more,
        )  # fmt: skip

    @property
    def where(self) -> str:
        """What the task is done for: `reel/fr/shot_0002`."""
        return "/".join(part for part in (self.title, self.language, self.shot) if part)


class Workload(Protocol):
    """What there is to do."""

    @property
    def stages(self) -> Sequence[type[Stage[Any, Any]]]:
        """The stages, in their order."""
        ...

    def tasks(self, failed: Mapping[str, Outcome]) -> list[Task]:
        """Every task known so far."""
        ...

    def done(self, task: Task) -> bool:
        """Whether its result is there already."""
        ...

    def forget(self, task: Task) -> None:
        """Its result has just been made."""
        ...

    def result(self, task: Task) -> Any:
        """What it left, an `Artifact`, or None."""
        ...

    def lose(self, task: Task, why: str) -> None:
        """Its result is damaged: remove it, so that it is made again, once. why: what is damaged, and how; raises
        DamagedResult the second time."""
        ...


class Schedule:
    """What is known, ready, running, done and failed. seconds: worker seconds by stage; made: tasks done now, by
    stage; frames: their frames; found: tasks that were done before."""

    def __init__(self, work: Workload, on_event: Callable[[Event], None]) -> None:
        self.work, self._on_event = work, on_event
        self._pool: Pool | None = None
        self.known: dict[str, Task] = {}
        self.done: set[str] = set()
        self.failed: dict[str, Outcome] = {}
        self.running: set[str] = set()
        self.seconds: dict[str, float] = defaultdict(float)
        self.made: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.found = 0
        self._lost: dict[str, int] = {}  # task whose result was damaged and is made again -> its number among those
        self._began: dict[str, int] = {}  # task -> how many were lost when it began
        self._open: dict[str, set[str]] = {}  # task -> what it still waits for
        self._waiting: dict[str, list[str]] = defaultdict(list)  # task -> who waits for it
        self._ready: dict[str, list[_Key]] = {stage.name: [] for stage in work.stages}
        self._lately: set[str] = set()  # tasks that failed since the last plan
        self._rests_until_s = 0.0

    def drain(self, open_pool: Callable[[], Pool]) -> None:
        """Run until nothing is left. The pool is opened only when there is something to do.

        Raises the InputError of a task that no other input can make good.
        """
        self._plan()
        try:
            while (ready := any(self._ready.values())) or self.running or self._lately:
                if self._lately and (time.monotonic() >= self._rests_until_s or not (ready or self.running)):
                    self._plan()
                    continue
                if self._pool is None:
                    self._pool = open_pool()
                    self._pool.see(self._planned())
                pool = self._pool
                keys = merge(*(queue[:_AHEAD] for queue in self._ready.values()))
                for task in pool.take([self.known[key[-1]] for key in keys]):
                    self._ready[task.stage].remove(_key(task))
                    self.running.add(task.id)
                    self._began[task.id] = len(self._lost)
                    self.tell(Event.of("started", task))
                turn = pool.wait()
                for note in turn.notes:
                    self.tell(Event("message", text=note))
                for task_id, count in turn.frames.items():
                    self.tell(Event.of("frames", self.known[task_id], frames=count))
                self._take(turn.outcomes)
        finally:
            if self._pool is not None:
                self._pool.close()

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        self.tell(Event("message", text=text))

    def tell(self, event: Event) -> None:
        """An event, to whoever watches; the pool may be one of them."""
        self._on_event(event)
        if self._pool is not None:
            self._pool.see(event)

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        replan = False
        for outcome in outcomes:
            with during(f"taking up what {outcome.id} left"):
                replan = self._took(outcome) or replan
        if replan:
            self._plan()

    def _took(self, outcome: Outcome) -> bool:
        """One task has ended. Returns whether there may be other tasks now."""
        task = self.known[outcome.id]
        self.running.discard(task.id)
        self.seconds[task.stage] += outcome.seconds
        if outcome.damaged is not None:
            self._lose(outcome.damaged, task, outcome)
            return True
        if outcome.error is not None and self._read_what_was_lost(task):
            return True
        spared = task.kind.bad_input_costs == "shot" and isinstance(outcome.fatal, MediaError)
        if outcome.fatal is not None and not spared:
            raise outcome.fatal
        if outcome.error is not None:
            self.failed[task.id] = outcome
            self._lately.add(task.id)
            self.tell(Event.of("failed", task, text=outcome.error, seconds=outcome.seconds))
        else:
            self.made[task.stage] += 1
            self.frames[task.stage] += task.frames
            self.work.forget(task)
            if not self.work.done(task) and task.id not in self._lost:  # it was damaged at once
                self._undo(task)
                return True
            result = self.work.result(task)
            self.tell(Event.of("finished", task, frames=task.frames, seconds=outcome.seconds, result=result))
            self.done.add(task.id)
        self._ended(task.id)
        return outcome.error is None and task.kind.expands and task.window is None

    def _lose(self, folder: Path, reader: Task, outcome: Outcome) -> None:
        """What a task should have read is damaged: have it made again, and then read again.

        Of several tasks that find the same, or fail for it, the first counts. Raises DamagedResult where it cannot be.
        """
        maker = next((t for t in self.known.values() if t.folder == folder), None)
        if maker is None:  # of another run
            raise DamagedResult(f"{outcome.error}; `dub run` its manifest again, with --verify.", folder)
        if not self._read_what_was_lost(reader):
            self.work.lose(maker, outcome.error or "")
            self._undo(maker)

    def _undo(self, task: Task) -> None:
        """Its result was removed, and with it the windows that it was joined from."""
        self._lost[task.id] = len(self._lost) + 1
        parts = (isinstance(task.inputs, Windowed) and task.inputs.parts) or ()
        self.done -= {task.id, *(part.task for part in parts)}
        for other in self.known.values():
            if other.id in self.done and task.id in other.needs and self._outlived(other):
                self.done.discard(other.id)

    def _outlived(self, task: Task) -> bool:
        """Whether what it tells of files is of files that are not there any more; then it is removed."""
        gone = task.kind.of_the_files and any(n in self.known and n not in self.done for n in task.needs)
        if gone:
            self.work.lose(task, f"What {task.stage} says of {task.id.partition(' ')[2]} is of a file that is gone")
        return bool(gone)

    def _read_what_was_lost(self, task: Task) -> bool:
        """Whether something that a task reads was lost after it had begun."""
        began = self._began.get(task.id, 0)
        return any(self._lost.get(i, 0) > began for i in (*task.needs, *task.after))

    def _ended(self, task_id: str) -> None:
        """Let those go on that waited for it; those that needed it, and it failed, are found when planning."""
        for waiter in self._waiting.pop(task_id, ()):
            left = self._open.get(waiter)
            if left is not None:
                left.discard(task_id)
                if not left:
                    self._enter(self.known[waiter])

    def _enter(self, task: Task) -> None:
        """Put a task that waits for nothing any more among the ready ones, unless what it needs has failed, or what it
        comes after has, and its inputs do not say so yet."""
        del self._open[task.id]
        if not any(n in self.failed for n in task.needs) and self._lately.isdisjoint(task.after):
            insort(self._ready[task.stage], _key(task))

    def _plan(self) -> None:
        """Ask for the tasks again; what cannot run any more fails with what it needed."""
        began_s = time.monotonic()
        self._lately.clear()
        for task in self.work.tasks(self.failed):
            known = self.known.get(task.id)
            if known is None or known.key != task.key:
                self.known[task.id] = task
                self.done.discard(task.id)
                if self.work.done(task) and not self._outlived(task):
                    self.done.add(task.id)
                    self.found += 1
        spread = bool(self.failed)
        while spread:
            spread = False
            for task in self.known.values():
                broken = next((n for n in task.needs if n in self.failed), None)
                if broken and task.id not in self.failed and task.id not in self.done:
                    cause = self.failed[broken]
                    self.failed[task.id] = Outcome(task.id, 0.0, cause.error, cause.error_class, cause.trace)
                    spread = True
        self._link()
        self.tell(self._planned())
        self._rests_until_s = time.monotonic() + _REST * (time.monotonic() - began_s)

    def _planned(self) -> Event:
        """How much is known and done, by stage."""
        totals = {stage.name: [0, 0, 0, 0] for stage in self.work.stages}
        for task in self.known.values():
            count, ended = totals[task.stage], task.id in self.done or task.id in self.failed
            whole = task.window is None
            for n, more in enumerate((whole, whole and ended, task.frames, task.frames * ended)):
                count[n] += more
        return Event("planned", totals={stage: (a, b, c, d) for stage, (a, b, c, d) in totals.items()})

    def _link(self) -> None:
        """Who waits for whom, from the beginning."""
        self._open, self._waiting = {}, defaultdict(list)
        for queue in self._ready.values():
            queue.clear()
        ended = self.done | self.failed.keys()
        for task in self.known.values():
            if task.id in ended or task.id in self.running:
                continue
            left = {i for i in (*task.needs, *task.after) if i not in ended}
            self._open[task.id] = left
            for other in left:
                self._waiting[other].append(task.id)
            if not left:
                self._enter(task)
