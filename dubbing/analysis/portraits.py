"""The one face in a picture that somebody gives of an actor. It knows no film and no person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.identity import Signature, portrait, proportions
from dubbing.analysis.tracker import box_of
from dubbing.errors import MediaError
from dubbing.mesh import Box, Detector, Meshes, MeshTracker, inside

__all__ = ["FaceFinder", "Portrait"]

_MOST_PX = 2000  # long side in which a face is looked for
_LEAST_PX = 50.0  # of a face's height
_OTHER = 0.35  # a face lower than this part of the highest is somebody in the background
_ROOM = 0.45  # of a found box's size, around it, in which the mesh is fitted


@dataclass(frozen=True, eq=False)
class Portrait:
    """A picture of one face. bgr_HWC: uint8, upright; mesh_P3: float32 (478, 3), pixels of it."""

    bgr_HWC: np.ndarray
    mesh_P3: np.ndarray

    @property
    def signature(self) -> Signature:
        """What is compared where there are no descriptors."""
        face = portrait(self.bgr_HWC, self.mesh_P3).astype(np.float32)
        return Signature(face, proportions(self.mesh_P3[None]), 1)


class FaceFinder:
    """Finds the one face in pictures. Built once for many; closed by its owner."""

    def __init__(self) -> None:
        self._detector, self._meshes = Detector(), Meshes()

    def find(self, path: Path, name: str | None = None) -> Portrait:
        """The face in a picture. name: of the file, for messages, where that is another than its path.

        Raises MediaError: it is no picture, or shows no face, several, or one too small to be known by.
        """
        shown = name or str(path)
        if path.exists() and not media.is_photograph(path):
            raise MediaError(f"{shown} is no picture; give a PNG, JPEG, WebP or TIFF file of the actor's face.")
        bgr_HWC = media.read_photograph(path, for_film=False).bgr_HWC
        part = _MOST_PX / max(bgr_HWC.shape[:2])
        if part < 1:
            bgr_HWC = cv2.resize(bgr_HWC, None, fx=part, fy=part, interpolation=cv2.INTER_AREA)
        boxes = [box for _, box in self._detector.find(bgr_HWC, tiles=True)]
        highest = max((box[3] for box in boxes), default=0.0)
        looked = [self._mesh(bgr_HWC, box) for box in boxes if box[3] >= _OTHER * highest]
        meshes = [mesh for mesh in looked or [self._mesh(bgr_HWC, None)] if mesh is not None]
        if len(meshes) > 1:
            raise MediaError(f"{shown} shows {len(meshes)} faces; cut out the one that is meant.")
        if not meshes:
            raise MediaError(f"{shown} shows no face that is found; give a picture of the face, from the front.")
        (mesh_P3,) = meshes
        height = float(np.ptp(mesh_P3[:, 1]))
        if height < _LEAST_PX:
            raise MediaError(
                f"{shown} shows a face of {height:.0f} pixels, too small to be known by; give one of at least "
                f"{_LEAST_PX:.0f}."
            )
        return Portrait(bgr_HWC, mesh_P3)

    def _mesh(self, bgr_HWC: np.ndarray, box: Box | None) -> np.ndarray | None:
        """The mesh of the face in a box, None where it is no face (hands look like one to the detector). Of the whole
        picture without a box: a face may be too near to be detected."""
        height, width = bgr_HWC.shape[:2]
        x, y, w, h = box or (0.0, 0.0, float(width), float(height))
        room = _ROOM * max(w, h) if box else 0.0
        left, top = (int(max(0, v - room)) for v in (x, y))
        right, bottom = int(min(width, x + w + room)), int(min(height, y + h + room))
        tracker = MeshTracker(self._meshes)
        try:
            found = tracker.find(bgr_HWC[top:bottom, left:right])
        finally:
            tracker.close()
        if found is None:
            return None
        mesh_P3 = found + np.array([left, top, 0], np.float32)
        return mesh_P3 if box is None or inside(box, box_of(mesh_P3)) else None

    def close(self) -> None:
        """Let go of the networks."""
        self._detector.close()
        self._meshes.close()
