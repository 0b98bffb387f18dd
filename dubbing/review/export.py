"""Deliver what reviewers decided: master again only what changed, then write lists of it and the report.

A dub whose takes are the same keeps its master, the very file: its task's key is the same. The record of the delivery
is written last, so that whatever stops an export, the next one finds the same changes. Knows no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dubbing import preflight
from dubbing.artifacts.takes import Take
from dubbing.decisions import ShotKey, name_of
from dubbing.engine import Event, run_job
from dubbing.errors import DubError, InputError, OutputError
from dubbing.job import Job
from dubbing.manifest import Dub, Title
from dubbing.review.deliveries import Change, Delivered, Deliveries, by_the_run, changes, dub_name
from dubbing.review.library import Library
from dubbing.review.lists import SOURCE, Sheet, lists
from dubbing.review.report import report
from dubbing.review.turnover import Part, turn_over
from dubbing.run_file import RunPart
from dubbing.shot_table import read_rows, read_table
from dubbing.store import Store, output_error

__all__ = ["REPORT", "Exported", "ExportedDub", "Layers", "export", "refusal"]

REPORT = "report.html"


@dataclass(frozen=True)
class Layers:
    """What a compositor is given. kind: exr, tiff, png or prores4444; crop: pictures no larger than the patches of
    their shot; plate: the source's own pictures beside them."""

    kind: str
    crop: bool = False
    plate: bool = False


@dataclass(frozen=True)
class ExportedDub:
    """One dub. shots: how many it has; changes: its shots with another picture than in the delivery before; remastered:
    whether its master is another than that; since: what that was (`delivery 2`, `the run`); master: its file, None
    where it could not be made; error: why not."""

    title: str
    language: str
    shots: int
    changes: tuple[Change, ...]
    remastered: bool
    since: str
    master: Path | None
    error: str | None


@dataclass(frozen=True)
class Exported:
    """What an export did. delivery: its number; files: the lists and the report; exit_code: as a run's; left_out: dubs
    of earlier runs that could not be exported, and why."""

    delivery: int
    folder: Path
    files: tuple[Path, ...]
    dubs: tuple[ExportedDub, ...]
    exit_code: int
    left_out: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "delivery": self.delivery, "folder": str(self.folder),
            "files": [str(f) for f in self.files], "exit_status": self.exit_code,
            "left_out": dict(self.left_out),
            "dubs": [{
                "title": d.title, "language": d.language, "shots": d.shots, "since": d.since,
                "remastered": d.remastered, "master": str(d.master) if d.master else None, "error": d.error,
                "changed": [{
                    "shot": c.shot, "was": c.was or SOURCE, "now": c.now or SOURCE,
                    "decision": c.decided.kind if c.decided else None,
                    "by": c.decided.reviewer if c.decided else None, "at": c.decided.time if c.decided else None,
                } for c in d.changes],
            } for d in self.dubs],
        }  # fmt: skip


def export(
    library: Library, reviewer: str, on_event: Callable[[Event], None], engine: str = "ray", to: Path | None = None,
    since: int | None = None, layers: Layers | None = None,
) -> Exported:  # fmt: skip
    """Master again what decisions changed, write the lists and the report, and note the delivery.

    reviewer: who delivers; to: the folder of the lists, default `OUT/review/export`; since: number of the
    delivery against which changes are named, 0 for the run, None for the last; layers: write a turnover for
    compositing too, `TITLE.LANGUAGE.KIND` beside the lists. Raises InputError (no name; no such
    delivery; as `run_job`) and OutputError (not finished; another run or export writes there; cannot be written).
    """
    reviewer = name_of(reviewer)
    folder = to or library.out / "review" / "export"
    for part in library.parts:
        preflight.look(part.manifest, part.config, library.store).raise_first()
    for title, dub in library.dubs():
        if not (library.store.dub(title.id, dub.language) / "shots.parquet").exists():
            raise _unfinished(library, title, dub)  # before anything is made
    try:  # before anything is mastered
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise output_error(folder, e) from e
    log = Deliveries(library.out)
    with log.alone():
        last = log.all()
        jobs, own, left_out = _ready(library)
        before = {name: (was, "the run") for name, was in own.items()}
        if since is not None and since > len(last):
            raise InputError(
                f"There is no delivery {since} of {str(library.out)!r}; there are {len(last)}, and 0: the run."
            )
        for delivery in last[:since]:
            before |= {name: (was, f"delivery {delivery.seq}") for name, was in delivery.dubs.items()}
        summary: dict[tuple[str, str], dict[str, Any]] = {}
        codes = set()
        for job in reversed(jobs):  # so that the last run's manifest is the one that run.json ends with
            done = run_job(job, engine, on_event, command="export", by=reviewer)
            summary |= {(s["title"], s["language"]): s for s in done.summary}
            codes.add(done.exit_code)
        made: list[ExportedDub] = []
        files: list[Path] = []
        told_changes: list[dict[str, Any]] = []
        delivered: dict[str, Delivered] = {}
        for job_of, title, dub in ((job, *pair) for job in jobs for pair in _dubs(job)):
            name, told = dub_name(title, dub), summary[title.id, dub.language]
            sheet, one, now = _dub(library, job_of, title, dub, told, own[name], *before[name])
            made.append(one)
            if sheet is not None:
                files += _written(folder, lists(sheet))
                told_changes += _told(name, sheet)
            if now is not None and one.master is not None:
                delivered[name] = now
            if layers is not None and one.master is not None:
                on_event(Event("message", text=f"writing the layers of {name}"))
                files += _layers(job_of, title, dub, folder, layers)
        on_event(Event("message", text="writing the report"))
        files += _written(folder, {REPORT: report(library, changes=told_changes).encode()})
        record = log.append(reviewer, sum(len(s.history) for s in jobs[0].decisions.values()), delivered)
    return Exported(record.seq, folder, tuple(files), tuple(made), next(c for c in (1, 3, 0) if c in codes), left_out)


def _layers(job: Job, title: Title, dub: Dub, folder: Path, layers: Layers) -> list[Path]:
    """The turnover of one dub: its list and its script."""
    parts = []
    for step in job.dub(title, dub, {}).steps:
        take = job.result(step.take)
        if step.delivered and isinstance(take, Take) and take.rendered:
            folders = tuple(step.take.folder / face.folder for face in take.rendered)
            parts.append(Part(step.shot.id, step.shot.start_frame, step.shot.end_frame, folders))
    name = f"{title.id}.{dub.language}"
    return turn_over(
        job.film(title), job.timeline(title), parts, folder / f"{name}.{layers.kind}", name, layers.kind,
        crop=layers.crop, plate=layers.plate,
    )  # fmt: skip


def _dubs(job: Job) -> list[tuple[Title, Dub]]:
    return [(title, dub) for title in job.manifest.titles for dub in title.dubs]


def _ready(library: Library) -> tuple[list[Job], dict[str, Delivered | None], dict[str, str]]:
    """The jobs of an export, those of the last run first; what their runs delivered, by dub; and the dubs of earlier
    runs that cannot be exported, with why. Raises OutputError where one of the last run cannot be."""
    jobs, own, left_out = [], {}, dict(library.left_out)
    for part in library.parts:
        kept = []
        job: Job | None = _made_again(part, library)
        for title, dub in part.dubs():
            try:
                assert job is not None
                own[dub_name(title, dub)] = _by_the_run(library, job, title, dub)
                kept.append((title.id, dub.language))
            except OutputError as e:
                if library.run_file.of_last_run(title.id, dub.language):
                    raise
                left_out[dub_name(title, dub)] = str(e)
        if len(kept) < sum(1 for _ in part.dubs()):
            rest = part.only(kept)
            job = _made_again(rest, library) if rest else None
        jobs += [job] if job else []
    return jobs, own, left_out


def _made_again(part: RunPart, library: Library) -> Job:
    """The job of a part as its run made it: an export takes decisions on pictures, and no new analysis."""
    job = Job(part.manifest, library.store, part.config)
    for title in part.manifest.titles:
        job.recall(title)
    return job


def refusal(library: Library) -> str | None:
    """Why an export of this run would be refused as it is now, in a sentence; None where it would not. Better told
    before an hour of review than after it."""
    try:
        _ready(library)
    except DubError as e:
        return str(e)
    except FileNotFoundError as e:
        return f"{e.filename!r} is gone; bring it back."
    return None


def _by_the_run(library: Library, job: Job, title: Title, dub: Dub) -> Delivered | None:
    """What was delivered before any delivery. Raises OutputError where the run is not finished: an export masters, and
    renders what failed or was chosen, but no whole film."""
    table = library.store.dub(title.id, dub.language) / "shots.parquet"
    failed = {r["shot"] for r in read_rows(table) if r["status"] == "failed"} if table.exists() else set()
    steps = job.dub(title, dub, {}).steps
    open_ = [
        s.shot.id for s in steps
        if not (job.done(s.take) and job.done(s.score)) and s.shot.id not in failed and s.decided.take is None
    ]  # fmt: skip
    if not table.exists() or open_ or not (steps or failed):
        raise _unfinished(library, title, dub)
    return by_the_run(job, title, dub)


def _unfinished(library: Library, title: Title, dub: Dub) -> OutputError:
    return OutputError(
        f"The run of {dub_name(title, dub)} in {str(library.out)!r} is not finished, or was made by other settings or "
        "another version; `dub run` its manifest again, then export."
    )


def _dub(
    library: Library, job: Job, title: Title, dub: Dub, told: Mapping[str, Any],
    own: Delivered | None, was: Delivered | None, since: str,
) -> tuple[Sheet | None, ExportedDub, Delivered | None]:  # fmt: skip
    """What to write of one dub, after its run; nothing where its table could not be made."""
    home = library.store.dub(title.id, dub.language)
    master = Path(told["master"]) if told["master"] else None
    if told["table"] is None:
        return None, ExportedDub(title.id, dub.language, 0, (), False, since, None, told["error"]), None
    table = read_table(home / "shots.parquet")
    rows = table.to_pylist()
    now = Delivered(
        table.schema.metadata[b"content"].decode(),
        {r["shot"]: r["take"] if r["status"] == "dubbed" else None for r in rows},
    )
    standing = {key[2]: s for key, s in job.decisions.items() if _mine(key, title, dub)}
    found = changes(was or now, now, standing, own.pictures if own else {})
    sheet = Sheet(
        title.id, dub.language, rows, standing, found, since, job.timeline(title),
        master or home / job.master_names(title, dub)[0],
        home / "takes",
        library.config.review,
    )  # fmt: skip
    remastered = was is None or was.master != now.master
    return (
        sheet,
        ExportedDub(title.id, dub.language, len(rows), tuple(found), remastered, since, master, told["error"]),
        now,
    )


def _told(name: str, sheet: Sheet) -> list[dict[str, Any]]:
    """The changes of one dub, for the report."""
    rows = {r["shot"]: r for r in sheet.rows}
    return [
        {"dub": name, "shot": c.shot, "start_tc": rows[c.shot]["start_tc"], "end_tc": rows[c.shot]["end_tc"],
         "was": c.was, "now": c.now, "by": c.decided.reviewer if c.decided else None, "since": sheet.since}
        for c in sheet.changes
    ]  # fmt: skip


def _mine(key: ShotKey, title: Title, dub: Dub) -> bool:
    return key[:2] == (title.id, dub.language)


def _written(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Each file whole, or as it was before."""
    for name, data in files.items():
        Store(folder).write_bytes(folder / name, data)
    return [folder / name for name in files]
