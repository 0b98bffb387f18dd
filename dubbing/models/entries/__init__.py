"""The published models that this project can use, one entry each, by family; and the sets that generators need.

Sizes and hashes are those of the files as their authors first published them; where nobody could
confirm a hash it is None, and the first file added is then the one that counts. It knows no folder
and no network.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from dubbing.errors import ModelError
from dubbing.models.entries import latentsync, lips, measuring, musetalk, sadtalker, whisper
from dubbing.models.entries.record import MAX_BYTES, Licence, Model
from dubbing.models.entries.sets import SETS, ModelSet

__all__ = ["MAX_BYTES", "MODELS", "SETS", "Licence", "Model", "ModelSet", "find"]

MODELS: tuple[Model, ...] = (
    *lips.ENTRIES, *measuring.ENTRIES, *sadtalker.ENTRIES, *musetalk.ENTRIES, *latentsync.ENTRIES, *whisper.ENTRIES,
)  # fmt: skip


def find(name: str, models: Sequence[Model] = MODELS) -> Model:
    """The entry of that name: the only way from a name to a file. Raises ModelError for an unknown one."""
    for model in models:
        if model.name == name:
            return model
    names = [m.name for m in models]
    several = next((one for one in SETS if one.name == name and set(one.models) <= set(names)), None)
    if several is not None:
        raise ModelError(f"{name!r} is a set of files: {', '.join(several.models)}; name one of them.")
    close = difflib.get_close_matches(name, [*names, *(one.name for one in SETS)], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise ModelError(f"There is no model {name!r}{hint} There is: {', '.join(names)}.")
