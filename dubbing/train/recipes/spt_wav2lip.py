"""SPT-Wav2Lip: Wav2Lip's recipe with a spatial transformer around the network.

The transformer begins as the identity, so that training may start from a Wav2Lip checkpoint (`--from`), and learns at
a tenth of the rate: a map that jumps tears the picture before the generator has learnt anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from dubbing.networks.spt import SptWav2LipNet, wrapped
from dubbing.networks.wav2lip import plan_for
from dubbing.train.recipes.wav2lip import Wav2Lip, Wav2LipSettings

__all__ = ["SptWav2Lip", "SptWav2LipSettings"]


class SptWav2LipSettings(Wav2LipSettings):
    """`--set` of `dub train spt_wav2lip`."""

    transformer_rate: float = Field(0.1, gt=0, le=1, description="the transformer's learning rate, of the others'")


class SptWav2Lip(Wav2Lip):
    """See `dubbing.train.recipe.Recipe`."""

    name = "spt_wav2lip"
    summary = "Wav2Lip with a spatial transformer, which sees turned heads upright"
    Settings = SptWav2LipSettings

    def generator(self, settings: Wav2LipSettings) -> nn.Module:
        return SptWav2LipNet(plan_for(settings.size, settings.width))

    def optimisers(self, settings: Wav2LipSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        assert isinstance(settings, SptWav2LipSettings)
        found = super().optimisers(settings, networks)
        net = networks["generator"]
        assert isinstance(net, SptWav2LipNet)
        own = {id(p) for p in net.transformer.parameters()}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in net.parameters() if id(p) not in own]},
            {"params": list(net.transformer.parameters()), "lr": settings.learning_rate * settings.transformer_rate},
        ]
        return {
            **found,
            "generator": Adam(groups, lr=settings.learning_rate, betas=found["generator"].defaults["betas"]),
        }

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        """Also from Wav2Lip's own checkpoint."""
        ours = any(key.startswith("transformer.") for key in state)
        super().begin(networks, state if ours else wrapped(state), name)
