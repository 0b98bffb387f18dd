"""Rows of an evaluation: one per number, schema `dub.eval.1`; their medians; the goals beside them.

A clip that could not be measured has one row per measure that says why. Extend at the end only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.errors import OutputError
from dubbing.store import Store

__all__ = ["GOALS", "SCHEMA", "by_clip", "median_of", "read_table", "row", "summary", "write_table"]

NAME = "dub.eval.1"
_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        *((n, _TEXT) for n in ("clip", "video", "track", "language", "input", "measure", "name")),
        ("value", pa.float64()),  # null where reason says why
        ("reason", _TEXT),
        *((n, _TEXT) for n in ("generator", "generator_hash", "lse_model")),
        ("seen", pa.bool_()),  # whether the shipped prior and expert were trained on this very file
        ("seconds", pa.float32()),  # of the processor that the measure took on this clip
        ("key", _TEXT),
    ],
    metadata={"schema": NAME},
)
# (column, measure, name, goal, how the goal reads): what the printed table and the page show.
GOALS: tuple[tuple[str, str, str, str], ...] = (
    ("fitted", "hearing", "fitted_opening_corr", "0.70"),
    ("prior", "hearing", "prior_opening_corr", "0.60"),
    ("ridge", "hearing", "ridge_opening_corr", ""),
    ("PSNR", "rendering", "psnr_db", ""),
    ("M-LMD", "rendering", "m_lmd", ""),
    ("follows", "following", "opening_corr", "0.95"),
    ("steady", "steadiness", "lips", "0.8-1.2"),
    ("sharp", "rendering", "sharpness", "0.9-1.1"),
    ("seam", "seam", "edge", "<1.1"),
    ("silence", "silence", "motion_ratio", ""),
    ("recovery", "sync", "recovery", "0.90"),
    ("offset", "sync", "offset_frames_abs", "<=1"),
    ("ms/frame", "rendering", "render_ms_per_frame", "15"),
    ("fit ms", "hearing", "fit_ms_per_frame", "8"),
)


def row(measure: str, name: str, value: float | None, **more: Any) -> dict[str, Any]:
    """One number; more: any other columns. What is not finite is no number."""
    real = None if value is None or not np.isfinite(value) else float(value)
    return {"measure": measure, "name": name, "value": real, **more}


def write_table(store: Store, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Commit the rows in one rename. Raises OutputError when that cannot be done."""
    columns = [{n: r.get(n) for n in SCHEMA.names} for r in rows]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(columns, SCHEMA), buffer, compression="zstd")
    store.write_bytes(path, buffer.getvalue())


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a file written here. Raises OutputError for any other file."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as e:
        raise OutputError(f"{str(path)!r} is no table of an evaluation; give a folder that `dub eval` wrote.") from e
    if (table.schema.metadata or {}).get(b"schema") != NAME.encode():
        raise OutputError(f"{str(path)!r} is a table, but not of an evaluation ({NAME}).")
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def by_clip(
    rows: Iterable[Mapping[str, Any]], measure: str, name: str, *, input: str = "moving", language: str | None = None
) -> dict[str, float]:
    """clip -> the median over its tracks and languages. language: of one only."""
    found: dict[str, list[float]] = defaultdict(list)
    for r in rows:
        if (r["measure"], r["name"]) != (measure, name) or r.get("value") is None:
            continue
        if (r.get("input") or "moving") != input or (language is not None and r.get("language") != language):
            continue
        found[r["clip"]].append(r["value"])
    return {clip: float(np.median(values)) for clip, values in found.items()}


def median_of(values: Iterable[float]) -> float | None:
    """The median, or None of nothing."""
    held = list(values)
    return float(np.median(held)) if held else None


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every number's median over clips: measure, name, language (of the languages table), input, value, clips.

    The median of each clip's own median, so that a long clip counts once.
    """
    keys: dict[tuple[str, str, str], None] = {}
    for r in rows:
        if r.get("value") is not None:
            keys[(r["measure"], r["name"], r.get("input") or "moving")] = None
    made = []
    for measure, name, kind in keys:
        values = by_clip(rows, measure, name, input=kind)
        made.append({"measure": measure, "name": name, "input": kind, "value": median_of(values.values()),
                     "clips": len(values)})  # fmt: skip
    return made
