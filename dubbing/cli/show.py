"""Text for people: aligned tables, sizes, and JSON for machines. Everything here goes to stdout."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dubbing.cli.say import echo, safe

__all__ = ["PROVEN", "as_csv", "as_json", "counted", "latex", "latex_spread", "markdown", "number", "table"]


PROVEN = {True: "yes", False: "NO", None: "not compared"}
"""Whether a dub's masters were compared with its film, and nothing differed."""


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


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table as CSV (RFC 4180, but for line ends of one character) on stdout; None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    echo(text.getvalue(), nl=False)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown, None as an empty cell."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = (("" if v is None else " ".join(str(v).split()).replace("|", r"\|") for v in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {c: f"\\{c}" for c in "&%$#_{}"}


def latex(columns: Sequence[str], rows: Sequence[Sequence[str | int]], note: str) -> str:
    """A table for LaTeX with the rules of booktabs, the last row apart. columns, numbers and `latex_spread` are LaTeX
    already; the first cell of a row is a name. note: a comment above."""
    lines = [
        f"% {' '.join(note.split())}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        "\\toprule",
        " & ".join(columns) + r" \\",
        "\\midrule",
    ]
    for n, (name, *cells) in enumerate(rows, 1):
        if n == len(rows) > 1:
            lines.append("\\midrule")
        shown = "".join(_LATEX.get(c, c) for c in str(name))
        lines.append(" & ".join([shown, *map(str, cells)]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def latex_spread(mean: float | None, std: float | None, digits: int = 2) -> str:
    """`$7.41 \\pm 0.52$`; without a deviation the mean alone, without either a dash."""
    if mean is None:
        return "--"
    return f"${mean:.{digits}f}$" if std is None else f"${mean:.{digits}f} \\pm {std:.{digits}f}$"
