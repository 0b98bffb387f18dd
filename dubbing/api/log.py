"""What a run did, line by line, in OUT/run.log beside run.json: times, tasks, titles, errors; no media.

For whoever asks afterwards why. It knows events and nothing of the work behind them. It never grows beyond two files of
MOST_BYTES: run.log, and before it run.log.1.
"""

from __future__ import annotations

import logging
import logging.handlers
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from dubbing import __version__
from dubbing.errors import DubError
from dubbing.inputs import not_a_file
from dubbing.store import Store

if TYPE_CHECKING:
    from dubbing.engine import Event, Report

__all__ = ["LOG", "MOST_BYTES", "RunLog"]

LOG = "run.log"
MOST_BYTES = 1_000_000


class _Lines(logging.handlers.RotatingFileHandler):
    """A log that cannot be written costs no run."""

    def handleError(self, record: logging.LogRecord) -> None:
        return None


class RunLog:
    """Call it with events; a context manager, which writes how it ended. Nothing is written before the first event, so
    that who may not write to the folder leaves nothing there."""

    def __init__(self, store: Store, what: str) -> None:
        """what: the run, in a word or two: `run with ray`."""
        self._store, self._what = store, what
        self._lines: _Lines | None = None
        self._end = ""

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._lines is None:
            return
        if value is not None:
            self._end = f"stopped: {value or kind.__name__ if kind else value}"
        self._say(self._end or "ended")
        self._lines.close()
        if self._store.shown(self._store.root) != str(self._store.root):  # at a URI: only its mirror is on this machine
            with suppress(OSError, DubError):
                file = self._store.root / LOG
                self._store.write_bytes(file, file.read_bytes())

    def __call__(self, event: Event) -> None:
        if self._lines is None:
            file = self._store.root / LOG
            if not_a_file(file) or not file.parent.is_dir():
                return
            self._lines = _Lines(file, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace")
            self._say(f"dub {__version__}, {self._what}")
        if event.kind == "started":
            self._say(f"started {event.task_id}")
        elif event.kind == "finished":
            self._say(f"finished {event.task_id} after {event.seconds:.1f} s")
        elif event.kind == "failed":
            self._say(f"failed {event.task_id} after {event.seconds:.1f} s: {event.text}")
        elif event.kind == "message":
            self._say(event.text)

    def ended(self, report: Report) -> None:
        """How the run ended, for the last line."""
        shots = ", ".join(f"{n} {status}" for status, n in report.counts.items())
        failed = "".join(f"; {d['title']}/{d['language']}: {d['error']}" for d in report.summary if d["error"])
        self._end = f"ended with exit code {report.exit_code}: {shots or 'no shots'}{failed}"

    def _say(self, text: str) -> None:
        assert self._lines is not None
        plain = "".join(c if c.isprintable() else " " if c == "\n" else f"\\u{ord(c):04x}" for c in text.strip())
        line = f"{datetime.now(UTC).isoformat(timespec='seconds')} {plain}"
        self._lines.emit(logging.makeLogRecord({"msg": line}))
