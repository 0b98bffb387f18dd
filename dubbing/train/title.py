"""One title's own clips out of a data folder that `dub dataset prepare` made of finished titles.

Speakers there are called TITLE/WHO. A film has too few of them to hold some out, so clips are held out instead: a
tenth, chosen by their ids. It knows no design.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from dubbing.errors import InputError
from dubbing.train.recipe import Data

__all__ = ["OfTitle"]

_PART = 10  # one clip in so many is held out


class OfTitle:
    """See `dubbing.train.recipe.Data`. Raises InputError where the data hold no clip of that title."""

    def __init__(self, data: Data, title: str) -> None:
        self._data, self._title = data, title
        every = [s for split in ("train", "val", "test") for s in data.of(split)]
        own = [s for s in every if s.speaker.split("/")[0] == title]
        if not own:
            there = sorted({s.speaker.split("/")[0] for s in every})
            raise InputError(
                f"The data hold no clip of the title {title!r}; they are of {', '.join(there[:5]) or 'nobody'}. "
                "`dub dataset prepare OUT` makes data of what `dub run` wrote to OUT."
            )
        own.sort(key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
        held = len(own) // _PART
        self._of = {"train": own[held:], "val": own[:held], "test": []}
        self.hash = f"{data.hash} {title}"
        self.metadata = dict(getattr(data, "metadata", {}))

    def __copy__(self) -> OfTitle:
        return OfTitle(copy.copy(self._data), self._title)

    def of(self, split: str) -> list[Any]:
        return self._of[split]

    def load(self, sample: Any, first: int = 0, count: int | None = None, tail: int = 0) -> Any:
        return self._data.load(sample, first, count, tail)
