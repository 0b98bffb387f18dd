"""Descriptors: what each face of a shot looks like, in a few good pictures of it. Optional evidence of who is who.

Made only where the extra `identity` is installed. It decodes those pictures and no more, and joins nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import File, Ref
from dubbing.artifacts.descriptors import Descriptors, save_descriptors
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import FaceTracks, good_frames, load_tracks
from dubbing.mesh import face_boxes
from dubbing.networks.face_descriptor import FaceDescriptor, chip
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

__all__ = ["PICTURES", "Describe", "DescribeInputs"]

PICTURES = 6  # of a face: 5 to 10 tell people apart equally well
LEAST_PX = 30.0  # of a face's height; nothing smaller was measured


@dataclass(frozen=True)
class DescribeInputs(Inputs):
    """The inputs of the stage `descriptors`."""

    faces: Ref[FaceTracks]
    """The shot's faces."""
    model: str
    """`name@hash12` of the network's weights."""
    film: File = uncounted("the faces were found in it")
    """The film."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames")
    """The film's frames in time."""
    frames: int = uncounted("the faces are those of the shot")
    """Length of the shot."""


class Describe(Stage[DescribeInputs, Descriptors]):
    """The descriptors of one shot's faces."""

    name: ClassVar[str] = "descriptors"
    scope = Scope.SHOT
    resources = Resources(cpus=1.0, memory_mb=900, picture_mb=8)
    bad_input_costs = "shot"
    chain_ms = 72.0

    def __init__(self) -> None:
        self._net: FaceDescriptor | None = None

    @classmethod
    def inputs(cls, at: Place) -> DescribeInputs | None:
        if at.face_descriptor is None:
            return None
        return DescribeInputs(at.ref(FaceTracks), at.face_descriptor, at.film, at.ref(ShotList), len(at.shot))

    def process(self, inputs: DescribeInputs, out: Path, progress: Callable[[int], None]) -> Descriptors:
        line = media.load_timeline(inputs.timeline.folder)
        tracks = load_tracks(inputs.faces.folder)
        seen = {t.id: good_frames(t, PICTURES) for t in tracks if t.height_px >= LEAST_PX}
        chips: dict[str, list[np.ndarray]] = {t.id: [] for t in tracks}
        wanted = sorted({frame for frames in seen.values() for frame in frames})
        for picture in media.chosen(inputs.film.path, line, wanted, threads=1):
            for track in tracks:
                if picture.frame in seen.get(track.id, ()):
                    mesh_P3 = track.mesh_NP3[picture.frame - track.start_frame]
                    ((x, y, width, height),) = face_boxes(mesh_P3[None], picture.size)
                    chips[track.id].append(chip(picture.bgr((x, y, width, height)), mesh_P3[:, :2] - (x, y)))
        if wanted and self._net is None:
            self._net = FaceDescriptor()
        found = {
            name: self._net.describe(faces) if faces and self._net else FaceDescriptor.nothing()
            for name, faces in chips.items()
        }
        save_descriptors(out, found)
        progress(inputs.frames)
        return Descriptors(sum(len(one) for one in found.values()))
