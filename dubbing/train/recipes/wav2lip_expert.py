"""Wav2Lip's sync expert: do these five lower faces belong to this fifth of a second of sound?

Prajwal et al. (2020), section 3.1, and their `color_syncnet_train`: half of the items are in sync, half have the
pictures of another moment of the same clip; the cosine of the two embeddings is the probability, its cross entropy
the loss. Adam, 1e-4, 64 items a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.train import losses, windows
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.state import State

__all__ = ["ExpertSettings", "Wav2LipExpert", "expert_file", "load_expert", "pairwise"]

_SIDE = 96


class ExpertSettings(Settings):
    """`--set` of `dub train wav2lip_expert`."""

    batch: int = Field(64, ge=2, description="items a step, over all processes together")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")
    apart_frames: int = Field(1, ge=1, description="how far away a shifted window is, at least")


class Wav2LipExpert(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "wav2lip_expert"
    summary = "Wav2Lip's sync expert, which its generator needs; also the expert `wav2lip_color`"
    monitor = "loss"
    least_items = 2  # its embeddings are 1x1: a batch norm of one item has no variance
    Settings = ExpertSettings

    def networks(self, settings: ExpertSettings) -> dict[str, nn.Module]:
        return {"expert": Wav2LipColorNet()}

    def optimisers(self, settings: ExpertSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        return {"expert": Adam(networks["expert"].parameters(), lr=settings.learning_rate)}

    def usable(self, sample: SampleLike, settings: ExpertSettings) -> bool:
        return sample.frames > 3 * windows.WINDOW

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: ExpertSettings
    ) -> dict[str, np.ndarray]:
        """face: uint8 (5, 48, 96, 3); mel: float32 (1, 80, 16); same: 1 in sync, 0 shifted."""
        count = sample.frames - windows.WINDOW + 1
        heard = int(rng.integers(count))
        same = bool(rng.integers(2))
        seen = heard if same else windows.other_than(heard, count, rng, settings.apart_frames)
        sound = data.load(sample, heard, windows.WINDOW, tail=windows.TAIL)
        picture = sound if same else data.load(sample, seen, windows.WINDOW)
        return {
            "face": windows.sized(picture.faces_NHWC, _SIDE)[:, _SIDE // 2 :],
            "mel": windows.mel_windows(sound, heard, [heard]),
            "same": np.array(same, np.float32),
        }

    def step(self, batch: Batch, state: State) -> Numbers:
        loss, _ = self._judged(batch, state)
        state.backward(loss)
        state.update("expert")
        return {"loss": loss}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """loss; accuracy: at a cosine of 0.5; ranked: pairs of one window in sync and one shifted, put in order."""
        loss, cosines = self._judged(batch, state)
        same = batch["same"] > 0.5
        right = ((cosines > 0.5) == same).float().mean()
        pairs = (cosines[same][:, None] > cosines[~same][None]).float()
        return {"loss": loss, "accuracy": right, "ranked": pairs.mean() if pairs.numel() else 0.5}

    def _judged(self, batch: Batch, state: State) -> tuple[Tensor, Tensor]:
        face = batch["face"].permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
        with state.autocast():
            sound, seen = state.networks["expert"](batch["mel"], face)
        return losses.agreement(sound, seen, batch["same"])

    def export(self, settings: ExpertSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        state = {key: value.detach().cpu().clone() for key, value in networks["expert"].state_dict().items()}
        return {"state_dict": state}, "lipsync_expert.pth"

    def use(self, file: Path, settings: ExpertSettings) -> str:
        return f"dub train wav2lip --set expert={file}"


def load_expert(name: str, models_folder: str | None = None) -> tuple[nn.Module, Path]:
    """A published or own expert, by its name among `dub models` or by path, with its file. Raises ModelError."""
    from dubbing import models

    path = expert_file(name, models_folder)
    return models.fit(Wav2LipColorNet(), models.load_state(path), name).eval(), path


def expert_file(name: str, models_folder: str | None = None) -> Path:
    """The path of an expert's file. Raises ModelError."""
    from dubbing import models

    if "/" in name or name.endswith((".pth", ".pt", ".safetensors")):
        return Path(name).expanduser()
    return models.path(name, configured=models_folder)


def pairwise(face_NCHW: Tensor, frames: int) -> Tensor:
    """Lower halves of pictures of any size as the expert takes them: (N / frames, 3 frames, 48, 96)."""
    lower = face_NCHW[:, :, face_NCHW.shape[2] // 2 :]
    if tuple(lower.shape[2:]) != (_SIDE // 2, _SIDE):
        lower = torch.nn.functional.interpolate(
            lower.float(), (_SIDE // 2, _SIDE), mode="bilinear", align_corners=False, antialias=True
        )
    return lower.unflatten(0, (-1, frames)).flatten(1, 2)
