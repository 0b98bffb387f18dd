"""Convolutions of finished networks, as quick as the machine does them, with float32's numbers.

A batch norm in evaluation is a scale and a shift, so it is folded into the weights; the residual and the
activation ride along; tensors stay channels_last. On a processor there are three ways, chosen by shape
alone, so that every machine of one kind gives the same bytes:

  direct     oneDNN's convolution with residual and activation fused, or torch's plain one where oneDNN cannot
  Winograd   F(4x4, 3x3) of Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016): 36
             products where 144 were; pays where channels are many and the picture is small
  NNPACK     torch's own transform convolution, one picture at a time; pays where the picture is large

bfloat16 is not among them: through Wav2Lip's depth it is off by 3 to 4 of 255 grey levels even on tame
weights. Names: N pictures, C channels in, O out, H rows, W columns, T tiles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Direct", "Folded", "Layer", "Tiled", "Winograd", "best", "fold", "fold_norm", "has_nnpack"]

Layer = Callable[[Tensor], Tensor]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Folded:
    """One convolution with its batch norm folded in, then (plus its input, if `residual`) an activation.

    weight: (O, C, kh, kw), or (C, O, kh, kw) where `grow` is not None, which makes it a transposed one with
    that output padding; bias: (O,); slope: of the activation below zero, 0 for ReLU, 1 for none; groups: as
    torch has them.
    """

    weight: Tensor
    bias: Tensor
    stride: Pair
    padding: Pair
    grow: Pair | None = None
    residual: bool = False
    slope: float = 0.0
    groups: int = 1


def fold(
    conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.Module | None, *, residual: bool = False, slope: float = 0.0
) -> Folded:
    """A convolution and the batch norm behind it as one."""
    turned = isinstance(conv, nn.ConvTranspose2d)
    weight, bias = fold_norm(conv.weight, conv.bias, norm, turned=turned)
    stride, padding = (tuple(v) for v in (conv.stride, conv.padding))
    grow = tuple(conv.output_padding) if turned else None
    return Folded(weight, bias, stride, padding, grow, residual, slope)  # type: ignore[arg-type]


def fold_norm(
    weight: Tensor, bias: Tensor | None, norm: nn.Module | None, *, turned: bool = False
) -> tuple[Tensor, Tensor]:
    """Weight (O, C, ...) and bias (O,) of a layer and the batch norm behind it; turned: weight is (C, O, ...)."""
    weight = weight.detach().double()
    bias = weight.new_zeros(weight.shape[1 if turned else 0]) if bias is None else bias.detach().double()
    if norm is not None:
        own = {key: value.detach().double() for key, value in norm.state_dict().items()}
        scale = own["weight"] / torch.sqrt(own["running_var"] + norm.eps)
        over = [1] * weight.ndim
        over[1 if turned else 0] = -1
        weight = weight * scale.view(over)
        bias = (bias - own["running_mean"]) * scale + own["bias"]
    return weight.float(), bias.float()


def best(layer: Folded, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Layer:
    """The quickest way to run `layer` on pictures of that size."""
    out, channels, *kernel = layer.weight.shape
    same = layer.grow is None and layer.stride == (1, 1) and layer.padding == (1, 1) and kernel == [3, 3]
    if device.type == "cpu" and dtype == torch.float32 and same:
        if min(out, channels) >= 192 and height * width >= 36:
            return Winograd(layer)
        if max(out, channels) <= 160 and height * width >= 40 * 40 and has_nnpack():
            return Tiled(layer)
    return Direct(layer, device, dtype)


# -- direct ----------------------------------------------------------------------------------


@lru_cache
def _fuses(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's fused convolutions (the ops that its own compiler emits) and this processor runs
    them in `dtype`: in half precision it needs instructions for it, which an x86 without AVX-512 lacks."""
    ops = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, op) for op in ops):
        return False
    if dtype == torch.float32:
        return True
    ask = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}.get(dtype)
    return ask is not None and hasattr(torch.ops.mkldnn, ask) and bool(getattr(torch.ops.mkldnn, ask)())


class Direct:
    """The convolution as it is defined. Input and result (N, C, H, W), channels_last."""

    _packing = threading.Lock()

    def __init__(self, layer: Folded, device: torch.device, dtype: torch.dtype) -> None:
        self.layer = _bare(layer)
        self._weight = layer.weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        self._bias = layer.bias.to(device, dtype)
        self._fused = device.type == "cpu" and layer.slope in (0.0, 1.0) and _fuses(dtype)
        self._packed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        layer = self.layer
        if self._fused:
            if self._packed is None:
                with self._packing:
                    self._pack(x)
            return self._fused_call(x, list(layer.stride), list(layer.padding))
        if layer.grow is None:
            y = F.conv2d(x, self._weight, self._bias, layer.stride, layer.padding, 1, layer.groups)
        else:
            y = F.conv_transpose2d(x, self._weight, self._bias, layer.stride, layer.padding, layer.grow)
        return _finish(y, x, layer)

    def _pack(self, x: Tensor) -> None:
        """Lay the weight out for pictures like `x`, once."""
        layer, ops = self.layer, torch.ops.mkldnn
        if self._packed is not None:
            return
        rest = (list(layer.stride), [1, 1], layer.groups, list(x.shape))
        if layer.grow is None:
            self._packed = ops._reorder_convolution_weight(self._weight, list(layer.padding), *rest)
        else:
            self._packed = ops._reorder_convolution_transpose_weight(
                self._weight, list(layer.padding), list(layer.grow), *rest
            )
        self._weight = torch.empty(0)

    def _fused_call(self, x: Tensor, stride: list[int], padding: list[int]) -> Tensor:
        layer, ops = self.layer, torch.ops.mkldnn
        after = "none" if layer.slope else "relu"
        held, rest = (self._packed, self._bias, padding), (stride, [1, 1], layer.groups)
        if layer.grow is not None:
            return ops._convolution_transpose_pointwise(x, *held, list(layer.grow), *rest, after, [], "")
        if layer.residual:
            return ops._convolution_pointwise(x, x, *held, *rest, "add", 1.0, None if layer.slope else after, [], "")
        return ops._convolution_pointwise(x, *held, *rest, after, [], "")


def _bare(layer: Folded) -> Folded:
    """A layer without its numbers, which are kept elsewhere."""
    nothing = torch.empty(0)
    return replace(layer, weight=nothing, bias=nothing)


def _finish(y: Tensor, x: Tensor, layer: Folded) -> Tensor:
    """Residual and activation, in place."""
    if layer.residual:
        y += x
    if layer.slope == 0:
        return y.relu_()
    return y if layer.slope == 1 else F.leaky_relu(y, layer.slope, inplace=True)


# -- NNPACK ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def has_nnpack() -> bool:
    """Whether NNPACK works here. Asking is what initialises it: without it the first call fails."""
    return hasattr(torch, "_nnpack_available") and bool(torch._nnpack_available())


class Tiled:
    """A convolution of stride 1 by NNPACK, one picture at a time: (1, C, H, W) to (1, O, H', W'), contiguous."""

    def __init__(self, layer: Folded) -> None:
        assert layer.grow is None and layer.stride == (1, 1) and has_nnpack()
        self.layer = _bare(layer)
        self._weight, self._bias = layer.weight.contiguous(), layer.bias

    def __call__(self, x: Tensor) -> Tensor:
        y = torch._nnpack_spatial_convolution(x, self._weight, self._bias, list(self.layer.padding), [1, 1])
        return _finish(y, x, self.layer)


# -- Winograd --------------------------------------------------------------------------------

_INTO = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], float,
)  # fmt: skip
_KERNEL = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], float,
)  # fmt: skip
_BACK = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float)


class _Scratch(threading.local):
    """Memory that layers of one thread share, by purpose; grows to the largest that was asked for."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        count = int(np.prod(shape))
        held = self._held.get(name)
        if held is None or held.numel() < count:
            held = self._held[name] = torch.empty(count)
        return held[:count].view(shape)


_scratch = _Scratch()


class Winograd:
    """A 3x3 convolution, stride 1, padding 1, channels_last.

    The rounding error is some twenty times direct float32's: 6e-5 for values of about 1.
    """

    def __init__(self, layer: Folded) -> None:
        out, channels = layer.weight.shape[:2]
        self.layer, self._out = _bare(layer), out
        kernel = np.einsum("ik,ockl,jl->ijoc", _KERNEL, layer.weight.double().numpy(), _KERNEL)
        weight = torch.from_numpy(kernel.reshape(36 * out, channels, 1, 1).astype(np.float32))
        bias = torch.zeros(36, out)
        bias[7] = layer.bias  # the product that every output gets exactly once
        flat = Folded(weight, bias.flatten(), (1, 1), (0, 0), slope=1.0, groups=36)
        self._products = Direct(flat, torch.device("cpu"), torch.float32)
        self._into = torch.from_numpy(np.kron(_INTO, _INTO).astype(np.float32))
        self._back = torch.from_numpy(np.kron(_BACK, _BACK).astype(np.float32))

    def __call__(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        out = self._out
        down, across = -(-height // 4), -(-width // 4)
        tiles = count * down * across
        x_nhwc = x.permute(0, 2, 3, 1)
        padded = _scratch.take("padded", count, 4 * down + 2, 4 * across + 2, channels)
        for edge in (padded[:, 0], padded[:, height + 1 :], padded[:, :, 0], padded[:, :, width + 1 :]):
            edge.zero_()
        padded[:, 1 : height + 1, 1 : width + 1] = x_nhwc
        a, b, c, _ = padded.stride()
        gathered = _scratch.take("gathered", count, down, across, 6, 6, channels)
        gathered.copy_(padded.as_strided(gathered.shape, (a, 4 * b, 4 * c, b, c, 1)))
        into = _scratch.take("into", tiles, 36, channels)
        torch.matmul(self._into, gathered.view(tiles, 36, channels), out=into)
        products = self._products(into.view(1, tiles, 1, 36 * channels).permute(0, 3, 1, 2))
        back = _scratch.take("back", tiles, 16, out)
        torch.matmul(self._back, products.permute(0, 2, 3, 1).reshape(tiles, 36, out), out=back)
        y = back.view(count, down, across, 4, 4, out).transpose(2, 3)
        result = torch.empty(count, 4 * down, 4 * across, out)
        if self.layer.residual:
            near = padded[:, 1:-1, 1:-1].unflatten(2, (across, 4)).unflatten(1, (down, 4))
            torch.add(y, near, out=result.view(y.shape))
        else:
            result.view(y.shape).copy_(y)
        result = result[:, :height, :width].permute(0, 3, 1, 2)
        return _finish(result, result, replace(self.layer, residual=False))
