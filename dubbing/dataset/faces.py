"""What a face picture of a data folder is: which box of the frame, how it is cut, and where the lips lie in it.

The boxes are those that `wav2lip`, or `musetalk`, sees when it renders (a test holds them together): training and use
must look at faces in one way. It knows no file, no time and no network.

Axes: N frames, P mesh points. Boxes are float (left, top, right, bottom) in pixels of the upright picture.
"""

from __future__ import annotations

import numpy as np

from dubbing.face import LIPS, canonical
from dubbing.generators.paste import cut_square, raised, smooth
from dubbing.media import Picture
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.musetalk.box import boxes_of_mesh

__all__ = ["CROPS", "MUSETALK", "cut_face", "face_boxes", "lips_in", "lip_shapes"]

MUSETALK = "musetalk"
CROPS = ("wav2lip", MUSETALK)
"""Whose boxes there are."""
_MARGIN = 10.0  # pixels of 256 under the chin, as version 1.5 of `generators.musetalk`
_BELOW = 0.06  # of the box's height, as in `generators.square`


def face_boxes(mesh_NP3: np.ndarray, reach: int, crop: str | None = None) -> np.ndarray:
    """Boxes of one face in frames that follow each other, float64 (N, 4), smoothed over `reach` frames to each side.

    mesh_NP3: (N, 478, 3) pixels; crop: of CROPS, whose boxes; None for the first.
    """
    mesh = np.asarray(mesh_NP3)
    if crop == MUSETALK:
        boxes = smooth(boxes_of_mesh(mesh, 0.0, _MARGIN), reach)
    else:
        boxes = smooth(detector_boxes(mesh), reach)
        boxes[:, 3] += _BELOW * (boxes[:, 3] - boxes[:, 1])
    lips_NP2 = np.zeros((*mesh.shape[:2], 2))
    lips_NP2[:, list(LIPS)] = smooth(mesh[:, list(LIPS), :2], reach)
    return raised(boxes, lips_NP2)


def cut_face(picture: Picture, box_4: np.ndarray, side: int) -> np.ndarray:
    """The box of a picture as a square, uint8 (side, side, 3) BGR; beyond the picture its edge is repeated."""
    width, height = picture.size
    left, top = min(max(0, int(box_4[0]) - 2), width - 2), min(max(0, int(box_4[1]) - 2), height - 2)
    right = max(min(width, int(box_4[2]) + 3), left + 2)
    bottom = max(min(height, int(box_4[3]) + 3), top + 2)
    part = picture.bgr(box=(left, top, right - left, bottom - top))
    return cut_square(part, (left, top), box_4, side)


def lips_in(mesh_NP3: np.ndarray, boxes_N4: np.ndarray) -> np.ndarray:
    """The lips' box left, top, right, bottom in parts 0..1 of each face picture, float32 (N, 4)."""
    lips = np.asarray(mesh_NP3, np.float64)[:, list(LIPS), :2]
    boxes = np.asarray(boxes_N4, np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    low, high = (lips.min(1) - boxes[:, :2]) / size, (lips.max(1) - boxes[:, :2]) / size
    return np.clip(np.concatenate([low, high], 1), 0, 1).astype(np.float32)


def lip_shapes(mesh_NP3: np.ndarray) -> np.ndarray:
    """The lips' outer and inner ring without the head's turn, place and size, float32 (N, 40, 2)."""
    return canonical(mesh_NP3)[0][:, list(LIPS), :2].astype(np.float32)
