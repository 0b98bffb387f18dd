"""The faces of a stretch of film, followed and cut as its pictures pass by once.

A face's box is smoothed over what comes after it too, and a face may be found to have been there for some frames, so
pictures wait in a short queue before they are cut. What is held grows with the stretch, not with the film: meshes, and
JPEGs of the faces. It knows no sound and no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.cuts import SCAN_WIDTH_PX, CutFinder
from dubbing.analysis.mixes import MixFinder
from dubbing.analysis.tracker import Follower, Found, box_of
from dubbing.artifacts.tracks import BRIDGE_S
from dubbing.dataset.faces import cut_face, face_boxes
from dubbing.dataset.shards import FPS, jpeg
from dubbing.mesh import Detector, Meshes

__all__ = ["REACH", "Run", "Segment"]

REACH = max(1, round(FPS * 0.1))  # frames to each side that a box is smoothed over
_BRIDGE = int(FPS * BRIDGE_S)
_EVERY = FPS // 5  # frames between two searches for faces
_WAIT = _BRIDGE + REACH + 1
_CUT_EDGE = REACH  # frames on each side of a cut or a dissolve that are left out: their boxes were smoothed over it


@dataclass(frozen=True, eq=False)
class Run:
    """One face in frames [start, start + N) of the film, at 25 a second.

    face: which face of the segment; mesh_NP3: float32 (N, 478, 3) pixels; boxes_N4: float64 (N, 4); jpegs: its
    pictures; height_px: of the mesh, the median.
    """

    face: int
    start: int
    mesh_NP3: np.ndarray
    boxes_N4: np.ndarray
    jpegs: tuple[bytes, ...]
    height_px: float

    @property
    def end(self) -> int:
        return self.start + len(self.jpegs)

    def part(self, first: int, last: int) -> Run:
        """Frames [first, last) of the run, counted from its start."""
        at = slice(first, last)
        mesh, boxes, jpegs = self.mesh_NP3[at], self.boxes_N4[at], self.jpegs[at]
        return Run(self.face, self.start + first, mesh, boxes, jpegs, self.height_px)


@dataclass(eq=False)
class _Cut:
    """The pictures of one face, by frame: JPEG and box. found: held so that no other object gets its `id()`."""

    found: Found
    pictures: dict[int, tuple[bytes, np.ndarray]] = field(default_factory=dict)


class _NoHands:
    """Finds no hands: one before a mouth is ordinary in training data."""

    def cover(self, rgb_HWC: np.ndarray, outline_P2: np.ndarray) -> float:
        return 0.0


class Segment:
    """Give it the pictures of a stretch in order, each once; then `finish`. side: of the face pictures, in pixels;
    crop: see `faces.face_boxes`."""

    def __init__(
        self, detector: Detector, meshes: Meshes, size: tuple[int, int], side: int, crop: str | None = None
    ) -> None:
        self._crop = crop
        hands: Any = _NoHands()
        self._follower = Follower(detector, meshes, hands, size, _EVERY, _BRIDGE)
        self._cuts, self._mixes, self._side = CutFinder(), MixFinder(Fraction(FPS)), side
        self._waiting: deque[media.Picture] = deque()
        self._cut: dict[int, _Cut] = {}
        self._first: int | None = None

    def step(self, picture: media.Picture) -> None:
        """The next picture; `picture.frame` counts on from the one before."""
        self._first = picture.frame if self._first is None else self._first
        small = _small(picture)
        self._cuts.feed(small)
        self._mixes.feed(small)
        self._follower.step(picture)
        self._waiting.append(picture)
        if len(self._waiting) > _WAIT:
            self._settle(self._waiting.popleft())

    def finish(self) -> list[Run]:
        """Every stretch without a gap, a cut or a dissolve of every confirmed face, largest face first."""
        while self._waiting:
            self._settle(self._waiting.popleft())
        first = self._first or 0
        out = [(first + c, first + c) for c in self._cuts.finish()]
        out += [(first + a, first + b) for a, b in self._mixes.finish()]
        runs: list[Run] = []
        for number, found in enumerate(self._follower.finish()):
            kept = self._cut[id(found)].pictures if id(found) in self._cut else {}
            sure = {f: mesh for f in kept if (mesh := _mesh_at(found.meshes, f)) is not None}
            frames = [f for f in sorted(sure) if all(not a - _CUT_EDGE <= f < b + _CUT_EDGE for a, b in out)]
            for part in _stretches(frames):
                mesh = np.stack([sure[f] for f in part])
                boxes = np.stack([kept[f][1] for f in part])
                height = float(np.median([box_of(m)[3] for m in mesh]))
                runs.append(Run(number, part[0], mesh, boxes, tuple(kept[f][0] for f in part), height))
        self._cut.clear()
        return sorted(runs, key=lambda r: (-r.height_px, r.start))

    def _settle(self, picture: media.Picture) -> None:
        """Cut every face out of a picture whose boxes will not change any more."""
        for found in self._follower.known:
            box = _box_at(found, picture.frame, self._crop)
            if box is not None:
                face = jpeg(cut_face(picture, box, self._side))
                self._cut.setdefault(id(found), _Cut(found)).pictures[picture.frame] = (face, box)


def _small(picture: media.Picture) -> np.ndarray:
    if picture.size[0] > SCAN_WIDTH_PX:
        return picture.bgr(width=SCAN_WIDTH_PX)
    width, height = picture.size
    return cv2.resize(picture.bgr(), (SCAN_WIDTH_PX, max(8, height * SCAN_WIDTH_PX // width)))


def _mesh_at(meshes: Mapping[int, np.ndarray], frame: int) -> np.ndarray | None:
    """The mesh in a frame, drawn straight across a gap of up to BRIDGE_S; None in longer ones."""
    if frame in meshes:
        return meshes[frame]
    left = next((f for f in range(frame - 1, frame - _BRIDGE - 1, -1) if f in meshes), None)
    right = next((f for f in range(frame + 1, frame + _BRIDGE + 1) if f in meshes), None)
    if left is None or right is None or right - left > _BRIDGE + 1:
        return None
    part = np.float32((frame - left) / (right - left))
    return meshes[left] * (1 - part) + meshes[right] * part


def _box_at(found: Found, frame: int, crop: str | None) -> np.ndarray | None:
    """The smoothed box of a face in a frame, float64 (4,), or None where it is not there."""
    middle = _mesh_at(found.meshes, frame)
    if middle is None:
        return None
    around = deque([middle])
    before = 0
    for step in (-1, 1):
        for n in range(1, REACH + 1):
            mesh = _mesh_at(found.meshes, frame + step * n)
            if mesh is None:
                break
            around.appendleft(mesh) if step < 0 else around.append(mesh)
            before += step < 0
    box: np.ndarray = face_boxes(np.stack(around), REACH, crop)[before]
    return box


def _stretches(frames: list[int]) -> list[list[int]]:
    """Frame numbers grouped into runs of consecutive ones."""
    out: list[list[int]] = []
    for f in frames:
        if out and out[-1][-1] == f - 1:
            out[-1].append(f)
        else:
            out.append([f])
    return out
