"""ExpNet: a window of sound, the still's own expression and a blink become an expression.

The encoder of sound is Wav2Lip's; PoseVAE has one of its own. Keys as published (`audio2exp.`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dubbing.networks.sadtalker.windows import EXPRESSION

__all__ = ["AudioEncoder", "ExpNet"]

_WIDE = 512  # numbers of a window of sound
# channels in and out, kernel, stride, padding, residual
_LAYERS: tuple[tuple[int, int, int, int | tuple[int, int], int, bool], ...] = (
    (1, 32, 3, 1, 1, False),
    (32, 32, 3, 1, 1, True),
    (32, 32, 3, 1, 1, True),
    (32, 64, 3, (3, 1), 1, False),
    (64, 64, 3, 1, 1, True),
    (64, 64, 3, 1, 1, True),
    (64, 128, 3, 3, 1, False),
    (128, 128, 3, 1, 1, True),
    (128, 128, 3, 1, 1, True),
    (128, 256, 3, (3, 2), 1, False),
    (256, 256, 3, 1, 1, True),
    (256, 512, 3, 1, 0, False),
    (512, 512, 1, 1, 0, False),
)


class _Block(nn.Module):
    """Convolution, batch norm, plus the input if `residual`, ReLU."""

    def __init__(
        self, inward: int, out: int, kernel: int, stride: int | tuple[int, int], pad: int, residual: bool
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(inward, out, kernel, stride, pad), nn.BatchNorm2d(out))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


class AudioEncoder(nn.Sequential):
    """Wav2Lip's encoder of sound: windows (N, 1, 80, 16) of its mel, -4..4, become (N, 512, 1, 1), not negative."""

    def __init__(self) -> None:
        super().__init__(*(_Block(*layer) for layer in _LAYERS))


class ExpNet(nn.Module):
    """Expressions of a 3D face model from sound (section 3.1 of the paper).

    forward: windows (N, 1, 80, 16); reference (N, 64), the expression of the still; ratio (N, 1), how far the lids are
    down, 0..1; gives (N, 64). What comes out is the expression itself: the reference is not added.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = AudioEncoder()
        self.mapping1 = nn.Linear(_WIDE + EXPRESSION + 1, EXPRESSION)

    def forward(self, windows: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
        heard = self.audio_encoder(windows).flatten(1)
        out: Tensor = self.mapping1(torch.cat([heard, reference, ratio], 1))
        return out
