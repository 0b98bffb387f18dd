"""Scores as a picture: for each track the distance over the sound's shift, and the confidence over time.

It knows rows of the table and no film.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from dubbing.experts.lse import FPS, SHIFTS
from dubbing.store import Store

__all__ = ["MOST_TRACKS", "draw"]

MOST_TRACKS = 40
_ROW_IN, _WIDTH_IN, _DPI = 1.9, 11.0, 100


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write a PNG of the scored tracks among the rows, in their order; at most MOST_TRACKS, those with the most
    windows. Returns how many were drawn. Raises OutputError when the file cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scored = [r for r in rows if r["distance"]]
    most = {id(r) for r in sorted(scored, key=lambda r: -r["lse_windows"])[:MOST_TRACKS]}
    chosen = [r for r in scored if id(r) in most]
    figure = Figure(figsize=(_WIDTH_IN, 0.6 + _ROW_IN * max(len(chosen), 1)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if not chosen:
        figure.text(0.5, 0.5, "no face track that could be scored", ha="center", va="center")
    grid: Any = figure.subplots(len(chosen), 2, squeeze=False, width_ratios=[1, 2.4]) if chosen else []
    several = len({r["video"] for r in chosen}) > 1
    for (left, right), row in zip(grid, chosen, strict=True):
        _distance(left, row)
        _confidence(right, row)
        name = f"{Path(row['video']).name}  {row['track']}" if several else row["track"]
        numbers = f"LSE-D {row['lse_d']:.2f}   LSE-C {row['lse_c']:.2f}   {row['lse_windows']} windows"
        right.set_title(f"{name}   {row['start_tc']}   {numbers}", loc="left", fontsize="small", parse_math=False)
    if chosen:
        grid[-1][0].set_xlabel(f"sound early by, frames at {FPS} a second", fontsize="small")
        grid[-1][1].set_xlabel("film time, s", fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    Store(path.parent).write_bytes(path, buffer.getvalue())
    return len(chosen)


def _distance(axes: Any, row: Mapping[str, Any]) -> None:
    """The mean distance by offset; its lowest point is the measured offset."""
    axes.plot(range(SHIFTS, -SHIFTS - 1, -1), row["distance"], marker=".", markersize=3, linewidth=1)
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.axvline(row["lse_offset_frames"], color="tab:red", linewidth=0.8, linestyle="--")
    axes.set_title(f"offset {row['lse_offset_frames']:+.0f}", loc="left", fontsize="small")
    _plain(axes, "distance")


def _confidence(axes: Any, row: Mapping[str, Any]) -> None:
    curve = [float("nan") if v is None else v for v in row["confidence"]]
    axes.plot([row["start_s"] + n / FPS for n in range(len(curve))], curve, linewidth=1)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.margins(x=0.01)
    _plain(axes, "confidence")


def _plain(axes: Any, name: str) -> None:
    axes.set_ylabel(name, fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "right"]].set_visible(False)
