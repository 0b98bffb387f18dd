"""SadTalker's PoseVAE: how a head moves while it says something, in the style of whom it was learnt from.

Zhang et al. (2023), section 3.2: 33 frames of a clip; the first one's pose is the reference, and an encoder brings how
the other 32 leave it, with their sound and the speaker's style, to a distribution, from which a decoder brings back the
motion. Mean squared error of the motion, the distribution's divergence from the normal one, and a discriminator of
motion by least squares. The encoder of sound is Wav2Lip's and stays as it is, where its weights are.

The released code computes the distribution's mean and the logarithm of its variance by one layer, though it has two;
here each has its own.

Axes: B clips, T = 32 frames, 6 numbers of a pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from dubbing.dataset.coefficients import Coefficients
from dubbing.dataset.linear_face import COUNT
from dubbing.networks.sadtalker.pose import BLOCK, PoseVAE
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike
from dubbing.train.recipes import sadtalker_common as common
from dubbing.train.state import State

__all__ = ["SadTalkerPose", "SadTalkerPoseSettings"]

_PART = "audio2pose"


class SadTalkerPoseSettings(common.CoefficientSettings):
    """`--set` of `dub train sadtalker_pose`."""

    error_weight: float = Field(1.0, ge=0, description="of the motion's mean squared error, over its spread's square")
    divergence_weight: float = Field(1e-3, ge=0, description="of the divergence from the normal distribution")
    judge_weight: float = Field(0.02, ge=0, description="of fooling the discriminator of motion; 0: without one")
    judge_rate: float = Field(1e-4, gt=0, description="of Adam, for the discriminator")


class SadTalkerPose(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "sadtalker_pose"
    summary = "SadTalker's PoseVAE: head motion from sound and chance, in 46 styles"
    monitor = "error"
    least_items = 2  # batch norms
    Settings = SadTalkerPoseSettings

    def networks(self, settings: SadTalkerPoseSettings) -> dict[str, nn.Module]:
        whole = PoseVAE()
        common.hear(whole.audio_encoder.audio_encoder, settings)
        judge = whole.netD_motion
        del whole.netD_motion
        last, spread = whole.netG.decoder.pose_linear, torch.from_numpy(self._held(settings).motion_6)
        with (
            torch.no_grad()
        ):  # what comes before it is about 0.5: begin near no motion, and as far from it as heads move
            last.weight.mul_(spread[:, None])
            last.bias.copy_(-0.5 * last.weight.sum(1))
        return {"generator": whole, "netD_motion": judge}

    def optimisers(self, settings: SadTalkerPoseSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        whole = networks["generator"]
        if settings.audio is not None:  # as published, what hears was learnt elsewhere, and stays
            whole.get_submodule("audio_encoder").requires_grad_(False)
        learns = [p for p in whole.parameters() if p.requires_grad]
        judge = networks["netD_motion"].parameters()
        return {
            "generator": Adam(learns, lr=settings.learning_rate, betas=(0.5, 0.999)),
            "netD_motion": Adam(judge, lr=settings.judge_rate, betas=(0.5, 0.999)),
        }

    def files(self, settings: SadTalkerPoseSettings) -> tuple[Path, ...]:
        return (*self._held(settings).files, *common.encoder_file(settings))

    def notes(self, settings: SadTalkerPoseSettings) -> tuple[str, ...]:
        hears = () if settings.audio else ("The encoder of sound learns along: no Wav2Lip network was named.",)
        return (*common.notes(self._held(settings)), *hears)

    def usable(self, sample: SampleLike, settings: SadTalkerPoseSettings) -> bool:
        return sample.frames > BLOCK and self._held(settings).has(sample.digest)

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: SadTalkerPoseSettings
    ) -> dict[str, np.ndarray]:
        """mels: float32 (32, 80, 16); reference: (6,); motion: (32, 6), from the reference; spread: (6,), how far each
        number moves within a clip; style: int64, of the speaker."""
        held = self._held(settings)
        first = int(rng.integers(sample.frames - BLOCK))
        clip = data.load(sample, first + 1, BLOCK, tail=common.TAIL)
        poses = held.of(sample.digest).values_N70[first : first + BLOCK + 1, COUNT:].astype(np.float32)
        return {
            "mels": common.heard(clip, first + 1, BLOCK),
            "reference": poses[0],
            "motion": poses[1:] - poses[0],
            "spread": np.maximum(held.motion_6, 1e-6).astype(np.float32),
            "style": np.array(held.style(sample.digest), np.int64),
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        settings: SadTalkerPoseSettings = state.settings
        made, mean, logarithm = self._made(batch, state, chance=True)
        spread = batch["spread"][:, None]
        error, divergence = _error(made, batch), _divergence(mean, logarithm)
        total = settings.error_weight * error + settings.divergence_weight * divergence
        found = {"error": error, "divergence": divergence}
        judge = state.networks["netD_motion"]
        if settings.judge_weight:
            with state.held("netD_motion"):
                with state.autocast():
                    verdict = judge(made / spread)
                fooled = (verdict.float() - 1).square().mean()
            total = total + settings.judge_weight * fooled
            found["fooled"] = fooled.detach()
        state.backward(total)
        state.update("generator")
        if settings.judge_weight:
            with state.autocast():
                real, drawn = judge(batch["motion"] / spread), judge((made / spread).detach())
            found["judged"] = ((real.float() - 1).square().mean() + drawn.float().square().mean()) / 2
            state.backward(found["judged"])
            state.update("netD_motion")
        return found

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """error: of the motion that comes back, over its spread's square; divergence; still: the error of a head that
        does not move; moved: how far heads move that come from chance alone, over how far real ones do (1: as far)."""
        made, mean, logarithm = self._made(batch, state, chance=False)
        drawn = self._decoded(self._heard(batch, state), torch.randn_like(mean), batch, state)
        spread = batch["spread"][:, None]
        far = [(motion / spread).std(1).mean() for motion in (drawn, batch["motion"])]
        still = _error(torch.zeros_like(made), batch)
        return {
            "error": _error(made, batch), "divergence": _divergence(mean, logarithm), "still": still,
            "moved": far[0] / far[1].clamp(min=1e-6),
        }  # fmt: skip

    def _made(self, batch: Batch, state: State, chance: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Motion (B, T, 6), and the distributions it came from (B, 64 each). chance: drawn, not their means."""
        heard = self._heard(batch, state)
        with state.autocast():
            mean, logarithm = state.networks["generator"].get_submodule("netG.encoder")(
                batch["motion"], heard, batch["reference"], batch["style"]
            )
        mean, logarithm = mean.float(), logarithm.float()
        z = mean + torch.randn_like(mean) * (0.5 * logarithm).exp() if chance else mean
        return self._decoded(heard, z, batch, state), mean, logarithm

    def _decoded(self, heard: Tensor, z: Tensor, batch: Batch, state: State) -> Tensor:
        decoder = state.networks["generator"].get_submodule("netG.decoder")
        with state.autocast():
            made: Tensor = decoder(heard, batch["reference"], batch["style"], z)
        return made.float()

    def _heard(self, batch: Batch, state: State) -> Tensor:
        """The sound of every frame as numbers, (B, T, 512)."""
        encoder = state.networks["generator"].get_submodule("audio_encoder")
        stays = state.settings.audio is not None
        if stays:
            encoder.eval()
        with state.autocast(), torch.set_grad_enabled(torch.is_grad_enabled() and not stays):
            flat: Tensor = encoder(batch["mels"].flatten(0, 1)[:, None])
        return flat.unflatten(0, batch["mels"].shape[:2])

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per clip: its six numbers over time as they were (grey) and as they came back (white)."""
        made = self._made(batch, state, chance=False)[0]
        far = 3 * batch["spread"][:, None]
        pairs = [(x / far)[:6].cpu().numpy() for x in (batch["motion"], made)]
        return np.concatenate([_curves(real, ours) for real, ours in zip(*pairs, strict=True)], 0)

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: SadTalkerPoseSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        whole = {"": networks["generator"], "netD_motion.": networks["netD_motion"]}
        return common.published(whole, _PART, self._held(settings)), f"{self.name}.pth"

    def use(self, file: Path, settings: SadTalkerPoseSettings) -> str:
        return common.use("pose_model", file, self._held(settings))

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        whole = nn.Module()
        whole.add_module("netG", networks["generator"].get_submodule("netG"))
        whole.add_module("audio_encoder", networks["generator"].get_submodule("audio_encoder"))
        whole.add_module("netD_motion", networks["netD_motion"])
        common.begin(whole, state, _PART, name)

    def _held(self, settings: SadTalkerPoseSettings) -> Coefficients:
        return common.coefficients_of(settings, self.name)


def _error(made: Tensor, batch: Batch) -> Tensor:
    return ((made - batch["motion"]) / batch["spread"][:, None]).square().mean()


def _divergence(mean: Tensor, logarithm: Tensor) -> Tensor:
    """Of normal distributions from the standard one, Kullback and Leibler's, the mean over a batch."""
    return 0.5 * (mean.square() + logarithm.exp() - logarithm - 1).sum(1).mean()


def _curves(real_T6: np.ndarray, made_T6: np.ndarray, side: int = 64) -> np.ndarray:
    """Six numbers over time side by side, -1..1 from bottom to top, uint8 BGR (64, 6 x 64, 3)."""
    picture = np.zeros((side, 6 * side, 3), np.uint8)
    for curves, colour in ((real_T6, (110, 110, 110)), (made_T6, (255, 255, 255))):
        for n in range(6):
            x = n * side + np.linspace(2, side - 3, len(curves))
            y = (0.5 - 0.48 * curves[:, n].clip(-1, 1)) * (side - 1)
            line = np.stack([x, y], 1).round().astype(np.int32)
            cv2.polylines(picture, [line], False, colour, 1, cv2.LINE_AA)
    return picture
