"""Whose numbers they are: medians of each speaker, and a table as papers give it, per speaker over clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dubbing.evaluate.measurements import BESIDE, by_clip, by_generator, median_of
from dubbing.scoring import means, speakers

__all__ = ["BETTER", "by_speaker", "columns_measured", "of_speakers", "persons"]

BETTER = {
    "PSNR": "up", "SSIM": "up", "M-LMD": "down", "F-LMD": "down", "LSE-D": "down", "LSE-C": "up", "dub LSE-D": "down",
    "dub LSE-C": "up", "recovery": "up", "ms": "down",
}  # fmt: skip
"""Which way a column of `BESIDE` is better, where one is: the columns of a paper's table."""


def persons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whose face each row is of: the first folder below the one that all clips share; where that is the clip itself,
    the person within it, if the row says who."""
    films = {r["clip"]: r.get("video") or r["clip"] for r in rows}
    whose = speakers(films.values())
    found = []
    for r in rows:
        film = films[r["clip"]]
        alone = whose[film] == Path(film).stem
        found.append(f"{r['clip']} {r.get('person') or ''}".strip() if alone else whose[film])
    return found


def of_speakers(rows: Sequence[Mapping[str, Any]], measure: str, name: str) -> dict[str, float]:
    """Speaker -> the median over all of its faces, clips and languages, of moving pictures."""
    held: dict[str, list[float]] = defaultdict(list)
    for who, r in zip(persons(rows), rows, strict=True):
        if (r["measure"], r.get("name")) != (measure, name) or r.get("value") is None:
            continue
        if (r.get("input") or "moving") == "moving":
            held[who].append(r["value"])
    return {who: median for who, values in held.items() if (median := median_of(values)) is not None}


def by_speaker(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of `dubbing.scoring.means` over clips, with `generator` before them and a column's label as its name.

    rows: of `dub.eval.1`. A clip counts once: the median over its faces and its dubs. A speaker is the first folder
    below the one that all clips share, or the clip where they share one.
    """
    films = {r["clip"]: r.get("video") or r["clip"] for r in rows}
    whose = speakers(films.values())
    lines = []
    for generator, held in by_generator(rows).items():
        values = {label: by_clip(held, measure, name) for label, measure, name, _ in BESIDE}
        clips = dict.fromkeys(r["clip"] for r in held)
        per_clip = [
            {"speaker": whose[films[clip]], **{label: found.get(clip) for label, found in values.items()}}
            for clip in clips
        ]
        lines += [{"generator": generator, **line} for line in means(per_clip, list(values))]
    return lines


def columns_measured(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """The columns of BESIDE, with their digits, that hold a number in any line of `by_speaker`."""
    return [(label, n) for label, _, _, n in BESIDE if any(x[f"{label}_mean"] is not None for x in lines)]
