"""What generators share that draw in the latents of Stable Diffusion's autoencoder and hear by Whisper: three files.

`model` is the network that draws, `vae` the autoencoder, `hearing` Whisper's encoder; each may be a name among `dub
models` or a file. The packages that two of them are built of are those of an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dubbing import models
from dubbing.errors import ModelError
from dubbing.generators import needs
from dubbing.generators.square import Drawn

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["FILES", "PACKAGES", "assembled"]

FILES = ("model", "vae", "hearing")
PACKAGES = {"diffusers": "diffusers", "whisper": "openai-whisper"}
"""What is imported -> how its package is called."""
M = TypeVar("M", bound="Module")


def assembled(
    generator: Drawn, whole: Callable[..., M], build: Callable[[Mapping[str, Tensor]], Any],
    adapt: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
) -> M:  # fmt: skip
    """A generator's three checkpoints in their networks, ready to draw.

    whole: of the three, one network; ValueError where they do not belong together; build: the network that draws, of
    its weights; adapt: changes these weights first.

    Raises PluginError: the extra is not installed; ModelError: a checkpoint of another architecture.
    """
    needs.packages(generator.name, generator.extra, generator.modules)
    from dubbing.networks import whisper_states
    from dubbing.networks.diffusion import autoencoder, unet

    kinds: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "model": (lambda state: adapt(unet.renamed(state)), build),
        "vae": (autoencoder.renamed, autoencoder.network_of),
        "hearing": (whisper_states.encoder_state, whisper_states.encoder_of),
    }
    names = {setting: getattr(generator.settings, setting) for setting in kinds}
    parts = []
    for setting, (named, network_of) in kinds.items():
        state = named(models.load_state(generator.paths[setting]))
        try:
            net = network_of(state)
        except (ValueError, RuntimeError) as e:
            raise ModelError(f"{names[setting]} is a checkpoint of another architecture: it holds {e}.") from e
        parts.append(models.fit(net, state, names[setting]))
    try:
        return whole(*parts).eval()
    except ValueError as e:
        raise ModelError("{}, {} and {} do not belong together: {}.".format(*names.values(), e)) from e
