"""Tasks on Ray. Workers are Ray actors; they are started when there is work for them, and stopped when there is none.

Only references travel: the inputs of a task are paths and numbers, and its result is a folder on shared storage.

A kind of worker is what it holds: cores, a share of a GPU, memory. Stages that ask for the same cores and GPU use the
same kind, which then holds the memory of the stage that asks for most. Where a manifest names several generators, what
renders by one holds what that one asks for, and on a GPU its networks alone. A task never waits for a worker of another
kind.

Ray Data is not used: it runs stage after stage, and here the tasks of one title wait for whole earlier stages of that
title while those of the next title can go on.

A task is tried again on another worker when its worker dies, runs out of memory or passes its deadline. After a death
the next worker holds twice the memory. After a set number of tries its shot is given up. When a node leaves the
cluster, its tasks are done elsewhere, and that is no try.

Over 400 lines: one pool, from what a worker holds to what becomes of its task.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from dubbing.config import Engine
from dubbing.engine.connection import connect, first_line
from dubbing.engine.metrics import Metrics
from dubbing.engine.pool import Turn
from dubbing.engine.worker import Worker
from dubbing.errors import InputError
from dubbing.stage import Resources
from dubbing.store import Store
from dubbing.task import Outcome, Task

__all__ = ["RayPool", "deadline_s", "gpus_hold", "kinds"]

_POLL_S = 0.25
_LOOK_S = 1.0  # between two looks at how far tasks are
_IDLE_S = 30.0  # a worker that has nothing to do for so long is let go: others may use the cluster too
_DOUBT_S = 1.0  # a worker that died is held for this long until it is known whether its node died
_UNREACHABLE_S = 60.0  # one that does not answer: Ray takes half a minute to declare a silent node dead
_UNSERVED_S = 10.0  # after this long without a worker, a kind is served before all others
_GPU_UNSERVED_S = 60.0  # the same on GPUs
_SIZE_S = 3.0  # between two looks at how large the cluster is
_MB = 2**20
_MOST_MOVES = 20  # how often a task may lose its node before that counts as its own fault


class _Actor:
    """One process. `run` and the others are called on threads of their own."""

    def __init__(self, store: Store) -> None:
        self._worker = Worker(store)
        self._frames = 0

    def hello(self) -> str:
        """The id of the node that it runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def run(self, task: Task) -> Outcome:
        return self._worker.run(task, self._count)

    def frames(self) -> int:
        """Frames finished since this was last asked."""
        count, self._frames = self._frames, 0
        return count

    def _count(self, frames: int) -> None:
        self._frames += frames


@dataclass(eq=False)
class _RayWorker:
    """A worker. node: known once it has answered; used: whether it was given a task; free_s: since when it has nothing
    to do, born_s: since when it is asked for, both of the monotonic clock."""

    actor: Any
    kind: Resources
    node: str = ""
    used: bool = False
    free_s: float = 0.0
    born_s: float = field(default_factory=time.monotonic)


@dataclass
class _Assignment:
    """A worker with a task. late_s: when it has had its time, on the monotonic clock."""

    worker: _RayWorker
    task: Task
    late_s: float


class RayPool:
    """See `dubbing.engine.pool.Pool`. Starts Ray on this machine unless the process is in a cluster already.

    resources: what a worker of each stage holds; say: told of how the start goes; patience_s: after this long without a
    worker a kind is served before all others; None: what is usual; start_s: a worker that has been starting for longer
    waits for what it asks for. Raises as `connect`.
    """

    def __init__(
        self, store: Store, config: Engine, resources: Mapping[str, Resources],
        say: Callable[[str], None] = lambda text: None, patience_s: float | None = None,
        start_s: float = 60.0,
    ) -> None:  # fmt: skip
        self._connection = connect(config, say)
        self._alone = self._connection.alone
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        most = {name: max((n.get(name, 0.0) for n in nodes), default=0.0) for name in ("CPU", "GPU")}
        self._store, self._config, self._kinds, self._most = store, config, kinds(resources, most), most
        self._unserved: dict[Resources, float] = {}
        self._patience_s, self._start_s = patience_s, start_s
        self._metrics = Metrics()
        self._class = ray.remote(concurrency_groups={"watch": 1})(_Actor)
        self._idle: list[_RayWorker] = []
        self._starting: dict[Any, _RayWorker] = {}
        self._busy: dict[Any, _Assignment] = {}
        self._again: list[tuple[Task, Resources]] = []
        self._doubts: list[tuple[_Assignment, str, float]] = []
        self._tried: Counter[str] = Counter()
        self._moved: Counter[str] = Counter()
        self._notes: list[str] = []
        self._said: set[str] = set()
        self._room: dict[str, float] = {}
        self._sized_s = self._looked_s = -1e9

    # -- beginning tasks ---------------------------------------------------------------------

    def take(self, ready: Sequence[Task]) -> list[Task]:
        self._measure()
        taken: list[Task] = []
        wanted: Counter[Resources] = Counter()
        again, self._again = self._again, []
        for task, kind in again:
            if not self._begin(task, kind):
                self._again.append((task, kind))
                wanted[kind] += 1
        starved, full = self._starved(), set[Resources]()
        asked = starved is not None and any(w.kind == starved for w in self._starting.values())
        if asked:
            for worker in [w for w in self._idle if w.used and w.kind.gpus and w.kind != starved]:
                self._dismiss(worker)  # its place is not where there was thought to be room
        for task in ready:
            kind = self._kind(task)
            free = self._fresh(kind) or (asked and not kind.gpus)
            waits = starved is not None and kind != starved and not free
            if kind in full or waits or not self._begin(task, kind):
                full.add(kind)
                wanted[kind] += 1
            else:
                taken.append(task)
        self._note_unserved(wanted)
        for kind, count in wanted.items():
            self._grow(kind, count)
        return taken

    def _kind(self, task: Task) -> Resources:
        """What a worker of a task holds: as its stage, or as the generators that render it."""
        if task.holds is None:
            return self._kinds[task.stage]
        kind = _kept(task.holds, self._most)
        by = " and ".join(name for name, _ in task.kind.rendered_by(task.inputs))
        self._kinds.setdefault(f"{task.stage} by {by}" if by else task.stage, kind)  # for `_refuse`
        return kind

    def _starved(self) -> Resources | None:
        """The kind that has had no worker for longest and for long, although the cluster could hold one. Others then
        start nothing; once its worker is asked for, those without a GPU go on, since others than this job may hold what
        it waits for."""
        now_s = time.monotonic()
        late = {k: since for k, since in self._unserved.items() if now_s - since > self._patience(k)}
        able = [k for k in late if not self._lacking(k, [])]
        return min(able, key=lambda k: late[k]) if able else None

    def _patience(self, kind: Resources) -> float:
        """How long a kind waits before others make room: longer on GPUs, where each turn loads networks."""
        return self._patience_s if self._patience_s is not None else _GPU_UNSERVED_S if kind.gpus else _UNSERVED_S

    def _note_unserved(self, wanted: Iterable[Resources]) -> None:
        """Since when kinds that are wanted have no worker. One that has been starting for too long does not count: its
        part of a GPU is not there. While one starts on a GPU, others do not yet wait for its place."""
        now_s = time.monotonic()
        stuck = [w for w in self._starting.values() if now_s - w.born_s > self._start_s]
        there = {w.kind for w in self.workers() if w not in stuck}
        anew = any(w.kind.gpus for w in self._starting.values() if w not in stuck)
        self._unserved = {
            k: now_s if anew and k.gpus else self._unserved.get(k, now_s) for k in wanted if k not in there
        }

    def _fresh(self, kind: Resources) -> bool:
        """Whether there is a worker of a kind that has done nothing yet: it was not started to be sent away."""
        return any(w.kind == kind and not w.used for w in self._idle)

    def _begin(self, task: Task, kind: Resources) -> bool:
        worker = next((h for h in self._idle if _serves(h.kind, kind)), None)
        if worker is None:
            return False
        self._idle.remove(worker)
        worker.used = True
        late_s = time.monotonic() + deadline_s(task, self._config)
        self._busy[worker.actor.run.remote(task)] = _Assignment(worker, task, late_s)
        return True

    def _grow(self, kind: Resources, wanted: int) -> None:
        """Start workers of a kind, as far as there is room; idle ones of other kinds make room."""
        missing = wanted - sum(_serves(h.kind, kind) for h in self._starting.values())
        while missing > 0:
            lacking = self._lacking(kind, self.workers())
            if lacking:
                never = self._lacking(kind, [])
                if never:
                    self._refuse(kind, never)
                if self._lacking(kind, [h for h in self.workers() if h not in self._idle]):
                    return  # letting idle ones go would not help
                spare = next((h for h in self._idle if not _serves(h.kind, kind) and lacking & _held(h.kind)), None)
                if spare is None:
                    return
                self._dismiss(spare)
                continue
            options = {"num_cpus": kind.cpus, "num_gpus": kind.gpus, "memory": self._memory(kind)}
            worker = _RayWorker(self._class.options(**options).remote(self._store), kind)
            self._starting[worker.actor.hello.remote()] = worker
            missing -= 1

    def workers(self) -> list[_RayWorker]:
        """Those that there are: idle, starting and busy ones."""
        return [*self._idle, *self._starting.values(), *(assignment.worker for assignment in self._busy.values())]

    def _lacking(self, kind: Resources, workers: Sequence[_RayWorker]) -> set[str]:
        """What there is too little of for one more of a kind beside these.

        In a cluster, where `workers` is set, it alone counts, even beyond what the cluster holds: a worker that waits
        for its place is how an autoscaler learns of the demand. This machine alone does not grow.
        """
        lacking: set[str] = set()
        if self._config.workers is not None:
            lacking = {"workers"} if len(workers) >= self._config.workers else set()
            if not self._alone:
                return lacking
        if not workers and not kind.gpus:
            return set()  # one at least, however small the machine
        used = Counter(self._needs(kind))
        for worker in workers:
            used.update(self._needs(worker.kind))
        lacking |= {name for name, amount in used.items() if amount > self._room.get(name, 0.0) + 1e-6}
        shares = [kind.gpus, *(worker.kind.gpus for worker in workers)]
        return lacking if not kind.gpus or gpus_hold(shares, self._room.get("GPU", 0.0)) else lacking | {"GPU"}

    def _refuse(self, kind: Resources, names: set[str]) -> None:
        """A worker that the cluster as it is cannot hold: an error where it will not grow, else said once."""
        stages = ", ".join(s for s, k in self._kinds.items() if k == kind) or "a stage"
        found = ", ".join(
            f"{self._needs(kind)[n]:g} {n}, and {{}} has {self._room.get(n, 0.0):g}" for n in sorted(names)
        )
        if self._alone:
            what = f"A worker of {stages} asks for {found.format('this machine')}; set less under engine: stages: in a "
            raise InputError(what + "config file.")
        note = f"a worker of {stages} waits for {found.format('the cluster')}"
        if note not in self._said:
            self._said.add(note)
            self._notes.append(note)

    def _needs(self, kind: Resources) -> dict[str, float]:
        return {"CPU": kind.cpus, "GPU": kind.gpus, "memory": self._memory(kind)}

    def _memory(self, kind: Resources) -> int:
        return min(kind.memory_mb * _MB, int(self._room.get("memory", kind.memory_mb * _MB)))

    def _measure(self) -> None:
        """How large the cluster is now: nodes come and go."""
        if time.monotonic() - self._sized_s > _SIZE_S:
            self._sized_s = time.monotonic()
            self._room = {k: float(v) for k, v in ray.cluster_resources().items()}
            alive = {n["NodeID"] for n in ray.nodes() if n["Alive"]}
            for worker in [h for h in self._idle if h.node not in alive]:
                self._dismiss(worker)

    # -- what becomes of them ----------------------------------------------------------------

    def wait(self) -> Turn:
        outcomes: list[Outcome] = []
        refs = [*self._busy, *self._starting]
        if not refs:
            time.sleep(_POLL_S)
        else:
            ray.wait(refs, num_returns=1, timeout=_POLL_S)
        ended = ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        for ref in ended:
            if ref in self._starting:
                self._started(ref)
            else:
                self._ended(ref, outcomes)
        self._judge(outcomes)
        now_s = time.monotonic()
        for ref, assignment in [(r, x) for r, x in self._busy.items() if now_s > x.late_s]:
            del self._busy[ref]
            self._dismiss(assignment.worker)
            self._lost(assignment, "Deadline", "passed its deadline", outcomes)
        for worker in [h for h in self._idle if now_s - h.free_s > _IDLE_S]:
            self._dismiss(worker)
        frames = self._look() if now_s - self._looked_s > _LOOK_S else {}
        notes, self._notes = self._notes, []
        return Turn(outcomes, frames, notes)

    def _started(self, ref: Any) -> None:
        worker = self._starting.pop(ref)
        try:
            worker.node = ray.get(ref)
            self._rest(worker)
        except ray.exceptions.RayError as e:
            self._notes.append(f"a worker did not start: {first_line(e)}")
            self._dismiss(worker)

    def _ended(self, ref: Any, outcomes: list[Outcome]) -> None:
        assignment = self._busy.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except ray.exceptions.RayError as e:
            self._dismiss(assignment.worker)
            unreachable = isinstance(e, ray.exceptions.ActorUnavailableError)
            self._doubts.append(
                (assignment, first_line(e), time.monotonic() + (_UNREACHABLE_S if unreachable else _DOUBT_S))
            )
            return
        if outcome.error_class == "MemoryError":
            self._dismiss(assignment.worker)
            self._lost(assignment, "MemoryError", "ran out of memory", outcomes)
            return
        self._rest(assignment.worker)
        outcomes.append(outcome)

    def _judge(self, outcomes: list[Outcome]) -> None:
        """Whether a worker that died did so by itself, or with its node: the cluster knows that a moment later."""
        doubts, self._doubts = self._doubts, []
        if not doubts:
            return
        alive = {n["NodeID"] for n in ray.nodes() if n["Alive"]}
        for assignment, why, until_s in doubts:
            if assignment.worker.node not in alive and self._moved[assignment.task.id] < _MOST_MOVES:
                self._moved[assignment.task.id] += 1
                self._notes.append(f"{assignment.task.id}: its node left the cluster; it is done again elsewhere")
                self._again.append((assignment.task, assignment.worker.kind))
            elif time.monotonic() > until_s:
                self._lost(assignment, "WorkerDied", f"its worker died ({why})", outcomes)
            else:
                self._doubts.append((assignment, why, until_s))

    def _rest(self, worker: _RayWorker) -> None:
        worker.free_s = time.monotonic()
        self._idle.append(worker)

    def _lost(self, assignment: _Assignment, kind: str, what: str, outcomes: list[Outcome]) -> None:
        """A task lost its worker: try it on another, which after a death holds twice the memory; or give it up."""
        task, tries = assignment.task, self._config.tries
        self._tried[task.id] += 1
        count = f"try {self._tried[task.id]} of {tries}"
        if self._tried[task.id] >= tries:
            self._notes.append(f"{task.id}: {what}, {count}; given up")
            outcomes.append(Outcome(task.id, 0.0, f"{what}, {tries} times", kind))
            return
        self._notes.append(f"{task.id}: {what}, {count}; it is tried again")
        held = assignment.worker.kind
        self._again.append((task, held if kind == "Deadline" else replace(held, memory_mb=2 * held.memory_mb)))

    def _look(self) -> dict[str, int]:
        """How many frames each task has finished since the last look."""
        self._looked_s = time.monotonic()
        asked = {
            assignment.worker.actor.frames.options(concurrency_group="watch").remote(): assignment.task.id
            for assignment in self._busy.values()
        }
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=1.0) if asked else ([], [])
        frames: dict[str, int] = {}
        for ref in answered:
            with contextlib.suppress(ray.exceptions.RayError):  # the worker died; its task's own reference says so
                frames[asked[ref]] = ray.get(ref)
        return {k: v for k, v in frames.items() if v}

    def _dismiss(self, worker: _RayWorker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
        ray.kill(worker.actor)

    def see(self, event: Any) -> None:
        self._metrics(event)

    def close(self) -> None:
        for worker in self.workers():
            ray.kill(worker.actor)
        self._idle, self._starting, self._busy = [], {}, {}
        self._connection.close()


def deadline_s(task: Task, config: Engine) -> float:
    """After how long a worker with that task is stopped."""
    return config.deadline_s + config.deadline_frame_s * max(task.frames, task.span)


def kinds(resources: Mapping[str, Resources], most: Mapping[str, float]) -> dict[str, Resources]:
    """The kind of worker of each stage. most: cores and GPUs of the largest node: none holds more cores, and GPUs
    are asked for where there are any."""
    found = {stage: _kept(r, most) for stage, r in resources.items()}
    memory: dict[tuple[float, float], int] = {}
    for r in found.values():
        memory[r.cpus, r.gpus] = max(r.memory_mb, memory.get((r.cpus, r.gpus), 0))
    return {stage: replace(r, memory_mb=memory[r.cpus, r.gpus]) for stage, r in found.items()}


def gpus_hold(shares: Sequence[float], gpus: float) -> bool:
    """Whether so many GPUs hold these shares, each of which lies on one of them; a share of more than 1 takes whole
    ones."""
    free = [1.0] * int(gpus + 1e-6)
    free += [gpus - len(free)] if gpus - len(free) > 1e-6 else []
    for share in sorted((s for s in shares if s), reverse=True):
        left = share
        while left > 1e-6:
            part = min(left, 1.0)
            place = next((n for n, room in enumerate(free) if room >= part - 1e-6), None)
            if place is None:
                return False
            free[place], left = (0.0 if share > 1 else free[place] - part), left - part
    return True


def _kept(asked: Resources, most: Mapping[str, float]) -> Resources:
    """What is held of what is asked for. most: as of `kinds`."""
    gpus = asked.gpus or (asked.gpus_if_any if most.get("GPU") else 0.0)
    networks = asked.networks if gpus else ""
    return Resources(min(asked.cpus, most.get("CPU") or 1.0), gpus, asked.memory_mb, networks=networks)


def _held(kind: Resources) -> set[str]:
    """Names of what a worker of a kind takes from others."""
    return {"workers", "CPU", "memory", *(["GPU"] if kind.gpus else [])}


def _serves(held: Resources, kind: Resources) -> bool:
    """Whether a worker of one kind can do the tasks of another without holding a GPU that it does not use, or networks
    besides its own."""
    same = (held.cpus, held.gpus, held.networks) == (kind.cpus, kind.gpus, kind.networks)
    return same and held.memory_mb >= kind.memory_mb
