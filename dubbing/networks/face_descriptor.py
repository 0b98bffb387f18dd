"""dlib's face descriptor: 128 numbers of a face, near to each other where two pictures show one person.

A ResNet by Davis King (2017, CC0, `dlib_face_recognition_resnet_model_v1`), which comes in the package
`face-recognition-models` and is run by dlib: both are the extra `identity`. Of that package only the network's file is
read; its landmark models, one of which was trained on pictures that are not free, are not used. The network sees a face
of 150 px, upright by five points, which are taken from our mesh (`identity.chip`). It knows no film and no person.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing.errors import ModelError
from dubbing.store import content_key

__all__ = ["SIZE", "FaceDescriptor"]

SIZE = 128
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"


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
        """float32 (F, 128) of faces as `identity.chip` cuts them. Euclidean distance tells people apart."""
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
