"""Inception v3 as FID is measured with, under the keys of the published file.

Szegedy et al. 2016 describe the network; Heusel et al. 2017 measure FID by the last pooling layer of the one that was
published for TensorFlow on 2015-12-05, whose weights pytorch-fid publishes for torch (`dub models`, `inception_fid`).
It differs from the Inception v3 of later libraries in how its blocks pool: their means leave the padding out, the last
block takes maxima instead of means, and it knows 1008 classes. It knows no film.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FEATURES", "SIDE_PX", "InceptionNet"]

FEATURES, SIDE_PX = 2048, 299
_CLASSES = 1008
_Kernel = int | tuple[int, int]


class _Conv(nn.Module):
    """A convolution without bias, its norm, and max(0, x). Padding keeps the size unless `valid`."""

    def __init__(self, inward: int, outward: int, kernel: _Kernel = 1, stride: int = 1, valid: bool = False) -> None:
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (high // 2, wide // 2)
        self.conv = nn.Conv2d(inward, outward, (high, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outward, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def _mean(x: Tensor) -> Tensor:
    """Means of 3x3 without the padding."""
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _most(x: Tensor) -> Tensor:
    """Maxima of 3x3 of the same size."""
    return functional.max_pool2d(x, 3, 1, 1)


class _Fives(nn.Module):
    """35x35: one, five, twice three."""

    def __init__(self, inward: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inward, 64)
        self.branch5x5_1, self.branch5x5_2 = _Conv(inward, 48), _Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inward, 64), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3)
        self.branch_pool = _Conv(inward, pooled)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), threes, self.branch_pool(_mean(x))], 1
        )


class _ToSeventeen(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, inward: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inward, 384, 3, 2, valid=True)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inward, 64), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, 2, valid=True)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, functional.max_pool2d(x, 3, 2)], 1)


class _Sevens(nn.Module):
    """17x17: sevens along rows and columns. within: their width."""

    def __init__(self, inward: int, within: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = _Conv(inward, 192)
        self.branch7x7_1, self.branch7x7_2 = _Conv(inward, within), _Conv(within, within, row)
        self.branch7x7_3 = _Conv(within, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(inward, within), _Conv(within, within, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _Conv(within, within, row), _Conv(within, within, column)
        self.branch7x7dbl_5 = _Conv(within, 192, row)
        self.branch_pool = _Conv(inward, 192)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_mean(x))], 1)


class _ToEight(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, inward: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(inward, 192), _Conv(192, 320, 3, 2, valid=True)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(inward, 192), _Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1)), _Conv(192, 192, 3, 2, valid=True)

    def forward(self, x: Tensor) -> Tensor:
        sevens = self.branch7x7x3_2(self.branch7x7x3_1(x))
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(sevens))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), sevens, functional.max_pool2d(x, 3, 2)], 1)


class _Split(nn.Module):
    """8x8: threes that end in a row and a column. maxima: what the pooling branch takes instead of means."""

    def __init__(self, inward: int, maxima: bool) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inward, 320)
        self.branch3x3_1 = _Conv(inward, 384)
        self.branch3x3_2a, self.branch3x3_2b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inward, 448), _Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch_pool = _Conv(inward, 192)
        self._pool = _most if maxima else _mean

    def forward(self, x: Tensor) -> Tensor:
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x), self.branch3x3_2a(once), self.branch3x3_2b(once), self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice), self.branch_pool(self._pool(x)),
        ], 1)  # fmt: skip


class InceptionNet(nn.Module):
    """The published network. Pictures (N, 3, 299, 299) RGB -1..1 to the last pooling layer, (N, 2048); `fc`, which
    tells classes apart, comes with the file and is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2, valid=True)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = _Conv(32, 32, 3, valid=True), _Conv(32, 64, 3)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = _Conv(64, 80), _Conv(80, 192, 3, valid=True)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _Fives(192, 32), _Fives(256, 64), _Fives(288, 64)
        self.Mixed_6a = _ToSeventeen(288)
        self.Mixed_6b, self.Mixed_6c = _Sevens(768, 128), _Sevens(768, 160)
        self.Mixed_6d, self.Mixed_6e = _Sevens(768, 160), _Sevens(768, 192)
        self.Mixed_7a = _ToEight(768)
        self.Mixed_7b, self.Mixed_7c = _Split(1280, maxima=False), _Split(2048, maxima=True)
        self.fc = nn.Linear(FEATURES, _CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(functional.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))
