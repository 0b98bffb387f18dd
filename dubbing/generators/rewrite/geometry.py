"""Where the pixels of a wanted mouth come from: what rendering a frame asks of its meshes alone.

A frame's `Plan` holds the bend of its own jaw, the part of its crop in which the mouth lies, and the bends of the
mouths that are lent to it. Knows no pixel: `render` and `batches` read pictures by it, one after another or many at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dubbing.face import JAW, LIPS, OUTER_LIPS
from dubbing.generators.rewrite.warp import Nodes, node_map
from dubbing.media import Planes

if TYPE_CHECKING:
    from dubbing.generators.rewrite.interior import Inside

__all__ = [
    "AROUND_LIPS", "Bend", "Box", "Face", "Plan", "Wanted", "boxes_around", "crop_boxes", "mouth_hull", "outline",
    "planned", "skin_of",
]  # fmt: skip

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
_JAW_GRID, _FINER = 0.5, 0.7  # of the nodes asked for: a jaw bends less, and cubics fill in
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
    """One frame's crop with its (smoothed) mesh: pixels: BGR, uint8 or float32 0..255, or the film's own samples; box:
    where the crop lies in the picture; mesh_P2: (478, 2) pixels of the picture; lent: whether it is of another shot,
    and may be sharper."""

    pixels: np.ndarray | Planes
    box: Box
    mesh_P2: np.ndarray
    lent: bool = False

    @property
    def bgr_HWC(self) -> np.ndarray:
        """uint8, or float32 0..255 where it was given so, (H, W, 3)."""
        return self.pixels.bgr if isinstance(self.pixels, Planes) else self.pixels

    @property
    def layers(self) -> tuple[np.ndarray, ...]:
        """What is bent and blended: BGR (H, W, 3), or luma (H, W) and chroma (H / 2, W / 2, 2)."""
        return self.pixels.layers if isinstance(self.pixels, Planes) else (self.pixels,)

    @property
    def local_P2(self) -> np.ndarray:
        return self.mesh_P2 - (self.box.x, self.box.y)


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be rendered of one frame.

    target: it; goal_P2: (478, 2) where the mesh should be, in pixels of the picture; donors: frames that lend their
    mouths, with weights that add up to 1; inside: what to draw between lips that no donor has parted so far; grain_of:
    the number that draws the grain which the mouth lacks beside its face (`grain`), None for none.
    """

    target: Face
    goal_P2: np.ndarray
    donors: Sequence[tuple[Face, float]]
    inside: Inside | None = None
    grain_of: int | None = None


@dataclass(frozen=True, eq=False)
class Bend:
    """Displacements of one set of points, and where they are worked out: the arguments of `warp.node_map`."""

    points_P2: np.ndarray
    moves_PK: np.ndarray
    nodes: Nodes
    smooth: float
    twice: bool

    def at_nodes(self) -> np.ndarray:
        """float32 (K, R, C)."""
        return node_map(self.points_P2, self.moves_PK, self.nodes, self.smooth, twice=self.twice)


@dataclass(frozen=True, eq=False)
class Plan:
    """A frame without its pixels; all but `part` and `hull_M2` are in pixels of the crop.

    eye: between the eyes' outer corners; goal_P2: (478, 2) the wanted mesh; jaw: the bend of the target's own pixels,
    and weight_RC: how much of it counts at its nodes, 0..1, both None where it lies outside the crop; hull_M2: the
    mouth's outline; part: where the mouth lies, None where it lies outside; mouths: the bends of all donors' mouths, in
    pixels of `part`, None without one.
    """

    eye: float
    goal_P2: np.ndarray
    jaw: Bend | None
    weight_RC: np.ndarray | None
    hull_M2: np.ndarray
    part: Box | None
    mouths: Bend | None

    def skin(self, local_P2: np.ndarray) -> np.ndarray:
        """`skin_of` the part, bool (h, w), without the lips that are there, local_P2 in pixels of the crop."""
        assert self.part is not None
        part, corner = self.part, (self.part.x, self.part.y)
        size = (part.width, part.height)
        return skin_of(self.goal_P2 - corner, self.eye, size, self.hull_M2 - corner, local_P2 - corner)


def planned(wanted: Wanted, grid: int) -> Plan:
    """The plan of a frame. grid: nodes of a bend between the eyes' outer corners, the coarser the quicker."""
    target, box = wanted.target, wanted.target.box
    goal = wanted.goal_P2 - (box.x, box.y)
    eye = float(np.linalg.norm(target.mesh_P2[33] - target.mesh_P2[263]))
    hull = mouth_hull(goal, eye)
    part = _around(hull, _MATTE_ROOM * eye + 1, (box.width, box.height))
    jaw, weight = _jaw(target, goal, eye, grid)
    mouths = None if part is None else _mouths([donor for donor, _ in wanted.donors], goal, part, eye, grid)
    return Plan(eye, goal, jaw, weight, hull, part, mouths)


def _around(points_P2: np.ndarray, room: float, size: tuple[int, int]) -> Box | None:
    """The part of a crop around some points; None when they lie outside it."""
    low = np.maximum(np.floor(points_P2.min(0) - room), 0).astype(int) // 2 * 2  # whole blocks of chroma
    high = np.minimum((np.ceil(points_P2.max(0) + room).astype(int) + 1) // 2 * 2, size)
    return Box(int(low[0]), int(low[1]), *(high - low).tolist()) if (high - low > 8).all() else None


def _grid(eye: float, grid: float, size: tuple[int, int]) -> tuple[Nodes, bool]:
    """The nodes of a crop's bend, of which so many lie between the eyes' outer corners where it is worked out; and
    whether that is at every other one only."""
    step = max(3.0, eye / grid)
    return (Nodes.of(size, step / 2 + 1), True) if step >= 5 else (Nodes.of(size, step), False)


def _jaw(target: Face, goal_P2: np.ndarray, eye: float, grid: int) -> tuple[Bend | None, np.ndarray | None]:
    """The bend of the target's own pixels that puts jaw and chin where they are wanted, and its weight at the nodes."""
    here = target.local_P2
    size = (target.box.width, target.box.height)
    down = goal_P2[152] - goal_P2[168]
    down = down / max(np.linalg.norm(down), 1e-6)
    right = np.array([down[1], -down[0]])
    ring = goal_P2[152] + eye * (_BELOW[:, :1] * right + _BELOW[:, 1:] * down)
    # The bend reaches from under the nose to under the chin and no further.
    edge = _CHEEK_TO_CHEEK
    hull = np.concatenate([here[edge], goal_P2[edge], ring[1:-1] - 0.2 * eye * down, here[_UNDER_NOSE]])
    if _around(hull, 0.22 * eye, size) is None:
        return None, None
    nodes, twice = _grid(eye, _JAW_GRID * grid, size)
    controls, still = _JAW_CONTROL, _STILL
    points = np.concatenate([goal_P2[controls], here[still], ring])
    moves = np.concatenate([here[controls] - goal_P2[controls], np.zeros((len(still) + len(ring), 2))])
    weight = nodes.softened(nodes.filled(hull), 0.2 * eye)
    return Bend(points, moves, nodes, 0.3, twice), weight


def _mouths(donors: Sequence[Face], goal_P2: np.ndarray, part: Box, eye: float, grid: int) -> Bend:
    """The bend of the donors' mouths onto the wanted one: x and y of each donor's in turn."""
    points = goal_P2[_LIP_CONTROL]
    moves = np.concatenate([donor.local_P2[_LIP_CONTROL] - points for donor in donors], 1)
    nodes, twice = _grid(eye, _FINER * grid, (part.width, part.height))
    return Bend(points - (part.x, part.y), moves, nodes, 0.6, twice)


def outline(hull_M2: np.ndarray, part: Box, eye: float) -> tuple[np.ndarray, float, int]:
    """The mouth's outline filled, float32 0..1; by how many of its pixels it is to be blurred; and how many times it is
    smaller than its part of the crop, because what is so smooth is worked out at half the size."""
    sigma = max(1.0, 0.045 * eye)
    less = 2 if sigma >= _COARSE else 1
    mask = np.zeros((-(-part.height // less), -(-part.width // less)), np.float32)
    corners = np.rint(((hull_M2 - (part.x, part.y) + 0.5) / less - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1.0, lineType=cv2.LINE_AA, shift=4)
    return mask, sigma / less, less


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
