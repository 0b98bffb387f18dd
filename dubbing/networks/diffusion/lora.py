"""Pairs of narrow matrices beside the attention of a UNet: what fine-tuning learns while the UNet stays as it is.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models": a matrix W (out, in) acts as W + up @ down, with
down (rank, in) drawn by chance and up (out, rank) zero at first. Once learnt, the pairs are added to the UNet's own
matrices, so that using them costs nothing. It knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DOWN", "UP", "Pairs", "added", "attach", "attention"]

_ATTENTION = re.compile(r"(.+\.attn\d*\.(?:to_q|to_k|to_v|to_out\.0))\.weight")
DOWN, UP = ".down", ".up"


def attention(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """The matrices of a UNet's attention that pairs stand beside: (out, in) by their names without `.weight`, sorted.

    shapes: of all tensors of its checkpoint, by name.
    """
    found = {m[1]: tuple(shape) for key, shape in shapes.items() if (m := _ATTENTION.fullmatch(key))}
    return {name: (shape[0], shape[1]) for name, shape in sorted(found.items()) if len(shape) == 2}


class Pairs(nn.Module):
    """A pair beside each of the matrices. beside: (out, in) by name; rank: of the pairs."""

    def __init__(self, beside: Mapping[str, tuple[int, int]], rank: int) -> None:
        super().__init__()
        self.names = tuple(beside)
        self.down = nn.ParameterList(torch.randn(rank, wide) / wide**0.5 for _, wide in beside.values())
        self.up = nn.ParameterList(torch.zeros(out, rank) for out, _ in beside.values())

    def named(self) -> dict[str, Tensor]:
        """Copies of both matrices of every pair, on the CPU: NAME.down and NAME.up."""
        found: dict[str, Tensor] = {}
        for name, down, up in zip(self.names, self.down, self.up, strict=True):
            found |= {name + DOWN: down.detach().cpu().clone(), name + UP: up.detach().cpu().clone()}
        return found

    def begin(self, found: Mapping[str, Tensor]) -> None:
        """Take over what `named` gave. Raises ValueError: it is of other matrices or another rank."""
        with torch.no_grad():
            for name, down, up in zip(self.names, self.down, self.up, strict=True):
                for own, key in ((down, name + DOWN), (up, name + UP)):
                    if key not in found or found[key].shape != own.shape:
                        raise ValueError(f"{key!r} is not {tuple(own.shape)}")
                    own.copy_(found[key])


def attach(net: nn.Module, pairs: Pairs) -> None:
    """From now on the network acts as if the pairs were added to its matrices. Gradients reach the pairs."""
    for name, down, up in zip(pairs.names, pairs.down, pairs.up, strict=True):
        net.get_submodule(name).register_forward_hook(_beside(down, up))


def _beside(down: Tensor, up: Tensor) -> Any:
    def hook(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        return made + F.linear(F.linear(given[0], down.to(given[0].dtype)), up.to(given[0].dtype))

    return hook


def added(state: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's tensors with pairs added to its matrices, in the types of these. Neither is changed.

    found: as `Pairs.named` gives them. Raises ValueError: pairs of another network.
    """
    out = dict(state)
    names = {key.removesuffix(DOWN) for key in found if key.endswith(DOWN)}
    if not names or {name + end for name in names for end in (DOWN, UP)} != set(found):
        raise ValueError("no pairs of matrices")
    for name in sorted(names):
        down, up, own = found[name + DOWN], found[name + UP], state.get(f"{name}.weight")
        if own is None or down.ndim != 2 or up.ndim != 2 or own.shape != (up.shape[0], down.shape[1]):
            raise ValueError(f"there is no matrix {name!r} of {up.shape[0]} x {down.shape[-1]}")
        out[f"{name}.weight"] = (own.float() + up.float() @ down.float()).to(own.dtype)
    return out
