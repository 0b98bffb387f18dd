"""Networks with few numbers, of the published layers, so that a whole way through them costs little."""

from __future__ import annotations

import torch

from dubbing.networks.sadtalker.generator import GeneratorShape
from dubbing.networks.sadtalker.keypoints import DetectorShape
from dubbing.networks.sadtalker.motion import MotionShape
from dubbing.networks.sadtalker.run import SadTalkerNet, Shape

__all__ = ["SADTALKER", "sadtalker"]

SADTALKER = Shape(
    DetectorShape(first=4, most=8, blocks=2, depth=2),
    GeneratorShape(first=4, most=16, volume=4, depth=2, residuals=1, motion=MotionShape(2, 4, 2, 1, 2), seg=8, hidden=4,
                   last=4),
    coefficients=73, mapping=8, face=2,
)  # fmt: skip
# nobody's: left and right eye, nose, corners of the mouth; y upwards, z towards the viewer
_FACE = ((-0.31, 0.29, 0.3), (0.31, 0.29, 0.3), (0.0, -0.05, 0.6), (-0.24, -0.4, 0.36), (0.24, -0.4, 0.36))


def sadtalker(coefficients: int = 73) -> SadTalkerNet:
    """An untrained SadTalker. coefficients: 73 for `full`, 70 for `crop`."""
    shape = Shape(SADTALKER.detector, SADTALKER.generator, coefficients, SADTALKER.mapping, SADTALKER.face)
    net = SadTalkerNet(shape)
    net.mean_face.copy_(torch.tensor(_FACE))
    return net.eval()
