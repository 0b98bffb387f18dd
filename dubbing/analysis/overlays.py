"""What lies over a face and must stay as it is: keeps patches out of it, and takes it out of what patches are made of.

A patch moves pixels of the frame. Letters among them would bend, and come a second time. So what a patch is made of is
cleaned first (the place of the letters is filled from around it; Telea 2004, "An image inpainting technique based on
the fast marching method"), and where the letters lie the patch has no weight: what shows there is the frame's own.
Where letters cross the lips that would leave pieces of another mouth between them: such frames are left alone.
It knows no film and no generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dubbing.analysis.burned_in import THIN, Cover
from dubbing.clock import mask_of
from dubbing.face import OUTER_LIPS
from dubbing.records import Patch, Track

__all__ = ["KeepOut"]

_GROWN_PX = 2  # what compression smears around letters
_SOFT_PX, _MOST_SOFT_PX = 3.0, 12.0  # over which a patch gains its weight again
_SOFT_PART = 0.4  # of half the thickness: beside a plate more of what was filled comes into the open
_LIPS_COVERED = 0.02  # of the mouth's area
_FACE_COVERED = 0.4  # of the face below the nose
_AROUND_LIPS = 0.06  # eye distances that count to the mouth
_LOWER = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454,
          425, 2, 205)  # fmt: skip


@dataclass(frozen=True, eq=False)
class KeepOut:
    """What lies over one shot's picture. covers: in any order; draft: whether patches are kept at half their size."""

    covers: Sequence[Cover]
    draft: bool = False

    def mask(self, frame: int, x: int, y: int, width: int, height: int, grown_px: int = _GROWN_PX) -> np.ndarray | None:
        """What is covered in a part of a frame, bool (H, W), with `grown_px` around it; None where nothing is."""
        room = grown_px + 1
        whole = np.zeros((height + 2 * room, width + 2 * room), np.uint8)
        for one in self.covers:
            if one.start <= frame < one.end:
                left, top = one.x - x + room, one.y - y + room
                high, wide = one.mask_HW.shape
                rows = slice(max(top, 0), min(top + high, len(whole)))
                columns = slice(max(left, 0), min(left + wide, whole.shape[1]))
                if rows.start < rows.stop and columns.start < columns.stop:
                    inner = one.mask_HW[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                    whole[rows, columns] |= inner.astype(np.uint8)
        if not whole.any():
            return None
        if grown_px:
            whole = cv2.dilate(whole, np.ones((2 * grown_px + 1,) * 2, np.uint8))
        part = whole[room:-room, room:-room] > 0
        return part if part.any() else None

    def cleaned(self, frame: int, x: int, y: int, picture_HWC: np.ndarray) -> np.ndarray:
        """A part of a frame, uint8 or uint16 (H, W, 3), with what is covered filled from around it."""
        height, width = picture_HWC.shape[:2]
        mask_HW = self.mask(frame, x, y, width, height, _GROWN_PX + 1)
        if mask_HW is None or mask_HW.all():
            return picture_HWC
        hole = mask_HW.astype(np.uint8)
        if picture_HWC.dtype == np.uint8:
            return cv2.inpaint(np.ascontiguousarray(picture_HWC), hole, 4, cv2.INPAINT_TELEA)
        planes = [cv2.inpaint(np.ascontiguousarray(p), hole, 4, cv2.INPAINT_TELEA) for p in cv2.split(picture_HWC)]
        return cv2.merge(planes)

    def kept_out(self, patch: Patch) -> tuple[Patch, bool]:
        """The patch without weight where something lies, softly around it; and whether anything lies in it."""
        height, width = patch.matte_HW.shape
        mask_HW = self.mask(patch.frame, patch.x, patch.y, width, height, _GROWN_PX + self.draft)
        if mask_HW is None or not (patch.matte_HW[mask_HW] > 0).any():
            return patch, False
        thick_px = float(cv2.distanceTransform(mask_HW.astype(np.uint8), cv2.DIST_L2, 5).max())
        soft_px = float(np.clip(_SOFT_PART * thick_px, _SOFT_PX, _MOST_SOFT_PX))
        away = cv2.distanceTransform((~mask_HW).astype(np.uint8), cv2.DIST_L2, 5)
        weight = np.clip(away / (soft_px + 1), 0, 1)
        return replace(patch, matte_HW=np.rint(patch.matte_HW * weight).astype(np.uint8)), True

    def blocked(self, track: Track) -> np.ndarray:
        """Frames of a track in which something lies over its lips, or over much of its lower face, bool (N,)."""
        found = np.zeros(len(track.frames_N), bool)
        near = np.zeros(len(found), bool)
        for one in self.covers:
            near |= mask_of([(one.start, one.end)], track.start_frame, track.end_frame)
        for n in np.flatnonzero(near):
            mesh_P2 = track.mesh_NP3[n, :, :2]
            eye = float(np.linalg.norm(mesh_P2[33] - mesh_P2[263]))
            found[n] = (
                self._share(track.start_frame + int(n), mesh_P2[list(OUTER_LIPS)], _AROUND_LIPS * eye) > _LIPS_COVERED
                or self._share(track.start_frame + int(n), mesh_P2[list(_LOWER)], 0.0) > _FACE_COVERED
            )
        return found

    def thin(self, start: int, end: int) -> bool:
        """Whether all that lies there in frames [start, end) was found by thin evidence."""
        here = [c for c in self.covers if c.start < end and start < c.end]
        return bool(here) and not any(c.given or c.edges >= THIN for c in here)

    def _share(self, frame: int, outline_P2: np.ndarray, room: float) -> float:
        """The part of the area inside an outline that is covered, 0..1."""
        low = np.floor(outline_P2.min(0) - room).astype(int)
        width, height = (np.ceil(outline_P2.max(0) + room).astype(int) - low + 1).tolist()
        mask_HW = self.mask(frame, int(low[0]), int(low[1]), width, height, 0)
        if mask_HW is None:
            return 0.0
        area = np.zeros((height, width), np.uint8)
        cv2.fillPoly(area, [np.rint(outline_P2 - low).astype(np.int32)], (1,))
        if room >= 1:
            area = cv2.dilate(area, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(room) + 1,) * 2))
        return float(mask_HW[area > 0].mean()) if area.any() else 0.0
