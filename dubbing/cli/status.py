"""What an output folder says about its run: read from run.json, the tables and the progress file.

It only reads, at any moment, also while a run writes: whatever is there is whole (store commits).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dubbing.cli.show import counted, number, table
from dubbing.cli.watch import PROGRESS, Figures, format_text
from dubbing.errors import OutputError
from dubbing.remote import Uri
from dubbing.store import Store, open_store

__all__ = ["gather", "told_status"]

WORST = 5
PATIENCE_S = 15.0  # a person waits


def gather(out: Path | Uri | str) -> dict[str, Any]:
    """Everything `dub status` says of an output folder or URI, as plain values.

    state: running, killed, stopped or finished; run: run.json; progress: figures of a run under way or
    None; dubs: one entry per title and language. Raises OutputError where no run has written.
    """
    store = open_store(out, PATIENCE_S)
    try:
        run = _read(store, "run.json")
    except OSError as e:
        raise OutputError(
            f"There is no run.json in {str(out)!r}; give the folder that a run writes to (its --out)."
        ) from e
    except ValueError as e:
        raise OutputError(f"{store.shown(store.root / 'run.json')!r} was not written by dub; run the job again.") from e
    state = run.get("state", "finished")
    if state == "running" and not store.held():
        state = "killed"
    progress = None
    if state == "running":
        try:
            progress = _read(store, PROGRESS)
        except (OSError, ValueError):
            progress = None
    dubs = [
        _dub(store, title["id"], dub["language"], run)
        for title in run.get("manifest", {}).get("titles", [])
        for dub in title["dubs"]
    ]
    return {"out": str(out), "state": state, "run": run, "progress": progress, "dubs": dubs}


def _read(store: Store, name: str) -> Any:
    return json.loads(store.read_bytes(store.root / name))


def _dub(store: Store, title: str, language: str, run: Mapping[str, Any]) -> dict[str, Any]:
    from dubbing.shot_table import read_rows

    summary: Mapping[str, Any] = next(
        (d for d in run.get("dubs", []) if d["title"] == title and d["language"] == language),
        {},
    )
    folder = store.dub(title, language)
    try:
        rows = read_rows(store.read_bytes(folder / "shots.parquet"))
    except FileNotFoundError:
        rows = []
    dubbed = [r for r in rows if r["status"] == "dubbed"]
    worst = sorted((r for r in rows if r.get("severity")), key=lambda r: -r["severity"])
    masters = sorted(store.names(folder, f"{title}.{language}."))
    return {
        "title": title,
        "language": language,
        "counts": dict(Counter(r["status"] for r in rows)),
        "reasons": dict(Counter(r["reason"] for r in rows if r["reason"])),
        "needs_review": sum(bool(r["needs_review"]) for r in rows),
        "lse_d": _mean(dubbed, "lse_d"),
        "lse_c": _mean(dubbed, "lse_c"),
        "source_lse_d": _mean(dubbed, "source_lse_d"),
        "source_lse_c": _mean(dubbed, "source_lse_c"),
        "worst": [_short(r) for r in worst[:WORST]],
        "table": store.shown(folder / "shots.parquet") if rows else None,
        "master": store.shown(masters[0]) if masters else None,
        "error": summary.get("error"),
    }


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [r[name] for r in rows if r[name] is not None]
    return round(sum(values) / len(values), 4) if values else None


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("shot", "start_tc", "status", "lse_d", "source_lse_d", "lse_c", "source_lse_c", "lse_offset_frames",
             "sharpness", "silence_motion", "needs_review", "review_reason", "reason", "error")  # fmt: skip
    return {name: row[name] for name in names}


def told_status(found: Mapping[str, Any]) -> str:
    """The same for people."""
    parts = [_headline(found)]
    parts.append(
        table(
            ("title", "language", "shots", "review", "LSE-D", "original", "LSE-C", "original", "master"),
            (
                (
                    d["title"], d["language"], counted(d["counts"]), d["needs_review"],
                    number(d["lse_d"]), number(d["source_lse_d"]), number(d["lse_c"]), number(d["source_lse_c"]),
                    d["master"] or d["error"],
                )
                for d in found["dubs"]
            ),
        )
    )  # fmt: skip
    worst = [(d, w) for d in found["dubs"] for w in d["worst"]]
    if worst:
        rows = (
            (
                d["title"], d["language"], w["shot"], w["start_tc"], w["status"], number(w["lse_d"]),
                number(w["source_lse_d"]), number(w["lse_offset_frames"], 0), number(w["sharpness"]),
                number(w["silence_motion"]), w["error"] or w["review_reason"],
            )
            for d, w in worst
        )  # fmt: skip
        head = ("title", "language", "shot", "at", "status", "LSE-D", "original", "offset", "sharpness", "silence", "")
        parts.append("worst shots\n" + table(head, rows))
    for d in found["dubs"]:
        if d["reasons"]:
            parts.append(f"{d['title']}/{d['language']}: left alone or failed: {counted(d['reasons'])}")
    tables = [d["table"] for d in found["dubs"] if d["table"]]
    if tables:
        parts.append("tables\n" + "\n".join(f"  {t}" for t in tables))
    return "\n\n".join(parts)


def _headline(found: Mapping[str, Any]) -> str:
    run, state, out = found["run"], found["state"], found["out"]
    if state == "running":
        at = found["progress"]
        if not at:
            return f"{out}: running since {run['started']}"
        figures = Figures(**{name: at[name] for name in Figures.__dataclass_fields__ if name in at})
        lines = [
            f"{out}: running since {run['started']}: {format_text(figures)} (as of {time.time() - at['at']:.0f} s ago)"
        ]
        if figures.made or figures.found:
            lines.append(_work(figures.made, figures.found, figures.seconds_by_stage))
        lines += [f"failed: {task}: {why}" for task, why in figures.failures.items()]
        return "\n".join(lines)
    if state == "killed":
        return f"{out}: the run that started {run['started']} was killed; run the same command again to go on"
    if state == "stopped":
        return f"{out}: stopped ({run.get('error') or 'interrupted'}); run the same command again to go on"
    ended = f"{out}: finished {run.get('finished')}, {run.get('seconds')} s, exit status {run.get('exit_status')}"
    if "done_now" not in run:
        return ended
    return ended + "\n" + _work(run["done_now"], run.get("found_done", 0), run.get("seconds_by_stage", {}))


def _work(made: int, found: int, seconds_by_stage: Mapping[str, float]) -> str:
    """`36 tasks done, 12 were done before; seconds by stage: faces 18.7, lipsync 24.1`."""
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in seconds_by_stage.items())
    return f"{made} tasks done, {found} were done before" + (f"; seconds by stage: {spent}" if spent else "")
