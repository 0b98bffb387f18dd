"""The contract of a stage: one kind of work, with typed inputs and a typed result.

A stage knows neither Ray nor other stages. Its class says where it stands (`scope`), what it is given (`Inputs`, and
`inputs`, which asks a `Place` for them), what it leaves (`Result`), and what it costs. It is built without arguments,
set up once in the process that will use it (that is when models load), given one task after another, and closed. A
result is a folder: `process` fills the one it is given, and the engine commits it.

Over 400 lines: all that a stage may ask its place for.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar, get_args

import cv2
from threadpoolctl import threadpool_limits

from dubbing.analysis.windows import windows
from dubbing.artifact import Artifact, File, Ref, Spent
from dubbing.errors import InputError
from dubbing.inputs import json_bytes
from dubbing.store import RESULT, Store, key_of, read_folder
from dubbing.task import Inputs, Outcome, Task, Windowed

if TYPE_CHECKING:
    from dubbing.analysis.footage import MadeOf
    from dubbing.artifacts.takes import Scores, Take
    from dubbing.config import Config
    from dubbing.manifest import Dub, GeneratorChoice, Title
    from dubbing.master_choice import MasterChoice
    from dubbing.media import FilmSpan
    from dubbing.provenance import Signing
    from dubbing.records import FilmLook, Shot
    from dubbing.rendered_by import RenderedBy

__all__ = ["RESULT", "CandidateTake", "NotKnown", "Place", "Resources", "Scope", "Stage", "execute"]

I = TypeVar("I", bound=Inputs)  # noqa: E741
R = TypeVar("R", bound=Artifact)
A = TypeVar("A", bound=Artifact)
_Inputs = Inputs  # inside `Stage` that name is the class of its own inputs


@dataclass(frozen=True)
class Resources:
    """The resources that one worker of a stage holds: processor cores, share of a GPU, memory."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: int = 1500
    gpus_if_any: float = 0.0
    """Held instead of `gpus` on a cluster that has GPUs; on others no task waits for one."""
    picture_mb: float = 0.0
    """Megabytes held besides `memory_mb` for each megabyte of a decoded picture beyond one of 1920x1080 of 8 bits."""
    networks: str = ""
    """Which networks it keeps in its share of a GPU: no worker with others does its tasks. Empty: none of its own."""


class Scope(Enum):
    """The unit for which a stage is done once."""

    TITLE = "title"
    SHOT = "shot"
    DUB = "dub"
    DUB_SHOT = "shot of a dub"
    TAKE = "take of a shot of a dub"


@dataclass(frozen=True)
class CandidateTake:
    """One of several takes of a shot. name: what renders it, for people; take, score: None where one of them failed."""

    name: str
    take: Ref[Take] | None
    score: Ref[Scores] | None


class NotKnown(Exception):
    """A stage's inputs need something that is not known yet. The stage is asked again when more tasks are done."""


class Place(Protocol):
    """The place of a task in a job, which a stage asks for its inputs."""

    title: Title
    config: Config

    @property
    def dub(self) -> Dub:
        """The language, in the scope of a dub."""
        ...

    @property
    def shot(self) -> Shot:
        """The shot, in the scope of a shot; of a dub of a photograph it ends where the dub does."""
        ...

    @property
    def film(self) -> File:
        """The film that is analysed and dubbed."""
        ...

    @property
    def made_of(self) -> MadeOf | None:
        """How the film is made of a photograph; None where the picture is a film."""
        ...

    @property
    def frames_hint(self) -> int:
        """Frames of the film as its header promises them."""
        ...

    @property
    def rate(self) -> Fraction:
        """Nominal frames a second of the film."""
        ...

    @property
    def seekable(self) -> bool:
        """Whether a frame of the film is found without reading those before it."""
        ...

    @property
    def spans(self) -> tuple[FilmSpan, ...]:
        """The windows in which cuts of a long film are looked for, by its file's index; none of a short one, or where
        the index does not tell."""
        ...

    @property
    def square_pixels(self) -> bool:
        """Whether the film's pixels are shown as wide as they are high."""
        ...

    @property
    def has_sound(self) -> bool:
        """Whether the film has sound of its own."""
        ...

    @property
    def models_folder(self) -> str:
        """The folder of published models."""
        ...

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """The characters that people gave to faces of the title: (track id, character), by track."""
        ...

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Characters whose faces were named in shots that have other cuts by now, and who have no other face."""
        ...

    def file(self, path: Any) -> File:
        """A file of the manifest."""
        ...

    def tracks(self, path: Any) -> int:
        """How many sound tracks a file of the manifest has."""
        ...

    def ref(self, kind: type[A]) -> Ref[A]:
        """The result of that kind for this place, or for what it is part of. Raises NotKnown."""
        ...

    def has(self, kind: type[Artifact]) -> bool:
        """Whether there is or will be such a result."""
        ...

    def result(self, kind: type[A]) -> A:
        """The result itself. Raises NotKnown where it is not made yet."""
        ...

    def failed(self, kind: type[Artifact]) -> bool:
        """Whether what makes such a result for this place failed in this run."""
        ...

    def each(self, kind: type[A]) -> tuple[Ref[A] | None, ...]:
        """The results of every shot, in order; None where one failed or is not made at all. Raises NotKnown."""
        ...

    def takes(self, frames: tuple[int, int] | None = None) -> tuple[tuple[Ref[Any], ...], tuple[Ref[Any], ...]]:
        """The takes that go into the master of a dub, and all that must have ended before it is made. frames: only
        those of shots of which some frame is in [start, end)."""
        ...

    @property
    def rendered_by(self) -> RenderedBy:
        """The generators of this take, in the scope of a take."""
        ...

    @property
    def candidates(self) -> Mapping[str, tuple[CandidateTake, ...]]:
        """Of the shots of this dub that have several takes by the manifest, by their ids: these. Raises NotKnown."""
        ...

    def generator_hash(self, choice: GeneratorChoice) -> str:
        """12 hex digits of a generator's weights and settings."""
        ...

    def learnt(self, choice: GeneratorChoice) -> File | None:
        """What was fine-tuned for a generator on this title, where there is such and the generator takes it."""
        ...

    def generator_wants(self, what: str, choice: GeneratorChoice | None = None) -> bool:
        """Whether a generator declares that it uses this part of a title's analysis (`Generator.wants`); None: whether
        any generator of the title's shots does."""
        ...

    @property
    def asked(self) -> tuple[tuple[int, int], ...] | None:
        """The frames [start, end) of this shot that may be re-rendered in this dub; None for all of them."""
        ...

    def looks(self, character: str | None) -> tuple[FilmLook, ...]:
        """How a face of this shot is to look, of which a character is known or not."""
        ...

    @property
    def expert(self) -> str:
        """The sync expert that scores, `name@hash12`."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of other packages that are measured too, `name@version of package`."""
        ...

    @property
    def prior(self) -> str:
        """Key of what actors are fitted on."""
        ...

    @property
    def lent(self) -> tuple[File, ...] | None:
        """What was taken from other runs for this title's actors, each the result.json of a `LentActors`; None where
        nothing is asked of others."""
        ...

    @property
    def active_speaker(self) -> str | None:
        """`name@hash12` of the detector whose evidence of who speaks is weighed; None where there is none."""
        ...

    @property
    def face_descriptor(self) -> str | None:
        """`name@hash12` of the network that tells people apart; None where there is none."""
        ...

    @property
    def voices(self) -> str | None:
        """`name@hash12` of the network that tells the voices of a dub apart; None where there is none."""
        ...

    @property
    def masters(self) -> tuple[tuple[str, MasterChoice], ...]:
        """File name of each of this dub's masters, and how it is asked for."""
        ...

    @property
    def signing(self) -> Signing | None:
        """How masters are signed; None where they are not."""
        ...

    @property
    def consented(self) -> tuple[str, ...] | None:
        """The characters whose consent is there, sorted; None where it is not required."""
        ...


class Stage(ABC, Generic[I, R]):
    """One kind of work. A subclass `Stage[ItsInputs, ItsResult]` sets `name` and `scope` and defines `inputs` and
    `process`; it raises `version` when results change."""

    Inputs: ClassVar[type[Any]]
    Result: ClassVar[type[Any]]
    name: ClassVar[str]
    scope: ClassVar[Scope]
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()
    profits_from_gpu: ClassVar[bool] = False  # whether a GPU, where there is one, is worth holding
    expands: ClassVar[bool] = False  # whether its end makes more tasks known
    bad_input_costs: ClassVar[Literal["run", "shot"]] = "run"  # what a picture that it cannot use costs
    chain_ms: ClassVar[float] = 0.0  # about the milliseconds that a frame costs here and in all that waits for it
    of_the_files: ClassVar[bool] = (
        False  # whether it tells of the very files that it is given, whatever they are made of
    )
    folder: ClassVar[str] = ""  # beginning of its results' names, where that is not `name`

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            given = get_args(base)
            if len(given) == 2 and all(isinstance(g, type) for g in given):
                cls.Inputs, cls.Result = given

    @classmethod
    def inputs(cls, at: Place) -> I | None:
        """The inputs at a place; None where this stage has nothing to do for it. Raises NotKnown.

        A stage that is no part of a title's way does not define it.
        """
        return None

    @classmethod
    def where(cls, home: Path, shot: str | None, key: str, inputs: _Inputs) -> Path:
        """The folder of a result. home: of the title's analysis, or of the dub; shot: id, where it is of a shot."""
        name = cls.folder or cls.name
        return home / name / f"{shot}-{key[:12]}" if shot else home / f"{name}-{key[:12]}"

    @classmethod
    def covers(cls, inputs: _Inputs, at: Place) -> int:
        """How many frames a task of a whole film covers, for progress; 0 where it does not go frame by frame."""
        return 0

    @classmethod
    def windows(cls, inputs: I, at: Place) -> list[I]:
        """The inputs of tasks that do a long shot, or a long film, part by part; none where one task does it."""
        if not isinstance(inputs, Windowed):
            return []
        parts = windows(inputs.start, inputs.end)
        return [replace(inputs, window=part) for part in parts] if len(parts) > 1 else []

    @classmethod
    def joins(cls, inputs: I, parts: tuple[Ref[Any], ...]) -> I:
        """The inputs of the task that joins what windows have left."""
        assert isinstance(inputs, Windowed)
        return replace(inputs, parts=parts)

    @classmethod
    def rendered_by(cls, inputs: _Inputs) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Name and settings of the generators that do a task, each once; none where none does."""
        return ()

    @classmethod
    def weight(cls, frames: float) -> float:
        """A task's `Task.weight`; one without frames of its own is heavy, because others wait for it."""
        return cls.chain_ms * (frames or 1e6)

    @classmethod
    def key(cls, inputs: _Inputs) -> str:
        """sha256 (hex) of the stage, its version and the inputs that count."""
        return key_of(cls.name, cls.version, cls.Result.schema, inputs.counted())

    def setup(self) -> None:  # noqa: B027 - not every stage has a model
        """Load models. Called once per worker, before the first task."""

    @abstractmethod
    def process(self, inputs: I, out: Path, progress: Callable[[int], None]) -> R:
        """Do one task: write files into `out`, return what is kept as result.json.

        progress(n): n more frames are finished. Raises StageError (or anything: the shot fails),
        or InputError when the user's input is at fault and the run must stop.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of models and files. Called in `finally`."""


@contextmanager
def _one_thread_of_opencv() -> Iterator[None]:
    """A worker has one core: threads of OpenCV that share it wait for each other, which costs processor time."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def execute(stage: Stage[Any, Any], task: Task, store: Store, progress: Callable[[int], None]) -> Outcome:
    """Run one task on a stage that is set up, commit its folder, and say how it ended.

    Never raises for what a task does wrong; an InputError is handed back as `fatal`, and so is a file that was
    changed meanwhile, whatever it made of the task.
    """
    started, cpu = time.monotonic(), time.process_time()
    try:
        # one thread for sums: how many there are must not change the last digit of a score
        with threadpool_limits(limits=1), _one_thread_of_opencv(), store.commit(task.folder) as part:
            result = stage.process(task.inputs, part, progress)
            # cpu_s is of all threads, and a busy machine does not stretch it; a long shot costs its windows too
            parts = (isinstance(task.inputs, Windowed) and task.inputs.parts) or ()
            windows = [Spent.of(read_folder(p.folder)) for p in parts]
            seconds = time.monotonic() - started + sum(w.seconds for w in windows)
            cpu_s = time.process_time() - cpu + sum(w.cpu_s for w in windows)
            spent = {"seconds": round(seconds, 3), "cpu_s": round(cpu_s, 3), "key": task.key}
            (part / RESULT).write_bytes(json_bytes({**result.to_dict(), **spent}))
            if changed := task.inputs.changed():
                raise InputError(changed)
    except Exception as e:
        lasted_s, changed = time.monotonic() - started, task.inputs.changed()
        fatal = InputError(changed) if changed else e if isinstance(e, InputError) else None
        if fatal is not None:
            return Outcome(task.id, lasted_s, str(fatal), type(fatal).__name__, fatal=fatal)
        kind = type(e).__name__
        return Outcome(task.id, lasted_s, f"{kind}: {e}", kind, traceback.format_exc())
    return Outcome(task.id, time.monotonic() - started)
