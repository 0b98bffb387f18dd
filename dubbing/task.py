"""One piece of work: who it is for, what it depends on, how it ended. It knows no engine.

The inputs of a stage are a frozen dataclass. Its key is derived from them: every field counts, but those that say at
their definition why they do not. What a task waits for follows from the references among its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dubbing.artifact import File, Ref
from dubbing.errors import InputError
from dubbing.store import content_of, stamp_of

__all__ = ["Inputs", "Outcome", "Task", "Windowed", "WindowedFilm", "awaited", "located", "uncounted"]

_UNCOUNTED, _AWAITED, _UNREAD = "uncounted", "awaited", "unread"


def uncounted(why: str, *, default: Any = MISSING) -> Any:
    """An input that does not change what comes out. why: the reason; default: as dataclasses have it."""
    return field(default=default, metadata={_UNCOUNTED: why})


def awaited(*, why: str | None = None, read: bool = True, default: Any = MISSING) -> Any:
    """References that need only have ended, well or not; what failed is None or absent. why: as of `uncounted`; read:
    False where nothing of them is read, and what failed may stand among them too."""
    marks: dict[str, Any] = {_AWAITED: True} | ({_UNCOUNTED: why} if why else {}) | ({} if read else {_UNREAD: True})
    return field(default=default, metadata=marks)


@dataclass(frozen=True)
class Inputs:
    """Base of what stages are given: frozen dataclasses of `File`, `Ref`, plain values and tuples of them."""

    def counted(self) -> dict[str, Any]:
        """The parts of the key, by field: a file's content, a result's key, a plain value. Fields that are None
        and None by default are left out, so that a new optional field changes no key."""
        own = {f.name: (f, getattr(self, f.name)) for f in fields(self)}
        return {
            name: _part(value)
            for name, (f, value) in own.items()
            if _UNCOUNTED not in f.metadata and not (value is None and f.default is None)
        }

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the tasks that must have succeeded."""
        return tuple(dict.fromkeys(r.task for f, r in self._refs() if _AWAITED not in f.metadata))

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the tasks that must have ended, well or not."""
        return tuple(dict.fromkeys(r.task for f, r in self._refs() if _AWAITED in f.metadata))

    def read(self) -> Iterator[File | Ref[Any]]:
        """The files and results that are read: not those that are only waited for."""
        for f in fields(self):
            if _UNREAD not in f.metadata:
                yield from (one for one in _leaves(getattr(self, f.name)) if isinstance(one, File | Ref))

    def changed(self) -> str | None:
        """Why what was made of these files is not what its key says, as a sentence; None where they are as they were.
        Where a file looks otherwise than when its key was taken, its content decides."""
        for one in self.read():
            if not isinstance(one, File) or one.stamp is None:
                continue
            what = "changed"
            try:
                stamp = stamp_of(one.path)
                same = stamp == one.stamp or content_of(one.path, stamp) == one.content
            except (OSError, InputError) as e:
                same, what = False, "removed" if isinstance(e, FileNotFoundError) else what
            if not same:
                return (
                    f"{one.path} was {what} while the run was going; nothing is kept of what was being made of it: "
                    "put the file there that is meant, whole, and run the same command again."
                )
        return None

    def _refs(self) -> Iterator[tuple[Field[Any], Ref[Any]]]:
        for f in fields(self):
            for one in _leaves(getattr(self, f.name)):
                if isinstance(one, Ref):
                    yield f, one


@dataclass(frozen=True)
class Windowed(Inputs):
    """Inputs of a stage that does a long shot in windows, which are then joined."""

    start: int
    """First frame of the shot."""
    end: int
    """The frame after its last."""
    window: tuple[int, int] | None = field(default=None, kw_only=True)
    """Frames [start, end) of a long shot that this task does; None for all."""
    parts: tuple[Ref[Any], ...] | None = field(
        default=None, kw_only=True, metadata={_UNCOUNTED: "windows are made of the same inputs"}
    )
    """Instead of working, join what was done for these windows."""

    @property
    def bounds(self) -> tuple[int, int]:
        """The frames [start, end) to be done."""
        return self.window or (self.start, self.end)


@dataclass(frozen=True)
class WindowedFilm(Windowed):
    """Inputs of a stage that does a long film in windows, which are then joined."""

    start: int = field(
        default=0, kw_only=True, metadata={_UNCOUNTED: "a film begins with its first frame, and a window says its own"}
    )
    """First frame of the film: 0."""
    end: int = field(default=0, kw_only=True, metadata={_UNCOUNTED: "the film's content, or its length, is counted"})
    """The frame after its last."""


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _part(value: Any) -> Any:
    """An input as a part of a key: plain JSON."""
    if isinstance(value, File):
        return value.content
    if isinstance(value, Ref):
        return value.key
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        counted = (f for f in fields(value) if _UNCOUNTED not in f.metadata)
        return {f.name: _part(getattr(value, f.name)) for f in counted}
    if isinstance(value, Mapping):
        return {str(k): _part(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_part(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"an input of the type {type(value).__name__} cannot be part of a key")


def located(inputs: Inputs, bring: Callable[[Mapping[str, str]], Mapping[str, Any]]) -> Inputs:
    """The same inputs with every path that is read present on this machine. bring: `Store.bring`."""
    paths: dict[str, str] = {}
    for f in fields(inputs):
        if _UNREAD in f.metadata:
            continue
        for n, one in enumerate(_leaves(getattr(inputs, f.name))):
            if isinstance(one, (File, Ref)):
                paths[f"{f.name} {n}"] = str(one.path if isinstance(one, File) else one.folder)
    here = bring(paths)

    def moved(name: str, value: Any) -> Any:
        count = -1

        def walk(one: Any) -> Any:
            nonlocal count
            if isinstance(one, tuple):
                return tuple(walk(v) for v in one)
            count += 1
            path = here.get(f"{name} {count}")
            if path is None:
                return one
            return replace(one, path=Path(path)) if isinstance(one, File) else replace(one, folder=Path(path))

        return walk(value)

    return replace(inputs, **{f.name: moved(f.name, getattr(inputs, f.name)) for f in fields(inputs) if f.init})


@dataclass(frozen=True)
class Task:
    """One piece of work, keyed by everything its result depends on."""

    kind: type[Any]
    """The class of the stage that does it (`dubbing.stage.Stage`)."""
    key: str
    """sha256 (hex) of the stage, its version and the inputs that count."""
    folder: Path
    """Where the result is committed; whether it is done, the store says."""
    inputs: Inputs
    """What the stage is given."""
    title: str
    """Id of the title."""
    language: str | None = None
    """Of the dub; None for what all dubs share."""
    shot: str | None = None
    """Id of the shot; None for what is done for a whole film."""
    window: int | None = None
    """Number, from 1, of the window of a long shot that another task joins; None for whole shots."""
    frames: int = 0
    """How many frames it covers, for progress."""
    span: int = 0
    """Frames of film that it works through or joins, for its deadline, where these are more."""
    variant: str | None = None
    """Which of several takes of its shot it makes or measures; None where the manifest asks for one."""
    windows: tuple[Task, ...] = ()
    """Tasks that do a long shot part by part, which this one then joins."""
    rank: int = 0
    """Rank: tasks of a smaller one go first."""
    holds: Any = None
    """What a worker that does it holds (`dubbing.stage.Resources`), where that is another than its stage's workers."""
    weight: float = 0.0
    """Within a rank the heaviest go first: about the milliseconds of this task and of all that wait for it."""
    _known: tuple[str, tuple[str, ...], tuple[str, ...]] | None = field(
        default=None, init=False, repr=False, compare=False
    )  # `id`, `needs` and `after`, once asked for; cached properties would take twice the memory of a task

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.kind.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the tasks that must have succeeded."""
        return self._facts[1]

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the tasks that must have ended, well or not."""
        return self._facts[2]

    @property
    def id(self) -> str:
        """For people and logs, and unique in a run: `lipsync reel/fr/shot_0002/window_3`. It is never parsed."""
        return self._facts[0]

    @property
    def _facts(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        if self._known is None:
            object.__setattr__(self, "_known", (f"{self.stage} {self.where}", self.inputs.needs, self.inputs.after))
            assert self._known is not None
        return self._known

    @property
    def where(self) -> str:
        """The place it is done for: `reel/fr/shot_0002`; of one of several takes `reel/fr/shot_0002/rewrite`."""
        window = None if self.window is None else f"window_{self.window}"
        return "/".join(part for part in (self.title, self.language, self.shot, self.variant, window) if part)

    @property
    def ref(self) -> Ref[Any]:
        """Its result, for the inputs of others."""
        return Ref(self.kind.Result, self.id, self.key, self.folder)


@dataclass(frozen=True)
class Outcome:
    """How one task ended."""

    id: str
    """The task's."""
    seconds: float
    """Wall seconds that it took."""
    error: str | None = None
    """What went wrong; None when it succeeded."""
    error_class: str | None = None
    """Name of the exception's class."""
    trace: str = field(default="", repr=False)
    """Where it went wrong."""
    fatal: InputError | None = None
    """The error, where the user's input is wrong."""
    damaged: Path | None = None
    """The folder of a result that it should have read, where that is damaged."""
