"""What the recipes of SadTalker's two networks share: coefficients, Wav2Lip's encoder of sound, their checkpoints.

Axes: N frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor, from_numpy, nn

from dubbing.dataset import coefficients
from dubbing.dataset.coefficients import MESH, Coefficients
from dubbing.errors import InputError
from dubbing.train import windows
from dubbing.train.recipe import ClipLike, Settings

__all__ = [
    "TAIL", "CoefficientSettings", "begin", "coefficients_of", "encoder_file", "hear", "heard", "notes", "published",
    "use",
]  # fmt: skip

_OF_MESHES = "mesh_"
_ENCODERS = ("audio_encoder.", "audio2exp.audio_encoder.", f"{_OF_MESHES}audio2exp.audio_encoder.")
_EARLY = 2  # frames that a window of sound begins before its frame
TAIL = 2 * 640 + windows.TAIL
"""Samples after a stretch's last frame that its windows reach."""


class CoefficientSettings(Settings):
    """Settings of both recipes."""

    coefficients: str | None = Field(
        None, description="the folder of `dub dataset coefficients`: DATA/coefficients/mesh, or .../sadtalker"
    )
    audio: str | None = Field(
        None,
        description="whose encoder of sound to take: wav2lip, wav2lip_gan of `dub models`, their file or an ExpNet's",
    )
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")


def coefficients_of(settings: CoefficientSettings, whose: str) -> Coefficients:
    """The coefficients that the settings name. Raises InputError."""
    if settings.coefficients is None:
        raise InputError(
            f"{whose} learns a face's coefficients: `dub dataset coefficients DATA` makes them, then --set "
            f"coefficients=DATA/{coefficients.FOLDER}/{MESH}."
        )
    return coefficients.opened(Path(settings.coefficients).expanduser())


def encoder_file(settings: CoefficientSettings) -> tuple[Path, ...]:
    """The file with Wav2Lip's encoder of sound, if the settings name one. Raises ModelError."""
    from dubbing import models

    if settings.audio is None:
        return ()
    if "/" in settings.audio or settings.audio.endswith((".pth", ".pt", ".safetensors")):
        return (Path(settings.audio).expanduser(),)
    return (models.path(settings.audio),)


def hear(encoder: nn.Module, settings: CoefficientSettings) -> None:
    """Give an encoder of sound the weights of the one that the settings name, if any. Raises ModelError."""
    from dubbing import models

    for path in encoder_file(settings):
        state = models.load_state(path)
        begins = next((p for p in _ENCODERS if any(key.startswith(p) for key in state)), _ENCODERS[0])
        own = {key.removeprefix(begins): value for key, value in state.items() if key.startswith(begins)}
        models.fit(encoder, own, str(path))


def heard(clip: ClipLike, first: int, count: int) -> np.ndarray:
    """The mel windows (count, 80, 16) of the frames from `first` on of a clip; `clip`: a stretch from there on."""
    return windows.mel_windows(clip, first, [n - _EARLY for n in range(first, first + count)])


def notes(held: Coefficients) -> tuple[str, ...]:
    """What has to be known of models that learn these coefficients."""
    if held.kind == MESH:
        return (
            "These coefficients are fitted to our own meshes: a model that learns them gives shapes of the mesh, and "
            "SadTalker's published renderer does not understand it.",
        )
    return ()


def published(networks: Mapping[str, nn.Module], part: str, held: Coefficients) -> dict[str, Any]:
    """A checkpoint: each network's keys behind its own name and the part's. The names are the published ones where the
    coefficients are; where they are of meshes, they begin with `mesh_`, so that SadTalker's renderer refuses them, and
    the face that the coefficients move lies beside them.

    part: audio2exp or audio2pose; networks: by what comes between, with its dot.
    """
    begins = f"{_OF_MESHES if held.kind == MESH else ''}{part}."
    state = {
        begins + name + key: value.detach().cpu().clone()
        for name, net in networks.items() for key, value in net.state_dict().items()
    }  # fmt: skip
    content: dict[str, Any] = {"state_dict": state, "coefficients": held.kind}
    if held.kind == MESH:
        face = held.face
        content["face"] = {"mean": from_numpy(face.mean_P3.copy()), "basis": from_numpy(face.basis_KP3.copy())}
    return content


def begin(network: nn.Module, state: Mapping[str, Tensor], part: str, name: str) -> None:
    """Start from a checkpoint, published or our own: of all of SadTalker, or of this network. Raises ModelError."""
    from dubbing import models

    for prefix in (f"{part}.", f"{_OF_MESHES}{part}."):
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if own:
            models.fit(network, own, name)
            return
    models.fit(network, state, name)


def use(setting: str, file: Path, held: Coefficients) -> str:
    """One line that says how the published file is used."""
    if held.kind == MESH:
        return f"{file}: `face` in it moves the mesh; SadTalker's renderer does not understand these coefficients"
    return f"generator: {{name: sadtalker, {setting}: {file.absolute()}}}"
