"""StableSyncNet: Li et al., "LatentSync" (2024). Whether 16 frames of a mouth fit their sound; keys as published.

Two encoders of one class. What a checkpoint cannot say of them (strides) is as published; widths are read off it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.errors import ModelError
from dubbing.networks.latentsync.blocks import Attention, FeedForward, Residual, tokens, untokened

__all__ = ["COLUMNS", "FRAMES", "SIDE", "StableSyncNet", "widths_of"]

FRAMES, SIDE, COLUMNS = 16, 256, 52
"""Frames of a window, the side of their squares, and columns of its mel spectrogram."""
_Factor = int | tuple[int, int]
_SOUND: tuple[_Factor, ...] = ((2, 1), 2, 2, 1, 2, 2, (2, 3))
_FACE: tuple[_Factor, ...] = ((1, 2), 2, 2, 2, 2, 2, 2, 2)
_SOUND_SEES, _FACE_SEES = (3, 4), (4, 5)  # levels with attention
_PADS = {(1, 2): (0, 1, 1, 1), (2, 1): (1, 1, 0, 1)}  # left, right, top, bottom; (0, 1, 0, 1) for all others
Widths = tuple[tuple[int, ...], tuple[int, ...]]
"""Channels of the levels of both encoders, sound's and face's."""
PUBLISHED: Widths = ((32, 64, 128, 256, 512, 1024, 2048), (64, 128, 256, 256, 512, 1024, 2048, 2048))


class _Level(Residual):
    def __init__(self, inward: int, outward: int, factor: _Factor) -> None:
        super().__init__(inward, outward, None, eps=1e-6)
        stride = factor if isinstance(factor, tuple) else (factor, factor)
        self._pad = _PADS.get(stride, (0, 1, 0, 1))
        if stride != (1, 1):
            self.downsample_conv = nn.Conv2d(outward, outward, 3, stride)

    def forward(self, x: Tensor, time_BT: Tensor | None = None, frames: int = 1) -> Tensor:
        x = super().forward(x)
        return self.downsample_conv(F.pad(x, self._pad)) if hasattr(self, "downsample_conv") else x


class _Looking(nn.Module):
    """A transformer over pixels, with biases, that hears nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.GroupNorm(32, channels, 1e-6), *(nn.LayerNorm(channels) for _ in "23")
        self.conv_in, self.conv_out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.attn, self.ff = Attention(channels, biased=True), FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = tokens(self.conv_in(self.norm1(x)))
        y = y + self.attn(self.norm2(y))
        y = y + self.ff(self.norm3(y))
        made: Tensor = self.conv_out(untokened(y, x)) + x
        return made


class _Encoder(nn.Module):
    def __init__(self, inward: int, widths: tuple[int, ...], factors: tuple[_Factor, ...], sees: tuple[int, ...]):
        super().__init__()
        self.conv_in = nn.Conv2d(inward, widths[0], 3, padding=1)
        blocks: list[nn.Module] = []
        before = widths[0]
        for n, (width, factor) in enumerate(zip(widths, factors, strict=True)):
            blocks.append(_Level(before, width, factor))
            if n in sees:
                blocks.append(_Looking(width))
            before = width
        self.down_blocks = nn.ModuleList(blocks)
        self.norm_out = nn.GroupNorm(32, before, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return F.normalize(F.relu(self.norm_out(x)).flatten(1), dim=1)


class StableSyncNet(nn.Module):
    """`audio_encoder`: mel (N, 1, 80, 52), dB scaled to -4..4; `visual_encoder`: the lower halves of 16 frames, RGB
    -1..1, one after another, (N, 48, 128, 256). Both give (N, E) of length 1: their cosine says how well they fit."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        self.audio_encoder = _Encoder(1, widths[0], _SOUND, _SOUND_SEES)
        self.visual_encoder = _Encoder(3 * FRAMES, widths[1], _FACE, _FACE_SEES)

    def forward(self, face: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Unit embeddings of face and sound."""
        return self.visual_encoder(face), self.audio_encoder(sound)


def widths_of(state: Mapping[str, Tensor], name: str) -> Widths:
    """The widths of a checkpoint. name: what to call it in a message. Raises ModelError: of another architecture."""
    found = []
    for part, factors in (("audio_encoder", _SOUND), ("visual_encoder", _FACE)):
        widths, n = [], 0
        while f"{part}.down_blocks.{n}.norm1.weight" in state:
            weight = state.get(f"{part}.down_blocks.{n}.conv2.weight")
            if weight is not None and weight.ndim == 4:
                widths.append(int(weight.shape[0]))
            n += 1
        if len(widths) != len(factors) or any(w < 32 or w % 32 for w in widths):
            raise ModelError(
                f"{name} is no checkpoint of StableSyncNet: its {part} has {len(widths)} residual blocks, not "
                f"{len(factors)} of 32 channels or a multiple."
            )
        found.append(tuple(widths))
    return found[0], found[1]
