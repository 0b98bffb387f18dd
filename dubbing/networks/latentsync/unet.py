"""LatentSync's UNet over chunks of frames, 1.5 and 1.6: Li et al., "LatentSync" (2024). Keys as published.

Stable Diffusion 1's UNet, every convolution frame by frame, with a motion module behind each pair of residual block and
transformer, and sound where Stable Diffusion has text. Its residual blocks take their means over all frames of a
chunk: a frame's result depends on its whole chunk. Widths are read off a checkpoint (`shape_of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.errors import ModelError
from dubbing.networks.latentsync.blocks import MotionModule, PicturedTransformer, Residual, over_frames

__all__ = ["AUDIO", "INPUTS", "LATENTS", "PUBLISHED", "UNet3D", "UNetShape", "shape_of", "time_embedding"]

INPUTS, LATENTS = 13, 4
"""Channels that go in (noisy latents 4, mask 1, masked latents 4, reference latents 4) and come out."""
AUDIO = 384
_LAYERS = 2


@dataclass(frozen=True)
class UNetShape:
    """widths: channels of each level, the finest first; audio: of the sound's tokens."""

    widths: tuple[int, ...]
    audio: int = AUDIO


PUBLISHED = UNetShape((320, 640, 1280, 1280))


def shape_of(state: Mapping[str, Tensor], name: str) -> UNetShape:
    """The widths of a checkpoint. name: what to call it in a message. Raises ModelError: of another architecture."""
    widths: list[int] = []
    while (weight := state.get(f"down_blocks.{len(widths)}.resnets.0.conv1.weight")) is not None:
        widths.append(int(weight.shape[0]) if weight.ndim == 4 else 0)
    heard = state.get("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    if len(widths) < 2 or heard is None or heard.ndim != 2 or any(w < 32 or w % 32 for w in widths):
        raise ModelError(
            f"{name} is a checkpoint of another architecture: LatentSync's has `down_blocks.0.resnets.0.conv1.weight` "
            "and so on, of 32 channels or a multiple."
        )
    first = state.get("conv_in.weight")
    if first is not None and first.ndim == 4 and first.shape[1] != INPUTS:
        raise ModelError(
            f"{name} takes {first.shape[1]} channels and LatentSync 1.5 and 1.6 take {INPUTS}: it is a checkpoint of "
            "another program, or of another version."
        )
    if not any(".motion_modules." in key for key in state):
        raise ModelError(f"{name} has no motion modules: it is no checkpoint of LatentSync 1.5 or 1.6.")
    return UNetShape(tuple(widths), int(heard.shape[1]))


def time_embedding(step: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of steps (B,): float32 (B, channels)."""
    half = channels // 2
    rate = torch.exp(torch.arange(half, dtype=torch.float32, device=step.device) * (-math.log(10000.0) / half))
    at = step.float()[:, None] * rate
    return torch.cat([at.cos(), at.sin()], 1)


class _TimeMlp(nn.Module):
    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inward, outward), nn.Linear(outward, outward)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return made


class _Resampler(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x)
        return made


@dataclass(frozen=True, eq=False)
class _Chunks:
    """What all blocks get. audio: (N, tokens, audio); time: (B, 4 * first width); frames: of a chunk."""

    audio: Tensor
    time: Tensor
    frames: int


class _Level(nn.Module):
    """Residual blocks, each with a transformer (if `heard`) and a motion module behind it."""

    downsamplers: nn.ModuleList
    upsamplers: nn.ModuleList

    def __init__(self, pairs: list[tuple[int, int]], shape: UNetShape, heard: bool) -> None:
        super().__init__()
        timed = 4 * shape.widths[0]
        self.resnets = nn.ModuleList([Residual(a, b, timed) for a, b in pairs])
        if heard:
            self.attentions = nn.ModuleList([PicturedTransformer(b, shape.audio) for _, b in pairs])
        self.motion_modules = nn.ModuleList([MotionModule(b) for _, b in pairs])

    def layer(self, n: int, x: Tensor, chunks: _Chunks) -> Tensor:
        x = self.resnets[n](x, chunks.time, chunks.frames)
        if hasattr(self, "attentions"):
            x = self.attentions[n](x, chunks.audio)
        made: Tensor = self.motion_modules[n](x, chunks.frames)
        return made


class _Mid(nn.Module):
    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        width, timed = shape.widths[-1], 4 * shape.widths[0]
        self.attentions = nn.ModuleList([PicturedTransformer(width, shape.audio)])
        self.resnets = nn.ModuleList([Residual(width, width, timed), Residual(width, width, timed)])

    def forward(self, x: Tensor, chunks: _Chunks) -> Tensor:
        x = self.resnets[0](x, chunks.time, chunks.frames)
        x = self.attentions[0](x, chunks.audio)
        made: Tensor = self.resnets[1](x, chunks.time, chunks.frames)
        return made


class UNet3D(nn.Module):
    """`forward(x, step, audio)`: x (B, 13, F, h, w), step (B,) or one for all, audio (B*F, 50, 384), chunk by chunk.

    Returns the noise in x's latents, (B, 4, F, h, w). F is at most 24; h and w are multiples of 8.
    """

    def __init__(self, shape: UNetShape = PUBLISHED) -> None:
        super().__init__()
        self.shape, widths = shape, shape.widths
        first, last = widths[0], len(widths) - 1
        self.conv_in = nn.Conv2d(INPUTS, first, 3, padding=1)
        self.time_embedding = _TimeMlp(first, 4 * first)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, inward = [first], first
        for n, width in enumerate(widths):
            level = _Level([(inward, width)] + [(width, width)] * (_LAYERS - 1), shape, heard=n < last)
            skips += [width] * _LAYERS
            if n < last:
                level.downsamplers = nn.ModuleList([_Resampler(width, 2)])
                skips.append(width)
            self.down_blocks.append(level)
            inward = width
        self.mid_block = _Mid(shape)
        for n, width in enumerate(reversed(widths)):
            pairs = []
            for _ in range(_LAYERS + 1):
                pairs.append((inward + skips.pop(), width))
                inward = width
            level = _Level(pairs, shape, heard=n > 0)
            if n < last:
                level.upsamplers = nn.ModuleList([_Resampler(width, 1)])
            self.up_blocks.append(level)
        self.conv_norm_out = nn.GroupNorm(32, first)
        self.conv_out = nn.Conv2d(first, LATENTS, 3, padding=1)

    def forward(self, x: Tensor, step: Tensor | int, audio: Tensor) -> Tensor:
        batch, _, frames = x.shape[:3]
        at = torch.as_tensor(step, device=x.device).expand(batch)
        time = self.time_embedding(time_embedding(at, self.shape.widths[0]).to(x.dtype))
        chunks = _Chunks(audio, time, frames)
        layout = torch.channels_last if self.conv_in.weight.is_contiguous(memory_format=torch.channels_last) else None
        x = x.transpose(1, 2).flatten(0, 1)
        x = self.conv_in(x.contiguous(memory_format=layout) if layout else x)
        skips = [x]
        for level in cast(list[_Level], list(self.down_blocks)):
            for n in range(_LAYERS):
                x = level.layer(n, x, chunks)
                skips.append(x)
            if hasattr(level, "downsamplers"):
                x = level.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, chunks)
        for level in cast(list[_Level], list(self.up_blocks)):
            for n in range(_LAYERS + 1):
                x = level.layer(n, torch.cat([x, skips.pop()], 1), chunks)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = self.conv_out(F.silu(over_frames(self.conv_norm_out, x, frames)))
        return x.unflatten(0, (batch, frames)).transpose(1, 2)
