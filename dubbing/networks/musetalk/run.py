"""MuseTalk's three networks, ready to run. NumPy and pictures in, pictures out; knows no film and no file.

A frame is worked on alone: its face with the lower half black and the same face whole go through the autoencoder, the
UNet makes latents of both and of what the frame hears, in one step, and the autoencoder draws them. So nothing depends
on a neighbour or on how many threads there are; on a processor several frames are drawn side by side, a thread each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dubbing.device import exact
from dubbing.networks.diffusion import autoencoder
from dubbing.networks.folding import in_lanes
from dubbing.networks.whisper_states import EncoderStates, Hearing

if TYPE_CHECKING:
    from whisper.model import AudioEncoder

__all__ = ["LEAST", "MuseTalk", "MuseTalkNet", "masked", "positions"]

LEAST = 64  # pixels of the network's picture: latents are an eighth of it, and the UNet halves them three times
_LONGEST = 10_000.0


class MuseTalkNet(nn.Module):
    """The networks with their weights, float32. Raises ValueError: the UNet listens to another hearing, or draws other
    latents."""

    def __init__(self, unet: Any, vae: Any, hearing: AudioEncoder) -> None:
        super().__init__()
        self.unet, self.vae, self.hearing = unet, vae, hearing
        told, heard = unet.config.cross_attention_dim, hearing.conv1.out_channels
        if told != heard:
            raise ValueError(f"the UNet listens to {told} numbers, and the hearing says {heard}")
        given, made, latents = unet.config.in_channels, unet.config.out_channels, vae.config.latent_channels
        if (given, made) != (2 * latents, latents):
            raise ValueError(f"the UNet makes {made} latents of {given}, where {latents} of {2 * latents} belong")


class MuseTalk:
    """For inference. size: side of the pictures; half: float16, which needs a GPU (None: where there is one); batch:
    frames at once on a GPU, where fewer are filled up, so that the same kernels draw every frame; layout: of layers and
    pictures in memory (None: channels_last on a GPU)."""

    def __init__(
        self, net: MuseTalkNet, device: torch.device | str = "cpu", *, size: int = 256, half: bool | None = None,
        batch: int = 8, layout: torch.memory_format | None = None,
    ) -> None:  # fmt: skip
        self.device, self.size_px, self._batch = torch.device(device), size, batch
        gpu = self.device.type != "cpu"
        self.dtype = torch.float16 if gpu and half is not False else torch.float32
        self._layout = layout or (torch.channels_last if gpu else torch.contiguous_format)
        self.unet, self.vae = (self._ready(one) for one in (net.unet, net.vae))
        self._hears = EncoderStates(net.hearing, str(device), last_norm=True)

    def _ready(self, net: Any) -> Any:
        return nn.Module.to(net.eval(), self.device, self.dtype, memory_format=self._layout)  # type: ignore[call-overload]

    def _laid(self, pictures: Tensor) -> Tensor:
        return pictures.contiguous(memory_format=self._layout)

    def hear(self, wave: np.ndarray) -> Hearing:
        """What frames hear of a float32 mono wave at 16 kHz."""
        return Hearing(self._hears, wave, floor="piece", outside="zeros")

    def __call__(self, heard: Tensor, faces: Tensor) -> Tensor:
        """Drawn faces, float32 (N, 3, S, S) BGR 0..1 on the processor.

        heard: windows (N, tokens, width), without positions; faces: (N, 3, S, S) BGR 0..1.
        """
        if not len(faces):
            return faces.float()
        told = heard.float() + positions(heard.shape[1], heard.shape[2])
        with torch.inference_mode(), exact(self.device):
            if self.device.type == "cpu":
                parts = [(told[n : n + 1], faces[n : n + 1]) for n in range(len(faces))]
                return torch.cat(in_lanes(self._draw, parts)).float()
            made = []
            for n in range(0, len(faces), self._batch):
                part = told[n : n + self._batch], faces[n : n + self._batch]
                count = len(part[1])
                full = (_filled(one, self._batch).to(self.device, self.dtype) for one in part)
                made.append(self._draw(tuple(full))[:count].float().cpu())
            return torch.cat(made)

    def _draw(self, part: tuple[Tensor, ...]) -> Tensor:
        told, faces = part
        return self.drawn(self.inpainted(self.seen(faces), told))

    def seen(self, faces: Tensor) -> Tensor:
        """Latents (N, 8, S/8, S/8) of faces, BGR 0..1: of each with its lower half black, then of it whole."""
        rgb = faces.flip(1)
        pictures = torch.cat([masked(rgb), rgb]) * 2 - 1
        latents = autoencoder.encode(self.vae, self._laid(pictures))
        return torch.cat(latents.chunk(2), 1)

    def inpainted(self, latents: Tensor, told: Tensor) -> Tensor:
        """Latents (N, 4, S/8, S/8) of drawn faces. told: windows with their positions."""
        made: Tensor = self.unet(self._laid(latents), 0, encoder_hidden_states=told, return_dict=False)[0]
        return made

    def drawn(self, latents: Tensor) -> Tensor:
        """Pictures of latents, (N, 3, S, S) BGR 0..1."""
        return (autoencoder.decode(self.vae, self._laid(latents)) / 2 + 0.5).clamp(0, 1).flip(1)


def masked(pictures_NCHW: Tensor) -> Tensor:
    """Pictures, 0..1, whose lower half is black."""
    out = pictures_NCHW.clone()
    out[..., out.shape[-2] // 2 :, :] = 0
    return out


def positions(count: int, width: int) -> Tensor:
    """What tells a window's tokens their places, float32 (count, width): sines and cosines by turns."""
    rate = torch.exp(torch.arange(0, width, 2) * (-np.log(_LONGEST) / width))
    angle = torch.arange(count)[:, None] * rate
    return torch.stack([torch.sin(angle), torch.cos(angle)], 2).flatten(1)[:, :width]


def _filled(rows: Tensor, count: int) -> Tensor:
    """Rows with the last of them repeated until there are `count`."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])]) if len(rows) < count else rows
