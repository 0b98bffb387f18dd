"""The lists that an export writes of one dub: CSV, Parquet, OTIO, EDL, re-delivery. As bytes; nothing is written here.

`dub.review.2` is the schema of the table of decisions. CSV files are UTF-8 with a byte order mark, so that spreadsheets
read every language; a text that a spreadsheet would take for a formula begins with an apostrophe there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.artifacts.takes import Take
from dubbing.clock import Timeline
from dubbing.config import Review
from dubbing.decisions import SEVERITIES, Decision, Standing
from dubbing.rendered_by import RenderedBy
from dubbing.review.deliveries import Change
from dubbing.review.edits import Edit, Note, edl, otio_json, reel_name
from dubbing.severity import severity

__all__ = ["SCHEMA", "Sheet", "lists"]

_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float32()
SCHEMA = pa.schema(
    [
        *((n, _TEXT) for n in ("title", "language", "shot")),
        *((n, _WHOLE) for n in ("start_frame", "end_frame")),
        *((n, _TEXT) for n in ("start_tc", "end_tc", "status", "reason", "take", "generator", "generator_hash")),
        *((n, _NUMBER) for n in ("lse_d", "lse_c", "lse_offset_frames")),
        *((n, _NUMBER) for n in ("source_lse_d", "source_lse_c", "source_lse_offset_frames")),
        ("lse_model", _TEXT),
        ("lse_windows", pa.int32()),
        *((n, _NUMBER) for n in ("sharpness", "silence_motion", "following")),
        ("needs_review", pa.bool_()),
        ("review_reason", _TEXT),
        ("error", _TEXT),
        ("severity", _NUMBER),
        *((n, _TEXT) for n in ("verdict", "verdict_of", "by", "at", "chosen", "chosen_by", "chosen_at")),
        *((n, _TEXT) for n in ("comment_severity", "comments", "delivered")),
        ("changed", pa.bool_()),
        ("face", _TEXT),  # whose the numbers are: the worst of those that were rendered
        ("reasons", _TEXT),
    ],
    metadata={"schema": "dub.review.2"},
)
_COMMENT_COLUMNS = ("title", "language", "shot", "timecode", "frame", "severity", "reviewer", "time", "text", "undone",
                    "drawing")  # fmt: skip
_REDELIVERY_COLUMNS = ("title", "language", "master", "shot", "start_tc", "end_tc", "start_frame", "end_frame",
                       "frames", "was", "was_generator", "now", "now_generator", "decision", "decided_by",
                       "decided_at", "comments")  # fmt: skip
_BY_PEOPLE = frozenset({"comments", "text", "reviewer", "by", "chosen_by", "decided_by"})
SOURCE = "source picture"


@dataclass(frozen=True)
class Sheet:
    """All that the lists of one dub say. rows: of its shots.parquet; standing: by shot id; changes: since the delivery
    that `since` names; master: its file; takes: folder of the dub's takes."""

    title: str
    language: str
    rows: Sequence[Mapping[str, Any]]
    standing: Mapping[str, Standing]
    changes: Sequence[Change]
    since: str
    line: Timeline
    master: Path
    takes: Path
    limits: Review

    @property
    def name(self) -> str:
        """`reel.fr`."""
        return f"{self.title}.{self.language}"

    def of(self, shot: str) -> Standing:
        return self.standing.get(shot, Standing())

    def comments(self, shot: str) -> str:
        """`01:00:10:05 issue, ana: teeth flicker | ...`."""
        return " | ".join(
            f"{self.line.timecode(_frame(c, self.starts[shot]))} {c.severity}, {c.reviewer}: {' '.join(c.text.split())}"
            for c in self.of(shot).comments
        )

    @cached_property
    def starts(self) -> dict[str, int]:
        """First frames, by shot id."""
        return {r["shot"]: r["start_frame"] for r in self.rows}

    def generator(self, shot: str, take: str | None) -> str:
        """What rendered a take, with its settings: `rewrite jump_cost=0.3`; empty for the source's picture."""
        if take is None:
            return ""
        result = Take.read(self.takes / shot / take / "patch")
        choice = result.choice or {"name": result.generator or "unknown", "settings": {}}
        return RenderedBy.said({"name": choice["name"], **choice.get("settings", {})}).text


def lists(sheet: Sheet) -> dict[str, bytes]:
    """File name -> content."""
    table = _table(sheet)
    changed = {c.shot: c for c in sheet.changes}
    edits = [_edit(sheet, row, changed.get(row["shot"])) for row in table]
    facts = {"schema": "dub.review.2", "title": sheet.title, "language": sheet.language, "since": sheet.since}
    what = f"{sheet.name} changed since {sheet.since}"
    reel = reel_name(sheet.title, sheet.language)
    found = {
        "decisions.csv": _csv(SCHEMA.names, table),
        "decisions.parquet": _parquet(table),
        "comments.csv": _csv(_COMMENT_COLUMNS, _comments(sheet)),
        "otio": otio_json(sheet.name, sheet.master, sheet.line, edits, facts).encode(),
        "changed.edl": edl(what, reel, sheet.master.name, sheet.line, [e for e in edits if e.name in changed]).encode(),
        "redelivery.csv": _csv(_REDELIVERY_COLUMNS, (_redelivered(sheet, r, changed[r["shot"]]) for r in table
                                                     if r["shot"] in changed)),
    }  # fmt: skip
    return {f"{sheet.name}.{ending}": data for ending, data in found.items()}


def _table(sheet: Sheet) -> list[dict[str, Any]]:
    changed = {c.shot for c in sheet.changes}
    made = []
    for row in sheet.rows:
        now = sheet.of(row["shot"])
        worst = max((c.severity for c in now.comments if c.severity), key=SEVERITIES.index, default=None)
        made.append({name: row.get(name) for name in SCHEMA.names} | {
            "severity": severity(row, sheet.limits), "verdict": now.verdict, "verdict_of": now.about, "by": now.by,
            "at": now.at, "chosen": now.take, "chosen_by": now.chosen_by,
            "chosen_at": now.chosen_at, "comment_severity": worst,
            "comments": sheet.comments(row["shot"]) or None, "delivered": "take" if row["take"] else "source",
            "changed": row["shot"] in changed, "reasons": " ".join(now.reasons) or None,
        })  # fmt: skip
    return made


def _comments(sheet: Sheet) -> Iterable[dict[str, Any]]:
    """Every comment, those that were taken back marked, in the order of the log."""
    starts = sheet.starts
    said = [(r, {u.undoes for u in now.history if u.kind == "undo"}) for now in sheet.standing.values()
            for r in now.history if r.kind == "comment" and r.shot in starts]  # fmt: skip
    for r, undone in sorted(said, key=lambda pair: pair[0].seq):
        frame = _frame(r, starts[r.shot])
        yield {"title": r.title, "language": r.language, "shot": r.shot, "timecode": sheet.line.timecode(frame),
               "frame": frame, "severity": r.severity, "reviewer": r.reviewer, "time": r.time, "text": r.text,
               "undone": r.seq in undone, "drawing": json.dumps(r.drawing) if r.drawing else None}  # fmt: skip


def _redelivered(sheet: Sheet, row: Mapping[str, Any], change: Change) -> dict[str, Any]:
    decided = change.decided
    return {
        **{k: row[k] for k in ("title", "language", "shot", "start_tc", "end_tc", "start_frame", "end_frame")},
        "master": sheet.master.name, "frames": row["end_frame"] - row["start_frame"],
        "was": change.was or SOURCE, "was_generator": sheet.generator(row["shot"], change.was),
        "now": change.now or SOURCE, "now_generator": sheet.generator(row["shot"], change.now),
        "decision": decided.kind if decided else "rendered by a run", "decided_by": decided.reviewer if decided else "",
        "decided_at": decided.time if decided else "", "comments": row["comments"],
    }  # fmt: skip


def _edit(sheet: Sheet, row: Mapping[str, Any], change: Change | None) -> Edit:
    now, start = sheet.of(row["shot"]), row["start_frame"]
    notes = [Note(_frame(c, start), c.severity or "note", c.text, c.reviewer, c.time) for c in now.comments]
    if now.verdict:
        notes.insert(0, Note(start, now.verdict, row["shot"], now.by or "", now.at or ""))
    remarks = {"SHOT": row["shot"]}
    if change is not None:
        was, is_now = (f"take {t}" if t else SOURCE for t in (change.was, change.now))
        by = f", {change.decided.kind} by {change.decided.reviewer}" if change.decided else ""
        remarks["CHANGED"] = f"{was} -> {is_now}{by}"
    facts = {k: v for k, v in row.items() if k not in ("title", "language", "comments", "start_tc", "end_tc")}
    return Edit(row["shot"], start, row["end_frame"], notes, remarks, facts)


def _frame(comment: Decision, start_frame: int) -> int:
    """Where a comment belongs: its frame, or its shot's first."""
    return start_frame if comment.frame is None else comment.frame


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(name, row[name]) for name in columns] for row in rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return "'" + text if column in _BY_PEOPLE and text[:1] in "=+-@\t\r" and text else text


def _parquet(table: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = BytesIO()
    columns = {name: [row[name] for row in table] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
