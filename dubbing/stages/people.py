"""People: which face tracks of a title show one person. It decides nothing about who speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.analysis.identity import Signature, group_actors, group_described
from dubbing.artifact import Ref
from dubbing.artifacts.descriptors import Descriptors, load_descriptors
from dubbing.artifacts.people import People, Person
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import FaceTracks, TrackSummary, load_signatures, together
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["FindPeople", "FindPeopleInputs"]


@dataclass(frozen=True)
class FindPeopleInputs(Inputs):
    """The inputs of the stage `people`."""

    faces: tuple[Ref[FaceTracks] | None, ...] = awaited()
    """The faces of each shot, None where that failed."""
    descriptors: tuple[Ref[Descriptors] | None, ...] | None = awaited(default=None)
    """The descriptors of each shot's faces, None where that failed; None where there is no network for them."""
    shots: Ref[ShotList] = uncounted("the faces are those of its shots", default=None)
    """The shots, and the film's frames in time."""


class FindPeople(Stage[FindPeopleInputs, People]):
    """The people of one title."""

    name: ClassVar[str] = "people"
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=700)
    expands = True
    chain_ms = 70.0

    @classmethod
    def inputs(cls, at: Place) -> FindPeopleInputs:
        described = at.each(Descriptors) if at.face_descriptor else None
        return FindPeopleInputs(at.each(FaceTracks), described, at.ref(ShotList))

    def process(self, inputs: FindPeopleInputs, out: Path, progress: Callable[[int], None]) -> People:
        shots = inputs.shots.read().shots
        tracks: list[TrackSummary] = []
        signatures: list[Signature] = []
        apart: list[tuple[int, int]] = []
        for shot, faces in zip(shots, inputs.faces, strict=True):
            if faces is not None:
                found = faces.read().tracks
                apart += [(len(tracks) + a, len(tracks) + b) for a, b in together(found)]
                tracks += found
                signatures += load_signatures(faces.folder)
            progress(len(shot))
        if inputs.descriptors is None:
            numbers = group_actors(signatures, apart)
        else:
            known: dict[str, np.ndarray] = {}
            for described in inputs.descriptors:
                known |= load_descriptors(described.folder) if described else {}
            numbers = group_described([known.get(track.id) for track in tracks], apart)
        groups: dict[int, list[TrackSummary]] = {}
        for number, track in zip(numbers, tracks, strict=True):
            groups.setdefault(number, []).append(track)
        return People(
            tuple(
                Person(n, tuple(t.id for t in group), sum(t.seen_frames for t in group))
                for n, group in enumerate(groups.values())
            )
        )
