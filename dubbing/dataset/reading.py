"""A clip read once: its pictures at 25 a second and, in step with them, its sound at 16 kHz.

Both stream; sound is held until `forget` is called for it. It knows no face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.dataset.shards import FPS

__all__ = ["Sound", "even"]

_SLACK_S = Fraction(1, 500)  # a frame time rounded to its time base must not give another picture


def even(scan: media.Scan) -> Iterator[media.Picture]:
    """The pictures of one pass at 25 a second, `frame` counting them: at each instant the one that begins nearest.

    Raises as the scan does.
    """
    held: media.Picture | None = None
    zero, time_s, count = 0, Fraction(0), 0
    for picture in scan.pictures():
        if held is None:
            zero = picture.pts
        else:
            next_s = (picture.pts - zero) * scan.time_base
            while Fraction(count, FPS) <= (time_s + next_s) / 2:
                yield replace(held, frame=count)
                count += 1
            time_s = next_s
        held = picture
    if held is None:
        return
    line = scan.timeline
    end_s = time_s + (line.end_pts - int(line.pts[-1])) * scan.time_base
    while Fraction(count, FPS) < end_s - _SLACK_S:
        yield replace(held, frame=count)
        count += 1


class Sound:
    """The sound of a file, mono at 16 kHz, sample 0 where its first picture begins. Read as it is asked for.

    Raises MediaError without a sound stream, DamagedMedia where it cannot be decoded: at once, or when asked.
    """

    def __init__(self, path: Path) -> None:
        self._blocks = media.sound_blocks(path)
        self._held = next(self._blocks, np.zeros(0, np.float32))
        self._first = 0

    def between(self, first: int, last: int) -> np.ndarray:
        """Samples [first, last), float32, silence beyond the end. `first` must not be forgotten."""
        self._read(last)
        out = np.zeros(last - first, np.float32)
        held = self._held[max(0, first - self._first) : max(0, last - self._first)]
        begin = max(0, self._first - first)
        out[begin : begin + len(held)] = np.clip(held, -1, 1)
        return out

    def reaches(self, last: int) -> int:
        """How many samples there are, up to `last` of them."""
        self._read(last)
        return min(last, self._first + len(self._held))

    def forget(self, before: int) -> None:
        """Let go of everything before this sample."""
        drop = min(max(0, before - self._first), len(self._held))
        self._held, self._first = self._held[drop:], self._first + drop

    def _read(self, last: int) -> None:
        while self._first + len(self._held) < last:
            block = next(self._blocks, None)
            if block is None:
                return
            self._held = np.concatenate([self._held, block])
