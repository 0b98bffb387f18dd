"""What a 3D face model's coefficients of a picture are: a ResNet-50 that looks at an aligned face.

After Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning" (2019), as SadTalker has it. Layers
and keys as published (`face_3drecon.`). Of the face model itself, which these are coefficients of, nothing is here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SIDE", "FaceCoefficients", "kept"]

SIDE = 224
"""Pixels of the side of the aligned face."""
_BLOCKS, _WIDE = (3, 4, 6, 3), 64
_HEADS = (80, 64, 80, 3, 27, 2, 1)  # identity, expression, texture, angles, light, x and y, z


class _Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, plus the input."""

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inward, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride != 1 or inward != 4 * width:
            self.downsample: nn.Module = nn.Sequential(
                nn.Conv2d(inward, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class _ResNet(nn.Module):
    """ResNet-50 up to its pooled features (N, 32 wide, 1, 1)."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, wide, 7, 2, 3, bias=False), nn.BatchNorm2d(wide)
        inward = wide
        for n, count in enumerate(_BLOCKS):
            width = wide * 2**n
            layers = []
            for k in range(count):
                layers.append(_Bottleneck(inward, width, 2 if n and not k else 1))
                inward = 4 * width
            self.add_module(f"layer{n + 1}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for n in range(len(_BLOCKS)):
            x = self.get_submodule(f"layer{n + 1}")(x)
        return x.mean((2, 3), keepdim=True)


class FaceCoefficients(nn.Module):
    """forward: aligned faces (N, 3, 224, 224), RGB 0..1, give coefficients (N, 257).

    wide: channels of the first layer.
    """

    def __init__(self, wide: int = _WIDE) -> None:
        super().__init__()
        self.backbone = _ResNet(wide)
        self.final_layers = nn.ModuleList(nn.Conv2d(32 * wide, size, 1) for size in _HEADS)

    def forward(self, faces: Tensor) -> Tensor:
        x = self.backbone(faces)
        return torch.cat([layer(x) for layer in self.final_layers], 1).flatten(1)


def kept(coefficients: Tensor) -> Tensor:
    """Of all 257 those that move: expression 64, angles 3 (radians), x, y, z; (N, 70)."""
    return torch.cat([coefficients[:, 80:144], coefficients[:, 224:227], coefficients[:, 254:257]], 1)
