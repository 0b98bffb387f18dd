"""The follower of faces with stand-ins for the networks: what it keeps of whom, without a picture of anybody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from dubbing.analysis.tracker import Follower
from dubbing.face import OUTER_LIPS
from dubbing.mesh import Box

LEFT: Box = (100.0, 100.0, 50.0, 60.0)
RIGHT: Box = (400.0, 100.0, 50.0, 60.0)
POINTS = 478


class _Picture:
    """A white frame while the faces are there, a black one while they are not."""

    def __init__(self, frame: int, *, there: bool) -> None:
        self.frame, self._level = frame, 255 if there else 0

    def bgr(self, box: Any = None, width: int | None = None) -> np.ndarray:
        return np.full((360 if box is None else width or 32, width or 640, 3), self._level, np.uint8)


class _Meshes:
    """Sees a face in the middle of every square that is white."""

    def lend(self) -> Any:
        return SimpleNamespace(faces=lambda picture: [])

    def give_back(self, model: Any) -> None:
        pass

    def fit(self, model: Any, rgb: np.ndarray) -> np.ndarray | None:
        if not rgb.any():
            return None
        at = np.linspace(-0.5, 0.5, POINTS)
        return np.stack([0.5 + at * 0.4, 0.5 - at * 0.48, 0 * at], 1).astype(np.float32)


class _Detector:
    """Finds the boxes that it was told to find, in that order."""

    boxes: list[Box] = []

    def find(self, small: np.ndarray, tiles: bool) -> list[tuple[float, Box]]:
        return [(0.9, box) for box in self.boxes]


class _NoHands:
    def cover(self, rgb: np.ndarray, lips: np.ndarray) -> float:
        assert lips.shape == (len(OUTER_LIPS), 2)
        return 0.0


def test_of_two_faces_that_vanish_together_the_second_may_be_found_first() -> None:
    """Both fall asleep; the one that the other stands before in the list comes back first."""
    detector = _Detector()
    follower: Any = Follower(detector, _Meshes(), _NoHands(), (640, 360), every=2, patience=5)  # type: ignore[arg-type]
    frames = iter(range(100))

    def play(count: int, *boxes: Box) -> None:
        detector.boxes = list(boxes)
        for _ in range(count):
            follower.step(_Picture(next(frames), there=bool(boxes)))

    play(10, LEFT, RIGHT)
    play(10)
    play(2, RIGHT)
    play(8, RIGHT, LEFT)
    found = follower.finish()
    assert len(found) == 2, "each face goes on in its own track"
    middles = sorted((float(face.meshes[0][:, 0].mean()), face) for face in found if 0 in face.meshes)
    assert [round(x) for x, _ in middles] == [125, 425]
    assert {20, 21, 29} <= middles[1][1].meshes.keys(), "the right one was back from frame 20"
    assert 29 in middles[0][1].meshes and 15 not in middles[0][1].meshes
