"""Descriptors: what each face of a shot looks like, in a few good pictures of it. Optional evidence of who is who.

Made only where the extra `identity` is installed. The pictures were taken as the faces were followed
(`analysis.identity.Chips`): no film is opened here, and nobody is joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.analysis.tracker import LEAST_CHIP_PX
from dubbing.artifact import Ref
from dubbing.artifacts.descriptors import Descriptors, save_descriptors
from dubbing.artifacts.tracks import FaceTracks, load_signatures, load_tracks
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

__all__ = ["Describe", "DescribeInputs"]


@dataclass(frozen=True)
class DescribeInputs(Inputs):
    """The inputs of the stage `descriptors`."""

    faces: Ref[FaceTracks]
    """The shot's faces."""
    model: str
    """`name@hash12` of the network's weights."""
    frames: int = uncounted("the faces are those of the shot")
    """Length of the shot."""


class Describe(Stage[DescribeInputs, Descriptors]):
    """The descriptors of one shot's faces."""

    name: ClassVar[str] = "descriptors"
    scope = Scope.SHOT
    resources = Resources(cpus=1.0, memory_mb=500)
    bad_input_costs = "shot"
    chain_ms = 72.0

    def __init__(self) -> None:
        self._net: FaceDescriptor | None = None

    @classmethod
    def inputs(cls, at: Place) -> DescribeInputs | None:
        if at.face_descriptor is None:
            return None
        return DescribeInputs(at.ref(FaceTracks), at.face_descriptor, len(at.shot))

    def process(self, inputs: DescribeInputs, out: Path, progress: Callable[[int], None]) -> Descriptors:
        tracks = load_tracks(inputs.faces.folder)
        found: dict[str, np.ndarray] = {}
        for track, seen in zip(tracks, load_signatures(inputs.faces.folder), strict=True):
            chips = list(seen.chips) if track.height_px >= LEAST_CHIP_PX else []
            if chips and self._net is None:
                self._net = FaceDescriptor()
            found[track.id] = self._net.describe(chips) if chips and self._net else FaceDescriptor.nothing()
        save_descriptors(out, found)
        progress(inputs.frames)
        return Descriptors(sum(len(one) for one in found.values()))
