"""Geometry of MediaPipe's 478-point face mesh. Numbers only: no picture, no model, no file.

Shapes are *canonical*: the head's turn, place and size are taken out by a similarity transform in
3-D fitted on points that speech does not move (eyes, nose bridge, temples, forehead), and lengths
are in inter-ocular distances (outer eye corners). x to the picture's right, y down, z away.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "INNER_LIPS", "JAW", "LIPS", "LOWER_FACE", "LOWER_LIDS", "OUTER_LIPS", "OVAL", "RIGID", "UPPER_LIDS",
    "align", "apply_pose", "canonical", "height_px", "mouth_measures", "roll_deg", "still_mesh", "yaw_deg",
]  # fmt: skip

_LOOKS = 64  # at a picture that stands
EYE_OUTER = (33, 263)
BRIDGE, CHIN, FOREHEAD = 168, 152, 10
# Upper lip left to right, then lower lip right to left, as the picture shows them.
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
LIPS = OUTER_LIPS + INNER_LIPS
# Jaw line from ear to ear through the chin, then the chin's own points.
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361,
       18, 200, 199, 175, 83, 313, 201, 421, 208, 428, 171, 396, 140, 369)  # fmt: skip
LOWER_FACE = LIPS + JAW
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
"""The outline of the face, from the top of the forehead to the picture's right and round."""
# Of the eye at the picture's left, then of the other: from corner to corner.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
# Points that speech hardly moves: hair line, temples, eye corners, nose. No brow (it is raised in speech), no
# nostrils (they widen in a smile). Measured: 8 % less motion of the jaw under head turns than with the brow.
RIGID = (10, 338, 109, 162, 389, 127, 356, 33, 133, 362, 263, 168, 6, 197, 195, 5, 8, 193, 417, 122, 351, 245, 465,
         1, 4, 2, 19, 94, 45, 275, 51, 281, 3, 248, 196, 419)  # fmt: skip
_FRAME = (*RIGID, CHIN)  # what places a face, the eyes' outer corners and the forehead among them


def align(points_NP3: np.ndarray, reference_P3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity transforms that take `reference` onto each frame's points, least squares.

    points_NP3: (N, P, 3); reference_P3: (P, 3). Returns scale_N (N,), rotation_N33 (N, 3, 3) and
    shift_N3 (N, 3) with points ~ scale * reference @ rotation.T + shift (Umeyama 1991).
    """
    points = np.asarray(points_NP3, np.float64)
    ref = np.asarray(reference_P3, np.float64)
    ref_mean = ref.mean(0)
    mean_N3 = points.mean(1)
    a = ref - ref_mean
    b = points - mean_N3[:, None]
    cov = np.einsum("npi,pj->nij", b, a)
    u, s, vt = np.linalg.svd(cov)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    fix = np.ones((len(points), 3))
    fix[:, 2] = sign
    rot = (u * fix[:, None, :]) @ vt
    scale = (s * fix).sum(1) / (a**2).sum()
    shift = mean_N3 - scale[:, None] * np.einsum("nij,j->ni", rot, ref_mean)
    return scale, rot, shift


def apply_pose(
    shape_NP3: np.ndarray, scale_N: np.ndarray, rotation_N33: np.ndarray, shift_N3: np.ndarray
) -> np.ndarray:
    """Canonical points into the picture: (N, P, 3) pixels."""
    return scale_N[:, None, None] * (shape_NP3 @ np.swapaxes(rotation_N33, 1, 2)) + shift_N3[:, None]


def canonical(mesh_NP3: np.ndarray, rounds: int = 3) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Take pose and size out of one face's meshes.

    mesh_NP3: (N, 478, 3) pixels. Returns shape_NP3, float64, in inter-ocular distances with the
    face upright and its eyes' middle at the origin, and the pose (scale, rotation, shift) that takes
    it back by `apply_pose`. The reference is the frames' own mean, refined `rounds` times.
    """
    mesh = np.asarray(mesh_NP3, np.float64)
    rigid = [_FRAME.index(point) for point in RIGID]
    frame, still = mesh[:, list(_FRAME)], mesh[:, list(RIGID)]  # all that the reference is made of
    reference = _upright(frame[len(mesh) // 2])
    for _ in range(rounds):
        scale, rot, shift = align(still, reference[rigid])
        shape = ((frame - shift[:, None]) @ rot) / scale[:, None, None]
        reference = _upright(np.median(shape, axis=0))
    scale, rot, shift = align(still, reference[rigid])
    shape = ((mesh - shift[:, None]) @ rot) / scale[:, None, None]
    return shape, (scale, rot, shift)


def _upright(frame_P3: np.ndarray) -> np.ndarray:
    """A face, by its points of _FRAME, turned to look at the camera: eye line along x, forehead to chin along y, unit
    eye distance."""
    left, right, brow, chin = (frame_P3[_FRAME.index(point)] for point in (*EYE_OUTER, FOREHEAD, CHIN))
    x = right - left
    size = np.linalg.norm(x)
    x = x / size
    down = chin - brow
    y = down - x * (down @ x)
    y = y / np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    return (frame_P3 - (left + right) / 2) @ axes.T / size


def still_mesh(mesh_NP3: np.ndarray) -> np.ndarray:
    """The mesh of a face in a picture that stands, float64 (478, 3): the median of what was found in some frames of it.

    mesh_NP3: (N, 478, 3), found again and again in the same picture, so that it trembles.
    """
    looks = np.unique(np.linspace(0, len(mesh_NP3) - 1, _LOOKS).round().astype(int))
    return np.asarray(np.median(np.asarray(mesh_NP3)[looks].astype(np.float64), axis=0))


def mouth_measures(shape_NP3: np.ndarray) -> dict[str, np.ndarray]:
    """Opening, width and protrusion of canonical shapes, each float (N,), in inter-ocular distances.

    opening: mean gap between the inner lips at three places; width: between the mouth's corners;
    protrusion: how far the lips stand before the corners of the eyes (positive is nearer).
    """
    gaps = [np.linalg.norm(shape_NP3[:, a] - shape_NP3[:, b], axis=-1) for a, b in ((82, 87), (13, 14), (312, 317))]
    width = np.linalg.norm(shape_NP3[:, 61] - shape_NP3[:, 291], axis=-1)
    protrusion = -(shape_NP3[:, [0, 17]].mean(1)[:, 2] - shape_NP3[:, [61, 291]].mean(1)[:, 2])
    return {"opening": np.mean(gaps, 0), "width": width, "protrusion": protrusion}


def yaw_deg(mesh_NP3: np.ndarray) -> np.ndarray:
    """Head turn of each frame in degrees, float32 (N,), -90..90, whatever the roll: how far the line through the eyes
    leaves the plane of the picture. Positive when an upright face looks to the picture's right."""
    mesh = np.asarray(mesh_NP3, np.float64)
    across = mesh[:, EYE_OUTER[1]] - mesh[:, EYE_OUTER[0]]
    return np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1]))).astype(np.float32)


def roll_deg(mesh_NP3: np.ndarray) -> np.ndarray:
    """How far each frame's head leans in the picture's plane, degrees, float32 (N,), -180..180: 0 upright, 90 with its
    chin to the picture's left, 180 upside down."""
    mesh = np.asarray(mesh_NP3, np.float64)
    down = mesh[:, CHIN, :2] - mesh[:, BRIDGE, :2]
    return np.degrees(np.arctan2(-down[:, 0], down[:, 1])).astype(np.float32)


def height_px(mesh_NP3: np.ndarray) -> float:
    """The median height of a face in pixels, from the side of its box that lies along the head: a lying head's width in
    the picture is its height."""
    size = mesh_NP3[..., :2].max(1) - mesh_NP3[..., :2].min(1)
    lies = np.abs(np.abs(roll_deg(mesh_NP3)) - 90.0) < 45.0
    return float(np.median(np.where(lies, size[:, 0], size[:, 1])))
