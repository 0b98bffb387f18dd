"""Select: of shots that several generators have rendered, the take that is delivered, by `dubbing.best_of`.

A take that failed leaves the choice to the others. What nobody could measure is left to the manifest's order, and
somebody should look. Knows no picture: it reads what `sync` has measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import best_of
from dubbing.artifact import Ref
from dubbing.artifacts.selection import Candidate, Selection, ShotSelection
from dubbing.artifacts.takes import Scores, Take, seen_file
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited

__all__ = ["Select", "SelectInputs"]


@dataclass(frozen=True)
class SelectInputs(Inputs):
    """What the selection of a dub depends on."""

    shots: tuple[str, ...]
    """Ids of the shots that have several takes."""
    names: tuple[tuple[str, ...], ...]
    """Of each, what renders its takes, for people."""
    takes: tuple[tuple[Ref[Take] | None, ...], ...] = awaited(read=False, default=())
    """Of each, its takes; None of one that failed."""
    scores: tuple[tuple[Ref[Scores] | None, ...], ...] = awaited(default=())
    """What was measured of them."""


class Select(Stage[SelectInputs, Selection]):
    """The selection of a dub."""

    name: ClassVar[str] = "select"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=700)
    expands = True

    @classmethod
    def inputs(cls, at: Place) -> SelectInputs | None:
        found = at.candidates
        if not found:
            return None
        return SelectInputs(
            tuple(found), tuple(tuple(one.name for one in some) for some in found.values()),
            tuple(tuple(one.take for one in some) for some in found.values()),
            tuple(tuple(one.score for one in some) for some in found.values()),
        )  # fmt: skip

    def process(self, inputs: SelectInputs, out: Path, progress: Callable[[int], None]) -> Selection:
        every = zip(inputs.shots, inputs.names, inputs.takes, inputs.scores, strict=True)
        return Selection(tuple(_selected(*one) for one in every))


def _selected(
    shot: str, names: Sequence[str], takes: Sequence[Ref[Take] | None], scores: Sequence[Ref[Scores] | None]
) -> ShotSelection:
    """What is delivered of one shot."""
    there = [n for n, (take, score) in enumerate(zip(takes, scores, strict=True)) if take and score]
    if not there:
        gone = tuple(Candidate(name, "", failed=True) for name in names)
        return ShotSelection(shot, 0, "every take failed", gone)
    seen = [_seen(score) for n in there if (score := scores[n])]
    weighed = dict(zip(there, best_of.weigh(seen), strict=True))
    numbers = {n: one.score for n, one in weighed.items() if one.score is not None}
    compared = len(numbers) == len(weighed)
    chosen = min(numbers, key=lambda n: (numbers[n], n)) if compared else there[0]
    lost = [name for n, name in enumerate(names) if n not in weighed]
    rendered = any(seen)
    said = "; ".join(best_of.told(names[n], weighed[n]) for n in sorted(weighed, key=lambda n: (n != chosen, n)))
    why = f"{names[chosen]} of {len(names)}: {said if rendered else 'nothing is rendered'}"
    doubts = [f"{name} failed, and was not compared" for name in lost]
    if rendered and not compared:
        doubts.append(f"the takes could not be compared, and {names[chosen]} is the first of them")
    elif rendered and len(weighed) > 1 and not any(one.synced for one in weighed.values()):
        doubts.append("the takes were compared without their sync, which could not be measured of all")
    why += "".join(f"; {name} failed" for name in lost)
    candidates = tuple(
        Candidate(name, take.key[:12] if take else "", w.score if w else None, w.parts if w else {}, w is None)
        for n, (name, take) in enumerate(zip(names, takes, strict=True))
        for w in (weighed.get(n),)
    )
    return ShotSelection(shot, chosen, why, candidates, "; ".join(doubts) or None)


def _seen(score: Ref[Scores]) -> dict[str, best_of.SeenFace]:
    """What was measured of a take, by track."""
    found = {}
    for face in score.read().faces:
        path = seen_file(score.folder, face.track)
        trembling = None
        if path.is_file():
            with np.load(path) as curves:
                trembling = best_of.trembling(curves["seen"], curves["was"], curves["rendered"])
        found[face.track] = best_of.SeenFace(
            face.rendered_frames, face.lse_d, face.source_lse_d, face.sharpness, face.lip_leak, trembling
        )
    return found
