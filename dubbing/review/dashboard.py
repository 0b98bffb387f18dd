"""The dashboard: how a score is spread over groups of shots, beside the originals', and why takes were rejected.

What makers of generators need: in which language, at which character and for which reason a generator is worse than the
picture it replaces. Knows the library and draws by `charts`; knows no page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import quote

from dubbing.artifacts.takes import Take
from dubbing.decisions import REASONS, Decision
from dubbing.errors import InputError, OutputError
from dubbing.rendered_by import RenderedBy
from dubbing.review.charts import distribution, edges
from dubbing.review.library import Library

__all__ = ["GROUPS", "SCORES", "Group", "Rejected", "dashboard", "rejected"]

Row = Mapping[str, Any]

SCORES: Mapping[str, tuple[str, bool]] = {
    "lse_d": ("LSE-D, lower is better", True),
    "lse_c": ("LSE-C, higher is better", True),
    "lse_offset_frames": ("offset in frames, 0 is best", True),
    "sharpness": ("sharpness over the source's, 1 is best", False),
    "silence_motion": ("motion in silence over the source's, 1 is best", False),
    "following": ("correlation with the wanted opening, higher is better", False),
}
"""Columns of the table of shots: what they say, and whether the original's stands in `source_<name>`."""


def _character(row: Row) -> list[str]:
    """As the page names whom it shows: `actor 93c3`."""
    if row.get("character"):
        return [str(row["character"])]
    actor = row["actor"]
    return [f"actor {actor.removeprefix('actor_').split('.')[0][:4]}"] if actor else []


GROUPS: Mapping[str, tuple[str, str, Callable[[Row], list[str]]]] = {
    "language": ("language", "language", lambda row: [row["language"]]),
    "character": ("character", "who", _character),
    "reason": ("reason of a rejection", "rejected", lambda row: row["reject_reasons"]),
    "title": ("title", "title", lambda row: [row["title"]]),
}
"""By what shots are grouped: the word for it, the filter of the queue that shows a group, and a shot's groups."""


@dataclass(frozen=True)
class Group:
    """Dubbed shots that have one thing in common. shots: how many; take, source: medians of the score, None where
    it was not measured; chart: SVG; query: of the queue that lists them."""

    name: str
    shots: int
    take: float | None
    source: float | None
    chart: str
    query: str


@dataclass(frozen=True)
class Rejected:
    """Takes of one generator that were rejected, and that not taken back: how many for each of REASONS, how many
    without a reason, how many in all."""

    generator: str
    reasons: Mapping[str, int]
    without: int
    takes: int


def dashboard(library: Library, by: str, score: str) -> dict[str, Any]:
    """What the page shows. by: one of GROUPS; score: one of SCORES. groups: largest first; rejected: `rejected`;
    untouched: language -> reason code -> how many shots. Raises InputError for any other name."""
    if by not in GROUPS or score not in SCORES:
        raise InputError(f"Shots are grouped by {', '.join(GROUPS)}; a score is one of {', '.join(SCORES)}.")
    rows = library.rows()
    untouched: dict[str, Counter[str]] = {}
    for row in rows:
        if row["status"] == "untouched" and row["reason"]:
            untouched.setdefault(row["language"], Counter())[row["reason"]] += 1
    return {"groups": _groups(rows, by, score), "rejected": rejected(library), "untouched": untouched}


def _groups(rows: Sequence[Row], by: str, score: str) -> list[Group]:
    (label, beside), (_, facet, of) = SCORES[score], GROUPS[by]
    held: dict[str, list[Row]] = {}
    for row in rows:
        for name in of(row) if row["status"] == "dubbed" else ():
            held.setdefault(name, []).append(row)

    def values(mine: Sequence[Row], name: str) -> list[float]:
        return [row[name] for row in mine if row[name] is not None]

    names = (score, f"source_{score}") if beside else (score,)
    bins = edges([v for mine in held.values() for name in names for v in values(mine, name)])
    found = []
    for name, mine in held.items():
        take, source = values(mine, score), values(mine, f"source_{score}") if beside else []
        found.append(Group(
            name, len(mine), median(take) if take else None, median(source) if source else None,
            distribution(f"{name}, {label}", take, source, bins), f"?status=dubbed&{facet}={quote(name)}",
        ))  # fmt: skip
    return sorted(found, key=lambda g: (-g.shots, g.name))


def rejected(library: Library) -> list[Rejected]:
    """Rejections by generator, those with most takes first. Of a take that was rejected twice, the last one counts."""
    records = library.log.records()
    undone = {r.undoes for r in records if r.kind == "undo"}
    last = {(*r.key, r.take): r for r in records if r.kind == "reject" and r.seq not in undone}
    counts: dict[str, Counter[str]] = {}
    for record in last.values():
        counts.setdefault(_generator(library, record), Counter()).update(["all", *(record.reasons or ["none"])])
    found = [Rejected(name, {r: c[r] for r in REASONS}, c["none"], c["all"]) for name, c in counts.items()]
    return sorted(found, key=lambda g: (-g.takes, g.generator))


def _generator(library: Library, record: Decision) -> str:
    """What rendered the take of a record, with its settings."""
    folder = library.store.dub(record.title, record.language) / "takes" / record.shot / str(record.take) / "patch"
    try:
        take = Take.read(folder)
    except (OSError, ValueError, OutputError):
        return "takes that are gone"
    choice = take.choice or {
        "name": take.generator or library.part(record.title, record.language).manifest.generators[-1].name,
        "settings": {},
    }
    return RenderedBy.said({"name": choice["name"], **choice.get("settings", {})}).text
