"""Means per speaker, as papers give them: of each speaker's values, and of all of them. Knows no measure."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

__all__ = ["ALL", "means", "speakers"]

ALL = "all"


def speakers(films: Iterable[str]) -> dict[str, str]:
    """Film -> whose it is: the first folder below the one that all films share, as LRS2, LRS3 and VoxCeleb lie; of
    films that share one folder each is a speaker of its own, by its name without suffix."""
    paths = {film: Path(os.path.abspath(film)) for film in films}
    folders = {p.parent for p in paths.values()}
    if len(folders) < 2:
        return {film: path.stem for film, path in paths.items()}
    shared = Path(os.path.commonpath(folders))
    return {film: (*path.parent.relative_to(shared).parts, path.stem)[0] for film, path in paths.items()}


def means(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """One line per speaker, in alphabetical order, and a last one of `ALL` rows, whatever their speaker.

    rows: each with `speaker` and some of `names`, None or absent where not measured. A line: speaker; count: rows in
    which any of the names was measured; <name>_mean; <name>_std: the sample standard deviation (over n - 1), None of
    fewer than two values.
    """
    held: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if any(row.get(name) is not None for name in names):
            held[row["speaker"]].append(row)
    every = [row for mine in held.values() for row in mine]
    return [_line(who, mine, names) for who, mine in [*sorted(held.items()), *([(ALL, every)] if every else [])]]


def _line(who: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    line: dict[str, Any] = {"speaker": who, "count": len(rows)}
    for name in names:
        values = [float(row[name]) for row in rows if row.get(name) is not None]
        line[f"{name}_mean"] = fmean(values) if values else None
        line[f"{name}_std"] = stdev(values) if len(values) > 1 else None
    return line
