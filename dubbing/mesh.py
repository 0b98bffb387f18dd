"""MediaPipe's 478-point face mesh on crops of one face. Knows no video and no file.

One `MeshTracker` follows one face; never hand it another, or results would depend on the order of
work. MediaPipe loads when a tracker is made, not at import.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

__all__ = ["MeshTracker", "face_boxes"]


class MeshTracker:
    """Finds the mesh in crop after crop of the same face; each crop holds the whole face."""

    def __init__(self, confidence: float = 0.5) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        from mediapipe.python.solutions.face_mesh import FaceMesh

        self._mesh = FaceMesh(
            static_image_mode=False,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=confidence,
            min_tracking_confidence=confidence,
        )

    def find(self, bgr_HWC: np.ndarray) -> np.ndarray | None:
        """The mesh in pixels of this crop, float32 (478, 3), or None where no face is seen."""
        found = self._mesh.process(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB)).multi_face_landmarks
        if not found:
            return None
        height, width = bgr_HWC.shape[:2]
        points = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)
        return points * np.array([width, height, width], np.float32)

    def close(self) -> None:
        self._mesh.close()


def face_boxes(mesh_NP3: np.ndarray, picture_wh: tuple[int, int], room: float = 0.3) -> list[tuple[int, int, int, int]]:
    """A crop (x, y, width, height) of one size for every frame: the whole face with `room` of its size around.

    mesh_NP3: (N, 478, 3) pixels. Crops are even and lie inside the picture.
    """
    low, high = mesh_NP3[..., :2].min(1), mesh_NP3[..., :2].max(1)
    side = float((high - low).max()) * (1 + 2 * room)
    width, height = (int(min(np.ceil(side / 2) * 2, limit // 2 * 2)) for limit in picture_wh)
    centre = (low + high) / 2
    x = np.clip(np.rint((centre[:, 0] - width / 2) / 2) * 2, 0, (picture_wh[0] - width) // 2 * 2).astype(int)
    y = np.clip(np.rint((centre[:, 1] - height / 2) / 2) * 2, 0, (picture_wh[1] - height) // 2 * 2).astype(int)
    return [(int(a), int(b), width, height) for a, b in zip(x, y, strict=True)]
