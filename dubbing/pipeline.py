"""THE list of stages: what happens to a title, and what each result depends on.

    title:  shots -> faces (each shot) -> speakers -> actors          once, shared by all dubs
            still (before shots): only where the title's picture is a photograph, of which it makes a film
            audio (the original sound)
            active (each shot): only where the model of an active-speaker detector is present
    dub:    audio (what drives the lips)
            lipsync (each shot) -> sync (each shot) -> master, shots.parquet

A task exists as soon as what it depends on is known: `Job.tasks` is asked again whenever a task of
`EXPANDS` has ended. Where the work runs is the engine's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dubbing import media
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.decisions import DecisionLog, ShotKey, Standing
from dubbing.errors import InputError
from dubbing.manifest import Dub, GeneratorChoice, Manifest, Title
from dubbing.records import Shot
from dubbing.remote import Uri
from dubbing.result_cache import ACTIVE, ResultCache
from dubbing.stage import Outcome, Resources, Stage, Task
from dubbing.stages.footage import MadeOf, Sounds, made_of
from dubbing.stages.windows import windows
from dubbing.store import Store, key_of, open_store

__all__ = ["BESIDE", "EXPANDS", "PER_SHOT", "STAGES", "DubTasks", "Job", "Step", "build", "weight"]

# name -> (module, class): imported only in the process that does the work
STAGES: dict[str, tuple[str, str]] = {
    "still": ("dubbing.stages.still", "MakeFilm"),
    "shots": ("dubbing.stages.shots", "Shots"),
    "faces": ("dubbing.stages.faces", "Faces"),
    "audio": ("dubbing.stages.audio", "Audio"),
    "active": ("dubbing.stages.active", "Active"),
    "speakers": ("dubbing.stages.speakers", "Speakers"),
    "actors": ("dubbing.stages.actors", "Actors"),
    "lipsync": ("dubbing.stages.lipsync", "Lipsync"),
    "sync": ("dubbing.stages.sync", "Sync"),
    "master": ("dubbing.stages.master", "Master"),
}
# Stages of other commands, which engines run as they run these; no part of a title's way.
BESIDE: dict[str, tuple[str, str]] = {
    "clip": ("dubbing.dataset.clip", "CutClip"),
    "cut_title": ("dubbing.dataset.titles", "CutTitle"),
}
STILL_FILM = "film.mp4"  # what `still` makes
# Milliseconds that a frame costs in a stage and in those that wait for it, about: what is started first.
_CHAIN = {"still": 120.0, "shots": 100.0, "faces": 80.0, "audio": 75.0, "active": 75.0, "speakers": 70.0,
          "actors": 65.0, "lipsync": 45.0, "sync": 20.0, "master": 20.0}  # fmt: skip
EXPANDS = frozenset({"shots", "audio", "actors"})
# A picture that one of these cannot use costs its shot, not the run.
PER_SHOT = frozenset({"faces", "active", "lipsync", "sync"})


def build(name: str) -> Stage:
    """A stage by name, not yet set up."""
    return _class(name)()


def weight(stage: str, frames: float) -> float:
    """A task's `Task.weight`; one without frames of its own is heavy, because others wait for it."""
    return _CHAIN[stage] * (frames or 1e6)


@cache
def _class(name: str) -> type[Stage]:
    from importlib import import_module

    module, cls = (STAGES | BESIDE)[name]
    kind: type[Stage] = getattr(import_module(module), cls)
    return kind


@dataclass(frozen=True)
class _Analysis:
    """The analysis tasks of one title, as far as they are known. faces is None before shots are.

    source: path of the film that is analysed and dubbed; about: key of its content; still: what makes it, or None."""

    source: str
    about: str
    still: Task | None
    shots: Task
    sound: Task | None
    faces: tuple[Task, ...] | None
    active: tuple[Task, ...]
    speakers: Task | None
    actors: Task | None


@dataclass(frozen=True)
class Step:
    """What is done for one shot in one language. decided: what reviewers said of it."""

    shot: Shot
    faces: Task
    take: Task
    score: Task
    decided: Standing

    @property
    def delivered(self) -> bool:
        """Whether the take is in the master, and not the source's own picture in its place."""
        return not self.decided.delivers_source(self.take.key[:12])


@dataclass(frozen=True)
class DubTasks:
    """The tasks of one language, as far as they are known. steps is empty before the analysis is done."""

    sound: Task
    steps: tuple[Step, ...] = ()
    master: Task | None = None


class Job(ResultCache):
    """One manifest with its configuration and output folder (or URI, or a store of either)."""

    def __init__(self, manifest: Manifest, out: Store | Path | str, config: Config) -> None:
        super().__init__(open_store(out), config)
        self.manifest = manifest
        self.decisions: Mapping[ShotKey, Standing] = DecisionLog(self.store.root).all()
        self._made: dict[str, MadeOf | None] = {}

    expands = EXPANDS
    per_shot = PER_SHOT

    def resources(self, stage: str) -> Resources:
        """What a worker of a stage holds: as the configuration says, else as the stage does."""
        own, said = (
            _class(stage).resources,
            next((r for name, r in self.config.engine.stages.items() if name == stage), None),
        )
        return own if said is None else replace(own, **said.model_dump(exclude_none=True))

    @property
    def stages(self) -> list[str]:
        """The names of the stages that this job goes through, in their order."""
        has = {"active": bool(self.active_speaker), "still": any(self.made_of(t) for t in self.manifest.titles)}
        return [name for name in STAGES if has.get(name, True)]

    def tasks(self, failed: Mapping[str, Outcome] | None = None) -> list[Task]:
        """Every task known so far, each after the ones it needs. failed: tasks of this run that failed.

        Remote files of the manifest are brought here first, all of them, so that workers know each of them.
        """
        failed = failed or {}
        dubs = 0
        for file in self.manifest.files:
            self.store.local(file)
        tasks: list[Task] = []
        for title in self.manifest.titles:
            analysis = self._analyse(title, failed)
            mine = [
                t for t in (analysis.still, analysis.shots, analysis.sound, analysis.speakers, analysis.actors) if t
            ]
            mine += [*(analysis.faces or ()), *analysis.active]
            for dub in title.dubs:
                one = self.dub(title, dub, failed, analysis)
                mine += [one.sound, *(t for step in one.steps for t in (step.take, step.score))]
                mine += [one.master] if one.master else []
                tasks += [replace(t, rank=dubs, span=t.span or t.frames or self._span(title)) for t in mine]
                mine, dubs = [], dubs + 1
        order = list(STAGES)
        parts = (replace(w, rank=t.rank) for t in tasks if not self.done(t) for w in t.windows)
        return sorted([*(replace(t, windows=()) for t in tasks), *parts], key=lambda t: order.index(t.stage))

    def generator(self, title: Title, dub: Dub, shot: Shot) -> GeneratorChoice:
        """What renders a shot: what a reviewer chose for it, else what the manifest says."""
        said = self.decisions.get((title.id, dub.language, shot.id), Standing())
        return GeneratorChoice(**said.generator) if said.generator else self.manifest.generator

    def shots(self, title: Title) -> list[Shot] | None:
        """The title's shots, or None before they are known."""
        done = self._result(self._analyse(title, {}).shots)
        return [Shot(i + 1, a, b) for i, (a, b) in enumerate(done["shots"])] if done else None

    def decided(self, title: Title) -> Mapping[str, Any]:
        """What the analysis decided, by shot id (see `stages.speakers`); empty before it is done."""
        done = self._result(self._analyse(title, {}).actors)
        return done["shots"] if done else {}

    def timeline(self, title: Title) -> Timeline:
        """The title's frames in time. Raises FileNotFoundError before `shots` is done."""
        folder = str(self._analyse(title, {}).shots.folder)
        return media.load_timeline(self.store.bring({"timeline": folder})["timeline"])

    def made_of(self, title: Title) -> MadeOf | None:
        """How the title's film is made of its photograph; None where its picture is a film. Raises InputError."""
        if title.id not in self._made:
            try:
                self._made[title.id] = made_of(title, self.store.local, Sounds(self.store.root))
            except InputError as e:
                raise type(e)(self.store.copies.named(str(e))) from e
        return self._made[title.id]

    def info(self, title: Title) -> media.MediaInfo:
        """What the film that is dubbed holds: of a photograph, the film that is made of it, made or not."""
        made = self.made_of(title)
        return made.info if made else self._info(title.video)

    def film(self, title: Title) -> Path:
        """The film whose frames are counted. Of a photograph: where it lies as soon as `still` is done."""
        return Path(self._source(title)[0])

    def _source(self, title: Title) -> tuple[str, str, Task | None]:
        """The film that is dubbed: its path, the key of its content, and the task that makes it, if any."""
        made = self.made_of(title)
        if made is None:
            return self._path(title.video), self._content(title.video), None
        settings = {**made.settings.model_dump(mode="json"), "frames": made.length}
        task = _task("still", title.id, self.store.analysis(title.id) / "still",
                     [self._content(title.video), settings], {"photograph": self._path(title.video), **settings},
                     frames=made.length)  # fmt: skip
        return str(task.folder / STILL_FILM), task.key, task

    def _span(self, title: Title) -> int:
        """Frames of a title, as its header promises them; where it does not, by the longest of its dubs."""
        video = self.info(title).video
        if video is None or video.frames_hint:
            return video.frames_hint if video else 0
        return int(max((self._info(d.audio).duration_s or 0 for d in title.dubs), default=0) * video.rate)

    # -- a title's analysis ------------------------------------------------------------------

    def _analyse(self, title: Title, failed: Mapping[str, Outcome]) -> _Analysis:
        folder = self.store.analysis(title.id)
        source, video, still = self._source(title)
        info = self.info(title)
        count = info.video.frames_hint if info.video else 0
        cuts = self._path(title.shots) if title.shots else None
        settings: dict[str, Any] = self.config.shots.model_dump() if still is None else {}
        shots = _task("shots", title.id, folder / "shots",
                      [video, self._content(title.shots) if title.shots else None, settings],
                      {"source": source, "cuts": cuts, "settings": settings, **({"one": True} if still else {})},
                      needs=(still.id,) if still else (), frames=count)  # fmt: skip
        sound = None
        if info.audio:
            sound = self._audio_task(f"{title.id}/source", folder / "sound", title, title.video, shots, own=True)
        found = self._result(shots)
        if not found:
            return _Analysis(source, video, still, shots, sound, None, (), None, None)
        faces = []
        for i, (a, b) in enumerate(found["shots"]):
            shot = Shot(i + 1, a, b)
            args = {"source": source, "timeline": str(shots.folder), "number": shot.number,
                    "start": a, "end": b}  # fmt: skip
            faces.append(_long(shot, _task("faces", f"{title.id}/{shot.id}", folder / "faces" / shot.id,
                               [video, a, b, shot.number], args, needs=(shots.id,), frames=len(shot))))  # fmt: skip
        whole = [t for t in faces if t.id not in failed]
        active = [self._active(title, t, shots, sound) for t in faces] if sound and self.active_speaker else []
        weighed = [t for t, of in zip(active, faces, strict=False) if t.id not in failed and of in whole]
        settings = self.config.speakers.model_dump(exclude={"active_speaker"})
        needs = (shots.id, *((sound.id,) if sound else ()))
        args = {"timeline": str(shots.folder), "shots": str(shots.folder),
                "faces": [str(t.folder) if t in whole else None for t in faces],
                "active": [str(t.folder) if t in weighed else None for t in active],
                "source_sound": str(sound.folder) if sound else None, "settings": settings}  # fmt: skip
        speakers = _task("speakers", title.id, folder / "speakers",
                         [[t.key for t in (*whole, *weighed)], len(faces), sound.key if sound else None, settings],
                         args, needs=needs, after=tuple(t.id for t in (*faces, *active)))  # fmt: skip
        args = {"timeline": str(shots.folder), "shots": str(shots.folder), "faces": args["faces"],
                "source_sound": args["source_sound"], "speakers": str(speakers.folder)}  # fmt: skip
        actors = _task("actors", title.id, folder / "actors", [speakers.key, self._prior], args, needs=(speakers.id,))
        return _Analysis(source, video, still, shots, sound, tuple(faces), tuple(active), speakers, actors)

    def _active(self, title: Title, faces: Task, shots: Task, sound: Task) -> Task:
        shot = Shot(faces.args["number"], faces.args["start"], faces.args["end"])
        args = {"source": self._source(title)[0], "timeline": str(shots.folder), "start": shot.start_frame,
                "end": shot.end_frame, "faces": str(faces.folder), "source_sound": str(sound.folder),
                "model": ACTIVE, "models": self._models}  # fmt: skip
        return _task("active", f"{title.id}/{shot.id}", self.store.analysis(title.id) / "active" / shot.id,
                     [faces.key, sound.key, self.active_speaker], args, needs=(faces.id, sound.id),
                     frames=len(shot))  # fmt: skip

    def _audio_task(
        self, name: str, folder: Path, title: Title, path: Path | Uri, shots: Task, own: bool = False,
        frames: int | None = None,
    ) -> Task:  # fmt: skip
        settings: dict[str, Any] = {"own": own, "length_difference": self.config.length_difference,
                    "length_tolerance_frames": self.config.length_tolerance_frames,
                                    **({"frames": frames} if frames else {})}  # fmt: skip
        args = {"sound": self._path(path), "timeline": str(shots.folder), "shots": str(shots.folder),
                "settings": settings}  # fmt: skip
        return _task("audio", name, folder, [self._content(path), shots.key, settings], args, needs=(shots.id,))

    # -- one language ------------------------------------------------------------------------

    def dub(self, title: Title, dub: Dub, failed: Mapping[str, Outcome], analysis: _Analysis | None = None) -> DubTasks:
        """The tasks of one language, as far as they are known."""
        analysis = analysis or self._analyse(title, failed)
        shots, where = analysis.shots, self.store.dub(title.id, dub.language)
        name = f"{title.id}/{dub.language}"
        made = self.made_of(title)
        length = made.frames[dub.language] if made else None  # of this master, where the film is made for a longer one
        sound = self._audio_task(name, where / "sound", title, dub.dialogue or dub.audio, shots, frames=length)
        heard, actors = self._result(sound), self._result(analysis.actors)
        if not (heard and actors and analysis.faces and analysis.actors and analysis.speakers):
            return DubTasks(sound)
        steps, patches = [], []
        for faces in analysis.faces:
            shot = Shot(faces.args["number"], faces.args["start"], length or faces.args["end"])
            common = {"title": title.id, "source": analysis.source, "timeline": str(shots.folder),
                      "shot": shot.number, "start": shot.start_frame, "end": shot.end_frame,
                      "faces": str(faces.folder), "sound": str(sound.folder),
                      "source_sound": str(analysis.sound.folder) if analysis.sound else None}  # fmt: skip
            speech = heard["shot_keys"][shot.id]
            decided = actors["shots"][shot.id]
            choice = self.generator(title, dub, shot)
            generator = {"name": choice.name, "settings": choice.settings}
            limits = self.config.speakers.model_dump(exclude={"active_speaker"})
            args = {**common, "decided": decided, "actors": str(analysis.actors.folder), "generator": generator,
                    "models": self._models, "settings": limits, **({"still": True} if made else {})}  # fmt: skip
            about = [analysis.about, faces.key, decided, speech, choice.name, self.generator_hash(choice)]
            about += [limits, *([length] if made else [])]
            take = _task("lipsync", f"{name}/{shot.id}", where / "takes" / shot.id, about, args,
                         needs=(faces.id, sound.id, analysis.actors.id), frames=len(shot), inside="patch")  # fmt: skip
            take = _long(shot, take)
            score = _task("sync", f"{name}/{shot.id}", take.folder.parent / "score", [take.key, self._expert],
                          {**common, "take": str(take.folder), "decided": decided,
                           "expert": self.config.sync.expert, "models": self._models},
                          needs=(take.id,), frames=len(shot))  # fmt: skip
            score = _long(shot, score)
            step = Step(shot, faces, take, score, self.decisions.get((title.id, dub.language, shot.id), Standing()))
            steps.append(step)
            if step.delivered and not {faces.id, take.id, score.id} & failed.keys():
                patches.append(take)
        settings = self.config.master.model_dump()
        target = f"{title.id}.{dub.language}{self.delivery(title, dub).extension}"
        args = {"source": analysis.source, "timeline": str(shots.folder), "sound": self._path(dub.audio),
                "patches": [str(t.folder) for t in patches], "target_name": target,
                "language": dub.language, **settings, **({"frames": length} if made else {})}  # fmt: skip
        about = [analysis.about, [t.key for t in patches], self._content(dub.audio), settings, target,
                 *([length] if made else [])]  # fmt: skip
        master = _task("master", name, where / "master", about, args, needs=(shots.id,),
                       after=tuple(t.id for s in steps for t in (s.take, s.score)),
                       frames=sum(len(s.shot) for s in steps))  # fmt: skip
        return DubTasks(sound, tuple(steps), master)

    def delivery(self, title: Title, dub: Dub) -> media.Delivery:
        """How this dub will be delivered. Raises UnsupportedMedia where it cannot be, whole."""
        return media.delivery(self.info(title), self._info(dub.audio))

    def publish(self, title: Title, dub: Dub, master: Task) -> Path:
        """Put a finished master under its contract name, without copying where the disk allows it."""
        made = master.folder / master.args["target_name"]
        final = self.store.dub(title.id, dub.language) / made.name
        self.store.publish(made, final)
        return final


def _long(shot: Shot, task: Task) -> Task:
    """The task of a shot; where the shot is long, one that joins what tasks of its windows have made."""
    parts = windows(shot.start_frame, shot.end_frame)
    if len(parts) == 1:
        return task
    made = tuple(
        replace(
            task,
            id=f"{task.id}/window_{n}",
            key=key_of(task.key, "window", a, b),
            folder=task.folder.parent / "windows" / f"{task.folder.name}-{n}",
            args={**task.args, "window": [a, b]},
            frames=b - a,
            weight=weight(task.stage, b - a),
        )
        for n, (a, b) in enumerate(parts, 1)
    )
    args = {**task.args, "parts": [str(t.folder) for t in made]}
    return replace(task, args=args, needs=(*task.needs, *(t.id for t in made)), frames=0, span=len(shot), windows=made)


def _task(
    stage: str,
    name: str,
    folder: Path,
    about: list[Any],
    args: Mapping[str, Any],
    *,
    needs: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    frames: int = 0,
    inside: str = "",
) -> Task:
    """A task whose folder carries its key: `<folder>-<key12>`, or `<folder>/<key12>/<inside>` for a take."""
    key = key_of(stage, _class(stage).version, about)
    final = folder / key[:12] / inside if inside else folder.with_name(f"{folder.name}-{key[:12]}")
    return Task(f"{stage} {name}", stage, key, final, args, needs, after, frames, weight=weight(stage, frames))
