"""Text for people: aligned tables, sizes, and JSON for machines. Everything here goes to stdout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dubbing.cli.say import echo, safe

__all__ = ["as_json", "counted", "number", "table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, None as a dash, no line is wrapped."""
    from rich.cells import cell_len

    cells = [[*columns], *([("-" if v is None else safe(" ".join(str(v).split("\n")))) for v in row] for row in rows)]
    right = [all(_is_number(row[i]) for row in cells[1:]) and len(cells) > 1 for i in range(len(columns))]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        padded = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if to_right else text + space)
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace(",", "").lstrip("+-").removesuffix(" %").isdigit()


def number(value: float | None, digits: int = 2) -> str | None:
    """`1.50`, or None."""
    return None if value is None else f"{value:.{digits}f}"


def counted(counts: Mapping[str, int]) -> str:
    """`5 dubbed, 4 untouched`."""
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "nothing"


def as_json(value: Any) -> None:
    """One JSON value on stdout."""
    echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))
