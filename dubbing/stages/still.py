"""Still: the film that a photograph becomes, as long as the title's longest dub.

Nothing moves in it, and it is lossless, so that what is not rendered is the photograph's own pixels as
the master's format holds them. Mouth, lids, brows and head move later, in one pass for each dub (`RenderRequest.acts`):
they follow the sound, of which this stage knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import File
from dubbing.artifacts.takes import STILL_FILM, StillFilm
from dubbing.mesh import Detector, Meshes, MeshTracker
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs

__all__ = ["MakeFilm", "StillInputs", "find_faces"]

_LOSSLESS = 0.0
_ROOM = 0.5  # of a detected face's size, around it, in which its mesh is looked for
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


class MakeFilm(Stage[StillInputs, StillFilm]):
    """The film that a photograph becomes."""

    name: ClassVar[str] = "still"
    version = 2
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=700, picture_mb=30)
    chain_ms = 8.0

    @classmethod
    def inputs(cls, at: Place) -> StillInputs | None:
        made = at.made_of
        if made is None:
            return None
        return StillInputs(at.file(at.title.video), str(made.settings.rate), made.length)

    @classmethod
    def covers(cls, inputs: Inputs, at: Place) -> int:
        assert isinstance(inputs, StillInputs)
        return inputs.frames

    def process(self, inputs: StillInputs, out: Path, progress: Callable[[int], None]) -> StillFilm:
        """Raises MediaError where the photograph is no longer what it was."""
        bgr_HWC = media.read_photograph(inputs.photograph.path).bgr_HWC
        height, width = bgr_HWC.shape[:2]
        writer = media.ClipWriter(
            out / STILL_FILM, width, height, Fraction(inputs.rate), crf=_LOSSLESS, matrix=media.BT709
        )
        with writer:
            for _ in range(inputs.frames):
                writer.frame(bgr_HWC)
                progress(1)
        return StillFilm(inputs.frames)


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
