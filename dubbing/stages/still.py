"""Still: the film that a photograph becomes, as long as the title's longest dub.

The picture may be given another expression first. Nothing moves in it, and it is lossless, so that what is not
rendered is the photograph's own pixels as the master's format holds them. Mouth, lids, brows and head move later, in
one pass for each dub (`dubbing.performance`): they follow the sound, of which this stage knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import File
from dubbing.artifacts.takes import STILL_FILM, StillFilm
from dubbing.expression import Look, create
from dubbing.face import height_px, yaw_deg
from dubbing.manifest import Expression
from dubbing.mesh import Detector, Meshes, MeshTracker
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs

__all__ = ["MakeFilm", "StillInputs", "find_faces", "look_of", "numbered", "why_left"]

_LOSSLESS = 0.0
_ROOM = 0.5  # of a detected face's size, around it, in which its mesh is looked for
_MOST_YAW_DEG = 45.0  # beyond which half of a face cannot be seen, and so not be bent
_LEAST_PX = 60.0
_LOOKS = 4  # the mesh settles when it is fitted this often in one picture


@dataclass(frozen=True)
class StillInputs(Inputs):
    """The inputs of the stage `still`."""

    photograph: File
    """The picture."""
    rate: str
    """Frames a second, as an exact fraction."""
    frames: int
    """Frames of the film."""
    look: Look | None = None
    """How the largest face is to look; None as it does."""
    weights: tuple[File, ...] | None = None
    """Checkpoint and directions of an editor that has any."""
    face: int | None = None
    """Where it is to look so: which face that is, counted from the left; None for the largest."""


class MakeFilm(Stage[StillInputs, StillFilm]):
    """The film that a photograph becomes."""

    name: ClassVar[str] = "still"
    version = 3
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=1200, picture_mb=30)
    chain_ms = 8.0

    def __init__(self) -> None:
        self._networks: tuple[Detector, Meshes] | None = None

    @classmethod
    def inputs(cls, at: Place) -> StillInputs | None:
        made = at.made_of
        if made is None:
            return None
        wanted = made.settings.expression
        return StillInputs(
            at.file(at.title.video), str(made.settings.rate), made.length,
            None if wanted is None else look_of(wanted),
            (tuple(at.file(file) for file in wanted.files) or None) if wanted else None,
            made.settings.face if wanted else None,
        )  # fmt: skip

    @classmethod
    def covers(cls, inputs: Inputs, at: Place) -> int:
        assert isinstance(inputs, StillInputs)
        return inputs.frames

    def process(self, inputs: StillInputs, out: Path, progress: Callable[[int], None]) -> StillFilm:
        """Raises MediaError where the photograph is no longer what it was."""
        bgr_HWC = media.read_photograph(inputs.photograph.path).bgr_HWC
        left = None
        if inputs.look:
            if self._networks is None:
                self._networks = Detector(), Meshes()
            meshes = numbered(find_faces(bgr_HWC, *self._networks), inputs.face)
            left = why_left(meshes)
            if not left:
                editor = create(inputs.look, *(file.path for file in inputs.weights or ()), speaks=True)
                bgr_HWC = editor.edit(bgr_HWC, meshes[0]).bgr_HWC
        height, width = bgr_HWC.shape[:2]
        writer = media.ClipWriter(
            out / STILL_FILM, width, height, Fraction(inputs.rate), crf=_LOSSLESS, matrix=media.BT709
        )
        with writer:
            for _ in range(inputs.frames):
                writer.frame(bgr_HWC)
                progress(1)
        return StillFilm(inputs.frames, left)

    def close(self) -> None:
        for network in self._networks or ():
            network.close()


def look_of(wanted: Expression) -> Look:
    """What a manifest asks for of a photograph's face."""
    emotion = wanted.emotion
    name, strength = (emotion.name, emotion.strength) if emotion else (None, 1.0)
    return Look(wanted.neutralise, name, strength, wanted.by)


def why_left(meshes: list[np.ndarray]) -> str | None:
    """Why the expression of a photograph's largest face is left as it is, a sentence; None where it can be changed."""
    if not meshes:
        return "no face was found in the photograph, so no expression was changed"
    turned = float(yaw_deg(meshes[0][None])[0])
    if abs(turned) > _MOST_YAW_DEG:
        return f"the face is turned by {abs(turned):.0f} degrees, so its expression was not changed"
    if (high := height_px(meshes[0][None])) < _LEAST_PX:
        return f"the face is {high:.0f} pixels high, too small for another expression"
    return None


def numbered(meshes: Sequence[np.ndarray], face: int | None) -> list[np.ndarray]:
    """The n-th face from the left alone, none where there are fewer; all of them where no face is named."""
    if face is None:
        return list(meshes)
    return sorted(meshes, key=lambda m: float(m[:, 0].mean()))[face - 1 :][:1]


def find_faces(bgr_HWC: np.ndarray, detector: Detector, meshes: Meshes) -> list[np.ndarray]:
    """The mesh of every face in a picture, float64 (478, 3) in its pixels, largest first."""
    height, width = bgr_HWC.shape[:2]
    found = []
    for _, (x, y, w, h) in detector.find(bgr_HWC, tiles=True):
        x0, y0 = max(0, int(x - _ROOM * w)), max(0, int(y - _ROOM * h))
        part = bgr_HWC[y0 : min(height, int(y + h + _ROOM * h)), x0 : min(width, int(x + w + _ROOM * w))]
        tracker = MeshTracker(meshes)
        try:
            seen = [tracker.find(np.ascontiguousarray(part)) for _ in range(_LOOKS)][-1] if part.size else None
        finally:
            tracker.close()
        if seen is not None:
            found.append(seen.astype(np.float64) + (x0, y0, 0))
    return sorted(found, key=lambda m: -float(np.ptp(m[:, 1])))
