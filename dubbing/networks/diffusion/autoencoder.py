"""Stable Diffusion's autoencoder between pictures and latents an eighth of their size, from its published file.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models"; the network is diffusers'
AutoencoderKL, in the sizes that a checkpoint's tensors have. The published file of `sd-vae-ft-mse` calls the parts of
its attention by older names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dubbing.networks.diffusion.shapes import groups_of, widths

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = ["SCALE", "decode", "encode", "network_of", "renamed"]

SCALE = 0.18215  # of latents, so that their deviation is about one
_OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by diffusers' present names, float32; attention that is kept as 1x1 convolutions becomes matrices."""
    found = {}
    for key, value in state.items():
        if match := re.fullmatch(r"(.*\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)", key):
            key = f"{match[1]}.{_OLDER[match[2]]}.{match[3]}"
        if ".attentions." in key and value.ndim == 4:
            value = value.flatten(1)
        found[key] = value.float() if value.is_floating_point() else value
    return found


def network_of(state: Mapping[str, Tensor]) -> AutoencoderKL:
    """A network of the sizes of `renamed` tensors, without memory of its own (on torch's `meta`).

    Raises ValueError: they are of no such autoencoder.
    """
    from diffusers import AutoencoderKL

    channels = widths(state, "encoder.down_blocks.{}.resnets.0.conv1.weight")
    layers = len(widths(state, "encoder.down_blocks.0.resnets.{}.conv1.weight"))
    pictures, latents = state.get("encoder.conv_in.weight"), state.get("quant_conv.weight")
    if not channels or not layers or pictures is None or latents is None or pictures.ndim != 4:
        raise ValueError("no autoencoder of Stable Diffusion")
    with torch.device("meta"):
        return AutoencoderKL(
            in_channels=pictures.shape[1],
            out_channels=pictures.shape[1],
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            block_out_channels=tuple(channels),
            layers_per_block=layers,
            act_fn="silu",
            latent_channels=latents.shape[0] // 2,
            norm_num_groups=groups_of(channels),
        )


def encode(net: Any, pictures_NCHW: Tensor, noise: Tensor | None = None) -> Tensor:
    """Scaled latents (N, 4, H/8, W/8) of pictures, RGB -1..1.

    noise: which of the latents that a picture may have is drawn, of the latents' shape; None: their mean, the same
    every time (the published network's deviation is tiny).
    """
    told = net.encode(pictures_NCHW).latent_dist
    found: Tensor = (told.mean if noise is None else told.mean + told.std * noise) * SCALE
    return found


def decode(net: Any, latents_NCHW: Tensor) -> Tensor:
    """Pictures of scaled latents, RGB, about -1..1."""
    found: Tensor = net.decode(latents_NCHW / SCALE).sample
    return found
