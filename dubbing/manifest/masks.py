"""The masks of a title: what lies over its picture and must never be touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from dubbing.manifest.fields import FILE_SCHEMA, File, Model, said
from dubbing.manifest.parts import CODES, FRAMES
from dubbing.remote import Uri
from dubbing.yaml_text import short

__all__ = ["Mask", "Masks"]


def _box(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 4 or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise said(f"'box' is four whole numbers, [x, y, width, height] in pixels; found {short(value)}.")
    if min(numbers) < 0 or min(numbers[2:]) < 1:
        raise said(f"'box' is {list(numbers)}; x and y are at least 0, width and height at least 1.")
    return tuple(numbers)


class Mask(Model):
    """Something that lies over the picture: a file or a box, for the whole film or a part of it."""

    file: File | None = Field(
        None, description="A PNG of the upright picture's size; white is never touched.", examples=["logo.png"]
    )
    box: Annotated[tuple[int, int, int, int], BeforeValidator(_box)] | None = Field(
        None, description="Instead of a file: [x, y, width, height] in pixels of the upright picture."
    )
    frames: Annotated[str, FRAMES] | None = Field(
        None, description="Frames in which it lies there, counted from 0: the first, and the one after the last.",
        examples=["240-360"],
    )  # fmt: skip
    timecodes: Annotated[str, CODES] | None = Field(
        None, description="The same by the film's own timecode.", examples=["01:02:03:00-01:02:10:00"]
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, file: Path | str | None = None, box: tuple[int, int, int, int] | None = None,
            frames: str | None = None, timecodes: str | None = None,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _one_of_each(self) -> Mask:
        if (self.file is None) == (self.box is None):
            raise said("a mask has a 'file' or a 'box', one of the two.")
        if self.frames is not None and self.timecodes is not None:
            raise said("a mask has 'frames' or 'timecodes', not both; remove one.", ["timecodes"])
        return self


def _listed(value: Any) -> Any:
    if isinstance(value, str | Path | Uri):
        return ({"file": value},)
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    raise said(f"'mask' is a PNG, or a list of masks with a file or a box; found {short(value)}.")


def _described(schema: dict[str, Any]) -> None:
    listed = {"type": schema.pop("type"), "items": schema.pop("items"), "minItems": 1}
    schema.pop("minItems", None)
    schema["anyOf"] = [FILE_SCHEMA, listed]


Masks = Annotated[tuple[Mask, ...], BeforeValidator(_listed), Field(min_length=1, json_schema_extra=_described)]
