"""One run from its lock to its run.json: everything that is not done yet, then tables and masters.

Knows no Ray and no stage; `schedule` says what may run when, a pool runs it. A task that fails stops only
what needs it; an InputError stops the run, because the user must act; whatever was committed stays.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from dubbing import __version__
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.people import Cast
from dubbing.artifacts.shots import ShotList
from dubbing.config import Config
from dubbing.engine.pool import Pool
from dubbing.engine.schedule import Event, Schedule, Workload
from dubbing.errors import InputError, OutputError, during
from dubbing.job import Job
from dubbing.manifest import Title
from dubbing.preflight import versions
from dubbing.results import publish_dub
from dubbing.run_file import FILE, account, begun
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


def run_job(
    job: Job, engine: str, on_event: Callable[[Event], None], *, command: str = "run", by: str | None = None
) -> Report:  # fmt: skip
    """Do all that is not done yet. command, by: for the record of the run, which command did it and for whom; None: for
    this account.

    Raises InputError (after stopping its workers) and KeyboardInterrupt."""
    started, clock = datetime.now(UTC), time.monotonic()
    with job.store.lock():
        job.store.sweep()
        run_file = job.store.root / FILE
        told = {"dub": __version__, "engine": engine, "started": started.isoformat(timespec="seconds")}
        record, past, lost = begun(
            job.store, job.manifest, **told, command=command, by=by or account(), state="running",
            manifest=job.manifest.file,
            asked={t.id: [d.language for d in t.dubs] for t in job.manifest.titles},
        )  # fmt: skip
        run: dict[str, Any] = {
            **told, "state": "running",
            "manifest": job.manifest.model_dump(mode="json"), "config": job.config.model_dump(mode="json"),
        }  # fmt: skip

        def write(**how: Any) -> dict[str, Any]:
            """run.json as it is now, with how this run's record stands; returns it."""
            now = {**how, "state": run["state"], "exit_status": run.get("exit_status")}
            mine = record.model_copy(update=now).model_dump(mode="json")
            whole = {**run, "earlier": past["earlier"], "runs": [*past["runs"], mine]}
            job.store.write_json(run_file, whole)
            return whole

        write()
        if lost:
            on_event(Event("message", text=f"What earlier runs did is not known any more: {lost}"))
        state = Schedule(job, on_event)
        job.heals = state.say
        summary: list[dict[str, Any]] = []
        try:
            before = {title.id for title in job.manifest.titles if _shots(job, title) is not None}
            state.drain(lambda: _pool(engine, job, state))
            for title in job.manifest.titles:
                shots = _shots(job, title)
                if shots is not None and shots.in_one_pass and title.id not in before:
                    state.say(
                        f"{title.id}: its cuts were looked for in one pass, which takes longer, because "
                        f"{shots.in_one_pass}."
                    )
                for doubt in _learnt(job, title)["doubts"]:
                    state.say(f"{title.id}: not learnt from: {doubt}")
                for dub in title.dubs:
                    with during(f"publishing {title.id}/{dub.language}"):
                        summary.append(publish_dub(job, title, dub, state.failed))
        except BaseException as e:
            run |= {"state": "stopped", "exit_status": getattr(e, "exit_code", 130), "error": str(e)}
            write(**_made(summary))
            raise
        counts: Counter[str] = Counter()
        for row in summary:
            counts.update(row["counts"])
        review = sum(row["needs_review"] for row in summary)
        broken = counts["failed"] or any(row["master"] is None or row["verified"] is False for row in summary)
        code = 1 if broken else 3 if review else 0
        run |= {
            "state": "finished",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
            "seconds_by_stage": {k: round(v, 2) for k, v in state.seconds.items()},
            "frames_by_stage": dict(state.frames),
            "done_now": sum(state.made.values()), "found_done": state.found,
            "cast": {t.id: _cast(job, t) for t in job.manifest.titles if t.cast},
            "actors": {t.id: _learnt(job, t) for t in job.manifest.titles if t.actors},
            "counts": dict(counts), "needs_review": review, "dubs": summary,
            "versions": versions(), "exit_status": code,
        }  # fmt: skip
        written = write(finished=run["finished"], seconds=run["seconds"], **_made(summary))
    return Report(code, counts, summary, written)


def _cast(job: Job, title: Title) -> dict[str, dict[str, Any]]:
    """What holds of each character, for the record: the consent that is said to be there, what was asked for, and in
    how many shots the character is seen, None where nothing says who it is."""
    found: Cast | None = job.result(job.analysis(title).get(Cast))
    shots: dict[str, set[str]] = {}
    for track, name in (found or Cast()).characters.items():
        shots.setdefault(name, set()).add(track.rpartition("/")[0])
    return {
        name: {
            "consent": member.consent, "leave_alone": member.leave_alone, "off_screen": member.off_screen,
            "shots": len(shots.get(name, ())) if found else None,
        }
        for name, member in (title.cast or {}).items()
    }  # fmt: skip


def _shots(job: Job, title: Title) -> ShotList | None:
    """The shots of a title, where they are known."""
    found: ShotList | None = job.result(job.analysis(title).get(ShotList))
    return found


def _learnt(job: Job, title: Title) -> dict[str, Any]:
    """Of a title that is to learn from other runs: seconds of their dialogue that each of its actors was fitted on, by
    the model's file, and what was not used and why."""
    found: FittedActors | None = job.result(job.analysis(title).get(FittedActors)) if title.actors else None
    if found is None:
        return {"lent_s": {}, "doubts": []}
    return {"lent_s": {found.model_files[n]: s for n, s in found.lent_s.items()}, "doubts": list(found.doubts)}


def _made(summary: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the dubs that were published, for the record of a run: whose table was written, why there is no master or what
    is wrong with it, and which are proven."""
    made: dict[str, list[str]] = {}
    errors, verified = {}, {}
    for row in summary:
        if row["table"]:
            made.setdefault(row["title"], []).append(row["language"])
        if row["error"]:
            errors[f"{row['title']}/{row['language']}"] = row["error"]
        if row["verified"] is not None:
            verified[f"{row['title']}/{row['language']}"] = row["verified"]
    return {"made": made, "errors": errors, "verified": verified}


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

        resources = {s.name: job.resources(s) for s in job.stages}
        return RayPool(job.store, job.config.engine, resources, lambda text: state.tell(Event("message", text=text)))
    raise InputError(f"There is no engine {engine!r}; there is: {', '.join(ENGINES)}.")
