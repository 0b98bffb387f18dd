"""MuseTalk fine-tuned on one title's own dialogue: pairs of narrow matrices beside the attention of its UNet.

Zhang et al. 2024; Hu et al. 2022. A frame's face with the lower half black, another frame's face whole, and what the
frame hears; in one step the UNet says the frame's latents. L1 of the latents and of the picture that the autoencoder
makes of them, inside the lips' box more. Autoencoder, hearing and UNet stay as they were published; what is learnt is
some thousandths of their size. Latents are the autoencoder's means, as `generator: musetalk` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from dubbing import generators
from dubbing.dataset.faces import MUSETALK
from dubbing.dataset.shards import FPS, PER_FRAME, RATE_HZ
from dubbing.errors import InputError, ModelError
from dubbing.generators import adapters
from dubbing.generators import musetalk as generator
from dubbing.networks import whisper_mel, whisper_states
from dubbing.networks.diffusion import autoencoder, lora
from dubbing.networks.musetalk.run import LEAST, MuseTalkNet, masked, positions
from dubbing.train import losses, windows
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.sheets import sheet
from dubbing.train.state import State

__all__ = ["MuseTalk", "MuseTalkSettings"]

_APART = 6  # frames between a frame and the other one that is shown
_PIECE_FRAMES = whisper_mel.PIECE // PER_FRAME  # the encoder hears 30 s at once


class MuseTalkSettings(Settings):
    """`--set` of `dub train musetalk`."""

    batch: int = Field(4, ge=1, description="frames a step, over all processes together")
    learning_rate: float = Field(1e-4, gt=0, description="of AdamW")
    rank: int = Field(8, ge=1, le=128, description="of the pairs: how narrow they are")
    size: int = Field(256, ge=LEAST, le=512, multiple_of=64, description="side of the pictures")
    latent_weight: float = Field(1.0, ge=0, description="of L1 in latents")
    picture_weight: float = Field(1.0, ge=0, description="of L1 in the drawn lower half; 0: nothing is drawn")
    lip_weight: float = Field(4.0, ge=1, le=100, description="how often a pixel of the lips' box counts in that")
    model: str = Field("musetalk_v15_unet", description="the UNet: a name among `dub models`, or a file")
    vae: str = Field("sd_vae_ft_mse", description="the autoencoder: the same")
    hearing: str = Field("whisper_tiny_hf", description="whisper's encoder: the same")


class MuseTalk(Recipe):
    """See `dubbing.train.recipe.Recipe`."""

    name = "musetalk"
    summary = "MuseTalk's attention, on one title's own dialogue"
    monitor = "objective"
    of_title = True
    crop = MUSETALK
    Settings = MuseTalkSettings

    # -- what is trained ---------------------------------------------------------------------

    def files(self, settings: MuseTalkSettings) -> tuple[Path, ...]:
        return tuple(self._drawn_by(settings).paths.values())

    def networks(self, settings: MuseTalkSettings) -> dict[str, nn.Module]:
        shapes = {key: tuple(value.shape) for key, value in self._base(settings).unet.state_dict().items()}
        return {"pairs": lora.Pairs(lora.attention(shapes), settings.rank)}

    def frozen(self, settings: MuseTalkSettings) -> dict[str, nn.Module]:
        return {"base": self._base(settings)}

    def optimisers(self, settings: MuseTalkSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        return {"pairs": AdamW(networks["pairs"].parameters(), lr=settings.learning_rate, weight_decay=0.01)}

    def initial_state(self, settings: Any, device: Any = "cpu", world: Any = None) -> State:
        """As of any recipe; the UNet acts with the pairs from then on."""
        state = super().initial_state(settings, device, world)
        pairs, base = state.networks["pairs"], state.frozen["base"]
        assert isinstance(pairs, lora.Pairs) and isinstance(base, MuseTalkNet)
        lora.attach(base.unet, pairs)
        return state

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        """Go on from an earlier adapter."""
        pairs = networks["pairs"]
        assert isinstance(pairs, lora.Pairs)
        try:
            pairs.begin(state)
        except ValueError as e:
            raise ModelError(f"{name} is no adapter of this UNet and rank: {e}.") from e

    @staticmethod
    def _drawn_by(settings: MuseTalkSettings) -> generator.MuseTalk:
        """The generator that will use what is learnt, as it is without. Raises ManifestError, ModelError,
        PluginError."""
        said = {"model": settings.model, "vae": settings.vae, "hearing": settings.hearing, "size": settings.size}
        made = generators.create("musetalk", {**said, adapters.KEY: adapters.OFF}, device="cpu")
        assert isinstance(made, generator.MuseTalk)
        return made

    @lru_cache(maxsize=1)  # noqa: B019 - a recipe lives as long as its run
    def _base(self, settings: MuseTalkSettings) -> MuseTalkNet:
        return self._drawn_by(settings).loaded()

    # -- items -------------------------------------------------------------------------------

    def look_at(self, data: Data, settings: MuseTalkSettings) -> None:
        crop = getattr(data, "metadata", {}).get("crop")
        if crop != MUSETALK:
            raise InputError(
                f"musetalk learns from faces that are cut as it sees them, and these data are cut {crop or 'otherwise'}"
                f"; `dub dataset prepare OUT --title TITLE --crop {MUSETALK} --size 256 --out DIR` makes such."
            )

    def usable(self, sample: SampleLike, settings: MuseTalkSettings) -> bool:
        return 2 * _APART < sample.frames < _PIECE_FRAMES - RATE_HZ // PER_FRAME

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: MuseTalkSettings
    ) -> dict[str, np.ndarray]:
        """real, reference: uint8 (1, S, S, 3); lips: (1, 4); mel: float32 (3000, 80), the whole clip's; rows: int64
        (10,), what the frame hears of it, -1 for nothing."""
        at = int(rng.integers(sample.frames))
        other = windows.other_than(at, sample.frames, rng, apart=_APART)
        whole = data.load(sample, 0, 1, tail=(sample.frames - 1) * PER_FRAME + windows.TAIL)
        clip, beside = data.load(sample, at, 1), data.load(sample, other, 1)
        first = whisper_states.first_rows([Fraction(whole.lead, RATE_HZ) + Fraction(at, FPS)])[0]
        rows = first + np.arange(whisper_states.ROWS)
        heard = len(whole.wave) * whisper_states.PER_S // RATE_HZ
        return {
            "real": windows.sized(clip.faces_NHWC, settings.size),
            "reference": windows.sized(beside.faces_NHWC, settings.size),
            "lips": clip.lips_N4,
            "mel": whisper_mel.of_piece(whole.wave),
            "rows": np.where((rows < 0) | (rows >= heard), -1, rows),
        }

    # -- learning ----------------------------------------------------------------------------

    def step(self, batch: Batch, state: State) -> Numbers:
        found, _ = self._found(batch, state)
        state.backward(found["objective"])
        state.update("pairs")
        return found

    def held_out(self, batch: Batch, state: State) -> Numbers:
        """latent, picture: the losses; lips: L1 inside the lips' boxes; objective: what is made small."""
        found, made = self._found(batch, state, draw=True)
        assert made is not None
        lips = batch["lips"].flatten(0, 1)
        real, mask = windows.pictures(batch["real"]), losses.lips_mask(lips, *made.shape[2:])
        apart = ((made - real).abs().mean(1, keepdim=True) * mask).sum() / mask.sum().clamp(min=1)
        return {**found, "lips": apart}

    def _found(self, batch: Batch, state: State, draw: bool = False) -> tuple[dict[str, Tensor], Tensor | None]:
        """The losses, and the drawn faces, BGR 0..1, where they count or are asked for."""
        settings: MuseTalkSettings = state.settings
        base: Any = state.frozen["base"]
        real = windows.pictures(batch["real"])
        with state.autocast():
            with torch.no_grad():
                rgb, beside = real.flip(1), windows.pictures(batch["reference"]).flip(1)
                latents = autoencoder.encode(base.vae, torch.cat([masked(rgb), beside, rgb]) * 2 - 1)
                black, other, wanted = latents.chunk(3)
                told = self._told(batch, base.hearing)
            made = base.unet(torch.cat([black, other], 1), 0, encoder_hidden_states=told, return_dict=False)[0]
            drawn = autoencoder.decode(base.vae, made) if draw or settings.picture_weight else None
        found = {"latent": (made.float() - wanted.float()).abs().mean()}
        found["objective"] = settings.latent_weight * found["latent"]
        if drawn is None:
            return found, None
        drawn = (drawn.float() / 2 + 0.5).flip(1)
        half = real.shape[2] // 2
        lips = batch["lips"].flatten(0, 1).float()
        lower = torch.stack([lips[:, 0], 2 * lips[:, 1] - 1, lips[:, 2], 2 * lips[:, 3] - 1], 1)
        found["picture"] = losses.l1(drawn[:, :, half:], real[:, :, half:], lower, settings.lip_weight)
        found["objective"] = found["objective"] + settings.picture_weight * found["picture"]
        return found, drawn.clamp(0, 1)

    @staticmethod
    def _told(batch: Batch, hearing: Any) -> Tensor:
        """What the frames hear with their positions, (N, tokens, width)."""
        rows = batch["rows"]
        states = whisper_states.states_of(hearing, batch["mel"].transpose(1, 2), last_norm=True)
        said = states[torch.arange(len(rows), device=rows.device)[:, None], rows.clamp(min=0)]
        said = (said * (rows >= 0)[:, :, None, None]).flatten(1, 2)
        return said + positions(*said.shape[1:]).to(said.device)

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A row per frame: what it sees, the other frame, what it draws, the truth."""
        few = {key: value[:6] for key, value in batch.items()}
        real = windows.pictures(few["real"])
        _, made = self._found(few, state, draw=True)
        assert made is not None
        return sheet([masked(real), windows.pictures(few["reference"]), made, real])

    # -- the result --------------------------------------------------------------------------

    def export(self, settings: MuseTalkSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        pairs = networks["pairs"]
        assert isinstance(pairs, lora.Pairs)
        base = self._drawn_by(settings).contents["model"]
        return adapters.content(pairs.named(), base), adapters.file_of(self.name)

    def use(self, file: Path, settings: MuseTalkSettings) -> str:
        return "generator: musetalk (this title's takes use it by themselves, unless it says `adapter: off`)"
