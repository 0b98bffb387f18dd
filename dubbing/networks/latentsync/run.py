"""LatentSync whole: from a chunk of aligned faces and what each hears to the faces that say it.

The network starts from one frame of noise, the same for all frames and chunks, and is told which part of the latents is
kept, the faces without the rest, and the same faces whole. What lies outside the hole comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dubbing.device import exact
from dubbing.networks.diffusion import autoencoder
from dubbing.networks.folding import in_lanes
from dubbing.networks.latentsync import mask, schedule
from dubbing.networks.latentsync.unet import INPUTS, LATENTS, UNet3D
from dubbing.networks.whisper_states import EncoderStates, Hearing

if TYPE_CHECKING:
    from whisper.model import AudioEncoder

__all__ = ["DOWN", "Chunk", "LatentSync", "LatentSyncNet", "noise_of"]

DOWN = 8
"""Pixels of a picture's side to one of its latents'."""
_PART = 4  # pictures that the autoencoder sees at a time


def noise_of(seed: int, side: int) -> np.ndarray:
    """One frame of noise for pictures of a side, float32 (1, 4, 1, side / 8, side / 8), the same on every machine."""
    shape = (1, LATENTS, 1, side // DOWN, side // DOWN)
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Chunk:
    """pixels: (F, 3, S, S), RGB -1..1; told: what is seen of them, (1, 9, F, S/8, S/8): mask, masked, whole."""

    pixels: Tensor
    told: Tensor


class LatentSyncNet(nn.Module):
    """The networks with their weights, float32. Raises ValueError: they do not belong together."""

    def __init__(self, unet: UNet3D, vae: Any, hearing: AudioEncoder) -> None:
        super().__init__()
        self.unet, self.vae, self.hearing = unet, vae, hearing
        told, heard = unet.shape.audio, hearing.conv1.out_channels
        if told != heard:
            raise ValueError(f"the UNet listens to {told} numbers, and the hearing says {heard}")
        latents, levels = vae.config.latent_channels, len(vae.config.block_out_channels)
        if latents != LATENTS or 2 ** (levels - 1) != DOWN:
            raise ValueError(
                f"the UNet draws {LATENTS} latents for {DOWN} pixels, and the autoencoder has {latents} for "
                f"{2 ** (levels - 1)}"
            )


class LatentSync:
    """The networks, moved and changed, ready to run; on a processor with the same sums on any number of threads.

    half: float16, which needs a GPU (None: where there is one); layout: of layers and pictures in memory.
    """

    def __init__(
        self, net: LatentSyncNet, device: str = "cpu", *, half: bool | None = None,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:  # fmt: skip
        self.device, self._layout = torch.device(device), layout
        self.dtype = torch.float16 if self.device.type != "cpu" and half is not False else torch.float32
        self.unet, self.vae = (self._ready(one) for one in (net.unet, net.vae))
        self._hears = EncoderStates(net.hearing, device, last_norm=False)

    def _ready(self, net: Any) -> Any:
        net = nn.Module.to(net.eval(), self.device, self.dtype)  # diffusers' own `to` warns of casts
        return nn.Module.to(net, memory_format=self._layout)  # type: ignore[call-overload]

    def hear(self, wave: np.ndarray) -> Hearing:
        """What frames hear of a float32 mono wave at 16 kHz."""
        return Hearing(self._hears, wave, floor="whole", outside="edge")

    def __call__(
        self, faces: np.ndarray, audio: np.ndarray, noise: np.ndarray, *, steps: int, guidance: float,
        drawn: Sequence[Tensor] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Faces that say it, float32 (F, S, S, 3), RGB 0..255, not clamped inside the hole's edge.

        faces: uint8 (F, S, S, 3), RGB, F at most 24, S a multiple of 64; audio: (F, 50, 384); noise: `noise_of`;
        guidance: over 1 for two passes a step; drawn: see `chunk`.
        """
        with torch.inference_mode(), exact(self.device):
            chunk = self.chunk(faces, drawn)
            *_, latents = self.steps(chunk, audio, noise, steps, guidance)
            made = self.pictures(chunk, latents)
            return np.asarray((made.permute(0, 2, 3, 1).float().cpu().numpy() + 1) * 127.5)

    def chunk(self, faces: np.ndarray, drawn: Sequence[Tensor] | None = None) -> Chunk:
        """Faces as the network is told them. drawn: noise (F, 4, S/8, S/8) by which latents of the masked faces are
        drawn, and of the whole ones; None: their means, the same every time."""
        side = faces.shape[1]
        pixels = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float() / 127.5 - 1
        keep = torch.from_numpy(mask.kept(side))
        told = [torch.from_numpy(mask.kept_latents(side)).expand(len(faces), 1, -1, -1)]
        for n, given in enumerate((pixels * keep, pixels)):
            told.append(self._pictured(self._encode, given, drawn[n] if drawn else None).cpu().float())
        return Chunk(pixels, torch.cat(told, 1).transpose(0, 1)[None])

    def steps(
        self, chunk: Chunk, audio: np.ndarray, noise: np.ndarray, steps: int, guidance: float
    ) -> Iterator[Tensor]:
        """The latents (1, 4, F, S/8, S/8), float32, after each step."""
        told = chunk.told.to(self.device)
        heard = torch.from_numpy(audio).to(self.device, self.dtype)
        latents = torch.from_numpy(noise).to(self.device).expand(-1, -1, told.shape[2], -1, -1)
        for step in schedule.steps(steps):
            given = torch.cat([latents, told], 1).to(self.dtype)
            assert given.shape[1] == INPUTS
            if guidance > 1:
                without, foretold = self._foretold(given, step.at, (torch.zeros_like(heard), heard))
                foretold = schedule.guided(without, foretold, guidance)
            else:
                (foretold,) = self._foretold(given, step.at, (heard,))
            latents = schedule.stepped(step, latents, foretold)
            yield latents

    def pictures(self, chunk: Chunk, latents: Tensor) -> Tensor:
        """What latents show, inside the hole, and the faces' own pixels around it, float32 (F, 3, S, S) about -1..1."""
        made = self._pictured(self._decode, latents[0].transpose(0, 1).cpu(), None).cpu().float()
        keep = torch.from_numpy(mask.kept(made.shape[-1]))
        return made * (1 - keep) + chunk.pixels * keep

    def _foretold(self, given: Tensor, at: int, heard: Sequence[Tensor]) -> list[Tensor]:
        """The noise foretold with each of several sounds, float32."""
        if self.device.type == "cpu":
            return in_lanes(lambda one: self.unet(given, at, one), heard)
        found = self.unet(given.expand(len(heard), -1, -1, -1, -1), at, torch.cat(list(heard))).float()
        return list(found.split(1))

    def _pictured(self, job: Any, given: Tensor, drawn: Tensor | None) -> Tensor:
        parts = [
            (
                one.to(self.device, self.dtype).contiguous(memory_format=self._layout),
                None if drawn is None else drawn[n * _PART :][:_PART].to(one),
            )
            for n, one in enumerate(given.split(_PART))
        ]
        if self.device.type == "cpu":
            return torch.cat(in_lanes(lambda part: job(*part), parts))
        return torch.cat([job(*part) for part in parts])

    def _encode(self, pictures: Tensor, drawn: Tensor | None) -> Tensor:
        return autoencoder.encode(self.vae, pictures, None if drawn is None else drawn.to(pictures))

    def _decode(self, latents: Tensor, _: Tensor | None) -> Tensor:
        return autoencoder.decode(self.vae, latents)
