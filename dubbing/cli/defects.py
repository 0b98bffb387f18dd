"""The report of an error that nobody foresaw: what a person can send to those who mend it. It holds versions, the
command, where it happened, and the last events of a run: names of files, and nothing of what is in them.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

from dubbing import __version__
from dubbing.cli.say import safe

if TYPE_CHECKING:
    from dubbing import Event

__all__ = ["remember", "sentence", "write"]

MOST_EVENTS = 300
_trail: deque[str] = deque(maxlen=MOST_EVENTS)


def remember(event: Event) -> None:
    """An event of a run, for the report."""
    if event.kind != "frames":
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        _trail.append(f"{at} {event.kind} {event.task_id or ''} {' '.join(event.text.split())}".rstrip())


def sentence(error: BaseException) -> str:
    """An unforeseen error in one sentence: what it says, and what was being done, the nearest first."""
    said = " ".join(str(error).split())
    where = ", ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}{f': {said}' if said else ''}{f' (while {where})' if where else ''}"


def write(error: BaseException, args: Sequence[str] | None) -> Path | None:
    """Write the report into the current folder, or where nothing can be written there, into that for temporary files.
    Returns where it lies; None where it could be written nowhere."""
    name = f"dub-report-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.txt"
    packages = sorted({f"{d.name}=={d.version}" for d in distributions() if d.name}, key=str.lower)
    parts = [
        f"dub {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "command: " + " ".join(["dub", *(sys.argv[1:] if args is None else args)]),
        "error: " + sentence(error),
        "".join(traceback.format_exception(error)),
        f"last {len(_trail)} events (at most {MOST_EVENTS}):\n" + "\n".join(_trail),
        "packages:\n" + "\n".join(packages),
    ]
    text = safe("\n\n".join(parts)) + "\n"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            with (folder / name).open("x", encoding="utf-8") as f:
                f.write(text)
            return folder / name
        except OSError:
            continue
    return None
