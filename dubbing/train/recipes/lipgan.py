"""LipGAN: draw the lower half of a face so that it fits the sound, against a discriminator of face and sound.

Prajwal et al. (2019), section 3, and their trainer: one frame with its lower half black beside another of the clip at
least 6 frames away, and the 0.35 s of cepstra in whose middle the frame lies; L1 to the truth plus 0.01 of the
contrastive loss. The discriminator learns twice a step: true pairs have distance 0; drawn faces or, at random,
true faces with another clip's sound have distance 1. Adam, 1e-4, 96 frames a step. Drawn faces come from the
generator's own training step, where the published trainer draws them anew with running statistics.
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

from dubbing import models
from dubbing.networks import lipgan_mfcc
from dubbing.networks.lipgan import SIZE_PX, DiscriminatorNet, Kind, LipGANNet, contrastive
from dubbing.train import losses, windows
from dubbing.train.recipe import Batch, ClipLike, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.sheets import sheet
from dubbing.train.state import State

__all__ = ["LipGAN", "LipGANSettings"]

_BEFORE, _AFTER = 4, 5  # frames that a frame's window reaches to both sides
_APART = 6  # frames between the two pictures, at least
_PER_FRAME = 640
# Samples that a window hears after its frame's own.
_TAIL = (lipgan_mfcc.COLUMNS - 1) * lipgan_mfcc.HOP + lipgan_mfcc.SIZE - (_BEFORE + 1) * _PER_FRAME
_ROLL = 10  # how far a batch's sounds are moved for pairs that do not belong together


class LipGANSettings(Settings):
    """`--set` of `dub train lipgan`."""

    batch: int = Field(96, ge=2, description="frames a step, each of another clip, over all processes together")
    kind: Kind = Field("residual", description="which generator: the one of the paper's results, or the smaller one")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam, for both networks")
    contrastive_weight: float = Field(0.01, ge=0, description="of the discriminator's loss; 0: no discriminator")
    lip_weight: float = Field(1.0, ge=1, le=100, description="how often a pixel of the lips' box counts in L1")


class LipGAN(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "lipgan"
    summary = "LipGAN's generator, basic or residual, with its discriminator"
    monitor = "objective"
    least_items = 2  # its embeddings are 1x1: a batch norm of one item has no variance
    Settings = LipGANSettings

    def networks(self, settings: LipGANSettings) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"generator": LipGANNet(settings.kind)}
        if settings.contrastive_weight:
            found["discriminator"] = DiscriminatorNet()
        return found

    def optimisers(self, settings: LipGANSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        return {name: Adam(net.parameters(), lr=settings.learning_rate) for name, net in networks.items()}

    def usable(self, sample: SampleLike, settings: LipGANSettings) -> bool:
        return sample.frames >= 2 * _APART

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: LipGANSettings
    ) -> dict[str, np.ndarray]:
        """real, reference: uint8 (S, S, 3); lips: (4,); mfcc: float32 (1, 12, 35)."""
        frame = int(rng.integers(_BEFORE, sample.frames - _AFTER))
        other = windows.other_than(frame, sample.frames, rng, _APART)
        clip = data.load(sample, frame, 1, tail=_TAIL)
        return {
            "real": windows.sized(clip.faces_NHWC, SIZE_PX)[0],
            "reference": windows.sized(data.load(sample, other, 1).faces_NHWC, SIZE_PX)[0],
            "lips": clip.lips_N4[0],
            "mfcc": _window(clip, frame),
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        settings: LipGANSettings = state.settings
        real, made = self._made(batch, state)
        l1 = losses.l1(made, real, batch["lips"], settings.lip_weight)
        if not settings.contrastive_weight:
            state.backward(l1)
            state.update("generator")
            return {"l1": l1}
        found = self._teach(batch["mfcc"], real, made.detach(), state)
        judge = state.networks["discriminator"]
        with state.held("discriminator"):
            fooled = contrastive(distance := judge(batch["mfcc"], made), torch.zeros_like(distance))
            state.backward(l1 + settings.contrastive_weight * fooled)
            state.update("generator")
        return {"l1": l1, "contrastive": fooled, **found}

    def _teach(self, mfcc: Tensor, real: Tensor, made: Tensor, state: State) -> dict[str, Tensor]:
        """The discriminator's two lessons of a step. In float32: its norms divide by what half precision rounds off."""
        judge = state.networks["discriminator"]
        if np.random.default_rng((state.settings.seed, state.step)).integers(2):
            name, apart = "made", judge(mfcc, made)
        else:
            name, apart = "unsynced", judge(mfcc.roll(1 + (_ROLL - 1) % max(1, len(mfcc) - 1), 0), real)
        wrong = contrastive(apart, torch.ones_like(apart))
        state.backward(wrong)
        state.update("discriminator")
        near = judge(mfcc, real)
        right = contrastive(near, torch.zeros_like(near))
        state.backward(right)
        state.update("discriminator")
        return {name: wrong, "synced": right}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """l1; lips: L1 inside the lips' boxes; distance, true_distance: of what was drawn, and of the truth, from its
        sound; objective: the generator's loss."""
        settings: LipGANSettings = state.settings
        real, made = self._made(batch, state)
        l1 = losses.l1(made, real, batch["lips"], settings.lip_weight)
        mask = losses.lips_mask(batch["lips"], *made.shape[2:])
        lips = ((made - real).abs().mean(1, keepdim=True) * mask).sum() / mask.sum().clamp(min=1)
        found: dict[str, float | Tensor] = {"l1": l1, "lips": lips, "objective": l1}
        if "discriminator" in state.networks:
            judge = state.networks["discriminator"]
            distance, true = judge(batch["mfcc"], made), judge(batch["mfcc"], real)
            found["objective"] = l1 + settings.contrastive_weight * distance.square().mean()
            found["distance"], found["true_distance"] = distance.mean(), true.mean()
        return found

    def _made(self, batch: Batch, state: State) -> tuple[Tensor, Tensor]:
        """The true pictures and the drawn ones, (N, 3, S, S), 0..1."""
        real, reference = (windows.pictures(batch[name]) for name in ("real", "reference"))
        with state.autocast():
            made = state.networks["generator"](batch["mfcc"], torch.cat([reference, windows.masked(real)], 1))
        return real, made.float()

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per frame: what it sees of it, the other moment, what it draws, the truth."""
        few = {key: value[:6] for key, value in batch.items()}
        real, made = self._made(few, state)
        return sheet([windows.masked(real), windows.pictures(few["reference"]), made, real])

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: LipGANSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        state = {key: value.detach().cpu().clone() for key, value in networks["generator"].state_dict().items()}
        return {"state_dict": state}, "lipgan.pth"

    def use(self, file: Path, settings: LipGANSettings) -> str:
        return f"generator: {{name: lipgan, model: {file.absolute()}}}"

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        models.fit_layers(networks["generator"], state, name)


def _window(clip: ClipLike, frame: int) -> np.ndarray:
    """The cepstra (1, 12, 35) in whose middle a frame lies; `clip` is that frame with the sound around it."""
    begins = frame * _PER_FRAME - clip.lead  # of the stretch's sound, in samples of the clip
    cut = -begins % lipgan_mfcc.HOP
    columns = lipgan_mfcc.mfcc(clip.wave[cut:])
    start = (frame - _BEFORE) * (_PER_FRAME // lipgan_mfcc.HOP) - (begins + cut) // lipgan_mfcc.HOP
    return lipgan_mfcc.windows(columns, np.array([start]))[0]
