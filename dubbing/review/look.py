"""The look of pages that are mailed, one file each: the review report, and the page of an evaluation."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["style"]


@cache
def style() -> str:
    """The style sheet, to stand in a page's head; it asks for nothing from outside."""
    return (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
