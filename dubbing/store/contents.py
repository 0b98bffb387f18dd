"""What a committed folder holds: its result.json lists every file with size and checksum, and bears a checksum itself.

The checksum is CRC-32. It is against accidents (a torn write, a bit that flipped, a file that something cut or
replaced), of which it overlooks one in four thousand million and no single flipped bit; whoever can write into an
output folder on purpose can write a checksum too, so a cryptographic hash would add cost and no safety. It is in the
standard library and keeps up with any disk (docs/trust.md has the numbers).

Folders of earlier versions have no list, or at a URI one of sizes only: they are used as they are. Knows no stage.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dubbing.inputs import json_bytes, json_value, not_a_file

__all__ = ["RESULT", "Look", "checksum", "fault", "listed", "read_result", "seal", "sealed", "sync", "unsealed"]

RESULT = "result.json"
_FILES, _CHECK = "files", b',\n "check": "'
_BLOCK = 1 << 20

Look = Literal["sizes", "moved", "all"]
"""How closely a result is looked at: sizes of all files; contents too, unless something else says that they are as
they were (at a URI, the mark of a published master's object; on a disk, nothing); all contents."""


def checksum(path: Path) -> str:
    """CRC-32 of a file's bytes, 8 hex digits. Raises OSError."""
    value = 0
    with path.open("rb", buffering=0) as f:
        while block := f.read(_BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk before going on. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sealed(value: Mapping[str, Any]) -> bytes:
    """A JSON mapping with the checksum of all that stands before it as its last member."""
    head = json_bytes({k: v for k, v in value.items() if k != "check"}).rstrip()[:-1].rstrip()
    return head + _CHECK + _end(head)


def unsealed(data: bytes) -> dict[str, Any]:
    """What `sealed` was given. Raises ValueError where it is damaged, and where it has no checksum."""
    if not _bears_checksum(data):
        raise ValueError("it has no checksum")
    value: dict[str, Any] = json_value(data)
    del value["check"]
    return value


def _bears_checksum(data: bytes) -> bool:
    """Whether it does at all. Raises ValueError where that is another than its own."""
    head, mark, end = data.rpartition(_CHECK)
    if mark and end != _end(head):
        raise ValueError("its checksum is another")
    return bool(mark)


def _end(head: bytes) -> bytes:
    return b'%08x"\n}\n' % zlib.crc32(head)


def seal(folder: Path, on_disk: bool = True) -> None:
    """List the files of a folder in its result.json. on_disk: have all of it on the disk before going on. Raises
    OSError, ValueError."""
    told = json_value((folder / RESULT).read_bytes()) if (folder / RESULT).exists() else {}
    files: dict[str, tuple[int, str]] = {}
    folders = [folder]
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            folders.append(path)
        elif path != folder / RESULT:
            files[path.relative_to(folder).as_posix()] = path.stat().st_size, checksum(path)
    (folder / RESULT).write_bytes(sealed({**told, _FILES: files}))
    if on_disk:
        for path in (*(folder / name for name in files), folder / RESULT, *reversed(folders)):
            sync(path)


def read_result(data: bytes) -> dict[str, Any]:
    """The value of a result.json, with a checksum or of an earlier version. Raises ValueError where it is damaged."""
    bears = _bears_checksum(data)
    value = json_value(data)
    if not isinstance(value, dict):
        raise ValueError("it holds no mapping")
    if not bears and ("check" in value or any(crc for _, crc in listed(value).values())):
        raise ValueError("its checksum is not where it belongs")
    return value


def listed(told: Mapping[str, Any]) -> dict[str, tuple[int, str | None]]:
    """The files of a result: name -> (bytes, CRC-32 or None where an earlier version wrote sizes only); empty where it
    has no list. Raises ValueError where that is none."""
    files = told.get(_FILES, {})
    found: dict[str, tuple[int, str | None]] = {}
    for name, said in files.items() if isinstance(files, dict) else [("", None)]:
        size, crc = said if isinstance(said, list) and len(said) == 2 else (said, None)
        inside = PurePosixPath(name)
        if not name or inside.is_absolute() or ".." in inside.parts or not isinstance(size, int):
            raise ValueError("its list of files is none")
        if crc is not None and not (isinstance(crc, str) and re.fullmatch("[0-9a-f]{8}", crc)):
            raise ValueError("its list of files is none")
        found[name] = size, crc
    return found


def fault(folder: Path, told: Mapping[str, Any], look: Look) -> str | None:
    """What is wrong with a folder's files, as the end of a sentence that begins with the folder; None where nothing is.

    told: its result.json. `moved` looks at all contents: what changed a file may have kept its times.
    """
    try:
        files = listed(told)
    except ValueError as e:
        return f"is damaged: {e}"
    for name, (size, crc) in files.items():
        path = folder / name
        try:
            found = path.stat()
            if kind := not_a_file(path):
                return f"is damaged: {name} is {kind}, and not a file"
            if found.st_size != size:
                return f"is damaged: {name} has {found.st_size} bytes instead of {size}"
            if look != "sizes" and crc is not None and checksum(path) != crc:
                return f"is damaged: {name} no longer holds what was written into it"
        except FileNotFoundError:
            return f"is not whole: {name} is missing"
        except OSError as e:
            return f"is damaged: {name} cannot be read ({e.strerror})"
    return None
