"""Check, plan and run a job from Python: what `dub check`, `dub plan` and `dub run` do, without a word.

A job is a manifest (a file's path or URI, or a `Manifest` built in Python), settings and an output folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dubbing import config as configs
from dubbing import estimate, generators, lending, preflight
from dubbing import manifest as manifests
from dubbing.api.log import RunLog
from dubbing.api.progress import FiguresFile
from dubbing.config import Config
from dubbing.engine import ENGINES, Event, Report, run_job
from dubbing.errors import DubError, InputError, PluginError
from dubbing.estimate import Estimate
from dubbing.job import Job
from dubbing.manifest import Manifest
from dubbing.preflight import Findings
from dubbing.speaking.spoken import Spoken, any_written, speak
from dubbing.store import Store, open_store, temporary

if TYPE_CHECKING:
    from dubbing.task import Task

__all__ = [
    "Plan",
    "check",
    "known_engine",
    "manifest_of",
    "plan",
    "ready",
    "run",
    "schema_of",
    "settings_of",
    "spoken",
    "steadfast",
]


@dataclass(frozen=True)
class Plan:
    """What a job consists of, and how long the rest of it will take.

    estimate: hours and seconds (see `Estimate`), None in it where nothing was measured; stages: their names, in order;
    tasks: every task known so far, with the frames that are asked for; more follow once the cuts are known; done: the
    ids of those whose result is there.
    """

    estimate: Estimate
    stages: tuple[str, ...]
    tasks: tuple[Task, ...]
    done: frozenset[str]

    @property
    def complete(self) -> bool:
        """Whether every task is known: each dub's master is planned."""
        dubs = {(t.title, t.language) for t in self.tasks if t.stage == "audio"}
        return dubs <= {(t.title, t.language) for t in self.tasks if t.stage == "master"}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.tasks) and self.complete and all(t.id in self.done for t in self.tasks)


def check(
    manifest: Manifest | Path | str, out: Path | str = "out", *, config: Config | Path | str | None = None,
    deep: bool = False, listen: bool = True, on_frames: Callable[[int], None] | None = None,
    on_speech: Callable[[int, int], None] | None = None,
) -> Findings:  # fmt: skip
    """Look at everything a run will need, without doing it. What is wrong is in `Findings.problems`, all of it.

    manifest: a path, a URI, or a `Manifest`; out: the output folder or URI; config: settings, or the path or URI of a
    file of differences, None for the defaults; deep: decode every picture, which finds damage inside the files;
    listen: look for speech in every sound track, and say which are listened to; on_frames: told how many more pictures
    were decoded (deep only); on_speech(done, of): so many of so many sentences of a dub's text are spoken, which is
    done in a folder for the time being.

    Raises ManifestError: the manifest or the config cannot be read, or is wrong in itself.
    """
    job, settings = manifest_of(manifest), settings_of(config)
    with _spoken_aside(job, settings, out, on_speech) as said:
        if not said.manifest.titles:
            return Findings(problems=[*said.problems])
        found = preflight.look(
            said.manifest, settings, out, deep=deep, listen=listen, on_frames=on_frames or (lambda frames: None)
        )
    found.notes += said.notes
    found.problems += said.problems
    return found


def plan(
    manifest: Manifest | Path | str, out: Path | str = "out", *, config: Config | Path | str | None = None,
    engine: str = "ray", workers: int | None = None, gpus: float = 0.0, trial: bool = False,
) -> Plan:  # fmt: skip
    """Say how many hours a job will take, and which of its tasks are done.

    manifest, out, config: as of `check`; engine: ray or local; workers: tasks at once, None for as many as the config
    or this machine's cores say; gpus: how many there are, 0 for one where any is needed; trial: measure nine seconds of
    the first title now, in a temporary folder, instead of going by earlier runs.

    Raises InputError: a file cannot be read; there is no such engine.
    """
    job, settings = manifest_of(manifest), settings_of(config)
    known_engine(engine)
    with _spoken_aside(job, settings, out, None) as said:
        if said.problems:
            raise said.problems[0]
        return _planned(said.manifest, out, settings, engine, workers, gpus, trial)


def _planned(
    job: Manifest, out: Path | str, settings: Config, engine: str, workers: int | None, gpus: float, trial: bool
) -> Plan:  # fmt: skip
    rates = _rates(job, settings, engine)
    if trial:
        tried = [estimate.trial(job, settings)]
        pooled = _pooled(tried, job, settings, engine)
        rates = replace(pooled, startup_s=rates.startup_s)
    work = Job(job, out, settings)
    for title in job.titles:
        lending.foreseen(work, title)
    expected = estimate.estimate(work, rates, _slots(settings, engine, workers), gpus=gpus, engine=engine)
    titles = {t.id: t for t in job.titles}
    tasks = tuple(
        replace(t, frames=round(t.frames * estimate.asked_share(work, titles[t.title], t))) for t in work.tasks()
    )
    return Plan(expected, tuple(s.name for s in work.stages), tasks, frozenset(t.id for t in tasks if work.done(t)))


def run(
    manifest: Manifest | Path | str, out: Path | str = "out", *, config: Config | Path | str | None = None,
    engine: str = "ray", on_event: Callable[[Event], None] | None = None,
    on_check: Callable[[Findings], None] | None = None, verify: bool = False,
    on_speech: Callable[[int, int], None] | None = None,
) -> Report:  # fmt: skip
    """Do the job: a master and a table of shots for every dub, the same bytes as `dub run`.

    What is done already is not done again. `Report` has exit_code (0 all well, 1 some shots failed, 3 some need
    review), counts (status -> shots), summary (one mapping per dub) and run_json (as written to out/run.json).

    manifest, out, config: as of `check`; engine: ray (all cores) or local (this process); on_event: told what happens,
    in this process, as it happens; on_check: told what `check` finds, before the work starts; verify: look at all
    contents of what is done, and not only of what is read, and make again what is damaged; on_speech(done, of): so many
    of so many sentences of a dub's text are spoken, before anything else.

    Raises InputError (ManifestError, MediaError, OutputError, ModelError): what was given is wrong; nothing was started
    that the same call cannot go on with. What on_event raises ends the run and comes out here, as does
    KeyboardInterrupt: finished shots are kept, and the same call goes on.
    """
    job, settings, store, found = ready(manifest, out, config, engine, on_check, on_speech)
    films = [(t.frames, len(t.dubs)) for t in found.titles]
    work, made = Job(job, store, settings), estimate.Made()
    work.verifies = verify
    with FiguresFile(films, store.root) as figures, RunLog(store, f"run with {engine}") as log:
        tell = steadfast(made, figures, log, *([on_event] if on_event else []))
        report = run_job(work, engine, _expecting(tell, work, engine))
        log.ended(report)
    estimate.remember(work, report.run_json, made)
    return report


def _expecting(tell: Callable[[Event], None], work: Job, engine: str) -> Callable[[Event], None]:
    """The same watcher, told how long the run should take as soon as something is planned."""
    told = False

    def watch(event: Event) -> None:
        nonlocal told
        if event.kind == "planned" and not told:
            told = True
            expected_s = _expected_s(work, engine)
            if expected_s is not None:
                tell(Event("expected", seconds=round(expected_s, 1)))
        tell(event)

    return watch


def _expected_s(work: Job, engine: str) -> float | None:
    """How long a run should take, by earlier ones on this machine; None where none was measured."""
    rates = _rates(work.manifest, work.config, engine)
    if not (rates.stages and rates.here):
        return None
    try:
        return estimate.estimate(work, rates, _slots(work.config, engine, None), engine=engine).wall_s
    except (DubError, OSError):
        return None  # the run itself says what is wrong


def _rates(job: Manifest, settings: Config, engine: str) -> estimate.Rates:
    return _pooled(estimate.recall(), job, settings, engine)


def _pooled(lines: Sequence[estimate.Measured], job: Manifest, settings: Config, engine: str) -> estimate.Rates:
    main, *others = dict.fromkeys(choice.name for choice in job.generators)
    return estimate.Rates.pooled(lines, main, settings.sync.expert, engine, others, estimate.rules_key(job))


def _slots(settings: Config, engine: str, workers: int | None) -> int:
    return 1 if engine == "local" else workers or settings.engine.workers or os.cpu_count() or 1


def schema_of(what: Literal["manifest", "config"]) -> tuple[dict[str, Any], list[PluginError]]:
    """JSON Schema of manifests, with the settings of every generator there is, or of config files; and the packages
    whose generators could not be asked."""
    if what == "config":
        return configs.schema(), []
    schemas, problems = generators.schemas()
    return manifests.schema(schemas), problems


def ready(
    manifest: Manifest | Path | str, out: Path | str, config: Config | Path | str | None, engine: str,
    on_check: Callable[[Findings], None] | None, on_speech: Callable[[int, int], None] | None = None,
) -> tuple[Manifest, Config, Store, Findings]:  # fmt: skip
    """What a run works with, once text is spoken, all that it needs was looked at and what other runs lend it was
    taken. Raises as `run`, before anything is started."""
    job, settings = manifest_of(manifest), settings_of(config)
    known_engine(engine)
    store = open_store(out)
    job, notes = spoken(job, settings, store, on_speech)
    found = preflight.look(job, settings, store)
    found.raise_first()
    found.notes += notes
    if on_check is not None:
        on_check(found)
    lending.take(Job(job, store, settings))
    return job, settings, store, found


def spoken(
    job: Manifest, settings: Config, store: Store, on_speech: Callable[[int, int], None] | None = None
) -> tuple[Manifest, list[str]]:  # fmt: skip
    """A job whose dubs all have a sound, those that are given as text too, which are spoken into the output folder; and
    who speaks them. Raises InputError."""
    if not any_written(job):
        return job, []
    store.check()
    said = speak(job, store, settings, on_progress=on_speech or (lambda done, of: None))
    if said.problems:
        raise said.problems[0]
    return said.manifest, said.notes


@contextmanager
def _spoken_aside(
    job: Manifest, settings: Config, out: Path | str, on_speech: Callable[[int, int], None] | None
) -> Iterator[Spoken]:  # fmt: skip
    """The same for who only looks: what is not spoken yet is spoken into a folder that goes again."""
    if not any_written(job):
        yield Spoken(job)
        return
    with temporary("speech") as folder:
        yield speak(job, open_store(out), settings, into=folder, on_progress=on_speech or (lambda done, of: None))


def settings_of(config: Config | Path | str | None) -> Config:
    """Settings, or what a file of them says. Raises ManifestError."""
    return config if isinstance(config, Config) else configs.load(config)


def known_engine(engine: str) -> None:
    """Raises InputError where there is no such engine."""
    if engine not in ENGINES:
        raise InputError(f"There is no engine {engine!r}; there is: {', '.join(ENGINES)}.")


def steadfast(*watchers: Callable[[Event], None]) -> Callable[[Event], None]:
    """One watcher of events out of several. Once one of them has raised, every further event raises the same, so that
    no stage can take it for an error of its own shot."""
    raised: list[BaseException] = []

    def tell(event: Event) -> None:
        if raised:
            raise raised[0]
        try:
            for watch in watchers:
                watch(event)
        except BaseException as e:
            raised.append(e)
            raise

    return tell


def manifest_of(manifest: Manifest | Path | str) -> Manifest:
    """A manifest, or what a file says. Raises ManifestError."""
    return manifest if isinstance(manifest, Manifest) else manifests.load(manifest)
