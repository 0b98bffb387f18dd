"""Films that are one file a picture: how they are named, and which files they are.

A sequence is given as its folder, as a pattern (`shot_%07d.dpx`, `shot_####.exr`, `shot_[0001-0240].dpx`), or, of DPX
and EXR, as its first file. What its headers do not say stands behind a `#` in its name (`shot_%07d.png#rate=24`),
where the manifest puts it, so that a path says all of a film to whoever opens it. It opens no picture: what is in the
files is for `media`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dubbing.errors import MediaError, several

__all__ = [
    "ENDINGS",
    "PRIMARIES",
    "TRANSFERS",
    "Sequence",
    "addressed",
    "find",
    "is_there",
    "may_be",
    "said_of",
    "stamp",
]

ENDINGS = {".dpx": "dpx", ".exr": "exr", ".tif": "tiff", ".tiff": "tiff", ".png": "png"}
"""FFmpeg's names of picture codecs, by the endings of files."""
TRANSFERS = {"bt709": 1, "srgb": 13, "pq": 16, "hlg": 18}
PRIMARIES = {"bt709": 1, "bt2020": 9, "p3": 12}
"""Names that a manifest has for the numbers of ITU-T H.273."""
_FIRST = (".dpx", ".exr")  # of the others one file is a photograph
_SAID = re.compile(r"#((?:rate|transfer|primaries)=[0-9a-z:/]+(?:,(?:rate|transfer|primaries)=[0-9a-z:/]+)*)$")
_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL | re.ASCII)
_PATTERN = re.compile(r"%(?:0(\d+))?d|(#+)|\[(\d+)-(\d+)\]", re.ASCII)
_GREATEST = (1 << 31) - 1  # number that FFmpeg counts to
_NAMED = 3


@dataclass(frozen=True)
class Sequence:
    """A sequence that is there, with no number missing. folder: of its files; before, after: their names around the
    number; width: digits of the number at least; first: number of the first picture; count: of pictures; rate: frames a
    second, transfer, primaries: of ITU-T H.273, None where only headers say them."""

    folder: Path
    before: str
    width: int
    after: str
    first: int
    count: int
    rate: Fraction | None = None
    transfer: int | None = None
    primaries: int | None = None

    @property
    def codec(self) -> str:
        """FFmpeg's name of what its pictures are in."""
        return ENDINGS[os.path.splitext("x" + self.after)[1].lower()]

    @property
    def pattern(self) -> str:
        """The name of its files: `shot_%07d.dpx`."""
        return f"{self.before}%0{self.width}d{self.after}"

    def name(self, picture: int) -> str:
        """The name of the file of a picture, which are counted from 0."""
        return f"{self.before}{self.first + picture:0{self.width}d}{self.after}"

    def file(self, picture: int) -> Path:
        """Where a picture lies, counted from 0."""
        return self.folder / self.name(picture)

    @property
    def files(self) -> Iterator[Path]:
        """All of its files, in order."""
        return (self.file(n) for n in range(self.count))

    def part(self, first: int, last: int) -> Path:
        """The path of its pictures [first, last), counted from 0, as a film."""
        ends = "-".join(f"{self.first + n:0{self.width}d}" for n in (first, last - 1))
        said: dict[str, str | int | Fraction | None] = {"rate": self.rate}
        for key, names, value in (("transfer", TRANSFERS, self.transfer), ("primaries", PRIMARIES, self.primaries)):
            said[key] = next((name for name, number in names.items() if number == value), None)
        return addressed(self.folder / f"{self.before}[{ends}]{self.after}", said)

    def content(self, hashed: Callable[[Path], str]) -> str:
        """Key of what it holds: sha256 of what is said of it, and of each file's name and hash."""
        digest = hashlib.sha256(f"{self.rate} {self.transfer} {self.primaries}\n".encode())
        for n in range(self.count):
            digest.update(f"{self.name(n)}\0{hashed(self.file(n))}\n".encode())
        return digest.hexdigest()


def _split(path: Path | str) -> tuple[Path, dict[str, str]]:
    """A path without what is said behind it, and that."""
    text = str(path)
    found = _SAID.search(text)
    if found is None or os.path.lexists(text):
        return Path(text), {}
    said = found[1].replace("/", ":")  # 24000/1001, as a manifest has it; no name of a file may
    return Path(text[: found.start()]), dict(part.split("=", 1) for part in said.split(","))


def may_be(path: Path | str) -> bool:
    """Whether a path could be a sequence's by its name, whatever is there."""
    base, _ = _split(path)
    return base.is_dir() or base.suffix.lower() in ENDINGS or not base.suffix


def said_of(path: Path | str) -> dict[str, str]:
    """What stands behind the `#` in the name of a sequence: `rate`, `transfer`, `primaries`, where they are there."""
    return _split(path)[1]


def addressed(path: Path, said: Mapping[str, str | int | Fraction | None]) -> Path:
    """The path of a sequence with what is said of it: `rate`, a fraction, `transfer` and `primaries`, names of this
    module's tables. What is None stays as the path has it."""
    base, already = _split(path)
    both = already | {key: str(value).replace("/", ":") for key, value in said.items() if value is not None}
    return Path(f"{base}#{','.join(f'{key}={both[key]}' for key in sorted(both))}") if both else base


def find(path: Path | str) -> Sequence | None:
    """The sequence that a path names; None where it names none, but a file, or nothing that is there.

    Raises MediaError: a number is missing in the middle, a folder holds several sequences, nothing has the pattern's
    name.
    """
    base, said = _split(path)
    ending = base.suffix.lower()
    pattern = _PATTERN.search(base.name) if ending in ENDINGS else None
    if base.is_dir():
        return _told(_of_folder(base), said)
    if os.path.lexists(base):
        if ending not in _FIRST or not base.is_file():
            return None
        parts = _NUMBER.match(base.name.removesuffix(base.suffix))
        if parts is None:
            raise MediaError(
                f"{base} is one picture; give the folder of a sequence, or a pattern as shot_%07d{ending}."
            )
        named = (parts[1], len(parts[2]), parts[3] + base.suffix)
        return _told(_listed(base.parent, *named, int(parts[2]), None), said)
    if pattern is None or not base.parent.is_dir():
        return None
    before, after = base.name[: pattern.start()], base.name[pattern.end() :]
    width = int(pattern[1] or 1) if pattern[2] is None and pattern[3] is None else len(pattern[2] or pattern[3])
    first, last = (int(pattern[3]), int(pattern[4])) if pattern[3] else (None, None)
    return _told(_listed(base.parent, before, width, after, first, last), said)


def is_there(path: Path | str) -> bool:
    """Whether a file or a whole sequence of that name is there."""
    if os.path.exists(path):
        return True
    try:
        return find(path) is not None
    except MediaError:
        return False


def _told(found: Sequence | None, said: Mapping[str, str]) -> Sequence | None:
    if found is None or not said:
        return found
    try:
        rate = Fraction(said["rate"].replace(":", "/")) if "rate" in said else None
        transfer = TRANSFERS[said["transfer"]] if "transfer" in said else None
        primaries = PRIMARIES[said["primaries"]] if "primaries" in said else None
    except (KeyError, ValueError, ZeroDivisionError) as e:
        raise MediaError(
            f"{found.folder / found.pattern}: what stands behind the # in its name is not known ({e})."
        ) from e
    return Sequence(found.folder, found.before, found.width, found.after, found.first, found.count, rate, transfer,
                    primaries)  # fmt: skip


def _of_folder(folder: Path) -> Sequence | None:
    """The one sequence of a folder; None where no picture is in it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in os.listdir(folder):
        suffix = os.path.splitext(name)[1]
        if suffix.lower() in ENDINGS and not name.startswith("."):
            parts = _NUMBER.match(name.removesuffix(suffix))
            if parts is None:
                groups.setdefault((name, ""), [])
            else:
                groups.setdefault((parts[1], parts[3] + suffix), []).append(parts[2])
    if not groups:
        return None
    if len(groups) > 1:
        named = ", ".join(
            _shown(before, numbers, after) for (before, after), numbers in sorted(groups.items())[:_NAMED]
        )
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        raise MediaError(f"{folder} holds several sequences ({named}{more}); name one of them by its pattern.")
    (((before, after), numbers),) = groups.items()
    return _checked(folder, before, after, numbers) if numbers else None


def _shown(before: str, numbers: list[str], after: str) -> str:
    return f"{before}%0{min(map(len, numbers))}d{after}" if numbers else before


def _listed(folder: Path, before: str, width: int, after: str, first: int | None, last: int | None) -> Sequence:
    """The files of a folder with such names, from a number to another where these are given."""
    numbers = []
    for name in os.listdir(folder):
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            digits = name[len(before) : len(name) - len(after)]
            if digits.isascii() and digits.isdigit() and len(digits) >= width:
                if (first is None or int(digits) >= first) and (last is None or int(digits) <= last):
                    numbers.append(digits)
    found = {int(digits) for digits in numbers}
    for end in (first, last):
        if end is not None and end not in found:
            raise MediaError(
                f"{folder} has no file {before}{end:0{width}d}{after}, with which the sequence begins or ends."
            )
    if not numbers:
        raise MediaError(f"No file in {folder} is named {before}%0{width}d{after}; check the pattern.")
    return _checked(folder, before, after, numbers)


def _checked(folder: Path, before: str, after: str, numbers: list[str]) -> Sequence:
    """Raises MediaError where numbers are missing, or are written in two ways."""
    width = min(map(len, numbers))
    values = sorted(int(digits) for digits in numbers)
    if values[-1] > _GREATEST:
        raise MediaError(
            f"{folder}: the numbers of {before}%d{after} go up to {values[-1]}, and {_GREATEST} is the greatest that "
            "is read; number the files anew."
        )
    try:
        f"{before}{after}".encode()
    except UnicodeEncodeError as e:
        raise MediaError(f"{folder} holds files whose names are not UTF-8; rename them.") from e
    if any(len(digits) > width and digits[0] == "0" for digits in numbers):
        raise MediaError(
            f"{folder}: some numbers of {before}%d{after} have {width} digits and some more; give them all as many."
        )
    if values[-1] - values[0] + 1 != len(values):
        gap = next(a + 1 for a, b in zip(values, values[1:], strict=False) if b != a + 1)
        many = values[-1] - values[0] + 1 - len(values)
        raise MediaError(
            f"{folder}: {before}{gap:0{width}d}{after} is missing from the sequence ({several(many, 'picture')} of "
            f"{values[-1] - values[0] + 1} in all); put it there, or name a part as {before}"
            f"[{values[0]:0{width}d}-{gap - 1:0{width}d}]{after}."
        )
    return Sequence(folder, before, width, after, values[0], len(values))


def stamp(sequence: Sequence) -> tuple[int, int, int, int]:
    """What changes when a sequence does: bytes in all, when a file was last written (ns), how many there are, and a
    number made of each name, size, time and number on the disk. When an entry was changed does not count: a master's
    hard links change that. Raises OSError."""
    total, latest = 0, 0
    digest = hashlib.blake2b(digest_size=7)
    for n in range(sequence.count):
        found = sequence.file(n).stat()
        total, latest = total + found.st_size, max(latest, found.st_mtime_ns)
        digest.update(f"{sequence.name(n)}\0{found.st_size} {found.st_mtime_ns} {found.st_ino}\n".encode())
    return total, latest, sequence.count, int.from_bytes(digest.digest())
