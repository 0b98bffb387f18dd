"""YAML files into pydantic models, where every error names the file and the line; the same models built in Python,
where it names the field.

Knows nothing of what the files mean, and nothing of how YAML is written: that is `yaml_text`.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Tag, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dubbing.errors import InputError, ManifestError
from dubbing.inputs import near_names, read_file
from dubbing.remote import Objects, Uri, place
from dubbing.yaml_text import parsed, short

__all__ = ["Document", "Location", "Model", "Problem", "dotted", "nearest", "parse", "read", "refusal", "refused"]

MAX_BYTES = 4_000_000
PATIENCE_S = 15.0  # a person waits for this
Location = tuple[int | str, ...]
_HINT = r" \((?:put it in|lines that|lines of) [^)]*\)"  # how to write it in YAML
M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """A part of a document. Built in Python, one that is wrong raises ManifestError, as one that was read does."""

    model_config = ConfigDict(allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as e:
            raise refused(type(self), e) from e

    # pydantic then validates what lies inside another model without this method, and so keeps where it lies
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Problem:
    """One thing wrong: `text` continues the sentence that `<file>, line <line>: ` begins."""

    line: int
    text: str


@dataclass(frozen=True)
class Document:
    """A YAML file as plain values, and where each of them is written. Lines count from 1."""

    path: Path | Uri
    value: Any
    root: Node = field(repr=False)

    def line(self, location: Iterable[int | str], *, of_key: bool = False) -> int:
        """The line of the value (or of the key) at `location`; of the nearest thing around it if absent."""
        node, line = self.root, self.root.start_mark.line + 1
        for part in location:
            if isinstance(node, MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if pair is None:
                    continue
                node, line = pair[1], (pair[0] if of_key or _spreads(pair[1]) else pair[1]).start_mark.line + 1
            elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line

    def place(self, location: Iterable[int | str]) -> str:
        """`film.yaml, line 7`."""
        return f"{self.path}, line {self.line(location)}"


def _spreads(node: Node) -> bool:
    return not isinstance(node, ScalarNode)


def read(path: Path | str, kind: str, *, may_be_empty: bool = False) -> Document:
    """Parse one YAML file at a path or URI. `kind` is what to call it in a message; an empty one may stand for {}.

    Raises ManifestError when it is absent, unreadable, not YAML, empty, or repeats a key.
    """
    try:
        path = place(path)
        data = _bytes(path)
    except FileNotFoundError as e:
        near = near_names(path) if isinstance(path, Path) else ""
        raise ManifestError(f"No such {kind}: {str(path)!r}; give the path of a YAML file.{near}") from e
    except OSError as e:
        raise ManifestError(f"The {kind} {str(path)!r} cannot be read ({e.strerror}).") from e
    except InputError as e:
        raise ManifestError(f"The {kind} cannot be read: {e}") from e
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{str(path)!r} is no {kind}: it is larger than {MAX_BYTES // 1_000_000} MB of YAML.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ManifestError(f"{str(path)!r} is no {kind}: a {kind} is a YAML text file in UTF-8.") from e
    root, value = parsed(str(path), kind, text, may_be_empty)
    return Document(path, value, root)


def _bytes(path: Path | Uri) -> bytes:
    """No more than MAX_BYTES and one."""
    if isinstance(path, Uri):
        objects = Objects(path, patience_s=PATIENCE_S)
        return objects.read() if objects.stamp()[0] <= MAX_BYTES else bytes(MAX_BYTES + 1)
    return read_file(path, MAX_BYTES + 1)


def parse(document: Document, model: type[M], **context: Any) -> M:
    """The document as `model`. Raises ManifestError naming the first problem and counting the others."""
    try:
        return model.model_validate(document.value, context=context)
    except ValidationError as e:
        raise refusal(document, _problems(document, model, e)) from e


def refusal(document: Document, problems: Sequence[Problem]) -> ManifestError:
    """The first problem in full, and how many others on which lines."""
    first, *others = sorted(problems, key=lambda p: p.line)
    text = f"{document.path}, line {first.line}: {first.text}"
    if others:
        lines = list(dict.fromkeys(p.line for p in others))
        where = f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:5]))}"
        text = f"{text.rstrip('.')} (and {len(others)} more: {where})."
    return ManifestError(text)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = _close(word, allowed)
    return f"; did you mean {close!r}?" if close else ""


def _close(word: str, allowed: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)), None)


def refused(model: type[BaseModel], error: ValidationError) -> ManifestError:
    """The first problem of a model built in Python, in full, its field before it: `Title.dubs[1].audio: ...`."""
    (location, _, text), *others = _found(model, error, python=True)
    text = f"{dotted((model.__name__, *location))}: {text}"
    return ManifestError(f"{text.rstrip('.')} (and {len(others)} more)." if others else text)


def dotted(location: Iterable[int | str]) -> str:
    """A place in a document as Python writes it: `titles[0].video`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _problems(document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    found = _found(model, error, python=False)
    return [Problem(document.line(location, of_key=of_key), text) for location, of_key, text in found]


def _found(model: type[BaseModel], error: ValidationError, python: bool) -> list[tuple[Location, bool, str]]:
    """Every problem: where it is, whether the key is meant and not the value, and what is wrong. python: whether it was
    built in Python, and not read from a file."""
    whole = "it" if python else "this file"
    out: list[tuple[Location, bool, str]] = []
    errors = error.errors(include_url=False)
    misspelt = {
        (*e["loc"][:-1], close)
        for e in errors
        if e["type"] == "extra_forbidden" and (close := _close(str(e["loc"][-1]), _keys(model, tuple(e["loc"][:-1]))))
    }
    for e in errors:
        path, context = tuple(e["loc"]), e.get("ctx", {})
        location = tuple(part for part in path if not _is_tag(part))
        if e["type"] == "extra_forbidden":
            key = str(location[-1])
            allowed = _keys(model, path[:-1])
            text = f"unknown key {short(key)}{nearest(key, allowed) or '.'} Allowed here: {', '.join(allowed)}."
            out.append((location, True, text))
        elif e["type"] == "missing":
            if path in misspelt:
                continue
            allowed = _keys(model, path[:-1])
            text = (
                f"{_around(location[:-1], whole)} has no {location[-1]!r}; add it. Allowed here: {', '.join(allowed)}."
            )
            out.append((location[:-1], False, text))
        else:
            location += tuple(context.get("at", ()))
            kind = "" if python and e["type"] == "model_type" else e["type"]  # its message names the class
            text = _sentence(location, kind, e["msg"], e["input"], whole)
            out.append((location, False, re.sub(_HINT, "", text) if python else text))
    return out


def _around(location: Location, whole: str) -> str:
    """How a person calls the mapping at `location`: `title 2`; all of it: `whole`."""
    if not location:
        return whole
    last = location[-1]
    if isinstance(last, int):
        owner = str(location[-2]) if len(location) > 1 else "item"
        return f"{owner.removesuffix('s')} {last + 1}"
    return f"{last!r}"


def _sentence(location: Location, kind: str, message: str, found: Any, whole: str) -> str:
    name = next((str(p) for p in reversed(location) if isinstance(p, str) and p != "[key]"), whole)
    if kind in ("said", "value_error"):
        return message.removeprefix("Value error, ")
    wanted = {
        "string_type": "must be text (put it in quotes)",
        "list_type": "must be a list (lines that begin with '- ')",
        "model_type": "must be a mapping (lines of 'key: value')",
        "model_attributes_type": "must be a mapping (lines of 'key: value')",
        "dict_type": "must be a mapping (lines of 'key: value')",
        "too_short": "must not be empty",
        "string_too_short": "must not be empty",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
    }.get(kind)
    if wanted is None:
        wanted = message.replace("Input should", "must") if message.startswith("Input should") else message
    return f"{name!r} {wanted}; found {short(found)}."


def _is_tag(part: int | str) -> bool:
    """Whether a part of a location is no part of the document, but the tag of a union's member."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys allowed at `location` of a document read as `model`, in the order they are declared."""
    at: Any = model
    for part in location:
        if _is_tag(part):
            at = _tagged(at, str(part))
            continue
        at = _plain(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            info = at.model_fields.get(str(part))
            at = info.annotation if info else None
        elif typing.get_args(at):
            at = next(a for a in reversed(typing.get_args(at)) if a is not Ellipsis)
    at = _plain(at)
    return list(at.model_fields) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _tagged(annotation: Any, tag: str) -> Any:
    """The member of a union that has this tag."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    tags = {m.tag: a for a in typing.get_args(annotation) for m in getattr(a, "__metadata__", ()) if isinstance(m, Tag)}
    return tags.get(tag)


def _plain(annotation: Any) -> Any:
    """An annotation without `Annotated` and without `| None`."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
        return _plain(annotation)
    return annotation
