"""How sure a detector of active speakers is, frame by frame, that each face of a shot speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.artifact import Artifact
from dubbing.artifacts.tracks import load_by_track, save_by_track

__all__ = ["ActiveFaces", "load_active", "save_active"]

FILE = "active.npz"


@dataclass(frozen=True)
class ActiveFaces(Artifact):
    """The evidence lies in the folder (`load_active`)."""

    schema: ClassVar[str] = "dub.active.1"
    faces: int
    """How many faces there are."""


def save_active(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Write the evidence: per track id float32 (N,)."""
    save_by_track(folder / FILE, found)


def load_active(folder: Path | str) -> dict[str, np.ndarray]:
    """The saved evidence: per track id float32 (N,), above 0 where the face speaks, NaN where it was not measured."""
    return load_by_track(Path(folder) / FILE)
