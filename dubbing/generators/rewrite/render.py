"""Put a wanted mouth into a frame, out of the actor's own pixels.

Two layers at native resolution:
  the frame itself, its jaw and chin bent to the wanted shape, so beard, light and background stay;
  over it the lips and what is between them, from a frame of the same actor that has such a mouth,
  bent onto this head, its colour fitted on the border ring, under a soft matte;
  where no frame's mouth is open so far, what is between the lips is drawn (`interior`).
Knows nothing of sound or time: one frame in, one patch out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dubbing.face import JAW, LIPS, OUTER_LIPS
from dubbing.generators import grain
from dubbing.generators.rewrite.interior import Inside, draw
from dubbing.generators.rewrite.warp import Nodes, node_map, warp

__all__ = ["AROUND_LIPS", "Box", "Face", "boxes_around", "crop_boxes", "mouth_hull", "render", "skin_of"]

# Points of the middle face that stay where they are: under the nose, nostrils, cheeks, ear side.
_STILL = np.array((2, 98, 327, 164, 129, 358, 205, 425, 50, 280, 123, 352, 93, 323, 234, 454))
AROUND_LIPS = (164, 167, 393, 165, 391, 92, 322, 186, 410, 57, 287, 43, 273, 106, 335, 182, 406, 83, 313, 18,
               200, 201, 421, 204, 424, 202, 422)  # fmt: skip
# Points below the chin that stay, in eye distances right of and below it.
_BELOW = np.array(((-1.1, 0.25), (-0.7, 0.38), (-0.35, 0.42), (0.0, 0.44), (0.35, 0.42), (0.7, 0.38), (1.1, 0.25)))
_CHEEK_TO_CHEEK = np.array((58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288))
_UNDER_NOSE = np.array((205, 2, 425))
_COARSE = 6.0  # pixels of a blur
_MATTE_ROOM = 0.07  # eye distances around a mouth's outline beyond which its matte is 0
_STILL_PX = 0.04  # what moves less is left as it is
_JAW_GRID, _FINER = 0.5, 0.7  # of the nodes asked for: a jaw bends less, and cubics fill in
_RING_PIXELS = 4000  # of a mouth's matte, from which its colour is told
_LIP_CONTROL = np.array(tuple(dict.fromkeys(LIPS + AROUND_LIPS)))
_JAW_CONTROL = np.array(tuple(dict.fromkeys(JAW + OUTER_LIPS)))
_OUTER = np.array(OUTER_LIPS)


@dataclass(frozen=True)
class Box:
    """A crop of the upright picture: even top left and even size, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Face:
    """One frame's crop with its (smoothed) mesh: bgr_HWC uint8, or float32 0..255; box: where the crop lies in the
    picture; mesh_P2: (478, 2) pixels of the picture; lent: whether it is of another shot, and may be sharper."""

    bgr_HWC: np.ndarray
    box: Box
    mesh_P2: np.ndarray
    lent: bool = False

    @property
    def local_P2(self) -> np.ndarray:
        return self.mesh_P2 - (self.box.x, self.box.y)


def crop_boxes(mesh_NP2: np.ndarray, picture_wh: tuple[int, int]) -> list[Box]:
    """A crop of one size for every frame of a track: what `render` may change of a face, and no more.

    mesh_NP2: (N, 478, 2). The size is the largest frame's; crops are pushed inside the picture.
    """
    eye = np.linalg.norm(mesh_NP2[:, 33] - mesh_NP2[:, 263], axis=-1)[:, None]
    lower = mesh_NP2[:, np.concatenate([_CHEEK_TO_CHEEK, _UNDER_NOSE])]
    below = mesh_NP2[:, 152] + 0.24 * eye * _unit(mesh_NP2[:, 152] - mesh_NP2[:, 168])
    low = np.minimum(lower.min(1), below) - 0.2 * eye
    high = np.maximum(lower.max(1), below) + 0.2 * eye
    return boxes_around(low, high, picture_wh)


def boxes_around(low_N2: np.ndarray, high_N2: np.ndarray, picture_wh: tuple[int, int]) -> list[Box]:
    """Boxes of one size, that of the largest, around what lies between two corners in each frame, pushed inside the
    picture."""
    size = np.ceil((high_N2 - low_N2).max(0) / 8).astype(int) * 8
    width, height = (int(min(s, limit // 2 * 2)) for s, limit in zip(size, picture_wh, strict=True))
    boxes = []
    for cx, cy in (low_N2 + high_N2) / 2:
        x = int(np.clip(round((cx - width / 2) / 2) * 2, 0, (picture_wh[0] - width) // 2 * 2))
        y = int(np.clip(round((cy - height / 2) / 2) * 2, 0, (picture_wh[1] - height) // 2 * 2))
        boxes.append(Box(x, y, width, height))
    return boxes


def _unit(vectors_N2: np.ndarray) -> np.ndarray:
    return vectors_N2 / np.maximum(np.linalg.norm(vectors_N2, axis=-1, keepdims=True), 1e-6)


def render(
    target: Face,
    wanted_P2: np.ndarray,
    donors: Sequence[tuple[Face, float]],
    inside: Inside | None = None,
    *,
    grid: int = 48,
    grain_of: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The target's crop with the wanted mouth: (bgr_HWC of the target's type, zero where the matte is; matte_HW
    uint8).

    wanted_P2: (478, 2) where the mesh should be, in pixels of the picture; donors: frames that lend
    their mouths, with weights that add up to 1; inside: what to draw between lips that no donor has parted so far;
    grid: nodes of a bend between the eyes' outer corners, the coarser the quicker; grain_of: the number that draws the
    grain which the mouth lacks beside its face (`grain`), None for none.
    """
    size = (target.box.width, target.box.height)
    goal = wanted_P2 - (target.box.x, target.box.y)
    eye = float(np.linalg.norm(target.mesh_P2[33] - target.mesh_P2[263]))
    hull = mouth_hull(goal, eye)
    part = _around(hull, _MATTE_ROOM * eye + 1, size)
    matte = None if part is None else _soften(hull, part, eye)
    face, changed = _bend_jaw(target, goal, eye, grid, None if part is None or matte is None else (part, matte))
    if part is not None and matte is not None:
        window = (slice(part.y, part.y + part.height), slice(part.x, part.x + part.width))
        below = face[window]
        under = below.astype(np.float32)
        corner, room = (part.x, part.y), (part.width, part.height)
        skin = skin_of(goal - corner, eye, room, hull - corner, target.local_P2 - corner)
        wanted_B = None
        if grain_of is not None:
            wanted_B = grain.levels(target.bgr_HWC[window], skin)
        nodes, twice = _grid(eye, _FINER * grid, room)
        mouth, plane = np.zeros(under.shape, np.float32), np.zeros((3, 3), np.float32)
        bends = _bend_mouths([donor for donor, _ in donors], goal, part, nodes, twice, matte)
        ring = _ring(matte)
        for (donor, weight), bent in zip(donors, bends, strict=True):
            plane += np.float32(weight) * _colour_plane(bent, below, ring)
            if donor.lent and wanted_B is not None:
                bent = grain.softened(bent, skin, wanted_B)
            mouth = cv2.addWeighted(mouth, 1.0, bent, weight, 0.0, dtype=cv2.CV_32F)
        _add_plane(mouth, plane)
        if wanted_B is not None and grain_of is not None:
            mouth = grain.regrained(mouth, skin, wanted_B, grain_of)
        mixed = cv2.blendLinear(mouth, under, matte, 1 - matte)
        below[:] = mixed if below.dtype == np.float32 else cv2.convertScaleAbs(cv2.max(mixed, 0))
        if inside is not None:
            draw(face, target.bgr_HWC, target.local_P2, goal, inside, (target.box.x, target.box.y))
        cv2.max(changed[window], np.minimum(matte * 6, 1), dst=changed[window])
    _end(changed, eye)
    matte_HW = cv2.convertScaleAbs(changed, alpha=255)
    if face.dtype == np.float32:
        np.clip(face, 0, 255, out=face)  # a cubic bend swings over at edges; of 8 bits OpenCV does this
    return cv2.copyTo(face, matte_HW), matte_HW  # black elsewhere


def _around(points_P2: np.ndarray, room: float, size: tuple[int, int]) -> Box | None:
    """The part of a crop around some points; None when they lie outside it."""
    low = np.maximum(np.floor(points_P2.min(0) - room), 0).astype(int)
    high = np.minimum(np.ceil(points_P2.max(0) + room), size).astype(int)
    return Box(int(low[0]), int(low[1]), *(high - low).tolist()) if (high - low > 8).all() else None


def _grid(eye: float, grid: float, size: tuple[int, int]) -> tuple[Nodes, bool]:
    """The nodes of a crop's bend, of which so many lie between the eyes' outer corners where it is worked out; and
    whether that is at every other one only."""
    step = max(3.0, eye / grid)
    return (Nodes.of(size, step / 2 + 1), True) if step >= 5 else (Nodes.of(size, step), False)


def _bend_jaw(
    target: Face, goal_P2: np.ndarray, eye: float, grid: int, over: tuple[Box, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The target's own pixels with jaw and chin where they are wanted, and where they differ, float32 (H, W) 0..1.

    over: the part that the mouth will lie over, and its matte; where that is whole, nothing is bent.
    """
    here = target.local_P2
    size = (target.box.width, target.box.height)
    down = goal_P2[152] - goal_P2[168]
    down = down / max(np.linalg.norm(down), 1e-6)
    right = np.array([down[1], -down[0]])
    ring = goal_P2[152] + eye * (_BELOW[:, :1] * right + _BELOW[:, 1:] * down)
    # The bend reaches from under the nose to under the chin and no further.
    edge = _CHEEK_TO_CHEEK
    hull = np.concatenate([here[edge], goal_P2[edge], ring[1:-1] - 0.2 * eye * down, here[_UNDER_NOSE]])
    face = target.bgr_HWC.copy()
    if _around(hull, 0.22 * eye, size) is None:
        return face, np.zeros((size[1], size[0]), np.float32)
    nodes, twice = _grid(eye, _JAW_GRID * grid, size)
    controls, still = _JAW_CONTROL, _STILL
    points = np.concatenate([goal_P2[controls], here[still], ring])
    moves = np.concatenate([here[controls] - goal_P2[controls], np.zeros((len(still) + len(ring), 2))])
    weight = nodes.softened(nodes.filled(hull), 0.2 * eye)
    move = node_map(points, moves, nodes, smooth=0.3, twice=twice) * weight
    where = (np.abs(move) > _STILL_PX).any(0).astype(np.uint8)
    around = np.ones((3, 3), np.uint8)
    changed = nodes.enlarged(np.minimum(weight * 5, cv2.dilate(where, around)))
    if over is not None:
        part, matte = over
        whole = np.zeros((size[1], size[0]), np.uint8)
        whole[part.y : part.y + part.height, part.x : part.x + part.width] = matte >= 1
        where &= cv2.dilate(1 - nodes.picked(whole), around)
    warp(target.bgr_HWC, nodes.reading(move), where > 0, nodes, face)
    return face, changed


def _bend_mouths(
    donors: Sequence[Face], goal_P2: np.ndarray, part: Box, nodes: Nodes, twice: bool, matte: np.ndarray
) -> Iterator[np.ndarray]:
    """The donors' mouths bent onto the wanted one, each (h, w, 3) of its type, in a part of the target's crop; of a
    frame of the same shot only around where its matte shows it, elsewhere black."""
    controls = _LIP_CONTROL
    points = goal_P2[controls]
    moves = np.concatenate([donor.local_P2[controls] - points for donor in donors], 1)
    found = node_map(points - (part.x, part.y), moves, nodes, smooth=0.6, twice=twice)
    where = cv2.dilate((nodes.picked(matte) > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    for donor, move in zip(donors, found.reshape(-1, 2, *nodes.shape), strict=True):
        places, image = nodes.reading(move, (part.x, part.y)), donor.bgr_HWC
        if donor.lent:
            yield warp(image, places)
        else:
            yield warp(image, places, where, nodes, np.zeros((part.height, part.width, 3), image.dtype))


def skin_of(
    mesh_P2: np.ndarray, eye: float, size: tuple[int, int], hull_M2: np.ndarray | None = None,
    without_P2: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The skin around a mouth, without its lips, bool (H, W) of a crop of that size. mesh_P2: (478, 2) its pixels;
    hull_M2: its `mouth_hull`, where that is known; without_P2: another mesh whose lips are left out too."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    outlines = [(mouth_hull(mesh_P2, eye) if hull_M2 is None else hull_M2, 1)]
    outlines += [(_grown(m[_OUTER], 0.05 * eye), 0) for m in (mesh_P2, without_P2) if m is not None]
    for outline, much in outlines:
        corners = np.rint(cv2.convexHull(outline.astype(np.float32)) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, corners, much, shift=4)
    return mask.view(bool)


def _grown(points_M2: np.ndarray, room: float) -> np.ndarray:
    middle = points_M2.mean(0)
    away = points_M2 - middle
    return middle + away + room * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)


def mouth_hull(goal_P2: np.ndarray, eye: float) -> np.ndarray:
    """Outline of the mouth's surroundings, float32 (M, 2): from under the nose to the chin's crease."""
    lips = goal_P2[_OUTER]
    corners = goal_P2[[61, 291]]
    across = corners[1] - corners[0]
    across = across / max(np.linalg.norm(across), 1e-6)
    down = np.array([-across[1], across[0]])
    middle = corners.mean(0)
    rel = lips - middle
    u, v = rel @ across, rel @ down
    up_room = 0.55 * max(float((goal_P2[0] - goal_P2[2]) @ down), 0.05 * eye)
    down_room = 0.42 * max(float((goal_P2[152] - goal_P2[17]) @ down), 0.1 * eye)
    angle = np.arctan2(v, u)
    grow_v = np.where(v < 0, -up_room, down_room) * np.abs(np.sin(angle)) ** 0.5
    outline = middle + (u + 0.15 * eye * np.cos(angle))[:, None] * across + (v + grow_v)[:, None] * down
    return cv2.convexHull(outline.astype(np.float32))[:, 0]


def _soften(hull_M2: np.ndarray, part: Box, eye: float) -> np.ndarray:
    """Soft matte of an outline in a part of the crop, float32 (h, w) 0..1."""
    sigma = max(1.0, 0.045 * eye)
    less = 2 if sigma >= _COARSE else 1  # what is so smooth is worked out at half the size
    size = (-(-part.width // less), -(-part.height // less))
    mask = np.zeros(size[::-1], np.float32)
    outline = np.rint(((hull_M2 - (part.x, part.y) + 0.5) / less - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, outline, 1.0, lineType=cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(mask, (0, 0), sigma / less, borderType=cv2.BORDER_CONSTANT)
    if less > 1:
        soft = cv2.resize(soft, (size[0] * less, size[1] * less))[: part.height, : part.width]
    return np.clip((soft - 0.08) / 0.84, 0, 1)


def _ring(matte: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a matte, (h, w), comes and goes: rows and columns of some of its pixels, and float32 (n, 3): 1, and how far
    each lies across and down, -0.5..0.5; none where these are too few to tell a colour from."""
    height, width = matte.shape
    less = max(1, int(np.sqrt(matte.size / _RING_PIXELS)))
    rows, cols = np.nonzero(cv2.inRange(np.ascontiguousarray(matte[::less, ::less]), 0.02, 0.75))
    if len(rows) * less**2 < 50:
        rows, cols = rows[:0], cols[:0]
    rows, cols = rows * less, cols * less
    return rows, cols, np.stack([np.ones(len(rows)), cols / width - 0.5, rows / height - 0.5], 1).astype(np.float32)


def _colour_plane(mouth: np.ndarray, face: np.ndarray, ring: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """What to add so that the mouth's skin equals the face's on the matte's `_ring`, float32 (3, 3): in the middle, and
    more from edge to edge across and down."""
    rows, cols, basis = ring
    if not len(rows):
        return np.zeros((3, 3), np.float32)
    difference = face[rows, cols].astype(np.float32) - mouth[rows, cols]
    apart = np.abs(difference)
    last = int(0.9 * (apart.size - 1))
    keep = (apart <= max(float(np.partition(apart, last, axis=None)[last]), 4.0)).all(1)
    gram = basis[keep].T @ basis[keep] + np.diag([1e-3, 1.0, 1.0]) * keep.sum() * 0.02
    return np.asarray(np.linalg.solve(gram, basis[keep].T @ difference[keep]), np.float32)


def _add_plane(picture: np.ndarray, plane: np.ndarray) -> None:
    """Add a `_colour_plane` to a picture, float32 (h, w, 3), in place."""
    height, width = picture.shape[:2]
    across = plane[0] + (np.arange(width, dtype=np.float32) / width - 0.5)[:, None] * plane[1]
    down = np.arange(height, dtype=np.float32) / height - 0.5
    field = np.stack([np.ones_like(down), down], 1) @ np.stack([across.ravel(), np.tile(plane[2], width)])
    picture += field.reshape(picture.shape)


def _end(matte: np.ndarray, eye: float) -> None:
    """Let a matte, float32 (H, W) 0..1, fall to 0 over its last pixels, in place."""
    soft = max(2.0, 0.08 * eye)
    ramp = (np.arange(int(np.ceil(soft))) / soft).astype(np.float32)
    for side in (matte, matte.T):
        ramp = ramp[: len(side)]
        for end in (side[: len(ramp)], side[::-1][: len(ramp)]):
            np.minimum(end, ramp[:, None], out=end)
