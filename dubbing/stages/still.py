"""Still: the film that a photograph becomes, as long as the title's longest dub.

The film is lossless where nothing moves, so that what is not rendered is the photograph's own pixels as
the master's format holds them; `motion` changes all of them a little, and then it is visually lossless. Knows
no sound: when the mouth moves is decided later, as on any film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.mesh import Detector, Meshes, MeshTracker
from dubbing.stage import Resources, Stage
from dubbing.stages.idle_motion import Blinks, Sway

__all__ = ["MakeFilm", "find_faces"]

FILE = "film.mp4"
_LOSSLESS, _MOVING_CRF = 0.0, 6.0
_ROOM = 0.5  # of a detected face's size, around it, in which its mesh is looked for
_LOOKS = 4  # the mesh settles within as many looks at one picture


class MakeFilm(Stage):
    """args: photograph, path; rate, as in the manifest; frames; blinks, motion: bool. Result: `film.mp4`.

    Returns frames, and what was found to move: faces (that blink), head (whether one sways).
    """

    name: ClassVar[str] = "still"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def __init__(self) -> None:
        self._networks: tuple[Detector, Meshes] | None = None

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Raises MediaError where the photograph is no longer what it was."""
        bgr_HWC = media.read_photograph(args["photograph"]).bgr_HWC
        rate, count = Fraction(args["rate"]), args["frames"]
        meshes: list[np.ndarray] = []
        if args["blinks"] or args["motion"]:
            if self._networks is None:
                self._networks = Detector(), Meshes()
            meshes = find_faces(bgr_HWC, *self._networks)
        moves = bool(args["motion"] and meshes)
        height, width = bgr_HWC.shape[:2]
        writer = media.ClipWriter(
            out / FILE, width, height, rate, crf=_MOVING_CRF if moves else _LOSSLESS, matrix=media.BT709
        )
        with writer:
            for frame in _frames(bgr_HWC, meshes, rate, count, args["blinks"], moves):
                writer.frame(frame)
                progress(1)
        return {"frames": count, "faces": len(meshes) if args["blinks"] else 0, "head": moves}

    def close(self) -> None:
        for network in self._networks or ():
            network.close()


def _frames(
    bgr_HWC: np.ndarray, meshes: list[np.ndarray], rate: Fraction, count: int, blinks: bool, moves: bool
) -> Iterator[np.ndarray]:
    """Every picture of the film, uint8 (H, W, 3)."""
    eyes = Blinks(bgr_HWC, meshes) if blinks and meshes else None
    sway = Sway(bgr_HWC, meshes[0]) if moves else None
    for n in range(count):
        middle_s = (n + 0.5) / float(rate)
        picture = eyes.at(middle_s, 1 / float(rate)) if eyes else bgr_HWC
        yield sway.move(picture, middle_s) if sway else picture


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
