"""One run from its lock to its run.json: everything that is not done yet, then tables and masters.

Knows no Ray and no stage; `schedule` says what may run when, a pool runs it. A task that fails stops only
what needs it; an InputError stops the run, because the user must act; whatever was committed stays.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from dubbing import __version__
from dubbing.config import Config
from dubbing.engine.pool import Pool
from dubbing.engine.schedule import Event, Schedule, Workload
from dubbing.errors import InputError, OutputError, during
from dubbing.job import Job
from dubbing.preflight import versions
from dubbing.results import publish_dub
from dubbing.stage import Resources, Stage
from dubbing.store import Store
from dubbing.task import Outcome

__all__ = ["ENGINES", "Placed", "Report", "do_tasks", "run_job"]

ENGINES = ("ray", "local")


@dataclass(frozen=True)
class Report:
    """How a run ended. counts: status -> shots; summary: one row per dub; run_json: as written."""

    exit_code: int
    counts: Mapping[str, int]
    summary: list[dict[str, Any]]
    run_json: dict[str, Any]


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
        state = Schedule(job, on_event)
        job.heals = state.say
        try:
            state.drain(lambda: _pool(engine, job, state))
            summary = []
            for title in job.manifest.titles:
                for dub in title.dubs:
                    with during(f"publishing {title.id}/{dub.language}"):
                        summary.append(publish_dub(job, title, dub, state.failed))
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
            "frames_by_stage": dict(state.frames),
            "done_now": sum(state.made.values()), "found_done": state.found,
            "counts": dict(counts), "needs_review": review, "dubs": summary,
            "versions": versions(), "exit_status": code,
        }  # fmt: skip
        job.store.write_json(run_file, run)
    return Report(code, counts, summary, run)


class Placed(Workload, Protocol):
    """Workload with where it lies and what its stages hold: a `Job`, or another command's list of tasks."""

    @property
    def store(self) -> Store: ...

    @property
    def config(self) -> Config: ...

    heals: Callable[[str], None] | None
    """Told what is damaged, which is then removed, so that it is made again; None outside of a run."""

    def resources(self, stage: type[Stage[Any, Any]]) -> Resources:
        """What a worker of a stage holds."""
        ...


def do_tasks(job: Placed, engine: str, on_event: Callable[[Event], None]) -> dict[str, Outcome]:
    """Do a job's tasks and nothing else: no table, no master put in place. Returns those that failed, by id.

    Raises as `run_job`.
    """
    with job.store.lock():
        job.store.sweep()
        state = Schedule(job, on_event)
        job.heals = state.say
        state.drain(lambda: _pool(engine, job, state))
        return dict(state.failed)


def _pool(engine: str, job: Placed, state: Schedule) -> Pool:
    if engine == "local":
        from dubbing.engine.local import LocalPool

        return LocalPool(job.store, lambda task, n: state.tell(Event.of("frames", task, frames=n)))
    if engine == "ray":
        if job.store.private:
            raise OutputError(
                f"{job.store.shown(job.store.root)} is seen by one process only; choose another --out, or "
                "--engine local."
            )
        from dubbing.engine.ray import RayPool

        return RayPool(job.store, job.config.engine, {s.name: job.resources(s) for s in job.stages})
    raise InputError(f"There is no engine {engine!r}; there is: {', '.join(ENGINES)}.")
