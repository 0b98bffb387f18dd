"""Who says what in a dub: the speaker turns of each shot, and the face that each belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from dubbing.artifact import Artifact
from dubbing.records import Track

__all__ = ["FaceTurns", "ShotTurns", "TurnList"]


@dataclass(frozen=True)
class FaceTurns:
    """What one face of a shot says in the dub."""

    track: str
    """Id of the track."""
    actor: int
    """Number of the person."""
    own: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title in which it speaks in the original."""
    says: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title in which it speaks in the dub."""
    character: str | None = field(default=None, metadata={"uncounted": "a name alone renders no other mouth"})
    """Name of the character, where it is known."""
    sound: str = ""
    """The stem that drives it, by character; empty for the dub's one dialogue."""
    by: str = "nearest"
    """How that was decided: `nearest` to what it says in the original, by its `stem`, by `lines`, by its `voice`."""

    @property
    def rests(self) -> bool:
        """Whether its mouth comes to rest: it is known to say nothing, and spoke in the original."""
        return not self.says and self.by in ("stem", "lines")


@dataclass(frozen=True)
class ShotTurns:
    """The turns of one shot."""

    shot: str
    """Id of the shot."""
    heard: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title in which the dub speaks, whoever it is."""
    faces: tuple[FaceTurns, ...] = ()
    """The faces that may be rendered, in order of how long they speak, longest first."""
    doubt: str | None = None
    """Why somebody should look at it, where the evidence is thin."""
    left: bool = False
    """True where somebody could be rendered whom the manifest leaves alone."""
    reason: str | None = None
    """Why nobody may be rendered, a reason code of `dub.shot.1`, where stems or lines say so."""

    def resting(self, tracks: Mapping[str, Track]) -> tuple[FaceTurns, ...]:
        """The faces that come to rest where they spoke in the original: another says something in sight, and they say
        nothing, or only what falls to them while they are out of sight, as in a dissolve. tracks: by id."""
        spans = [(tracks[f.track].start_frame, tracks[f.track].end_frame) for f in self.faces]
        heard = [
            any(a < end and start < b for a, b in f.says) for f, (start, end) in zip(self.faces, spans, strict=True)
        ]
        silent = (f for f, seen in zip(self.faces, heard, strict=True) if not seen and (f.says or f.rests))
        return tuple(silent) if any(heard) else ()


@dataclass(frozen=True)
class TurnList(Artifact):
    """The turns of a dub."""

    schema: ClassVar[str] = "dub.turns.1"
    shots: tuple[ShotTurns, ...]
    """One a shot, in order."""
    notices: tuple[str, ...] = ()
    """Sentences for people about what this rests on."""

    @cached_property
    def by_shot(self) -> Mapping[str, ShotTurns]:
        """The turns by shot id."""
        return {one.shot: one for one in self.shots}
