"""Pieces of a data folder from followed faces: which face is the speaker's, how long a piece is, how well in sync.

Whatever is left out has a reason; seconds of it are counted. It knows no file and no picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dubbing import experts
from dubbing.dataset.faces import lip_shapes, lips_in
from dubbing.dataset.segment import Run
from dubbing.dataset.shards import FPS, LEAD, PER_FRAME, Packed
from dubbing.records import Score

__all__ = ["AUDIBLE", "Heard", "Piece", "chosen", "pieces", "speaks", "wave_of"]

AUDIBLE = 1e-3  # -60 dBFS
_SMALL = 0.5  # a face under this part of the height of another in the same frames stands in the background
_TOGETHER = FPS // 5  # frames in which two faces are seen at once before they are rivals
_NEAR = 5  # frames of offset within which lips can be this sound's
_SURE, _SURER = 1.0, 0.5  # confidence (LSE-C) of the speaker, and how far above the next


@dataclass(frozen=True)
class Piece:
    """A piece of a clip: one row of a shard. start_s: in its film; about: numbers for the table of clips."""

    start_s: float
    packed: Packed
    about: dict[str, Any]


class Heard(Protocol):
    """Sound at 16 kHz; sample 0 is where frame 0 of the runs begins. See `reading.Sound`."""

    def between(self, first: int, last: int) -> np.ndarray: ...

    def reaches(self, last: int) -> int: ...


def chosen(runs: Sequence[Run], sound: Heard, expert: experts.Expert, lost: Counter[str]) -> list[Run]:
    """The runs of speakers, in film order: a face alone in its frames, or the one of several whose lips fit the sound.

    runs: of one segment; lost: frames that are left out are counted there as `several_faces`.
    """
    front = [r for r in runs if not any(_shared(r, o) > _TOGETHER and r.height_px < _SMALL * o.height_px for o in runs)]
    kept: list[Run] = []
    for group in _groups(front):
        if len(group) > 1:
            told = sorted(((speaks(r, sound, expert), n) for n, r in enumerate(group)), reverse=True)
            if told[0][0] < _SURE or told[0][0] - told[1][0] < _SURER:
                lost["several_faces"] += max(r.end for r in group) - min(r.start for r in group)
                continue
            group = [group[told[0][1]]]
        kept += group
    return sorted(kept, key=lambda r: r.start)


def _shared(a: Run, b: Run) -> int:
    """The number of frames in which two runs are both seen; 0 for two runs of one face."""
    return 0 if a.face == b.face else max(0, min(a.end, b.end) - max(a.start, b.start))


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs together with those that they share frames with."""
    groups: list[list[Run]] = []
    for run in runs:
        mine = [g for g in groups if any(_shared(run, o) > _TOGETHER for o in g)]
        groups = [g for g in groups if g not in mine] + [[run, *(r for g in mine for r in g)]]
    return groups


def speaks(run: Run, sound: Heard, expert: experts.Expert) -> float:
    """How surely the lips are this sound's: LSE-C, 0 where the best offset is far."""
    score = _score(run, sound.between(run.start * PER_FRAME, run.end * PER_FRAME), expert)
    return score.c if score is not None and abs(score.offset_frames) <= _NEAR else 0.0


def _score(run: Run, wave: np.ndarray, expert: experts.Expert) -> Score | None:
    return experts.score(expert, run.mesh_NP3, np.arange(len(run.jpegs)) / FPS, wave)


def pieces(
    run: Run, sound: Heard, expert: experts.Expert, size: int, limits: tuple[float, float, float], lost: Counter[str],
    zero_s: float = 0.0,
) -> Iterator[Piece]:  # fmt: skip
    """A run cut into equal parts. limits: least height in pixels, least and most seconds; lost: frames that
    are left out are counted there as `too_small`, `too_short` or `no_sound`; zero_s: where frame 0 lies in the film."""
    least_px, least_s, most_s = limits
    if run.height_px < least_px:
        lost["too_small"] += len(run.jpegs)
        return
    if len(run.jpegs) < least_s * FPS:
        lost["too_short"] += len(run.jpegs)
        return
    count = max(1, -(-len(run.jpegs) // max(1, int(most_s * FPS))))
    edges = np.linspace(0, len(run.jpegs), count + 1).round().astype(int).tolist()
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        part = run.part(first, last)
        wave, lead, tail = wave_of(sound, part.start * PER_FRAME, len(part.jpegs))
        if float(np.abs(wave[lead : len(wave) - tail]).max()) < AUDIBLE:
            lost["no_sound"] += len(part.jpegs)
            continue
        yield _piece(part, wave, lead, tail, size, expert, zero_s + part.start / FPS)


def wave_of(sound: Heard, first: int, frames: int) -> tuple[np.ndarray, int, int]:
    """The sound of a piece whose frame 0 begins at sample `first`: float32, and how much lies before and after."""
    last = first + frames * PER_FRAME
    lead, tail = min(LEAD, first), max(0, sound.reaches(last + LEAD) - last)
    return sound.between(first - lead, last + tail), lead, tail


def _piece(
    part: Run, wave: np.ndarray, lead: int, tail: int, size: int, expert: experts.Expert, start_s: float
) -> Piece:
    score = _score(part, wave[lead : len(wave) - tail], expert)
    about = {
        "frames": len(part.jpegs), "start_s": round(start_s, 3), "face_px": round(part.height_px, 1),
        "offset_frames": None if score is None else score.offset_frames,
        "lse_d": None if score is None else round(score.d, 3), "lse_c": None if score is None else round(score.c, 3),
    }  # fmt: skip
    packed = Packed(
        part.jpegs, np.rint(wave * 32767).astype(np.int16), lead, lip_shapes(part.mesh_NP3),
        lips_in(part.mesh_NP3, part.boxes_N4), tail, size,
    )  # fmt: skip
    return Piece(start_s, packed, {**about, "digest": packed.digest()})
