"""The mouths that each person of a title may lend to any of its shots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dubbing.artifact import Artifact

__all__ = ["DonorStores"]


@dataclass(frozen=True)
class DonorStores(Artifact):
    """The stores of a title's people, as files in its folder; they are never copied elsewhere."""

    schema: ClassVar[str] = "dub.donors.1"
    store_files: Mapping[int, str]
    """Name of the store's file by the person's number (`Speaking.actor`); with nothing to lend there is none."""
    frames: Mapping[int, int]
    """How many frames each of them holds."""
