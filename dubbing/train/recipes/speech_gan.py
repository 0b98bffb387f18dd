"""The speech-driven temporal GAN: draw a whole talking face from one still and the sound.

Vougioukas, Petridis and Pantic (2018): sequences of up to 3 s, each drawn whole from a still of the clip and its own
sound; L1 on the lower half, weight 400; a discriminator of frames, which looks at some of each sequence's, and one of
sequences. Adam with betas of 0.5 and 0.999; 2e-3 for the encoders, the noise and the decoder, 2e-5 for both judges.
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

from dubbing.networks.speech_gan import inputs, losses
from dubbing.networks.speech_gan.judges import FrameJudge, SequenceJudge
from dubbing.networks.speech_gan.nets import NetworkShape, SpeechGANNet
from dubbing.train.losses import lips_mask
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.sheets import sheet
from dubbing.train.state import State

__all__ = ["SpeechGAN", "SpeechGANSettings"]

_TAIL = 2000 - inputs.TICK  # samples after the last frame that it still hears
_JUDGES = ("frames", "sequences")


class SpeechGANSettings(Settings):
    """`--set` of `dub train speech_gan`."""

    batch: int = Field(8, ge=1, description="sequences a step, over all processes together")
    ticks: int = Field(50, ge=1, le=750, description="frames of a sequence, 25 a second; clips must be as long")
    width: int = Field(64, ge=4, le=256, description="channels of the first layers, from which the others follow")
    audio: int = Field(256, ge=4, le=2048, description="numbers that a frame's sound becomes")
    learning_rate: float = Field(losses.GENERATOR_LR, gt=0, description="of Adam, for all that draws")
    judges_rate: float = Field(losses.JUDGE_LR, gt=0, description="of Adam, for both discriminators")
    l1_weight: float = Field(losses.L1_WEIGHT, ge=0, description="of L1 on the lower half; each judge's is 1")
    looked_at: int = Field(8, ge=1, description="frames of a sequence that the discriminator of frames looks at")


class SpeechGAN(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "speech_gan"
    summary = "the speech-driven temporal GAN: a talking face from one still, 128x96"
    monitor = "l1"
    Settings = SpeechGANSettings

    def networks(self, settings: SpeechGANSettings) -> dict[str, nn.Module]:
        plan = NetworkShape(settings.width, settings.audio)
        return {"generator": SpeechGANNet(plan), "frames": FrameJudge(plan), "sequences": SequenceJudge(plan)}

    def optimisers(self, settings: SpeechGANSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        rates = {name: settings.judges_rate if name in _JUDGES else settings.learning_rate for name in networks}
        return {name: Adam(net.parameters(), lr=rates[name], betas=(0.5, 0.999)) for name, net in networks.items()}

    def usable(self, sample: SampleLike, settings: SpeechGANSettings) -> bool:
        return sample.frames >= settings.ticks

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: SpeechGANSettings
    ) -> dict[str, np.ndarray]:
        """real: uint8 (T, 128, 96, 3); still: (128, 96, 3), any frame of the clip; mfcc: float32 (T, 1, 13, 20);
        noise: (T, 10); lips: (T, 4); looked_at: int64, which frames the discriminator of frames sees."""
        ticks = settings.ticks
        first, other = int(rng.integers(sample.frames - ticks + 1)), int(rng.integers(sample.frames))
        clip = data.load(sample, first, ticks, tail=_TAIL)
        looked_at = rng.permutation(ticks)[: settings.looked_at]
        return {
            "real": _sized(clip.faces_NHWC),
            "still": _sized(data.load(sample, other, 1).faces_NHWC)[0],
            "mfcc": inputs.windows(clip.wave, clip.lead, ticks),
            "noise": inputs.noise(rng, ticks),
            "lips": clip.lips_N4,
            "looked_at": looked_at.astype(np.int64),
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        real, still, made = self._made(batch, state)
        frames, sequences = (state.networks[name] for name in _JUDGES)
        stills = still.repeat_interleave(batch["looked_at"].shape[1], 0)
        seen, drawn = _chosen(real, batch["looked_at"]), _chosen(made, batch["looked_at"])
        l1 = losses.lower_l1(made, real)
        with state.held(*_JUDGES):
            with state.autocast():
                judged = frames(stills, drawn), sequences(made, batch["mfcc"])
            total = losses.generator_loss(l1, judged[0].float(), judged[1].float(), state.settings.l1_weight)
            state.backward(total)
            state.update("generator")
        told = {}
        for name, judge, of_real, of_made in (
            ("frames", frames, (stills, seen), (stills, drawn.detach())),
            ("sequences", sequences, (real, batch["mfcc"]), (made.detach(), batch["mfcc"])),
        ):
            with state.autocast():
                logits = judge(*of_real), judge(*of_made)
            told[name] = losses.judging(logits[0].float(), logits[1].float())
            state.backward(told[name])
            state.update(name)
        fooled = {f"fooled_{n}": losses.fooling(x.detach().float()) for n, x in zip(_JUDGES, judged, strict=True)}
        return {"l1": l1, **fooled, **told}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """l1: of the lower half; lips: L1 inside the lips' boxes; still: L1 of the still itself, which says nothing."""
        real, still, made = self._made(batch, state)
        mask = lips_mask(batch["lips"].flatten(0, 1), *inputs.PICTURE_HW)
        apart = ((made - real).abs().flatten(0, 1).mean(1, keepdim=True) * mask).sum() / mask.sum().clamp(min=1)
        return {"l1": losses.lower_l1(made, real), "lips": apart,
                "still": losses.lower_l1(still[:, None].expand_as(real), real)}  # fmt: skip

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per sequence: the still, then what is drawn and the truth at four moments."""
        real, still, made = self._made({key: value[:6] for key, value in batch.items()}, state)
        moments = np.linspace(0, real.shape[1] - 1, 4).round().astype(int)
        return sheet([still, *(x[:, n] for n in moments for x in (made, real))])

    def _made(self, batch: Batch, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """True sequences (B, T, 3, 128, 96), stills (B, 3, 128, 96) and drawn sequences, 0..1, float32."""
        real, still = (batch[key].movedim(-1, -3).float() / 255 for key in ("real", "still"))
        with state.autocast():
            made = state.networks["generator"](still, batch["mfcc"], batch["noise"])
        return real, still, made.float()

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: SpeechGANSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        state = {k: v.detach().cpu().clone() for k, v in networks["generator"].state_dict().items()}
        sizes = {"width": settings.width, "audio": settings.audio}
        return {"state_dict": state, "model": self.name, "settings": sizes}, f"{self.name}.pth"

    def use(self, file: Path, settings: SpeechGANSettings) -> str:
        return f"generator: {{name: {self.name}, model: {file.absolute()}}}"


def _sized(faces_NHWC: np.ndarray) -> np.ndarray:
    """Square face pictures as the network's, uint8 (N, 128, 96, 3): the box was no square, nor is this."""
    height, width = inputs.PICTURE_HW
    how = cv2.INTER_AREA if faces_NHWC.shape[1] >= height else cv2.INTER_CUBIC
    return np.stack([cv2.resize(face, (width, height), interpolation=how) for face in faces_NHWC])


def _chosen(frames_BT3HW: Tensor, which_BJ: Tensor) -> Tensor:
    """Some frames of each sequence, (B J, 3, H, W)."""
    rows = torch.arange(len(which_BJ), device=which_BJ.device)[:, None]
    return frames_BT3HW[rows, which_BJ].flatten(0, 1)
