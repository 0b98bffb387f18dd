"""Published models: which there are, where their files lie, and how they are loaded safely.

    path("syncnet_v2")                 a local file whose hash was checked, or a ModelError with the next step
    load_state(path)                   its tensors; nothing in the file is ever executed
    fit(network, state, "syncnet_v2")  into a network, or the first key that does not fit, with both shapes
    fit_layers(network, state, name)   the same where layers bear Keras's numbered names
    require(["sd_vae_ft_mse", ...])    nothing, or one ModelError with the files of several models that are missing

A model is an entry of `MODELS`, its file lies in a `ModelStore` (one folder), `download.pull` brings it
there. It knows no network's architecture and decides for nobody whether a licence fits their use.
"""

from dubbing.models.added import added
from dubbing.models.entries import MODELS, SETS, Licence, Model, ModelSet, find
from dubbing.models.layers import fit_layers
from dubbing.models.shipped import shipped_arrays
from dubbing.models.store import ModelStore, chosen, digest, folder, is_present, path, require
from dubbing.models.weights import fit, load_state

__all__ = [
    "MODELS", "SETS", "Licence", "Model", "ModelSet", "ModelStore", "added", "chosen", "digest", "find", "fit",
    "fit_layers", "folder", "is_present", "load_state", "path", "require", "shipped_arrays",
]  # fmt: skip
