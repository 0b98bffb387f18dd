"""What a job knows: results that are done, what files hold, and the names of the weights that its work depends on.

Each is read once and remembered as long as the job lives. It knows no stage and no order of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dubbing import media, models
from dubbing.artifact import Artifact, File, Spent
from dubbing.artifacts.actors import lent_files
from dubbing.config import Config
from dubbing.errors import DamagedResult, InputError, OutputError, PluginError
from dubbing.manifest import GeneratorChoice, Title
from dubbing.remote import Uri
from dubbing.store import RESULT, Stamp, Store, content_key, key_of, stamp_of
from dubbing.task import Task, Windowed

if TYPE_CHECKING:
    from dubbing.generators import Generator

__all__ = ["GPU_SHARE", "ResultCache"]

T = TypeVar("T")

GPU_SHARE = 0.25  # of a GPU: most networks are small, and what feeds them runs on cores

_AGAIN = "; run the job again."
_ACTIVE_SPEAKER = "light_asd_ava"  # the published model whose presence lets its evidence be weighed


class ResultCache:
    """The memory of one job over its store."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store, self.config = store, config
        self.heals: Callable[[str], None] | None = None
        """In a run: told what is damaged, which is then removed, so that it is made again."""
        self.verifies = False  # whether all contents are looked at, and not only what is read
        self.taken: dict[str, tuple[File, ...]] = {}
        """By title, what other runs lend its actors."""
        self._values: dict[Path, Mapping[str, Any] | None] = {}
        self._results: dict[Path, Artifact] = {}
        self._asked: set[Path] = set()
        self._sound: set[Path] = set()
        self._healed: set[Path] = set()
        self._stamps: dict[Path, Stamp] = {}
        self._generators: dict[str, Generator] = {}

    def done(self, task: Task) -> bool:
        """Whether a task's result was committed, and is whole as far as sizes tell: contents are looked at when they
        are read. In a run all contents of masters and cuts are looked at, and with `verifies` everything is."""
        folder = task.folder
        if folder in self._sound or not self.store.done(folder):
            return folder in self._sound
        value = self._value(task)
        if value is None:
            return False
        if value.get("key", task.key) == task.key:
            closely = self.heals is not None and task.kind.Result.always_read
            problem = self.store.fault(folder, value, "all" if self.verifies else "moved" if closely else "sizes")
        else:
            problem = "is damaged: it holds what belongs elsewhere"
        if problem is not None and self.heals is not None:
            self.lose(task, f"{self.store.shown(folder)!r} {problem}")
        if problem is not None or (self.heals is not None and self.result(task) is None):
            return False
        if self.heals is not None:  # what it says is known by now: a run of many titles holds a great many
            self._values[folder] = {name: value[name] for name in ("seconds", "cpu_s") if name in value}
        self._sound.add(folder)
        return True

    def forget(self, task: Task) -> None:
        """A task's result has just been made: drop what was remembered of it, and the windows it was joined from."""
        self._values.pop(task.folder, None)
        self._results.pop(task.folder, None)
        self._sound.discard(task.folder)
        self.store.note(task.folder)
        for part in (isinstance(task.inputs, Windowed) and task.inputs.parts) or ():
            self.store.remove(part.folder)

    def know(self, tasks: Iterable[Task]) -> None:
        """Read many results at once: where each read is a request, one after another takes long."""
        new = {t.folder for t in tasks} - self._asked
        self._asked |= new
        self._values |= self.store.results(new - self._values.keys())

    def result(self, task: Task | None) -> Any:
        """A finished task's result, of its stage's `Result`; None where it is not done. Raises OutputError."""
        value = self._value(task)
        if task is None or value is None:
            return None
        if task.folder not in self._results:
            try:
                self._results[task.folder] = task.kind.Result.of(value, self.store.shown(task.folder))
            except OutputError as e:
                self.lose(task, str(e).removesuffix(_AGAIN))
                return None
        return self._results[task.folder]

    def spent(self, task: Task) -> Spent | None:
        """What a finished task cost; None where it is not done."""
        value = self._value(task)
        return None if value is None else Spent.of(value)

    def _value(self, task: Task | None) -> Mapping[str, Any] | None:
        if task is None:
            return None
        if self._values.get(task.folder) is None:
            found = self.store.results([task.folder])
            self._values |= found
            if task.folder in found and found[task.folder] is None:
                self.lose(task, f"{self.store.shown(task.folder)!r} is damaged: {RESULT}")
        return self._values.get(task.folder)

    def lose(self, task: Task, why: str) -> None:
        """A result is damaged: in a run it is removed, so that it is made again, once.

        why: what is damaged, and how. Raises DamagedResult where that is not done.
        """
        if self.heals is None:
            raise DamagedResult(f"{why}; run the job again.", task.folder)
        if task.folder in self._healed:
            raise DamagedResult(
                f"{why}, although this run has made it again; the disk or the memory of this machine may be failing: "
                "look at them, or choose another --out.",
                task.folder,
            )
        self._healed.add(task.folder)
        self.heals(f"{why}; it is made again")
        self.forget(task)
        self.store.remove(task.folder)

    @cache  # noqa: B019 - a job lives as long as its process
    def file(self, path: Path | Uri) -> File:
        """A file of the manifest, for a task's inputs."""
        memory = self.store.root / ".contents.json" if self.store.root.exists() else None
        local = self.store.local(path)
        stamp = self._steady(local)
        content = content_key(local, memory)
        self._steady(local)
        return File(local, content, stamp)

    @cache  # noqa: B019
    def media_info(self, path: Path | Uri) -> media.MediaInfo:
        """What a media file of the manifest holds. Raises InputError."""
        return self._told_by(path, media.probe)

    def key_frames(self, path: Path | Uri) -> list[tuple[int, int]]:
        """Where a film of the manifest can be decoded from, as of `media.key_frames`; a long list, which is not kept.
        Raises InputError."""
        return self._told_by(path, media.key_frames)

    def _told_by(self, path: Path | Uri, ask: Callable[[Path], T]) -> T:
        """What a file of the manifest says, which must not change meanwhile. Raises InputError, with the manifest's
        name of the file."""
        local = self.store.local(path)
        try:
            found = ask(local)
            self._steady(local)
        except InputError as e:
            raise type(e)(self.store.copies.named(str(e))) from e
        return found

    def lent(self, title: Title) -> tuple[File, ...] | None:
        """What was taken from other runs for a title's actors; None where its manifest asks for nothing of others."""
        if title.actors is None:
            return None
        if title.id not in self.taken:
            self.taken[title.id] = lent_files(self.store, title.id, title.actors.also)
        return self.taken[title.id]

    def _steady(self, file: Path) -> Stamp | None:
        """The stamp of a file, which stays the same as long as this job lives; None of one that is not there. Raises
        InputError."""
        try:
            stamp = stamp_of(file)
        except OSError:  # whoever opens it says so
            return None
        if self._stamps.setdefault(file, stamp) != stamp:
            raise InputError(f"{file} was changed while it was being looked at; run again once it is complete.")
        return stamp

    def generator_hash(self, choice: GeneratorChoice) -> str:
        """12 hex digits of a generator's weights and settings. Raises as `generators.create`."""
        return self._generator(choice).hash

    def generator_wants(self, choice: GeneratorChoice, what: str) -> bool:
        """Whether a generator declares that it uses this part of a title's analysis."""
        return what in self._generator(choice).wants

    @staticmethod
    def class_wants(name: str, what: str) -> bool:
        """The same of a generator of that name, whose weights need not be there; False where it is not installed,
        which is told where it is to render."""
        from dubbing.generators import find

        try:
            return what in find(name).wants
        except PluginError:
            return False

    def learnt(self, title: Title, choice: GeneratorChoice) -> File | None:
        """What `dub train` fine-tuned for a generator on a title, where there is such and the choice leaves it to the
        title."""
        from dubbing.generators import adapters, find

        own = adapters.of_title(self.store.analysis(title.id).parent, choice.name)
        if not own.is_file() or not adapters.asks(choice.settings):
            return None
        return self.file(own) if adapters.KEY in find(choice.name).Settings.model_fields else None

    def generator_share(self, choice: GeneratorChoice) -> float:
        """The share of a GPU that a worker with a generator holds where there is one: what it declares; GPU_SHARE where
        it declares only that it profits; 0 where it does not, and no setting asks for one."""
        from dubbing.generators import profits

        made = self._generator(choice)
        draft = self.config.quality == "draft"
        return (
            float(getattr(made, "gpu_share", GPU_SHARE))
            if profits(made, getattr(made, "settings", None), draft=draft)
            else 0.0
        )

    def generator_bytes(self, choice: GeneratorChoice) -> int:
        """Bytes of a generator's weights."""
        return int(getattr(self._generator(choice), "size_bytes", 0))

    def _generator(self, choice: GeneratorChoice) -> Generator:
        key = key_of(choice.name, choice.settings)
        if key not in self._generators:
            from dubbing.generators import create

            self._generators[key] = create(choice.name, choice.settings, self.models_folder, device="cpu")
        return self._generators[key]

    @cached_property
    def prior(self) -> str:
        """Key of what actors are fitted on."""
        from dubbing.generators.rewrite.hearing import prior_hash

        return prior_hash()

    @cached_property
    def expert(self) -> str:
        """The sync expert that scores, `name@hash12`. Raises ModelError."""
        from dubbing import experts

        return experts.identity(self.config.sync.expert, self.models_folder)

    @property
    def expert_profits(self) -> bool:
        """Whether the sync expert declares that a GPU is worth holding. Raises ModelError."""
        from dubbing import experts

        return experts.find(self.config.sync.expert).profits_from_gpu

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of other packages, `name@version of package`. Raises PluginError."""
        from dubbing import metrics

        return tuple(metrics.identities())

    @cached_property
    def models_folder(self) -> str:
        """Where published models lie."""
        return str(models.folder(self.config.models.folder))

    @cached_property
    def active_speaker(self) -> str | None:
        """`name@hash12` of the detector whose evidence of who speaks is weighed, or None."""
        folder = self.models_folder
        if self.config.speakers.active_speaker == "off" or not models.is_present(_ACTIVE_SPEAKER, configured=folder):
            return None
        return f"{_ACTIVE_SPEAKER}@{models.digest(_ACTIVE_SPEAKER, configured=folder)[:12]}"

    @cached_property
    def face_descriptor(self) -> str | None:
        """`name@hash12` of the network that tells people apart, or None."""
        from dubbing.networks.face_descriptor import FaceDescriptor

        return None if self.config.speakers.identity == "off" else FaceDescriptor.identity()

    @cached_property
    def voices(self) -> str | None:
        """`name@hash12` of the network that tells the voices of a dub apart, or None."""
        from dubbing.experts import resemblyzer

        on = self.config.speakers.voices == "auto" and resemblyzer.installed()
        return f"resemblyzer@{resemblyzer.HASH12}" if on else None
