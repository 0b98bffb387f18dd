"""What a manifest may say under `generator: {name: latentsync, ...}`."""

from __future__ import annotations

from pydantic import Field, model_validator

from dubbing.generators.square import DrawnSettings

__all__ = ["LatentSyncSettings"]

_FILE = "a name among `dub models`, or your own file (absolute, or from ~)"
_LEAST = 64  # pixels; a network of three halvings has one latent left in its middle


class LatentSyncSettings(DrawnSettings):
    """The published settings, with their values where nothing is said."""

    model: str = Field(
        "latentsync_16_unet", description=f"the network, latentsync_15_unet or latentsync_16_unet: {_FILE}"
    )
    vae: str = Field("sd_vae_ft_mse", description=f"the autoencoder between pictures and latents: {_FILE}")
    hearing: str = Field("whisper_tiny", description=f"the network that hears: {_FILE}")
    size: int | None = Field(
        None, ge=_LEAST, le=1024, multiple_of=_LEAST,
        description="side of the network's picture, pixels: 256 (1.5) or 512 (1.6); null: as the published file was "
        "trained; a file of your own needs it, since both versions' files look alike",
    )  # fmt: skip
    steps: int = Field(20, ge=1, le=1000, description="of the way from noise to a face; more cost more")
    draft_steps: int = Field(8, ge=1, le=1000, description="the same for a draft, at most `steps`")
    guidance: float = Field(
        1.5, ge=1.0, le=10.0, description="how strongly the sound leads; over 1 every step is drawn twice"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="which noise everything begins with")
    batch: int = Field(16, ge=8, le=24, description="frames drawn at once; it was trained with 16")
    half: bool | None = Field(None, description="float16 on a GPU; null: yes; a processor draws in float32")
    overlap: int = Field(4, ge=1, le=8, description="frames over which one chunk of `batch` goes over into the next")

    @model_validator(mode="after")
    def _fits(self) -> LatentSyncSettings:
        if 2 * self.overlap > self.batch:
            raise ValueError(f"overlap may be at most half of batch, {self.batch // 2}, not {self.overlap}")
        return self
