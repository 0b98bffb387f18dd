"""Whether a file is as long as its container says: a copy that broke off ends before its last element does.

Reads only the lengths of the outermost elements, never media. Formats that state no length (MPEG program streams,
raw streams, files that were written live) say nothing here; what is lost of them shows when they are decoded.

Sources: RFC 9559 and RFC 8794 (Matroska, EBML), ISO 14496-12 (MP4), Microsoft's AVI RIFF reference with OpenDML 1.02
(AVI), ISO 13818-1 (transport streams), SMPTE 377-1 (MXF).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dubbing.errors import MediaError

__all__ = ["check_length"]

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_PARTITION = bytes.fromhex("060e2b34020501010d010201")
_HEADER, _FOOTER_AT = 0x02, 24
_SYNC, _PACKETS = 0x47, {188: 0, 192: 4, 204: 0}
_MOST_BOXES = 100_000


def check_length(path: Path | str, container: str) -> None:
    """Raises MediaError where the file is shorter than its container promises. container: FFmpeg's name of it."""
    find = next((f for name, f in _READERS.items() if name in container.split(",")), None)
    if find is None:
        return
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        promised = find(file, size)
    if promised > size:
        raise MediaError(
            f"{path} is truncated: it holds {size:,} bytes of the {promised:,} that its container promises; "
            "copy it again."
        )


def _matroska(file: BinaryIO, size: int) -> int:
    """End of the segment, or of the header before it."""
    at = 0
    while at < size:
        file.seek(at)
        name = file.read(4)
        length, digits = _vint(file)
        if name not in (_EBML, _SEGMENT) or length is None:
            return 0
        at += 4 + digits + length
        if name == _SEGMENT:
            return at
    return at


def _vint(file: BinaryIO) -> tuple[int | None, int]:
    """An EBML length and how many bytes it takes; None where it is unknown or none."""
    first = file.read(1)
    if not first or not first[0]:
        return None, 1
    digits = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(digits - 1), "big") & ((1 << 7 * digits) - 1)
    return (None if value == (1 << 7 * digits) - 1 else value), digits


def _boxes(file: BinaryIO, size: int) -> int:
    """End of the last box that holds media or its index."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            break
        at += length
        if at > size:
            return at if kind in (b"mdat", b"moov", b"moof") else 0
    return 0


def _riff(file: BinaryIO, size: int) -> int:
    """End of the last RIFF chunk; OpenDML files have several."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        at += 8 + length + length % 2
    return at - 1 if at == size + 1 else at


def _transport(file: BinaryIO, size: int) -> int:
    """End of the last packet, by the distance of the first ones."""
    head = file.read(204 * 4)
    for step, before in _PACKETS.items():
        places = range(before, len(head), step)
        if size >= 2 * step and all(head[i] == _SYNC for i in places):
            return -(-size // step) * step
    return 0


def _mxf(file: BinaryIO, size: int) -> int:
    """End of the last element of the footer, where the header says that there is one."""
    head = file.read(256)
    if not head.startswith(_PARTITION) or head[13] != _HEADER:
        return 0
    _, at = _ber(head[16:])
    footer = int.from_bytes(head[16 + at + _FOOTER_AT : 16 + at + _FOOTER_AT + 8], "big")
    if not footer:
        return 0
    at = footer
    while at < size:
        file.seek(at + 16)
        length, digits = _ber(file.read(9))
        at += 16 + digits + length
    return max(at, footer + 17)


def _ber(data: bytes) -> tuple[int, int]:
    """A KLV length, and how many bytes it takes."""
    more = data[0] & 0x7F if data and data[0] & 0x80 else 0
    return (int.from_bytes(data[1 : 1 + more], "big") if more else (data or b"\0")[0]), 1 + more


_READERS: dict[str, Callable[[BinaryIO, int], int]] = {
    "matroska": _matroska, "mov": _boxes, "avi": _riff, "mpegts": _transport, "mxf": _mxf,
}  # fmt: skip
