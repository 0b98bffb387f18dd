"""Checks of files and texts from outside before they are used: their kind, their size, their depth.

A pipe or a device can block for ever when it is opened, a few bytes of brackets can end a parser's process, and a name
can hold bytes that are no text. Functions here report what they find; their callers raise their own
errors.
"""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

__all__ = ["json_bytes", "json_value", "near_names", "nested", "not_a_file", "read_file", "unwritable_name"]

MOST_NESTED = 100
"""Lists and mappings inside each other in any document that is read; those of this project have under ten."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip
_NAME_BYTES, _PATH_BYTES = 255, 4095  # of one name and of a whole path, on every file system in use
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def not_a_file(path: Path | str) -> str | None:
    """`a pipe`, `a device`, `a socket` or `a folder` where that is at a path (or behind its links); None for an
    ordinary file, and for what is not there or cannot be looked at, of which opening it says why. Opens nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def near_names(path: Path | str) -> str:
    """` Did you mean 'reel.fr.flac'?` where names like that of a file that is not there lie in its folder; where its
    folder is not there either, ` There is no folder '...'.` of the first that is missing; else nothing."""
    path = Path(path)
    try:
        missing = path
        while not missing.parent.exists() and missing != missing.parent:
            missing = missing.parent
        names = sorted(os.listdir(missing.parent)) if missing.parent.is_dir() else []
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(missing.name, names, n=3, cutoff=0.6)
    close += [n for n in names if n.casefold() == missing.name.casefold() and n not in close]
    gone = "" if missing == path else f" There is no folder {str(missing)!r}."
    return gone + (f" Did you mean {' or '.join(map(repr, close))}?" if close else "")


def read_file(path: Path | str, most: int) -> bytes:
    """The first `most` bytes of an ordinary file. Raises OSError, whose `strerror` ends a sentence about it."""
    if kind := not_a_file(path):
        raise OSError(None, f"it is {kind}, and not a file", str(path))
    try:
        with open(path, "rb") as f:
            return f.read(most)
    except ValueError as e:  # a NUL, or half a letter, in the name
        raise OSError(None, f"its name cannot be that of a file: {e}", str(path)) from e


def unwritable_name(path: Path | str) -> str | None:
    """Why nothing can be written under a path, whatever lies there, as the end of a sentence; None where its name is
    one that can be."""
    try:
        text = str(path).encode("utf-8")
    except UnicodeEncodeError:
        return "its name holds bytes that are no UTF-8, which tables and reports cannot hold"
    if b"\0" in text:
        return "its name holds a NUL"
    long = max((len(part) for part in text.split(b"/")), default=0)
    if long > _NAME_BYTES:
        return f"one name in it has {long} bytes; {_NAME_BYTES} are the most that file systems allow"
    if len(text) > _PATH_BYTES:
        return f"it has {len(text)} bytes; {_PATH_BYTES} are the most that a path may have"
    try:
        os.stat(path)
    except OSError as e:
        if e.errno == errno.ELOOP:
            return "its links lead round in a circle"
    return None


def nested(text: str) -> int:
    """How deep lists and mappings lie inside each other in a JSON text. Parses nothing: any text may be given."""
    depth = deepest = 0
    for mark in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def json_value(data: bytes | str) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError: it is none, nests too deep, or holds what no text, number
    or table can hold (half a letter, NaN, an integer of over 4,300 digits)."""
    text = data if isinstance(data, str) else data.decode("utf-8")
    if (deep := nested(text)) > MOST_NESTED:
        raise ValueError(f"it nests {deep} deep; {MOST_NESTED} are allowed")
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number")


def json_bytes(value: Any, indent: int | None = 1) -> bytes:
    """A value as JSON in UTF-8, with a line end; names in bytes that are no UTF-8 as escapes, which `json_value` gives
    back as they were. Raises ValueError for NaN and infinity."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        return (text + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode()
