"""Trained networks prepared for inference by torch's own means, on as many threads as torch has.

A batch norm in evaluation is a scale and a shift, so torch folds it into the layer before it; weights and pictures lie
channels_last, as the convolutions of processors and GPUs like them best. `bench.convolutions` compares that with
torch's compilers and with ONNX Runtime.

bfloat16 is not used on a processor: through Wav2Lip's depth it is off by 3 to 4 of 255 grey levels even on tame
weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["folded", "fused", "in_lanes", "last"]

Job = TypeVar("Job")
Net = TypeVar("Net", bound=nn.Module)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(net: Net, norms: Mapping[str, str] | None = None) -> Net:
    """A copy for evaluation whose batch norms are folded into the layers before them, channels_last.

    Pairs are neighbours in an nn.Sequential, and those of `norms`: layer -> its norm. Both must be float32.
    """
    net = copy.deepcopy(net).eval()
    pairs = dict(norms or {})
    for name, parent in net.named_modules():
        if isinstance(parent, nn.Sequential):
            for n in range(len(parent) - 1):
                if isinstance(parent[n + 1], _NORMS):
                    pairs[f"{name}.{n}".lstrip(".")] = f"{name}.{n + 1}".lstrip(".")
    for layer, norm in pairs.items():
        net.set_submodule(layer, fused(net.get_submodule(layer), net.get_submodule(norm)))
        net.set_submodule(norm, nn.Identity())
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fused(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """A layer with the batch norm behind it in it, both float32 and for evaluation."""
    assert isinstance(norm, _NORMS)
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    assert isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))
    return fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))


def last(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) laid out channels_last."""
    return pictures.contiguous(memory_format=torch.channels_last)


def in_lanes(job: Callable[[Job], Tensor], parts: Sequence[Job]) -> list[Tensor]:
    """The results of `job` for every part, in order, with one thread for each part and as many as torch has.

    That is faster than all threads on each part (no barriers), and results do not depend on their number.
    While it runs torch is set to one thread a call, for the whole process.
    """
    lanes = min(torch.get_num_threads(), len(parts))
    alone = torch.inference_mode()(job)
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        if lanes < 2:
            return [alone(part) for part in parts]
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, parts))
    finally:
        if before > 1:
            torch.set_num_threads(before)
