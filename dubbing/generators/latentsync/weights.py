"""Which file each of LatentSync's networks comes from, what size it draws, and how they become one.

The files of 1.5 and 1.6 have the same tensors: only a published file's hash says for which size it was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dubbing import models
from dubbing.errors import ManifestError, ModelError
from dubbing.generators.latentsync.settings import LatentSyncSettings

if TYPE_CHECKING:
    from dubbing.networks.latentsync.run import LatentSync
    from dubbing.networks.whisper_states import EncoderStates

__all__ = ["NAMES", "SIZES", "Weights", "chosen"]

SIZES = {"latentsync_15_unet": 256, "latentsync_16_unet": 512}
NAMES = (*SIZES, "sd_vae_ft_mse", "whisper_tiny")
"""The published files, by their names among `dub models`."""


@dataclass(frozen=True)
class Weights:
    """named: what the settings call each file; files: where they lie; hashes: their sha256, hex; of `unet`, `vae` and
    `whisper`. side: pixels of the network's square."""

    named: dict[str, str]
    files: dict[str, Path]
    hashes: dict[str, str]
    side: int

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(file.stat().st_size for file in set(self.files.values()))

    @property
    def unknown(self) -> bool:
        """Whether the hash of any file does not say that it fits."""
        published = {m.sha256 for m in models.MODELS if m.name in NAMES}
        return not set(self.hashes.values()) <= published

    def loaded(self, device: str) -> tuple[LatentSync, EncoderStates]:
        """What draws and what hears, ready to run. Raises ModelError: a file that is no checkpoint, or one of another
        architecture."""
        import torch

        from dubbing.networks import whisper_states
        from dubbing.networks.diffusion import autoencoder
        from dubbing.networks.latentsync import run, unet

        name = self.named["unet"]
        state = models.load_state(self.files["unet"])
        shape = unet.shape_of(state, name)
        with torch.device("meta"):
            net = unet.UNet3D(shape)
        net = models.fit(net, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, name)
        state = autoencoder.renamed(models.load_state(self.files["vae"]))
        try:
            vae = autoencoder.network_of(state)
        except ValueError as e:
            raise ModelError(f"{self.named['vae']} is {e}.") from e
        vae = models.fit(vae, state, self.named["vae"])
        if vae.config.latent_channels != unet.LATENTS or len(vae.config.block_out_channels) != 4:
            raise ModelError(f"{self.named['vae']} does not make the latents that LatentSync draws.")
        state = whisper_states.encoder_state(models.load_state(self.files["whisper"]))
        try:
            encoder = models.fit(whisper_states.encoder_of(state), state, self.named["whisper"])
        except ValueError as e:
            raise ModelError(f"{self.named['whisper']} is {e}.") from e
        hearing = whisper_states.EncoderStates(encoder, device, last_norm=False)
        if hearing.width != shape.audio:
            raise ModelError(
                f"{self.named['whisper']} hears in {hearing.width} numbers and {name} listens to {shape.audio}: it "
                "needs whisper tiny."
            )
        return run.LatentSync(net, vae, device), hearing


def chosen(settings: LatentSyncSettings, folder: str | None) -> Weights:
    """The file of every network. folder: of published models. Raises ModelError: files that are not there, with the
    next step; ManifestError: `size` is missing, or another than the published file was trained for."""
    named = {"unet": settings.model, "vae": settings.vae, "whisper": settings.hearing}
    models.require([name for name in named.values() if "/" not in name], configured=folder)
    found = {part: models.chosen(name, folder) for part, name in named.items()}
    trained = {m.sha256: SIZES[m.name] for m in models.MODELS if m.name in SIZES and m.sha256}
    known = trained.get(found["unet"][1], SIZES.get(settings.model))
    size = settings.size
    if known is None and size is None:
        raise ManifestError(
            f"generator latentsync: size: {settings.model!r} does not say for which size it was trained; say "
            "`size: 256` (as 1.5) or `size: 512` (as 1.6).",
            at=("size",),
        )
    if known is not None and size not in (None, known):
        other = next((name for name, side in SIZES.items() if side == size), None)
        do = f"leave `size` out, or name {other} by `model`" if other else "leave `size` out"
        raise ManifestError(
            f"generator latentsync: size: {settings.model} was trained at {known} pixels, not {size}; {do}.",
            at=("size",),
        )
    return Weights(
        named, {part: one[0] for part, one in found.items()}, {part: one[1] for part, one in found.items()},
        known or size or 0,
    )  # fmt: skip
