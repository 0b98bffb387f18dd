"""A job's sounds, listened to: each once for each model, on an engine, kept in the output folder by what it holds.

    OUT/<title>/analysis/words-<key>/            of the original
    OUT/<title>/<language>/words-<key>/          of a dub's dialogue, and of each stem

The tables and subtitles that others read are written anew from these each time (`dubbing.words`). A dub whose language
is surely not its tag's is a problem, a stem's is a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from dubbing import models
from dubbing.analysis.lines import read_lines
from dubbing.clock import Timecode
from dubbing.config import Config
from dubbing.engine import Event, do_tasks
from dubbing.errors import InputError, ManifestError, MediaError, StageError
from dubbing.job import Job
from dubbing.listening.script import Difference, compare
from dubbing.listening.stage import HeardWords, Listening, ListenInputs, load_words
from dubbing.listening.tongues import named
from dubbing.manifest import Dub, Manifest, Original, Title
from dubbing.remote import Uri
from dubbing.stage import Resources, Stage
from dubbing.store import Store, open_store
from dubbing.task import Outcome, Task
from dubbing.words import TABLE, Word, joined, write_words

__all__ = ["Heard", "Listened", "listen"]

_GPU_SHARE = 0.25
_OWN_MB = 1500  # a worker without a network
_TOLD = 80  # letters of a line in a message


@dataclass(frozen=True)
class Heard:
    """One sound that was listened to. whose: `original`, or the dub's tag; character: of a stem, else None; result:
    what was heard; text: its words."""

    title: str
    whose: str
    character: str | None
    file: Path | Uri
    result: HeardWords
    text: str


@dataclass
class Listened:
    """All that was heard. problems: dubs in another language than their tag; notes: stems, and what is not sure;
    lines: `title/language` -> where a script and its dub differ, with the timecode of each; tables: what was written;
    failed: sounds that could not be listened to, by name, and why."""

    sounds: list[Heard] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: dict[str, list[tuple[str, Difference]]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """2 where a dub is in another language than its tag, 1 where a sound could not be listened to, 3 where lines
        differ, else 0."""
        differ = any(self.lines.values())
        return InputError.exit_code if self.problems else 1 if self.failed else 3 if differ else 0

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "sounds": [
                {"title": s.title, "whose": s.whose, "character": s.character, "file": str(s.file), "text": s.text,
                 **s.result.to_dict()}
                for s in self.sounds
            ],
            "problems": [str(p) for p in self.problems],
            "notes": self.notes,
            "lines": {dub: [{"at": at, **asdict(d)} for at, d in found] for dub, found in self.lines.items()},
            "tables": self.tables,
            "failed": self.failed,
        }  # fmt: skip


@dataclass(frozen=True)
class _Wanted:
    """A sound that is listened to. place: of its language, or of the file, in the manifest."""

    title: Title
    dub: Dub | None
    character: str | None
    file: Path | Uri
    place: tuple[int | str, ...]

    @property
    def whose(self) -> str:
        return self.dub.language if self.dub else "original"

    @property
    def name(self) -> str:
        return "/".join([self.title.id, self.whose, *([self.character] if self.character else [])])


class _ListeningJob(Job):
    """The tasks of listening, as an engine wants them."""

    def __init__(self, manifest: Manifest, out: Store | Path | str, config: Config) -> None:
        super().__init__(manifest, out, config)
        self._file, digest = models.chosen(config.listen.model, self.models_folder)
        self._digest = digest[:12]

    @property
    def stages(self) -> list[type[Stage[Any, Any]]]:
        return [Listening]

    def resources(self, stage: type[Stage[Any, Any]]) -> Resources:
        size_mb = self._file.stat().st_size / 1e6  # in half precision; it runs in float32, with what it makes
        memory_mb = _OWN_MB + round(3 * size_mb)
        return replace(stage.resources, memory_mb=memory_mb, gpus_if_any=_GPU_SHARE)

    def tasks(self, failed: Mapping[str, Outcome] | None = None) -> list[Task]:
        return list(dict.fromkeys(self.by_sound.values()))

    @cached_property
    def by_sound(self) -> dict[str, Task]:
        """The task of each sound that is listened to, by the sound's name."""
        for file in self.manifest.files:
            self.store.local(file)
        return {one.name: self._task(one) for title in self.manifest.titles for one in wanted(self, title)}

    def _task(self, one: _Wanted) -> Task:
        said = one.dub if one.dub else one.title.original or Original()
        span = self.span(one.title)
        inputs = ListenInputs(
            self.file(one.file), self._digest, one.dub.language if one.dub else None,
            track=said.track if one.character is None else None,
            channels=said.channels if one.character is None else None,
            of_film=one.file == one.title.video, frames=span, model=self.config.listen.model,
            models_folder=self.models_folder,
        )  # fmt: skip
        key = Listening.key(inputs)
        language = one.dub.language if one.dub else None
        home = self.store.dub(one.title.id, language) if language else self.store.analysis(one.title.id)
        folder = Listening.where(home, None, key, inputs)
        return Task(Listening, key, folder, inputs, one.title.id, language, one.character, frames=span, span=span)


def wanted(job: Job, title: Title) -> Iterator[_Wanted]:
    """The sounds of a title, the original first."""
    n = job.manifest.titles.index(title)
    own = title.original.dialogue if title.original else None
    if own is not None or job.info(title).audio:
        yield _Wanted(title, None, None, own or title.video, ("titles", n))
    for m, dub in enumerate(title.dubs):
        place = ("titles", n, "dubs", m)
        yield _Wanted(title, dub, None, dub.dialogue or dub.audio, (*place, "language"))
        for character, file in (dub.stems or {}).items():
            yield _Wanted(title, dub, character, file, (*place, "stems", character))


def listen(
    manifest: Manifest, out: Store | Path | str, config: Config, *, engine: str = "ray",
    on_event: Callable[[Event], None] = lambda event: None,
) -> Listened:  # fmt: skip
    """Listen to every sound of a job that was not listened to before, and write the tables.

    Raises InputError: a package is not installed, a file cannot be read; ModelError: no such model, or it is not here.
    """
    from dubbing.listening.ear import require_packages

    require_packages()
    job = _ListeningJob(manifest, open_store(out), config)
    job.store.check()
    for title in manifest.titles:
        for one in wanted(job, title):
            if not job.media_info(one.file).audio:
                raise MediaError(f"{manifest.place(*one.place)}: {one.file} has no sound stream.")
    failed = do_tasks(job, engine, on_event)
    found = Listened()
    with job.store.lock():
        for title in manifest.titles:
            _title(job, title, failed, found)
    return found


def _title(job: _ListeningJob, title: Title, failed: Mapping[str, Outcome], found: Listened) -> None:
    heard: dict[str | None, list[Word]] = {}
    kept = {task.folder for task in job.by_sound.values()}
    for one in wanted(job, title):
        task = job.by_sound[one.name]
        result: HeardWords | None = job.result(task)
        if result is None:
            outcome = failed.get(task.id)
            found.failed[one.name] = (outcome.error if outcome else None) or "it was not reached"
            continue
        with job.store.brought(task.folder) as (folder,):
            words = load_words(folder, one.character)
        heard.setdefault(one.dub.language if one.dub else None, []).extend(words)
        found.sounds.append(Heard(title.id, one.whose, one.character, one.file, result, joined(words)))
        _judge(job, one, result, found)
        for other in job.store.names(task.folder.parent, f"{Listening.folder}-"):
            if other not in kept:  # of another model, or of a sound that was replaced
                job.store.remove(other)
    for dub in title.dubs:
        if dub.lines is not None and dub.language in heard:
            found.lines[f"{title.id}/{dub.language}"] = _against(job, title, dub, heard[dub.language])
    for language, words in heard.items():
        home = job.store.dub(title.id, language) if language else job.store.analysis(title.id)
        write_words(job.store, home, title.id, language, words)
        found.tables.append(job.store.shown(home / TABLE))


def _against(job: Job, title: Title, dub: Dub, words: Sequence[Word]) -> list[tuple[str, Difference]]:
    """Where the lines of a dub and what was heard differ, each with its timecode. Raises ManifestError."""
    video = job.info(title).video
    assert video is not None and dub.lines is not None
    names = {w.character for w in words if w.character} | set(title.cast or ())
    lines = read_lines(job.store.local(dub.lines), video.rate, video.start_tc, names)
    found = []
    for one in compare(lines, words):
        heard = "" if one.heard_s is None else f" -> {timecode(job, title, one.heard_s)}"
        found.append((timecode(job, title, one.start_s or 0.0) + heard, one))
    return found


def _judge(job: _ListeningJob, one: _Wanted, result: HeardWords, found: Listened) -> None:
    """Puts what a sound's language is among the problems or the notes."""
    at = job.manifest.place(*one.place)
    if one.dub is None:
        return
    if result.verdict == "no speech":
        found.notes.append(f"{at}: nobody speaks in {one.file}.")
    if result.language is None:
        return
    tag, sure = one.dub.language, f"{named(result.language)}, probability {result.probability:.2f}"
    own = "" if result.tagged is None else f" (probability {result.tagged:.2f})"
    if result.verdict == "another" and one.character is None:
        found.problems.append(ManifestError(
            f"{at}: {one.file} is {sure}, and not {tag!r}{own}; name the {tag} sound, or the language that it is."
        ))  # fmt: skip
    elif result.verdict == "another":
        found.notes.append(f"{at}: the stem of {one.character}, {one.file}, is {sure}, and its dub {tag!r}{own}.")
    elif result.verdict == "not sure":
        found.notes.append(f"{at}: {one.file} may be {sure}, and not {tag!r}{own}; listen to it.")
    elif result.verdict == "unknown":
        found.notes.append(f"{at}: whether {one.file} is {tag!r} cannot be heard: the model does not know it.")
    for start_s, end_s, code, chance in result.elsewhere if result.verdict == "as tagged" else ():
        found.notes.append(
            f"{at}: {one.file} is {named(code)}, probability {chance:.2f}, between {timecode(job, one.title, start_s)} "
            f"and {timecode(job, one.title, end_s)}, and {tag!r} elsewhere."
        )


def timecode(job: Job, title: Title, time_s: float) -> str:
    """The timecode of a moment, in seconds from where frame 0 begins; where the rate varies, by the nominal one."""
    video = job.info(title).video
    if video is None:
        raise StageError(f"{title.id} has no picture.")
    start = Timecode.parse(video.start_tc or "00:00:00:00", video.rate)
    return str(start + int(Fraction(time_s) * video.rate))
