"""Whether a file of weights holds the network that it is taken for, before anybody is asked about its licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dubbing import generators
from dubbing.errors import DubError, ModelError
from dubbing.models import Model, load_state
from dubbing.models.own import CARD
from dubbing.store import read_json

__all__ = ["look_into"]


def look_into(model: Model, file: Path) -> str | None:
    """What `file` was found to hold, as the end of a sentence; None where nobody here knows the network of `model`.

    model: the entry that the file would be added as: a published one, or one's own, whose layout names its recipe.
    Nothing in the file is executed. Raises ModelError: no checkpoint, or one of another architecture, with the first
    key that does not fit, both shapes, and what it fits instead.
    """
    name = _generator_of(model)
    if name is not None:
        try:
            _load(name, file)
        except ModelError as e:
            raise _with_what_fits(e, name, file) from e
        return f"its tensors fit {name}"
    if model.layout.startswith("as "):
        return f"a checkpoint of {len(load_state(file))} tensors"
    return None


def _generator_of(model: Model) -> str | None:
    """The generator that loads such a file."""
    recipe = model.layout.removeprefix("as ")
    return next((n for n in _with_weights() if recipe == n or model in generators.find(n).published), None)


def _with_weights() -> list[str]:
    """The generators that take a file of weights under `model`."""
    return [n for n in generators.names() if _takes_a_file(n)]


def _takes_a_file(name: str) -> bool:
    try:
        return "model" in generators.find(name).Settings.model_fields
    except DubError:  # another package's, which cannot be used here
        return False


def _load(name: str, file: Path) -> None:
    settings: dict[str, Any] = {"model": str(file.absolute())}
    size = _trained_size(file)
    if size and "size" in generators.find(name).Settings.model_fields:
        settings["size"] = size
    generators.create(name, settings, device="cpu").check()


def _trained_size(file: Path) -> int | None:
    """The side of a network's pictures as the card beside it says, which `dub train` writes."""
    try:
        size = read_json(file.parent / CARD)["settings"]["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) else None


def _with_what_fits(error: ModelError, wanted: str, file: Path) -> ModelError:
    for name in _with_weights():
        if name != wanted:
            try:
                _load(name, file)
            except DubError:
                continue
            return ModelError(f"{str(error).rstrip('.')}; it fits generator {name}.")
    return ModelError(f"{str(error).rstrip('.')}; it fits no generator that is here.")
