"""A stage's place in a job: what its inputs may ask for at one title, dub and shot, and the task that it gets there.

Knows no engine, and no stage by name.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dubbing import media
from dubbing.analysis.asked import Ranges, within
from dubbing.analysis.footage import MadeOf
from dubbing.artifact import Artifact, File, Ref
from dubbing.artifacts.people import Names, names_of, spans_of
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import STILL_FILM, Scores, StillFilm, Take
from dubbing.artifacts.tracks import FaceTracks
from dubbing.decisions import Standing
from dubbing.manifest import Dub, GeneratorChoice, Title
from dubbing.master_choice import MasterChoice
from dubbing.provenance import Signing
from dubbing.records import FilmLook, Shot
from dubbing.remote import Uri
from dubbing.rendered_by import RenderedBy
from dubbing.stage import CandidateTake, NotKnown, Scope, Stage
from dubbing.task import Inputs, Outcome, Task, Windowed

if TYPE_CHECKING:
    from dubbing.job import Job

__all__ = ["JobPlace", "TitleTasks", "task_at"]


@dataclass
class TitleTasks:
    """The tasks of one title, as far as they are known, by kind of result, language, shot, and which of several takes.

    candidates: of shots with several takes by the manifest, by language and shot, the names of these and what renders
    each. Their takes and scores stand in `found` by these names; without a name stands the one that is delivered, once
    it is known.
    """

    found: dict[tuple[type[Artifact], str | None, str | None, str | None], Task] = field(default_factory=dict)
    candidates: dict[tuple[str, str], dict[str, RenderedBy]] = field(default_factory=dict)

    def get(
        self, kind: type[Artifact], language: str | None = None, shot: str | None = None, variant: str | None = None
    ) -> Task | None:
        """The task that makes this kind of result for a take, shot or language, else for the title that it belongs
        to."""
        places = [(language, shot, variant), (language, shot, None), (None, shot, None), (language, None, None)]
        for at in dict.fromkeys([*places, (None, None, None)]):
            if task := self.found.get((kind, *at)):
                return task
        return None

    @property
    def every(self) -> list[Task]:
        """All of them, each once."""
        return list({task.id: task for task in self.found.values()}.values())


class JobPlace:
    """See `dubbing.stage.Place`."""

    def __init__(
        self, job: Job, title: Title, known: TitleTasks, failed: Mapping[str, Outcome], dub: Dub | None,
        shot: Shot | None, variant: str | None = None, by: RenderedBy | None = None,
    ) -> None:  # fmt: skip
        self.job, self.title, self.config = job, title, job.config
        self.variant, self._by = variant, by
        self._known, self._failed, self._dub, self._shot = known, failed, dub, shot

    @property
    def language(self) -> str | None:
        return self._dub.language if self._dub else None

    @property
    def shot_id(self) -> str | None:
        return self._shot.id if self._shot else None

    @property
    def home(self) -> Path:
        """The folder of the title's analysis, or of the dub."""
        store = self.job.store
        return store.dub(self.title.id, self.language) if self.language else store.analysis(self.title.id)

    @property
    def dub(self) -> Dub:
        assert self._dub is not None, "asked for a dub where there is none"
        return self._dub

    @property
    def shot(self) -> Shot:
        assert self._shot is not None, "asked for a shot where there is none"
        if self._dub is not None and self.made_of is not None:
            return replace(self._shot, end_frame=self.made_of.frames[self._dub.language])
        return self._shot

    @property
    def film(self) -> File:
        still = self._known.get(StillFilm)
        return File(still.folder / STILL_FILM, still.key) if still else self.file(self.title.video)

    @property
    def made_of(self) -> MadeOf | None:
        return self.job.made_of(self.title)

    @property
    def rate(self) -> Fraction:
        video = self.job.info(self.title).video
        assert video is not None
        return video.rate

    @property
    def seekable(self) -> bool:
        return media.seekable(self.job.info(self.title).container)

    @property
    def spans(self) -> tuple[media.FilmSpan, ...]:
        return self.job.spans(self.title)

    @property
    def square_pixels(self) -> bool:
        video = self.job.info(self.title).video
        return video is None or video.grid.same

    @property
    def has_sound(self) -> bool:
        return bool(self.job.info(self.title).audio)

    def tracks(self, path: Path | Uri) -> int:
        return len(self.job.media_info(path).audio)

    @property
    def frames_hint(self) -> int:
        return video.frames_hint if (video := self.job.info(self.title).video) else 0

    @property
    def models_folder(self) -> str:
        return self.job.models_folder

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((track, name) for track, name in self._names.items() if name))

    @property
    def unnamed(self) -> tuple[str, ...]:
        return self._names.gone

    @property
    def _names(self) -> Names:
        said = self.job.named.get(self.title.id)
        shots = {self.title.id: spans_of(self.result(ShotList).shots)} if said else {}
        return names_of(said or (), shots).get(self.title.id, Names())

    def file(self, path: Path | Uri) -> File:
        return self.job.file(path)

    def ref(self, kind: type[Artifact]) -> Ref[Any]:
        return self._of(kind).ref

    def has(self, kind: type[Artifact]) -> bool:
        return self._known.get(kind, self.language, self.shot_id, self.variant) is not None

    def result(self, kind: type[Artifact]) -> Any:
        done = self.job.result(self._of(kind))
        if done is None:
            raise NotKnown(kind.schema)
        return done

    def failed(self, kind: type[Artifact]) -> bool:
        return self.has(kind) and self._lost(self._of(kind))

    def each(self, kind: type[Artifact]) -> tuple[Ref[Any] | None, ...]:
        shots = self.result(ShotList).shots
        found = (self._known.get(kind, self.language, s.id) for s in shots)
        return tuple(t.ref if t is not None and not self._lost(t) else None for t in found)

    def takes(self, frames: tuple[int, int] | None = None) -> tuple[tuple[Ref[Any], ...], tuple[Ref[Any], ...]]:
        delivered, all_of = [], []
        shots = self.result(ShotList).shots
        if frames is not None:  # shots follow each other
            first = bisect_right(shots, frames[0], key=lambda s: s.start_frame) - 1
            shots = shots[max(0, first) : bisect_left(shots, frames[1], key=lambda s: s.start_frame)]
        for shot in shots:
            faces, take, score = (self._known.get(k, self.language, shot.id) for k in (FaceTracks, Take, Scores))
            if faces is None or take is None or score is None:
                raise NotKnown("takes")
            said = self.job.decisions.get((self.title.id, self.dub.language, shot.id), Standing())
            all_of += [take.ref, score.ref]
            if not said.delivers_source(take.key[:12]) and not any(self._lost(t) for t in (faces, take, score)):
                delivered.append(take.ref)
        return tuple(delivered), tuple(all_of)

    @property
    def asked(self) -> Ranges | None:
        ranges = self.job.asked(self.title, self.dub)
        if ranges is None:
            return None
        start, end = self.shot.start_frame, self.shot.end_frame
        mine = within(ranges, start, end)
        return None if mine == ((start, end),) else mine

    def looks(self, character: str | None) -> tuple[FilmLook, ...]:
        found = []
        for look, characters, ranges in self.job.looks(self.title):
            mine = None if ranges is None else within(ranges, self.shot.start_frame, self.shot.end_frame)
            if mine != () and (characters is None or character in characters):
                found.append(FilmLook(look, mine))
        return tuple(found)

    @property
    def rendered_by(self) -> RenderedBy:
        assert self._by is not None, "asked for generators where no take is made"
        return self._by

    @property
    def candidates(self) -> Mapping[str, tuple[CandidateTake, ...]]:
        """Of a run, what failed in it is lost; for who looks at results, what is not there."""
        found = {}
        for shot in self.result(ShotList).shots:
            some = []
            for variant, by in self._known.candidates.get((self.dub.language, shot.id), {}).items():
                pair = [self._known.found.get((kind, self.language, shot.id, variant)) for kind in (Take, Scores)]
                if None in pair:
                    raise NotKnown("candidates")
                take, score = (task for task in pair if task is not None)
                lost = any(self._lost(t) or (self.job.heals is None and not self.job.done(t)) for t in (take, score))
                some.append(CandidateTake(by.text, None if lost else take.ref, None if lost else score.ref))
            if some:
                found[shot.id] = tuple(some)
        return found

    def generator_hash(self, choice: GeneratorChoice) -> str:
        return self.job.generator_hash(choice)

    def learnt(self, choice: GeneratorChoice) -> File | None:
        return self.job.learnt(self.title, choice)

    def generator_wants(self, what: str, choice: GeneratorChoice | None = None) -> bool:
        if choice is not None:
            return self.job.generator_wants(choice, what)
        said = [s.generator for at, s in self.job.decisions.items() if at[0] == self.title.id and s.generator]
        chosen = [one.name for generator in said for one in RenderedBy.said(generator).every]
        names = (*(one.name for one in self.job.manifest.generators), *chosen)
        return any(self.job.class_wants(name, what) for name in dict.fromkeys(names))

    @property
    def expert(self) -> str:
        return self.job.expert

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.job.metrics

    @property
    def prior(self) -> str:
        return self.job.prior

    @property
    def lent(self) -> tuple[File, ...] | None:
        return self.job.lent(self.title)

    @property
    def active_speaker(self) -> str | None:
        return self.job.active_speaker

    @property
    def face_descriptor(self) -> str | None:
        return self.job.descriptors.get(self.title.id, self.job.face_descriptor)

    @property
    def voices(self) -> str | None:
        return self.job.voices

    @property
    def masters(self) -> tuple[tuple[str, MasterChoice], ...]:
        names = self.job.master_names(self.title, self.dub)
        return tuple(zip(names, self.job.choices(self.title, self.dub), strict=True))

    @property
    def signing(self) -> Signing | None:
        return self.job.signing

    @property
    def consented(self) -> tuple[str, ...] | None:
        return self.job.manifest.consented(self.title)

    def _of(self, kind: type[Artifact]) -> Task:
        task = self._known.get(kind, self.language, self.shot_id, self.variant)
        if task is None:
            raise NotKnown(kind.schema)
        return task

    def _lost(self, task: Task) -> bool:
        """Whether it failed, or what it needs did."""
        return task.id in self._failed or any(n in self._failed for n in task.needs)


def task_at(stage: type[Stage[Any, Any]], inputs: Inputs, place: JobPlace) -> Task:
    """The task of a stage at a place; where the shot or the film is long, one that joins what tasks of its windows have
    made. A window of a film has a name of its own, because the film's changes with each take of other windows."""
    if isinstance(inputs, Windowed):
        frames = inputs.end - inputs.start
    elif stage.scope in (Scope.SHOT, Scope.DUB_SHOT, Scope.TAKE):
        frames = len(place.shot)
    else:
        frames = stage.covers(inputs, place)
    whole = _at(stage, inputs, place, frames)
    made = []
    for n, part in enumerate(stage.windows(inputs, place), 1):
        start, end = part.bounds
        one = _at(stage, part, place, end - start, n)
        name = f"{whole.folder.name}-{n}" if place.shot_id else one.folder.name
        made.append(replace(one, folder=whole.folder.parent / "windows" / name))
    if not made:
        return whole
    joins = stage.joins(inputs, tuple(w.ref for w in made))
    return replace(whole, inputs=joins, frames=0, span=frames, windows=tuple(made))


def _at(stage: type[Stage[Any, Any]], inputs: Inputs, place: JobPlace, frames: int, window: int | None = None) -> Task:
    key = stage.key(inputs)
    folder = stage.where(place.home, place.shot_id, key, inputs)
    return Task(
        stage, key, folder, inputs, place.title.id, place.language, place.shot_id, window, frames,
        weight=stage.weight(frames), variant=place.variant,
    )  # fmt: skip
