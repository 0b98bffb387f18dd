"""Where clips are analysed and dubbed, once: the pipeline's own stages in this process, kept in the output folder.

Every result is a committed folder named by a key of its inputs, so a killed evaluation goes on where it was. No master
is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

import dubbing
from dubbing import media, plugins
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.sound import SourceSound, load_wave
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.engine.worker import Worker
from dubbing.errors import DubError, InputError, StageError
from dubbing.evaluate.clips import (
    QUIET_S,
    RATE_HZ,
    Clip,
    Voice,
    fitted_sound,
    rolled,
    write_sound,
    write_standing,
    write_still,
)
from dubbing.generators import Generator, create, find
from dubbing.job import Job, Step
from dubbing.manifest import Dub, GeneratorChoice, Manifest, Title
from dubbing.records import Track
from dubbing.sound import RATE_HZ as HEARD_HZ
from dubbing.stage import Scope
from dubbing.store import RESULT, Store, content_key, key_of, read_folder
from dubbing.task import Outcome, Task

__all__ = ["Session", "EvaluatedFilm", "Speaker", "code_hash"]

PHOTOGRAPH_S = 8.0


@dataclass(frozen=True, eq=False)
class Speaker:
    """One face that speaks in one shot of a clip.

    wave: float32 mono 16 kHz under the track; times_s: (N,) middles of its frames on that clock; speaks_N: bool.
    actor: file of the model fitted on the whole clip, or None; person: number of whose face it is, within the clip.
    """

    track: Track
    wave: np.ndarray
    times_s: np.ndarray
    speaks_N: np.ndarray
    actor: Path | None
    person: int = 0


@dataclass(frozen=True)
class EvaluatedFilm:
    """A clip, or its still, with what was found in it. failed: by task id; photograph: the clip is one."""

    clip: Clip
    video: Path
    content: str
    job: Job
    failed: Mapping[str, Outcome]
    photograph: bool = False

    @property
    def title(self) -> Title:
        return self.job.manifest.titles[0]

    @property
    def line(self) -> Timeline:
        return self.job.timeline(self.title)

    def speakers(self) -> list[Speaker]:
        """Every face that the analysis lets speak. Raises StageError with the reason where there is none."""
        line, decided = self.line, self.job.decided(self.title)
        known = self.job.analysis(self.title, self.failed)
        fitted, sound = known.get(FittedActors), known.get(SourceSound)
        models: FittedActors | None = self.job.result(fitted)
        found, reasons = [], []
        for shot in self.job.shots(self.title) or []:
            row = decided[shot.id]
            faces = known.get(FaceTracks, None, shot.id)
            if row.reason or not row.tracks or faces is None:
                reasons.append(row.reason or "off_screen")
                continue
            tracks = {t.id: t for t in load_tracks(faces.folder)}
            for spoken in row.tracks:
                track = tracks[spoken.track]
                speaks_N = np.zeros(len(track.frames_N), bool)
                for a, b in spoken.stretches:
                    speaks_N[max(0, a - track.start_frame) : max(0, b - track.start_frame)] = True
                first, last = (line.sample(f, HEARD_HZ) for f in (track.start_frame, track.end_frame))
                wave = load_wave(sound.folder, first, last) if sound else np.zeros(last - first, np.float32)
                times_s = line.times_s(track.start_frame, track.end_frame, centre=True)
                times_s = times_s - float(line.time(track.start_frame))
                file = models.model_files.get(spoken.actor) if models else None
                actor = fitted.folder / file if fitted and file else None
                found.append(Speaker(track, wave, times_s, speaks_N, actor, spoken.actor))
        if not found:
            why = ", ".join(sorted(set(reasons))) or "it has no shot"
            raise StageError(f"{self.clip.path.name}: nobody is seen to speak ({why}).")
        return found

    def steps(self, language: str) -> list[Step]:
        """The steps of each shot in one language."""
        dub = next(d for d in self.title.dubs if d.language == language)
        return list(self.job.dub(self.title, dub, self.failed).steps)


class _EvaluationJob(Job):
    """A job whose takes and fitted actors also depend on the code that makes them.

    A run trusts the versions that stages and generators declare; whoever works on a generator changes code between two
    evaluations and must not be shown the old mouths.
    """

    def generator_hash(self, choice: GeneratorChoice) -> str:
        return key_of(super().generator_hash(choice), code_hash(choice.name))[:12]

    @cached_property
    def prior(self) -> str:
        return key_of(super().prior, code_hash())


@cache
def code_hash(generator: str = "rewrite") -> str:
    """12 hex digits of the generators' code and weights, and of what they stand on; of another package's generator
    also the module that holds it."""
    root = Path(dubbing.__file__).parent
    files = [root / "face.py", root / "sound.py", root / "mesh.py"]
    for folder in ("generators", "performance"):
        files += sorted(p for p in (root / folder).rglob("*") if p.suffix in (".py", ".npz"))
    about = [(str(p.relative_to(root)), content_key(p)) for p in files]
    if generator in plugins.others(plugins.GENERATORS):
        about.append((generator, content_key(Path(inspect.getfile(find(generator))))))
    return key_of(about)[:12]


class Session:
    """One output folder with the stages that work into it. A context manager; hold the store's lock meanwhile.

    on_task(text): the id of each piece of work before it is done, and what of earlier ones is damaged.
    """

    def __init__(
        self, store: Store, settings: Config, generator: Mapping[str, Any], on_task: Callable[[str], None]
    ) -> None:
        self.store, self.settings, self._on_task = store, settings, on_task
        self.generator = GeneratorChoice.model_validate(generator)
        self._worker = Worker(store)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def create_generator(self) -> Generator:
        """The generator that is measured, fresh. Raises ModelError."""
        return create(self.generator.name, self.generator.settings, self.settings.models.folder)

    def made(self, folder: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The result of a committed folder, filled by `make` where it is not there yet."""
        value = self.store.results([folder]).get(folder)
        if value is None or self.store.fault(folder, value, "all"):
            self.store.remove(folder)
            with self.store.commit(folder) as part:
                self.store.write_json(part / RESULT, make(part))
            value = read_folder(folder)
        return value

    def analysed(self, clip: Clip) -> EvaluatedFilm:
        """A clip with its faces, sound, speakers and fitted actors; of a photograph, the film that stands for it, mute
        and PHOTOGRAPH_S long. Raises DubError where that cannot be done."""
        if media.is_photograph(clip.path):
            film = replace(self._film(clip, self._photograph(clip), clip.id, {}), photograph=True)
            return self._worked(film, lambda t: t.language is None)
        info = media.probe(clip.path)
        if info.video is None:
            raise InputError(f"{clip.path.name} has no picture.")
        film = self._film(clip, clip.path, clip.id, {})
        return self._worked(film, lambda t: t.language is None)

    def dubbed(self, film: EvaluatedFilm, voices: Mapping[str, Path], expert: str | None = None) -> EvaluatedFilm:
        """The same film with takes and their scores in some languages: language -> sound as long as the film.

        expert: the sync expert that scores, instead of the settings' own. A photograph is dubbed as one, and its film
        is the one that a run makes of it.
        """
        video = film.clip.path if film.photograph else film.video
        whole = replace(self._film(film.clip, video, film.title.id, voices, expert), photograph=film.photograph)
        done = self._worked(whole, lambda t: t.stage not in ("master", "proof"))
        return replace(done, video=done.job.film(done.title)) if film.photograph else done

    def still(self, film: EvaluatedFilm, frame: int) -> EvaluatedFilm:
        """A frame of a film, standing still for as long and without sound, as a film."""
        key = key_of("still", film.content, frame)[:12]
        folder = self.store.root / film.title.id / f"still-{key}"

        def make(part: Path) -> dict[str, Any]:
            write_still(film.video, film.line, frame, part / "still.mp4")
            return {"frame": frame}

        self.made(folder, make)
        made = self._film(film.clip, folder / "still.mp4", f"{film.title.id}_still", {})
        return self._worked(made, lambda t: t.language is None)

    def _photograph(self, clip: Clip) -> Path:
        """The film that stands for a photograph."""
        key = key_of("photograph", content_key(clip.path, self.store.root / ".contents.json"), PHOTOGRAPH_S)[:12]
        folder = self.store.root / clip.id / f"photograph-{key}"

        def make(part: Path) -> dict[str, Any]:
            write_standing(media.read_photograph(clip.path).bgr_HWC, PHOTOGRAPH_S, part / "still.mp4")
            return {"seconds": PHOTOGRAPH_S}

        self.made(folder, make)
        return folder / "still.mp4"

    def sound_for(self, film: EvaluatedFilm, voice: Voice) -> Path:
        """A dub sound exactly as long as the film: the voice's, or where that is the clip itself, its own rolled."""
        line, own = film.line, voice.path.resolve() == film.clip.path
        content = content_key(voice.path, self.store.root / ".contents.json")
        key = key_of("sound", content, line.sample(len(line), RATE_HZ), own)[:12]
        folder = self.store.root / film.title.id / f"sound_{voice.language}-{key}"

        def make(part: Path) -> dict[str, Any]:
            wave = media.read_sound(voice.path, rate_hz=RATE_HZ, mono=True)
            wave = np.asarray(rolled(wave) if own else wave, np.float32).reshape(-1)
            write_sound(fitted_sound(wave, line.sample(len(line), RATE_HZ), int(QUIET_S * RATE_HZ)), part / "dub.flac")
            return {"voice": voice.path.name}

        self.made(folder, make)
        return folder / "dub.flac"

    def _film(
        self, clip: Clip, video: Path, title: str, voices: Mapping[str, Path], expert: str | None = None
    ) -> EvaluatedFilm:
        # a title has a dub; the one of an analysis is never worked on
        dubs = [Dub(language=name, audio=path) for name, path in voices.items()] or [
            Dub(language="x-none", audio=video)
        ]
        manifest = Manifest(version=1, titles=[Title(id=title, video=video, dubs=dubs)], generator=self.generator)
        content = content_key(video, self.store.root / ".contents.json")
        settings = self.settings
        if expert is not None:
            settings = settings.model_copy(update={"sync": settings.sync.model_copy(update={"expert": expert})})
        job = _EvaluationJob(manifest, self.store, settings)
        job.heals = self._on_task
        return EvaluatedFilm(clip, video, content, job, {})

    def _worked(self, film: EvaluatedFilm, wanted: Callable[[Task], bool]) -> EvaluatedFilm:
        """Do every wanted task of a film, one after another."""
        job, failed = film.job, dict(film.failed)
        while task := self._next(job, failed, wanted):
            lost = next((failed[n] for n in task.needs if n in failed), None)
            if lost is not None:
                failed[task.id] = Outcome(task.id, 0.0, lost.error, lost.error_class)
                continue
            self._on_task(task.id)
            outcome = self._worker.run(task, lambda n: None)
            if outcome.error is None:
                job.forget(task)
            elif outcome.damaged is not None:
                job.lose(next(t for t in job.tasks(failed) if t.folder == outcome.damaged), outcome.error)
            elif isinstance(outcome.fatal, DubError) and task.kind.bad_input_costs == "run":
                raise outcome.fatal
            elif task.kind.scope in (Scope.TITLE, Scope.DUB):
                raise StageError(f"{film.clip.path.name}: {outcome.error}")
            else:
                failed[task.id] = outcome
        return replace(film, failed=failed)

    def _next(self, job: Job, failed: Mapping[str, Outcome], wanted: Callable[[Task], bool]) -> Task | None:
        """The first task that is wanted, not done, and whose needs have ended."""
        known = {t.id: t for t in job.tasks(failed)}
        done = {name for name, task in known.items() if name in failed or job.done(task)}
        for name, task in known.items():
            if name not in done and wanted(task) and all(n in done for n in (*task.needs, *task.after) if n in known):
                return task
        return None
