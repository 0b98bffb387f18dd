"""An evaluation as papers give it: of each generator, mean and deviation per speaker over clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dubbing.evaluate.measurements import BESIDE, by_clip, by_generator
from dubbing.scoring import means, speakers

__all__ = ["BETTER", "by_speaker", "columns_measured"]

BETTER = {
    "PSNR": "up", "SSIM": "up", "M-LMD": "down", "F-LMD": "down", "LSE-D": "down", "LSE-C": "up", "dub LSE-D": "down",
    "dub LSE-C": "up", "recovery": "up", "ms": "down",
}  # fmt: skip
"""Which way a column of `BESIDE` is better, where one is: the columns of a paper's table."""


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
