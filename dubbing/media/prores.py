"""ProRes pictures of which a part is another: only the slices that it touches are encoded, all others stay as they are.

A ProRes picture is made of slices, 16 lines high and up to 8 macroblocks of 16 pixels wide, that know nothing of each
other. Where a new part lies, a cut-out of whole slices is encoded, with the finest quantiser that the source has there,
and its slices take the old ones' places in the source's own packet.

Source: SMPTE RDD 36 (frame header 5.1, picture header 5.2, slices 5.3). Interlaced pictures are not for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Box", "spliced"]

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels of the coded picture."""

_MB = 16
_MOST_QUANTISER = 64  # that FFmpeg's encoder can be held to
_FLAT = bytes([4] * 64)


@dataclass(frozen=True)
class _Picture:
    """One packet, taken apart. kind: what two packets must have in common for their slices to be exchanged: chroma,
    alpha and quantisation matrices; at: where its picture header, the table of slices and the slices begin."""

    data: bytes
    size: tuple[int, int]
    kind: tuple[int, int, bytes, bytes]
    at: tuple[int, int, int]
    lengths: tuple[int, ...]
    log2: int

    @property
    def grid(self) -> list[tuple[int, int]]:
        """First macroblock and width of each slice of one row."""
        across, width = -(-self.size[0] // _MB), 1 << self.log2
        found, x = [], 0
        while x < across:
            while across - x < width:
                width >>= 1
            found.append((x, width))
            x += width
        return found

    def slices(self) -> list[bytes]:
        """Row by row, left to right."""
        at, found = self.at[2], []
        for length in self.lengths:
            found.append(self.data[at : at + length])
            at += length
        return found


def _taken_apart(data: bytes) -> _Picture | None:
    """None of a packet that is not one whole progressive picture."""
    try:
        if data[4:8] != b"icpf":
            return None
        (header,) = struct.unpack_from(">H", data, 8)
        width, height = struct.unpack_from(">HH", data, 16)
        flags, alpha, loads = data[20], data[25] & 15, data[27]
        if flags >> 2 & 3:
            return None
        at, matrices = 28, [_FLAT, _FLAT]
        if loads & 2:
            matrices, at = [data[at : at + 64]] * 2, at + 64
        if loads & 1:
            matrices[1] = data[at : at + 64]
        picture = 8 + header
        table = picture + (data[picture] >> 3)
        (count,) = struct.unpack_from(">H", data, picture + 5)
        lengths = struct.unpack_from(f">{count}H", data, table)
    except (IndexError, struct.error):
        return None
    first = table + 2 * count
    made = _Picture(
        data,
        (width, height),
        (flags >> 6, alpha, matrices[0], matrices[1]),
        (picture, table, first),
        lengths,
        data[picture + 7] >> 4,
    )
    whole = first + sum(lengths) <= len(data) and min(lengths, default=0) > 2
    return made if whole and count == len(made.grid) * -(-height // _MB) else None


def spliced(packet: bytes, parts: Iterable[Box], encode: Callable[[Box, int], bytes | None]) -> bytes | None:
    """A packet with new slices where the picture has changed; None where that cannot be: interlaced, or made by an
    encoder whose quantisation matrices are others. parts: where it has; encode(box, quantiser): the packet of a
    cut-out of the new picture, whose every slice has that quantiser (1 to 64)."""
    own = _taken_apart(packet)
    if own is None:
        return None
    grid, slices = own.grid, own.slices()
    for part in parts:
        columns, rows, box = _around(part, own, grid)
        places = [row * len(grid) + column for row in rows for column in columns]
        if not places:
            continue
        quantiser = min(slices[n][1] for n in places)
        made = encode(box, quantiser) if 1 <= quantiser <= _MOST_QUANTISER else None
        new = None if made is None else _taken_apart(made)
        if new is None or (new.kind, new.log2, len(new.lengths)) != (own.kind, own.log2, len(places)):
            return None
        for n, one in zip(places, new.slices(), strict=True):
            slices[n] = one
    return _put_together(own, slices)


def _around(part: Box, own: _Picture, grid: list[tuple[int, int]]) -> tuple[range, range, Box]:
    """The columns and rows of slices that a part touches, and the cut-out that holds just these. Where the picture's
    right edge has narrower slices, it goes on to that edge, so that the cut-out has the same."""
    x, y, width, height = part
    left, right = max(0, x) // _MB, -(-min(own.size[0], x + width) // _MB)
    columns = [n for n, (a, wide) in enumerate(grid) if a < right and a + wide > left]
    if columns and grid[columns[-1]][1] < 1 << own.log2:
        full = [n for n in range(len(grid)) if grid[n][1] == 1 << own.log2]
        columns = [min(columns[0], full[-1] + 1 if full else 0), len(grid) - 1]
    rows = range(max(0, y) // _MB, -(-min(own.size[1], y + height) // _MB))
    if not columns or not rows:
        return range(0), range(0), (0, 0, 0, 0)
    first, last = grid[columns[0]][0] * _MB, sum(grid[columns[-1]]) * _MB
    top, bottom = rows.start * _MB, min(own.size[1], rows.stop * _MB)
    return range(columns[0], columns[-1] + 1), rows, (first, top, min(own.size[0], last) - first, bottom - top)


def _put_together(own: _Picture, slices: list[bytes]) -> bytes | None:
    """The packet with other slices."""
    picture, table, first = own.at
    if max(map(len, slices)) > 0xFFFF:
        return None
    more = sum(map(len, slices)) - sum(own.lengths)
    data = bytearray(own.data[:table])
    for at in (0, picture + 1):
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + more)
    data += struct.pack(f">{len(slices)}H", *map(len, slices)) + b"".join(slices)
    return bytes(data) + own.data[first + sum(own.lengths) :]
