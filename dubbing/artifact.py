"""The contract of what a stage leaves: a frozen dataclass, kept as `result.json` in a folder of its own.

A kind of result has a schema, `dub.faces.1`: its number goes up when fields change their meaning or go, and what was
written under another is not read. Whoever reads a result reads it through its class; nobody looks into another's JSON.
Knows no stage and no task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from dubbing.errors import OutputError
from dubbing.store import RESULT, Stamp, read_folder

__all__ = ["Artifact", "File", "Ref", "Spent"]

A = TypeVar("A", bound="Artifact")


@dataclass(frozen=True)
class Artifact:
    """Base of all results. Subclasses are frozen dataclasses of plain values, and name their `schema`."""

    schema: ClassVar[str]
    always_read: ClassVar[bool] = False
    """Whether every run reads its files, or people take them away: where it is found done, all that is in them is
    looked at."""

    @classmethod
    def of(cls, value: Mapping[str, Any], where: Path | str = "") -> Self:
        """The result in a JSON value. where: for the message. Raises OutputError: another schema, or damaged."""
        if not isinstance(value, Mapping) or value.get("schema") != cls.schema:
            kind = value.get("schema") if isinstance(value, Mapping) else type(value).__name__
            raise OutputError(
                f"{str(where) or 'A result'} is of the kind {kind!r} and not {cls.schema!r}: it is of "
                "another version of dub; run the job again."
            )
        names = {f.name for f in fields(cls)}
        try:
            adapter: TypeAdapter[Self] = _adapter(cls)  # type: ignore[arg-type]
            return adapter.validate_python({k: v for k, v in value.items() if k in names})
        except ValidationError as e:
            place = ".".join(str(x) for x in e.errors()[0]["loc"])
            raise OutputError(f"{str(where) or 'A result'} is damaged at {place!r}; run the job again.") from e

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """The result in a folder. Raises FileNotFoundError, and OutputError as `of`."""
        path = Path(folder) / RESULT
        try:
            value = read_folder(Path(folder))
        except ValueError as e:
            raise OutputError(f"{str(path)!r} is damaged; remove its folder and run the job again.") from e
        return cls.of(value, path)

    def to_dict(self) -> dict[str, Any]:
        """The JSON value, schema included."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"schema": self.schema, **to_jsonable_python(own)}


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


@dataclass(frozen=True)
class Spent:
    """What a task cost, kept beside its result. A long shot's counts its windows too."""

    seconds: float
    """Wall seconds."""
    cpu_s: float
    """Processor seconds of all threads."""

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Spent:
        """From the JSON value of a result."""
        seconds = float(value.get("seconds", 0.0))
        return cls(seconds, float(value.get("cpu_s", seconds)))


@dataclass(frozen=True)
class File:
    """A file that was given, not made: of the manifest, or a film made of a photograph."""

    path: Path
    """Where it lies on this machine."""
    content: str
    """Key of what it holds; two files with one key are the same."""
    stamp: Stamp | None = field(default=None, compare=False)
    """What the file looked like when `content`, its sha256, was taken; None where that is no hash of its bytes."""


@dataclass(frozen=True)
class Ref(Generic[A]):
    """Another stage's result, made or not yet."""

    kind: type[A]
    """Its class, which reads it."""
    task: str
    """Id of the task that makes it."""
    key: str
    """Key of everything that it depends on."""
    folder: Path
    """Where it lies once it is made."""

    def read(self) -> A:
        """The result itself. Raises as `Artifact.read`."""
        return self.kind.read(self.folder)
