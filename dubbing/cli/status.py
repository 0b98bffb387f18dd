"""What `dub status` says of an output folder, for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from dubbing.api.progress import Figures
from dubbing.cli.show import PROVEN, counted, number, table
from dubbing.cli.watch import doing, format_text
from dubbing.errors import several

__all__ = ["told_status"]

_RUNS = 10  # that are listed, the last; `--json` has all
_DUBS = 6  # that are named of each


def told_status(found: Mapping[str, Any]) -> str:
    """What `Results.to_dict` holds, as text."""
    parts = [_headline(found)]
    more = len(found["runs"]) > 1
    if more:
        parts.append("runs\n" + table(("run", "command", "by", "began, UTC", "ended", "dubs"), _runs(found)))
    head = ("title", "language", "run", "shots", "review", "LSE-D", "original", "LSE-C", "original", "master", "proven")
    rows: list[tuple[Any, ...]] = [
        (
            d["title"], d["language"], d["run"], counted(d["counts"]), d["needs_review"],
            number(d["lse_d"]), number(d["source_lse_d"]), number(d["lse_c"]), number(d["source_lse_c"]),
            d["master"] or d["error"], PROVEN[d["verified"]],
        )
        for d in found["dubs"]
    ]  # fmt: skip
    parts.append(table(head, rows) if more else table(head[:2] + head[3:], [r[:2] + r[3:] for r in rows]))
    worst = [(d, w) for d in found["dubs"] for w in d["worst"]]
    if worst:
        rows = [
            (
                d["title"], d["language"], w["shot"], w["start_tc"], w["status"], number(w["lse_d"]),
                number(w["source_lse_d"]), number(w["lse_offset_frames"], 0), number(w["sharpness"]),
                number(w["silence_motion"]), w["error"] or w["review_reason"],
            )
            for d, w in worst
        ]  # fmt: skip
        shown = ("title", "language", "shot", "at", "status", "LSE-D", "original", "offset", "sharpness", "silence", "")
        parts.append("worst shots\n" + table(shown, rows))
    parts += [f"{d['title']}/{d['language']}: {d['error']}" for d in found["dubs"] if d["error"] and d["master"]]
    for d in found["dubs"]:
        if d["reasons"]:
            parts.append(f"{d['title']}/{d['language']}: left alone or failed: {counted(d['reasons'])}")
        if len(d["generators"]) > 1 or d["selected"]:
            told = f"; {several(d['selected'], 'take')} selected of several" if d["selected"] else ""
            parts.append(f"{d['title']}/{d['language']}: rendered by: {counted(d['generators'])}{told}")
        if d["excluded_frames"]:
            frames = several(d["excluded_frames"], "frame")
            parts.append(f"{d['title']}/{d['language']}: {frames} excluded, as the manifest or its command said")
        if d["covered_frames"]:
            frames = several(d["covered_frames"], "frame")
            parts.append(f"{d['title']}/{d['language']}: letters or a mask over faces kept in {frames}")
        if d["mixed_frames"]:
            frames = several(d["mixed_frames"], "frame")
            parts.append(f"{d['title']}/{d['language']}: {frames} in dissolves and fades, left as they are")
    tables = [d["table"] for d in found["dubs"] if d["table"]]
    if tables:
        parts.append("tables\n" + "\n".join(f"  {t}" for t in tables))
    return "\n\n".join(parts)


def _runs(found: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The last runs, a row each: who, when, how it ended, and which dubs it was asked for."""
    every = found["runs"]
    for run in every[-_RUNS:]:
        now = found["state"] if run is every[-1] else "killed" if run["state"] == "running" else run["state"]
        ended = f"exit status {run['exit_status']}" if now == "finished" else now
        dubs = [f"{title}/{language}" for title, languages in run["asked"].items() for language in languages]
        rest = f" and {len(dubs) - _DUBS} more" if len(dubs) > _DUBS else ""
        yield (run["number"], run["command"], run["by"] or None, run["started"][:16].replace("T", " ") or None, ended,
               ", ".join(dubs[:_DUBS]) + rest)  # fmt: skip


def _headline(found: Mapping[str, Any]) -> str:
    run, state, out = found["run"], found["state"], found["out"]
    began = run.get("started", "at an unknown time")
    if state == "running":
        at = found["progress"]
        if not at:
            return f"{out}: running since {began}"
        figures = Figures(**{name: at[name] for name in Figures.__dataclass_fields__ if name in at})
        lines = [f"{out}: running since {began}: {format_text(figures)} (as of {time.time() - at['at']:.0f} s ago)"]
        if figures.made or figures.found:
            lines.append(_work(figures.made, figures.found, figures.seconds_by_stage))
        lines += [f"failed: {task}: {why}" for task, why in figures.failures.items()]
        return "\n".join(lines)
    if state == "killed":
        return f"{out}: the run that started {began} was killed; run the same command again to go on"
    if state == "stopped":
        return f"{out}: stopped ({run.get('error') or 'interrupted'}); run the same command again to go on"
    ended = f"{out}: finished {run.get('finished')}, {run.get('seconds')} s, exit status {run.get('exit_status')}"
    if "done_now" not in run:
        return ended
    return ended + "\n" + _work(run["done_now"], run.get("found_done", 0), run.get("seconds_by_stage", {}))


def _work(made: int, found: int, seconds_by_stage: Mapping[str, float]) -> str:
    """`36 tasks done, 12 were done before; seconds: finding faces 18.7, rendering mouths 24.1`."""
    spent = ", ".join(f"{doing(stage)} {seconds:.1f}" for stage, seconds in seconds_by_stage.items())
    before = f"{found:,} {'was' if found == 1 else 'were'} done before"
    return f"{several(made, 'task')} done, {before}" + (f"; seconds: {spent}" if spent else "")
