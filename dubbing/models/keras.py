"""Keras weights (.h5) as a state by layer name, in torch's layouts.

    read(path)                          {"conv2d_1.weight": ...}: nothing in the file is executed, its model
                                        configuration is not looked at
    fit_layers(network, state, name)    into a network whose modules bear Keras's layer names

Only tensors of floats are read that lie in the file itself: links, tensors kept in other files, compressed ones and
anything larger than the file are refused. The file is parsed by the HDF5 library. It knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing.errors import ModelError
from dubbing.models.entries import MAX_BYTES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIGNATURE", "printable", "read"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_OBJECTS, _DEEPEST, _LONGEST = 20_000, 8, 200
_OURS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "alpha": "weight",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


def read(path: Path) -> dict[str, Tensor]:
    """Every weight of a Keras file by `layer.kind`, kinds and layouts as torch has them.

    Kernels (h, w, in, out) become (out, in, h, w), those of transposed convolutions (h, w, out, in) become
    (in, out, h, w), matrices are turned. Both what `save_weights` and what `save` wrote is read. Raises ModelError:
    h5py is not installed, damaged, too large, or holds what no weights file holds.
    """
    try:
        import h5py
    except ImportError as e:
        raise ModelError(
            f"{str(path)!r} is a Keras file, which needs h5py: install `dubbing[lipgan]`, or give a .pth file."
        ) from e
    import torch

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelError(f"{str(path)!r} has {size} bytes; Keras files up to {MAX_BYTES} bytes are read.")
    found: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            root = file["model_weights"] if _is_group(file, "model_weights") else file
            left = size
            for layer, kind, dataset in _named(_datasets(root, path)):
                left -= _refuse_unplain(dataset, path, left)
                array = np.asarray(dataset[()])
                array = array.astype(array.dtype.newbyteorder("="))
                if kind == "kernel":
                    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
                found[f"{layer}.{_OURS.get(kind, kind)}"] = torch.from_numpy(np.array(array, order="C"))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, RecursionError, MemoryError) as e:
        raise ModelError(f"{str(path)!r} is cut short or damaged; load it again from its source.") from e
    if not found:
        raise ModelError(f"{str(path)!r} holds no weights of Keras layers.")
    return found


def _is_group(parent: Any, name: str) -> bool:
    import h5py

    return isinstance(parent.get(name, getlink=True), h5py.HardLink) and isinstance(parent[name], h5py.Group)


def _datasets(root: Any, path: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every dataset below a group, with the names that lead to it. Raises ModelError for links and endless trees."""
    import h5py

    stack: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen = 0
    while stack:
        names, group = stack.pop()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS or len(names) >= _DEEPEST or len(name) > _LONGEST:
                raise ModelError(f"{str(path)!r} is no Keras weights file: it holds more than layers and weights.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{str(path)!r} holds a link to elsewhere, which is not followed: use the plain file.")
            inner = group[name]
            if isinstance(inner, h5py.Group):
                stack.append(((*names, name), inner))
            elif isinstance(inner, h5py.Dataset):
                yield (*names, name), inner


def _named(datasets: Iterator[tuple[tuple[str, ...], Any]]) -> Iterator[tuple[str, str, Any]]:
    """(layer, kind of weight, dataset). The layer is the outermost group; in a model within a model, the innermost."""
    layers: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for names, dataset in datasets:
        layers.setdefault(names[0], []).append((names, dataset))
    for layer, held in layers.items():
        nested = len({names[-1] for names, _ in held}) < len(held)
        for names, dataset in held:
            inner = names[-2] if len(names) > 1 else layer
            yield printable(inner if nested else layer), printable(names[-1].split(":")[0]), dataset


def _refuse_unplain(dataset: Any, path: Path, left: int) -> int:
    """The bytes of a dataset. Raises ModelError unless it is floats that lie in this file as they are."""
    import h5py

    how = dataset.id.get_create_plist()
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise ModelError(f"{str(path)!r} is no Keras weights file: {printable(dataset.name)!r} holds no numbers.")
    if how.get_external_count() or how.get_layout() == h5py.h5d.VIRTUAL:
        raise ModelError(f"{str(path)!r} keeps {printable(dataset.name)!r} in another file, which is not read.")
    if how.get_nfilters():
        raise ModelError(f"{str(path)!r} keeps {printable(dataset.name)!r} compressed, which Keras never does.")
    if dataset.nbytes > left:
        raise ModelError(f"{str(path)!r} is damaged: its tensors are larger than the file.")
    return int(dataset.nbytes)


def printable(text: str) -> str:
    """Text from an untrusted file, fit for a terminal and a sentence."""
    return "".join(c if c.isprintable() else "?" for c in text[:120])
