"""PoseVAE: how a head moves while it says something, drawn from chance, in one of 46 styles.

A variational autoencoder over blocks of 32 frames of six numbers (three angles, three shifts), conditioned on sound,
the first frame's pose and the style. The decoder is used to render; the encoder and the judge of motion are there for
training and because the published file holds them (`audio2pose.`). Keys as published.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from dubbing.networks.sadtalker.expression import AudioEncoder
from dubbing.networks.sadtalker.windows import POSE, STYLES

__all__ = ["BLOCK", "CHANCE", "POSE", "STYLES", "Decoder", "Encoder", "MotionJudge", "PoseVAE", "PoseVAEGenerator"]

BLOCK = 32
"""Frames that are decoded together."""
CHANCE = 64
"""Numbers of chance of a block."""
_HEARD = 512


class _Unit(nn.Module):
    """A pre-activated residual unit: [BN ReLU conv BN ReLU conv] + [conv BN]."""

    def __init__(self, inward: int, out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.BatchNorm2d(inward), nn.ReLU(), nn.Conv2d(inward, out, 3, stride, 1),
            nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 3, 1, 1),
        )  # fmt: skip
        self.conv_skip = nn.Sequential(nn.Conv2d(inward, out, 3, stride, 1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x) + self.conv_skip(x)
        return y


class _Up(nn.Module):
    """Twice as many rows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, (2, 1), (2, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.upsample(x)
        return y


class _ResUnet(nn.Module):
    """A U-net over (N, 1, 32, 6) that halves and doubles the rows only; gives the same shape, 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)
        )
        self.input_skip = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1))
        self.residual_conv_1 = _Unit(32, 64, (2, 1))
        self.residual_conv_2 = _Unit(64, 128, (2, 1))
        self.bridge = _Unit(128, 256, (2, 1))
        self.upsample_1 = _Up(256)
        self.up_residual_conv1 = _Unit(256 + 128, 128, (1, 1))
        self.upsample_2 = _Up(128)
        self.up_residual_conv2 = _Unit(128 + 64, 64, (1, 1))
        self.upsample_3 = _Up(64)
        self.up_residual_conv3 = _Unit(64 + 32, 32, (1, 1))
        self.output_layer = nn.Sequential(nn.Conv2d(32, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.input_layer(x) + self.input_skip(x)
        x2 = self.residual_conv_1(x1)
        x3 = self.residual_conv_2(x2)
        x4 = self.upsample_1(self.bridge(x3))
        x5 = self.up_residual_conv1(torch.cat([x4, x3], 1))
        x6 = self.up_residual_conv2(torch.cat([self.upsample_2(x5), x2], 1))
        x7 = self.up_residual_conv3(torch.cat([self.upsample_3(x6), x1], 1))
        out: Tensor = self.output_layer(x7)
        return out


class Encoder(nn.Module):
    """What chance a motion came from. The published reference never uses it to render.

    forward: motion (N, 32, 6) relative to the reference pose, heard (N, 32, 512), reference (N, 6), style (N,) int64;
    gives the mean and the logarithm of the variance, (N, 64) each. The published code reads both off
    `linear_means`, by a slip; here each has its own layer. No golden number holds this part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classbias = nn.Parameter(torch.randn(STYLES, CHANCE))
        self.resunet = _ResUnet()
        self.MLP = nn.Sequential(OrderedDict(L0=nn.Linear(POSE + 2 * BLOCK * POSE + CHANCE, 128), A0=nn.ReLU()))
        self.linear_means = nn.Linear(128, CHANCE)
        self.linear_logvar = nn.Linear(128, CHANCE)
        self.linear_audio = nn.Linear(_HEARD, POSE)

    def forward(self, motion: Tensor, heard: Tensor, reference: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        moved = self.resunet(motion[:, None]).flatten(1)
        sound = self.linear_audio(heard).flatten(1)
        x = self.MLP(torch.cat([reference, moved, sound, self.classbias[style]], 1))
        return self.linear_means(x), self.linear_logvar(x)


class Decoder(nn.Module):
    """A motion from chance.

    forward: heard (N, 32, 512), reference (N, 6), style (N,) int64, chance (N, 64); gives (N, 32, 6), the motion
    relative to the reference pose.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classbias = nn.Parameter(torch.randn(STYLES, CHANCE))
        self.resunet = _ResUnet()
        self.MLP = nn.Sequential(
            OrderedDict(
                L0=nn.Linear(POSE + CHANCE + BLOCK * POSE, 128), A0=nn.ReLU(),
                L1=nn.Linear(128, BLOCK * POSE), sigmoid=nn.Sigmoid(),
            )
        )  # fmt: skip
        self.pose_linear = nn.Linear(POSE, POSE)
        self.linear_audio = nn.Linear(_HEARD, POSE)

    def forward(self, heard: Tensor, reference: Tensor, style: Tensor, chance: Tensor) -> Tensor:
        sound = self.linear_audio(heard).flatten(1)
        x = self.MLP(torch.cat([reference, chance + self.classbias[style], sound], 1))
        x = self.resunet(x.view(-1, 1, BLOCK, POSE))[:, 0]
        out: Tensor = self.pose_linear(x)
        return out


class PoseVAEGenerator(nn.Module):
    """Encoder and decoder. whole: False leaves the encoder out."""

    def __init__(self, whole: bool = True) -> None:
        super().__init__()
        if whole:
            self.encoder = Encoder()
        self.decoder = Decoder()


class _JudgeLayer(nn.Module):
    """Convolution without bias, batch norm, leaky ReLU."""

    def __init__(self, inward: int, out: int, halves: bool) -> None:
        super().__init__()
        kernel, stride = (4, 2) if halves else (3, 1)
        self.conv = nn.Conv1d(inward, out, kernel, stride, 1, bias=False)
        self.norm = nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class MotionJudge(nn.Module):
    """The discriminator of motion, for training: (N, T, 6) becomes a verdict (N, T // 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            _JudgeLayer(POSE, 256, True), _JudgeLayer(256, 512, True), _JudgeLayer(512, 1024, False),
            nn.Conv1d(1024, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, motion: Tensor) -> Tensor:
        out: Tensor = self.seq(motion.transpose(1, 2))[:, 0]
        return out


class _PoseAudio(nn.Module):
    """PoseVAE's own encoder of sound, under the name it was published by."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = AudioEncoder()

    def forward(self, windows: Tensor) -> Tensor:
        out: Tensor = self.audio_encoder(windows).flatten(1)
        return out


class PoseVAE(nn.Module):
    """All of it (section 3.2 of the paper). whole: False leaves out what only training needs.

    forward: windows (T, 1, 80, 16) of every frame, reference (6,), style 0..45, chance (blocks, 64) with as many
    blocks as `blocks(T)` says; gives the pose of every frame (T, 6), the first one's the reference.
    """

    def __init__(self, whole: bool = True) -> None:
        super().__init__()
        self.audio_encoder = _PoseAudio()
        self.netG = PoseVAEGenerator(whole)
        if whole:
            self.netD_motion = MotionJudge()

    @staticmethod
    def blocks(frames: int) -> int:
        """How many blocks so many frames are drawn in: the first frame needs none."""
        return -(-max(0, frames - 1) // BLOCK)

    def forward(self, windows: Tensor, reference: Tensor, style: int, chance: Tensor) -> Tensor:
        heard = self.audio_encoder(windows[1:]) if len(windows) > 1 else windows.new_zeros(0, _HEARD)
        return self.poses(heard, reference, style, chance)

    def poses(self, heard: Tensor, reference: Tensor, style: int, chance: Tensor) -> Tensor:
        """As forward, from the sound of frames 1 on as numbers (T - 1, 512)."""
        count = len(heard)
        motion = [reference.new_zeros(1, POSE)]
        if count and count < BLOCK:
            heard = torch.cat([heard[:1].expand(BLOCK - count, -1), heard])
        number = torch.tensor([style], device=reference.device)
        for n in range(-(-count // BLOCK)):
            here = min(BLOCK, count - n * BLOCK)
            end = n * BLOCK + here if count >= BLOCK else BLOCK
            part = heard[None, end - BLOCK : end]
            motion.append(self.netG.decoder(part, reference[None], number, chance[n : n + 1])[0, BLOCK - here :])
        return reference + torch.cat(motion)
