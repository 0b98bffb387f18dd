"""Which file each of SadTalker's networks comes from, and how they become one.

The published file holds all but mapping, by prefixes; mapping lies in a file of its own, and the older release has a
file for every network. A file of one's own (a path) holds all of them by the same prefixes, `mapping` and `mean_face`
too, unless settings name others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dubbing import models
from dubbing.errors import ModelError
from dubbing.generators.sadtalker.settings import SadTalkerSettings

if TYPE_CHECKING:
    from torch import Tensor

    from dubbing.networks.sadtalker.run import SadTalkerNet

__all__ = ["NAMES", "Weights", "chosen", "mean_face", "state_of"]

_OLDER = "sadtalker_renderer"
_RELEASED = {"audio2exp": "sadtalker_exp", "audio2pose": "sadtalker_pose", "face_3drecon": "sadtalker_3dmm"}
_WITHIN = {  # entries of the older files
    "kp_extractor": "kp_detector", "generator": "generator", "audio2exp": "model", "audio2pose": "model",
    "face_3drecon": "net_recon", "mapping": "mapping",
}  # fmt: skip
_TRAINING = ("netG.encoder.", "netD_motion.")  # parts that only training needs
MEAN_FACE = "mean_face"
NAMES = tuple(
    f"sadtalker_{part}"
    for part in ("256", "512", "mapping_full", "mapping_crop", "renderer", "exp", "pose", "3dmm", "mean_face")
)
"""The published files, by their names among `dub models`."""


@dataclass(frozen=True)
class Weights:
    """Where each part lies. named: what the settings call it; files: the file; hashes: its sha256, hex; by part."""

    named: dict[str, str]
    files: dict[str, Path]
    hashes: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(file.stat().st_size for file in set(self.files.values()))

    @property
    def unknown(self) -> bool:
        """Whether the hash of any file does not say that it fits."""
        published = {m.name for m in models.MODELS if m.sha256}
        return not set(self.named.values()) <= published

    def loaded(self, full: bool) -> SadTalkerNet:
        """All of them in one network. full: whether mapping is to take 73 coefficients. Raises ModelError: a file that
        is no checkpoint, lacks a part, or is one of another architecture."""
        from dubbing.networks.sadtalker import run

        states = {part: state_of(self.files[part], part, self.named[part]) for part in run.PARTS}
        shape = run.shape_of(states)
        try:
            net = run.SadTalkerNet(shape)
        except (ValueError, RuntimeError) as e:
            raise ModelError(f"{self.named['generator']} is a checkpoint of another architecture: {e}.") from e
        for part in run.PARTS:
            models.fit(net.get_submodule(part), states[part], f"{self.named[part]} ({part})")
        wanted = 73 if full else 70
        if shape.coefficients != wanted:
            raise ModelError(
                f"{self.named['mapping']} is a mapping of {shape.coefficients} coefficients, and this `preprocess` "
                f"needs one of {wanted}: `full` and `extfull` take 73, `crop` and `extcrop` 70."
            )
        net.mean_face.copy_(mean_face(self.files[MEAN_FACE], self.named[MEAN_FACE]))
        return net


def state_of(file: Path, part: str, name: str) -> dict[str, Tensor]:
    """The tensors of one network in a file of it, or of several; what only training needs is left out.

    name: what to call the file in a message. Raises ModelError: no checkpoint, or one of other networks.
    """
    state = models.load_state(file, within=_WITHIN[part])
    own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
    if not own and any(key.startswith(tuple(f"{p}." for p in _WITHIN if p != "generator")) for key in state):
        raise ModelError(f"{name} holds no {part}: name the file that does by `{_setting(part)}`.")
    return {k: v for k, v in (own or state).items() if not k.startswith(_TRAINING)}


def mean_face(file: Path, name: str) -> Tensor:
    """The five points of the standard face in a file, float32 (5, 3): the published 68 points, or a tensor `mean_face`.

    name: what to call the file in a message. Raises ModelError.
    """
    import torch

    if file.suffix == ".mat":
        return torch.from_numpy(_published_face(file, name))
    found = models.load_state(file).get(MEAN_FACE)
    if found is None or found.shape != (5, 3) or not bool(torch.isfinite(found).all()):
        raise ModelError(f"{name} holds no {MEAN_FACE} of five points: name the file that does by `mean_face`.")
    return found


def _published_face(file: Path, name: str) -> np.ndarray:
    """The five points of the published 68, float32 (5, 3). Raises ModelError."""
    from scipy.io import loadmat

    from dubbing.networks.sadtalker.alignment import five_of_68

    try:
        points = np.asarray(loadmat(file)["lm"], np.float64)
        if points.shape != (68, 3) or not np.isfinite(points).all():
            raise ValueError(f"its `lm` is {points.shape}")
    except Exception as e:  # whatever a made-up file provokes
        raise ModelError(f"{name} is no MATLAB file with 68 points in space under `lm` ({e}).") from e
    return five_of_68(points).astype(np.float32)


def _setting(part: str) -> str:
    return {"audio2exp": "exp_model", "audio2pose": "pose_model", "face_3drecon": "face_model"}.get(
        part, "mapping" if part == "mapping" else "model"
    )


def chosen(settings: SadTalkerSettings, folder: str | None) -> Weights:
    """The file of every part. folder: of published models. Raises ModelError: a file that is not there, with the next
    step."""
    model = settings.model
    own = "/" in model
    named = {"kp_extractor": model, "generator": model}
    for part, released in _RELEASED.items():
        named[part] = getattr(settings, _setting(part)) or (released if model == _OLDER else model)
    released = f"sadtalker_mapping_{'full' if settings.full else 'crop'}"
    named["mapping"] = settings.mapping or (model if own else released)
    named[MEAN_FACE] = settings.mean_face or (model if own else "sadtalker_mean_face")
    found = {name: models.chosen(name, folder) for name in dict.fromkeys(named.values())}
    return Weights(
        named, {part: found[name][0] for part, name in named.items()},
        {part: found[name][1] for part, name in named.items()},
    )  # fmt: skip
