"""YAML texts as nodes and plain values: which YAML is read, and what of it is refused before anything is built.

The plain part of version 1.2: `no`, `on` and `1:30` are text, only `true` and `false` are booleans, a key written twice
is an error, and tags that would build objects are refused. So are a document that nests deep or that grows by its
aliases, and values that no setting can have: numbers without end, infinity, half a letter. Knows no file and no model.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dubbing.errors import ManifestError
from dubbing.inputs import json_value

__all__ = ["parsed", "short", "value_of"]

MOST_BY_ALIASES = 100_000  # values that `*name` may add to those that are written
MOST_NESTED = 40
MOST_KEYS = 1000
MOST_DIGITS = 18  # of a whole number: it fits in 64 bits
_SHOWN_KEYS = 8
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's few implicit types."""


_Loader.yaml_implicit_resolvers = {}
_PATTERNS: dict[str, re.Pattern[str]] = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
):
    _PATTERNS[_TAG + _tag] = re.compile(f"^(?:{_pattern})$")
    _Loader.add_implicit_resolver(_TAG + _tag, _PATTERNS[_TAG + _tag], list(_first))


def parsed(path: str, kind: str, text: str, may_be_empty: bool = False) -> tuple[Node, Any]:
    """A YAML text as nodes and as plain values. Raises ManifestError."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as e:
        raise ManifestError(f"{path!r} is no {kind}: a {kind} is a YAML text file in UTF-8.") from e
    try:
        root = loader.get_single_node()
        if root is None and may_be_empty:
            root = yaml.compose("{}")
        if root is None:
            raise ManifestError(f"The {kind} {path!r} is empty; `dub schema` shows what it can hold.")
        _refuse_growth(path, root)
        _refuse_values(path, root)
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        what = " ".join(part for part in (e.context, e.problem) if part)
        raise ManifestError(f"{path}{where}: this is not YAML ({what}); check the indentation and quotes here.") from e
    except RecursionError as e:
        raise ManifestError(f"{path}: lists inside lists without end; `dub schema` shows what a {kind} holds.") from e
    finally:
        loader.dispose()


def value_of(text: str, kind: str) -> Any:
    """The value of a YAML or JSON text that a person gave on a command line, held to what a file is held to. `kind` is
    what to call it in a message. Raises ManifestError."""
    try:
        return json_value(text)  # YAML takes 1e-05, which JSON writes, for a text
    except ValueError:
        return parsed(kind, kind, text)[1]


def _refuse_growth(path: str, root: Node) -> None:
    """Raises ManifestError where a document contains itself, nests deep, or becomes huge by its aliases."""
    sizes: dict[int, int] = {}  # values in and below a node, aliases followed; 0 while it is being counted
    todo: list[tuple[Node, bool]] = [(root, False)]
    depth = 0
    while todo:
        node, counted = todo.pop()
        below = _below(node)
        if counted:
            depth -= 1
            sizes[id(node)] = 1 + sum(sizes[id(part)] for part in below)
        elif id(node) not in sizes:
            sizes[id(node)] = 0
            depth += 1
            if depth > MOST_NESTED:
                line = node.start_mark.line + 1
                raise ManifestError(f"{path}, line {line}: lists inside lists without end; {MOST_NESTED} are allowed.")
            todo += [(node, True), *((part, False) for part in below)]
        elif sizes[id(node)] == 0:
            raise ManifestError(f"{path}, line {node.start_mark.line + 1}: this list or mapping contains itself.")
    if sizes[id(root)] > len(sizes) + MOST_BY_ALIASES:
        raise ManifestError(
            f"{path}: its aliases (*name) make {sizes[id(root)]} values of {len(sizes)} that are written; "
            f"{MOST_BY_ALIASES} more are allowed."
        )


def _below(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _refuse_values(path: str, root: Node) -> None:
    """Raises ManifestError for a key that comes twice or is no word, and for a value of a kind that no setting has."""
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if problem := _odd(node):
            raise ManifestError(f"{path}, line {node.start_mark.line + 1}: {problem}.")
        if isinstance(node, SequenceNode):
            todo += node.value
        elif isinstance(node, MappingNode):
            lines: dict[str, int] = {}
            if len(node.value) > MOST_KEYS:
                raise ManifestError(
                    f"{path}, line {node.start_mark.line + 1}: a mapping of {len(node.value)} keys; {MOST_KEYS} "
                    "are allowed."
                )
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, ScalarNode):
                    raise ManifestError(f"{path}, line {line}: a key must be a word, not a list or a mapping.")
                if key.value in lines:
                    raise ManifestError(
                        f"{path}, line {line}: the key {short(key.value)} was already given at line "
                        f"{lines[key.value]}; keep one of the two."
                    )
                lines[key.value] = line
                todo += [key, value]


def _odd(node: Node) -> str | None:
    """What is wrong with a value in itself, as the end of a sentence."""
    if not isinstance(node, ScalarNode):
        usual = "map" if isinstance(node, MappingNode) else "seq"
        return None if node.tag == _TAG + usual else _tagged(node)
    text = node.value
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return f"{short(text)} holds half a letter, which no file name and no text can"
    if node.tag == _TAG + "str":
        return None
    if node.tag not in _PATTERNS or not _PATTERNS[node.tag].match(text):
        return _tagged(node)
    if node.tag == _TAG + "int" and len(text.lstrip("+-")) > MOST_DIGITS:
        return f"{short(text)} has {len(text.lstrip('+-'))} digits; {MOST_DIGITS} are allowed"
    if node.tag == _TAG + "float" and not math.isfinite(float(text)):
        return f"{short(text)} is larger than any number can be"
    return None


def _tagged(node: Node) -> str:
    tag = node.tag.replace(_TAG, "!!")
    return f"the tag {short(tag)} does not belong to this value; write the value without a tag"


def short(value: Any) -> str:
    """A value as a message shows it, of at most a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        more = f" and {len(value) - _SHOWN_KEYS} more" if len(value) > _SHOWN_KEYS else ""
        keys = ", ".join(str(key)[:60] for key in list(value)[:_SHOWN_KEYS])
        return f"a mapping with the keys {keys}{more}" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**60:
        return "a number of more than 60 digits"  # Python writes out no number of over 4,300
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
