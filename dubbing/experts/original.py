"""The original performance as a sync expert embeds it: made once for a title and an expert, and kept for all languages.

A file for each face of each shot, `analysis/originals/shot_0002-<key>/face_1.npz`, by the first take that is scored.
Its key is that of the expert, of the faces (and so of the film), of the original's sound, and the face's frames: a
photograph's film may end earlier in one language than in another. Whoever finds none, or one
that cannot be read, makes it anew; two who do so at once make the same. An expert of meshes takes microseconds for a
frame and keeps nothing. It knows no dub.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.experts import Expert, model_name
from dubbing.records import Track
from dubbing.store import Store, key_of

__all__ = ["FOLDER", "Original", "file_of", "load", "save"]

FOLDER = "originals"
_VERSION = 2  # raise it when the same face and sound are embedded otherwise


@dataclass(frozen=True, eq=False)
class Original:
    """lips_VE: float32, of every window of the face; sound_VE: float32, of its own sound under these windows, None
    where it has none."""

    lips_VE: np.ndarray
    sound_VE: np.ndarray | None


def file_of(analysis: Path, track: Track, expert: Expert, faces: str, sound: str | None) -> Path:
    """Where a face's file lies. analysis: the title's folder; faces, sound: keys of the faces of the shot, and of the
    original's sound near it."""
    shot, _, face = track.id.rpartition("/")
    key = key_of(_VERSION, model_name(expert), faces, sound, len(track.frames_N))
    return analysis / FOLDER / f"{shot}-{key[:12]}" / f"{face}.npz"


def load(file: Path) -> Original | None:
    """What was kept; None where nothing was, or what is there cannot be read."""
    try:
        with np.load(file) as data:
            return Original(data["lips"], data["sound"] if "sound" in data.files else None)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save(file: Path, made: Original) -> None:
    """Keep it, in one rename. Raises OutputError."""
    buffer = io.BytesIO()
    sound = {} if made.sound_VE is None else {"sound": made.sound_VE}
    np.savez(buffer, lips=made.lips_VE, **sound)
    file.parent.mkdir(parents=True, exist_ok=True)
    Store(file.parent).write_bytes(file, buffer.getvalue())
