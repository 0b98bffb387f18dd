"""The loop: take what is ready, longest first, until nothing is left; then tables and run.json.

Knows no Ray and no stage. A task that fails stops only what needs it; an InputError stops the run,
because the user must act; whatever was committed stays.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from dubbing import __version__
from dubbing.errors import InputError, MediaError
from dubbing.pipeline import EXPANDS, PER_SHOT, STAGES, Job
from dubbing.results import publish_dub
from dubbing.stage import Outcome, Task

__all__ = ["ENGINES", "Event", "Pool", "Report", "run_job"]

ENGINES = ("ray", "local")


@dataclass(frozen=True)
class Event:
    """Something a watcher may show.

    kind: planned, started, frames (some more are finished), finished, failed, message; frames: how many
    (of `finished`: the task's); totals: stage -> (tasks known, tasks done, frames known, frames done),
    only with `planned`.
    """

    kind: Literal["planned", "started", "frames", "finished", "failed", "message"]
    task_id: str = ""
    stage: str = ""
    frames: int = 0
    text: str = ""
    totals: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """How a run ended. counts: status -> shots; summary: one row per dub; run_json: as written."""

    exit_code: int
    counts: Mapping[str, int]
    summary: list[dict[str, Any]]
    run_json: dict[str, Any]


class Pool(Protocol):
    """Runs tasks somewhere. `wait` gives what has ended since, and frames finished by task id."""

    slots: int

    def submit(self, task: Task) -> None: ...

    def wait(self) -> tuple[list[Outcome], dict[str, int]]: ...

    def close(self) -> None: ...


def run_job(job: Job, engine: str, on_event: Callable[[Event], None]) -> Report:
    """Do all that is not done yet. Raises InputError (after stopping its workers) and KeyboardInterrupt."""
    started, clock = datetime.now(UTC), time.monotonic()
    with job.store.lock():
        job.store.sweep()
        run_file = job.store.root / "run.json"
        run: dict[str, Any] = {
            "dub": __version__, "state": "running", "started": started.isoformat(timespec="seconds"), "engine": engine,
            "manifest": job.manifest.model_dump(mode="json"), "config": job.config.model_dump(mode="json"),
        }  # fmt: skip
        job.store.write_json(run_file, run)
        state = _State(job, on_event)
        try:
            state.drain(lambda: _pool(engine, job))
            summary = [publish_dub(job, t, d, state.failed) for t in job.manifest.titles for d in t.dubs]
        except BaseException as e:
            run |= {"state": "stopped", "exit_status": getattr(e, "exit_code", 130), "error": str(e)}
            job.store.write_json(run_file, run)
            raise
        counts: Counter[str] = Counter()
        for row in summary:
            counts.update(row["counts"])
        review = sum(row["needs_review"] for row in summary)
        broken = counts["failed"] or any(row["master"] is None for row in summary)
        code = 1 if broken else 3 if review else 0
        run |= {
            "state": "finished",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
            "seconds_by_stage": {k: round(v, 2) for k, v in state.seconds.items()},
            "done_now": sum(state.made.values()), "found_done": state.found,
            "counts": dict(counts), "needs_review": review, "dubs": summary,
            "versions": _versions(), "exit_status": code,
        }  # fmt: skip
        job.store.write_json(run_file, run)
    return Report(code, counts, summary, run)


class _State:
    """What is known, ready, running, done and failed."""

    def __init__(self, job: Job, on_event: Callable[[Event], None]) -> None:
        self.job, self.tell = job, on_event
        self.known: dict[str, Task] = {}
        self.done: set[str] = set()
        self.failed: dict[str, Outcome] = {}
        self.running: set[str] = set()
        self.seconds: dict[str, float] = defaultdict(float)
        self.made: Counter[str] = Counter()
        self.found = 0

    def drain(self, open_pool: Callable[[], Pool]) -> None:
        """Run until nothing is left. The pool is opened only when there is something to do."""
        self._plan()
        pool: Pool | None = None
        try:
            while True:
                ready = self._ready()
                if not ready and not self.running:
                    return
                if pool is None:
                    pool = open_pool()
                for task in ready[: max(0, pool.slots - len(self.running))]:
                    self.running.add(task.id)
                    self.tell(Event("started", task.id, task.stage))
                    pool.submit(task)
                outcomes, frames = pool.wait()
                for task_id, count in frames.items():
                    self.tell(Event("frames", task_id, self.known[task_id].stage, count))
                self._take(outcomes)
        finally:
            if pool is not None:
                pool.close()

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        replan = False
        for outcome in outcomes:
            task = self.known[outcome.id]
            self.running.discard(task.id)
            self.seconds[task.stage] += outcome.seconds
            if outcome.fatal is not None and not (task.stage in PER_SHOT and isinstance(outcome.fatal, MediaError)):
                raise outcome.fatal
            if outcome.error is not None:
                self.failed[task.id] = outcome
                self.tell(Event("failed", task.id, task.stage, text=outcome.error))
                replan = True
            else:
                self.done.add(task.id)
                self.made[task.stage] += 1
                self.job.forget(task)
                self.tell(Event("finished", task.id, task.stage, task.frames))
                replan = replan or task.stage in EXPANDS
        if replan:
            self._plan()

    def _plan(self) -> None:
        """Ask the pipeline again; what cannot run any more fails with what it needed."""
        for task in self.job.tasks(self.failed):
            known = self.known.get(task.id)
            if known is None or known.key != task.key:
                self.known[task.id] = task
                self.done.discard(task.id)
                if self.job.done(task):
                    self.done.add(task.id)
                    self.found += 1
        spread = True
        while spread:
            spread = False
            for task in self.known.values():
                broken = next((n for n in task.needs if n in self.failed), None)
                if broken and task.id not in self.failed and task.id not in self.done:
                    cause = self.failed[broken]
                    self.failed[task.id] = Outcome(task.id, 0.0, cause.error, cause.error_class, cause.trace)
                    spread = True
        totals: dict[str, tuple[int, int, int, int]] = {}
        for stage in STAGES:
            mine = [t for t in self.known.values() if t.stage == stage]
            ended = [t for t in mine if t.id in self.done or t.id in self.failed]
            totals[stage] = (len(mine), len(ended), sum(t.frames for t in mine), sum(t.frames for t in ended))
        self.tell(Event("planned", totals=totals))

    def _ready(self) -> list[Task]:
        """What may start now: the furthest stage first (results early, little in between), then the longest."""
        ended = self.done | self.failed.keys()
        order = list(STAGES)
        ready = [
            t
            for t in self.known.values()
            if t.id not in ended
            and t.id not in self.running
            and all(n in self.done for n in t.needs)
            and all(a in ended for a in t.after)
        ]
        return sorted(ready, key=lambda t: (-order.index(t.stage), -t.frames, t.id))


def _pool(engine: str, job: Job) -> Pool:
    if engine == "local":
        from dubbing.engine.local import LocalPool

        return LocalPool(job.store)
    if engine == "ray":
        from dubbing.engine.ray import RayPool

        return RayPool(job.store, job.config.engine)
    raise InputError(f"There is no engine {engine!r}; there is: {', '.join(ENGINES)}.")


def _versions() -> dict[str, str]:
    """What this run was made with."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("av", "mediapipe", "numpy", "opencv-contrib-python", "pyarrow", "ray", "scenedetect",
                 "scipy", "silero-vad", "torch"):  # fmt: skip
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
