"""Cast: which character of a title each face plays. It knows faces and names, and no voice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dubbing.artifact import Ref
from dubbing.artifacts.people import Cast, People, named_tracks
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs

__all__ = ["FindCast", "FindCastInputs"]


@dataclass(frozen=True)
class FindCastInputs(Inputs):
    """The inputs of the stage `cast`."""

    people: Ref[People]
    """Which tracks show one person."""
    named: tuple[tuple[str, str], ...]
    """The names that people gave: (track id, character)."""


class FindCast(Stage[FindCastInputs, Cast]):
    """The characters of one title."""

    name: ClassVar[str] = "cast"
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=700)
    expands = True
    chain_ms = 60.0

    @classmethod
    def inputs(cls, at: Place) -> FindCastInputs | None:
        if not at.named:
            return None
        return FindCastInputs(at.ref(People), at.named)

    def process(self, inputs: FindCastInputs, out: Path, progress: Callable[[int], None]) -> Cast:
        return Cast(named_tracks(inputs.people.read(), inputs.named))
