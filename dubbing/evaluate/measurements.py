"""Rows of an evaluation: one per number, schema `dub.eval.1`; their medians over clips, generators and languages.

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

__all__ = ["BESIDE", "COLUMNS", "SCHEMA", "absent", "by_clip", "by_generator", "languages", "measured_beside",
           "median_of", "read_table", "row", "side_by_side", "summary", "write_table"]  # fmt: skip

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
        ("model", _TEXT),  # which checkpoint, where the generator has several
        ("person", _TEXT),  # whose face, within the clip, where that is known
        ("by", _TEXT),  # what measured it and how, where it is by other people's: program, weights, options
    ],
    metadata={"schema": NAME},
)
# (column, measure, name, digits): what the printed table and the page show of each clip.
COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("fitted", "hearing", "fitted_opening_corr", 2),
    ("prior", "hearing", "prior_whole_opening_corr", 2),
    ("error", "hearing", "fitted_opening_error", 3),
    ("width", "hearing", "fitted_width_corr", 2),
    ("lips", "hearing", "fitted_protrusion_corr", 2),
    ("ridge", "hearing", "ridge_opening_corr", 2),
    ("lag", "hearing", "prior_best_lag_s", 2),
    ("leak", "hearing", "fitted_leak", 2),
    ("PSNR", "rendering", "psnr_db", 1),
    ("SSIM", "rendering", "ssim", 2),
    ("M-LMD", "rendering", "m_lmd", 4),
    ("sharp", "rendering", "sharpness", 2),
    ("CPBD", "rendering", "cpbd_ratio", 2),
    ("VMAF", "rendering", "vmaf", 1),
    ("FID", "rendering", "fid", 1),
    ("CSIM", "rendering", "csim", 3),
    ("steady*", "rendering", "steadiness", 2),
    ("ms", "rendering", "render_ms_per_frame", 1),
    ("follows", "following", "opening_corr", 2),
    ("steady", "steadiness", "lips", 2),
    ("pixels", "steadiness", "pixels", 2),
    ("seam", "seam", "edge", 2),
    ("silence", "silence", "motion_ratio", 2),
    ("LipLeak", "silence", "lip_leak", 2),
    ("recovery", "sync", "recovery", 2),
    ("offset", "sync", "offset_frames_abs", 1),
    ("found", "expert", "consistent", 2),
    ("told", "expert", "nearer", 2),
    ("own: PSNR", "resynthesis", "psnr_db", 1),
    ("M-LMD", "resynthesis", "m_lmd", 4),
    ("sharp", "resynthesis", "sharpness", 2),
    ("LSE-D", "resynthesis", "lse_d", 2),
    ("LSE-C", "resynthesis", "lse_c", 2),
)
# (column, measure, name, digits): generators side by side.
BESIDE: tuple[tuple[str, str, str, int], ...] = (
    ("PSNR", "resynthesis", "psnr_db", 1),
    ("SSIM", "resynthesis", "ssim", 2),
    ("M-LMD", "resynthesis", "m_lmd", 4),
    ("F-LMD", "resynthesis", "f_lmd", 4),
    ("VMAF", "resynthesis", "vmaf", 1),
    ("FID", "resynthesis", "fid", 1),
    ("CSIM", "resynthesis", "csim", 3),
    ("sharp", "resynthesis", "sharpness", 2),
    ("LSE-D", "resynthesis", "lse_d", 2),
    ("LSE-C", "resynthesis", "lse_c", 2),
    ("offset", "resynthesis", "offset_frames", 1),
    ("dub LSE-D", "sync", "lse_d", 2),
    ("dub LSE-C", "sync", "lse_c", 2),
    ("recovery", "sync", "recovery", 2),
    ("steady", "steadiness", "lips", 2),
    ("ms", "resynthesis", "render_ms_per_frame", 1),
    ("MB", "resynthesis", "size_mb", 1),
)
LANGUAGE_NAMES = ("lse_d", "lse_c", "offset_frames", "recovery", "opening_corr", "sharpness", "motion_per_s")


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
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
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
        if (r["measure"], r.get("name")) != (measure, name) or r.get("value") is None:
            continue
        if (r.get("input") or "moving") != input or (language is not None and r.get("language") != language):
            continue
        found[r["clip"]].append(r["value"])
    return {clip: float(np.median(values)) for clip, values in found.items()}


def median_of(values: Iterable[float]) -> float | None:
    """The median, or None of nothing."""
    held = list(values)
    return float(np.median(held)) if held else None


def by_generator(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each generator, by its name and its checkpoint's, and by its hash too where two are alike."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for r in rows:
        words = dict.fromkeys(str(r[key]) for key in ("generator", "model") if r.get(key))
        name = " ".join(words)
        found[(name, r.get("generator_hash") or "")].append(r)
    names = [name for name, _ in found]
    return {name if names.count(name) == 1 else f"{name}@{sha[:6]}": held for (name, sha), held in found.items()}


def side_by_side(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per generator the medians of BESIDE over the clips that all of them have, by column; `generator`, `clips`."""
    made = []
    parts = by_generator(rows)
    for name, held in parts.items():
        line: dict[str, Any] = {"generator": name, "clips": 0}
        for label, measure, number, _ in BESIDE:
            columns = [by_clip(other, measure, number) for other in parts.values()]
            shared = set.intersection(*(set(c) for c in columns if c)) if any(columns) else set()
            values = {clip: v for clip, v in by_clip(held, measure, number).items() if clip in shared}
            line[label] = median_of(values.values())
            line["clips"] = max(line["clips"], len(values))
        made.append(line)
    return made


def measured_beside(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """The columns of BESIDE, with their digits, that hold a number in any of the lines."""
    return [(label, digits) for label, _, _, digits in BESIDE if any(line[label] is not None for line in lines)]


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


def languages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Measure 9: per language and input the medians over clips, by name; `clips`: how many."""
    kinds = dict.fromkeys((r["language"], r["input"]) for r in rows if r["measure"] == "languages" and r.get("name"))
    made = []
    for language, kind in sorted(kinds):
        line: dict[str, Any] = {"language": language, "input": kind}
        for name in LANGUAGE_NAMES:
            values = by_clip(rows, "languages", name, input=kind, language=language)
            line[name] = median_of(values.values())
            line["clips"] = max(line.get("clips", 0), len(values))
        made.append(line)
    return made


def absent(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why there is no number, once each, with the clips where it is not all of them."""
    every = {r["clip"] for r in rows}
    why: dict[str, list[str]] = {}
    for r in rows:
        if r.get("reason"):
            why.setdefault(f"{r['measure']}: {r['reason']}", [])
            if r["clip"] not in why[f"{r['measure']}: {r['reason']}"]:
                why[f"{r['measure']}: {r['reason']}"].append(r["clip"])
    return [text if len(clips) == len(every) else f"{', '.join(clips)}: {text}" for text, clips in why.items()]
