"""What `dub status` says of an output folder, for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dubbing.api.progress import Figures
from dubbing.cli.show import counted, number, table
from dubbing.cli.watch import format_text

__all__ = ["told_status"]


def told_status(found: Mapping[str, Any]) -> str:
    """What `Results.to_dict` holds, as text."""
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
    parts += [f"{d['title']}/{d['language']}: {d['error']}" for d in found["dubs"] if d["error"] and d["master"]]
    for d in found["dubs"]:
        if d["reasons"]:
            parts.append(f"{d['title']}/{d['language']}: left alone or failed: {counted(d['reasons'])}")
    tables = [d["table"] for d in found["dubs"] if d["table"]]
    if tables:
        parts.append("tables\n" + "\n".join(f"  {t}" for t in tables))
    return "\n\n".join(parts)


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
    """`36 tasks done, 12 were done before; seconds by stage: faces 18.7, lipsync 24.1`."""
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in seconds_by_stage.items())
    return f"{made} tasks done, {found} were done before" + (f"; seconds by stage: {spent}" if spent else "")
