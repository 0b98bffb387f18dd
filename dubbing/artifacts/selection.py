"""Which of several takes of a shot is delivered, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from dubbing.artifact import Artifact

__all__ = ["Candidate", "Selection", "ShotSelection"]


@dataclass(frozen=True)
class Candidate:
    """One of the takes of a shot that were compared."""

    generator: str
    """What rendered it, for people."""
    take: str
    """12 hex digits of its key."""
    score: float | None = None
    """Less is better, in units of LSE-D; None where it could not be measured."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Of what the score is the sum, by name: `sync`, and each guard that is broken."""
    failed: bool = False
    """Whether it was not rendered, or could not be measured for a fault."""


@dataclass(frozen=True)
class ShotSelection:
    """What was selected of one shot."""

    shot: str
    """Id of the shot."""
    chosen: int
    """Number of the candidate that is delivered, from 0."""
    why: str
    """The reason, with the scores, a sentence without its end."""
    candidates: tuple[Candidate, ...]
    """All of them, in the order of the manifest."""
    doubt: str | None = None
    """Why somebody should look: one of them failed, or nothing could be measured."""


@dataclass(frozen=True)
class Selection(Artifact):
    """What was selected of the shots of a dub that have several takes by the manifest."""

    schema: ClassVar[str] = "dub.selection.1"
    shots: tuple[ShotSelection, ...]
    """One a shot with several takes, in order."""

    @cached_property
    def by_shot(self) -> Mapping[str, ShotSelection]:
        """The selections by shot id."""
        return {one.shot: one for one in self.shots}
