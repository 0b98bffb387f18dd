"""The score by which one of several takes of a shot is selected: sync against the original's, with three guards.

    score  =  sync + sharpness + leak + steadiness                                  less is better, in units of LSE-D

    sync        LSE-D of the take less LSE-D of the original with its own sound, by the job's sync expert
    sharpness   PRICE times by how much of itself the least sharpness, 0.6 of the original's, is missed
    leak        PRICE times by how much of itself the most LipLeak, 0.5, is passed
    steadiness  PRICE times by how much of itself the most trembling, 1.5 times the original's, is passed

PRICE is 1.5, the excess of LSE-D from which on a shot asks for review by default, so that a guard passed by all of
itself weighs as much as lips that are visibly off; each guard costs at most 2 PRICE. A guard that was not measured
costs nothing; what is not finite was not measured. Sync counts only where it was measured of every take, because a
number and none cannot be compared. A shot's score is the mean of its faces', weighed by how many frames are rendered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

__all__ = ["LEAK", "PRICE", "SHARPNESS", "TREMBLING", "SeenFace", "Weighed", "told", "trembling", "weigh"]

PRICE = 1.5
SHARPNESS, LEAK, TREMBLING = 0.6, 0.5, 1.5
_MOST = 2.0  # times PRICE
_ENOUGH = 3  # second differences that a mean is taken of


@dataclass(frozen=True)
class SeenFace:
    """What was measured of a rendered face of a take; None where it could not be. frames: how many are rendered; lse_d,
    source_lse_d: of the take with the dub, of the original with its own sound; trembling: as `trembling` gives it."""

    frames: int
    lse_d: float | None = None
    source_lse_d: float | None = None
    sharpness: float | None = None
    lip_leak: float | None = None
    trembling: float | None = None

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                object.__setattr__(self, name, None)


@dataclass(frozen=True)
class Weighed:
    """The score of a take, None where nothing of it could be measured; its parts that are not 0, by name; and whether
    sync is among what was measured."""

    score: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    synced: bool = False


def trembling(seen_N: np.ndarray, was_N: np.ndarray, rendered_N: np.ndarray) -> float | None:
    """The mean second difference of the mouth's opening in a take over that of the original in the same frames; None
    where there are too few. seen_N, was_N: opening of take and original by frame; rendered_N: bool, which count."""
    counted_N = rendered_N[:-2] & rendered_N[1:-1] & rendered_N[2:]
    if counted_N.sum() < _ENOUGH:
        return None
    seen, was = (float(np.abs(np.diff(a, 2))[counted_N].mean()) for a in (seen_N, was_N))
    return seen / was if was > 0 and np.isfinite(seen) and np.isfinite(was) else None


def weigh(takes: Sequence[Mapping[str, SeenFace]]) -> list[Weighed]:
    """The scores of takes of one shot, in their order. takes: of each the rendered faces by their track."""
    tracks = dict.fromkeys(track for one in takes for track in one)
    synced = {t for t in tracks if all(t in one and one[t].lse_d is not None for one in takes)}
    return [_of_take(one, synced) for one in takes]


def _of_take(faces: Mapping[str, SeenFace], synced: set[str]) -> Weighed:
    frames = sum(face.frames for face in faces.values())
    sums: dict[str, float] = {}
    measured = False
    for track, face in faces.items():
        found = _guards(face)
        if track in synced and face.lse_d is not None:
            found["sync"] = face.lse_d - (face.source_lse_d or 0.0)
        measured = measured or bool(found)
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value * face.frames / max(1, frames)
    if not measured:
        return Weighed(None)
    parts = {name: round(sums[name], 4) for name in ("sync", "sharpness", "leak", "steadiness") if sums.get(name)}
    return Weighed(round(sum(parts.values()), 4), parts, "sync" in sums)


def _guards(face: SeenFace) -> dict[str, float]:
    """What each guard that was measured costs."""
    beyond = {
        "sharpness": None if face.sharpness is None else (SHARPNESS - face.sharpness) / SHARPNESS,
        "leak": None if face.lip_leak is None else (face.lip_leak - LEAK) / LEAK,
        "steadiness": None if face.trembling is None else (face.trembling - TREMBLING) / TREMBLING,
    }
    return {name: PRICE * min(_MOST, max(0.0, by)) for name, by in beyond.items() if by is not None}


def told(name: str, weighed: Weighed) -> str:
    """A take's score for people: `rewrite +0.31 (sync +0.31)`."""
    if weighed.score is None:
        return f"{name} not measured"
    parts = ", ".join(f"{part} {value:+.2f}" for part, value in weighed.parts.items())
    return f"{name} {weighed.score:+.2f}" + (f" ({parts})" if parts else "")
