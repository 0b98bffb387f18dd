"""Parts of a shot's pictures around its faces, held while these are followed, so that letters over them are looked for
(`burned_in`) without decoding the shot once more.

What is looked at is known only when a face's track is: it depends on the track's first frame, its length, and all
places of the face. So of every picture that a face of usual length would be sampled in, its surroundings are held, with
room for its movements, in a file. Where that would grow too large or cannot be written, or a part that is wanted is not
among them, nothing is said of that face, and whoever wants to know decodes the shot. It knows no film.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from dubbing.analysis.burned_in import SAMPLES_HZ, Cover, Search, around
from dubbing.media import Picture
from dubbing.records import Track

__all__ = ["HELD_BYTES", "Held", "letters_over"]

HELD_BYTES = 400_000_000
"""Of one shot, on disk: one large face for a minute in 720p."""
_LEAST_PX = 64.0  # of a face's height; smaller ones are seldom rendered
_ROOM = 1.0  # eye distances that a face may move
_ALIGNED = 8
_Box = tuple[int, int, int, int]


class Held:
    """Grey parts of pictures, given in order. A context manager. folder: on whose disk they are held; rate_hz: nominal
    frames a second; most_bytes: as soon as there would be more, or one cannot be written, none is held any more."""

    def __init__(self, folder: Path, rate_hz: float, most_bytes: int = HELD_BYTES) -> None:
        self._step = max(1, round(rate_hz / SAMPLES_HZ))
        self._most, self._bytes = most_bytes, 0
        self._folder = folder
        self._file: Any = None
        self._places: dict[int, tuple[_Box, int]] = {}

    def hold(self, picture: Picture, faces: Sequence[tuple[int, np.ndarray]]) -> None:
        """Hold what lies around the faces of a picture, each given by the first frame that it was seen in and its mesh,
        or the last one that was seen, float32 (478, 3), if the picture is one of those that are sampled."""
        near = [mesh for first, mesh in faces if (picture.frame - first) % self._step == 0]
        near = [mesh for mesh in near if np.ptp(mesh[:, 1]) >= _LEAST_PX]
        if not near or self._bytes > self._most:
            return
        corners = np.array([around(mesh[None, :, :2], _ROOM) for mesh in near])
        low = np.maximum(corners[:, 0].min(0), 0) // _ALIGNED * _ALIGNED
        high = np.minimum(-(-corners[:, 1].max(0) // _ALIGNED) * _ALIGNED, picture.size)
        (x, y), (width, height) = low.astype(int).tolist(), (high - low).astype(int).tolist()
        if width <= 0 or height <= 0:
            return
        self._bytes += width * height
        if self._bytes > self._most:
            self._forget()
            return
        at = self._bytes - width * height
        grey = cv2.cvtColor(picture.bgr(box=(x, y, width, height)), cv2.COLOR_BGR2GRAY).data.cast("B")
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 - closed by __exit__
            done = 0
            while done < len(grey):
                done += os.pwrite(self._file.fileno(), grey[done:], at + done)
        except OSError:  # what is held only saves time
            self._bytes = self._most + 1
            self._forget()
            return
        self._places[picture.frame] = ((x, y, width, height), at)

    def _forget(self) -> None:
        """Give the room back."""
        self._places.clear()
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(0)

    def has(self, frame: int, box: _Box) -> bool:
        """Whether that box (x, y, width, height) of that frame is held."""
        if frame not in self._places:
            return False
        (x, y, w, h), _ = self._places[frame]
        return x <= box[0] and y <= box[1] and box[0] + box[2] <= x + w and box[1] + box[3] <= y + h

    def grey(self, frame: int, box: _Box) -> np.ndarray:
        """A box that is held, grey, uint8 (H, W)."""
        (x, y, width, height), at = self._places[frame]
        rows = slice(box[1] - y, box[1] - y + box[3])
        raw = os.pread(self._file.fileno(), width * box[3], at + width * rows.start)
        return np.frombuffer(raw, np.uint8).reshape(box[3], width)[:, box[0] - x : box[0] - x + box[2]]

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def letters_over(
    tracks: Sequence[Track], held: Held, picture_wh: tuple[int, int], rate_hz: float
) -> dict[str, list[Cover]]:
    """What lies over each face of which all that is looked at is held, by its track's id."""
    found = {}
    for track in tracks:
        if track.height_px < _LEAST_PX:
            continue
        search = Search(track, picture_wh, rate_hz)
        looks = [(frame, search.boxes(frame)) for frame in sorted(search.frames)]
        if all(held.has(frame, box) for frame, boxes in looks for box in boxes):
            for frame, boxes in looks:
                search.add(frame, [held.grey(frame, box) for box in boxes])
            found[track.id] = search.finish()
    return found
