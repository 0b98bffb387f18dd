"""A feature that nobody renders: the project's own job and order of work, with results made up and a clock that jumps.

Real are the job (its plan, keys, windows and dependencies), the loop over its tasks, and results as files that are
written, read and checked; so is the processor time that the process with the loop needs, which passes on the made-up
clock too. Made up are the slots, how long a task takes (`Costs`), and what its result says. It starts no worker.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dubbing import config, manifest, media
from dubbing.analysis.windows import scan_windows
from dubbing.artifact import Artifact
from dubbing.artifacts.active import ActiveFaces
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.descriptors import Descriptors
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import OverlayList, Overlays
from dubbing.artifacts.people import People, Person
from dubbing.artifacts.proof import Proof
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound
from dubbing.artifacts.speakers import Decision, SpeakerList, Speaking
from dubbing.artifacts.takes import Master, Scores, Take
from dubbing.artifacts.tracks import FaceTracks, TrackSummary
from dubbing.artifacts.turns import FaceTurns, ShotTurns, TurnList
from dubbing.engine.pool import Turn
from dubbing.engine.schedule import Event, Schedule
from dubbing.estimate.costs import MIX
from dubbing.inputs import json_bytes
from dubbing.job import Job
from dubbing.manifest import Title
from dubbing.master_choice import MasterChoice
from dubbing.store import RESULT, Store
from dubbing.task import Outcome, Task, Windowed

__all__ = [
    "LANGUAGES",
    "Costs",
    "Feature",
    "Run",
    "Simulated",
    "Span",
    "made_job",
    "simulate",
    "spent_by_stage",
    "used",
    "write_film",
]

RATE = 24
LANGUAGES = ("fr", "de", "es", "it", "pt", "pl", "nl", "sv", "tr", "ja", "ko", "hi", "ta", "cs", "el", "fi")
PER_DUB = {"audio", "turns", "lipsync", "sync", "master", "proof", "select", "sign"}
PER_RENDERED = {"lipsync", "sync"}
# Seconds a frame of what joins windows, measured; of actors it copies a few files, of sound it looks for the ends of
# speech. Of a proof it is all of it: pictures were looked at as they were made.
JOINS_S = {
    "master": 0.0002,
    "faces": 0.0005,
    "actors": 0.00001,
    "donors": 0.00001,
    "source_audio": 0.00002,
    "audio": 0.00002,
    "shots": 0.000003,
}
THREADED = {"shots": 0.45}  # what is left of its time where its decoder's threads find idle cores, measured


def spent_by_stage(told: dict[str, Any]) -> dict[str, tuple[float, int]]:
    """Processor seconds of each stage, and the re-rendered frames of the language that says so. told: what `bench.cost
    --json` wrote; stages of a title are of its first language, those of a dub of the second, where there is one."""
    first, *more = told["languages"].values()
    by = {stage: (more or [first])[0] if stage in PER_DUB else first for stage in first["stages"]}
    by = {stage: one if stage in one["stages"] else first for stage, one in by.items()}
    return {stage: (one["stages"][stage]["s"], one["rendered"]) for stage, one in by.items()}


@dataclass(frozen=True)
class Costs:
    """What stages cost. frame_s: stage -> seconds of one core a frame of film, of lipsync and sync a re-rendered one;
    once_s: of decoding and encoding a frame once, the measure of the table; share: of frames that are re-rendered."""

    frame_s: dict[str, float]
    once_s: float
    share: float

    @classmethod
    def read(cls, path: Path) -> Costs:
        """From what `bench.cost --json` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        first = next(iter(told["languages"].values()))
        found = {
            stage: seconds / (rendered if stage in PER_RENDERED else told["frames"])
            for stage, (seconds, rendered) in spent_by_stage(told).items()
        }
        if "donors" not in found:  # nobody on a short film may be seen in two shots
            found["donors"] = MIX["donors"][0] / 1000 + told["run"]["megapixels"] * MIX["donors"][1] / 1000
        return cls(found, told["once_s"] / told["frames"], first["rendered"] / told["frames"])

    def title_s(self, frames: int, share: float, languages: int) -> float:
        """Core seconds of a whole title."""
        return sum(
            s * frames * (share if stage in PER_RENDERED else 1) * (languages if stage in PER_DUB else 1)
            for stage, s in self.frame_s.items()
        )


@dataclass(frozen=True)
class Feature:
    """A film as it is cut: lengths of shots are lognormal (median 2.5 s, mean 4 s, as films of the last decades are;
    seeded), scaled to its length; some shots are dubbed, each with one face."""

    cuts: tuple[tuple[int, int], ...]
    dubbed: frozenset[int]
    """Numbers of shots, from 1."""
    people: int = 12
    """Who speak: the first most, the second half as much, the third a third, ..."""

    @classmethod
    def drawn(cls, frames: int, shots: int, share: float, seed: int = 1) -> Feature:
        """share: of its frames that are dubbed."""
        random = np.random.default_rng(seed)
        lengths = random.lognormal(np.log(2.5), 0.97, shots)
        edges = np.round(np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum() * (frames - 8 * shots)).astype(int)
        edges += 8 * np.arange(shots + 1)
        cuts = tuple(pairwise(edges.tolist()))
        dubbed, covered = set(), 0
        for n in random.permutation(shots):
            if covered < share * frames:
                dubbed.add(int(n) + 1)
                covered += cuts[n][1] - cuts[n][0]
        return cls(cuts, frozenset(dubbed))

    @property
    def frames(self) -> int:
        """Of the film."""
        return self.cuts[-1][1]

    def person(self, n: int) -> int:
        """Who is seen in the shot of this number."""
        shares = np.cumsum(1 / np.arange(1, self.people + 1))
        return int(np.searchsorted(shares / shares[-1], n * 0.6180339887498949 % 1, side="right"))

    def seen(self, person: int) -> int:
        """Frames of the shots in which somebody is seen."""
        return sum(b - a for n, (a, b) in enumerate(self.cuts, 1) if self.person(n) == person)

    def spans(self) -> list[tuple[int, str, int, int]]:
        """Number, id, first frame and the frame after the last of each shot."""
        return [(n, f"shot_{n:04d}", a, b) for n, (a, b) in enumerate(self.cuts, 1)]


def write_film(folder: Path, languages: int, titles: int) -> Path:
    """A film of a few frames, its dubs and a manifest of several titles of it."""
    tone = np.zeros((16_000, 1), np.float32)
    with media.ClipWriter(folder / "film.mp4", 128, 96, Fraction(RATE), sample_rate_hz=16_000, channels=1) as clip:
        for _ in range(RATE):
            clip.frame(np.zeros((96, 128, 3), np.uint8))
        clip.sound(tone)
    dubs = []
    for language in LANGUAGES[:languages]:
        with media.ClipWriter(folder / f"{language}.flac", sample_rate_hz=16_000, channels=1) as clip:
            clip.sound(tone)
        dubs.append({"language": language, "audio": f"{language}.flac"})
    rows = [{"id": f"film{n}", "video": "film.mp4", "dubs": dubs} for n in range(titles)]
    (folder / "job.yaml").write_text(yaml.safe_dump({"version": 1, "titles": rows}), encoding="utf-8")
    return folder / "job.yaml"


class _Scratch(Store):
    """A store whose files need not outlive a power cut."""

    lasting = False


class _Promised(Job):
    """A job whose films promise to be a feature, with a key frame every two seconds; one_pass: without."""

    def __init__(self, film: Feature, one_pass: bool, *given: Any) -> None:
        super().__init__(*given)
        self._film, self._one_pass = film, one_pass

    def info(self, title: Title) -> media.MediaInfo:
        info = super().info(title)
        assert info.video is not None
        return replace(info, video=replace(info.video, frames_hint=self._film.frames))

    def spans(self, title: Title) -> tuple[media.FilmSpan, ...]:
        frames = self._film.frames
        keys = [] if self._one_pass else [(n, n) for n in range(0, frames, 2 * RATE)]
        return tuple(scan_windows(keys, frames, Fraction(RATE)))


def made_job(
    job_file: Path, out: Path, crf: int | None = None, film: Feature | None = None, one_pass: bool = False
) -> Job:
    """The job of a manifest. crf: another quality of its masters than usual; film: what its films promise to be, by
    which they are planned before their shots are known; None: the few frames that they are; one_pass: their cuts are
    not found in windows."""
    settings = config.Config(master=[MasterChoice(crf=crf)]) if crf is not None else config.Config()
    given = manifest.load(job_file), _Scratch(out), settings
    return Job(*given) if film is None else _Promised(film, one_pass, *given)


@dataclass(frozen=True)
class Span:
    """A task that has run: when it began and ended, in seconds of the made-up clock."""

    task: Task
    start: float
    end: float


class Simulated:
    """See `dubbing.engine.pool.Pool`. slots: tasks at once; begin_s: what a task takes before it works (a worker reads
    its file, a decoder seeks); fails: ids of tasks that fail."""

    def __init__(
        self, store: Store, film: Feature, costs: Costs, slots: int, begin_s: float = 0.1,
        fails: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._store, self._film, self._costs, self._slots, self._fails = store, film, costs, slots, fails
        self._begin_s = begin_s
        self._running: list[tuple[float, str, Task, float]] = []
        self._looked_s = time.process_time()
        self.now, self.own_s = 0.0, 0.0
        self.spans: list[Span] = []

    def take(self, ready: Sequence[Task]) -> list[Task]:
        self._pass()
        taken = list(ready[: self._slots - len(self._running)])
        for task in taken:
            heapq.heappush(self._running, (self.now + self._seconds(task), task.id, task, self.now))
        return taken

    def wait(self) -> Turn:
        self._pass()
        began, outcomes = time.process_time(), []
        if self._running:
            self.now = max(self.now, self._running[0][0])
        while self._running and self._running[0][0] <= self.now:
            end, _, task, start = heapq.heappop(self._running)
            self.spans.append(Span(task, start, end))
            if task.id in self._fails:
                outcomes.append(Outcome(task.id, end - start, "it was meant to fail", "StageError"))
                continue
            with self._store.commit(task.folder) as part:
                told = {"seconds": end - start, "cpu_s": end - start, "key": task.key}
                (part / RESULT).write_bytes(json_bytes({**self._result(task).to_dict(), **told}))
            outcomes.append(Outcome(task.id, end - start))
        own_s = time.process_time() - began
        self._looked_s, self.own_s = self._looked_s + own_s, self.own_s + own_s
        return Turn(outcomes)

    def _pass(self) -> None:
        """What the process with the loop has taken since it was last asked passes on the clock too."""
        now = time.process_time()
        self.now += now - self._looked_s
        self._looked_s = now

    def _seconds(self, task: Task) -> float:
        cost, frames = self._costs.frame_s.get(task.stage, 0.0), task.frames
        if isinstance(task.inputs, Windowed) and task.inputs.parts is not None:
            return self._begin_s + (cost if task.stage == "proof" else JOINS_S.get(task.stage, 0.0005)) * task.span
        if task.stage == "proof" and task.window:
            return self._begin_s
        if task.stage in PER_RENDERED:
            number = int((task.shot or "_0").rpartition("_")[2])
            return 0.012 if number not in self._film.dubbed else self._begin_s + cost * frames
        span: media.FilmSpan | None = getattr(task.inputs, "span", None)
        if span is not None:  # what is decoded before it
            frames += span.start - span.lead_frame
        free = len(self._running) < self._slots and task.window is None
        alone = THREADED.get(task.stage, 1.0) if free else 1.0
        return self._begin_s + alone * cost * (frames if task.shot or task.window else self._film.frames)

    def _result(self, task: Task) -> Artifact:
        film, kind = self._film, task.kind.Result
        if task.shot is not None:
            number = int(task.shot.rpartition("_")[2])
            return _of_shot(kind, number, task.shot, film)
        return _of_film(kind, film, task)

    def see(self, event: Any) -> None:
        pass

    def close(self) -> None:
        pass


def _of_shot(kind: type[Artifact], number: int, shot: str, film: Feature) -> Artifact:
    (start, end), face = film.cuts[number - 1], f"{shot}/face_1"
    if kind is FaceTracks:
        return FaceTracks((TrackSummary(face, start, end, end - start, 0, 300.0, 0.0),))
    if kind is Take:
        return Take("dubbed" if number in film.dubbed else "untouched", None, face, 300.0, 0.0)
    if kind in (ActiveFaces, Descriptors):
        return kind(1)
    assert kind in (Overlays, Scores), kind
    return kind()


def _of_film(kind: type[Artifact], film: Feature, task: Task) -> Artifact:
    shots, dubbed = film.spans(), film.dubbed
    if kind is ShotList:
        return ShotList(film.frames, film.cuts)
    if kind in (SourceSound, DubSound):
        samples = film.frames * 16_000 // RATE
        keys = {shot: f"{n:012x}{task.language or ''}" for n, shot, _, _ in shots}
        return kind(samples, samples / 16_000, 1, keys)
    if kind is OverlayList:
        return OverlayList({shot: "" for _, shot, _, _ in shots})
    if kind is People:
        tracks: list[list[str]] = [[] for _ in range(film.people)]
        for n, shot, _, _ in shots:
            tracks[film.person(n)].append(f"{shot}/face_1")
        return People(tuple(Person(p, tuple(some), film.seen(p)) for p, some in enumerate(tracks)))
    if kind is SpeakerList:
        rows = []
        for n, shot, a, b in shots:
            speaks = (Speaking(f"{shot}/face_1", film.person(n), ((a, b),)),) if n in dubbed else ()
            rows.append(Decision(shot, f"{shot}/face_1", None if speaks else "off_screen", 300.0, 0.0,
                                 film.person(n) if speaks else None, speaks))  # fmt: skip
        return SpeakerList(tuple(rows), film.people)
    if kind is FittedActors:
        return FittedActors({p: f"actor_{p:012d}.npz" for p in range(film.people)}, {})
    if kind is DonorStores:
        return DonorStores({p: f"store_{p}.npz" for p in range(film.people)}, {})
    if kind is TurnList:
        faces = {
            shot: (FaceTurns(f"{shot}/face_1", film.person(n), ((a, b),), ((a, b),)),) if n in dubbed else ()
            for n, shot, a, b in shots
        }
        return TurnList(tuple(ShotTurns(shot, ((a, b),), faces[shot]) for _, shot, a, b in shots))
    if kind is Master:
        return Master("film.mp4", film.frames)
    assert kind is Proof, kind
    return Proof("", ())


@dataclass
class Run:
    """A job that was done so. spans: in the order of their ends; driver_s: processor seconds of the loop, with planning
    and results, without what is made up; plans: how often it was planned; failed: ids of tasks."""

    spans: list[Span] = field(default_factory=list)
    driver_s: float = 0.0
    plans: int = 0
    failed: set[str] = field(default_factory=set)

    @property
    def done(self) -> list[str]:
        """Ids of the tasks."""
        return [s.task.id for s in self.spans]


def simulate(job: Job, film: Feature, costs: Costs, slots: int, fails: Collection[str] = ()) -> Run:
    """Do all that is not done yet. Its results stay in the job's store. fails: as of `Simulated`."""
    run, pools = Run(), list[Simulated]()

    def seen(event: Event) -> None:
        run.plans += event.kind == "planned"

    def pool() -> Simulated:
        pools.append(Simulated(job.store, film, costs, slots, fails=fails))
        return pools[0]

    began = time.process_time()
    with job.store.lock():
        schedule = Schedule(job, seen)
        job.heals = schedule.say
        schedule.drain(pool)
    run.driver_s = time.process_time() - began
    for one in pools:
        run.spans, run.driver_s = one.spans, run.driver_s - one.own_s
    run.failed = set(schedule.failed)
    return run


def used(spans: Sequence[Span], slots: int, first: float = 0.0, last: float | None = None) -> float:
    """The share of slot-seconds between two moments in which something is done."""
    last = max(s.end for s in spans) if last is None else last
    return sum(max(0.0, min(s.end, last) - max(s.start, first)) for s in spans) / slots / (last - first)
