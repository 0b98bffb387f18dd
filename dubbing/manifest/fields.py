"""The fields that several of the manifest's models have: paths, lists, and how a refusal is said."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, InstanceOf, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from dubbing import document
from dubbing.inputs import unwritable_name
from dubbing.remote import Uri, place, scheme_of, unusable
from dubbing.yaml_text import short

__all__ = ["FILE_SCHEMA", "File", "Model", "listed", "said"]


def said(text: str, at: Iterable[int | str] = ()) -> PydanticCustomError:
    """A refusal in our own words; `at` leads from the value being checked to what is wrong in it."""
    return PydanticCustomError("said", "{text}", {"text": text, "at": tuple(at)})


def _file(value: Any, info: ValidationInfo) -> Any:
    """A path as a Path (or a Uri, in a manifest at one), absolute where the manifest's folder is known; a URI as a Uri,
    those of this machine as Paths."""
    if isinstance(value, Uri):
        return value
    if isinstance(value, Path):
        return _nameable(value, value, info)
    if not isinstance(value, str):
        raise said(f"{info.field_name!r} must be the path of a file; found {short(value)}.")
    if not value.strip() or "\0" in value:
        raise said(f"{info.field_name!r} must be the path of a file; found {short(value)}.")
    if scheme_of(value):
        if problem := unusable(value):
            raise said(f"{info.field_name!r}: {problem}.")
        return place(value)
    folder = (info.context or {}).get("folder")
    path = Path(value) if folder is None or os.path.isabs(value) else folder / value
    return _nameable(path, value, info) if isinstance(path, Path) else path


def _nameable(path: Path, given: Any, info: ValidationInfo) -> Path:
    if problem := unwritable_name(path):
        raise said(f"{info.field_name!r} is {short(str(given))}, which cannot be used: {problem}.")
    return path


FILE_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "examples": ["media/reel.mp4", "file:///films/reel.mp4", "s3://films/reel.mp4"],
}
File = Annotated[Path | InstanceOf[Uri], BeforeValidator(_file), WithJsonSchema(FILE_SCHEMA)]


def listed(value: Any, info: ValidationInfo) -> Any:
    """A list as a tuple. Raises what `said` makes: it is no list."""
    if isinstance(value, list | tuple):
        return tuple(value)
    raise said(f"{info.field_name!r} must be a list, as in {info.field_name}: [...]; found {short(value)}.")


class Model(document.Model):
    """Base of the manifest's models: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
