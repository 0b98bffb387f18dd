"""Models that `dub train` made, in the model store beside published ones.

    FOLDER/own.json   name -> file, sha256, size, what it is, from which training

A file is accepted under a new name where the card that `dub train` writes lies beside it and holds its hash. A
model that was fine-tuned on a title is refused: it stays in the title's folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dubbing.errors import ModelError, several
from dubbing.models.entries import Licence, Model
from dubbing.store import read_json

__all__ = ["CARD", "FILE", "described", "entries", "record"]

CARD, FILE = "model.json", "own.json"
_SCHEMA = "dub.model.1"
_LICENCE = Licence(
    "your own",
    "Trained here by `dub train`: its terms are those of the data it learnt from and of the weights it began with.",
    "whatever its data allow",
)


def entries(folder: Path) -> tuple[Model, ...]:
    """The models in FOLDER/own.json; none where that file cannot be read."""
    try:
        found = read_json(folder / FILE)
        return tuple(_model(name, one) for name, one in sorted(found.items()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ()


def _model(name: str, one: dict[str, Any]) -> Model:
    return Model(
        name=name, file=str(one["file"]), what=str(one["what"]), licence=_LICENCE, source="dub train",
        layout=str(one["layout"]), size=int(one["size"]), sha256=str(one["sha256"]),
        by_hand="it was trained on some machine, and lies nowhere else",
    )  # fmt: skip


def described(name: str, file: Path, published: str) -> Model:
    """The entry of a file that `dub train` made, under a name of its own.

    published: the names that are taken, for the message. Raises ModelError for a name or file that is not allowed.
    """
    try:
        card = read_json(file.parent / CARD)
        known = card.get("schema") == _SCHEMA and card["file"] == file.name
        size = file.stat().st_size
    except (OSError, ValueError, KeyError, AttributeError):
        known = False
    if not known:
        raise ModelError(
            f"There is no model {name!r}. There is: {published}; a model of your own is added under a new name, with "
            f"the {CARD} beside it that `dub train` writes."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_-]{1,40}", name):
        raise ModelError(f"{name!r} is no name for a model: small letters, digits, - and _, beginning with a letter.")
    if card.get("title"):
        raise ModelError(
            f"{str(file)!r} was fine-tuned on the title {card['title']!r} and stays in its folder; name it by its "
            f"path: `{card['use']}`."
        )
    suffix = file.suffix or ".pth"
    what = f"{card['recipe']}, trained here: {several(card['steps'], 'step')} on data {card['data']}"
    return _model(name, {
        "file": f"own-{name}{suffix}", "what": what, "layout": f"as {card['recipe']}", "size": size,
        "sha256": card["sha256"],
    })  # fmt: skip


def record(model: Model) -> dict[str, Any]:
    """The model's record in FILE."""
    keys = ("file", "what", "layout", "size", "sha256")
    return {key: getattr(model, key) for key in keys}
