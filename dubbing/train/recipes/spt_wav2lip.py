"""SPT-Wav2Lip: Wav2Lip's lesson, with a spatial transformer around the network that learns along.

`--from` takes its own checkpoints and Wav2Lip's: the transformer then begins at the identity.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from dubbing import models
from dubbing.networks.spt import SptWav2LipNet, wrapped
from dubbing.networks.wav2lip import plan_for
from dubbing.train.recipes.wav2lip import Wav2Lip, Wav2LipSettings

__all__ = ["SptWav2Lip"]


class SptWav2Lip(Wav2Lip):
    """See `dubbing.train.recipes.wav2lip.Wav2Lip`."""

    name = "spt_wav2lip"
    summary = "Wav2Lip's generator with a spatial transformer around it, for turned heads"

    def generator(self, settings: Wav2LipSettings) -> nn.Module:
        return SptWav2LipNet(plan_for(settings.size, settings.width))

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        models.fit(networks["generator"], wrapped(state), name)
