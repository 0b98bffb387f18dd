"""What LatentSync's two networks are made of: residual blocks, attention, and motion modules over time.

Pictures are (N, C, H, W), N frames of all chunks one after another, channels_last where it is quicker. Keys are as
published. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022); Guo et al.,
"AnimateDiff" (2023), whose motion modules these are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "HEADS", "POSITIONS", "Attention", "FeedForward", "MotionModule", "PicturedTransformer", "Residual", "over_frames",
    "positions", "tokens", "untokened",
]  # fmt: skip

HEADS = 8
POSITIONS = 24
"""The most frames of a chunk."""
_GROUPS = 32


def tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H*W, C); free where x is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def untokened(x: Tensor, like: Tensor) -> Tensor:
    """(N, H*W, C) as pictures of the height and width of `like`, channels_last."""
    return x.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)


def positions(count: int, channels: int) -> Tensor:
    """Vaswani et al.'s sines and cosines, interleaved, float32 (1, count, channels)."""
    at = torch.arange(count)[:, None]
    rate = torch.exp(torch.arange(0, channels, 2) * (-math.log(10000.0) / channels))
    return torch.stack([torch.sin(at * rate), torch.cos(at * rate)], 2).flatten(1)[None, :, :channels]


class Residual(nn.Module):
    """A residual block whose norms take their means over all frames of a chunk (chunks (N / frames)).

    timed: channels of the time's embedding, or None for a block that knows no time.
    """

    def __init__(self, inward: int, outward: int, timed: int | None, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_GROUPS, inward, eps)
        self.conv1 = nn.Conv2d(inward, outward, 3, padding=1)
        if timed is not None:
            self.time_emb_proj = nn.Linear(timed, outward)
        self.norm2 = nn.GroupNorm(_GROUPS, outward, eps)
        self.conv2 = nn.Conv2d(outward, outward, 3, padding=1)
        if inward != outward:
            self.conv_shortcut = nn.Conv2d(inward, outward, 1)

    def forward(self, x: Tensor, time_BT: Tensor | None = None, frames: int = 1) -> Tensor:
        y = self.conv1(F.silu(over_frames(self.norm1, x, frames)))
        if time_BT is not None:
            y = y + self.time_emb_proj(F.silu(time_BT)).repeat_interleave(frames, 0)[:, :, None, None]
        y = self.conv2(F.silu(over_frames(self.norm2, y, frames)))
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


def over_frames(norm: nn.GroupNorm, x: Tensor, frames: int) -> Tensor:
    """A group norm with one mean over the frames of a chunk: they are laid one under another."""
    if frames == 1:
        normed: Tensor = norm(x)
        return normed
    if x.is_contiguous(memory_format=torch.channels_last):  # a view
        tall = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).flatten(1, 2).permute(0, 3, 1, 2)
        made = norm(tall).permute(0, 2, 3, 1).unflatten(1, (frames, -1)).flatten(0, 1)
        return made.permute(0, 3, 1, 2)
    tall = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(2, 3)
    return norm(tall).unflatten(2, (frames, -1)).transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    """Attention of HEADS heads. context: channels of what is attended to; biased: whether q, k, v have biases."""

    def __init__(self, channels: int, context: int | None = None, biased: bool = False) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=biased)
        self.to_k = nn.Linear(context or channels, channels, bias=biased)
        self.to_v = nn.Linear(context or channels, channels, bias=biased)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        seen = x if context is None else context
        q, k, v = (
            of.unflatten(2, (HEADS, -1)).transpose(1, 2) for of in (self.to_q(x), self.to_k(seen), self.to_v(seen))
        )
        made: Tensor = self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return made


class _Gated(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Shazeer's GEGLU, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gated(channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.net[2](self.net[0](x))
        return made


class _PictureBlock(nn.Module):
    def __init__(self, channels: int, context: int | None, biased: bool) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(channels), Attention(channels, biased=biased)
        if context is not None:
            self.norm2, self.attn2 = nn.LayerNorm(channels), Attention(channels, context)
        self.norm3, self.ff = nn.LayerNorm(channels), FeedForward(channels)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        if context is not None:
            x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class PicturedTransformer(nn.Module):
    """A transformer over each frame's pixels, that also attends to its sound (N, tokens, audio)."""

    def __init__(self, channels: int, audio: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, 1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([_PictureBlock(channels, audio, biased=False)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        y = self.transformer_blocks[0](tokens(self.proj_in(self.norm(x))), audio)
        made: Tensor = self.proj_out(untokened(y, x)) + x
        return made


class _Positions(nn.Module):
    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", positions(POSITIONS, channels))


class _OverTime(Attention):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.pos_encoder = _Positions(channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(x + self.pos_encoder.pe[:, : x.shape[1]])


class _TimeBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([_OverTime(channels), _OverTime(channels)])
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.ff, self.ff_norm = FeedForward(channels), nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            x = x + attention(norm(x))
        made: Tensor = x + self.ff(self.ff_norm(x))
        return made


class _TimeTransformer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, 1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([_TimeBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        y = self.proj_in(tokens(self.norm(x)))
        count, pixels, channels = y.shape
        y = y.reshape(-1, frames, pixels, channels).transpose(1, 2).reshape(-1, frames, channels)
        y = self.transformer_blocks[0](y)
        y = y.reshape(count // frames, pixels, frames, channels).transpose(1, 2).reshape(count, pixels, channels)
        return untokened(self.proj_out(y), x) + x


class MotionModule(nn.Module):
    """Attention over the frames of a chunk, for every pixel by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = _TimeTransformer(channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        made: Tensor = self.temporal_transformer(x, frames)
        return made
