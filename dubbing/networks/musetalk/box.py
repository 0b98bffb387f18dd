"""The box about a face that MuseTalk sees: its middle row lies on the bridge of the nose, its last one at the chin.

The published code takes 68 points of a face; here they come from the mesh, as 68 of its points that lie where those do.
Boxes are (left, top, right, bottom) in pixels of the picture.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LANDMARKS", "SIDE", "boxes_of_mesh", "published_box"]

SIDE = 256  # pixels of the network's picture, in which shift and margin are counted here
_NOSE = 29  # of the 68: on the bridge, one above the tip
LANDMARKS = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,  # from ear to ear by the chin
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # bridge and bottom of the nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,  # lips, without and within
)  # fmt: skip
"""Points of the mesh for each of the 68."""


def published_box(
    points_682: np.ndarray, shift: int = 0, detected: tuple[int, int, int, int] | None = None, *, margin: int = 0,
    height: int | None = None,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The box as the published code has it, whole pixels.

    points: 68, x and y; shift: how far down the middle row is moved (`bbox_shift`, of 1.0 alone); detected: a
    detector's box, which holds where the points give none; margin: more room under the chin (1.5: 10 pixels), which
    ends at the picture's `height`.
    """
    points = np.asarray(points_682).astype(int)
    middle = int(points[_NOSE, 1]) + shift
    low, high = points.min(0), points.max(0)
    bottom = int(high[1])
    box = int(low[0]), max(0, middle - (bottom - middle)), int(high[0]), bottom
    if detected is not None and (box[3] <= box[1] or box[2] <= box[0] or box[0] < 0):
        box = detected
    bottom = box[3] + margin
    return box[0], box[1], box[2], bottom if height is None else min(bottom, height)


def boxes_of_mesh(mesh_NP2: np.ndarray, shift: float, margin: float) -> np.ndarray:
    """The boxes of faces, float64 (N, 4): not rounded, and not cut off at the picture's edge, so that the middle stays
    where it belongs.

    mesh_NP2: (N, 478, >=2) pixels; shift, margin: in pixels of the network's picture of 256, so that they mean the
    same in a film of any size.
    """
    points = np.asarray(mesh_NP2, np.float64)[:, list(LANDMARKS), :2]
    low, high = points.min(1), points.max(1)
    middle, bottom = points[:, _NOSE, 1], high[:, 1]
    pixel = 2 * (bottom - middle) / SIDE
    middle = middle + shift * pixel
    return np.stack([low[:, 0], 2 * middle - bottom, high[:, 0], bottom + margin * pixel], 1)
