"""How many hours a job will take: the cost of its tasks is taken from earlier runs, and their order simulated.

What the analysis has decided is taken from its results. What it has not (how many shots, which of them
have a face that speaks) is taken from the mean of the measured titles, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dubbing.analysis.asked import within
from dubbing.analysis.windows import film_windows, windows
from dubbing.errors import several
from dubbing.estimate.costs import Rate, Rates, Work, asked_share, decided_works, rendered_area
from dubbing.estimate.generators import Parts, Prices, expected_by, unshared
from dubbing.estimate.schedule import Piece, longest_chain, makespan
from dubbing.job import Job
from dubbing.manifest import Title
from dubbing.media import seekable
from dubbing.pipeline import PIPELINE
from dubbing.records import Shot
from dubbing.stage import Resources
from dubbing.task import Task, Windowed

__all__ = ["STARTUP_S", "Estimate", "GeneratorEstimate", "StageEstimate", "estimate"]

# Wall seconds from the command to the first task, and to load a worker's models, where no run was measured.
STARTUP_S = {"ray": 10.0, "local": 4.0}
SMALL = 0.15  # of all work that is left: what was never measured and is no more is guessed, and said to be
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
class GeneratorEstimate:
    """What one generator of several has to render: frames, core_hours, gpu_hours as of `StageEstimate`."""

    generator: str
    frames: int
    core_hours: float | None
    gpu_hours: float | None


@dataclass(frozen=True)
class Estimate:
    """The open work of a job. core_hours, gpu_hours, wall_s: None where a stage that is needed was never measured;
    wall_s includes startup_s; longest_s: the longest chain of tasks, which no number of cores shortens;
    notes: what it rests on and what it cannot know, in sentences; generators: each of several, none where there is
    one."""

    stages: tuple[StageEstimate, ...]
    core_hours: float | None
    gpu_hours: float | None
    wall_s: float | None
    longest_s: float | None
    startup_s: float
    workers: int
    gpus: float
    notes: tuple[str, ...]
    generators: tuple[GeneratorEstimate, ...] = ()


@dataclass(frozen=True)
class _Open:
    """A task that is still to do, real or expected. part: whether it does a window of a long shot; by: of lipsync, what
    renders it."""

    id: str
    stage: str
    work: Work
    waits: tuple[str, ...]
    rank: int
    weight: float
    part: bool = False
    by: Parts = ()


def estimate(
    job: Job,
    rates: Rates,
    workers: int,
    *,
    gpus: float = 0.0,
    engine: str = "ray",
    asks: Mapping[str, Resources] | None = None,
) -> Estimate:
    """Estimate the open work of `job` on a machine or cluster with `workers` slots. asks: stage -> what a worker holds,
    None for what the stages themselves say. Raises InputError where a film cannot be read."""
    names = [s.name for s in job.stages]
    asks = asks or {s.name: job.resources(s) for s in job.stages}
    tasks = job.tasks()
    open_: list[_Open] = []
    expected: dict[str, int] = dict.fromkeys(names, 0)
    guessed: set[str] = set()
    done: set[str] = set()
    blind, rank = False, 0
    for title in job.manifest.titles:
        mine = [t for t in tasks if t.title == title.id]
        todo, invented = _title(job, title, mine, rates, rank)
        open_ += todo
        rank += len(title.dubs)
        blind = blind or not job.decided(title)
        asked = {t.id for t in mine if asked_share(job, title, t)}  # what is left takes no time
        for task in mine:
            expected[task.stage] += task.window is None and task.id in asked
        done |= {t.id for t in mine if t.window is None and t.id in asked and job.done(t)}
        for one in todo:
            if one.id in invented:
                expected[one.stage] += not one.part
                if not any(t.stage == "faces" for t in mine):
                    guessed.add(one.stage)
    pieces, stages, unknown = [], [], []
    small = _small(open_, rates)
    prices = Prices(job, rates, asks, gpus)
    for stage in names:
        todo = [o for o in open_ if o.stage == stage]
        frames = sum(o.work.frames * (sum(part for _, part in o.by) if o.by else 1.0) for o in todo)
        of = small if stage in small.stages else rates
        priced = [prices.of(stage, o.work, o.by, of) for o in todo]
        cores = gpu = None
        if None not in priced:
            cores, gpu = (sum(p[n] for p in priced if p) / 3600 for n in (0, 2))
        else:
            unknown.append(stage)
        ended = sum(t.id in done for t in tasks if t.stage == stage)
        stages.append(StageEstimate(stage, expected[stage], ended, round(frames), cores, gpu, stage not in guessed))
        for o, price in zip(todo, priced, strict=True):
            pieces.append(Piece(o.id, price[1] if price else 0.0, o.waits, asks[stage].cpus, prices.gpus(stage, o.by),
                                o.rank, o.weight))  # fmt: skip
    wanted = max((p.gpus for p in pieces), default=0.0)
    gpus = gpus or (1.0 if wanted else 0.0)
    startup = rates.startup_s.get(engine, STARTUP_S[engine]) if pieces else 0.0
    known = not unknown
    return Estimate(
        tuple(stages),
        sum(s.core_hours or 0.0 for s in stages) if known else None,
        sum(s.gpu_hours or 0.0 for s in stages) if known else None,
        startup + makespan(pieces, workers, gpus) if known else None,
        startup + longest_chain(pieces) if known else None,
        startup,
        workers,
        gpus if wanted else 0.0,
        tuple(_notes(rates, unknown, small.stages, blind, bool(pieces), engine, blind and unshared(job, rates))),
        tuple(_of_generator(name, open_, prices) for name in prices.several),
    )


def _of_generator(name: str, open_: Iterable[_Open], prices: Prices) -> GeneratorEstimate:
    """What one of several generators has to do."""
    mine = [o.work * part for o in open_ for by, part in o.by if by == name]
    priced = [prices.of("lipsync", work, ((name, 1.0),)) for work in mine]
    cores, gpu = (None if None in priced else sum(p[n] for p in priced if p) / 3600 for n in (0, 2))
    return GeneratorEstimate(name, round(sum(work.frames for work in mine)), cores, gpu)


def _small(open_: Sequence[_Open], rates: Rates) -> Rates:
    """Rates of the stages that were never measured, where together they are a small part of what is left: as slow
    against the machine of LOG.md as the measured ones are together. No stage where they are more than that."""
    reference: dict[str, float] = {}
    for one in open_:
        reference[one.stage] = reference.get(one.stage, 0.0) + one.work.reference_s(one.stage, rates.generator)
    known = {s: r for s, r in reference.items() if s in rates.stages}
    missing = {s: r for s, r in reference.items() if s not in rates.stages and r > 0}
    if not sum(known.values()) or sum(missing.values()) > SMALL * sum(reference.values()):
        return replace(rates, stages={})
    mean = Rate(
        sum(rates.stages[s].cpu * r for s, r in known.items()) / sum(known.values()),
        sum(rates.stages[s].duration * r for s, r in known.items()) / sum(known.values()),
        0.0,
    )
    return replace(rates, stages=dict.fromkeys(missing, mean))


def _title(job: Job, title: Title, tasks: Sequence[Task], rates: Rates, rank: int) -> tuple[list[_Open], set[str]]:
    """The open tasks of one title, real ones first, and the ids of those that are only expected. rank: of its first
    dub. What a long shot costs is in its windows; what joins them is taken to cost nothing."""
    width, height = job.info(title).upright_size
    megapixels = width * height / 1e6
    frames = max((max(t.frames, t.span) for t in tasks if t.stage in ("shots", "master")), default=0)
    names = [s.name for s in PIPELINE]
    kinds = {s.name: s for s in PIPELINE}
    by_stage: dict[str, list[Task]] = {s: [t for t in tasks if t.stage == s] for s in names}
    shots = job.shots(title) or [Shot(n, *cut) for n, cut in enumerate(_shots(frames, rates), 1)]
    faces = rates.faces if rates.faces is not None else 1.0
    share = rates.dubbed_share if rates.dubbed_share is not None else 1.0
    face = megapixels * (rates.face_share if rates.face_share is not None else 0.15)

    def guess(stage: str, length: float) -> Work:
        part = share if stage in ("lipsync", "sync") else 1.0
        shown = Work(
            length, length * megapixels, length * (share if stage in ("master", "proof") else faces), length * face
        )
        return shown * part

    known = decided_works(job, title, tasks, frames, megapixels)
    works = {t.id: known.get(t.id) or guess(t.stage, t.frames) * asked_share(job, title, t) for t in tasks}
    tracked = sum(works[t.id].faces for t in by_stage["faces"]) or frames * faces
    of_faces = ("people", "cast", "speakers", "actors", "donors")
    todo = [
        _Open(t.id, t.stage,
              replace(works[t.id], faces=tracked * works[t.id].frames / max(1, frames)) if t.stage in of_faces
              else works[t.id],
              (*t.needs, *t.after), t.rank, t.weight, t.window is not None,
              tuple((name, 1.0) for name, _ in t.kind.rendered_by(t.inputs)[:1]))
        for t in tasks if not job.done(t) and t.stage not in ("master", "proof")
    ]  # fmt: skip
    invented: list[_Open] = []
    decided = f"actors {title.id}"

    def expect(
        name: str, work: Work, waits: tuple[str, ...], length: float = 0.0, turn: int = rank,
        part: bool = False, by: Parts = (),
    ) -> None:  # fmt: skip
        stage = name.split()[0]
        invented.append(_Open(name, stage, work, waits, turn, kinds[stage].weight(length), part, by))

    def expect_shot(
        name: str, shot: Shot, work: Work, waits: tuple[str, ...], turn: int = rank, by: Parts = ()
    ) -> None:
        """Split into windows where the shot is long, as the job would."""
        parts = windows(shot.start_frame, shot.end_frame)
        if len(parts) > 1:
            for n, (a, b) in enumerate(parts, 1):
                expect(f"{name}/window_{n}", work * ((b - a) / len(shot)), waits, b - a, turn, part=True, by=by)
            work, waits = Work(), (*waits, *(o.id for o in invented[-len(parts) :]))
        expect(name, work, waits, len(shot), turn, by=by)

    def expect_film(name: str, work: Work, ends: Sequence[tuple[Shot, tuple[str, ...]]], turn: int) -> None:
        """Split into windows where the film is long. ends: what must have ended of each shot."""
        video = job.info(title).video
        parts = film_windows((s.start_frame for s in shots), int(frames), video.rate) if video else []
        waits = [one for _, of in ends for one in of]
        if len(parts) > 1 and seekable(job.info(title).container):
            for n, (a, b) in enumerate(parts, 1):
                own = [one for s, of in ends if s.start_frame < b and a < s.end_frame for one in of]
                expect(
                    f"{name}/window_{n}", work * ((b - a) / frames), tuple(dict.fromkeys(own)), b - a, turn, part=True
                )
            work, waits = Work(), [*waits, *(o.id for o in invented[-len(parts) :])]
        expect(name, work, tuple(dict.fromkeys(waits)), frames, turn)

    if not by_stage["faces"]:
        sound = tuple(t.id for t in by_stage["source_audio"])
        for shot in shots:
            name = f"{title.id}/{shot.id}"
            expect_shot(f"faces {name}", shot, guess("faces", len(shot)), (f"shots {title.id}",))
            if job.face_descriptor:
                expect(f"descriptors {name}", guess("descriptors", len(shot)), (f"faces {name}",), len(shot))
            expect(f"overlays {name}", guess("overlays", len(shot)), (f"faces {name}",), len(shot))
            if job.active_speaker:
                expect(f"active {name}", guess("active", len(shot)), (f"faces {name}", *sound), len(shot))
        before = (*sound, *(o.id for o in invented))
        whole = Work(frames, frames * megapixels, frames * faces)
        expect(f"overlay_list {title.id}", whole, before)
        expect(f"people {title.id}", whole, before)
        expect(f"speakers {title.id}", whole, (f"people {title.id}",))
    if not by_stage["actors"] and not job.decided(title):
        expect(decided, Work(frames, frames * megapixels, tracked), (f"speakers {title.id}",))
    ready: tuple[str, ...] = (decided,)
    if _lends(job, title, shots) and not by_stage["donors"] and not job.decided(title):
        expect(f"donors {title.id}", Work(frames, frames * megapixels, frames * faces), (f"speakers {title.id}",))
        ready = (decided, f"donors {title.id}")
    settled = _settled(job, title, shots, megapixels)
    acted = rendered_area(job, title)
    for turn, dub in enumerate(title.dubs, rank):
        name = f"{title.id}/{dub.language}"
        real = [t for stage in ("master", "proof") for t in by_stage[stage] if t.language == dub.language]
        if real:
            patched = sum(works[t.id].frames for t in by_stage["lipsync"] if t.language == dub.language)
            for t in real:
                if not job.done(t):
                    joins = isinstance(t.inputs, Windowed) and t.inputs.parts is not None
                    work = Work() if joins else replace(works[t.id], faces=patched * t.frames / max(1, frames))
                    waits = (*t.needs, *t.after)
                    todo.append(_Open(t.id, t.stage, work, waits, t.rank, t.weight, t.window is not None))
            continue
        said = f"turns {name}"
        if not any(t.language == dub.language for t in by_stage["turns"]):
            expect(said, Work(frames), (f"speakers {title.id}", f"audio {name}"), turn=turn)
        ends: list[tuple[Shot, tuple[str, ...]]] = []
        patched = 0.0
        ranges, named = job.asked(title, dub, shots), job.rule_ranges(title, shots)
        for shot in shots:
            mine = (
                [(shot.start_frame, shot.end_frame)]
                if ranges is None
                else within(ranges, shot.start_frame, shot.end_frame)
            )
            if not mine:
                continue
            lips, sync = f"lipsync {name}/{shot.id}", f"sync {name}/{shot.id}"
            work = settled.get(shot.id) or guess("lipsync", len(shot))
            work = work * (sum(b - a for a, b in mine) / len(shot))
            by = expected_by(job, rates, named, (shot.start_frame + shot.end_frame) // 2)
            takes = max(1.0, sum(part for _, part in by))
            expect_shot(lips, shot, replace(work, area=work.area * acted), (*ready, said), turn, by)
            expect_shot(sync, shot, work * takes, (lips,), turn)
            ends.append((shot, (lips, sync)))
            patched += work.frames
        if job.compares:
            expect(f"select {name}", Work(), tuple(one for _, of in ends for one in of), turn=turn)
            ends = [(shot, (*of, f"select {name}")) for shot, of in ends]
        whole = Work(frames, frames * megapixels, patched)
        expect_film(f"master {name}", whole, ends, turn)
        if job.config.proof:
            after = (f"master {name}",)
            expect_film(f"proof {name}", whole, [(shot, after) for shot in shots], turn)
    return [*todo, *invented], {o.id for o in invented}


def _lends(job: Job, title: Title, shots: Sequence[Shot]) -> bool:
    """Whether mouths of a title's shots are expected to be collected, as far as is known before the analysis."""
    if job.config.quality == "draft" or job.made_of(title) is not None:
        return False
    return len(shots) > 1 and any(job.class_wants(one.name, "donors") for one in job.manifest.generators)


def _settled(job: Job, title: Title, shots: Sequence[Shot], megapixels: float) -> dict[str, Work]:
    """The work of each shot as the finished analysis decided it, where only this language's sound is missing."""
    found = job.decided(title)
    settled = {}
    for shot in shots:
        one = found.get(shot.id)
        if one is not None:
            frames = len(shot) if not one.reason and one.tracks else 0
            face = frames * (one.face_px or 0.0) ** 2 / 1e6
            settled[shot.id] = Work(frames, frames * megapixels, frames, face)
    return settled


def _shots(frames: int, rates: Rates) -> list[tuple[int, int]]:
    """Equal shots of the mean length that was measured; a film's own are skewed, which lengthens its tail a little."""
    count = max(1, round(frames / (rates.shot_frames or SHOT_FRAMES)))
    edges = [frames * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _notes(
    rates: Rates, unknown: Sequence[str], small: Iterable[str], blind: bool, any_left: bool, engine: str,
    unshared: bool,
) -> list[str]:  # fmt: skip
    notes: list[str] = []
    if not any_left:
        return notes
    if not rates.stages:
        return ["No run has been measured on this machine yet; --trial measures a few seconds of the film."]
    where = "here" if rates.here else "on other machines only, so times here may differ by their ratio"
    what = "a trial" if rates.trial else several(rates.runs, "run")
    notes.append(f"Measured {where}: {what}, {several(round(rates.frames), 'frame')}.")
    if rates.trial:
        notes.append("A trial uses one core: where all are busy each is a little slower.")
    if small:
        notes.append(f"Never measured, little, and guessed from the rest: {', '.join(small)}.")
    if unknown:
        notes.append(f"Never measured with these settings: {', '.join(unknown)}; --trial measures them.")
    if blind:
        share = "all" if rates.dubbed_share is None else f"{rates.dubbed_share:.0%}"
        notes.append(
            f"Which shots have a face that speaks is not known before the analysis: {share} of the frames are taken "
            f"to need new lips, as in the {'trial' if rates.trial else 'titles measured'}; plan again after it."
        )
    if unshared:
        notes.append(
            "Which faces each generator renders is not known before the analysis: all are taken to be rendered by the "
            "one that costs most; --trial measures a part, and a plan after the analysis knows."
        )
    if engine not in rates.startup_s:
        notes.append(f"The start-up of {STARTUP_S[engine]:g} s is an assumption.")
    return notes
