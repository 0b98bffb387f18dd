"""SadTalker's ExpNet: the expression of a face from its sound, the expression it begins with, and a blink.

Zhang et al. (2023), section 3.1: a few frames of a clip at a time; the coefficients are distilled from those of lips
alone, which a Wav2Lip network drew on the clip's first frame; the points of the face that they make are held to those
of the distilled ones, and its eyes to as far open as the blink asks for. The paper's fourth loss, of a lip-reading
network that watches the rendered face, is left out: it needs such a network's weights. Without a teacher the lips are
the clip's own: what its lower face does, added to the expression it begins with.

Axes: B clips, T frames of each, K = 64 coefficients, P points.
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
from dubbing.dataset.linear_face import COUNT, LinearFace
from dubbing.face import INNER_LIPS, JAW, LIPS
from dubbing.networks.sadtalker.expression import ExpNet
from dubbing.train import windows
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike
from dubbing.train.recipes import sadtalker_common as common
from dubbing.train.state import State

__all__ = ["POINTS", "Points", "SadTalkerExp", "SadTalkerExpSettings"]

_CORNERS = (33, 133, 362, 263)  # of both eyes
_LIDS = ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))  # pairs across the opening
_PART = "audio2exp"
_BLINKS = 0.5  # of the items ask for a blink
POINTS = (*LIPS, *JAW, *_CORNERS, *(n for pair in _LIDS for n in pair))
"""The mesh points that the losses look at: lips, jaw, the eyes' corners, then the lids."""
_LIPS, _EYES, _FACE = len(LIPS), len(LIPS) + len(JAW), len(LIPS) + len(JAW) + len(_CORNERS)


class Points(nn.Module):
    """The points of a face that coefficients move. forward: coefficients (N, 64) and the rest of the face (N, P, 3), in
    inter-ocular distances; gives the points (N, P, 3)."""

    basis: Tensor

    def __init__(self, face: LinearFace) -> None:
        super().__init__()
        self.register_buffer("basis", torch.from_numpy(face.basis_KP3[:, list(POINTS)].copy()))

    def forward(self, coefficients: Tensor, rest: Tensor) -> Tensor:
        return rest + torch.einsum("nk,kpx->npx", coefficients, self.basis)

    @staticmethod
    def openness(points: Tensor, still: Tensor) -> Tensor:
        """How far each eye is open, (N, 2), in parts of its width in the still's points."""
        lids, corners = points[:, _FACE:].unflatten(1, (2, 3, 2)), still[:, _EYES:_FACE].unflatten(1, (2, 2))
        across = (corners[:, :, 0] - corners[:, :, 1]).norm(dim=-1)
        return (lids[:, :, :, 0] - lids[:, :, :, 1]).norm(dim=-1).mean(2) / across.clamp(min=1e-3)


class SadTalkerExpSettings(common.CoefficientSettings):
    """`--set` of `dub train sadtalker_exp`."""

    frames: int = Field(5, ge=1, le=125, description="frames of a clip in an item, 25 a second")
    distill_weight: float = Field(2.0, ge=0, description="of the coefficients' mean squared error")
    points_weight: float = Field(
        10.0, ge=0, description="of the mean distance of lips, jaw and eyes' corners, in inter-ocular ones"
    )
    eyes_weight: float = Field(5.0, ge=0, description="of how much further open or shut the eyes are than asked for")


class SadTalkerExp(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "sadtalker_exp"
    summary = "SadTalker's ExpNet: expressions from sound"
    monitor = "lips"
    least_items = 2  # the encoder's last layers see one value an item
    Settings = SadTalkerExpSettings

    def networks(self, settings: SadTalkerExpSettings) -> dict[str, nn.Module]:
        net = ExpNet()
        common.hear(net.audio_encoder, settings)
        return {"generator": net}

    def optimisers(self, settings: SadTalkerExpSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        return {"generator": Adam(networks["generator"].parameters(), lr=settings.learning_rate)}

    def frozen(self, settings: SadTalkerExpSettings) -> dict[str, nn.Module]:
        return {"points": Points(self._held(settings).face)}

    def files(self, settings: SadTalkerExpSettings) -> tuple[Path, ...]:
        return (*self._held(settings).files, *common.encoder_file(settings))

    def notes(self, settings: SadTalkerExpSettings) -> tuple[str, ...]:
        held = self._held(settings)
        lips = () if held.taught else ("No teacher drew these lips: they are the clips' own.",)
        read = "The lip-reading loss of the paper is left out: there are no weights of a lip-reading network."
        return (*common.notes(held), *lips, read)

    def usable(self, sample: SampleLike, settings: SadTalkerExpSettings) -> bool:
        return sample.frames > settings.frames and self._held(settings).has(sample.digest)

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: SadTalkerExpSettings
    ) -> dict[str, np.ndarray]:
        """mels: float32 (T, 80, 16); still: (64,), the expression it begins with; wanted: (T, 64), that with the lips
        of the sound; ratio: (T, 1), how far the lids shall be down, 0..1; rest: (P, 3), the face without expression."""
        held, count = self._held(settings), settings.frames
        row = held.of(sample.digest)
        first = int(rng.integers(sample.frames - count + 1))
        begins = 0 if held.taught else windows.other_than(first, sample.frames, rng)
        clip = data.load(sample, first, count, tail=common.TAIL)
        asked = rng.uniform(0, 1, (count, 1)) if rng.uniform() < _BLINKS else np.zeros((count, 1))
        still = row.values_N70[begins, :COUNT]
        if row.taught_N64 is not None:
            wanted = row.taught_N64[first : first + count]
        else:
            wanted = still + (row.values_N70[first : first + count, :COUNT] - still) @ held.lower
        return {
            "mels": common.heard(clip, first, count),
            "still": still.astype(np.float32),
            "wanted": wanted.astype(np.float32),
            "ratio": asked.astype(np.float32),
            "rest": row.rest_P3[list(POINTS)].astype(np.float32),
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        found = self._losses(batch, state)
        settings: SadTalkerExpSettings = state.settings
        state.backward(
            settings.distill_weight * found["distilled"] + settings.points_weight * found["points"]
            + settings.eyes_weight * found["eyes"]
        )  # fmt: skip
        state.update("generator")
        return {name: found[name] for name in ("distilled", "points", "eyes")}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """distilled, points, eyes: the losses; lips: the mean distance of the lips' points alone, in inter-ocular
        distances; still: the same of a face that keeps the expression it begins with."""
        return self._losses(batch, state)

    def _losses(self, batch: Batch, state: State) -> dict[str, Tensor]:
        made, points, wanted, still = self._made(batch, state)
        shut = 1 - batch["ratio"].flatten(0, 1)
        eyes = Points.openness(points, still) - shut * Points.openness(still, still)
        return {
            "distilled": (made - batch["wanted"].flatten(0, 1)).square().mean(),
            "points": (points - wanted)[:, :_FACE].norm(dim=-1).mean(),
            "eyes": eyes.abs().mean(),
            "lips": (points - wanted)[:, :_LIPS].norm(dim=-1).mean(),
            "still": (still - wanted)[:, :_LIPS].norm(dim=-1).mean(),
        }

    def _made(self, batch: Batch, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Expressions (B T, 64), and the points (B T, P, 3) of these, of those that are wanted, and of the stills."""
        count = batch["mels"].shape[1]
        still, rest = (batch[name].repeat_interleave(count, 0) for name in ("still", "rest"))
        with state.autocast():
            made = state.networks["generator"](
                batch["mels"].flatten(0, 1)[:, None], still, batch["ratio"].flatten(0, 1)
            )
        made, points = made.float(), state.frozen["points"]
        return made, points(made, rest), points(batch["wanted"].flatten(0, 1), rest), points(still, rest)

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per clip, of its middle frame: the still's points, what is made, what is wanted."""
        _, made, wanted, still = self._made({key: value[:6] for key, value in batch.items()}, state)
        count = batch["mels"].shape[1]
        rows = [
            np.concatenate(
                [_drawn(points[n * count + count // 2].cpu().numpy()) for points in (still, made, wanted)], 1
            )
            for n in range(len(made) // count)
        ]
        return np.concatenate(rows, 0)

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: SadTalkerExpSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        held = self._held(settings)
        return common.published({"": networks["generator"]}, _PART, held), f"{self.name}.pth"

    def use(self, file: Path, settings: SadTalkerExpSettings) -> str:
        return common.use("exp_model", file, self._held(settings))

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        common.begin(networks["generator"], state, _PART, name)

    def _held(self, settings: SadTalkerExpSettings) -> Coefficients:
        return common.coefficients_of(settings, self.name)


def _drawn(points_P3: np.ndarray, side: int = 192) -> np.ndarray:
    """Points seen from the front, lips white, jaw grey, eyes blue; uint8 BGR (side, side, 3)."""
    picture = np.zeros((side, side, 3), np.uint8)
    at = (points_P3[:, :2] * side * 0.4 + (side / 2, side * 0.3)).round().astype(int)
    inner = set(range(_LIPS - len(INNER_LIPS), _LIPS))
    for n, (x, y) in enumerate(at):
        colour = (255, 255, 255) if n in inner else (120, 120, 255) if n < _LIPS else (90, 90, 90)
        cv2.circle(picture, (int(x), int(y)), 1, colour if n < _FACE else (255, 160, 60), -1)
    return picture
