"""Put a wanted mouth into a frame, out of the actor's own pixels.

Two layers at native resolution (design section 4, step 4):
  the frame itself, its jaw and chin bent to the wanted shape, so beard, light and background stay;
  over it the lips and what is between them, from a frame of the same actor that has such a mouth,
  bent onto this head, its colour fitted on the border ring, under a soft matte.
Knows nothing of sound or time: one frame in, one patch out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing.face import JAW, LIPS, OUTER_LIPS
from dubbing.generators.rewrite.warp import dense_map, warp

__all__ = ["Face", "Box", "crop_boxes", "render"]

# Points of the middle face that stay where they are: under the nose, nostrils, cheeks, ear side.
_STILL = (2, 98, 327, 164, 129, 358, 205, 425, 50, 280, 123, 352, 93, 323, 234, 454)
_AROUND_LIPS = (164, 167, 393, 165, 391, 92, 322, 186, 410, 57, 287, 43, 273, 106, 335, 182, 406, 83, 313, 18,
                200, 201, 421, 204, 424, 202, 422)  # fmt: skip
# Points below the chin that stay, in eye distances right of and below it.
_BELOW = ((-1.1, 0.25), (-0.7, 0.38), (-0.35, 0.42), (0.0, 0.44), (0.35, 0.42), (0.7, 0.38), (1.1, 0.25))
_LIP_CONTROL = tuple(dict.fromkeys(LIPS + _AROUND_LIPS))
_JAW_CONTROL = tuple(dict.fromkeys(JAW + OUTER_LIPS))


@dataclass(frozen=True)
class Box:
    """A crop of the upright picture: even top left and even size, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """One frame's crop with its (smoothed) mesh: bgr_HWC uint8; box: where the crop lies in the picture;
    mesh_P2: (478, 2) pixels of the picture."""

    bgr_HWC: np.ndarray
    box: Box
    mesh_P2: np.ndarray

    @property
    def local_P2(self) -> np.ndarray:
        return self.mesh_P2 - (self.box.x, self.box.y)


def crop_boxes(mesh_NP2: np.ndarray, picture_wh: tuple[int, int], room: float = 0.3) -> list[Box]:
    """A crop of one size for every frame of a track: the face below the nose, with `room` eye distances around.

    mesh_NP2: (N, 478, 2). The size is the largest frame's; crops are pushed inside the picture.
    """
    eye = np.linalg.norm(mesh_NP2[:, 33] - mesh_NP2[:, 263], axis=-1)
    lower = mesh_NP2[:, list(JAW + LIPS + (2,))]
    margin = room * eye[:, None]
    low, high = lower.min(1) - margin, lower.max(1) + margin
    size = np.ceil((high - low).max(0) / 8).astype(int) * 8
    width, height = (int(min(s, limit // 2 * 2)) for s, limit in zip(size, picture_wh, strict=True))
    middle = (low + high) / 2
    boxes = []
    for cx, cy in middle:
        x = int(np.clip(round((cx - width / 2) / 2) * 2, 0, (picture_wh[0] - width) // 2 * 2))
        y = int(np.clip(round((cy - height / 2) / 2) * 2, 0, (picture_wh[1] - height) // 2 * 2))
        boxes.append(Box(x, y, width, height))
    return boxes


def render(
    target: Face, wanted_P2: np.ndarray, donors: Sequence[tuple[Face, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """The target's crop with the wanted mouth: (bgr_HWC uint8, matte_HW uint8).

    wanted_P2: (478, 2) where the mesh should be, in pixels of the picture; donors: frames that lend
    their mouths, with weights that add up to 1.
    """
    size = (target.box.width, target.box.height)
    origin = (target.box.x, target.box.y)
    goal = wanted_P2 - origin
    eye = float(np.linalg.norm(target.mesh_P2[33] - target.mesh_P2[263]))
    step = max(3, int(round(eye / 16)))
    face, bent = _bend_jaw(target, goal, eye, step)
    matte = _mouth_matte(goal, size, eye)
    mouth = np.zeros(face.shape, np.float32)
    for donor, weight in donors:
        mouth += weight * _match_colour(_bend_mouth(donor, goal, size, eye, step), face, matte)
    alpha = matte[..., None]
    mixed = face.astype(np.float32) * (1 - alpha) + mouth * alpha
    changed = np.minimum(np.maximum(np.clip(bent * 5, 0, 1), np.clip(matte * 6, 0, 1)), _border(size, eye))
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), np.rint(changed * 255).astype(np.uint8)


def _bend_jaw(target: Face, goal_P2: np.ndarray, eye: float, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The target's own pixels with jaw and chin where they are wanted, and where it may differ, (H, W) 0..1."""
    here = target.local_P2
    width, height = target.box.width, target.box.height
    down = goal_P2[152] - goal_P2[168]
    down = down / max(np.linalg.norm(down), 1e-6)
    right = np.array([-down[1], down[0]]) * -1
    ring = goal_P2[152] + eye * (np.array(_BELOW)[:, :1] * right + np.array(_BELOW)[:, 1:] * down)
    controls, still = list(_JAW_CONTROL), list(_STILL)
    points = np.concatenate([goal_P2[controls], here[still], ring])
    moves = np.concatenate([here[controls] - goal_P2[controls], np.zeros((len(still) + len(ring), 2))])
    move = dense_map(points, moves, (width, height), step, smooth=0.3)
    # The bend reaches from under the nose to under the chin and no further.
    edge = [58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288]
    hull = np.concatenate([here[edge], goal_P2[edge], ring[1:-1] - 0.2 * eye * down, here[[205, 2, 425]]])
    inside = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(inside, np.rint(cv2.convexHull(hull.astype(np.float32)) * 16).astype(np.int32), 1.0, shift=4)
    inside = cv2.blur(inside, (int(0.2 * eye) | 1,) * 2)
    inside = cv2.blur(inside, (int(0.2 * eye) | 1,) * 2)
    move *= inside[..., None]
    return warp(target.bgr_HWC, move), inside


def _bend_mouth(donor: Face, goal_P2: np.ndarray, size: tuple[int, int], eye: float, step: int) -> np.ndarray:
    """The donor's mouth bent onto the wanted one, float32 (H, W, 3), in the target's crop."""
    controls = list(_LIP_CONTROL)
    points, there = goal_P2[controls], donor.local_P2[controls]
    move = dense_map(points, there - points, size, step, smooth=0.6)
    return warp(donor.bgr_HWC, move).astype(np.float32)


def _mouth_matte(goal_P2: np.ndarray, size: tuple[int, int], eye: float) -> np.ndarray:
    """Soft matte of the mouth's surroundings, float32 (H, W) 0..1: from under the nose to the chin's crease."""
    lips = goal_P2[list(OUTER_LIPS)]
    corners = goal_P2[[61, 291]]
    across = corners[1] - corners[0]
    across = across / max(np.linalg.norm(across), 1e-6)
    down = np.array([-across[1], across[0]])
    middle = corners.mean(0)
    rel = lips - middle
    u, v = rel @ across, rel @ down
    up_room = 0.55 * max(float((goal_P2[0] - goal_P2[2]) @ down), 0.05 * eye)
    down_room = 0.42 * max(float((goal_P2[152] - goal_P2[17]) @ down), 0.1 * eye)
    side = 0.15 * eye
    ang = np.arctan2(v, u)
    grow_v = np.where(v < 0, -up_room, down_room) * np.abs(np.sin(ang)) ** 0.5
    shape = middle + (u + side * np.cos(ang))[:, None] * across + (v + grow_v)[:, None] * down
    hull = cv2.convexHull(shape.astype(np.float32))
    mask = np.zeros((size[1], size[0]), np.float32)
    cv2.fillConvexPoly(mask, np.rint(hull * 16).astype(np.int32), 1.0, lineType=cv2.LINE_AA, shift=4)
    sigma = max(1.0, 0.045 * eye)
    soft = cv2.GaussianBlur(mask, (0, 0), sigma)
    return np.clip((soft - 0.08) / 0.84, 0, 1)


def _match_colour(mouth: np.ndarray, face: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Add a plane per channel so that the mouth's skin equals the face's on the matte's border ring."""
    ring = (matte > 0.02) & (matte < 0.75)
    rows, cols = np.nonzero(ring)
    if len(rows) < 50:
        return mouth
    height, width = matte.shape
    basis = np.stack([np.ones(len(rows)), cols / width - 0.5, rows / height - 0.5], 1).astype(np.float32)
    difference = face[rows, cols].astype(np.float32) - mouth[rows, cols]
    limit = np.percentile(np.abs(difference), 90)
    keep = (np.abs(difference) <= max(limit, 4.0)).all(1)
    gram = basis[keep].T @ basis[keep] + np.diag([1e-3, 1.0, 1.0]) * keep.sum() * 0.02
    plane = np.linalg.solve(gram, basis[keep].T @ difference[keep])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    field = np.stack([np.ones_like(x), x / width - 0.5, y / height - 0.5], -1) @ plane.astype(np.float32)
    return mouth + field


def _border(size: tuple[int, int], eye: float) -> np.ndarray:
    """1 inside the crop, falling to 0 over its last pixels, float32 (H, W)."""
    width, height = size
    soft = max(2.0, 0.08 * eye)
    x, y = np.arange(width), np.arange(height)
    edge_x = np.minimum(x, width - 1 - x) / soft
    edge_y = np.minimum(y, height - 1 - y) / soft
    return np.clip(np.minimum(edge_x[None], edge_y[:, None]), 0, 1).astype(np.float32)
