"""Which files a generator needs together, so that one name brings all of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SETS", "ModelSet"]


@dataclass(frozen=True)
class ModelSet:
    """name: for `dub models pull`; what: they are for; models: the names of their entries, no two of one file."""

    name: str
    what: str
    models: tuple[str, ...]


_SADTALKER = ("sadtalker_mapping_full", "sadtalker_mapping_crop", "sadtalker_mean_face")

SETS: tuple[ModelSet, ...] = (
    ModelSet("musetalk", "generator musetalk, version 1.5", ("musetalk_v15_unet", "sd_vae_ft_mse", "whisper_tiny_hf")),
    ModelSet(
        "musetalk_v10", "generator musetalk, version 1.0", ("musetalk_v10_unet", "sd_vae_ft_mse", "whisper_tiny_hf")
    ),
    ModelSet(
        "latentsync", "generator latentsync, version 1.6", ("latentsync_16_unet", "sd_vae_ft_mse", "whisper_tiny")
    ),
    ModelSet(
        "latentsync_15", "generator latentsync, version 1.5", ("latentsync_15_unet", "sd_vae_ft_mse", "whisper_tiny")
    ),
    ModelSet("sadtalker", "generator sadtalker, 256 pixels", ("sadtalker_256", *_SADTALKER)),
    ModelSet("sadtalker_at_512", "generator sadtalker, 512 pixels", ("sadtalker_512", *_SADTALKER)),
)
