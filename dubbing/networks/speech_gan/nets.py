"""The generator of the speech-driven GAN: three encoders and a decoder, as torch modules.

Its shape is the paper's: an audio encoder with a GRU over time, an identity encoder whose first four layers are
kept as skips, a noise generator, and a decoder in which six transposed convolutions alternate with four
convolutions. Channels, kernels and the sound's window are this project's choice (`NetworkShape`). Axes: B sequences, T
ticks, N = B T; pictures (3, 128, 96) BGR 0..1. It knows no loss and no way of being trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dubbing.networks.mfcc import BANDS
from dubbing.networks.speech_gan.inputs import CHANCE, COLUMNS, PICTURE_HW

__all__ = [
    "IDENTITY", "PLAN", "AudioEncoder", "Decoder", "Ear", "IdentityEncoder", "NoiseGenerator", "NetworkShape",
    "SpeechGANNet", "plan_of",
]  # fmt: skip

IDENTITY = 50  # numbers that a still becomes
_LAYERS = 2  # of every GRU


@dataclass(frozen=True)
class NetworkShape:
    """Sizes. width: channels of the first layers, from which the others follow; audio: numbers a tick's sound is."""

    width: int = 64
    audio: int = 256


PLAN = NetworkShape()


def plan_of(state: Mapping[str, Tensor]) -> NetworkShape:
    """The sizes of a checkpoint, or PLAN where it is of another family (loading then says what differs)."""
    first, gru = state.get("identity.convs.0.0.weight"), state.get("audio.gru.weight_hh_l0")
    if first is None or gru is None or first.ndim != 4 or gru.ndim != 2:
        return PLAN
    return NetworkShape(max(1, first.shape[0]), max(1, gru.shape[1]))


def _conv(inward: int, outward: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; a kernel of 4 with stride 2 halves, one of 3 keeps the size."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, kernel, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True)
    )


class Ear(nn.Module):
    """A window of MFCCs through 5 convolutions and 2 fully connected layers, in the shape of AlexNet and VGG-M.

    `forward(mfcc_N1CT)`: (N, 1, 13, 20); returns (N, out).
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        w = width
        self.convs = nn.Sequential(
            _conv(1, w),
            _conv(w, 3 * w),
            nn.MaxPool2d(3, (1, 2)),  # 11 x 9
            _conv(3 * w, 6 * w),
            _conv(6 * w, 4 * w),
            _conv(4 * w, 4 * w),
            nn.MaxPool2d(3, 2),  # 5 x 4
        )
        across, down = ((BANDS - 2) - 3) // 2 + 1, ((COLUMNS - 3) // 2 + 1 - 3) // 2 + 1
        self.full = nn.Sequential(
            nn.Linear(4 * w * across * down, 8 * w), nn.ReLU(inplace=True), nn.Linear(8 * w, out), nn.ReLU(inplace=True)
        )

    def forward(self, mfcc_N1CT: Tensor) -> Tensor:
        out: Tensor = self.full(self.convs(mfcc_N1CT).flatten(1))
        return out


class AudioEncoder(nn.Module):
    """Encodes speech tick by tick: an `Ear`, then a GRU of two layers over time.

    `forward(mfcc_BT1CT, state)`: (B, T, 1, 13, 20) and the GRU's state (2, B, audio), or None at a beginning; returns
    (B, T, audio) and the state behind the last tick.
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        self.ear = Ear(plan.width, plan.audio)
        self.gru = nn.GRU(plan.audio, plan.audio, _LAYERS, batch_first=True)

    def forward(self, mfcc_BT1CT: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        heard_BTA = self.ear(mfcc_BT1CT.flatten(0, 1)).unflatten(0, mfcc_BT1CT.shape[:2])
        out: tuple[Tensor, Tensor] = self.gru(heard_BTA, state)
        return out


class NoiseGenerator(nn.Module):
    """Motion that sound does not determine (blinks, brows): normal noise, correlated in time by a GRU of two layers.

    `forward(noise_BTZ, state)`: (B, T, 10), see `inputs.noise`, and (2, B, 10) or None; returns (B, T, 10), the state.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(CHANCE, CHANCE, _LAYERS, batch_first=True)

    def forward(self, noise_BTZ: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = self.gru(noise_BTZ, state)
        return out


class IdentityEncoder(nn.Module):
    """Encodes the person: 6 convolutions from a still to 50 numbers.

    `forward(still_B3HW)`: (B, 3, 128, 96); returns (B, 50), -1..1, and the first four layers' outputs: (B, w, 64, 48),
    (B, 2w, 32, 24), (B, 4w, 16, 12), (B, 8w, 8, 6).
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        w = plan.width
        sizes = (3, w, 2 * w, 4 * w, 8 * w, 8 * w)
        halving = [_conv(a, b, 4, 2) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        small = (PICTURE_HW[0] // 32, PICTURE_HW[1] // 32)
        self.convs = nn.ModuleList([*halving, nn.Sequential(nn.Conv2d(8 * w, IDENTITY, small), nn.Tanh())])

    def forward(self, still_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, seen = still_B3HW, []
        for conv in self.convs:
            x = conv(x)
            seen.append(x)
        return x.flatten(1), seen[:4]


class Decoder(nn.Module):
    """A face from a code: 6 transposed convolutions, between the last five of them 4 convolutions.

    Each of these sees one of the identity encoder's skips beside what came so far. `forward(code_NC, skips)`: (N, audio
    + 50 + 10) and the skips of `IdentityEncoder`, (N, ...) each; returns (N, 3, 128, 96), 0..1.
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        w = plan.width
        small = (PICTURE_HW[0] // 32, PICTURE_HW[1] // 32)
        sizes = (8 * w, 8 * w, 4 * w, 2 * w, w)  # 4x3, 8x6, 16x12, 32x24, 64x48

        def up(inward: int, outward: int) -> nn.Sequential:
            grow = nn.ConvTranspose2d(inward, outward, 4, 2, 1, bias=False)
            return nn.Sequential(grow, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))

        code = plan.audio + IDENTITY + CHANCE
        first = nn.Sequential(
            nn.ConvTranspose2d(code, 8 * w, small, bias=False), nn.BatchNorm2d(8 * w), nn.ReLU(inplace=True)
        )
        last = nn.Sequential(nn.ConvTranspose2d(w, 3, 4, 2, 1), nn.Sigmoid())
        growing = [up(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        self.ups = nn.ModuleList([first, *growing, last])
        self.convs = nn.ModuleList([_conv(2 * c, c) for c in sizes[1:]])

    def forward(self, code_NC: Tensor, skips: list[Tensor]) -> Tensor:
        first, *growing, last = self.ups
        x: Tensor = first(code_NC[:, :, None, None])
        for up, conv, skip in zip(growing, self.convs, reversed(skips), strict=True):
            x = conv(torch.cat((up(x), skip), 1))
        out: Tensor = last(x)
        return out


class SpeechGANNet(nn.Module):
    """The generator whole.

    `forward(still, mfcc, noise)`: (B, 3, 128, 96) BGR 0..1; (B, T, 1, 13, 20), see `inputs.windows`; (B, T, 10), see
    `inputs.noise`. Returns (B, T, 3, 128, 96), 0..1.
    """

    def __init__(self, plan: NetworkShape = PLAN) -> None:
        super().__init__()
        self.plan = plan
        self.audio, self.identity = AudioEncoder(plan), IdentityEncoder(plan)
        self.noise, self.decoder = NoiseGenerator(), Decoder(plan)

    def forward(self, still_B3HW: Tensor, mfcc_BT1CT: Tensor, noise_BTZ: Tensor) -> Tensor:
        ticks = mfcc_BT1CT.shape[1]
        heard, chance = self.audio(mfcc_BT1CT)[0], self.noise(noise_BTZ)[0]
        who, skips = self.identity(still_B3HW)
        codes = torch.cat((heard, who[:, None].expand(-1, ticks, -1), chance), 2)
        made = self.decoder(codes.flatten(0, 1), [s.repeat_interleave(ticks, 0) for s in skips])
        return made.unflatten(0, (-1, ticks))
