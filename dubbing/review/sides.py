"""What either side of a comparison shows: the source, the master as things stand, or a take of the shot.

In the second before and after the shot a side shows what the neighbours would: the source where it is `source`, else
what the master would show. Knows no pictures of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.errors import InputError
from dubbing.records import Patch
from dubbing.review.library import Library, Shown
from dubbing.review.takes import Take
from dubbing.store import Store

__all__ = ["HANDLE_S", "Cover", "Patches", "covers", "looked_at", "rendered_frames", "runs", "stretch"]

HANDLE_S = 1


@dataclass(frozen=True)
class Cover:
    """The patches in `folder` for frames [first, last); take: the key that names them."""

    folder: Path
    first: int
    last: int
    take: str


def stretch(shown: Shown) -> tuple[int, int]:
    """Frames [first, last) of a shot with a second before and after it, inside the film."""
    line, shot = shown.line, shown.step.shot
    first = line.frame_at(line.time(shot.start_frame) - HANDLE_S)
    last = line.frame_at(line.time(shot.end_frame) + HANDLE_S - line.time_base) + 1
    return first, last


def covers(library: Library, shown: Shown, side: str, first: int, last: int) -> tuple[Cover, ...]:
    """What lies over the source on a side, in frames [first, last), in the order in which it is pasted.

    side: `source`, `current`, or a take's id. Raises InputError where the shot has no such take.
    """
    if side == "source":
        return ()
    found: list[Cover] = []
    for shot in library.job(*shown.key[:2]).shots(shown.title) or ():
        a, b = max(shot.start_frame, first), min(shot.end_frame, last)
        if a >= b:
            continue
        mine = shot.id == shown.step.shot.id
        other = shown if mine else library.find(shown.title.id, shown.dub.language, shot.id)
        if mine and side != "current":
            take = shown.take(side)
        else:
            if other.current is None or other.delivers_source:
                continue
            take = other.current
        if take.status == "dubbed":
            found += [Cover(take.folder / f.folder, a, b, take.id) for f in take.faces]
    return tuple(found)


def looked_at(shown: Shown, sides: Sequence[str]) -> Take | None:
    """The take whose faces are looked at: b's, else a's, else any of the shot that changes one; None: none does."""
    named = [t for side in reversed(sides) for t in shown.takes if t.id == side or (side == "current" and t.current)]
    return next((take for take in (*named, *shown.takes) if take.faces), None)


def rendered_frames(folder: Path) -> np.ndarray:
    """The frames of the title that a folder of patches holds, increasing, int64 (n,). Raises InputError: it is gone."""
    if not folder.is_dir():
        raise _gone(folder)
    return np.asarray(media.patch_frames(folder)["frame"].to_numpy(), np.int64)


def runs(frames: np.ndarray) -> list[list[int]]:
    """Increasing frames as stretches [start, end)."""
    starts = np.flatnonzero(np.diff(frames, prepend=-2) > 1)
    ends = [*starts[1:], len(frames)][: len(starts)]
    return [[int(frames[a]), int(frames[b - 1]) + 1] for a, b in zip(starts, ends, strict=True)]


class Patches:
    """The patches of one side in frames [first, last), frame by frame; other: of the other side, whose are read once
    where both show the same."""

    def __init__(self, wanted: Sequence[Cover], first: int, last: int, other: Patches | None = None) -> None:
        known = other._streams if other is not None else {}
        inside = (replace(c, first=max(c.first, first), last=min(c.last, last)) for c in wanted)
        self._streams: dict[Cover, _Stream] = {c: known.get(c) or _Stream(c) for c in inside if c.first < c.last}

    def at(self, frame: int) -> list[Patch]:
        """The patches of a frame. Frames must be asked for in order. Raises MediaError where one is damaged."""
        found = [s.at(frame) for s in self._streams.values()]
        return [p for p in found if p is not None]

    def close(self) -> None:
        """Let go of the files."""
        for stream in self._streams.values():
            stream.close()


class _Stream:
    """The patches of one cover, the next one decoded by a thread meanwhile."""

    def __init__(self, cover: Cover) -> None:
        self._patches = _read(cover)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._coming = self._thread.submit(next, self._patches, None)
        self._now: Patch | None = None

    def at(self, frame: int) -> Patch | None:
        while self._now is None or self._now.frame < frame:
            following = self._coming.result()
            if following is None:
                return None
            self._now = following
            self._coming = self._thread.submit(next, self._patches, None)
        return self._now if self._now.frame == frame else None

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._patches.close()


def _read(cover: Cover) -> Generator[Patch, None, None]:
    if not cover.folder.is_dir():
        raise _gone(cover.folder)
    Store(cover.folder.parent).whole(cover.folder.parent)
    yield from media.read_patches(cover.folder, cover.first, cover.last)


def _gone(folder: Path) -> InputError:
    return InputError(f"The take in {folder} is gone; run or choose it again.")
