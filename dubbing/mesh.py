"""MediaPipe's networks, each behind one method: face detector, 478-point face mesh, hands.

MediaPipe is imported when the first one is built. Its native code writes to stderr while models
load, which is kept from the terminal. Boxes are (x, y, width, height) in pixels of the picture that
was given. Nothing here knows shots, tracks or files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from dubbing.records import Samples

__all__ = [
    "MESH_PX", "Box", "Detector", "Hands", "MeshTracker", "Meshes",
    "at_mesh_px", "blank", "box_back", "centre", "face_boxes", "inside", "overlap", "points_back", "points_turned",
    "turn_of", "turned",
]  # fmt: skip

Box = tuple[float, float, float, float]

MESH_PX = 256  # side of the square that meshes and hands are looked for in; the mesh network itself sees 192
_MESH_GRAPH = (
    "modules/face_landmark/face_landmark_front_cpu.binarypb"  # least scores of a face: 0.5, as of `_MIN_SCORE`
)
_MIN_SCORE = 0.5
_OVERLAP = 0.45  # two boxes that share more than this (IoU) are one face
_MIN_HAND_SCORE = 0.7  # below, beards are taken for hands for seconds on end


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps native libraries from writing to stderr while their models load."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _mediapipe() -> Any:
    """The library. What it imports to draw plots, which nobody here asks for, is kept out: half of the time that it
    takes to load."""
    plots = "matplotlib", "matplotlib.pyplot"
    if "mediapipe" not in sys.modules and plots[1] not in sys.modules:
        held = {name: sys.modules[name] for name in plots if name in sys.modules}
        empty = {name: ModuleType(name) for name in plots}
        vars(empty[plots[0]])["pyplot"] = empty[plots[1]]
        sys.modules.update(empty)
        try:
            with _quiet():
                import mediapipe  # noqa: F401 - so that it is there
        finally:
            for name in plots:
                del sys.modules[name]
            sys.modules.update(held)
    with _quiet():
        import mediapipe as mp
    return mp


class Detector:
    """MediaPipe's full-range face detector (192 px input) on the whole picture and on square tiles."""

    def __init__(self) -> None:
        mp = _mediapipe()
        with _quiet():
            self._model = mp.solutions.face_detection.FaceDetection(
                model_selection=1, min_detection_confidence=_MIN_SCORE
            )
            self._model.process(np.zeros((64, 64, 3), np.uint8))

    def find(self, bgr_HWC: np.ndarray, tiles: bool) -> list[tuple[float, Box]]:
        """(score 0..1, box) of every face, best first, none overlapping; tiles: look closer, three times the work."""
        found = self._run(bgr_HWC)
        if tiles:
            height, width = bgr_HWC.shape[:2]
            side, length = min(height, width), max(height, width)
            count = int(np.ceil(max(0.0, length - 1.05 * side) / (0.8 * side))) + 1
            for n in range(count if count > 1 else 0):
                at = round((length - side) * n / (count - 1))
                x, y = (at, 0) if width > height else (0, at)
                for score, (left, top, w, h) in self._run(bgr_HWC[y : y + side, x : x + side]):
                    start, size = (left, w) if width > height else (top, h)
                    if (at == 0 or start > 1) and (n == count - 1 or start + size < side - 1):
                        found.append((score, (left + x, top + y, w, h)))
        kept: list[tuple[float, Box]] = []
        for score, box in sorted(found, reverse=True):
            if all(overlap(box, other) < _OVERLAP and not inside(box, other) for _, other in kept):
                kept.append((score, box))
        return kept

    def _run(self, bgr_HWC: np.ndarray) -> list[tuple[float, Box]]:
        height, width = bgr_HWC.shape[:2]
        result = self._model.process(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB))
        out = []
        for one in result.detections or []:
            box = one.location_data.relative_bounding_box
            out.append((one.score[0], (box.xmin * width, box.ymin * height, box.width * width, box.height * height)))
        return out

    def close(self) -> None:
        self._model.close()


class _FaceGraph:
    """MediaPipe's graph of the face mesh, run in the thread that asks: what its package wraps around it, and the ways
    between its threads, take a tenth of the time. It follows the one face that it sees from picture to picture."""

    def __init__(self) -> None:
        mp = _mediapipe()
        from mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
        from mediapipe.python._framework_bindings import resource_util

        package = Path(mp.__file__).parent
        resource_util.set_resource_dir(str(package.parent))  # as its own classes do
        config = CalculatorGraphConfig()
        config.ParseFromString((package / _MESH_GRAPH).read_bytes())
        config.executor.add(type="ApplicationThreadExecutor")
        self._mp, self._out = mp, [None]
        self._graph = mp.CalculatorGraph(graph_config=config)
        self._graph.observe_output_stream("multi_face_landmarks", self._receive, True)
        make = mp.packet_creator
        self._graph.start_run({"num_faces": make.create_int(1), "with_attention": make.create_bool(True),
                               "use_prev_landmarks": make.create_bool(True)})  # fmt: skip
        self._microseconds = 0

    def _receive(self, name: str, packet: Any) -> None:
        self._out[0] = packet

    def faces(self, rgb_HWC: np.ndarray) -> list[Any]:
        """The landmarks of the face in the next picture, a message; none where no face is seen."""
        mp = self._mp
        self._microseconds += 33333
        self._out[0] = None
        picture = mp.packet_creator.create_image_frame(image_format=mp.ImageFormat.SRGB, data=rgb_HWC)
        self._graph.add_packet_to_input_stream("image", picture.at(self._microseconds))
        self._graph.wait_until_idle()
        found = self._out[0]
        return [] if found is None or found.is_empty() else list(mp.packet_getter.get_proto_list(found))

    def close(self) -> None:
        self._graph.close()


class Meshes:
    """A pool of mesh trackers, lent out blank, one for each face; they are kept because building one is slow."""

    def __init__(self) -> None:
        self._free: list[_FaceGraph] = []
        self._warned = False
        self.give_back(self._build())

    def fit(self, model: Any, rgb_HWC: np.ndarray) -> np.ndarray | None:
        """The landmarks of the face in a square picture, float32 (478, 3) in its sides, or None. The first face of a
        process makes the library print a warning about pictures that are not square; it is swallowed."""
        with nullcontext() if self._warned else _quiet():
            faces = model.faces(rgb_HWC)
        if not faces:
            return None
        self._warned = True
        return _numbers(faces[0])

    def _build(self) -> _FaceGraph:
        with _quiet():
            model = _FaceGraph()
            blank(model)
            return model

    def lend(self) -> Any:
        """Take a tracker out of the pool; it remembers no face."""
        return self._free.pop() if self._free else self._build()

    def give_back(self, model: Any) -> None:
        blank(model)
        self._free.append(model)

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


def blank(model: Any) -> None:
    """Make a mesh tracker forget: after a picture without a face it starts by detecting, as a new one does."""
    for _ in range(2):
        model.faces(np.zeros((MESH_PX, MESH_PX, 3), np.uint8))


def at_mesh_px(square_HWC: np.ndarray) -> np.ndarray:
    """A square picture at MESH_PX: halved by the mean of four as often as that goes, then linearly. That is six times
    as quick as by areas, and as `Picture.bgr` scales."""
    while len(square_HWC) >= 2 * MESH_PX and len(square_HWC) % 2 == 0:
        side = len(square_HWC) // 2
        square_HWC = cv2.resize(square_HWC, (side, side), interpolation=cv2.INTER_AREA)
    return square_HWC if len(square_HWC) == MESH_PX else cv2.resize(square_HWC, (MESH_PX, MESH_PX))


def _numbers(face: Any) -> np.ndarray:
    """A list of landmarks as float32 (P, 3), read from its message, where each is three floats behind their tags: point
    by point that takes a millisecond."""
    raw, count = np.frombuffer(face.SerializeToString(), np.uint8), len(face.landmark)
    if len(raw) == 17 * count:
        rows = raw.reshape(count, 17)
        if (rows[:, (0, 1, 2, 7, 12)] == (0x0A, 15, 0x0D, 0x15, 0x1D)).all():
            return np.ascontiguousarray(rows[:, (3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16)]).view("<f4")
    return np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32)


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture made square at its right or below, at MESH_PX."""
    height, width = picture.shape[:2]
    side = max(height, width)
    return at_mesh_px(cv2.copyMakeBorder(picture, 0, side - height, 0, side - width, cv2.BORDER_REPLICATE))


class MeshTracker:
    """Finds the mesh in crop after crop of one face; each crop holds the whole face.

    meshes: where the tracker is lent from (None: one of its own); turn: by which the face stands upright (`turn_of`).
    Never hand it another face.
    """

    def __init__(self, meshes: Meshes | None = None, turn: int = 0) -> None:
        self._meshes, self._own = meshes or Meshes(), meshes is None
        self._turn = turn
        self._model = self._meshes.lend()

    def find(self, crop: np.ndarray | Samples) -> np.ndarray | None:
        """The mesh in pixels of this crop, float32 (478, 3), or None where no face is seen. crop: uint8 BGR, or samples
        of which only a small picture is converted."""
        side = max(crop.shape[:2])
        bgr = _small(crop) if isinstance(crop, np.ndarray) else crop.scaled(_small)
        points = self._meshes.fit(self._model, turned(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self._turn))
        return None if points is None else points_back(points * np.float32(side), (side, side), self._turn)

    def close(self) -> None:
        self._meshes.give_back(self._model)
        if self._own:
            self._meshes.close()


class Hands:
    """MediaPipe's hand finder, looking for a hand before a mouth. About 10 ms a picture."""

    def __init__(self) -> None:
        mp = _mediapipe()
        with _quiet():
            self._model = mp.solutions.hands.Hands(
                static_image_mode=True, max_num_hands=2, model_complexity=0, min_detection_confidence=_MIN_HAND_SCORE
            )
            self._model.process(np.zeros((MESH_PX, MESH_PX, 3), np.uint8))
        self._warned = False

    def cover(self, rgb_HWC: np.ndarray, outline_P2: np.ndarray) -> float:
        """The part 0..1 of the area inside an outline (pixels of this picture) that hands lie before."""
        with nullcontext() if self._warned else _quiet():
            found = self._model.process(rgb_HWC).multi_hand_landmarks
        if not found:
            return 0.0
        self._warned = True
        height, width = rgb_HWC.shape[:2]
        hands, mouth = np.zeros((2, height, width), np.uint8)
        for hand in found:
            points = np.array([(p.x * width, p.y * height) for p in hand.landmark])
            cv2.fillConvexPoly(hands, cv2.convexHull(points.astype(np.int32)), (1,))
        hands = cv2.dilate(hands, np.ones((9, 9), np.uint8))
        cv2.fillConvexPoly(mouth, cv2.convexHull(outline_P2.astype(np.int32)), (1,))
        return float(hands[mouth > 0].mean()) if mouth.any() else 0.0

    def close(self) -> None:
        self._model.close()


def turn_of(roll_deg: float, now: int = 0) -> int:
    """Quarter turns, 0 to 3, by which a picture is turned to the left so that a head that leans by so much
    (`face.roll_deg`) stands upright in it. now: the turn in use, which is kept until another fits much better."""
    off = (roll_deg - 90.0 * now + 180.0) % 360.0 - 180.0
    return now if abs(off) < 60.0 else round(roll_deg / 90.0) % 4


def turned(picture_HWC: np.ndarray, turn: int) -> np.ndarray:
    """A picture turned to the left by quarter turns."""
    return np.ascontiguousarray(np.rot90(picture_HWC, turn)) if turn else picture_HWC


def points_turned(points_PC: np.ndarray, size: tuple[float, float], turn: int) -> np.ndarray:
    """Points (P, 2 or more) of a picture of (width, height) where `turned` takes them."""
    width, height = size
    x, y = points_PC[:, 0], points_PC[:, 1]
    placed = ((x, y), (y, width - x), (width - x, height - y), (height - y, x))[turn]
    return np.concatenate([np.stack(placed, 1), points_PC[:, 2:]], 1) if turn else points_PC


def points_back(points_PC: np.ndarray, size: tuple[float, float], turn: int) -> np.ndarray:
    """Points (P, 2 or more) of a turned picture in the picture itself, of (width, height)."""
    return points_turned(points_PC, size if turn % 2 == 0 else (size[1], size[0]), -turn % 4)


def box_back(box: Box, size: tuple[float, float], turn: int) -> Box:
    """A box of a turned picture in the picture itself, of (width, height)."""
    x, y, w, h = box
    corners = points_back(np.array([[x, y], [x + w, y + h]]), size, turn)
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    return left, top, right - left, bottom - top


def overlap(a: Box, b: Box) -> float:
    """Shared area over joint area, 0..1."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def centre(box: Box) -> np.ndarray:
    """The middle of a box, float64 (2,)."""
    return np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])


def inside(a: Box, b: Box) -> bool:
    """Whether either box's middle lies well inside the other."""
    apart = np.abs(centre(a) - centre(b)) / (np.array([max(a[2], b[2]), max(a[3], b[3])]) / 2)
    return bool(apart.max() < 0.6)


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
