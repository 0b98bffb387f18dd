"""Where LatentSync's faces lie in a track's pictures, and how they are laid back at the picture's own resolution.

Published, three points of a detector bring a face to the template; here they are means of the mesh's, over the upper
edges of the brows and about the nose, smoothed over time. Back goes what lies in the network's own hole and in the
lower face of the mesh both.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from dubbing.generators import RenderRequest
from dubbing.generators.paste import enlarged
from dubbing.generators.square import CropPlan, Part, steady_boxes
from dubbing.networks.latentsync import alignment, mask
from dubbing.smoothstep import smoothstep

__all__ = ["FacePlan", "hole"]

_SOFT = 0.02  # of the network's square: how softly its hole begins


@cache
def hole(side: int) -> np.ndarray:
    """How much of each of the network's pixels may go back, float32 (side, side) 0..1: 0 outside its hole and at its
    edge, 1 inside."""
    inside = (mask.kept(side) < 0.5).astype(np.uint8)
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return smoothstep((deep - 1) / (_SOFT * side)).astype(np.float32)


class FacePlan(CropPlan):
    """Everything about a track that needs no network. side: pixels of the network's square.

    matrices_N23 take whole pixels of the picture to the template's canvas, moves_N23 to the square.
    """

    def __init__(self, work: RenderRequest, ramp_frames: int, side: int) -> None:
        super().__init__(work, ramp_frames, steady_boxes)
        self.side = side
        follow = alignment.Matrices(side)
        self.matrices_N23 = np.stack([follow.of(alignment.mesh_points(mesh)) for mesh in self.mesh_NP2])
        self.moves_N23 = np.stack([alignment.to_square(one, side) for one in self.matrices_N23])
        corners = np.array([[x, y] for y in (-0.5, side - 0.5) for x in (-0.5, side - 0.5)])
        back = [cv2.invertAffineTransform(one) for one in self.moves_N23]
        found = np.stack([corners @ one[:, :2].T + one[:, 2] for one in back])
        self._bounds_N4 = np.concatenate([found.min(1), found.max(1) + 1], 1)

    def where(self, n: int) -> np.ndarray:
        return np.asarray(self.moves_N23[n])

    def bounds(self, n: int) -> np.ndarray:
        """No more of the picture than there is, and at least a pixel of it."""
        width, height = self._picture_wh
        low = np.minimum(np.maximum(self._bounds_N4[n, :2], 0), (width - 1, height - 1))
        high = np.maximum(np.minimum(self._bounds_N4[n, 2:], (width, height)), low + 1)
        return np.concatenate([low, high])

    def alpha(self, n: int) -> np.ndarray:
        inside = enlarged(hole(self.side), self.moves_N23[n], self.places[n])
        return super().alpha(n) * np.clip(inside, 0, 1)

    def seen(self, part: Part) -> np.ndarray:
        """The face as the network sees it, uint8 (side, side, 3), BGR; grey where the picture ends."""
        matrix = self.matrices_N23[part.number].copy()
        matrix[:, 2] += matrix[:, :2] @ part.corner
        return alignment.square_of(part.bgr_HWC, matrix, self.side)
