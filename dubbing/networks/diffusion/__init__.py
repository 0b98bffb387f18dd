"""Networks that draw in the latents of Stable Diffusion: its autoencoder and its UNet, by the package diffusers."""

from __future__ import annotations

import importlib.util

__all__ = ["installed"]


def installed() -> bool:
    """Whether diffusers is."""
    return importlib.util.find_spec("diffusers") is not None
