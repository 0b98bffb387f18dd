"""Parts of a film as a manifest and the command line name them: timecodes, frames, shots, characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from dubbing.errors import ManifestError
from dubbing.manifest.fields import Model, listed, said
from dubbing.yaml_text import short

__all__ = ["CODES", "FRAMES", "Parts"]

_RANGE = re.compile(r"\s*(.*?)\s*-\s*(.*?)\s*")
_SHOT_NAME = re.compile(r"(?:shot_)?(\d{1,9})", re.ASCII)


def _range(one: str, kind: str, example: str) -> BeforeValidator:
    """A range whose two ends match the pattern `one`."""

    def checked(value: Any) -> str:
        found = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if not found or not all(re.fullmatch(one, end, re.ASCII) for end in found.groups()):
            raise said(
                f"{short(value)} is no range of {kind}; write the first frame and the frame after the last, {example}."
            )
        return "-".join(found.groups())

    return BeforeValidator(checked)


def _shots(value: Any) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    found = _RANGE.fullmatch(text)
    names = [_SHOT_NAME.fullmatch(name) for name in (found.groups() if found else [text.strip()])]
    numbers = [int(name[1]) for name in names if name]
    if len(numbers) < len(names) or min(numbers) < 1:
        raise said(f"{short(value)} is no shot; write its number, 2 or shot_0002, or a range, as 5-7.")
    return "-".join(map(str, numbers))


CODES = _range(r"\d\d:\d\d:\d\d[:;.]\d\d\d?", "timecodes", "as 01:02:03:00-01:02:10:00 (; in drop-frame)")
FRAMES = _range(r"\d{1,9}", "frames", "counted from 0, as 240-360")
_Timecodes = Annotated[tuple[Annotated[str, CODES], ...], BeforeValidator(listed), Field(min_length=1)]
_Frames = Annotated[tuple[Annotated[str, FRAMES], ...], BeforeValidator(listed), Field(min_length=1)]
_Number = Annotated[str, BeforeValidator(_shots), WithJsonSchema({"type": ["integer", "string"]})]
_Name = Annotated[str, Field(min_length=1)]
_Characters = Annotated[tuple[_Name, ...], BeforeValidator(listed), Field(min_length=1)]
_Shots = Annotated[tuple[_Number, ...], BeforeValidator(listed), Field(min_length=1)]


class Parts(Model):
    """Parts of a film: at least one, which may not overlap."""

    timecodes: _Timecodes | None = Field(
        None,
        description="Ranges of the film's own timecode: first frame, and the frame after the last.",
        examples=[["01:02:03:00-01:02:10:00"]],
    )
    frames: _Frames | None = Field(
        None,
        description="Ranges of frames counted from 0: first frame, and the frame after the last.",
        examples=[["240-360"]],
    )
    shots: _Shots | None = Field(
        None,
        description="Shots by number, 2 or shot_0002, and ranges of them, 5-7, both ends included.",
        examples=[[2, "shot_0002", "5-7"]],
    )
    characters: _Characters | None = Field(
        None, description="Characters by name: their faces, wherever they are seen.", examples=[["ANNA"]]
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, timecodes: Sequence[str] | None = None, frames: Sequence[str] | None = None,
            shots: Sequence[str | int] | None = None, characters: Sequence[str] | None = None,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _any(self) -> Parts:
        if not self.named:
            raise said("name at least one part of the film: 'timecodes', 'frames', 'shots' or 'characters'.")
        return self

    @property
    def named(self) -> tuple[tuple[str, int, str], ...]:
        """Every part: key, place in its list, and how it is written."""
        kinds = {
            "timecodes": self.timecodes, "frames": self.frames, "shots": self.shots, "characters": self.characters,
        }  # fmt: skip
        return tuple((kind, n, text) for kind, texts in kinds.items() for n, text in enumerate(texts or ()))

    @property
    def in_time(self) -> tuple[tuple[str, int, str], ...]:
        """Those of them that are stretches of the film."""
        return tuple(part for part in self.named if part[0] != "characters")

    @classmethod
    def written(cls, texts: Sequence[str]) -> Parts:
        """Of `01:02:03:00-01:02:10:00`, `frames:240-360`, `shots:2,5-7` and `characters:ANNA,BEN`. Raises
        ManifestError."""
        found: dict[str, list[str]] = {}
        for text in texts:
            kind, colon, rest = text.strip().partition(":")
            if not (colon and kind in ("frames", "shots", "characters")):
                if re.fullmatch(r"(shot_)?\d+(-(shot_)?\d+)?", text.strip(), re.ASCII):
                    raise ManifestError(f"{text!r} may be frames or shots; write frames:{text} or shots:{text}.")
                kind, rest = "timecodes", text
            found.setdefault(kind, []).extend([rest] if kind in ("timecodes", "frames") else rest.split(","))
        try:
            return cls.model_validate(found)
        except ValidationError as e:
            (first, *_) = e.errors(include_url=False)
            raise ManifestError(str(first["msg"])) from e
