"""The discriminators of the speech-driven GAN: one of single frames, one of sequences with their sound.

Both give logits, above 0 for real. Shapes as in `nets`. The pyramid pooling is He, Zhang, Ren and
Sun's, "Spatial pyramid pooling in deep convolutional networks for visual recognition" (2014), along time only.
They know no loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.networks.speech_gan.inputs import PICTURE_HW
from dubbing.networks.speech_gan.nets import PLAN, Ear, NetworkShape

__all__ = ["LEVELS", "FrameJudge", "SequenceJudge", "pyramid"]

LEVELS = (1, 2, 4)  # parts of time that the pyramid pools over
_SLOPE = 0.2


def pyramid(features_BCT: Tensor, levels: tuple[int, ...] = LEVELS) -> Tensor:
    """The greatest value of each channel in each part of time: (B, C * sum(levels)) from (B, C, T), T at least 1.

    A level of n cuts time in n parts as equal as can be; they overlap where there are fewer than n ticks.
    """
    return torch.cat([F.adaptive_max_pool1d(features_BCT, n).flatten(1) for n in levels], 1)


class FrameJudge(nn.Module):
    """Whether a frame is a real one of the still's person: 4 convolutions with pooling, 2 fully connected layers.

    `forward(still, frame)`: (N, 3, 128, 96) each, BGR 0..1; returns (N,).
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        w = plan.width
        sizes = (6, w, 2 * w, 4 * w, 8 * w)
        layers: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Conv2d(a, b, 3, 1, 1), nn.LeakyReLU(_SLOPE, inplace=True), nn.MaxPool2d(2)]
        self.convs = nn.Sequential(*layers)
        left = 8 * w * (PICTURE_HW[0] // 16) * (PICTURE_HW[1] // 16)
        self.full = nn.Sequential(nn.Linear(left, 8 * w), nn.LeakyReLU(_SLOPE, inplace=True), nn.Linear(8 * w, 1))

    def forward(self, still_N3HW: Tensor, frame_N3HW: Tensor) -> Tensor:
        out: Tensor = self.full(self.convs(torch.cat((still_N3HW, frame_N3HW), 1)).flatten(1))
        return out[:, 0]


class SequenceJudge(nn.Module):
    """Whether a sequence moves as real ones do and as its sound says, whatever its length.

    Each frame through convolutions, its sound through an `Ear`, both through a GRU of two layers, the pyramid over
    time, 2 fully connected layers. `forward(frames, mfcc)`: (B, T, 3, 128, 96) BGR 0..1, (B, T, 1, 13, 20); returns
    (B,).
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        w, size = plan.width, plan.audio
        sizes = (3, w, 2 * w, 2 * w, 4 * w, 4 * w)
        layers: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(_SLOPE, inplace=True)]
        left = 4 * w * (PICTURE_HW[0] // 32) * (PICTURE_HW[1] // 32)
        self.eye = nn.Sequential(*layers, nn.Flatten(), nn.Linear(left, size))
        self.ear = Ear(w, size)
        self.gru = nn.GRU(2 * size, size, 2, batch_first=True)
        self.full = nn.Sequential(
            nn.Linear(size * sum(LEVELS), size), nn.LeakyReLU(_SLOPE, inplace=True), nn.Linear(size, 1)
        )

    def forward(self, frames_BT3HW: Tensor, mfcc_BT1CT: Tensor) -> Tensor:
        seen, heard = self.eye(frames_BT3HW.flatten(0, 1)), self.ear(mfcc_BT1CT.flatten(0, 1))
        both = torch.cat((seen, heard), 1).unflatten(0, mfcc_BT1CT.shape[:2])
        watched, _ = self.gru(both)
        out: Tensor = self.full(pyramid(watched.transpose(1, 2).float()))
        return out[:, 0]
