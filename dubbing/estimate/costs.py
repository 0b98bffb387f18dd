"""What stages cost: read from the results of a finished run, pooled into one speed per stage.

A stage's cost is a mix of four things (frames, megapixels, faces, megapixels of faces) in proportions
that were measured once (`MIX`); earlier runs of a machine say how fast that machine is at each stage.
Hours are counted in processor seconds, which do not grow on a busy machine; a stage's duration
is the smaller of its wall and processor time, because masters use more than one core, and on a busy
machine every other stage waits. It knows no schedule (`schedule`) and no file of its own (`history`).
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dubbing import __version__
from dubbing.analysis.asked import within
from dubbing.artifacts.speakers import Decision
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import FaceTracks
from dubbing.estimate.shares import rules_key, shares
from dubbing.job import Job
from dubbing.manifest import Manifest, Title
from dubbing.task import Task, Windowed

__all__ = [
    "Cost",
    "Measured",
    "Rate",
    "Rates",
    "Work",
    "asked_share",
    "decided_works",
    "fingerprint",
    "measure",
    "rendered_area",
    "rendering",
]

SCHEMA = "dub.cost.1"
ENOUGH_FRAMES = 20_000  # once newer measurements of a stage cover this many, older ones are not used
# The tasks of these name no frames, so the title's are counted.
WHOLE_TITLE = frozenset(
    {
        "source_audio",
        "audio",
        "overlay_list",
        "people",
        "cast",
        "speakers",
        "actors",
        "donors",
        "turns",
        "select",
        "sign",
    }  # fmt: skip
)
# Processor milliseconds of one core of the machine of LOG.md: a frame, a megapixel of picture, a face, a megapixel of
# face (its height squared). Fitted on six clips, not on the reel. Frames of lipsync and sync are of dubbed shots.
MIX: dict[str, tuple[float, float, float, float]] = {
    "still": (0.5, 12.0, 0.0, 0.0),
    "shots": (0.45, 2.8, 0.0, 0.0),
    "faces": (1.9, 2.8, 5.9, 0.0),
    "source_audio": (0.52, 0.0, 0.0, 0.0),
    "audio": (0.52, 0.0, 0.0, 0.0),
    "active": (0.0, 0.0, 13.0, 0.0),
    "descriptors": (0.0, 0.05, 4.0, 0.0),
    "overlays": (1.0, 2.4, 1.4, 0.0),
    "overlay_list": (0.01, 0.0, 0.0, 0.0),
    "people": (0.01, 0.0, 0.02, 0.0),
    "cast": (0.01, 0.0, 0.02, 0.0),
    "speakers": (0.03, 0.0, 0.23, 0.0),
    "actors": (0.01, 0.0, 0.4, 0.0),
    "donors": (0.2, 0.5, 0.5, 0.0),
    "turns": (0.03, 0.0, 0.0, 0.0),
    "select": (0.001, 0.0, 0.0, 0.0),
    "lipsync": (4.6, 5.7, 0.0, 106.0),  # with what is seen of the face meanwhile
    "sync": (0.8, 0.0, 0.0, 0.0),
    "master": (0.37, 14.5, 3.6, 0.0),  # with what is seen of it meanwhile
    "proof": (0.6, 0.0, 0.0, 0.0),
    "sign": (0.01, 0.1, 0.0, 0.0),  # the file is copied and read, twice
}
PERFORMS = 17.0  # times the picture's area: what lipsync costs where a photograph's whole head is rendered
BUILT_IN = "rewrite"  # the generator that MIX holds for; a network's cost does not depend on the face's size


@dataclass(frozen=True)
class Work:
    """The amount of work of a task. frames: those that cost something (lipsync, sync: of dubbed shots); area: frames
    times megapixels of picture; faces: frames times faces (master, proof: patched frames); face_area: frames times
    megapixels of face."""

    frames: float = 0.0
    area: float = 0.0
    faces: float = 0.0
    face_area: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.frames + other.frames, self.area + other.area, self.faces + other.faces,
                    self.face_area + other.face_area)  # fmt: skip

    def __mul__(self, times: float) -> Work:
        return Work(self.frames * times, self.area * times, self.faces * times, self.face_area * times)

    def reference_s(self, stage: str, generator: str = BUILT_IN) -> float:
        """Processor seconds of one core of the machine of LOG.md."""
        mix = MIX.get(stage, (1.0, 0.0, 0.0, 0.0))
        if stage == "lipsync" and generator != BUILT_IN:
            mix = (sum(MIX["lipsync"]), 0.0, 0.0, 0.0)
        parts = (self.frames, self.area, self.faces, self.face_area)
        return sum(a * b for a, b in zip(mix, parts, strict=True)) / 1000


@dataclass(frozen=True)
class Cost:
    """The cost of one stage in one title of one run. frames: that its tasks cover; seconds: wall time of its
    tasks together; cpu_s: their processor time."""

    tasks: int = 0
    frames: int = 0
    work: Work = Work()
    seconds: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tasks + other.tasks, self.frames + other.frames, self.work + other.work,
                    self.seconds + other.seconds, self.cpu_s + other.cpu_s)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One finished run, or a trial: a line of the history.

    titles: one mapping stage -> Cost per title, where rendering by another generator than `generator` is a stage of its
    own, `lipsync wav2lip`; run_s: wall time of the whole; startup_s: of that, what the tasks do not explain; workers:
    tasks at once; at: ISO time; trial: of an excerpt; rules: key of the manifest's conditions where several generators
    are named; shares: of the dubbed frames, the part that each of them renders by these conditions.
    """

    titles: tuple[Mapping[str, Cost], ...]
    generator: str
    expert: str
    engine: str
    workers: int
    run_s: float = 0.0
    startup_s: float | None = None
    machine: str = ""
    dub: str = __version__
    at: str = ""
    trial: bool = False
    rules: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The measurement as one JSON object."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Measured:
        """Read `to_dict`'s object. Raises TypeError, KeyError or ValueError where it is something else."""
        if plain["schema"] != SCHEMA:
            raise ValueError(plain["schema"])
        values = {k: v for k, v in plain.items() if k != "schema"}
        values["titles"] = tuple(
            {s: Cost(**{**c, "work": Work(**c["work"])}) for s, c in title.items()} for title in values["titles"]
        )
        return cls(**values)


@dataclass(frozen=True)
class Rate:
    """How much slower one stage is than on the machine of LOG.md, in processor seconds and in duration.
    frames: how many were measured."""

    cpu: float
    duration: float
    frames: float


@dataclass(frozen=True)
class Rates:
    """The speeds and shares that an estimate takes from earlier runs.

    stages: stage -> how slow; generator: whose lipsync, beside `lipsync wav2lip` of others; shares: the part of the
    dubbed frames that each generator renders, where that was measured; per title, means over the titles measured:
    dubbed_share, frames of dubbed shots over all; faces, faces in a frame; face_share, the area of a
    dubbed face over the picture's; shot_frames, length of a shot; startup_s: engine -> median; runs,
    frames: what it rests on; here: measured on this machine; trial: by a trial.
    """

    stages: Mapping[str, Rate] = field(default_factory=dict)
    generator: str = BUILT_IN
    dubbed_share: float | None = None
    faces: float | None = None
    face_share: float | None = None
    shot_frames: float | None = None
    startup_s: Mapping[str, float] = field(default_factory=dict)
    runs: int = 0
    frames: int = 0
    here: bool = True
    trial: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def pooled(
        cls, lines: Iterable[Measured], generator: str, expert: str, engine: str = "ray", others: Sequence[str] = (),
        rules: str = "",
    ) -> Rates:  # fmt: skip
        """Pool measurements, given newest first. Lipsync counts only where the generator is the same, or one of
        `others`; sync where the expert is; other machines count only where there is nothing of this one, other engines
        only where there is nothing of this one: cores that are all busy are slower each. rules: as of `Measured`;
        shares of others do not count."""
        known = list(lines)
        mine = [m for m in known if m.machine == fingerprint()]
        chosen = [m for m in mine if m.engine == engine] or mine or known
        sums: dict[str, Cost] = {}
        for line in chosen:
            for title in line.titles:
                for name, cost in title.items():
                    kind, _, by = name.partition(" ")
                    by = by or line.generator
                    stage = rendering(by, generator) if kind == "lipsync" else name
                    other = {"lipsync": by not in (generator, *others), "sync": line.expert != expert}.get(kind, False)
                    if not other and sums.get(stage, Cost()).frames < ENOUGH_FRAMES:
                        sums[stage] = sums.get(stage, Cost()) + cost
        rates = {}
        for stage, cost in sums.items():
            reference = cost.work.reference_s(*_by(stage, generator))
            if reference > 0:
                rates[stage] = Rate(cost.cpu_s / reference, min(cost.cpu_s, cost.seconds) / reference, cost.work.frames)
        startup: dict[str, list[float]] = {}
        for line in chosen:
            if line.startup_s is not None:
                startup.setdefault(line.engine, []).append(line.startup_s)
        titles = [_summed(t) for line in chosen for t in line.titles]
        said = next((line.shares for line in chosen if rules and line.rules == rules and line.shares), {})
        return cls(
            rates,
            generator,
            _mean(titles, "lipsync", lambda c: (c.work.frames, c.frames)),
            _mean(titles, "faces", lambda c: (c.work.faces, c.frames)),
            _mean(titles, "lipsync", lambda c: (c.work.face_area, c.work.area)),
            _mean(titles, "faces", lambda c: (c.frames, c.tasks)),
            {engine: sorted(values)[len(values) // 2] for engine, values in startup.items()},
            len(chosen),
            sums.get("shots", Cost()).frames or max((c.frames for c in sums.values()), default=0),
            bool(mine) or not known,
            any(m.trial for m in chosen),
            said,
        )

    def of(self, stage: str, work: Work) -> tuple[float, float] | None:
        """(processor seconds, duration) of some work, or None where the stage was never measured. stage: with another
        generator than `generator` as `rendering` names it."""
        rate = self.stages.get(stage)
        reference = work.reference_s(*_by(stage, self.generator))
        return None if rate is None else (rate.cpu * reference, rate.duration * reference)


def rendering(generator: str, main: str) -> str:
    """What rendering by a generator is called among stages, where `main` is called `lipsync`."""
    return "lipsync" if generator == main else f"lipsync {generator}"


def _by(stage: str, main: str) -> tuple[str, str]:
    """Stage and generator of what is called so among stages."""
    name, _, generator = stage.partition(" ")
    return name, generator or main


def _summed(title: Mapping[str, Cost]) -> dict[str, Cost]:
    """The costs of a title with those of all generators under `lipsync`."""
    found: dict[str, Cost] = {}
    for name, cost in title.items():
        stage = name.partition(" ")[0]
        found[stage] = found.get(stage, Cost()) + cost
    return found


def _mean(titles: Iterable[Mapping[str, Cost]], stage: str, of: Callable[[Cost], tuple[float, float]]) -> float | None:
    """The mean over titles of one ratio of a stage; titles that have no such ratio are left out."""
    pairs = [of(t[stage]) for t in titles if stage in t]
    ratios = [a / b for a, b in pairs if b]
    return sum(ratios) / len(ratios) if ratios else None


def decided_works(
    job: Job, title: Title, tasks: Iterable[Task], title_frames: int, megapixels: float
) -> dict[str, Work]:
    """The work of a title's tasks, by id, as far as it is known: not before faces were searched for."""
    decided = job.decided(title)
    tasks = list(tasks)
    takes = {(t.language, t.shot): t for t in tasks if t.kind.Result is Take and t.window is None}
    found = {t.id: _decided_work(job, title, t, title_frames, megapixels, decided, takes) for t in tasks}
    return {name: work for name, work in found.items() if work is not None}


def asked_share(job: Job, title: Title, task: Task) -> float:
    """How much of a shot of a dub, 0..1, its manifest asks for; 1 of other tasks. Raises ManifestError."""
    dub = next((d for d in title.dubs if d.language == task.language), None)
    bounds: tuple[int, int] | None = getattr(task.inputs, "bounds", None)
    ranges = job.asked(title, dub) if dub and task.shot and bounds is not None else None
    if ranges is None or bounds is None:
        return 1.0
    start, end = bounds
    return sum(b - a for a, b in within(ranges, start, end)) / (end - start)


def _decided_work(
    job: Job, title: Title, task: Task, title_frames: int, megapixels: float, decided: Mapping[str, Decision],
    takes: Mapping[tuple[str | None, str | None], Task],
) -> Work | None:  # fmt: skip
    """The work of a task; None before faces were searched for.

    A finished lipsync says whether its shot was dubbed, an open one what analysis decided for the shot. A long shot's
    work is in its windows until they are joined, then in what they were joined to.
    """
    length = (task.span if job.done(task) else task.frames) * asked_share(job, title, task)
    if task.stage in WHOLE_TITLE | {"still", "shots", "master", "proof"}:
        windowed = isinstance(task.inputs, Windowed) and (task.window is not None or task.inputs.parts is not None)
        frames = length if windowed else task.frames or title_frames
        return Work(frames, frames * megapixels)
    if task.stage == "overlays":  # most shots have one face that is large enough
        return Work(length, length * megapixels, length)
    if task.stage in ("faces", "active", "descriptors"):
        found: FaceTracks | None = job.result(task) if task.kind.Result is FaceTracks else None
        if found is None:
            return None
        return Work(length, length * megapixels, sum(t.end_frame - t.start_frame for t in found.tracks))
    decision = decided[task.shot or ""]
    take: Take | None = job.result(task if task.kind.Result is Take else takes[task.language, task.shot])
    dubbed = take.status == "dubbed" if take else not decision.reason and bool(decision.tracks)
    made = length if dubbed else 0.0
    area = made * megapixels * (rendered_area(job, title) if task.stage == "lipsync" else 1.0)
    return Work(made, area, made, made * (decision.face_px or 0.0) ** 2 / 1e6)


def rendered_area(job: Job, title: Title) -> float:
    """By how much more of the picture lipsync costs in a title: PERFORMS for a photograph whose head moves, else 1."""
    made = job.made_of(title)
    moves = made is not None and made.settings.motion != "none"
    return PERFORMS if moves else 1.0


def measure(
    job: Job, engine: str, made: Collection[str] | None = None, manifest: Manifest | None = None, **more: Any
) -> Measured:
    """The cost of the finished tasks of a job. made: ids of the tasks to count, None for all that are there; manifest:
    whose conditions say which generator renders which face, None for the job's; more: further fields of Measured."""
    tasks = job.tasks()
    titles = []
    main, asked_for = job.manifest.generators[0].name, manifest or job.manifest
    for title in job.manifest.titles:
        mine = [t for t in tasks if t.title == title.id]
        frames = max((max(t.frames, t.span) for t in mine if t.stage in ("shots", "master")), default=0)
        width, height = job.info(title).upright_size
        known = decided_works(job, title, mine, frames, width * height / 1e6)
        works = {t.id: known.get(t.id, Work()) for t in mine}
        tracked = sum(works[t.id].faces for t in mine if t.stage == "faces")
        patched: dict[str, float] = defaultdict(float)
        for task in mine:
            if task.stage == "lipsync":
                patched[task.language or ""] += works[task.id].frames
        costs: dict[str, Cost] = {}
        for task in mine:
            spent = job.spent(task) if made is None or task.id in made else None
            asked = asked_share(job, title, task)
            if spent is None or not asked:
                continue
            work = works[task.id]
            if task.stage in ("master", "proof"):
                work = replace(work, faces=patched[task.language or ""] * work.frames / frames)
            elif task.stage in ("people", "cast", "speakers", "actors", "donors"):
                work = replace(work, faces=tracked)
            by = task.kind.rendered_by(task.inputs)
            stage = rendering(by[0][0], main) if by else task.stage
            costs[stage] = costs.get(stage, Cost()) + Cost(
                task.window is None, round((task.span or frames) * asked), work, spent.seconds, spent.cpu_s
            )
        titles.append(costs)
    workers = 1 if engine == "local" else job.config.engine.workers or os.cpu_count() or 1
    about = {"machine": fingerprint(), "rules": rules_key(asked_for), "shares": shares(job, asked_for), **more}
    return Measured(tuple(titles), main, job.config.sync.expert, engine, workers, **about)


def fingerprint() -> str:
    """The processor, cores and system, within which times can be compared. Names no person and no host."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"
