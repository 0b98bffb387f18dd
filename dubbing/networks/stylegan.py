"""StyleGAN2 with an encoder into its extended space W+: a face becomes one style a layer, styles become a face again.

The generator is that of Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020); the encoder is
the one of Richardson et al., "Encoding in Style" (pSp, 2021), in the form of Tov et al., "Designing an Encoder for
StyleGAN Image Manipulation" (e4e, 2021): a feature pyramid over an IR-SE trunk, whose first style is added to all
others. Modules are named as in the files that were published for them (`encoder.*`, `decoder.*`), and every size is
read off the file, so that networks of any width and depth load. Inference only, with the noise that the file holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.errors import ModelError

__all__ = ["InStyle", "Plan", "plan_of"]

_COARSE, _MIDDLE = 3, 7  # the styles from which on finer features are looked at
_BLUR = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True)
class Plan:
    """The sizes of the networks of one file.

    styles: one a layer; width: numbers of one style; trunk: (channels in, out) of each of the encoder's units; reduced:
    channels inside their squeeze; deep: halvings of the coarsest style's block; channels: of the generator at 4 pixels,
    8, and so on.
    """

    styles: int
    width: int
    trunk: tuple[tuple[int, int], ...]
    reduced: tuple[int, ...]
    deep: int
    channels: tuple[int, ...]

    @property
    def seen_px(self) -> int:
        """Side of the picture that the encoder looks at."""
        return int(16 * 2**self.deep)

    @property
    def drawn_px(self) -> int:
        """Side of the picture that the generator draws."""
        return int(4 * 2 ** (len(self.channels) - 1))


def plan_of(state: Mapping[str, Tensor], name: str) -> Plan:
    """The sizes of a file. name: what to call it. Raises ModelError where it is no such file."""

    def count(pattern: str) -> int:
        found = [int(m[1]) for key in state if (m := re.match(pattern, key))]
        return max(found) + 1 if found else 0

    try:
        units = count(r"encoder\.body\.(\d+)\.")
        trunk = [state[f"encoder.body.{n}.res_layer.1.weight"].shape for n in range(units)]
        reduced = tuple(state[f"encoder.body.{n}.res_layer.5.fc1.weight"].shape[0] for n in range(units))
        styles, width = state["latent_avg"].shape
        deep = (count(r"encoder\.styles\.0\.convs\.(\d+)\.") + 1) // 2
        channels = [state["decoder.input.input"].shape[1]]
        channels += [
            state[f"decoder.convs.{n}.conv.weight"].shape[1] for n in range(0, count(r"decoder\.convs\.(\d+)\."), 2)
        ]
        plan = Plan(styles, width, tuple((one[1], one[0]) for one in trunk), reduced, deep, tuple(channels))
    except (KeyError, ValueError, IndexError) as e:
        raise ModelError(
            f"{name} is no checkpoint of encoder and generator (pSp or e4e): it has no {str(e).strip(chr(39))!r}."
        ) from e
    fits = plan.styles == 2 * len(channels) > _COARSE and plan.trunk[-1][1] == plan.width
    if not fits or len({depth for _, depth in plan.trunk}) < 3:
        raise ModelError(
            f"{name} is a checkpoint of another architecture: {plan.styles} styles of {plan.width} numbers, "
            f"{len(channels)} sizes of picture, and a trunk that ends with {plan.trunk[-1][1]} channels."
        )
    return plan


class InStyle(nn.Module):
    """Encoder, generator, and the mean style that the encoder's are counted from."""

    latent_avg: Tensor

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.encoder = _Encoder(plan)
        self.decoder = _Generator(plan)
        self.register_buffer("latent_avg", torch.zeros(plan.styles, plan.width))

    def styles(self, faces_N3HW: Tensor) -> Tensor:
        """Styles (N, styles, width) of faces, RGB -1..1, of side `Plan.seen_px`."""
        found: Tensor = self.encoder(faces_N3HW)
        return found + self.latent_avg

    def draw(self, styles_NSW: Tensor) -> Tensor:
        """Faces of styles, RGB about -1..1, of side `Plan.drawn_px`."""
        drawn: Tensor = self.decoder(styles_NSW)
        return drawn


# -- the encoder -----------------------------------------------------------------------------


class _Squeeze(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.fc2 = nn.Conv2d(reduced, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class _Unit(nn.Module):
    def __init__(self, channels: int, depth: int, reduced: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if channels != depth:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels, depth, 1, stride, bias=False), nn.BatchNorm2d(depth)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Conv2d(channels, depth, 3, 1, 1, bias=False), nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False), nn.BatchNorm2d(depth), _Squeeze(depth, reduced),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        whole: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return whole


class _Linear(nn.Module):
    """A layer whose weights are scaled when it runs."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, inside))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(self.weight.shape[1]), self.bias)


class _StyleBlock(nn.Module):
    def __init__(self, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = _Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        style: Tensor = self.linear(self.convs(x).flatten(1))
        return style


class _Encoder(nn.Module):
    def __init__(self, plan: Plan) -> None:
        super().__init__()
        first = plan.trunk[0][0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        depths = [depth for _, depth in plan.trunk]
        begins = [n == 0 or depth != depths[n - 1] for n, depth in enumerate(depths)]
        self.body = nn.Sequential(*(
            _Unit(channels, depth, reduced, 2 if begin else 1)
            for (channels, depth), reduced, begin in zip(plan.trunk, plan.reduced, begins, strict=True)
        ))  # fmt: skip
        ends = [n for n in range(len(depths)) if n + 1 == len(depths) or begins[n + 1]]
        self._ends = ends[-3:]  # fine, middle and coarse features
        fine, middle = (depths[n] for n in self._ends[:2])
        halvings = [plan.deep + (n >= _COARSE) + (n >= _MIDDLE) for n in range(plan.styles)]
        self.styles = nn.ModuleList([_StyleBlock(plan.width, much) for much in halvings])
        self.latlayer1 = nn.Conv2d(middle, plan.width, 1)
        self.latlayer2 = nn.Conv2d(fine, plan.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_layer(x)
        seen = []
        for n, unit in enumerate(self.body):
            x = unit(x)
            if n in self._ends:
                seen.append(x)
        fine, middle, features = seen
        first = self.styles[0](features)
        found = [first]
        for n in range(1, len(self.styles)):
            if n == _COARSE:
                features = self._added(features, self.latlayer1(middle))
            elif n == _MIDDLE:
                features = self._added(features, self.latlayer2(fine))
            found.append(first + self.styles[n](features))
        return torch.stack(found, 1)

    @staticmethod
    def _added(coarse: Tensor, finer: Tensor) -> Tensor:
        return F.interpolate(coarse, finer.shape[2:], mode="bilinear", align_corners=True) + finer


# -- the generator ---------------------------------------------------------------------------


def _kernel() -> Tensor:
    row = torch.tensor(_BLUR)
    both = row[:, None] * row[None]
    return both / both.sum() * 4  # for pictures that were doubled


class _Blur(nn.Module):
    """A small blur, after doubling or with it. room: pixels added before and behind."""

    kernel: Tensor

    def __init__(self, room: tuple[int, int], double: bool) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel())
        self._room, self._double = room, double

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        if self._double:
            apart = x.new_zeros(count, channels, height, 2, width, 2)
            apart[:, :, :, 0, :, 0] = x
            x = apart.reshape(count, channels, 2 * height, 2 * width)
        before, behind = self._room
        x = F.pad(x, (before, behind, before, behind))
        kernel = self.kernel.flip(0, 1)[None, None].expand(channels, 1, -1, -1)
        return F.conv2d(x, kernel, groups=channels)


class _Modulated(nn.Module):
    def __init__(
        self, inside: int, out: int, size: int, width: int, *, double: bool = False, even: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out, inside, size, size))
        self.modulation = _Linear(width, inside)
        if double:
            self.blur = _Blur((1, 1), double=False)
        self._double, self._even = double, even

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        _, out, inside, size, _ = self.weight.shape
        count, _, height, width = x.shape
        weight = self.weight / math.sqrt(inside * size * size) * self.modulation(style)[:, None, :, None, None]
        if self._even:
            weight = weight * torch.rsqrt((weight**2).sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, count * inside, height, width)
        if self._double:
            turned = weight.transpose(1, 2).reshape(count * inside, out, size, size)
            x = F.conv_transpose2d(x, turned, stride=2, groups=count)
            blurred: Tensor = self.blur(x.reshape(count, out, *x.shape[2:]))
            return blurred
        x = F.conv2d(x, weight.reshape(count * out, inside, size, size), padding=size // 2, groups=count)
        return x.reshape(count, out, height, width)


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias[None, :, None, None], 0.2) * math.sqrt(2)


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


class _Styled(nn.Module):
    def __init__(self, inside: int, out: int, width: int, *, double: bool = False) -> None:
        super().__init__()
        self.conv = _Modulated(inside, out, 3, width, double=double)
        self.noise = _Noise()
        self.activate = _Bias(out)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        out: Tensor = self.activate(self.noise(self.conv(x, style), noise))
        return out


class _ToRGB(nn.Module):
    def __init__(self, inside: int, width: int, *, double: bool) -> None:
        super().__init__()
        if double:
            self.upsample = _Blur((2, 1), double=True)
        self.conv = _Modulated(inside, 3, 1, width, even=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, before: Tensor | None = None) -> Tensor:
        out: Tensor = self.conv(x, style) + self.bias
        return out if before is None else out + self.upsample(before)


class _Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class _Noises(nn.Module):
    def __init__(self, plan: Plan) -> None:
        super().__init__()
        for n in range(2 * len(plan.channels) - 1):
            self.register_buffer(f"noise_{n}", torch.zeros(1, 1, *(2 * [4 * 2 ** ((n + 1) // 2)])))


class _Generator(nn.Module):
    """Without the mapping network from z: what is edited are styles (its tensors, `decoder.style.*`, are not used)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        first, width = plan.channels[0], plan.width
        self.input = _Constant(first)
        self.conv1 = _Styled(first, first, width)
        self.to_rgb1 = _ToRGB(first, width, double=False)
        convs: list[nn.Module] = []
        for inside, out in zip(plan.channels, plan.channels[1:], strict=False):
            convs += [_Styled(inside, out, width, double=True), _Styled(out, out, width)]
        self.convs = nn.ModuleList(convs)
        self.to_rgbs = nn.ModuleList([_ToRGB(out, width, double=True) for out in plan.channels[1:]])
        self.noises = _Noises(plan)

    def forward(self, styles: Tensor) -> Tensor:
        noise = [getattr(self.noises, f"noise_{n}") for n in range(len(self.convs) + 1)]
        x = self.input.input.expand(len(styles), -1, -1, -1)
        x = self.conv1(x, styles[:, 0], noise[0])
        picture: Tensor = self.to_rgb1(x, styles[:, 1])
        for n, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * n](x, styles[:, 2 * n + 1], noise[2 * n + 1])
            x = self.convs[2 * n + 1](x, styles[:, 2 * n + 2], noise[2 * n + 2])
            picture = to_rgb(x, styles[:, 2 * n + 3], picture)
        return picture
