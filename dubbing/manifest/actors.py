"""What a title's mouths are learnt from besides its own dialogue, as a manifest and the command line name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from dubbing.manifest.fields import File, Model, listed
from dubbing.remote import Uri

__all__ = ["Actors"]


class Actors(Model):
    """What mouths are learnt from besides the title's own dialogue."""

    also: Annotated[tuple[File, ...], BeforeValidator(listed), Field(min_length=1)] = Field(
        description="Output folders of other runs, as of other episodes: what the same people say there is used too, "
        "in numbers, which are kept in this title's own analysis. People are known by the character's name, else by "
        "their faces, where the extra `identity` is installed.",
        examples=[["out/episode_1"]],
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(self, *, also: Sequence[Path | str]) -> None: ...

    @classmethod
    def of(cls, before: Actors | None, also: Sequence[Path | Uri]) -> Actors:
        """These output folders besides those that are named already."""
        more = (place if isinstance(place, Uri) else place.absolute() for place in also)
        return cls(also=tuple(dict.fromkeys((*(before.also if before else ()), *more))))
