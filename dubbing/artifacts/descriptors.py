"""What each face of a shot looks like to a network that tells people apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.artifact import Artifact
from dubbing.artifacts.tracks import load_by_track, save_by_track

__all__ = ["Descriptors", "load_descriptors", "save_descriptors"]

FILE = "descriptors.npz"


@dataclass(frozen=True)
class Descriptors(Artifact):
    """The descriptors lie in the folder (`load_descriptors`)."""

    schema: ClassVar[str] = "dub.descriptors.1"
    pictures: int
    """How many pictures of faces were described."""


def save_descriptors(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Write the descriptors: per track id float32 (F, 128), one row a picture."""
    save_by_track(folder / FILE, found)


def load_descriptors(folder: Path | str) -> dict[str, np.ndarray]:
    """The saved descriptors: per track id float32 (F, 128); F is 0 where a track has no picture that is fit for it."""
    return load_by_track(Path(folder) / FILE)
