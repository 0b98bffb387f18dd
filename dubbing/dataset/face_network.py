"""The coefficients that the published network of a 3D face model sees in face pictures.

As SadTalker has its faces described (Deng et al. 2019): five points bring a picture to a standard place and size, and
a ResNet-50 gives 257 numbers, of which those of expression and pose are kept. Pictures of a data folder end closer
around a face than the network looks; their edge is repeated there. See `coefficients.Network`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from dubbing import device
from dubbing.generators.sadtalker import weights
from dubbing.networks.sadtalker.alignment import aligned, place_of
from dubbing.networks.sadtalker.coefficients import FaceCoefficients, kept

__all__ = ["FaceNetwork"]

_BATCH = 16
_MARGIN = 0.75  # of a picture's side, around it


class FaceNetwork:
    """net: with its weights, in evaluation mode; digest: of these, hex; standard_53: the five points of the standard
    face that it was trained with, y upwards; batch: pictures at once."""

    name = "sadtalker"

    def __init__(self, net: torch.nn.Module, digest: str, standard_53: np.ndarray) -> None:
        self.digest, self._standard = digest, standard_53
        self._device = torch.device(device.default())
        self._net: Callable[[torch.Tensor], torch.Tensor] = net.to(self._device).eval()

    @staticmethod
    def load(model: str, mean_face: str) -> FaceNetwork:
        """The network in a file of all of SadTalker, or of itself, and the standard face of another, both named as
        among `dub models` or by path. Raises ModelError."""
        from dubbing import models

        path, digest = models.chosen(model)
        standard, other = models.chosen(mean_face)
        state = weights.state_of(path, "face_3drecon", model)
        net = models.fit(FaceCoefficients(), state, f"{model} (face_3drecon)")
        return FaceNetwork(net, f"{digest} {other}", weights.mean_face(standard, mean_face).numpy())

    def __call__(self, faces_NHWC: np.ndarray, five_N52: np.ndarray) -> np.ndarray:
        """Coefficients, float32 (N, 70), of BGR pictures and their five points in pixels, y downwards."""
        edge = round(_MARGIN * faces_NHWC.shape[1])
        height = faces_NHWC.shape[1] + 2 * edge
        found = []
        with torch.inference_mode(), device.exact(self._device):
            for at in range(0, len(faces_NHWC), _BATCH):
                pictures = []
                for face, five in zip(faces_NHWC[at : at + _BATCH], five_N52[at : at + _BATCH], strict=True):
                    wide = cv2.copyMakeBorder(face[:, :, ::-1], edge, edge, edge, edge, cv2.BORDER_REPLICATE)
                    x, y = (five + edge - 0.5).T  # of pixels, whose middles are whole here
                    upwards = np.stack([x, height - 1 - y], 1)
                    pictures.append(aligned(wide, place_of(upwards, self._standard))[0])
                seen = torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2).float() / 255
                found.append(kept(self._net(seen)).cpu())
        return torch.cat(found).numpy()
