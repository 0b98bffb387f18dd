"""The renderer: a picture of a face and keypoints that move become a new picture (OcclusionAwareSPADEGenerator).

After Wang, Mallya and Liu (2021), with the decoder of Park et al., "Semantic Image Synthesis with Spatially-Adaptive
Normalization" (2019). Keys as published (`generator.`). The spectral norm's vectors are those of the file: a weight is
divided by u . (W v) as they stand, whatever its sign.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dubbing.networks.sadtalker.keypoints import Down2d
from dubbing.networks.sadtalker.motion import DenseMotion, Motion, MotionShape, deformed

__all__ = [
    "MIDDLE",
    "SLOPE",
    "GeneratorShape",
    "SpadeBlock",
    "SpadeDecoder",
    "SpadeGenerator",
    "SpadeNorm",
    "SpectralConv",
]

SLOPE = 0.2
"""Of the decoder's leaky ReLUs."""
MIDDLE = 6
"""Blocks of the decoder before it enlarges."""


@dataclass(frozen=True)
class GeneratorShape:
    """Sizes of the layers. first: channels of the first; most: at most; downs: halvings of the picture; volume:
    channels of the volume, and depth: its planes; residuals: blocks in space; motion: of the dense motion; seg:
    channels that the decoder starts from; hidden: of its norms' own layers; last: of its last block."""

    first: int = 64
    most: int = 512
    downs: int = 2
    volume: int = 32
    depth: int = 16
    residuals: int = 6
    motion: MotionShape = MotionShape()
    seg: int = 256
    hidden: int = 128
    last: int = 64


class _Same2d(nn.Module):
    """Convolution, batch norm, an activation."""

    def __init__(self, inward: int, out: int, slope: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inward, out, 3, padding=1), nn.BatchNorm2d(out)
        self._slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.conv(x)), self._slope)


class _Residual3d(nn.Module):
    """A pre-activated residual block in space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        out: Tensor = x + self.conv2(torch.relu(self.norm2(y)))
        return out


class SpectralConv(nn.Module):
    """A convolution, padded to keep its size, whose weight is `weight_orig` over its spectral norm."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inward: int, out: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(out, inward, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight_orig, a=5**0.5)
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.register_buffer("weight_u", nn.functional.normalize(torch.randn(out), dim=0))
        self.register_buffer("weight_v", nn.functional.normalize(torch.randn(inward * kernel**2), dim=0))

    @property
    def sigma(self) -> Tensor:
        """What the weight is divided by, one number."""
        return torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)

    @property
    def weight(self) -> Tensor:
        """The weight as it is used."""
        return self.weight_orig / self.sigma

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[2] // 2)


class SpadeNorm(nn.Module):
    """Instance norm, then a scale and a shift of every pixel, read off `seg` (N, seg, h, w), which is enlarged."""

    def __init__(self, channels: int, seg: int, hidden: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(seg, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        hidden = self.mlp_shared(nn.functional.interpolate(seg, size=x.shape[2:]))
        gamma, beta = self.mlp_gamma(hidden), self.mlp_beta(hidden)
        out: Tensor = nn.functional.instance_norm(x) * (1 + gamma) + beta
        return out


class SpadeBlock(nn.Module):
    """Two convolutions behind such norms, plus the input, which is adapted where the widths differ."""

    def __init__(self, inward: int, out: int, seg: int, hidden: int) -> None:
        super().__init__()
        middle = min(inward, out)
        self.conv_0, self.conv_1 = SpectralConv(inward, middle, 3), SpectralConv(middle, out, 3)
        self.norm_0, self.norm_1 = SpadeNorm(inward, seg, hidden), SpadeNorm(middle, seg, hidden)
        self.adapts = inward != out
        if self.adapts:
            self.conv_s, self.norm_s = SpectralConv(inward, out, 1, bias=False), SpadeNorm(inward, seg, hidden)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        y = self.conv_0(_bent(self.norm_0(x, seg)))
        y = self.conv_1(_bent(self.norm_1(y, seg)))
        out: Tensor = y + (self.conv_s(self.norm_s(x, seg)) if self.adapts else x)
        return out


def _bent(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, SLOPE)


class SpadeDecoder(nn.Module):
    """forward: features (N, seg, h, w) give the picture (N, 3, 4h, 4w), 0..1."""

    def __init__(self, seg: int = 256, hidden: int = 128, last: int = 64) -> None:
        super().__init__()
        wide = 2 * seg
        self.fc = nn.Conv2d(seg, wide, 3, padding=1)
        for n in range(MIDDLE):
            self.add_module(f"G_middle_{n}", SpadeBlock(wide, wide, seg, hidden))
        self.up_0, self.up_1 = SpadeBlock(wide, seg, seg, hidden), SpadeBlock(seg, last, seg, hidden)
        self.conv_img = nn.Conv2d(last, 3, 3, padding=1)

    def stages(self, features: Tensor) -> OrderedDict[str, Tensor]:
        """Every stage's result by its name, the last one `logits`: the picture before its sigmoid."""
        out = OrderedDict(fc=self.fc(features))
        x = out["fc"]
        for n in range(MIDDLE):
            x = out[f"G_middle_{n}"] = self.get_submodule(f"G_middle_{n}")(x, features)
        x = out["up_0"] = self.up_0(nn.functional.interpolate(x, scale_factor=2), features)
        x = out["up_1"] = self.up_1(nn.functional.interpolate(x, scale_factor=2), features)
        out["logits"] = self.conv_img(_bent(x))
        return out

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.stages(features)["logits"])


class SpadeGenerator(nn.Module):
    """forward: pictures (N, 3, H, W), RGB 0..1, old and new keypoints (N, 15, 3), give new pictures of that size."""

    def __init__(self, shape: GeneratorShape = GeneratorShape()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        widths = [min(shape.most, shape.first * 2**n) for n in range(shape.downs + 1)]
        wide = shape.volume * shape.depth
        self.dense_motion_network = DenseMotion(shape.volume, shape.motion)
        self.first = _Same2d(3, widths[0])
        self.down_blocks = nn.ModuleList(Down2d(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.second = nn.Conv2d(widths[-1], wide, 1)
        self.resblocks_3d = nn.Sequential(
            OrderedDict((f"3dr{n}", _Residual3d(shape.volume)) for n in range(shape.residuals))
        )
        self.third = _Same2d(wide, shape.seg, 0.01)
        self.fourth = nn.Conv2d(shape.seg, shape.seg, 1)
        self.decoder = SpadeDecoder(shape.seg, shape.hidden, shape.last)
        self._depth = shape.depth

    def volume(self, pictures: Tensor) -> Tensor:
        """Pictures as volumes (N, C, D, H / 4, W / 4): of the old face alone."""
        x = self.first(pictures)
        for block in self.down_blocks:
            x = block(x)
        x = self.second(x)
        x = x.view(len(x), -1, self._depth, *x.shape[2:])
        out: Tensor = self.resblocks_3d(x)
        return out

    def features(self, volume: Tensor, motion: Motion) -> Tensor:
        """What the decoder starts from: the volume as it was moved, without what it cannot show."""
        x = deformed(volume, motion.deformation).flatten(1, 2)
        x = self.fourth(self.third(x))
        return x * motion.occlusion

    def forward(self, pictures: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        volume = self.volume(pictures)
        motion: Motion = self.dense_motion_network(volume, source, driving)
        out: Tensor = self.decoder(self.features(volume, motion))
        return out
