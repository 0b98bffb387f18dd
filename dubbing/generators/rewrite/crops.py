"""The crops of one stretch, kept as the film has them: in memory as long as they are small, else on disk.

Any frame of a stretch may lend its mouth to any other, so all that are needed are kept until its end. Of a close-up
in 4K that is gigabytes. It knows no mesh and no mouth.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from dubbing import media

__all__ = ["MEMORY_BYTES", "Crops", "most_frames"]

MEMORY_BYTES = 384_000_000
_DISK_BYTES = 6_000_000_000
_LEAST_FRAMES = 60
_PIXEL_BYTES = 6  # of BGR, of a film of more than 8 bits


def most_frames(width: int, height: int) -> int:
    """How many crops of that size a stretch may have: 480 of a whole 1920x1080 picture, and 60 of any."""
    return max(_LEAST_FRAMES, _DISK_BYTES // (_PIXEL_BYTES * width * height))


class Crops:
    """Crops by their number in the stretch, all of one size and type. A context manager.

    folder: where the file lies, which has no name and ends with this process (None: the system's own).
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else str(folder)
        self._file: IO[bytes] | None = None
        self._held: dict[int, np.ndarray] = {}
        self._colour: Any = None  # where they are planes
        self._places: dict[int, int] = {}

    def __enter__(self) -> Crops:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, number: int, kept: np.ndarray | media.Planes) -> None:
        """Add a crop, (H, W, 3) as of `Picture.kept_bgr` or as of `Picture.planes`, which nobody changes. Raises
        OSError where the disk is full."""
        if isinstance(kept, media.Planes):
            self._colour, kept = kept.colour, kept.both
        kept_HWC = np.ascontiguousarray(kept)
        if kept_HWC.nbytes * (len(self._held) + 1) <= MEMORY_BYTES or not self._held:
            self._held[number] = kept_HWC
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
        self._places[number] = len(self._places) * kept_HWC.nbytes
        self._file.seek(self._places[number])
        self._file.write(kept_HWC.data)

    def __getitem__(self, number: int) -> np.ndarray | media.Planes:
        """A crop to compute with, not to change: uint8, or float32 0..255, or planes."""
        if self._colour is not None:
            return media.Planes(self._read(number), self._colour)
        return media.fractions(self._read(number))

    def _read(self, number: int) -> np.ndarray:
        if number in self._held or self._file is None:
            return self._held[number]
        like = next(iter(self._held.values()))
        out = np.empty(like.shape, like.dtype)
        self._file.seek(self._places[number])
        self._file.readinto(out.data.cast("B"))  # type: ignore[attr-defined]
        return out
