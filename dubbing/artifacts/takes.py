"""One attempt at one shot in one language, its scores, and the master that is made of takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from dubbing.artifact import Artifact

__all__ = ["SHEET", "STILL_FILM", "Master", "Scores", "StillFilm", "Take", "TakeFace"]

SHEET = "sheet.jpg"  # beside the scores: source above result, mouths enlarged
STILL_FILM = "film.mp4"  # what a photograph becomes


@dataclass(frozen=True)
class TakeFace:
    """One rendered face of a take."""

    track: str
    """Id of the track."""
    folder: str
    """Name of the folder of its patches, inside the take's."""
    frames: int
    """How many patches there are."""
    actor: int
    """Number of the person."""
    lines: tuple[tuple[int, int], ...]
    """Frames [start, end) of the title that are re-rendered."""


@dataclass(frozen=True)
class Take(Artifact):
    """What was rendered for one shot, or why nothing was. Its folder holds a folder of patches for each face."""

    schema: ClassVar[str] = "dub.take.1"
    status: str
    """`dubbed` or `untouched`."""
    reason: str | None
    """Reason code where it is untouched."""
    face: str | None
    """Track of the main speaker, else of the largest face."""
    face_px: float | None
    """Its median height in pixels."""
    yaw_deg: float | None
    """Its median turn in degrees."""
    faces: tuple[TakeFace, ...] = ()
    """What was rendered, the one that speaks longest first."""
    frames: int = 0
    """Patches in all."""
    generator: str | None = None
    """Name of the generator that rendered."""
    generator_hash: str | None = None
    """12 hex digits of its weights and settings."""
    choice: Mapping[str, Any] | None = None
    """The generator as a manifest names it: `name` and `settings`."""


@dataclass(frozen=True)
class Scores(Artifact):
    """What was measured of a take; None where it could not be. Columns of `dub.shot.1` by their names."""

    schema: ClassVar[str] = "dub.scores.1"
    lse_d: float | None = None
    """LSE-D of the take with the dub."""
    lse_c: float | None = None
    """LSE-C of the take with the dub."""
    lse_offset_frames: float | None = None
    """25ths of a second, positive where the sound is early."""
    lse_at_zero: float | None = None
    """The distance at shift 0."""
    source_lse_d: float | None = None
    """LSE-D of the original with its own sound."""
    source_lse_c: float | None = None
    """LSE-C of the original with its own sound."""
    source_lse_offset_frames: float | None = None
    """Offset of the original with its own sound."""
    source_lse_at_zero: float | None = None
    """The original's distance at shift 0."""
    foreign_lse_at_zero: float | None = None
    """Distance at shift 0 of the untouched picture with the dub's sound."""
    lse_model: str | None = None
    """The sync expert, `name@hash12`."""
    lse_windows: int | None = None
    """How many windows the score rests on."""
    following: float | None = None
    """Correlation of the wanted with the re-detected mouth opening."""
    rest_opening: float | None = None
    """Median mouth opening while the dub is silent, inter-ocular distances."""
    silence_motion: float | None = None
    """Mouth motion while the dub is silent over the source's while it is."""
    sharpness: float | None = None
    """Mouth detail, take over source, 1 = equal."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What other packages' metrics say, by column, `metric_<name>`."""

    def measured(self) -> dict[str, Any]:
        """The numbers that there are, by column."""
        own = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name != "metrics")
        return {**{name: value for name, value in own if value is not None}, **self.metrics}


@dataclass(frozen=True)
class Master(Artifact):
    """A finished master."""

    schema: ClassVar[str] = "dub.master.1"
    always_read: ClassVar[bool] = True
    file: str
    """Name of the file in its folder."""
    frames: int
    """Frames that it holds."""
    notices: tuple[str, ...] = field(default=())
    """Sentences about what differs from the source."""


@dataclass(frozen=True)
class StillFilm(Artifact):
    """The film that a photograph became, as `STILL_FILM` in its folder."""

    schema: ClassVar[str] = "dub.still.1"
    frames: int
    """Frames of the film."""
    faces: int
    """Faces that blink."""
    head: bool
    """Whether a head sways."""
