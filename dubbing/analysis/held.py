"""Parts of a shot's pictures around its faces, held while these are followed, so that letters over them are looked for
(`burned_in`) without decoding the shot once more.

What is looked at is known only when a face's track is: it depends on the track's first frame, its length, and all
places of the face. So of every picture that a face of usual length would be sampled in, much room around the face is
held as it was decoded. Where more would be held than allowed, or a part that is wanted is not among them, nothing is
said of that face, and whoever wants to know decodes the shot. It knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dubbing.analysis.burned_in import SAMPLES_HZ, Cover, Search
from dubbing.media import Picture
from dubbing.mesh import Box
from dubbing.records import Track

__all__ = ["HELD_BYTES", "Held", "letters_over"]

HELD_BYTES = 64_000_000
"""Of one shot. In 720p that is about 120 pictures of large faces, ten seconds."""
_LEAST_PX = 64.0  # of a face's height; smaller ones are seldom rendered
_ROOM = 0.75  # of a face's size, beside it
_ALIGNED = 8


class Held:
    """Parts of pictures, given in order. rate_hz: nominal frames a second; most_bytes: as soon as there would be more,
    all are let go."""

    def __init__(self, rate_hz: float, most_bytes: int = HELD_BYTES) -> None:
        self._step = max(1, round(rate_hz / SAMPLES_HZ))
        self._most, self._bytes = most_bytes, 0
        self._parts: dict[int, tuple[tuple[int, int, int, int], Picture]] = {}

    def hold(self, picture: Picture, faces: Sequence[tuple[int, Box]]) -> None:
        """Hold what lies around the faces of a picture, each given by the first frame that it was seen in and its box,
        if it is one of those that are sampled."""
        near = [box for first, box in faces if (picture.frame - first) % self._step == 0 and box[3] >= _LEAST_PX]
        if not near or self._bytes > self._most:
            return
        low = np.min([(x - _ROOM * max(w, h), y - _ROOM * max(w, h)) for x, y, w, h in near], axis=0)
        high = np.max([(x + w + _ROOM * max(w, h), y + h + _ROOM * max(w, h)) for x, y, w, h in near], axis=0)
        limit = np.array(picture.size)
        left, top = (np.maximum(low, 0) // _ALIGNED * _ALIGNED).astype(int).tolist()
        right, bottom = np.minimum(-(-high // _ALIGNED) * _ALIGNED, limit).astype(int).tolist()
        box = (left, top, right - left, bottom - top)
        part = picture.part(box) if right > left and bottom > top else None
        if part is None:
            return
        self._bytes += part.size_bytes
        if self._bytes > self._most:
            self._parts.clear()
        else:
            self._parts[picture.frame] = (box, part)

    def has(self, frame: int, box: tuple[int, int, int, int]) -> bool:
        """Whether that box (x, y, width, height) of that frame is held."""
        if frame not in self._parts:
            return False
        (x, y, w, h), _ = self._parts[frame]
        return x <= box[0] and y <= box[1] and box[0] + box[2] <= x + w and box[1] + box[3] <= y + h

    def grey(self, frame: int, box: tuple[int, int, int, int]) -> np.ndarray:
        """A box that is held, grey, uint8 (H, W)."""
        (x, y, _, _), part = self._parts[frame]
        return cv2.cvtColor(part.bgr(box=(box[0] - x, box[1] - y, box[2], box[3])), cv2.COLOR_BGR2GRAY)


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
