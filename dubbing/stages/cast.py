"""Cast: which character of a title each face plays, by what people said and by pictures. It knows no voice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.analysis.casting import assigned, by_descriptors, by_signatures
from dubbing.analysis.identity import chip
from dubbing.analysis.portraits import FaceFinder, Portrait
from dubbing.artifact import File, Ref
from dubbing.artifacts.descriptors import Descriptors, load_descriptors
from dubbing.artifacts.people import Cast, People, Person, named_tracks
from dubbing.artifacts.tracks import FaceTracks, load_signatures, together
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited

__all__ = ["FindCast", "FindCastInputs"]


@dataclass(frozen=True)
class FindCastInputs(Inputs):
    """The inputs of the stage `cast`."""

    people: Ref[People]
    """Which tracks show one person."""
    named: tuple[tuple[str, str], ...]
    """The names that people gave: (track id, character)."""
    pictures: tuple[tuple[str, tuple[File, ...]], ...]
    """The pictures of the manifest, by character."""
    model: str | None = None
    """`name@hash12` of the network that compares them; None without one."""
    faces: tuple[Ref[FaceTracks] | None, ...] | None = awaited(default=None)
    """The faces of each shot, None where that failed; None where there are no pictures."""
    descriptors: tuple[Ref[Descriptors] | None, ...] | None = awaited(default=None)
    """Their descriptors, None where that failed; None where there is no network, or there are no pictures."""
    lost: tuple[str, ...] | None = None
    """Characters whose names were given in shots that have other cuts by now, where there are any."""


class FindCast(Stage[FindCastInputs, Cast]):
    """The characters of one title."""

    name: ClassVar[str] = "cast"
    version = 2
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=1000)
    expands = True
    chain_ms = 60.0

    def __init__(self) -> None:
        self._finder: FaceFinder | None = None

    @classmethod
    def inputs(cls, at: Place) -> FindCastInputs | None:
        pictures = tuple(
            (name, tuple(at.file(path) for path in member.pictures))
            for name, member in sorted((at.title.cast or {}).items())
            if member.pictures
        )
        if not at.named and not pictures and not at.unnamed:
            return None
        model, faces = (at.face_descriptor, at.each(FaceTracks)) if pictures else (None, None)
        described = at.each(Descriptors) if model else None
        return FindCastInputs(at.ref(People), at.named, pictures, model, faces, described, at.unnamed or None)

    def process(self, inputs: FindCastInputs, out: Path, progress: Callable[[int], None]) -> Cast:
        people = inputs.people.read()
        named = named_tracks(people, inputs.named)
        lost = tuple(f"the face that was named {name} is in no shot of these cuts" for name in inputs.lost or ())
        if not inputs.pictures:
            return Cast(named, doubts=lost)
        if self._finder is None:
            self._finder = FaceFinder()
        names = [name for name, _ in inputs.pictures]
        portraits = [[self._finder.find(file.path) for file in files] for _, files in inputs.pictures]
        unknown = [one for one in people.people if not any(track in named for track in one.tracks)]
        far_CP = _distances(portraits, unknown, inputs)
        owner, unsure = assigned(far_CP, _together(unknown, inputs.faces or ()))
        found, likeness = dict(named), {}
        for p, c in owner.items():
            for track in unknown[p].tracks:
                found[track], likeness[track] = names[c], round(1 - float(far_CP[c, p]), 3)
        doubts = [
            f"person {unknown[p].number + 1} looks like {names[a]} and like {names[b]}, and is left unnamed"
            for p, a, b in unsure
        ]
        unseen = [name for name in names if name not in found.values()]
        for name in unseen:
            row = far_CP[names.index(name)]
            known = len(row) and np.isfinite(row.min())
            nearest = f"; the most alike is person {unknown[int(row.argmin())].number + 1}" if known else ""
            doubts.append(f"nobody looks enough like {name}{nearest}")
        return Cast(found, likeness, tuple(unseen), (*doubts, *lost))

    def close(self) -> None:
        if self._finder is not None:
            self._finder.close()


def _distances(portraits: Sequence[Sequence[Portrait]], people: Sequence[Person], inputs: FindCastInputs) -> np.ndarray:
    """How far each character lies from each person, float (C, P)."""
    if inputs.descriptors is not None:
        net = FaceDescriptor()
        looks = [net.describe([chip(p.bgr_HWC, p.mesh_P3) for p in mine]) for mine in portraits]
        known: dict[str, np.ndarray] = {}
        for one in inputs.descriptors:
            known |= load_descriptors(one.folder) if one else {}
        far = [[by_descriptors([*look], [known.get(t) for t in p.tracks]) for p in people] for look in looks]
    else:
        signatures = {
            track.id: signature
            for faces in inputs.faces or () if faces is not None
            for track, signature in zip(faces.read().tracks, load_signatures(faces.folder), strict=True)
        }  # fmt: skip
        seen = [[signatures[t] for t in p.tracks if t in signatures] for p in people]
        far = [[by_signatures([p.signature for p in mine], one) for one in seen] for mine in portraits]
    return np.array(far, float).reshape(len(portraits), len(people))


def _together(people: Sequence[Person], faces: Sequence[Ref[FaceTracks] | None]) -> set[tuple[int, int]]:
    """Pairs of people that are in one picture, by their place in `people`."""
    of_track: Mapping[str, int] = {track: n for n, one in enumerate(people) for track in one.tracks}
    found: set[tuple[int, int]] = set()
    for one in faces:
        tracks = [t for t in one.read().tracks if t.id in of_track] if one is not None else []
        found |= {(of_track[tracks[a].id], of_track[tracks[b].id]) for a, b in together(tracks)}
    return found
