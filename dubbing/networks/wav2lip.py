"""Wav2Lip's generator: Prajwal et al., "A lip sync expert is all you need for speech to lip generation
in the wild" (2020). Keys as published, so a checkpoint loads as it is.

Two forms of it: `Wav2LipNet`, a plain torch module that holds the weights; and `Wav2Lip`, which runs
them. The published network takes 96x96; others have trained deeper ones of the same family for larger
pictures. Their layers are read off the checkpoint (see `NetworkShape`); what a checkpoint cannot say (strides)
follows one rule. Pictures are BGR 0..1; nothing here knows a film or a face.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dubbing.errors import ModelError
from dubbing.networks.folding import folded, in_lanes, last

__all__ = ["MEL_BANDS", "MEL_COLUMNS", "PUBLISHED", "NetworkShape", "Wav2Lip", "Wav2LipNet", "plan_for", "plan_of"]

MEL_BANDS, MEL_COLUMNS = 80, 16
_AUDIO_STRIDES: dict[int, tuple[int, int]] = {3: (3, 1), 6: (3, 3), 9: (3, 2)}
_AUDIO_CHANNELS = (1, 32, 32, 32, 64, 64, 64, 128, 128, 128, 256, 256, 512, 512)
_BATCH = 4  # pictures at a time on a processor: more spill out of its caches


@dataclass(frozen=True)
class NetworkShape:
    """A generator's layers. size_px: the side of its pictures.

    encoder: per block, per layer (channels in, channels out, kernel); decoder: the same; bent: whether its
    activations are PReLU (one slope a layer). Strides: the encoder's first block has 1; a block with a 1x1
    layer cuts the border off (3x3, no padding); the first layer of every other block halves the picture. The
    decoder doubles where the encoder halved, each block to the size of its twin.
    """

    size_px: int
    encoder: tuple[tuple[tuple[int, int, int], ...], ...]
    decoder: tuple[tuple[tuple[int, int, int], ...], ...]
    bent: bool = False

    def cuts(self, block: int) -> bool:
        """Whether an encoder block takes the picture's border off instead of halving it."""
        return block > 0 and any(kernel == 1 for _, _, kernel in self.encoder[block])

    def sizes(self) -> list[int]:
        """The picture's side after each encoder block; the last is 1 where plan and size agree."""
        side, found = self.size_px, []
        for n in range(len(self.encoder)):
            side = side if n == 0 else side - 2 if self.cuts(n) else (side + 1) // 2
            found.append(side)
        return found

    def span(self) -> tuple[int, int]:
        """The smallest and the largest square these layers take to 1x1."""
        low = high = 1
        for n in reversed(range(1, len(self.encoder))):
            low, high = (low + 2, high + 2) if self.cuts(n) else (2 * low - 1, 2 * high)
        return low, high


def _residual(channels: int, times: int) -> tuple[tuple[int, int, int], ...]:
    return ((channels, channels, 3),) * times


PUBLISHED = NetworkShape(
    size_px=96,
    encoder=(
        ((6, 16, 7),),
        ((16, 32, 3), *_residual(32, 2)),
        ((32, 64, 3), *_residual(64, 3)),
        ((64, 128, 3), *_residual(128, 2)),
        ((128, 256, 3), *_residual(256, 2)),
        ((256, 512, 3), *_residual(512, 1)),
        ((512, 512, 3), (512, 512, 1)),
    ),
    decoder=(
        ((512, 512, 1),),
        ((1024, 512, 3), *_residual(512, 1)),
        ((1024, 512, 3), *_residual(512, 2)),
        ((768, 384, 3), *_residual(384, 2)),
        ((512, 256, 3), *_residual(256, 2)),
        ((320, 128, 3), *_residual(128, 2)),
        ((160, 64, 3), *_residual(64, 2)),
    ),
)


def plan_for(size_px: int, width: float = 1.0) -> NetworkShape:
    """Layers for pictures of that size, to train anew: PUBLISHED with as many outer levels as the size needs.

    width: of the published numbers of channels (1: as published). A level more or less at the large end doubles or
    halves the size; what they have in common is as published. Raises ModelError for sizes that no number of levels
    takes to 1x1: 9 to 12, 17 to 24, 33 to 48, 65 to 96, 129 to 192, 257 to 384, 513 to 768 are possible.
    """
    halvings = next((n for n in range(2, 9) if 2 ** (n + 1) < size_px <= 3 * 2**n), None)
    if halvings is None or not 0 < width <= 2:
        spans = ", ".join(f"{2 ** (n + 1) + 1} to {3 * 2**n}" for n in range(2, 9))
        raise ModelError(f"No plan takes pictures of {size_px} pixels (width {width:g}); possible are {spans}.")

    def channels(n: int) -> int:
        return max(4, round(n * width))

    stem, deep = 16, [32, 64, 128, 256, 512]  # as published; levels beyond five keep the stem's channels
    levels = deep[max(0, 5 - halvings) :]
    levels = [stem] * (halvings - len(levels)) + levels
    residuals = {16: 2, 32: 2, 64: 3, 128: 2, 256: 2, 512: 1}
    encoder: list[tuple[tuple[int, int, int], ...]] = [((6, channels(stem), 7),)]
    inward = channels(stem)
    for level in levels:
        out = channels(level)
        encoder.append(((inward, out, 3), *_residual(out, residuals[level])))
        inward = out
    last = channels(512)
    encoder.append(((inward, last, 3), (last, last, 1)))
    ups = [512, 512, 512, 384, 256, 128, 64]
    ups = [*ups, *[64] * (halvings - 5)][: halvings + 2]
    decoder: list[tuple[tuple[int, int, int], ...]] = []
    inward = _AUDIO_CHANNELS[-1]
    for n, (up, twin) in enumerate(zip(ups, reversed(encoder), strict=True)):
        out = channels(up)
        first = (inward, out, 1 if n == 0 else 3)
        decoder.append((first,) if n == 0 else (first, *_residual(out, 1 if n == 1 else 2)))
        inward = out + twin[-1][1]
    return NetworkShape(size_px, tuple(encoder), tuple(decoder))


def plan_of(state: Mapping[str, Tensor], size_px: int | None = None, name: str = "wav2lip") -> NetworkShape:
    """The layers of a checkpoint, or PUBLISHED where it is of another family (loading then says what differs).

    size_px: the side of its pictures; None for the only or natural one. Raises ModelError where the
    checkpoint takes other sizes, or several and none was named.
    """
    encoder, decoder = (_blocks(state, f"face_{part}_blocks") for part in ("encoder", "decoder"))
    plan = NetworkShape(96, encoder, decoder, "face_encoder_blocks.0.0.act.weight" in state)
    if not _holds_together(plan):
        plan = PUBLISHED
    low, high = plan.span()
    if size_px is None:
        several = sum(plan.cuts(n) for n in range(len(plan.encoder))) > 1
        if several:
            raise ModelError(
                f"{name}: this checkpoint fits pictures of {low} to {high} pixels; say which it was trained for, "
                f"for instance `size: {high * 9 // 10}`."
            )
        size_px = high
    if not low <= size_px <= high:
        raise ModelError(f"{name}: this checkpoint takes pictures of {low} to {high} pixels, not {size_px}.")
    return NetworkShape(size_px, plan.encoder, plan.decoder, plan.bent)


def _blocks(state: Mapping[str, Tensor], prefix: str) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """(channels in, out, kernel) of the layers under `prefix`, blocks in order."""
    turned = prefix == "face_decoder_blocks"
    found: dict[int, dict[int, tuple[int, int, int]]] = {}
    for key, weight in state.items():
        match = re.fullmatch(rf"{prefix}\.(\d+)\.(\d+)\.conv_block\.0\.weight", key)
        if match and weight.ndim == 4:
            block, layer = int(match[1]), int(match[2])
            a, b = weight.shape[:2]
            first = turned and block > 0 and layer == 0
            found.setdefault(block, {})[layer] = (a, b, weight.shape[2]) if first else (b, a, weight.shape[2])
    if not all(sorted(layers) == list(range(len(layers))) for layers in found.values()):
        return ()
    if sorted(found) != list(range(len(found))):
        return ()
    return tuple(tuple(layers[n] for n in range(len(layers))) for _, layers in sorted(found.items()))


def _holds_together(plan: NetworkShape) -> bool:
    """Whether the layers form one chain from 6 channels to 1x1 and back, each decoder block meeting its twin."""
    if len(plan.encoder) != len(plan.decoder) or len(plan.encoder) < 3 or not plan.cuts(len(plan.encoder) - 1):
        return False
    channels, outs = 6, []
    for block in plan.encoder:
        for inward, outward, kernel in block:
            if inward != channels or kernel % 2 == 0:
                return False
            channels = outward
        outs.append(channels)
    channels = _AUDIO_CHANNELS[-1]
    for block, skip in zip(plan.decoder, reversed(outs), strict=True):
        for inward, outward, _ in block:
            if inward != channels:
                return False
            channels = outward
        channels += skip
    return all(layer[0][2] == 3 for layer in plan.decoder[1:])


class _Block(nn.Module):
    """Convolution, batch norm, plus the input if `residual`, activation."""

    def __init__(self, conv: nn.Module, channels: int, residual: bool, bent: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(channels))
        self.act = nn.PReLU() if bent else nn.ReLU()
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return self.act(y + x if self.residual else y)


class Wav2LipNet(nn.Module):
    """The network as published: plain float32 layers.

    `forward(mel, face)`: mel (N, 1, 80, 16); face (N, 6, S, S) BGR 0..1, the first three channels black
    from the middle row down. Returns (N, 3, S, S), 0..1.
    """

    def __init__(self, plan: NetworkShape = PUBLISHED) -> None:
        super().__init__()
        self.plan, bent = plan, plan.bent

        def conv(inward: int, outward: int, kernel: int, stride: int | tuple[int, int], padding: int) -> _Block:
            residual = stride == 1 and inward == outward and padding > 0
            return _Block(nn.Conv2d(inward, outward, kernel, stride, padding), outward, residual, bent)

        encoder = []
        for n, block in enumerate(plan.encoder):
            layers = []
            for k, (inward, outward, kernel) in enumerate(block):
                padding = 0 if plan.cuts(n) else kernel // 2
                layers.append(conv(inward, outward, kernel, 2 if n and k == 0 and padding else 1, padding))
            encoder.append(nn.Sequential(*layers))
        self.face_encoder_blocks = nn.ModuleList(encoder)
        self.audio_encoder = nn.Sequential(*(
            conv(a, b, 1 if n == 12 else 3, _AUDIO_STRIDES.get(n, 1), 1 if n < 11 else 0)
            for n, (a, b) in enumerate(zip(_AUDIO_CHANNELS[:-1], _AUDIO_CHANNELS[1:], strict=True))
        ))  # fmt: skip
        decoder: list[nn.Module] = [nn.Sequential(*(conv(*layer, 1, 0) for layer in plan.decoder[0]))]
        sizes = plan.sizes()[::-1]
        for n, block in enumerate(plan.decoder[1:], 1):
            stride, padding = (1, 0) if sizes[n - 1] == 1 else (2, 1)
            grow = sizes[n] - ((sizes[n - 1] - 1) * stride - 2 * padding + 3)
            (inward, outward, kernel), *rest = block
            up = nn.ConvTranspose2d(inward, outward, kernel, stride, padding, grow)
            layers = [conv(a, b, k, 1, k // 2) for a, b, k in rest]
            decoder.append(nn.Sequential(_Block(up, outward, False, bent), *layers))
        self.face_decoder_blocks = nn.ModuleList(decoder)
        inward = plan.decoder[-1][-1][1] + plan.encoder[0][-1][1]
        self.output_block = nn.Sequential(conv(inward, 32, 3, 1, 1), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        seen, x = [], face
        for block in self.face_encoder_blocks:
            x = block(x)
            seen.append(x)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat((block(x), seen.pop()), 1)
        return self.output_block(x)


class Wav2Lip:
    """The network for inference: batch norms are folded, and rows that are not wanted are not computed.

    On a processor float32, within 1e-3 of `Wav2LipNet`; on a GPU float16.
    """

    def __init__(self, net: Wav2LipNet, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> None:
        self.device = torch.device(device)
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.float16)
        self.size_px = net.plan.size_px
        self._net = folded(net).to(self.device, self.dtype)
        self._sizes = net.plan.sizes()[::-1]

    def __call__(self, mel: Tensor, face: Tensor, from_row: int = 0) -> Tensor:
        """Any number of pictures, as `Wav2LipNet.forward`; the result is float32 on the processor.

        from_row: rows above it are not wanted, are not computed, and hold zeros.
        """
        if not len(mel):
            return face[:, :3].float()
        with torch.inference_mode():
            mel, face = (t.to(self.device, self.dtype, non_blocking=True) for t in (mel, face))
            if self.device.type != "cpu":
                return self._run(from_row, (mel, face)).float().cpu()
            parts = [(mel[n : n + _BATCH], face[n : n + _BATCH]) for n in range(0, len(mel), _BATCH)]
            return torch.cat(in_lanes(partial(self._run, from_row), parts)).float()

    def _run(self, from_row: int, part: tuple[Tensor, Tensor]) -> Tensor:
        """A few pictures. A single one is doubled, because torch sums a batch of one in another order."""
        count = len(part[0])
        mel, x = (last(t.expand(2, -1, -1, -1) if count == 1 else t) for t in part)
        net, seen = self._net, []
        for block in net.face_encoder_blocks:
            x = block(x)
            seen.append(x)
        x = net.audio_encoder(mel)
        first = self._first_rows(from_row)
        for level, block in enumerate(net.face_decoder_blocks):
            if first[level]:  # a level is computed from that row of its pictures down
                x = last(x[:, :, first[level] // 2 - first[level - 1] :])
            x = last(torch.cat((block(x), seen.pop()[:, :, first[level] :]), 1))
        result = torch.zeros(count, 3, self.size_px, self.size_px, dtype=x.dtype, device=x.device)
        result[:, :, first[-1] :] = net.output_block(x)[:count]
        result[:, :, :from_row] = 0
        return result

    def _first_rows(self, from_row: int) -> list[int]:
        """The first row computed at each level of the decoder, so that rows from `from_row` come out whole."""
        first, need = [0] * len(self._sizes), from_row - 1  # the output block looks one row up
        for n in reversed(range(len(self._sizes))):
            need -= len(self._net.face_decoder_blocks[n]) - 1  # type: ignore[arg-type]
            if need < 8 or self._sizes[n] < 24 or self._sizes[n] != 2 * self._sizes[n - 1]:
                break
            first[n] = need // 2 * 2  # a row where the doubling starts clean
            need = first[n] // 2
        return first
