"""The shots of a title, with the times of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from dubbing.artifact import Artifact
from dubbing.records import Shot

__all__ = ["ShotList"]


@dataclass(frozen=True)
class ShotList(Artifact):
    """The shots of a film. Its folder holds the film's timeline too (`media.load_timeline`)."""

    schema: ClassVar[str] = "dub.shots.1"
    always_read: ClassVar[bool] = True
    frames: int
    """Frames of the film."""
    cuts: tuple[tuple[int, int], ...]
    """Frames [start, end) of each shot; they follow each other from 0 to `frames`."""
    mixes: tuple[tuple[int, int], ...] = ()
    """Frames [start, end) that show two scenes at once, or a scene and a plain picture: dissolves and fades, in order
    and apart. They mind no cut: a shot can hold one, and one can reach over a cut."""
    in_one_pass: str = ""
    """Why a long film was looked through in one pass although its file promised windows, in words; empty where it was
    not."""

    @cached_property
    def shots(self) -> list[Shot]:
        """The shots in order, numbered from 1."""
        return [Shot(n, a, b) for n, (a, b) in enumerate(self.cuts, 1)]
