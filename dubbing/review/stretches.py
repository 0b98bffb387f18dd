"""Which few seconds of a dub show soonest how good it is: those that are likely worst, and those that are likely best.

Where a finished run has scored at least half of the shots, its severities say so. Else it is what the analysis knows
before anything is rendered, each from 0 to 1 and added up over the frames that would be rendered: how small the face
is, how far it is turned, whether something hides the mouth, and whether only one of dub and original speaks, so that
lips have to be made or taken away. A shot of up to WHOLE_S comes whole, because its take is then the full run's;
of a longer one LENGTH_S. Renders nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dubbing.analysis.asked import within
from dubbing.artifacts.tracks import load_tracks
from dubbing.artifacts.turns import ShotTurns, TurnList
from dubbing.clock import Timeline, mask_of
from dubbing.job import Job, Step
from dubbing.manifest import Dub, Title
from dubbing.records import Shot
from dubbing.severity import severity
from dubbing.shot_table import SHOTS, read_rows
from dubbing.stages.lipsync import lines_of

__all__ = ["BEST", "LENGTH_S", "WHOLE_S", "WORST", "Stretch", "looked_at", "stretches_of"]

WORST, BEST = 3, 2
WHOLE_S, LENGTH_S, _STEP_S, _LEAST_S = 8.0, 4.0, 1.0, 0.5
_FAIR_PX = 240.0  # a face of this height has detail enough


@dataclass(frozen=True)
class Stretch:
    """Frames [start, end) of one shot. kind: on which side it stands; by: what put it there; known: what the analysis
    knows of it, in words."""

    kind: Literal["worst", "best"]
    by: Literal["scores", "analysis"]
    shot: Shot
    start: int
    end: int
    known: str


@dataclass(frozen=True)
class _Candidate:
    """A stretch with its badness, of which more is worse, and what it consists of."""

    shot: Shot
    start: int
    end: int
    badness: float
    known: str


def stretches_of(job: Job, title: Title, dub: Dub) -> tuple[Stretch, ...]:
    """The stretches of a dub whose analysis is done, the worst first, then the best, of as many different shots; none
    where nobody would be dubbed."""
    steps = job.dub(title, dub, {}).steps
    if not steps:
        return ()
    line = job.timeline(title)
    said: TurnList = job.result(job.plan(title, {}, dubs=[dub]).get(TurnList, dub.language))
    found = {}
    for step in steps:
        if made := _candidates(job, title, dub, step, line, said.by_shot[step.shot.id]):
            found[step.shot.id] = made
    scored = _scored(job, title, dub, steps)
    by: Literal["scores", "analysis"] = "analysis"
    if 2 * len(found.keys() & scored.keys()) >= len(found) and scored:
        by = "scores"
        found = {shot: made for shot, made in found.items() if shot in scored}
    ordered = sorted(
        found.values(), key=lambda made: scored[made[0].shot.id] if by == "scores" else made[-1].badness, reverse=True
    )
    worst = ordered[: min(WORST, (len(ordered) + 1) // 2)]
    best = ordered[len(worst) :][::-1][:BEST]
    picked: list[tuple[Literal["worst", "best"], _Candidate]] = [("worst", made[-1]) for made in worst]
    if not best:  # there is one shot: two parts of it, where it is long enough
        best = [made for made in ordered if abs(made[0].start - made[-1].start) >= made[0].end - made[0].start]
    picked += [("best", made[0]) for made in best]
    return tuple(Stretch(kind, by, c.shot, c.start, c.end, c.known) for kind, c in picked)


def _scored(job: Job, title: Title, dub: Dub, steps: Sequence[Step]) -> dict[str, float]:
    """The severity of each shot that an earlier run has scored, by its id; of shots that are still the same."""
    path = job.store.dub(title.id, dub.language) / SHOTS
    try:
        rows = read_rows(job.store.read_bytes(path))
    except FileNotFoundError:
        return {}
    frames = {step.shot.id: (step.shot.start_frame, step.shot.end_frame) for step in steps}
    return {
        row["shot"]: severity(row, job.config.review)
        for row in rows
        if row["lse_d"] is not None and frames.get(row["shot"]) == (row["start_frame"], row["end_frame"])
    }


def _candidates(
    job: Job, title: Title, dub: Dub, step: Step, line: Timeline, turns: ShotTurns
) -> list[_Candidate]:  # fmt: skip
    """The stretches of a shot, the least bad first; none where nothing of it would be rendered."""
    seen = looked_at(job, title, dub, step, line, turns)
    if seen is None:
        return []
    rendered_N, parts, face_px = seen
    shot, rate = step.shot, float(line.rate)
    lasts, length, least = len(shot), round(LENGTH_S * rate), round(_LEAST_S * rate)
    spans = [(0, lasts)]
    if lasts > WHOLE_S * rate:
        starts = range(0, lasts - length + 1, max(1, round(_STEP_S * rate)))
        most = max(int(rendered_N[a : a + length].sum()) for a in starts)
        spans = [(a, a + length) for a in starts if rendered_N[a : a + length].sum() >= min(length // 2, most)]
    found = []
    for a, b in spans:
        where_N = rendered_N[a:b]
        if where_N.sum() < min(least, int(rendered_N.sum())):
            continue
        mean = {name: float(value_N[a:b][where_N].mean()) for name, value_N in parts.items()}
        known = (
            f"face {face_px:.0f} px, turned {mean['turned'] * job.config.speakers.max_yaw_deg:.0f} deg, mouth hidden "
            f"in {100 * mean['hidden']:.0f} %, speech differs in {100 * mean['apart']:.0f} %"
        )
        found.append(_Candidate(shot, shot.start_frame + a, shot.start_frame + b, sum(mean.values()), known))
    return sorted(found, key=lambda c: c.badness)


def looked_at(
    job: Job, title: Title, dub: Dub, step: Step, line: Timeline, turns: ShotTurns
) -> tuple[np.ndarray, dict[str, np.ndarray], float] | None:
    """Of each frame of a shot: whether it would be rendered, bool (N,), and what speaks against it, (N,) from 0 to 1 by
    name, of the worst face; and the height of the smallest. None where nothing would be."""
    shot = step.shot
    if not turns.faces or not turns.heard or not step.delivered:
        return None
    with job.store.brought(step.faces.folder) as (folder,):
        tracks = {t.id: t.until(shot.end_frame) for t in load_tracks(folder)}
    still, limits = job.made_of(title) is not None, job.config.speakers
    asked = job.asked(title, dub)
    ranges = ((shot.start_frame, shot.end_frame),) if asked is None else asked
    rendered_N = np.zeros(len(shot), bool)
    parts = {name: np.zeros(len(shot)) for name in ("small", "turned", "hidden", "apart")}
    heights, resting = [], turns.resting(tracks)
    for face in turns.faces:
        track = tracks[face.track]
        first, last = track.start_frame, track.end_frame
        own = () if still else face.own
        says_N = mask_of(face.says, first, last)
        lines = lines_of(track, says_N, own, line, limits.max_yaw_deg, rests=face in resting)
        mine = [part for one in lines for part in within(ranges, one.start_frame, one.end_frame)]
        if not mine:
            continue
        mine_N = mask_of(mine, first, last)
        heights.append(track.height_px)
        small = np.clip((_FAIR_PX - track.height_px) / max(_FAIR_PX - limits.min_face_px, 1.0), 0, 1)
        of = {
            "small": np.full(len(says_N), small), "turned": np.abs(track.yaw_N) / limits.max_yaw_deg,
            "hidden": ~track.seen_N, "apart": says_N ^ (says_N if still else mask_of(own, first, last)),
        }  # fmt: skip
        at = slice(first - shot.start_frame, last - shot.start_frame)
        for name, value_N in of.items():
            parts[name][at] = np.maximum(parts[name][at], value_N * mine_N)
        rendered_N[at] |= mine_N
    return (rendered_N, parts, min(heights)) if rendered_N.any() else None
