"""Stable Diffusion's UNet with attention to what is told, from a checkpoint under diffusers' names.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models"; the network is diffusers'
UNet2DConditionModel in the layout of Stable Diffusion 1.x, in the sizes that a checkpoint's tensors have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dubbing.networks.diffusion.shapes import groups_of, widths

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

__all__ = ["HEADS", "network_of", "renamed"]

HEADS = 8  # of every attention, which no tensor says


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in float32; their names are diffusers' already."""
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def network_of(state: Mapping[str, Tensor]) -> UNet2DConditionModel:
    """A network of the sizes of a checkpoint's tensors, without memory of its own (on torch's `meta`).

    Raises ValueError: they are of no such UNet.
    """
    from diffusers import UNet2DConditionModel

    channels = widths(state, "down_blocks.{}.resnets.0.conv1.weight")
    layers = len(widths(state, "down_blocks.0.resnets.{}.conv1.weight"))
    given, made = state.get("conv_in.weight"), state.get("conv_out.weight")
    told = next((v for k, v in sorted(state.items()) if k.endswith(".attn2.to_k.weight")), None)
    if not channels or not layers or given is None or made is None or told is None:
        raise ValueError("no UNet of Stable Diffusion with attention to what is told")
    attends = [f"down_blocks.{n}.attentions.0.norm.weight" in state for n in range(len(channels))]
    raises = [f"up_blocks.{n}.attentions.0.norm.weight" in state for n in range(len(channels))]
    with torch.device("meta"):
        return UNet2DConditionModel(
            in_channels=given.shape[1],
            out_channels=made.shape[0],
            down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in raises),
            block_out_channels=tuple(channels),
            layers_per_block=layers,
            norm_num_groups=groups_of(channels),
            cross_attention_dim=told.shape[1],
            attention_head_dim=HEADS,
        )
