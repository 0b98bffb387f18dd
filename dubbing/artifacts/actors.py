"""How each person of a title moves the mouth with sound, fitted on the title's own dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dubbing.artifact import Artifact

__all__ = ["FittedActors"]


@dataclass(frozen=True)
class FittedActors(Artifact):
    """The models of a title's people, as files in its folder; they are never copied elsewhere."""

    schema: ClassVar[str] = "dub.actors.1"
    model_files: Mapping[int, str]
    """Name of the model's file by the person's number (`Speaking.actor`); with too little dialogue there is none."""
    dialogue_s: Mapping[int, float]
    """Seconds of dialogue of each person."""
