"""H.264 and HEVC in units: how they lie in a packet, and the parameter sets that a decoder needs before a picture.

A film's sets and an encoder's of H.264 can stand side by side in one header, if they have other numbers: then pictures
of both can lie in one stream. In HEVC, whose encoder knows no other numbers, each key frame brings its own sets.
Sources: ITU-T H.264 (7.3, 7.4) and H.265 (7.3.1, 7.4.2), ISO/IEC 14496-15 (5.3.3 and 8.3.3, the records that mp4, mov
and Matroska hold). It knows neither packets' times nor containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["HevcSets", "Sets", "packed", "sets_of", "units"]

_CHROMA_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128)
_MOST_SETS = 31


def units(data: bytes, prefix: int) -> Iterator[bytes]:
    """The units of a packet. prefix: how many bytes say the length of each; 0: they are told apart by start codes
    (Annex B). Raises ValueError where they do not fit."""
    at = 0
    if prefix:
        while at < len(data):
            begin = at + prefix
            at = begin + int.from_bytes(data[at:begin], "big")
            if at > len(data) or at == begin:
                raise ValueError("a unit does not fit into its packet")
            yield data[begin:at]
        return
    at = data.find(b"\0\0\1")
    while at >= 0:
        begin = at + 3
        at = data.find(b"\0\0\1", begin)
        unit = data[begin : at if at >= 0 else len(data)].rstrip(b"\0")
        if unit:
            yield unit


def packed(parts: Iterable[bytes]) -> bytes:
    """A packet of units, each after its length in four bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@dataclass(frozen=True)
class _Sequence:
    """What a sequence's set says. shape: what decoded pictures are like: format, depths, size in macroblocks; fields:
    whether pictures may be coded as fields; chroma: of the header of high profiles, format and depths."""

    number: int
    shape: tuple[int, ...]
    fields: bool
    chroma: tuple[int, int, int]

    @classmethod
    def of(cls, unit: bytes) -> _Sequence:
        bits = _Bits(unit[4:])
        number = bits.ue()
        chroma, luma_depth, chroma_depth = 1, 8, 8
        if unit[1] in _CHROMA_PROFILES:
            chroma = bits.ue()
            if chroma == 3:
                bits.take(1)
            luma_depth, chroma_depth = 8 + bits.ue(), 8 + bits.ue()
            bits.take(1)
            if bits.take(1):
                for n in range(8 if chroma != 3 else 12):
                    if bits.take(1):
                        _skip_scaling(bits, 16 if n < 6 else 64)
        bits.ue()
        order = bits.ue()
        if order == 0:
            bits.ue()
        elif order == 1:
            bits.take(1)
            for _ in range(2):
                bits.se()
            for _ in range(bits.ue()):
                bits.se()
        bits.ue()
        bits.take(1)
        width, height = 1 + bits.ue(), 1 + bits.ue()
        whole = bits.take(1)
        shape = (chroma, luma_depth, chroma_depth, width, height * (2 - whole))
        return cls(number, shape, not whole, (chroma, luma_depth, chroma_depth))


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


class _Bits:
    """Numbers of a unit's payload, one after another (ITU-T H.264, 7.2 and 9.1)."""

    def __init__(self, payload: bytes) -> None:
        plain = payload.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in plain)
        self._at = 0

    def take(self, count: int) -> int:
        part = self._bits[self._at : self._at + count]
        if len(part) < count:
            raise ValueError("a parameter set ends early")
        self._at += count
        return int(part, 2) if part else 0

    def ue(self) -> int:
        one = self._bits.find("1", self._at)
        if not 0 <= one - self._at < 32:
            raise ValueError("a parameter set is damaged")
        zeros, self._at = one - self._at, one
        return self.take(zeros + 1) - 1

    def se(self) -> int:
        coded = self.ue()
        return (coded + 1) // 2 if coded % 2 else -(coded // 2)


@dataclass(frozen=True)
class Sets:
    """The parameter sets of a stream. sequences, pictures: their units; prefix: of the stream's packets, as `units`
    takes it; tag: four letters for mp4 and mov; kinds: types of units that are sets; plain: those that a copied packet
    may hold: slices, their sets, messages and marks."""

    tag: ClassVar[str] = "avc1"
    kinds: ClassVar[frozenset[int]] = frozenset({7, 8})
    plain: ClassVar[frozenset[int]] = frozenset({1, 5, 6, 7, 8, 9, 10, 11, 12})
    sequences: tuple[bytes, ...]
    pictures: tuple[bytes, ...]
    prefix: int

    @classmethod
    def of(cls, header: bytes) -> Sets:
        """From a stream's header: the record of a container, or units after start codes. Raises ValueError where it is
        neither, or without sets."""
        if header[:1] == b"\1":
            prefix, found, at = (header[4] & 3) + 1, [], 5
            for mask in (31, 255):
                count, at, some = header[at] & mask if at < len(header) else 0, at + 1, []
                for _ in range(count):
                    length = int.from_bytes(header[at : at + 2], "big")
                    some.append(header[at + 2 : at + 2 + length])
                    at += 2 + length
                found.append(tuple(some))
            if at > len(header):
                raise ValueError("the header ends early")
            made = cls(found[0], found[1], prefix)
        else:
            all_of = list(units(header, 0))
            sequences, pictures = (tuple(u for u in all_of if u[0] & 31 == kind) for kind in (7, 8))
            made = cls(sequences, pictures, 0)
        if not made.sequences or not made.pictures or min(map(len, made.sequences + made.pictures)) < 2:
            raise ValueError("the header has no parameter sets")
        return made

    @staticmethod
    def kind(unit: bytes) -> int:
        """The type of a unit."""
        return unit[0] & 31

    @staticmethod
    def clean(kinds: set[int]) -> bool:
        """Whether a packet with units of these types is a clean key frame: all of its slices are of an IDR picture."""
        return 5 in kinds and 1 not in kinds

    def why_not(self) -> str:
        """Why an encoder's pictures cannot stand beside those of these sets; '' where they can. Raises ValueError."""
        if any(one.fields for one in self.read):
            return "its pictures may be coded as fields"
        if len({one.shape for one in self.read}) > 1:
            return "its header has pictures of several kinds"
        return "" if self.free() is not None else "its parameter sets leave no number for an encoder's"

    def options(self) -> dict[str, str]:
        """For an encoder whose pictures are to stand beside these."""
        return {"x264-params": f"sps-id={self.free()}:annexb=0"}

    def beside(self, header: bytes) -> bytes | None:
        """The record for pictures of these sets and of an encoder with that header; None where these are of another
        kind."""
        made = Sets.of(header)
        return (self + made).record() if {one.shape for one in made.read} == {one.shape for one in self.read} else None

    def copied(self, packet: bytes, key: bool) -> bytes:
        """A packet as it stands beside an encoder's, with four-byte lengths."""
        return packed(units(packet, self.prefix))

    def encoded(self, packet: bytes) -> bytes | None:
        """An encoder's packet as it stands beside these; None where it is as it came."""
        return None

    def holds(self, unit: bytes) -> bool:
        """Whether a set is one of these, byte for byte."""
        return unit in self.sequences or unit in self.pictures

    @property
    def read(self) -> tuple[_Sequence, ...]:
        """What the sequences' sets say. Raises ValueError."""
        return tuple(map(_Sequence.of, self.sequences))

    def free(self) -> int | None:
        """A number that no set has, the greatest; None where all are taken. Raises ValueError."""
        taken = {one.number for one in self.read} | {_Bits(unit[1:]).ue() for unit in self.pictures}
        return next((n for n in range(_MOST_SETS, -1, -1) if n not in taken), None)

    def record(self) -> bytes:
        """The record of a container with all of these sets, for packets whose units' lengths have four bytes: of the
        highest profile and level among them. Raises ValueError."""
        profile = max((unit[1] for unit in self.sequences), key=_rank)
        same = [unit[2] for unit in self.sequences if unit[1] == profile]
        limits = same[0]
        for flags in same[1:]:
            limits &= flags
        level = max(unit[3] for unit in self.sequences)
        made = bytearray([1, profile, limits, level, 0xFF, 0xE0 | len(self.sequences)])
        for unit in self.sequences:
            made += len(unit).to_bytes(2, "big") + unit
        made.append(len(self.pictures))
        for unit in self.pictures:
            made += len(unit).to_bytes(2, "big") + unit
        if profile in _CHROMA_PROFILES:
            chroma, luma, other = self.read[0].chroma
            made += bytes([0xFC | chroma, 0xF8 | luma - 8, 0xF8 | other - 8, 0])
        return bytes(made)

    def __add__(self, other: Sets) -> Sets:
        """Both, for packets of four-byte lengths."""
        return Sets(self.sequences + other.sequences, self.pictures + other.pictures, 4)


def _rank(profile: int) -> int:
    """By how much a profile can."""
    order = (66, 77, 88, 100, 110, 122, 244)
    return order.index(profile) if profile in order else len(order)


@dataclass(frozen=True)
class HevcSets:
    """The same of HEVC, where an encoder's sets have the numbers that the film's have: so each key frame brings those
    that it needs. sets: the units in their order; head: of the record; arrays: its arrays."""

    tag: ClassVar[str] = "hev1"
    kinds: ClassVar[frozenset[int]] = frozenset({32, 33, 34})
    plain: ClassVar[frozenset[int]] = frozenset((*range(10), *range(16, 22), *range(32, 41)))
    sets: tuple[bytes, ...]
    prefix: int
    head: bytes
    arrays: tuple[tuple[int, tuple[bytes, ...]], ...]

    @classmethod
    def of(cls, header: bytes) -> HevcSets:
        """From a container's record. Raises ValueError where it is none, or without sets."""
        if len(header) < 23 or header[0] != 1:
            raise ValueError("the header is no record")
        arrays, at = [], 23
        for _ in range(header[22]):
            kind, count = header[at] & 63, int.from_bytes(header[at + 1 : at + 3], "big")
            at, some = at + 3, []
            for _ in range(count):
                length = int.from_bytes(header[at : at + 2], "big")
                some.append(header[at + 2 : at + 2 + length])
                at += 2 + length
            arrays.append((kind, tuple(some)))
        sets = tuple(u for kind in sorted(cls.kinds) for k, some in arrays if k == kind for u in some)
        if at > len(header) or {cls.kind(unit) for unit in sets if len(unit) > 2} != cls.kinds:
            raise ValueError("the header has no parameter sets")
        return cls(sets, (header[21] & 3) + 1, header[:22], tuple(arrays))

    @staticmethod
    def kind(unit: bytes) -> int:
        """The type of a unit; 255 of one of a further layer."""
        layer = (unit[0] & 1) << 5 | unit[1] >> 3 if len(unit) > 1 else 1
        return 255 if layer else unit[0] >> 1 & 63

    @staticmethod
    def clean(kinds: set[int]) -> bool:
        """As of `Sets`."""
        return bool(kinds & {19, 20}) and not {kind for kind in kinds if kind < 32} - {19, 20}

    def why_not(self) -> str:
        """As of `Sets`."""
        return ""

    def holds(self, unit: bytes) -> bool:
        """As of `Sets`."""
        return unit in self.sets

    def options(self) -> dict[str, str]:
        """As of `Sets`."""
        return {"x265-params": "repeat-headers=1"}

    def beside(self, header: bytes) -> bytes | None:
        """As of `Sets`: the film's own, which says that sets may come on the way too."""
        made = bytearray(self.head[:21] + bytes([self.head[21] | 3, len(self.arrays)]))
        for kind, some in self.arrays:
            made += bytes([kind]) + len(some).to_bytes(2, "big")
            for unit in some:
                made += len(unit).to_bytes(2, "big") + unit
        return bytes(made)

    def copied(self, packet: bytes, key: bool) -> bytes:
        """As of `Sets`; a key frame with the sets before it."""
        parts = list(units(packet, self.prefix))
        if not key or self.kinds <= {self.kind(part) for part in parts}:
            return packed(parts)
        begin = 1 if self.kind(parts[0]) == 35 else 0  # what marks the beginning comes first
        return packed([*parts[:begin], *self.sets, *(p for p in parts[begin:] if self.kind(p) not in self.kinds)])

    def encoded(self, packet: bytes) -> bytes | None:
        """As of `Sets`."""
        return packed(units(packet, 0))


def sets_of(codec: str, header: bytes) -> Sets | HevcSets:
    """Those of a stream of `h264` or `hevc`. Raises ValueError: there are none that can be read."""
    try:
        return HevcSets.of(header) if codec == "hevc" else Sets.of(header)
    except IndexError as e:
        raise ValueError("the header ends early") from e
