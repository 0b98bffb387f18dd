"""What is said of one published file, and of the terms under which it may be used."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HUB", "MAX_BYTES", "Licence", "Model"]

HUB = "https://huggingface.co"  # where several authors publish; a file lies under REPOSITORY/resolve/main/
MAX_BYTES = 2_000_000_000  # no larger file is taken for a model whose size is not known


@dataclass(frozen=True)
class Licence:
    """The terms under which a model may be used.

    word: for a table; text: one or two full sentences; use: what it may be used for, in a few words;
    limited: whether a person has to accept `text` before the file is pulled or added.
    """

    word: str
    text: str
    use: str
    limited: bool = False


@dataclass(frozen=True)
class Model:
    """One file of published weights.

    name: as in settings and on the command line; file: its name in the model store and under a mirror's base;
    what: it is; source: the page of its authors; layout: how its tensors are kept; size: bytes, and
    sha256: hex, None where nobody could confirm them; urls: where the file itself can be loaded from,
    tried in this order; by_hand: why there is none.
    """

    name: str
    file: str
    what: str
    licence: Licence
    source: str
    layout: str
    size: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    by_hand: str = "its authors offer no stable download"

    @property
    def limit_bytes(self) -> int:
        """The most bytes that are loaded for it."""
        return MAX_BYTES if self.size is None else self.size
