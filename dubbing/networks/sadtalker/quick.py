"""The renderer prepared for inference: the same numbers from fewer and larger steps, float32.

What is the same in every frame is done once: batch norms are folded into the convolutions before them, weights are
divided by their spectral norms, and what a new picture needs of the old one alone is kept (`see`). Of a frame, all
norms' first layers over the same features are one convolution; scale and shift of a norm are one; and where features
are enlarged before a convolution, each kind of pixel among the enlarged ones has a kernel of its own over the small
features, which is a sixth of the sums at the last block. Within 1e-3 of `SpadeGenerator`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dubbing.networks.folding import fused, last
from dubbing.networks.sadtalker.generator import MIDDLE, SLOPE, SpadeBlock, SpadeGenerator, SpadeNorm, SpectralConv
from dubbing.networks.sadtalker.motion import Motion, deformed

__all__ = ["QuickGenerator", "Seen", "enlarged_kernels", "over_enlarged"]

_EPS = 1e-5  # of instance norms
_LEAST_HEAT = 1e-30


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of an old face. volume: (1, C, D, H / 4, W / 4); look: (1, 4, D, H / 4, W / 4), of it."""

    volume: Tensor
    look: Tensor


def folded_in_place(net: nn.Module) -> nn.Module:
    """Fold every `norm` that follows a `conv` of the same module into it."""
    for module in net.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, nn.Module) and isinstance(norm, nn.Module):
            module.conv, module.norm = fused(conv, norm), nn.Identity()
    return net


def enlarged_kernels(weight: Tensor, times: int) -> list[tuple[slice, slice, tuple[int, int], Tensor]]:
    """Kernels (O, I, 1 or 2, 1 or 2) that read small features as a 3x3 one reads them enlarged, nearest, `times` 2, 4.

    Each with the rows and the columns of a group of times x times pixels that it is for, and how far up and left of
    its pixel it begins (0 or 1).
    """
    axis: list[tuple[slice, int, list[list[int]]]]
    if times == 2:
        axis = [(slice(0, 1), 1, [[0], [1, 2]]), (slice(1, 2), 0, [[0, 1], [2]])]
    else:  # the inner ones all see one pixel
        whole = slice(1, times - 1)
        axis = [(slice(0, 1), 1, [[0], [1, 2]]), (whole, 0, [[0, 1, 2]]), (slice(times - 1, times), 0, [[0, 1], [2]])]
    found = []
    for rows, up, down_taps in axis:
        by_row = torch.stack([weight[:, :, taps].sum(2) for taps in down_taps], 2)
        for columns, back, across_taps in axis:
            kernel = torch.stack([by_row[..., taps].sum(3) for taps in across_taps], 3)
            found.append((rows, columns, (up, back), last(kernel)))
    return found


def over_enlarged(
    x: Tensor, kernels: Sequence[tuple[slice, slice, tuple[int, int], Tensor]], bias: Tensor, times: int
) -> Tensor:
    """Features (N, I, h, w) enlarged by `times` and convolved, 3x3 with padding: (N, O, times h, times w)."""
    count, _, height, width = x.shape
    out = x.new_empty(count, height, times, width, times, len(bias))
    padded = last(nn.functional.pad(x, (1, 1, 1, 1)))
    for rows, columns, (up, back), kernel in kernels:
        tall, wide = kernel.shape[2:]
        part = padded[:, :, 1 - up : 1 - up + height + tall - 1, 1 - back : 1 - back + width + wide - 1]
        made = nn.functional.conv2d(part, kernel, bias).permute(0, 2, 3, 1)
        out[:, :, rows, :, columns] = made[:, :, None, :, None]
    return out.view(count, height * times, width * times, len(bias)).permute(0, 3, 1, 2)


class _Norm:
    """Scale and shift of one norm, in one convolution; its first layer is made elsewhere."""

    def __init__(self, norm: SpadeNorm) -> None:
        gamma, beta = norm.mlp_gamma, norm.mlp_beta
        assert gamma.bias is not None and beta.bias is not None
        self.weight = last(torch.cat([gamma.weight, beta.weight]).detach())
        self.bias = torch.cat([gamma.bias + 1, beta.bias]).detach()

    def __call__(self, still: Tensor, hidden: Tensor) -> Tensor:
        scale, shift = nn.functional.conv2d(hidden, self.weight, self.bias, padding=1).chunk(2, 1)
        return torch.addcmul(shift, still, scale)


def _still(x: Tensor) -> Tensor:
    """Instance norm without scale and shift."""
    var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return (x - mean).mul_((var + _EPS).rsqrt_())


def _bent(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu_(x, SLOPE)


class _Block:
    """One block of the decoder, its weights divided by their norms. shared: first layers of its norms, joined."""

    def __init__(self, block: SpadeBlock) -> None:
        self.norm_0, self.norm_1 = _Norm(block.norm_0), _Norm(block.norm_1)
        self.conv_0, self.conv_1 = _weights(block.conv_0), _weights(block.conv_1)
        norms = [block.norm_0, block.norm_1]
        self.adapts = block.adapts
        if block.adapts:
            self.norm_s, self.conv_s = _Norm(block.norm_s), _weights(block.conv_s)
            norms.append(block.norm_s)
        first: list[nn.Conv2d] = [norm.mlp_shared[0] for norm in norms]  # type: ignore[misc]
        self.shared = torch.cat([layer.weight for layer in first]).detach()
        self.shared_bias = torch.cat([layer.bias for layer in first if layer.bias is not None]).detach()
        self.count = len(norms)

    def __call__(self, x: Tensor, hidden: Tensor) -> Tensor:
        """hidden: what the first layers of its norms give, joined, after their ReLU."""
        parts = [last(part) for part in hidden.chunk(self.count, 1)]
        still = _still(x)
        y = _convolved(_bent(self.norm_0(still, parts[0])), self.conv_0)
        y = _convolved(_bent(self.norm_1(_still(y), parts[1])), self.conv_1)
        return y.add_(_convolved(self.norm_s(still, parts[2]), self.conv_s) if self.adapts else x)


def _weights(conv: SpectralConv) -> tuple[Tensor, Tensor | None]:
    return last(conv.weight.detach()), None if conv.bias is None else conv.bias.detach()


def _convolved(x: Tensor, layer: tuple[Tensor, Tensor | None]) -> Tensor:
    return nn.functional.conv2d(x, *layer, padding=layer[0].shape[2] // 2)


class QuickGenerator:
    """A `SpadeGenerator` for inference on `device`. The generator itself is left as it is."""

    def __init__(self, net: SpadeGenerator, device: torch.device | str = "cpu") -> None:
        whole = copy.deepcopy(net).eval()
        decoder = whole.decoder
        del whole.decoder
        self._net: SpadeGenerator = folded_in_place(whole).to(device)  # type: ignore[assignment]
        for residual in self._net.resblocks_3d:
            residual.conv1, residual.norm2 = fused(residual.conv1, residual.norm2), nn.Identity()  # type: ignore[arg-type]
        motion = self._net.dense_motion_network
        motion.least_heat = _LEAST_HEAT
        motion.compress, motion.norm = fused(motion.compress, motion.norm), nn.Identity()  # type: ignore[assignment]
        decoder = decoder.to(device)
        self._fc, self._image = last_conv(decoder.fc), last_conv(decoder.conv_img)
        blocks: list[SpadeBlock] = [decoder.get_submodule(f"G_middle_{n}") for n in range(MIDDLE)]  # type: ignore[misc]
        self._middle = [_Block(block) for block in blocks]
        self._shared = last(torch.cat([block.shared for block in self._middle]))
        self._shared_bias = torch.cat([block.shared_bias for block in self._middle])
        self._ups = [
            (block, times, enlarged_kernels(block.shared, times))
            for block, times in ((_Block(decoder.up_0), 2), (_Block(decoder.up_1), 4))
        ]

    def see(self, picture: Tensor) -> Seen:
        """A picture (1, 3, H, W), RGB 0..1, as all its new pictures need it."""
        volume = self._net.volume(picture)
        return Seen(volume, self._net.dense_motion_network.look(volume))

    def draw(self, seen: Seen, source: Tensor, driving: Tensor) -> Tensor:
        """The new picture (1, 3, H, W), 0..1, of keypoints (1, 15, 3)."""
        motion: Motion = self._net.dense_motion_network.moved(seen.look, source, driving)
        x = deformed(seen.volume, motion.deformation).flatten(1, 2)
        x = self._net.fourth(self._net.third(x)) * motion.occlusion
        return torch.sigmoid(self._decoded(last(x)))

    def _decoded(self, seg: Tensor) -> Tensor:
        x = nn.functional.conv2d(seg, *self._fc, padding=1)
        hidden = nn.functional.conv2d(seg, self._shared, self._shared_bias, padding=1).relu_()
        for block, part in zip(self._middle, hidden.chunk(MIDDLE, 1), strict=True):
            x = block(x, part)
        for block, times, kernels in self._ups:
            x = last(nn.functional.interpolate(x, scale_factor=2))
            x = block(x, over_enlarged(seg, kernels, block.shared_bias, times).relu_())
        return nn.functional.conv2d(_bent(x), *self._image, padding=1)


def last_conv(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A convolution's weight, laid out channels_last, and its bias."""
    assert conv.bias is not None
    return last(conv.weight.detach()), conv.bias.detach()
