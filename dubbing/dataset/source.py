"""One clip that a data folder is made of. It knows no layout and no stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """One clip to be looked at. id: unique, its path without ending; path: the file; split: the layout's own word on
    it, or None; known: what a finished title's analysis knows of it (see `titles`)."""

    id: str
    speaker: str
    path: Path
    split: str | None = None
    known: Any = None
