"""LipGAN's two generators and its discriminator: Prajwal et al., "Towards automatic face-to-face translation"
(2019), as torch modules whose keys are the published Keras layers' names.

They follow Keras: `same` padding puts the odd pixel at the bottom and right, batch norm has an
epsilon of 1e-3, layers are numbered in the order in which the published code makes them (it makes two or three that
it never uses: their numbers are missing). Pictures are BGR 0..1, 96x96; nothing here knows a film, a face or a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.networks.folding import folded, in_lanes, last

__all__ = [
    "KINDS", "MFCC_BANDS", "MFCC_COLUMNS", "SIZE_PX", "DiscriminatorNet", "Kind", "LipGAN", "LipGANNet", "contrastive",
    "kind_of",
]  # fmt: skip

SIZE_PX, MFCC_BANDS, MFCC_COLUMNS = 96, 12, 35
Kind = Literal["basic", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_EPSILON, _MOMENTUM = 1e-3, 0.2  # Keras counts momentum the other way round: 0.8
_BATCH = 4  # pictures at a time on a processor: more spill out of its caches
Pair = tuple[int, int]


@dataclass(frozen=True)
class _Level:
    """A convolution and the residual blocks behind it. extra: 1 where a row of zeros goes on top first."""

    channels: int
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    residuals: int = 0
    extra: int = 0
    same: bool = True


@dataclass(frozen=True)
class _LayerPlan:
    """The layers of one generator. unused: which convolutions, by number, the published code makes for nothing."""

    face: tuple[_Level, ...]
    audio: tuple[_Level, ...]
    decoder: tuple[_Level, ...]
    unused: tuple[int, ...]


def _square(channels: int, kernel: int, stride: int = 1, residuals: int = 0) -> _Level:
    return _Level(channels, (kernel, kernel), (stride, stride), residuals)


def _decoder(residuals: int) -> tuple[_Level, ...]:
    middle = (_square(c, 3, 2, residuals) for c in (512, 256, 128, 64))
    return (_square(512, 3, 3), *middle, _square(32, 3, 2))


_PLANS: dict[Kind, _LayerPlan] = {
    "basic": _LayerPlan(
        face=(
            _square(32, 11), _square(64, 7, 2), _square(128, 5, 2), _square(256, 3, 2), _square(512, 3, 2),
            _square(512, 3, 2), _Level(512, same=False), _square(256, 1),
        ),
        audio=(
            _square(128, 3), _Level(256, stride=(1, 2), extra=1), _square(256, 3), _square(256, 3, 2),
            _square(512, 3, 2), _Level(512, (4, 5), same=False), _square(256, 1),
        ),
        decoder=_decoder(0),
        unused=(8, 16),
    ),
    "residual": _LayerPlan(
        face=(
            _square(32, 7), _square(64, 5, 2, 2), _square(128, 3, 2, 3), _square(256, 3, 2, 2), _square(512, 3, 2, 2),
            _square(512, 3, 2), _Level(512, same=False), _square(512, 1),
        ),
        audio=(
            _square(128, 3, 1, 3), _Level(256, stride=(1, 2), residuals=2, extra=1), _square(512, 3, 2, 2),
            _square(512, 3, 2, 1), _Level(512, (4, 5), same=False), _square(512, 1),
        ),
        decoder=_decoder(2),
        unused=(),
    ),
}  # fmt: skip


def kind_of(state: Mapping[str, Tensor]) -> Kind:
    """Which generator a checkpoint is of: the residual one has many more layers."""
    convolutions = sum(key.endswith(".weight") and value.ndim == 4 for key, value in state.items())
    return "residual" if convolutions > 40 else "basic"


# -- layers as Keras has them ----------------------------------------------------------------


class _Conv(nn.Conv2d):
    """A convolution for inputs of one size; `same` padding's odd pixel lies at the bottom and right."""

    def __init__(self, inward: int, level: _Level, size: Pair) -> None:
        before, odd, out = [], [], []
        for n, kernel, stride in zip(size, level.kernel, level.stride, strict=True):
            count = -(-n // stride) if level.same else (n - kernel) // stride + 1
            total = max(0, (count - 1) * stride + kernel - n) if level.same else 0
            before.append(total // 2)
            odd.append(total % 2)
            out.append(count)
        super().__init__(inward, level.channels, level.kernel, level.stride, (before[0], before[1]))
        self.size_out: Pair = (out[0], out[1])
        self.odd = (0, odd[1], 0, odd[0]) if any(odd) else None
        nn.init.xavier_uniform_(self.weight)  # Keras begins so
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.odd is None else F.pad(x, self.odd))


class _Grow(nn.ConvTranspose2d):
    """A transposed convolution to `stride` times the size: what `same` padding would have taken is cut off."""

    def __init__(self, inward: int, level: _Level, size: Pair) -> None:
        super().__init__(inward, level.channels, level.kernel, level.stride)
        self.size_out: Pair = (size[0] * level.stride[0], size[1] * level.stride[1])
        nn.init.xavier_uniform_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        height, width = self.size_out
        return super().forward(x)[..., :height, :width]


class _InstanceNorm(nn.Module):
    """Normalises each instance by one mean and one deviation over all its axes, with a single scale and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, x.ndim))
        # The square root has no slope at zero, and a constant instance has no deviation.
        deviation = torch.sqrt(x.var(axes, correction=0, keepdim=True).clamp_min(1e-12)) + _EPSILON
        return (x - x.mean(axes, keepdim=True)) / deviation * self.weight + self.bias


@dataclass(frozen=True)
class _Step:
    """Names of a convolution and of the norm behind it (None: neither norm nor activation)."""

    conv: str
    norm: str | None
    extra: int = 0


class _Numbered(nn.Module, ABC):
    """A network whose layers are numbered as Keras does it: by kind, in the order they are made."""

    norm_name = ""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, int] = {}

    def _name(self, kind: str) -> str:
        number = self._made.get(kind, 0)
        self._made[kind] = number + 1
        return f"{kind}_{number}" if number else kind

    def _add(self, inward: int, level: _Level, size: Pair, *, grows: bool = False, norm: bool = True) -> _Step:
        """One convolution, with its norm; the size of its output is its `size_out`."""
        layer = _Grow(inward, level, size) if grows else _Conv(inward, level, (size[0] + level.extra, size[1]))
        name = self._name("conv2d_transpose" if grows else "conv2d")
        self.add_module(name, layer)
        if not norm:
            return _Step(name, None, level.extra)
        normed = self._name(self.norm_name)
        self.add_module(normed, self._norm(level.channels))
        return _Step(name, normed, level.extra)

    @abstractmethod
    def _norm(self, channels: int) -> nn.Module:
        """The norm after a convolution."""

    def _conv(self, step: _Step) -> _Conv | _Grow:
        layer = self.get_submodule(step.conv)
        assert isinstance(layer, (_Conv, _Grow))
        return layer


# -- the generators --------------------------------------------------------------------------


class LipGANNet(_Numbered):
    """A generator as published: plain float32 layers.

    `forward(mfcc, face)`: mfcc (N, 1, 12, 35); face (N, 6, 96, 96) BGR 0..1: a picture of the person, then the frame
    that is to be drawn, black from row 48 down. Returns (N, 3, 96, 96), 0..1.
    """

    norm_name = "batch_normalization"

    def __init__(self, kind: Kind = "residual") -> None:
        super().__init__()
        self.kind: Kind = kind
        plan = _PLANS[kind]
        self._unused = plan.unused
        self._face, outs, side = self._chain(6, plan.face, (SIZE_PX, SIZE_PX))
        self._audio, heard, _ = self._chain(1, plan.audio, (MFCC_BANDS, MFCC_COLUMNS))
        self._skip_unused()
        inward = outs[-1] + heard[-1]
        self._up: list[list[_Step]] = []
        for level, skip in zip(plan.decoder, outs[-3::-1], strict=True):
            steps, _, side = self._chain(inward, (level,), side, grows=True)
            self._up += steps
            inward = level.channels + skip
        self._tail = [step for steps in self._chain(inward, (_square(16, 3),) * 2, side)[0] for step in steps]
        self._last = self._add(16, _square(3, 1), side, norm=False)

    def _norm(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, _EPSILON, _MOMENTUM)

    def _skip_unused(self) -> None:
        if self._made.get("conv2d") in self._unused:
            self._name("conv2d")
            self._name(self.norm_name)

    def _chain(
        self, inward: int, levels: Iterable[_Level], size: Pair, *, grows: bool = False
    ) -> tuple[list[list[_Step]], list[int], Pair]:
        """Levels one after another: the steps and the channels of each, and the last one's size."""
        found, channels = [], []
        for level in levels:
            self._skip_unused()
            steps = [self._add(inward, level, size, grows=grows)]
            size, inward = self._conv(steps[0]).size_out, level.channels
            steps += [self._add(inward, _square(inward, 3), size) for _ in range(2 * level.residuals)]
            found.append(steps)
            channels.append(inward)
        return found, channels, size

    def norms(self) -> dict[str, str]:
        """The name of each layer that a norm follows, with the name of that norm."""
        steps = [*self._tail, *(s for level in (*self._face, *self._audio, *self._up) for s in level)]
        return {step.conv: step.norm for step in steps if step.norm is not None}

    def _do(self, step: _Step, x: Tensor) -> Tensor:
        y = self._conv(step)(F.pad(x, (0, 0, step.extra, 0)) if step.extra else x)
        return y if step.norm is None else F.relu(self.get_submodule(step.norm)(y))

    def _level(self, steps: list[_Step], x: Tensor) -> Tensor:
        """A convolution, then residual blocks of two.

        Both summands of a block are outputs of a ReLU, so the published ReLU of their sum would do nothing.
        """
        x = self._do(steps[0], x)
        for n in range(1, len(steps), 2):
            x = x + self._do(steps[n + 1], self._do(steps[n], x))
        return x

    def forward(self, mfcc: Tensor, face: Tensor) -> Tensor:
        seen, x, sound = [], face, mfcc
        for steps in self._face:
            x = self._level(steps, x)
            seen.append(x)
        for steps in self._audio:
            sound = self._level(steps, sound)
        x = torch.cat((x, sound), 1)
        del seen[-2:]
        for steps in self._up:
            x = torch.cat((seen.pop(), self._level(steps, x)), 1)
        for step in self._tail:
            x = self._do(step, x)
        return torch.sigmoid(self._do(self._last, x))


class LipGAN:
    """A generator ready to run, batch norms folded: on a processor in float32, on a GPU in float16."""

    size_px = SIZE_PX

    def __init__(self, net: LipGANNet, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> None:
        self.device = torch.device(device)
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.float16)
        self._net = folded(net, net.norms()).to(self.device, self.dtype)

    def __call__(self, mfcc: Tensor, face: Tensor) -> Tensor:
        """Any number of pictures, as `LipGANNet.forward`; float32 on the processor."""
        if not len(mfcc):
            return face[:, :3].float()
        with torch.inference_mode():
            mfcc, face = (t.to(self.device, self.dtype, non_blocking=True) for t in (mfcc, face))
            if self.device.type != "cpu":
                return self._net(mfcc, face).float().cpu()
            parts = [(mfcc[n : n + _BATCH], face[n : n + _BATCH]) for n in range(0, len(mfcc), _BATCH)]
            return torch.cat(in_lanes(self._some, parts)).float()

    def _some(self, part: tuple[Tensor, Tensor]) -> Tensor:
        """A few pictures. A single one is doubled, because torch sums a batch of one in another order."""
        count = len(part[0])
        if count == 1:
            part = (part[0].expand(2, -1, -1, -1), part[1].expand(2, -1, -1, -1))
        return self._net(*map(last, part))[:count]


# -- the discriminator -----------------------------------------------------------------------


class DiscriminatorNet(_Numbered):
    """How far a face and a sound are apart.

    `forward(mfcc, face)`: mfcc (N, 1, 12, 35); face (N, 3, 96, 96) BGR 0..1. Returns (N, 1), 0 (in sync) to 2.
    """

    norm_name = "instance_normalization"

    def __init__(self) -> None:
        super().__init__()
        face = (_square(64, 7, 2), _square(128, 5, 2), _square(256, 3, 2), _square(512, 3, 2), _square(512, 3, 2),
                _Level(512, same=False))  # fmt: skip
        audio = (_square(64, 3), _square(128, 3), _Level(256, stride=(1, 2), extra=1), _square(256, 3),
                 _square(256, 3, 2), _square(512, 3, 2), _Level(512, (4, 5), same=False))  # fmt: skip
        self._face = self._steps(3, face, (SIZE_PX, SIZE_PX))
        self._audio = self._steps(1, audio, (MFCC_BANDS, MFCC_COLUMNS))

    def _norm(self, channels: int) -> nn.Module:
        return _InstanceNorm()

    def _steps(self, inward: int, levels: tuple[_Level, ...], size: Pair) -> list[_Step]:
        found = []
        for level in levels:
            found.append(self._add(inward, level, size, norm=level is not levels[-1]))
            size, inward = self._conv(found[-1]).size_out, level.channels
        return found

    def _embedding(self, steps: list[_Step], x: Tensor) -> Tensor:
        """(N, 512), of length 1."""
        for step in steps:
            x = self._conv(step)(F.pad(x, (0, 0, step.extra, 0)) if step.extra else x)
            if step.norm is not None:
                x = F.leaky_relu(self.get_submodule(step.norm)(x), 0.2)
        return F.normalize(x.flatten(1), dim=1, eps=1e-6)

    def forward(self, mfcc: Tensor, face: Tensor) -> Tensor:
        apart = self._embedding(self._face, face) - self._embedding(self._audio, mfcc)
        return torch.linalg.vector_norm(apart, dim=1, keepdim=True)


def contrastive(distance: Tensor, is_fake: Tensor) -> Tensor:
    """The published loss: the square of the distance where face and sound belong together (0), else (1) the square
    of what it lacks to 1; the mean of all. Both (N, 1)."""
    lacking = (1 - distance).clamp_min(0)
    return ((1 - is_fake) * distance**2 + is_fake * lacking**2).mean()
