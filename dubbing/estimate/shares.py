"""How much of the work each of several generators of a manifest has, as a run or a trial measured it."""

from __future__ import annotations

from collections import defaultdict

from dubbing.job import Job
from dubbing.manifest import Manifest
from dubbing.manifest.generator import when_of
from dubbing.rendered_by import candidates
from dubbing.store import key_of

__all__ = ["rules_key", "shares"]


def shares(job: Job, manifest: Manifest) -> dict[str, float]:
    """Of the frames in which faces speak, the part that each generator of a manifest renders by its conditions on
    faces; nothing where it names one. Entries for parts of the film do not count: these can be told without a face."""
    rules = [rule for rule in manifest.rules if (when := when_of(rule)) is None or not when.in_time]
    sums: dict[str, float] = defaultdict(float)
    whole = 0
    for title, dub in ((t, d) for t in job.manifest.titles for d in t.dubs if len(manifest.generators) > 1):
        known = job.plan(title, {}, dubs=[dub])
        for shot in job.shots(title) or ():
            for face in job.faces(title, dub, shot, known) or ():
                whole += face.frames
                for by in candidates(rules, [None] * len(rules), [face], shot.start_frame):
                    sums[by.main.name] += face.frames
    return {name: round(frames / whole, 4) for name, frames in sums.items() if whole}


def rules_key(manifest: Manifest) -> str:
    """12 hex digits of a manifest's generators with their conditions; empty where there is one."""
    if len(manifest.generators) == 1:
        return ""
    return key_of("rules", [rule.model_dump(mode="json") for rule in manifest.rules])[:12]
