"""The original performance as a sync expert embeds it: made once for a title and an expert, and kept for all languages.

A file for each face of each shot, `analysis/originals/shot_0002-<key>/face_1.npz`, by the first take that is scored.
Its key is that of the expert, of the faces (and so of the film), of the original's sound, and the face's frames: a
photograph's film may end earlier in one language than in another. Its last bytes are a checksum of all others. Whoever
finds none, or one that is damaged, makes it anew; two who do so at once make the same. Where OUT lies at a URI nothing
is kept: the file is no result, so it would stay on one machine for ever. An expert of meshes takes microseconds for a
frame and keeps nothing. It knows no dub.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.experts import Expert, model_name
from dubbing.records import Track
from dubbing.store import Store, key_of
from dubbing.store.scratch import scratch

__all__ = ["FOLDER", "Original", "file_of", "load", "save"]

FOLDER = "originals"
_VERSION = 3  # raise it when the same face and sound are embedded otherwise, or kept otherwise
_END = 8  # bytes of the checksum


@dataclass(frozen=True, eq=False)
class Original:
    """lips_VE: float32, of every window of the face; sound_VE: float32, of its own sound under these windows, None
    where it has none."""

    lips_VE: np.ndarray
    sound_VE: np.ndarray | None


def file_of(analysis: Path, track: Track, expert: Expert, faces: str, sound: str | None) -> Path | None:
    """Where a face's file lies; None where nothing is kept, because the folder is a copy of what lies at a URI.
    analysis: the title's folder; faces, sound: keys of the faces of the shot, and of the original's sound near it."""
    if analysis.is_relative_to(scratch() / "out"):
        return None
    shot, _, face = track.id.rpartition("/")
    key = key_of(_VERSION, model_name(expert), faces, sound, len(track.frames_N))
    return analysis / FOLDER / f"{shot}-{key[:12]}" / f"{face}.npz"


def load(file: Path, windows: int, sound: bool) -> Original | None:
    """What was kept; None where nothing was, it is damaged, or it is of another face. windows: how many the face has;
    sound: whether it has a sound of its own."""
    try:
        data = file.read_bytes()
        body, end = data[:-_END], data[-_END:]
        if end != _checksum(body):
            return None
        with np.load(io.BytesIO(body)) as arrays:
            found = Original(arrays["lips"], arrays["sound"] if sound else None)
            fits = ("sound" in arrays.files) == sound and found.lips_VE.ndim == 2 and len(found.lips_VE) == windows
    except Exception:  # whatever a file provokes that is none of ours
        return None
    return found if fits and (found.sound_VE is None or found.sound_VE.shape == found.lips_VE.shape) else None


def save(file: Path, made: Original) -> None:
    """Keep it, in one rename. Raises OutputError."""
    buffer = io.BytesIO()
    sound = {} if made.sound_VE is None else {"sound": made.sound_VE}
    np.savez(buffer, lips=made.lips_VE, **sound)
    file.parent.mkdir(parents=True, exist_ok=True)
    data = buffer.getvalue()
    Store(file.parent).write_bytes(file, data + _checksum(data))


def _checksum(data: bytes) -> bytes:
    """CRC-32, as of all that is written below OUT, in _END hex digits."""
    return b"%08x" % zlib.crc32(data)
