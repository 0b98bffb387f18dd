"""A Keras network's tensors into a network of the same layers, whose numbering may begin elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dubbing.errors import ModelError
from dubbing.models.weights import fit

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["fit_layers"]

M = TypeVar("M", bound="Module")


def fit_layers(network: M, state: Mapping[str, Tensor], name: str) -> M:
    """Load `state` into `network`, layer by layer, and return it.

    Keras numbers layers through a whole program: a file's `conv2d_21` to `conv2d_40` are the network's `conv2d` to
    `conv2d_19`. So for each kind of layer the file's first number is taken for the network's first. name: what to
    call the weights in a message. Raises ModelError with every kind of mismatch in one sentence: layers that the
    file lacks, layers that the network has not, layers of another shape; else what `models.fit` raises.
    """
    own = network.state_dict()
    state = _renumbered(state, own)
    missing = _layers(k for k in own if k not in state and not k.endswith(".num_batches_tracked"))
    extra = _layers(k for k in state if k not in own)
    wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
    said = []
    if missing:
        said.append(f"it lacks {_some(missing)}")
    if extra:
        said.append(f"it has {_some(extra)}, which the network has not")
    if wrong:
        first, others = wrong[0], [layer for layer in _layers(wrong) if layer != wrong[0].rpartition(".")[0]]
        found, wanted = (tuple(s[first].shape) for s in (state, own))
        also = f" (also wrong: {_some(others)})" if others else ""
        said.append(f"its {first!r} is {found} where {wanted} belongs{also}")
    if said:
        raise ModelError(f"{name} is a checkpoint of another architecture: {'; '.join(said)}.")
    return fit(network, state, name)


def _parts(layer: str) -> tuple[str, int]:
    """`conv2d_3` is the kind `conv2d` and the number 3; without a number it is 0."""
    match = re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", layer)
    assert match is not None
    return match[1], int(match[2] or 0)


def _renumbered(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with each kind of layer counted from the network's first number."""
    first: list[dict[str, int]] = []
    for keys in (state, own):
        lowest: dict[str, int] = {}
        for layer in _layers(keys):
            kind, number = _parts(layer)
            lowest[kind] = min(number, lowest.get(kind, number))
        first.append(lowest)
    given, wanted = first
    out = {}
    for key, value in state.items():
        layer, _, what = key.rpartition(".")
        kind, number = _parts(layer)
        if kind in wanted:
            number += wanted[kind] - given[kind]
            layer = f"{kind}_{number}" if number else kind
        out[f"{layer}.{what}"] = value
    return out


def _layers(keys: Any) -> list[str]:
    """Layers of some keys, each once, in order."""
    return list(dict.fromkeys(str(key).rpartition(".")[0] for key in keys))


def _some(layers: list[str]) -> str:
    """`'conv2d_3', 'conv2d_4', 'dense' and 9 more`."""
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(repr(layer) for layer in layers[:3]) + more
