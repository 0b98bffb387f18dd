"""Wav2Lip's generator: draw the lower half of a face so that it fits the sound.

Prajwal et al. (2020), section 3, and their trainers: five frames with the lower half black, five whole frames of
another moment of the clip beside them, each with its own mel window (which begins a frame early); L1 to the truth;
a frozen expert's sync loss, switched on once it falls under 0.75 on held-out speakers; optionally a discriminator of
visual quality. The weights add up to one. Adam, 1e-4, 16 clips a step; with the discriminator betas of 0.5 and 0.999.
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

from dubbing.errors import InputError
from dubbing.networks.wav2lip import Wav2LipNet, plan_for
from dubbing.networks.wav2lip_quality import QualityDiscriminator
from dubbing.train import losses, windows
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.recipes.wav2lip_expert import expert_file, load_expert, pairwise
from dubbing.train.sheets import sheet
from dubbing.train.state import State

__all__ = ["Wav2Lip", "Wav2LipSettings"]

_AHEAD = 3  # frames after the window that its last mel window reaches


class Wav2LipSettings(Settings):
    """`--set` of `dub train wav2lip`."""

    batch: int = Field(16, ge=1, description="clips a step, five frames each, over all processes together")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam, for both networks")
    size: int = Field(96, ge=9, le=768, description="side of the pictures: 96 as published, 129 to 192, 257 to 384")
    width: float = Field(1.0, gt=0, le=2, description="of the published numbers of channels")
    expert: str | None = Field(
        None, description="the sync expert: a file of `dub train wav2lip_expert`, or `wav2lip_color` of `dub models`"
    )
    sync_weight: float = Field(0.03, ge=0, lt=1, description="of the expert's loss once it is on; 0: no expert")
    sync_below: float = Field(0.75, description="held-out sync loss under which the expert's loss is switched on")
    quality_weight: float = Field(
        0.0, ge=0, lt=1, description="of the discriminator of visual quality; 0.07 as published; 0: none"
    )
    lip_weight: float = Field(1.0, ge=1, le=100, description="how often a pixel of the lips' box counts in L1")
    rotation_deg: float = Field(
        0.0, ge=0, le=60, description="clips are turned in the picture's plane by up to so much"
    )


class Wav2Lip(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "wav2lip"
    summary = "Wav2Lip's generator, 96 pixels or larger"
    monitor = "objective"
    Settings = Wav2LipSettings

    def networks(self, settings: Wav2LipSettings) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"generator": self.generator(settings)}
        if settings.quality_weight:
            found["quality"] = QualityDiscriminator(settings.size, settings.width)
        return found

    def generator(self, settings: Wav2LipSettings) -> nn.Module:
        """The network that `dub run` will use."""
        return Wav2LipNet(plan_for(settings.size, settings.width))

    def optimisers(self, settings: Wav2LipSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        betas = (0.5 if settings.quality_weight else 0.9, 0.999)
        return {name: Adam(net.parameters(), lr=settings.learning_rate, betas=betas) for name, net in networks.items()}

    def files(self, settings: Wav2LipSettings) -> tuple[Path, ...]:
        if not settings.sync_weight:
            return ()
        if settings.expert is None:
            raise InputError(
                f"{self.name} learns from a sync expert: --set expert=FILE (of `dub train wav2lip_expert`), --set "
                "expert=wav2lip_color (of `dub models`), or --set sync_weight=0 to train without one."
            )
        path = expert_file(settings.expert)
        if not path.is_file():
            raise InputError(f"There is no expert {str(path)!r}; `dub train wav2lip_expert` makes one.")
        return (path,)

    def frozen(self, settings: Wav2LipSettings) -> dict[str, nn.Module]:
        return {"expert": load_expert(str(files[0]))[0]} if (files := self.files(settings)) else {}

    def memory(self, settings: Wav2LipSettings) -> dict[str, float]:
        return {"sync_weight": 0.0}

    def usable(self, sample: SampleLike, settings: Wav2LipSettings) -> bool:
        return sample.frames > 3 * windows.WINDOW

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: Wav2LipSettings
    ) -> dict[str, np.ndarray]:
        """real, reference: uint8 (5, S, S, 3); lips: (5, 4); mels: float32 (5, 80, 16), a frame's own; mel: (1, 80,
        16), the window's."""
        first = 1 + int(rng.integers(sample.frames - windows.WINDOW - _AHEAD))
        other = windows.other_than(first, sample.frames - windows.WINDOW + 1, rng)
        clip = data.load(sample, first, windows.WINDOW, tail=_AHEAD * 640 + windows.TAIL)
        lean = float(rng.uniform(-settings.rotation_deg, settings.rotation_deg)) if settings.rotation_deg else 0.0
        real, lips = windows.leaned(windows.sized(clip.faces_NHWC, settings.size), clip.lips_N4, lean)
        others = data.load(sample, other, windows.WINDOW)
        reference, _ = windows.leaned(windows.sized(others.faces_NHWC, settings.size), others.lips_N4, lean)
        mels = windows.mel_windows(clip, first, [*range(first - 1, first - 1 + windows.WINDOW), first])
        return {
            "real": real,
            "reference": reference,
            "lips": lips,
            "mels": mels[:-1],
            "mel": mels[-1:],
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        settings: Wav2LipSettings = state.settings
        real, made = self._made(batch, state)
        l1 = losses.l1(made, real, batch["lips"].flatten(0, 1), settings.lip_weight)
        found = {"l1": l1}
        weight, sync_weight = settings.quality_weight, state.memory["sync_weight"]
        total = (1 - weight - sync_weight) * l1
        if sync_weight:
            sync = self._sync(made, batch, state)
            found["sync"] = sync
            total = total + sync_weight * sync
        if not weight:
            state.backward(total)
            state.update("generator")
            return found
        quality = state.networks["quality"]
        with state.held("quality"):
            with state.autocast():
                logits = quality(made)
            fooled = losses.against(logits, real=True)
            state.backward(total + weight * fooled)
            state.update("generator")
        with state.autocast():
            on_real, on_made = quality(real), quality(made.detach())
        seen, caught = losses.against(on_real, real=True), losses.against(on_made, real=False)
        state.backward(seen + caught)
        state.update("quality")
        return {**found, "perceptual": fooled, "real": seen, "made": caught}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """l1; lips: L1 inside the lips' boxes; sync: the expert's loss; objective: their weighted sum."""
        real, made = self._made(batch, state)
        lips = batch["lips"].flatten(0, 1)
        l1, mask = losses.l1(made, real, lips, state.settings.lip_weight), losses.lips_mask(lips, *made.shape[2:])
        apart = ((made.float() - real).abs().mean(1, keepdim=True) * mask).sum() / mask.sum().clamp(min=1)
        found = {"l1": l1, "lips": apart, "objective": l1}
        if "expert" in state.frozen:
            weight = state.settings.sync_weight
            found["sync"] = self._sync(made, batch, state)
            found["objective"] = (1 - weight) * found["l1"] + weight * found["sync"]
        return found

    def on_validation_end(self, numbers: Mapping[str, float], state: State) -> None:
        if numbers.get("sync", np.inf) < state.settings.sync_below:
            state.memory["sync_weight"] = state.settings.sync_weight

    def _made(self, batch: Batch, state: State) -> tuple[Tensor, Tensor]:
        """The true pictures and the drawn ones, (clips x 5, 3, S, S), 0..1."""
        real = windows.pictures(batch["real"])
        face = torch.cat([windows.masked(real), windows.pictures(batch["reference"])], 1)
        with state.autocast():
            made = state.networks["generator"](batch["mels"].flatten(0, 1)[:, None], face)
        return real, made.float()

    def _sync(self, made: Tensor, batch: Batch, state: State) -> Tensor:
        with state.autocast():
            sound, seen = state.frozen["expert"](batch["mel"], pairwise(made, windows.WINDOW))
        return losses.agreement(sound, seen, torch.ones(len(sound), device=made.device))[0]

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per clip: what it sees, the other moment, what it draws, the truth."""
        few = {key: value[:6] for key, value in batch.items()}
        real, made = self._made(few, state)
        reference = windows.pictures(few["reference"])
        return sheet([x[:: windows.WINDOW] for x in (windows.masked(real), reference, made, real)])

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: Wav2LipSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        state = {f"module.{k}": v.detach().cpu().clone() for k, v in networks["generator"].state_dict().items()}
        return {"state_dict": state}, f"{self.name}.pth"

    def use(self, file: Path, settings: Wav2LipSettings) -> str:
        size = "" if plan_for(settings.size).span()[1] == settings.size else f", size: {settings.size}"
        return f"generator: {{name: {self.name}, model: {file.absolute()}{size}, alignment: training}}"
