"""Which picture meets which sound in the protocols of published tables, by how HDTF and LRS2 lie on a disk.

    hdtf   a folder of films (Zhang et al. 2021), each driven by its own sound, or by the next one's by name
    lrs2   the folder of LRS2 (Chung et al. 2017), the clips of its `test.txt`; or the pairs of a list as Wav2Lip's
           authors publish it (Prajwal et al. 2020, section 4): a line is a sound and a picture, names without `.mp4`

It opens no film.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dubbing.errors import InputError
from dubbing.scoring import find_films
from dubbing.store import key_of

__all__ = ["DRIVEN", "PROTOCOLS", "Driven", "Pair", "pairs_of"]

Driven = Literal["own", "other"]
PROTOCOLS = ("hdtf", "lrs2")
DRIVEN: dict[str, Driven] = {"hdtf": "own", "lrs2": "other"}
"""What drives where nothing is said."""
_LIST, _MAIN, _FILM = "test.txt", "main", ".mp4"


@dataclass(frozen=True)
class Pair:
    """video: whose mouth is drawn anew; sound: of another film, or of the same one; name: of the pair in tables."""

    name: str
    video: Path
    sound: Path

    @property
    def own(self) -> bool:
        """Whether the picture's own sound drives."""
        return self.video == self.sound

    @property
    def id(self) -> str:
        """a-z, 0-9, _ and -, unique among the pairs."""
        stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in self.name.lower())
        return f"{stem[:40]}-{key_of(str(self.video), str(self.sound))[:6]}"


def pairs_of(protocol: str, root: Path, listed: Path | None = None, driven: Driven | None = None) -> list[Pair]:
    """The pairs of a data set, in the order of its list or of names.

    protocol: of PROTOCOLS; listed: a list of pairs, which names both sides; driven: what drives where there is none,
    None for DRIVEN. Raises InputError: no such data, a list that cannot be read, a film that it names and that is not
    there; MediaError: no film.
    """
    if not root.is_dir():
        raise InputError(f"{str(root)!r} is no folder; give that of {protocol.upper()}'s films.")
    base = root / _MAIN if (root / _MAIN).is_dir() else root
    if listed is not None:
        return [Pair(f"{v} by {s}", _film(base, v, listed), _film(base, s, listed)) for s, v in _lines(listed, 2)]
    if protocol == "lrs2":
        beside = next((f for f in (root / _LIST, base / _LIST, root.parent / _LIST) if f.is_file()), None)
        if beside is None:
            raise InputError(
                f"There is no {_LIST} in or beside {str(root)!r}: give the folder of LRS2 that holds it, or a list of "
                "pairs by --pairs FILE."
            )
        names = [line[0] for line in _lines(beside, 1)]
        films = [(name, _film(base, name, beside)) for name in names]
    else:
        films = [(p.relative_to(root).with_suffix("").as_posix(), p) for p in find_films([root])]
    if (driven or DRIVEN[protocol]) == "own":
        return [Pair(name, film, film) for name, film in films]
    return _turned(films)


def _turned(films: Sequence[tuple[str, Path]]) -> list[Pair]:
    """Each picture with the next one's sound."""
    if len(films) < 2:
        raise InputError("One film alone has no other's sound; give more films, or say --driven own.")
    after = [*films[1:], films[0]]
    return [Pair(f"{v} by {s}", film, sound) for (v, film), (s, sound) in zip(films, after, strict=True)]


def _lines(file: Path, least: int) -> list[list[str]]:
    """The words of each line that has any. Raises InputError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"The list {str(file)!r} cannot be read: {getattr(e, 'strerror', None) or e}.") from e
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and len(words) < least:
            raise InputError(
                f"{str(file)!r}, line {number}: a line is a sound and a picture, for example `0001/02 0003/04`; "
                f"found {line[:40]!r}."
            )
        if words:
            found.append(words[:least])
    if not found:
        raise InputError(f"The list {str(file)!r} is empty.")
    return found


def _film(base: Path, name: str, listed: Path) -> Path:
    path = base / (name if name.endswith(_FILM) else name + _FILM)
    if not path.is_file():
        raise InputError(f"{str(listed)!r} names {name}, and there is no {str(path)!r}.")
    return path
