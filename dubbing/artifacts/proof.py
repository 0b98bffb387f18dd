"""What was found of the masters of a dub, when they were compared with the film and the sound that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dubbing.artifact import Artifact
from dubbing.media import Check, Sums

__all__ = ["MasterProof", "Proof"]


@dataclass(frozen=True)
class MasterProof:
    """What was found of one master."""

    file: str
    """Its name."""
    checks: tuple[Check, ...]
    """One for each thing that was compared, or that was not, with the reason."""
    pictures: Mapping[str, Any] | None
    """What was seen of its pictures, as in `dub verify --json`; None where they were not compared."""

    @property
    def differing(self) -> tuple[Check, ...]:
        """The checks that found a difference."""
        return tuple(c for c in self.checks if c.status == "differs")

    @property
    def sentence(self) -> str:
        """What is wrong with it; empty where nothing is."""
        found = "; ".join(f"{c.what}: {c.detail}" for c in self.differing)
        return f"{self.file} is not proven: {found}" if found else ""


@dataclass(frozen=True)
class Proof(Artifact):
    """The proof of a dub's masters."""

    schema: ClassVar[str] = "dub.proof.1"
    master: str
    """Key of the result that holds the masters."""
    masters: tuple[MasterProof, ...]
    """One for each, in their order; none of a window."""
    sums: tuple[Sums | None, ...] = ()
    """Of a window, what the pictures of each master come to; None where all of it has to be looked at."""

    @property
    def verified(self) -> bool:
        """Whether nothing differs in any of them."""
        return not any(one.differing for one in self.masters)
