"""The face box that published pipelines feed their networks, from our mesh. Numbers only.

Their detectors (S3FD and its kin) were trained on WIDER FACE, whose boxes reach from the hairline to the
chin; MediaPipe's mesh begins on the forehead. Measured against YuNet, trained on the same boxes, on eight
frames each of seven clips (medians by clip, in mesh heights): its top lies 0.12 +- 0.03 above the mesh's,
its sides 0.02 +- 0.01 inside, its bottom at the chin within 0.01.
"""

from __future__ import annotations

import numpy as np

__all__ = ["detector_boxes"]

_ABOVE, _INSIDE = 0.12, 0.02  # of the mesh's height


def detector_boxes(mesh_NP3: np.ndarray) -> np.ndarray:
    """Boxes as such a detector draws them, float64 (N, 4): left, top, right, bottom.

    mesh_NP3: (N, 478, >=2) pixels.
    """
    low, high = (np.asarray(f(mesh_NP3[..., :2], 1), np.float64) for f in (np.min, np.max))
    height = high[:, 1] - low[:, 1]
    return np.stack(
        [low[:, 0] + _INSIDE * height, low[:, 1] - _ABOVE * height, high[:, 0] - _INSIDE * height, high[:, 1]], 1
    )
