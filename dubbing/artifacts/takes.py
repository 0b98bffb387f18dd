"""One attempt at one shot in one language, its scores, and the master that is made of takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from dubbing.artifact import Artifact
from dubbing.media import Looked

__all__ = [
    "SHEET",
    "STILL_FILM",
    "FaceScores",
    "Master",
    "Scores",
    "Signed",
    "StillFilm",
    "Take",
    "TakeFace",
    "seen_file",
]

SHEET = "sheet.jpg"  # source above result, mouths enlarged, a block for each rendered face
"""The contact sheet: beside the patches, or beside the scores where nobody looked at the take while it was made."""
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
    """Frames [start, end) of the title that are re-rendered; of a photograph that performs, all in which it may; with
    those in which only an expression is changed."""
    sound: str = ""
    """The stem that drives it, by character; empty for the dub's one dialogue."""
    generator: str = ""
    """What renders it, `name@hash12`, where the faces of its take are rendered by several; empty for the take's own."""


@dataclass(frozen=True)
class Take(Artifact):
    """The patches of one shot, or the reason why it has none. Its folder holds a folder of patches for each face."""

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
    """The rendered faces, in order of how long they speak, longest first."""
    frames: int = 0
    """Patches in all."""
    generator: str | None = None
    """Name of the generator that rendered."""
    generator_hash: str | None = None
    """12 hex digits of its weights and settings."""
    choice: Mapping[str, Any] | None = None
    """The generator as a manifest names it: `name` and `settings`; `by_face` where several render its faces."""
    doubt: str | None = None
    """Why somebody should look, where the evidence for what was decided is thin."""
    occluded_frames: int = 0
    """Frames in which its faces speak the dub and are not rendered, because their mouths are hidden."""
    covered_frames: int = 0
    """Patches that leave out something that lies over the face."""

    @property
    def generators(self) -> tuple[str, ...]:
        """What rendered its faces, `name@hash12`, each once, sorted."""
        own = f"{self.generator}@{self.generator_hash}"
        return tuple(sorted({face.generator or own for face in self.faces})) if self.generator else ()

    @property
    def rendered(self) -> tuple[TakeFace, ...]:
        """The faces that have patches."""
        return tuple(face for face in self.faces if face.frames)


@dataclass(frozen=True)
class FaceScores:
    """What was measured of one rendered face, over its rendered frames; None where it could not be. Columns of
    `dub.face.1` by their names."""

    track: str
    """Id of its track."""
    start_frame: int
    """The first frame that is rendered."""
    end_frame: int
    """The frame after the last that is rendered; between the two there may be frames that are not."""
    rendered_frames: int
    """How many are rendered."""
    face_px: float | None = None
    """Its median height in pixels."""
    yaw_deg: float | None = None
    """Its median turn in degrees."""
    lse_d: float | None = None
    """LSE-D of the take with the dub."""
    lse_c: float | None = None
    """LSE-C of the take with the dub."""
    lse_offset_frames: float | None = None
    """Offset of the take, 25ths of a second, positive where the sound is early."""
    lse_at_zero: float | None = None
    """The take's distance at shift 0."""
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
    """How many windows the score rests on: those whose every frame is rendered."""
    following: float | None = None
    """Correlation of the wanted with the re-detected mouth opening."""
    rest_opening: float | None = None
    """Median mouth opening while the dub is silent, inter-ocular distances."""
    silence_motion: float | None = None
    """Mouth motion while the dub is silent over the source's while it is."""
    lip_leak: float | None = None
    """Mouth motion while the dub is silent over that of the source in speech."""
    sharpness: float | None = None
    """Mouth detail, take over source, 1 = equal."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Values of other packages' metrics, by column, `metric_<name>`."""

    def row(self) -> dict[str, Any]:
        """All of it by column, None where there is no number."""
        return {**{f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}, **self.metrics}


@dataclass(frozen=True)
class Scores(Artifact):
    """What was measured of a take: of each face that was rendered, the one that speaks longest first."""

    schema: ClassVar[str] = "dub.scores.2"
    faces: tuple[FaceScores, ...] = ()
    """None of a take without patches."""


def seen_file(folder: Path, face: str) -> Path:
    """Where the curves of a rendered face lie. folder: of the scores; face: its folder in the take, or its track."""
    return folder / f"seen_{face.rsplit('/', 1)[-1]}.npz"


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
    others: tuple[str, ...] = field(default=())
    """Names of further files: other masters of the same pictures and sound."""
    looked: tuple[tuple[Looked, ...] | None, ...] = field(default=())
    """Of each file, or of a window's part of it, what was seen of its pictures while they were made; None where they
    are to be looked at in the file."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all of its files."""
        return (self.file, *self.others)


@dataclass(frozen=True)
class Signed(Artifact):
    """The signatures of a dub's masters."""

    schema: ClassVar[str] = "dub.signed.1"
    always_read: ClassVar[bool] = True
    by: str
    """Who signed, `Signer, House`."""
    inside: tuple[str, ...] = ()
    """Masters that carry their signature, by name: copies of them lie in the folder."""
    beside: tuple[str, ...] = ()
    """Names of the files that hold the signatures of the others."""
    said: tuple[str, ...] = ()
    """What was read back of each master's signature, in their order, as `dub verify` says it."""


@dataclass(frozen=True)
class StillFilm(Artifact):
    """The film that a photograph became, as `STILL_FILM` in its folder."""

    schema: ClassVar[str] = "dub.still.2"
    frames: int
    """Frames of the film."""
    left: str | None = None
    """Why the expression that was asked for is not there, a sentence; None where it is, or none was asked for."""
