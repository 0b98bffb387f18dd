"""What the page has done in processes of its own: reruns and exports, one after another, as `dub` itself does them.

A process each, so that a crash costs one job and no page, and the page stays quick. Knows no HTTP.
"""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["BackgroundJob", "BackgroundJobs"]

_TOLD = 20  # of those that have ended


@dataclass(frozen=True)
class BackgroundJob:
    """One of them. part: 0..1; message: the newest line of progress, or why it failed; result: what the command said
    (`--json`); about: what it was asked for, for the page."""

    id: int
    kind: Literal["rerun", "export"]
    reviewer: str
    about: dict[str, Any] = field(default_factory=dict)
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    part: float = 0.0
    message: str = ""
    result: Any = None


class BackgroundJobs:
    """Does background_jobs for one output folder. Safe to ask from several threads."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._known: dict[int, BackgroundJob] = {}
        self._todo: queue.Queue[tuple[int, list[str]] | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="background_jobs", daemon=True)
        self._thread.start()

    def rerun(self, shots: Sequence[Sequence[str]], generator: dict[str, Any], reviewer: str) -> BackgroundJob:
        """New takes of shots (title, language, id)."""
        names = ["/".join(key) for key in shots]
        about = {"keys": [list(key) for key in shots], "generator": generator}
        args = [*(x for name in names for x in ("--shots", name)), "--generator", json.dumps(generator)]
        return self._add("rerun", reviewer, about, ["rerun", *args])

    def export(self, reviewer: str) -> BackgroundJob:
        """Masters and lists of what was decided."""
        return self._add("export", reviewer, {}, ["export"])

    def all(self) -> list[dict[str, Any]]:
        """What waits, what runs, and the last that have ended, oldest first, as plain values."""
        with self._lock:
            return [asdict(e) for e in self._known.values()]

    def close(self) -> None:
        """End what runs; takes that are finished are kept."""
        self._closed = True
        self._todo.put(None)
        with self._lock:
            if self._process is not None:
                self._process.terminate()
        self._thread.join(timeout=20)

    def _add(
        self, kind: Literal["rerun", "export"], reviewer: str, about: dict[str, Any], args: list[str]
    ) -> BackgroundJob:
        with self._lock:
            ended = [n for n, e in self._known.items() if e.state in ("done", "failed")]
            for n in ended[:-_TOLD]:  # what every page asks for every few seconds must not grow all day
                del self._known[n]
            job = BackgroundJob(next(self._ids), kind, reviewer, about)
            self._known[job.id] = job
        told = ["--reviewer", reviewer, "--log-format", "json", "--json"]
        self._todo.put((job.id, [args[0], *told, *args[1:], "--", str(self._out)]))
        return job

    def _set(self, number: int, **fields: Any) -> None:
        with self._lock:
            self._known[number] = replace(self._known[number], **fields)

    def _work(self) -> None:
        while (item := self._todo.get()) is not None and not self._closed:
            number, args = item
            self._set(number, state="running")
            try:
                self._do(number, args)
            except Exception as e:  # whatever it was, the page is told, and the next one is done
                self._set(number, state="failed", message=f"It could not be started: {e}.")

    def _do(self, number: int, args: list[str]) -> None:
        with self._lock:
            if self._closed:
                return
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "dubbing", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        said: list[str] = []
        last = ""
        with process.stdout as results, process.stderr as lines:
            reader = threading.Thread(target=lambda: said.append(results.read()), daemon=True)
            reader.start()
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    last = line.strip().removeprefix("dub: ") or last
                    continue
                if isinstance(event, dict) and event.get("event") == "progress":
                    self._set(number, part=float(event.get("part") or 0), message=str(event.get("text") or ""))
            code = process.wait()
            reader.join()
        with self._lock:
            self._process = None
        try:
            result = json.loads(said[0]) if said and said[0].strip() else None
        except ValueError:
            result = None
        if result is not None:  # of what failed in it, it tells itself
            self._set(number, state="done", part=1.0, message="", result=result)
        else:
            self._set(number, state="failed", message=last or f"It ended with exit code {code}.", result=result)
