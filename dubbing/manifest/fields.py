"""The fields that several of the manifest's models have: paths, lists, and how a refusal is said."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, InstanceOf, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from dubbing import document
from dubbing.inputs import unwritable_name
from dubbing.remote import Uri, place, scheme_of, unusable
from dubbing.yaml_text import short

__all__ = ["FILE_SCHEMA", "File", "Model", "Text", "listed", "said"]

_TEXT_FILE = re.compile(r"\S+\.(txt|ssml|xml|srt|vtt|csv|tsv|ttml|dfxp|itt)", re.IGNORECASE)
_MOST_WORDS = 200_000


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


def _text(value: Any, info: ValidationInfo) -> Any:
    """Words as text; a file as one. A file is what is named like a file of text, without a space, or is there."""
    if isinstance(value, Path | Uri):
        return _file(value, info)
    if not isinstance(value, str):
        raise said(f"{info.field_name!r} must be words, or the path of a file of them; found {short(value)}.")
    if not value.strip():
        raise said(f"{info.field_name!r} is empty; write what is to be said, or name a file of it.")
    if len(value) > _MOST_WORDS:
        raise said(
            f"{info.field_name!r} has {len(value)} letters; put more than {_MOST_WORDS} into a file and name that."
        )
    one = value.strip()
    if _TEXT_FILE.fullmatch(one) or (scheme_of(one) and not re.search(r"\s", one)):
        return _file(one, info)
    folder = (info.context or {}).get("folder")
    if "\n" not in one and len(one) < 400 and unwritable_name(one) is None and not isinstance(folder, Uri):
        try:
            if (Path(one) if folder is None else folder / one).is_file():
                return _file(one, info)
        except OSError:
            pass
    return value


Text = Annotated[
    InstanceOf[Path] | InstanceOf[Uri] | str, Field(union_mode="left_to_right"), BeforeValidator(_text),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["Hello.", "reel.fr.txt", "reel.fr.srt"]}),
]  # fmt: skip


def listed(value: Any, info: ValidationInfo) -> Any:
    """A list as a tuple. Raises what `said` makes: it is no list."""
    if isinstance(value, list | tuple):
        return tuple(value)
    raise said(f"{info.field_name!r} must be a list, as in {info.field_name}: [...]; found {short(value)}.")


class Model(document.Model):
    """Base of the manifest's models: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
