"""Who speaks in each shot of the original, and which of the faces may be dubbed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from dubbing.artifact import Artifact

__all__ = ["Decision", "FaceEvidence", "Speaking", "SpeakerList"]


@dataclass(frozen=True)
class Speaking:
    """One face that speaks in a shot and may be dubbed."""

    track: str
    """Id of the track."""
    actor: int
    """Number of the person; the same number is the same person everywhere in the title."""
    stretches: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title in which it speaks."""


@dataclass(frozen=True)
class FaceEvidence:
    """Why a face was taken for a speaker, or not."""

    in_speech: float | None
    """Mean lip activity while there is speech (inter-ocular distances a second); None without speech."""
    in_quiet: float | None
    """Mean lip activity while there is no speech; None where there is always some."""
    speaks_s: float
    """Seconds in which this face was found to speak."""


@dataclass(frozen=True)
class Decision:
    """The decision for one shot."""

    shot: str
    """Id of the shot."""
    track: str | None
    """The main speaker's track, else the largest face's; None without a face."""
    reason: str | None
    """Why nobody may be dubbed, a reason code of `dub.shot.1`; None where somebody may."""
    face_px: float | None
    """Median height of that face in pixels."""
    yaw_deg: float | None
    """Median turn of that head, degrees, positive to the picture's right."""
    actor: int | None
    """The main speaker's person; None where nobody may be dubbed."""
    tracks: tuple[Speaking, ...] = ()
    """Every face that may be dubbed, in order of how long it speaks, longest first."""
    speech_s: float = 0.0
    """Seconds of speech in the shot."""
    evidence: Mapping[str, FaceEvidence] = field(default_factory=dict)
    """The evidence for each face, by the last part of its track's id."""
    source_speech: tuple[tuple[int, int], ...] = ()
    """Frames [start, end) of the title with speech in the original."""


@dataclass(frozen=True)
class SpeakerList(Artifact):
    """The speakers of a title."""

    schema: ClassVar[str] = "dub.speakers.1"
    decisions: tuple[Decision, ...]
    """One a shot, in order."""
    actors: int
    """How many people may be dubbed."""
    unheard: bool = False
    """True where the film has sound, but no dialogue: nobody can be heard to speak, and faces were taken by sight."""

    @cached_property
    def by_shot(self) -> Mapping[str, Decision]:
        """The decisions by shot id."""
        return {d.shot: d for d in self.decisions}
