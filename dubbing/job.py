"""How a manifest becomes tasks: every stage of the pipeline, at every place where it has work to do.

A task exists as soon as what its inputs depend on is known: `Job.tasks` is asked again whenever a task of a stage that
`expands` has ended. It knows no engine; what a stage may ask for is `dubbing.place`.

Over 400 lines: all that a manifest, its settings and reviewers say of tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dubbing import media
from dubbing.analysis.asked import Ranges, ShownFilm, asked, parts_of, within
from dubbing.analysis.footage import MadeOf, Sounds, made_of
from dubbing.analysis.windows import is_scanned_in_windows, scan_windows
from dubbing.artifact import Artifact
from dubbing.artifacts.active import ActiveFaces
from dubbing.artifacts.descriptors import Descriptors
from dubbing.artifacts.people import Cast, People
from dubbing.artifacts.proof import Proof
from dubbing.artifacts.selection import Selection, ShotSelection
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound
from dubbing.artifacts.speakers import Decision as Speakers
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.takes import STILL_FILM, Master, Scores, Signed, StillFilm, Take
from dubbing.artifacts.tracks import FaceTracks
from dubbing.artifacts.turns import TurnList
from dubbing.clock import Timeline
from dubbing.config import Config, StageResources
from dubbing.decisions import Decision, DecisionLog, ShotKey, Standing
from dubbing.errors import InputError, ManifestError, during
from dubbing.manifest import Dub, GeneratorChoice, Manifest, Title
from dubbing.master_choice import MasterChoice
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.pipeline import PIPELINE
from dubbing.place import JobPlace, TitleTasks, task_at
from dubbing.provenance import Signing
from dubbing.records import Look, Shot
from dubbing.rendered_by import Face, RenderedBy, candidates, needs_faces, ranges_of
from dubbing.result_cache import GPU_SHARE, ResultCache
from dubbing.stage import NotKnown, Resources, Scope, Stage
from dubbing.store import Store, key_of, open_store
from dubbing.task import Outcome, Task

__all__ = ["DubTasks", "Job", "Step"]

_WEIGHTS_MB = 1000  # of a generator's weights, for which a stage's own memory has room
_USUAL_MB = 3.2  # a decoded picture of 1920x1080, 8 bits, 4:2:0


@dataclass(frozen=True)
class Step:
    """The tasks of one shot in one language."""

    shot: Shot
    """The shot; of a photograph's film it ends where the dub does."""
    faces: Task
    """Finds its faces."""
    take: Task
    """Renders it."""
    score: Task
    """Measures the take."""
    decided: Standing
    """What reviewers said of it."""
    film: Path
    """The film."""
    sound: Path
    """Folder of the `DubSound`."""
    source_sound: Path | None
    """Folder of the `SourceSound`; None where the film has none."""
    selected: ShotSelection | None = None
    """How its take was selected, where the manifest has several rendered."""

    @property
    def delivered(self) -> bool:
        """Whether the take is in the master, and not the source's own picture in its place."""
        return not self.decided.delivers_source(self.take.key[:12])


@dataclass(frozen=True)
class DubTasks:
    """The tasks of one language, as far as they are known. steps is empty before the analysis is done."""

    sound: Task | None
    steps: tuple[Step, ...] = ()
    master: Task | None = None
    proof: Task | None = None
    signed: Task | None = None


class Job(ResultCache):
    """One manifest with its configuration and output folder (or URI, or a store of either)."""

    pipeline: tuple[type[Stage[Any, Any]], ...] = PIPELINE

    def __init__(self, manifest: Manifest, out: Store | Path | str, config: Config) -> None:
        if config.quality == "draft":  # its mouths are meant to hold less detail
            config = config.model_copy(update={"review": config.review.model_copy(update={"min_sharpness": 0.0})})
        super().__init__(open_store(out), config)
        self.manifest = manifest
        log = DecisionLog(self.store.root)
        self.decisions: Mapping[ShotKey, Standing] = log.all()
        self.named: dict[str, list[Decision]] = {}  # by title, what reviewers said of who plays whom, oldest first
        for record in log.records():
            if record.kind == "name":
                self.named.setdefault(record.title, []).append(record)
        self.descriptors: dict[str, str | None] = {}  # of titles that are looked at with another than is there
        self._planned: dict[str, tuple[int | None, list[Task]]] = {}  # by title: how many tasks had failed, and those
        self._made: dict[str, MadeOf | None] = {}
        self._spans: dict[str, tuple[media.FilmSpan, ...]] = {}
        self._parts: dict[tuple[str, str], Ranges | None] = {}
        self._rules: dict[str, list[Ranges | None]] = {}
        self._looks: dict[str, list[tuple[Look, tuple[str, ...] | None, Ranges | None]]] = {}

    def resources(self, stage: type[Stage[Any, Any]]) -> Resources:
        """The resources of a worker of a stage: those configured, else the stage's own, with room for the largest
        picture of all titles."""
        own, said = self._own(stage), self._said(stage)
        if stage.Result is Take:
            return _most([self.of_generator(one) for one in self.manifest.generators])
        if said is not None:
            return replace(own, **said.model_dump(exclude_none=True))
        return replace(own, gpus_if_any=GPU_SHARE) if self.profits_from_gpu(stage.Result) else own

    def _own(self, stage: type[Stage[Any, Any]]) -> Resources:
        """What a stage says, with room for the largest picture of all titles."""
        own = stage.resources
        return replace(own, memory_mb=own.memory_mb + round(own.picture_mb * self._beyond_mb))

    def _said(self, stage: type[Stage[Any, Any]]) -> StageResources | None:
        """What the configuration says of a stage."""
        return next((r for name, r in self.config.engine.stages.items() if name == stage.name), None)

    def holds(self, task: Task) -> Resources | None:
        """What a worker of a task holds, where that depends on the generators that render it; None where it is what the
        stage's workers hold."""
        names = task.kind.rendered_by(task.inputs)
        if not names or (len(self.manifest.generators) == 1 and not self.decisions):
            return None
        held = [self.of_generator(GeneratorChoice(name=name, **settings)) for name, settings in names]
        gpus, if_any = _together([one.gpus for one in held]), _together([one.gpus_if_any for one in held])
        return replace(_most(held), gpus=gpus, gpus_if_any=if_any, networks=key_of(names)[:12])

    def of_generator(self, choice: GeneratorChoice) -> Resources:
        """What a worker that renders by a generator holds: as configured for it, for the stage, else what it
        declares, with room for its weights. Raises as `generators.create`."""
        stage = next(s for s in self.pipeline if s.Result is Take)
        own, said = self._own(stage), self._said(stage)
        share = self.generator_share(choice) if said is None else 0.0
        beyond_mb = max(0, round(self.generator_bytes(choice) / 1e6) - _WEIGHTS_MB)
        held = replace(own, memory_mb=own.memory_mb + beyond_mb, gpus_if_any=share or own.gpus_if_any)
        for given in (said, self.config.engine.generators.get(choice.name)):
            if given is not None:
                held = replace(held, **given.model_dump(exclude_none=True))
                held = replace(held, gpus_if_any=0.0) if given.gpus is not None else held
        return held

    @cached_property
    def _beyond_mb(self) -> float:
        """By how much the largest decoded picture of all titles is larger than one of 1920x1080 of 8 bits, in MB."""
        sizes = [0.0]
        for title in self.manifest.titles:
            with suppress(InputError):  # a file that cannot be read is told where it is needed
                if video := self.info(title).video:
                    sizes.append(media.picture_bytes(video.width, video.height, video.pix_fmt) / 1e6)
        return max(0.0, max(sizes) - _USUAL_MB)

    def profits_from_gpu(self, kind: type[Artifact]) -> bool:
        """Whether the networks that make this kind of result, as this job has them, profit from a GPU."""
        if kind is Take:
            return any(self.generator_share(one) for one in self.manifest.generators)
        return kind is ActiveFaces or (kind is Scores and self.expert_profits)

    @property
    def stages(self) -> list[type[Stage[Any, Any]]]:
        """The stages that this job goes through, in their order."""
        has = {
            ActiveFaces: bool(self.active_speaker),
            StillFilm: any(self.made_of(t) for t in self.manifest.titles),
            Descriptors: bool(self.face_descriptor),
            Proof: self.config.proof,
            Signed: bool(self.signing),
            Selection: self.compares,
            Cast: any(
                self.named.get(t.id) or any(m.pictures for m in (t.cast or {}).values()) for t in self.manifest.titles
            ),
        }
        return [stage for stage in self.pipeline if has.get(stage.Result, True)]

    def tasks(self, failed: Mapping[str, Outcome] | None = None) -> list[Task]:
        """Every task known so far, each after the ones it needs. failed: tasks of this run that failed.

        Remote files of the manifest are brought here first, all of them, so that workers know each of them. The
        analysis of a title goes with the middle dub of the title before: it is then done when that one's slots fall
        idle, and holds its first dubs up by nothing.
        """
        for file in self.manifest.files:
            self.store.local(file)
        tasks: list[Task] = []
        dubs = before = 0
        for title in self.manifest.titles:
            ranks = {dub.language: dubs + n for n, dub in enumerate(title.dubs)}
            tasks += self._title_tasks(title, failed or {}, ranks, before)
            before = dubs + len(title.dubs) // 2
            dubs += len(title.dubs)
        self.know(tasks)
        order = {stage: n for n, stage in enumerate(self.pipeline)}
        parts = (w for t in tasks if t.windows and not self.done(t) for w in t.windows)
        alone = (replace(t, windows=()) if t.windows else t for t in tasks)
        return sorted([*alone, *parts], key=lambda t: (order[t.kind], t.rank))

    def _title_tasks(
        self, title: Title, failed: Mapping[str, Outcome], ranks: Mapping[str, int], rank: int
    ) -> list[Task]:
        """The tasks of a title, with their windows and all that a plan says of them. ranks: by language; rank: of the
        analysis. In a run those of a title in which nothing has changed since are the ones of before, and so is each
        whose key is the same."""
        count, before = self._planned.get(title.id, (None, [])) if self.heals is not None else (None, [])
        if count == len(failed):  # in a run nothing that failed is taken back
            return before
        known, tasks, span = {task.id: task for task in before}, [], self.span(title)
        for task in self.plan(title, failed).every:
            if (same := known.get(task.id)) is not None and same.key == task.key:
                tasks.append(same)
                continue
            at, holds = ranks.get(task.language or "", rank), self.holds(task)
            windows = tuple(replace(w, rank=at, holds=holds) for w in task.windows)
            span_of = task.span or task.frames or span
            tasks.append(replace(task, rank=at, span=span_of, holds=holds, windows=windows))
        self._planned[title.id] = len(failed), tasks
        return tasks

    def forget(self, task: Task) -> None:
        """As `ResultCache`; where others follow from it, its title is planned again."""
        super().forget(task)
        if task.kind.expands and task.window is None:
            self._plan_again(task.title)

    def lose(self, task: Task, why: str) -> None:
        """As `ResultCache`, and its title is planned again."""
        self._plan_again(task.title)
        super().lose(task, why)

    def _plan_again(self, title: str) -> None:
        _, tasks = self._planned.get(title, (None, []))
        self._planned[title] = None, tasks

    def plan(self, title: Title, failed: Mapping[str, Outcome], dubs: Iterable[Dub] | None = None) -> TitleTasks:
        """The tasks of one title, as far as they are known. dubs: of these only; None for all."""
        known = TitleTasks()
        for stage in self.pipeline:
            with during(f"planning stage {stage.name} of title {title.id}"):
                for place in self._places(title, stage.scope, known, failed, title.dubs if dubs is None else dubs):
                    try:
                        inputs = stage.inputs(place)
                    except NotKnown:
                        continue
                    if inputs is not None:
                        task = task_at(stage, inputs, place)
                        known.found[stage.Result, task.language, task.shot, task.variant] = task
                if stage.Result is Selection:
                    self._select(title, known, failed)
        return known

    def _select(self, title: Title, known: TitleTasks, failed: Mapping[str, Outcome]) -> None:
        """Let the selected takes of a title stand for their shots, or those that reviewers chose among them."""
        for (language, shot), some in known.candidates.items():
            chosen = self.chosen(title.id, language, shot)
            if chosen is not None:
                variant = next((name for name, by in some.items() if by == chosen), None)
            else:
                task = known.found.get((Selection, language, None, None))
                said: Selection | None = self.result(task)
                one = said.by_shot.get(shot) if said is not None else None
                lost = task is not None and task.id in failed  # nothing is selected: the first one is delivered
                variant = list(some)[one.chosen if one is not None else 0] if one is not None or lost else None
            for kind in (Take, Scores) if variant is not None else ():
                if found := known.found.get((kind, language, shot, variant)):
                    known.found[kind, language, shot, None] = found

    def recall(self, title: Title) -> None:
        """For who looks at a title's results and makes none: take what they were made by, where that is another by now,
        which is the network that tells people apart (its extra comes and goes) and the names that people were given."""
        named = [r for r in DecisionLog(self.store.root).records() if r.kind == "name" and r.title == title.id]
        people: list[str | None] = []
        for descriptor in dict.fromkeys((self.face_descriptor, FaceDescriptor.PUBLISHED, None)):
            self.descriptors[title.id] = descriptor
            for count in range(len(named), -1, -1):
                self.named[title.id] = named[:count]
                found = self.plan(title, {}).found
                if any(self.done(t) for (kind, *_), t in found.items() if kind is TurnList):
                    return
                if not people and (one := found.get((People, None, None, None))) and self.done(one):
                    people.append(descriptor)
        self.descriptors[title.id] = people[0] if people else self.face_descriptor
        self.named[title.id] = named

    def _places(
        self, title: Title, scope: Scope, known: TitleTasks, failed: Mapping[str, Outcome], dubs: Iterable[Dub]
    ) -> list[JobPlace]:
        """Every place of a title at which a stage of that scope has something to do."""
        shots: list[Shot | None] = [None]
        if scope in (Scope.SHOT, Scope.DUB_SHOT, Scope.TAKE):
            listed = self.result(known.get(ShotList))
            shots = [*listed.shots] if listed else []
        languages: list[Dub | None] = [*dubs] if scope in (Scope.DUB, Scope.DUB_SHOT, Scope.TAKE) else [None]
        if scope is not Scope.TAKE:
            return [JobPlace(self, title, known, failed, dub, shot) for dub in languages for shot in shots]
        return [
            JobPlace(self, title, known, failed, dub, shot, variant, by)
            for dub in languages if dub is not None
            for shot in shots if shot is not None
            for variant, by in self._takes(title, dub, shot, known)
        ]  # fmt: skip

    def _takes(self, title: Title, dub: Dub, shot: Shot, known: TitleTasks) -> list[tuple[str | None, RenderedBy]]:
        """The takes that are made of a shot: a name of each of several, and what renders it. What a reviewer chose
        takes the place of the manifest's one, and stands beside several, which are compared all the same."""
        chosen, every = self.chosen(title.id, dub.language, shot.id), self.candidates(title, dub, shot, known)
        if every is None:
            return []
        if len(every) == 1:
            return [(None, chosen or every[0])]
        names: dict[str, RenderedBy] = {}
        for by in every:
            same = sum(other.name == by.name for other in names.values())
            names[f"{by.name}_{same + 1}" if same else by.name] = by
        known.candidates[dub.language, shot.id] = names
        return [*names.items(), *([(None, chosen)] if chosen is not None and chosen not in every else [])]

    def chosen(self, title: str, language: str, shot: str) -> RenderedBy | None:
        """What renders the take that a reviewer chose for a shot; None where nobody did."""
        said = self.decisions.get((title, language, shot), Standing())
        return RenderedBy.said(said.generator) if said.generator else None

    @property
    def compares(self) -> bool:
        """Whether of some shots several takes are made, and one of them is selected."""
        return any(len(rule.alternatives) > 1 for rule in self.manifest.rules)

    def candidates(self, title: Title, dub: Dub, shot: Shot, known: TitleTasks) -> tuple[RenderedBy, ...] | None:
        """The takes of a shot by the manifest, which are several where the best of them is to be delivered; None where
        that depends on what is not known yet. Raises ManifestError."""
        rules = self.manifest.rules
        if not needs_faces(rules):
            return (RenderedBy(rules[0].alternatives[0]),)
        faces = self.faces(title, dub, shot, known)
        if faces is None:
            return None
        return candidates(rules, self.rule_ranges(title), faces, (shot.start_frame + shot.end_frame) // 2)

    def faces(self, title: Title, dub: Dub, shot: Shot, known: TitleTasks) -> list[Face] | None:
        """The faces of a shot that may be rendered in a dub, the one that speaks longest first; None before it is
        known who says what. Raises ManifestError."""
        turns: TurnList | None = self.result(known.get(TurnList, dub.language))
        if turns is None:
            return None
        found: FaceTracks | None = self.result(known.get(FaceTracks, None, shot.id))
        said, asked = turns.by_shot[shot.id], self.asked(title, dub)
        if not said.heard or (asked is not None and not within(asked, shot.start_frame, shot.end_frame)):
            return []
        sizes = {t.id: t.face_px for t in (found.tracks if found else ())}
        return [Face(f.track, f.character, sizes.get(f.track, 0.0), sum(b - a for a, b in f.says)) for f in said.faces]

    def rule_ranges(self, title: Title, guess: Sequence[Shot] = ()) -> list[Ranges | None]:
        """The frames of a title that the condition of each entry of `generator` names. guess: what the shots are taken
        to be before they are known. Raises ManifestError."""
        if title.id not in self._rules:
            film, alone = self._shown(title), len(self.manifest.titles) == 1
            known = film.shots is not None
            film = film if known else replace(film, shots=guess)
            try:
                found = [ranges_of(rule, n, film, strict=alone and known) for n, rule in enumerate(self.manifest.rules)]
            except ManifestError as e:
                raise type(e)(f"{self.manifest.place(*e.at)}: {e}") from e
            if not known:
                return found
            self._rules[title.id] = found
        return self._rules[title.id]

    def _shown(self, title: Title) -> ShownFilm:
        """A title's film as its parts are named."""
        listed, video = self.result(self.analysis(title).get(ShotList)), self.info(title).video
        assert video is not None
        film = ShownFilm(self.span(title), video.rate, video.start_tc, None)
        return film if listed is None else replace(film, frames=listed.frames, shots=listed.shots)

    def analysis(self, title: Title, failed: Mapping[str, Outcome] | None = None) -> TitleTasks:
        """The tasks that all dubs of a title share, as far as they are known."""
        return self.plan(title, failed or {}, dubs=())

    def shots(self, title: Title) -> list[Shot] | None:
        """The title's shots, or None before they are known."""
        done = self.result(self.analysis(title).get(ShotList))
        return done.shots if done else None

    def asked(self, title: Title, dub: Dub, guess: Sequence[Shot] = ()) -> Ranges | None:
        """The frames of a title's film that may be re-rendered in a dub, by its manifest's `only` and `leave`; None for
        all. guess: what the shots are taken to be before they are known. Raises ManifestError."""
        if not (title.only or title.leave or dub.only or dub.leave):
            return None
        key = title.id, dub.language
        if key in self._parts:
            return self._parts[key]
        film = self._shown(title)
        try:
            found = asked(title, dub, film)
            if found is None and film.shots is None and guess:
                with suppress(ManifestError):  # it has more shots than are guessed
                    return asked(title, dub, replace(film, shots=guess))
        except ManifestError as e:
            at = self.manifest.place("titles", self.manifest.titles.index(title), *e.at)
            raise type(e)(f"{at}: {e}") from e
        if film.shots is not None:
            self._parts[key] = found
        return found

    def looks(self, title: Title) -> list[tuple[Look, tuple[str, ...] | None, Ranges | None]]:
        """How actors of a film are to look: how, which characters (None: all), in which frames (None: in all). Raises
        ManifestError."""
        if not title.expression or title.id in self._looks:
            return self._looks.get(title.id, [])
        film, found = self._shown(title), []
        for n, one in enumerate(title.expression):
            at = ("expression", n, "only")
            try:
                ranges = parts_of(one.only, at, film)
            except ManifestError as e:
                where = self.manifest.place("titles", self.manifest.titles.index(title), *e.at)
                raise type(e)(f"{where}: {e}") from e
            name, strength = (one.emotion.name, one.emotion.strength) if one.emotion else (None, 1.0)
            found.append((Look(one.neutralise, name, strength), one.only.characters if one.only else None, ranges))
        if film.shots is not None:
            self._looks[title.id] = found
        return found

    def decided(self, title: Title) -> Mapping[str, Speakers]:
        """The decision on who speaks, by shot id; empty before it is known."""
        done = self.result(self.analysis(title).get(SpeakerList))
        return done.by_shot if done else {}

    def timeline(self, title: Title) -> Timeline:
        """The title's frames in time. Raises MediaError before `shots` is done, DamagedResult where it is damaged."""
        shots = self.analysis(title).get(ShotList)
        assert shots is not None
        with self.store.brought(shots.folder) as (folder,):
            if folder.exists():
                self.store.whole(folder)
            return media.load_timeline(folder)

    def made_of(self, title: Title) -> MadeOf | None:
        """How the title's film is made of its photograph; None where its picture is a film. Raises InputError."""
        if title.id not in self._made:
            try:
                self._made[title.id] = made_of(title, self.store.local, Sounds(self.store.root))
            except InputError as e:
                raise type(e)(self.store.copies.named(str(e))) from e
        return self._made[title.id]

    def info(self, title: Title) -> media.MediaInfo:
        """The MediaInfo of the film that is dubbed; for a photograph, of the film that is or will be made of it."""
        made = self.made_of(title)
        return made.info if made else self.media_info(title.video)

    def spans(self, title: Title) -> tuple[media.FilmSpan, ...]:
        """The windows in which a title's cuts are looked for; none where one task does it. Raises InputError."""
        if title.id not in self._spans:
            video, found = self.info(title).video, list[media.FilmSpan]()
            if video and not self.made_of(title) and is_scanned_in_windows(video.frames_hint, video.rate):
                found = scan_windows(self.key_frames(title.video), video.frames_hint, video.rate)
            self._spans[title.id] = tuple(found)
        return self._spans[title.id]

    def film(self, title: Title) -> Path:
        """The film whose frames are counted. Of a photograph: where it lies as soon as `still` is done."""
        still = self.analysis(title).get(StillFilm)
        return still.folder / STILL_FILM if still else self.file(title.video).path

    def span(self, title: Title) -> int:
        """Frames of a title, as its header promises them; where it does not, by the longest of its dubs."""
        video = self.info(title).video
        if video is None or video.frames_hint:
            return video.frames_hint if video else 0
        return int(max((self.media_info(d.audio).duration_s or 0 for d in title.dubs), default=0) * video.rate)

    def dub(self, title: Title, dub: Dub, failed: Mapping[str, Outcome]) -> DubTasks:
        """The tasks of one language, as far as they are known."""
        known = self.plan(title, failed, dubs=[dub])
        steps: list[Step] = []
        sound, own = known.get(DubSound, dub.language), known.get(SourceSound)
        compared: Selection | None = self.result(known.get(Selection, dub.language))
        for shot in self._dub_shots(title, dub, known):
            first = next(iter(known.candidates.get((dub.language, shot.id), ())), None)  # until one is selected
            named = {kind: known.get(kind, dub.language, shot.id) for kind in (FaceTracks, Take, Scores)}
            of = {kind: one or known.get(kind, dub.language, shot.id, first) for kind, one in named.items()}
            faces, take, score = of[FaceTracks], of[Take], of[Scores]
            if faces and take and score and sound:
                decided = self.decisions.get((title.id, dub.language, shot.id), Standing())
                film = self.film(title) if not steps else steps[0].film
                heard = own.folder if own else None
                selected = compared.by_shot.get(shot.id) if compared else None
                steps.append(Step(shot, faces, take, score, decided, film, sound.folder, heard, selected))
        kinds = (Master, Proof, Signed) if steps else ()
        return DubTasks(sound, tuple(steps), *(known.get(kind, dub.language) for kind in kinds))

    def _dub_shots(self, title: Title, dub: Dub, known: TitleTasks) -> list[Shot]:
        """The title's shots; of a photograph they end where this dub does."""
        listed = self.result(known.get(ShotList))
        made = self.made_of(title)
        shots = listed.shots if listed else []
        return [replace(s, end_frame=made.frames[dub.language]) for s in shots] if made else shots

    def choices(self, title: Title, dub: Dub) -> list[MasterChoice]:
        """How the masters of a dub are asked for: by the manifest, else by the configuration."""
        return self.manifest.masters(title, dub) or self.config.master

    def deliveries(self, title: Title, dub: Dub) -> list[media.Delivery]:
        """How each master of this dub will be made. Raises UnsupportedMedia where one cannot be, as it is asked for."""
        film, sound = self.info(title), self.media_info(dub.audio)
        return [media.delivery(film, sound, dub.deliver_tracks, choice) for choice in self.choices(title, dub)]

    def master_names(self, title: Title, dub: Dub) -> list[str]:
        """The file names of a dub's masters. Raises UnsupportedMedia as `deliveries`."""
        draft = self.config.quality == "draft"
        return [made.file(title.id, dub.language, draft) for made in self.deliveries(title, dub)]

    @property
    def signing(self) -> Signing | None:
        """How masters are signed: as the manifest says, else the configuration; None where they are not."""
        return self.manifest.provenance or self.config.provenance


def _together(shares: Sequence[float]) -> float:
    """The share of a GPU in which several networks lie: all of theirs, and no more than one GPU but where one wants
    more."""
    return max(*shares, min(1.0, sum(shares)))


def _most(every: Sequence[Resources]) -> Resources:
    """What a worker holds that can do the work of each of these."""
    first, *others = every
    for one in others:
        first = Resources(
            max(first.cpus, one.cpus), max(first.gpus, one.gpus), max(first.memory_mb, one.memory_mb),
            max(first.gpus_if_any, one.gpus_if_any), max(first.picture_mb, one.picture_mb),
        )  # fmt: skip
    return first
