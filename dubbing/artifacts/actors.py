"""How each person of a title moves the mouth with sound, fitted on the title's own dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dubbing.artifact import Artifact

__all__ = ["FittedActors"]


@dataclass(frozen=True)
class FittedActors(Artifact):
    """The models of a title's people, as files in its folder. They go nowhere else."""

    schema: ClassVar[str] = "dub.actors.1"
    models: Mapping[int, str]
    """By the person's number (`Speaking.actor`) the name of the model's file; nobody without enough dialogue."""
    dialogue_s: Mapping[int, float]
    """Seconds of dialogue that there were of each person."""
