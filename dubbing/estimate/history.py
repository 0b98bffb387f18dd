"""What finished runs cost on this machine: a file in the user's cache folder, one JSON object per line.

Only numbers go there: no name of a film, a file or a person. It may be deleted at any time; a folder
that cannot be written loses the line and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dubbing.errors import DubError
from dubbing.estimate.costs import Measured, measure
from dubbing.estimate.schedule import Piece, in_parts, makespan
from dubbing.job import Job
from dubbing.store import user_folder
from dubbing.task import Windowed

if TYPE_CHECKING:
    from dubbing.engine import Event

__all__ = ["Made", "history_file", "keep", "recall", "remember"]

ENVIRONMENT = "DUB_HISTORY"
LINES = 200


class Made:
    """Collects the ids of the tasks that a run finishes: call it with the engine's events."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def __call__(self, event: Event) -> None:
        if event.kind == "finished":
            self.ids.add(event.task_id)


def history_file() -> Path:
    """$DUB_HISTORY, else history.jsonl in the user's cache folder for dub. Nothing is created."""
    said = os.environ.get(ENVIRONMENT)
    if said:
        return Path(said).expanduser().absolute()
    return user_folder("cache") / "history.jsonl"


def remember(job: Job, run_json: Mapping[str, Any], made: Made) -> Measured | None:
    """Keep what a finished run cost. None where it made nothing, where it was a draft or not scored (its costs would
    pass for those of a whole run), or where its results cannot be read: a run that has delivered must not end badly
    over this."""
    if not made.ids or job.config.quality == "draft" or not job.config.sync.score:
        return None
    run_s, engine = float(run_json.get("seconds", 0.0)), str(run_json.get("engine", ""))
    try:
        line = measure(job, engine, made.ids, run_s=run_s, at=datetime.now(UTC).isoformat(timespec="seconds"))
        pieces = []
        for t in (t for t in job.tasks() if t.id in made.ids):
            spent = job.spent(t)
            seconds = spent.seconds if spent else 0.0
            piece = Piece(t.id, seconds, (*t.needs, *t.after), rank=t.rank, weight=t.weight)
            pieces += in_parts(piece, len((isinstance(t.inputs, Windowed) and t.inputs.parts) or ()))
    except (DubError, OSError, KeyError, TypeError, ValueError):
        return None
    explained = makespan(pieces, line.workers, 0.0)
    line = Measured(**{**line.__dict__, "startup_s": round(max(0.0, run_s - explained), 2)})
    keep(line)
    return line


def keep(line: Measured, path: Path | None = None) -> None:
    """Append one line, and drop the oldest when there are many."""
    path = path or history_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line.to_dict(), separators=(",", ":")) + "\n")
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 2 * LINES:
            part = path.with_name(f".part-{os.getpid()}-{path.name}")
            part.write_text("\n".join(lines[-LINES:]) + "\n", encoding="utf-8")
            part.replace(path)


def recall(path: Path | None = None) -> list[Measured]:
    """The kept measurements, newest first. Lines of another version, and half-written ones, are passed over."""
    try:
        lines = (path or history_file()).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for text in reversed(lines):
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            found.append(Measured.of(json.loads(text)))
    return found
