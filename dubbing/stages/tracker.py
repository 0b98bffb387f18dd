"""Faces found and followed through one shot with MediaPipe: detector, 478-point mesh, tracks.

Pictures come one at a time and only the last few are kept. Every face has a mesh tracker of its
own, blanked before use, so a shot's result does not depend on what the worker saw before. Boxes are
(x, y, width, height) in pixels of the upright picture. Nothing here is smoothed; it knows no file
and no film time.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

__all__ = ["Box", "Detector", "Follower", "Found", "Meshes", "Pictures"]

Box = tuple[float, float, float, float]

SEARCH_PX = 640  # long side of the picture that is searched for faces
MESH_PX = 256  # side of the square that the mesh is fitted in; the network itself sees 192
_CROP = 2.1  # side of that square in face heights
_MIN_SCORE = 0.5
_OVERLAP = 0.45  # two boxes that share more than this (IoU) are one face
_MIN_SEEN_FRAMES = 6
_MIN_AGREEMENT = 0.3  # part of the searches that must have found a face where the mesh says it is


class Pictures(Protocol):
    """One decoded frame, as `media.read` yields it."""

    frame: int

    def bgr(self, box: tuple[int, int, int, int] | None = None, width: int | None = None) -> np.ndarray: ...


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


class Detector:
    """MediaPipe's full-range face detector (192 px input) on the whole picture and on square tiles."""

    def __init__(self) -> None:
        with _quiet():
            import mediapipe as mp

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
            if all(overlap(box, other) < _OVERLAP and not _inside(box, other) for _, other in kept):
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


class Meshes:
    """Mesh trackers, lent out one to a face, blank; they are kept because building one is slow and loud."""

    def __init__(self) -> None:
        self._free: list[Any] = []
        self._warned = False
        self.give_back(self._build())

    def fit(self, model: Any, rgb_HWC: np.ndarray) -> Any:
        """The landmarks of the face in a square picture, or None. The first face of a process makes
        the library print a warning about pictures that are not square; it is swallowed."""
        with nullcontext() if self._warned else _quiet():
            faces = model.process(rgb_HWC).multi_face_landmarks
        if not faces:
            return None
        self._warned = True
        return faces[0].landmark

    def _build(self) -> Any:
        with _quiet():
            import mediapipe as mp

            model = mp.solutions.face_mesh.FaceMesh(
                static_image_mode=False, max_num_faces=1, refine_landmarks=True,
                min_detection_confidence=0.5, min_tracking_confidence=0.5,
            )  # fmt: skip
            blank(model)
            return model

    def lend(self) -> Any:
        """A tracker that remembers no face."""
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
        model.process(np.zeros((MESH_PX, MESH_PX, 3), np.uint8))


def overlap(a: Box, b: Box) -> float:
    """Shared area over joint area, 0..1."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def _centre(box: Box) -> np.ndarray:
    return np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])


def _inside(a: Box, b: Box) -> bool:
    """Whether either box's middle lies well inside the other."""
    apart = np.abs(_centre(a) - _centre(b)) / (np.array([max(a[2], b[2]), max(a[3], b[3])]) / 2)
    return bool(apart.max() < 0.6)


def box_of(mesh_P3: np.ndarray) -> Box:
    """The mesh's bounding box."""
    low, high = mesh_P3[:, :2].min(0), mesh_P3[:, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


@dataclass
class Found:
    """One face of a shot. frames and meshes: where it was seen, by frame number, (478, 3) float32 pixels."""

    meshes: dict[int, np.ndarray]
    searches: int = 0
    agreed: int = 0

    def lasts(self) -> bool:
        """Whether it was there long enough, and confirmed often enough, to be a face."""
        return len(self.meshes) >= _MIN_SEEN_FRAMES and self.agreed >= _MIN_AGREEMENT * self.searches


@dataclass
class _Face:
    """A face being followed: the square it is looked for in, and what the mesh tracker last saw."""

    found: Found
    model: Any
    box: Box
    square: tuple[int, int, int] = (0, 0, 0)
    fresh: bool = True  # the square has just moved: what the model remembers lies elsewhere in it
    lost: int = 0


class Follower:
    """Follows every face through the pictures of one shot, given in order.

    size: (width, height) of the picture; every: frames between two searches for new faces;
    patience: frames that a face may be out of sight before its tracker is given back. A face that
    comes back near its old place continues its old track.
    """

    def __init__(self, detector: Detector, meshes: Meshes, size: tuple[int, int], every: int, patience: int) -> None:
        self._detector, self._meshes = detector, meshes
        self._size, self._every, self._patience = size, every, patience
        self._awake: list[_Face] = []
        self._asleep: list[_Face] = []
        self._recent: deque[Pictures] = deque(maxlen=max(1, every - 1))
        self._count = 0

    def step(self, picture: Pictures) -> None:
        """The next frame."""
        for face in self._awake:
            self._follow(face, picture)
        if self._count % self._every == 0:
            self._search(picture, tiles=self._count % (3 * self._every) == 0)
        self._part(picture.frame)
        self._recent.append(picture)
        self._count += 1

    def finish(self) -> list[Found]:
        """No more frames: the faces, whatever they are worth."""
        for face in self._awake:
            self._meshes.give_back(face.model)
        found = [f.found for f in [*self._asleep, *self._awake]]
        self._awake, self._asleep = [], []
        self._recent.clear()
        return found

    # -- one face ----------------------------------------------------------------------------

    def _follow(self, face: _Face, picture: Pictures) -> bool:
        """Look for one face where it was. Returns whether it is there."""
        mesh = self._fit(face, picture)
        if mesh is None:
            face.lost += 1
            return False
        face.found.meshes[picture.frame] = mesh
        face.box, face.lost = box_of(mesh), 0
        x, y, side = face.square
        size = max(face.box[2:])
        off = np.abs(_centre(face.box) - (x + side / 2, y + side / 2)).max()
        if off > 0.13 * side or not 0.8 < size * _CROP / side < 1.25:
            self._aim(face)
        return True

    def _aim(self, face: _Face, grow: float = 1.0) -> None:
        """Put the square around the face's box."""
        side = max(32, int(max(face.box[2:]) * _CROP * grow) // 2 * 2)
        x, y = _centre(face.box) - side / 2
        face.square, face.fresh = (int(x) // 2 * 2, int(y) // 2 * 2, side), True

    def _fit(self, face: _Face, picture: Pictures) -> np.ndarray | None:
        rgb = cv2.cvtColor(self._cut(picture, face.square), cv2.COLOR_BGR2RGB)
        points = self._meshes.fit(face.model, rgb)
        if points and face.fresh and face.found.meshes:
            points = self._meshes.fit(face.model, rgb)  # now with its memory in the right place
        if not points:
            return None
        face.fresh = False
        x, y, side = face.square
        mesh = np.array([(p.x, p.y, p.z) for p in points], np.float32) * np.float32(side)
        mesh[:, :2] += np.array([x, y], np.float32)
        return mesh if self._plausible(box_of(mesh), face) else None

    def _plausible(self, box: Box, face: _Face) -> bool:
        """Whether a mesh is where the face can be: near its last place, of about its last size."""
        size, last = max(box[2:]), max(face.box[2:])
        slack = 1.0 + 0.1 * min(face.lost, 5)
        near = np.abs(_centre(box) - _centre(face.box)).max() < 0.5 * slack * last
        same = 1 / (1.6 * slack) < size / last < 1.6 * slack
        width, height = self._size
        inside = -0.2 * size < box[0] and box[0] + box[2] < width + 0.2 * size
        inside = inside and -0.2 * size < box[1] and box[1] + box[3] < height + 0.2 * size
        return bool(near and same and inside and 0.35 < box[2] / box[3] < 1.6)

    def _cut(self, picture: Pictures, square: tuple[int, int, int]) -> np.ndarray:
        """The square of the picture, MESH_PX wide; outside the picture its edge is repeated."""
        x, y, side = square
        width, height = self._size
        if x >= 0 and y >= 0 and x + side <= width and y + side <= height and side >= MESH_PX:
            return picture.bgr(box=(x, y, side, side), width=MESH_PX)
        left, top = min(max(x, 0), width - 2), min(max(y, 0), height - 2)
        right, bottom = max(min(x + side, width), left + 2), max(min(y + side, height), top + 2)
        part = picture.bgr(box=(left, top, right - left, bottom - top))
        pad = (max(0, top - y), max(0, y + side - bottom), max(0, left - x), max(0, x + side - right))
        if any(pad):
            part = cv2.copyMakeBorder(part, *pad, cv2.BORDER_REPLICATE)
        how = cv2.INTER_AREA if side > MESH_PX else cv2.INTER_LINEAR
        return cv2.resize(part, (MESH_PX, MESH_PX), interpolation=how)

    # -- all faces ---------------------------------------------------------------------------

    def _search(self, picture: Pictures, tiles: bool) -> None:
        """Look for faces in the whole picture: confirm the known, wake the sleeping, start the new."""
        width, height = self._size
        scale = max(1.0, max(width, height) / SEARCH_PX)
        small = picture.bgr(width=round(width / scale))
        scale = width / small.shape[1]
        boxes: list[Box] = [tuple(v * scale for v in box) for _, box in self._detector.find(small, tiles)]  # type: ignore[misc]
        for face in self._awake:
            mine = next((b for b in boxes if _same_face(b, face.box)), None)
            if mine is not None:
                boxes.remove(mine)
                if face.lost:
                    self._restart(face, mine)
                    self._follow(face, picture)
            if not face.lost:
                face.found.searches += 1
                face.found.agreed += mine is not None
        for box in boxes:
            face = self._wake(box) or _Face(Found({}), self._meshes.lend(), box)
            self._restart(face, box)
            if not self._follow(face, picture):
                self._aim(face, grow=0.75)
                self._follow(face, picture)
            face.found.searches += 1
            face.found.agreed += 1
            self._awake.append(face)
            if not face.lost:
                self._look_back(face, picture.frame)

    def _restart(self, face: _Face, box: Box) -> None:
        blank(face.model)
        face.box = box
        self._aim(face)

    def _wake(self, box: Box) -> _Face | None:
        """The sleeping face whose place and size fit a box best, if any does."""
        size = max(box[2:])
        fits = []
        for face in self._asleep:
            apart = float(np.linalg.norm(_centre(face.box) - _centre(box))) / size
            if apart < 1.0 and 0.6 < max(face.box[2:]) / size < 1.9:
                fits.append((apart, face))
        if not fits:
            return None
        face = min(fits, key=lambda pair: pair[0])[1]
        self._asleep.remove(face)
        face.model = self._meshes.lend()
        return face

    def _look_back(self, face: _Face, frame: int) -> None:
        """Follow a face that has just been found backwards, to where it appeared."""
        back = _Face(face.found, self._meshes.lend(), face.box)
        self._aim(back)
        for picture in reversed(self._recent):
            if picture.frame in face.found.meshes or not self._follow(back, picture):
                break
        self._meshes.give_back(back.model)

    def _part(self, frame: int) -> None:
        """Two trackers on one face: the older keeps it. Faces lost for too long fall asleep."""
        for n, face in enumerate(list(self._awake)):
            rivals = [f for f in self._awake[:n] if f.lost == 0 and _same_face(f.box, face.box)]
            if face.lost == 0 and rivals:
                face.found.meshes.pop(frame, None)
                face.lost = self._patience + 1
            if face.lost > self._patience:
                self._awake.remove(face)
                self._meshes.give_back(face.model)
                face.model = None
                if face.found.meshes:
                    self._asleep.append(face)


def _same_face(a: Box, b: Box) -> bool:
    return overlap(a, b) > 0.4 or _inside(a, b)
