"""How many hours a job will take: its tasks on paper, priced with what earlier runs cost, and scheduled.

What the analysis has decided is taken from its results; what it has not (how many shots, which of them
have a face that speaks) from the mean of the titles measured, and said so. Knows no file and no display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dubbing import media
from dubbing.estimate.costs import Rates, Work, decided_work, title_of
from dubbing.estimate.schedule import Piece, longest_chain, makespan
from dubbing.manifest import Title
from dubbing.pipeline import STAGES, Job
from dubbing.records import Shot
from dubbing.stage import Resources, Task

__all__ = ["STARTUP_S", "Estimate", "StageEstimate", "estimate"]

# Wall seconds from the command to the first task, and of loading what a worker needs, where no run has said.
STARTUP_S = {"ray": 10.0, "local": 4.0}
SHOT_FRAMES = 85.0  # a feature of 170,000 frames has about 2,000 shots


@dataclass(frozen=True)
class StageEstimate:
    """One stage. tasks: expected in all; done: of these; frames: of film that its open tasks work on (lipsync,
    sync: of dubbed shots); core_hours, gpu_hours: of the open ones, None where it was never measured;
    known: whether their number is known, not guessed from the length of other films' shots."""

    stage: str
    tasks: int
    done: int
    frames: int
    core_hours: float | None
    gpu_hours: float | None
    known: bool


@dataclass(frozen=True)
class Estimate:
    """What is left of a job. core_hours, gpu_hours, wall_s: None where a stage that is needed was never measured;
    wall_s includes startup_s; longest_s: the longest chain of tasks, which no number of cores shortens;
    notes: what it rests on and what it cannot know, in sentences."""

    stages: tuple[StageEstimate, ...]
    core_hours: float | None
    gpu_hours: float | None
    wall_s: float | None
    longest_s: float | None
    startup_s: float
    workers: int
    gpus: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Open:
    """A task that is still to do, real or expected."""

    id: str
    stage: str
    work: Work
    waits: tuple[str, ...]


def estimate(
    job: Job,
    rates: Rates,
    workers: int,
    *,
    gpus: float = 0.0,
    engine: str = "ray",
    asks: Mapping[str, Resources] | None = None,
) -> Estimate:
    """What is left of `job` on a machine or cluster with `workers` slots. asks: stage -> what one worker holds,
    None for what the stages themselves say. Raises InputError where a film cannot be read."""
    asks = asks or {s: job.resources(s) for s in job.stages}
    tasks = job.tasks()
    open_: list[_Open] = []
    expected: dict[str, int] = dict.fromkeys(job.stages, 0)
    guessed: set[str] = set()
    blind = False
    for title in job.manifest.titles:
        mine = [t for t in tasks if title_of(t) == title.id]
        todo, invented = _title(job, title, mine, rates)
        open_ += todo
        blind = blind or not job.decided(title)
        for task in mine:
            expected[task.stage] += 1
        for one in todo:
            if one.id in invented:
                expected[one.stage] += 1
                if not any(t.stage == "faces" for t in mine):
                    guessed.add(one.stage)
    pieces, stages, unknown = [], [], []
    for stage in job.stages:
        todo = [o for o in open_ if o.stage == stage]
        frames = sum(o.work.frames for o in todo)
        priced = [rates.of(stage, o.work) for o in todo]
        cores = gpu = None
        if None not in priced:
            cpu_s = sum(p[0] for p in priced if p)
            gpu = sum(p[1] for p in priced if p) * asks[stage].gpus / 3600
            cores = cpu_s / 3600
        else:
            unknown.append(stage)
        done = sum(job.done(t) for t in tasks if t.stage == stage)
        stages.append(StageEstimate(stage, expected[stage], done, round(frames), cores, gpu, stage not in guessed))
        for o, price in zip(todo, priced, strict=True):
            pieces.append(Piece(o.id, stage, price[1] if price else 0.0, o.waits, asks[stage].cpus, asks[stage].gpus))
    wanted = max((asks[s.stage].gpus for s in stages if s.tasks > s.done), default=0.0)
    gpus = gpus or (1.0 if wanted else 0.0)
    startup = rates.startup_s.get(engine, STARTUP_S[engine]) if pieces else 0.0
    known = not unknown
    return Estimate(
        tuple(stages),
        sum(s.core_hours or 0.0 for s in stages) if known else None,
        sum(s.gpu_hours or 0.0 for s in stages) if known else None,
        startup + makespan(pieces, workers, gpus, job.stages) if known else None,
        startup + longest_chain(pieces) if known else None,
        startup,
        workers,
        gpus if wanted else 0.0,
        tuple(_notes(rates, unknown, blind, bool(pieces), engine)),
    )


def _title(job: Job, title: Title, tasks: Sequence[Task], rates: Rates) -> tuple[list[_Open], set[str]]:
    """The open tasks of one title, real ones first, and the ids of those that are only expected."""
    width, height = media.probe(job.store.local(title.video)).upright_size
    megapixels = width * height / 1e6
    frames = max((t.frames for t in tasks if t.stage in ("shots", "master")), default=0)
    by_stage: dict[str, list[Task]] = {s: [t for t in tasks if t.stage == s] for s in STAGES}
    lengths = [t.frames for t in by_stage["faces"]] or _shots(frames, rates)
    faces = rates.faces if rates.faces is not None else 1.0
    share = rates.dubbed_share if rates.dubbed_share is not None else 1.0
    face = megapixels * (rates.face_share if rates.face_share is not None else 0.15)

    def guess(stage: str, length: float) -> Work:
        part = share if stage in ("lipsync", "sync") else 1.0
        shown = Work(length, length * megapixels, length * (share if stage == "master" else faces), length * face)
        return shown * part

    works = {t.id: decided_work(job, t, frames, megapixels) or guess(t.stage, t.frames) for t in tasks}
    tracked = sum(works[t.id].faces for t in by_stage["faces"]) or frames * faces
    todo = [
        _Open(t.id, t.stage, replace(works[t.id], faces=tracked) if t.stage in ("speakers", "actors") else works[t.id],
              (*t.needs, *t.after))
        for t in tasks if not job.done(t) and t.stage != "master"
    ]  # fmt: skip
    invented: list[_Open] = []
    shots = [Shot(i + 1, 0, n).id for i, n in enumerate(lengths)]
    cut, decided = f"shots {title.id}", f"actors {title.id}"
    looked = [f"faces {title.id}/{s}" for s in shots]
    if not by_stage["faces"]:
        sound = tuple(t.id for t in by_stage["audio"] if t.id.endswith("/source"))
        for name, length in zip(looked, lengths, strict=True):
            invented.append(_Open(name, "faces", guess("faces", length), (cut,)))
            if job.active_speaker:
                watch = _Open(name.replace("faces", "active", 1), "active", guess("active", length), (name, *sound))
                invented.append(watch)
        before = (*sound, *(o.id for o in invented))
        whole = Work(frames, frames * megapixels, frames * faces)
        invented.append(_Open(f"speakers {title.id}", "speakers", whole, before))
        invented.append(_Open(decided, "actors", whole, (f"speakers {title.id}",)))
    for dub in title.dubs:
        name = f"{title.id}/{dub.language}"
        real = next((t for t in by_stage["master"] if t.id == f"master {name}"), None)
        if real is not None:
            patched = sum(works[t.id].frames for t in by_stage["lipsync"] if t.id.startswith(f"lipsync {name}/"))
            if not job.done(real):
                todo.append(
                    _Open(real.id, "master", replace(works[real.id], faces=patched), (*real.needs, *real.after))
                )
            continue
        settled = _settled(job, title, shots, lengths, megapixels)
        ends = []
        for shot, length in zip(shots, lengths, strict=True):
            lips, sync = f"lipsync {name}/{shot}", f"sync {name}/{shot}"
            work = settled.get(shot) or guess("lipsync", length)
            invented.append(_Open(lips, "lipsync", work, (decided, f"audio {name}")))
            invented.append(_Open(sync, "sync", work, (lips,)))
            ends += [lips, sync]
        patched = sum((settled.get(s) or guess("lipsync", n)).frames for s, n in zip(shots, lengths, strict=True))
        work = Work(frames, frames * megapixels, patched)
        invented.append(_Open(f"master {name}", "master", work, tuple(ends)))
    return [*todo, *invented], {o.id for o in invented}


def _settled(
    job: Job, title: Title, shots: Sequence[str], lengths: Sequence[int], megapixels: float
) -> dict[str, Work]:
    """What the finished analysis of a title decided for its shots, where only this language's sound is missing."""
    found = job.decided(title)
    settled = {}
    for shot, length in zip(shots, lengths, strict=True):
        one = found.get(shot)
        if one is not None:
            frames = length if not one["reason"] and one["tracks"] else 0
            face = frames * (one["face_px"] or 0.0) ** 2 / 1e6
            settled[shot] = Work(frames, frames * megapixels, frames, face)
    return settled


def _shots(frames: int, rates: Rates) -> list[int]:
    """Equal shots of the mean length that was measured; a film's own are skewed, which lengthens its tail a little."""
    count = max(1, round(frames / (rates.shot_frames or SHOT_FRAMES)))
    edges = [frames * i // count for i in range(count + 1)]
    return [b - a for a, b in zip(edges, edges[1:], strict=False)]


def _notes(rates: Rates, unknown: Sequence[str], blind: bool, any_left: bool, engine: str) -> list[str]:
    notes: list[str] = []
    if not any_left:
        return notes
    if not rates.stages:
        return ["No run has been measured on this machine yet; --trial measures a few seconds of the film."]
    where = "here" if rates.here else "on other machines only, so times here may differ by their ratio"
    what = "a trial" if rates.trial else f"{rates.runs} run{'s' if rates.runs > 1 else ''}"
    notes.append(f"Measured {where}: {what}, {rates.frames} frames.")
    if rates.trial:
        notes.append("A trial uses one core: where all are busy each is a little slower.")
    if unknown:
        notes.append(f"Never measured with these settings: {', '.join(unknown)}; --trial measures them.")
    if blind:
        share = "all" if rates.dubbed_share is None else f"{rates.dubbed_share:.0%}"
        notes.append(
            f"Which shots have a face that speaks is not known before the analysis: {share} of the frames are taken "
            f"to need new lips, as in the {'trial' if rates.trial else 'titles measured'}; plan again after it."
        )
    if engine not in rates.startup_s:
        notes.append(f"The start-up of {STARTUP_S[engine]:g} s is an assumption.")
    return notes
