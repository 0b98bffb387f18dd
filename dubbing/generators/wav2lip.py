"""`wav2lip`: the mouth as Wav2Lip's network draws it from the sound, put back at native resolution.

Prajwal et al., "A lip sync expert is all you need for speech to lip generation in the wild" (2020). The
network sees the frame's own face with its lower half black, the same face whole, and 0.2 s of mel
spectrogram. Boxes, pasting and whose sound it is: `square`.

`spt_wav2lip`: the same with a spatial transformer around the network (`dubbing.networks.spt`); nobody has
published weights of it.

"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from dubbing import models
from dubbing.errors import ManifestError
from dubbing.generators import square
from dubbing.generators.square import Hearing
from dubbing.networks import mel

if TYPE_CHECKING:
    from torch import Tensor

    from dubbing.networks import spt
    from dubbing.networks import wav2lip as network

__all__ = ["SptSettings", "SptWav2Lip", "Wav2Lip", "Wav2LipSettings"]


class Wav2LipSettings(square.DrawnSettings):
    """What a manifest may say under `generator: {name: wav2lip, ...}`."""

    model: str = square.named("wav2lip")
    size: int | None = Field(
        None, ge=32, le=1024, description="side of the network's pictures, where the checkpoint leaves a choice"
    )
    alignment: Literal["inference", "training", "sadtalker"] = Field(
        "inference",
        description="where a frame's sound begins: with it (as published), 1/25 s before (as trained), 2/25 s before",
    )


class Wav2Lip(square.Square):
    """See `dubbing.generators.square.Square`."""

    name = "wav2lip"
    version = 4
    Settings = Wav2LipSettings
    published: ClassVar[tuple[models.Model, ...]] = (models.find("wav2lip"), models.find("wav2lip_gan"))
    settings: Wav2LipSettings

    def _must_look(self) -> bool:
        return super()._must_look() or self.settings.size is not None

    def loaded(self) -> network.Wav2LipNet:
        from dubbing.networks import wav2lip as network

        state = models.load_state(self.paths["model"])
        plan = network.plan_of(state, self.settings.size, self.settings.model)
        return models.fit(network.Wav2LipNet(plan), state, self.settings.model).eval()

    def _running(self, net: network.Wav2LipNet, device: str) -> network.Wav2Lip:
        from dubbing.networks import wav2lip as network

        return network.Wav2Lip(net, device)

    def _hearing(self, wave: np.ndarray, times: Sequence[Fraction]) -> Hearing:
        spectrogram = mel.mel(wave)
        starts = mel.starts(times, spectrogram.shape[1], self.settings.alignment)
        return lambda at: mel.windows(spectrogram, starts[at])

    def _drawn(self, sound: Tensor, squares_NCHW: Tensor, from_row: int) -> Tensor:
        face = squares_NCHW.repeat(1, 2, 1, 1)
        face[:, :3, face.shape[2] // 2 :] = 0
        made: Tensor = self.net(sound, face, from_row)
        return made


class SptSettings(Wav2LipSettings):
    """What a manifest may say under `generator: {name: spt_wav2lip, ...}`."""

    model: str = Field("", description="your checkpoint, which `dub train spt_wav2lip` makes (absolute, or from ~)")
    alignment: Literal["inference", "training", "sadtalker"] = Field(
        "training", description="where a frame's sound begins: with it, 1/25 s before (as trained), 2/25 s before"
    )


class SptWav2Lip(Wav2Lip):
    """See `dubbing.generators.square.Square`."""

    name = "spt_wav2lip"
    Settings = SptSettings
    published = ()

    def _checkpoint(self, model: str, models_folder: str | None, setting: str = "model") -> tuple[Path, str]:
        if not model:
            raise ManifestError(
                "generator spt_wav2lip: model: nobody has published its weights; give the path of your own, which "
                "`dub train spt_wav2lip` makes."
            )
        return super()._checkpoint(model, models_folder, setting)

    def loaded(self) -> spt.SptWav2LipNet:
        from dubbing.networks import spt
        from dubbing.networks import wav2lip as network

        state = models.load_state(self.paths["model"])
        plan = network.plan_of(state, self.settings.size, self.settings.model)
        return models.fit(spt.SptWav2LipNet(plan), state, self.settings.model).eval()

    def _running(self, net: network.Wav2LipNet, device: str) -> spt.SptWav2Lip:  # type: ignore[override]
        from dubbing.networks import spt

        assert isinstance(net, spt.SptWav2LipNet)
        return spt.SptWav2Lip(net, device)
