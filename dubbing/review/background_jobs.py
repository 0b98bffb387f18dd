"""What the page has done in processes of its own: reruns and exports, one after another, as `dub` itself does them.

A process each, so that a crash costs one job and no page, and the page stays quick. Each ends when this process does,
however that ends: its stdin is a pipe that nobody else holds (ENDS_WITH_STDIN). Knows no HTTP.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dubbing.errors import InputError

__all__ = ["ENDS_WITH_STDIN", "MOST_WAITING", "BackgroundJob", "BackgroundJobs"]

ENDS_WITH_STDIN = "DUB_ENDS_WITH_STDIN"
"""Set in the environment of a `dub` process: it is interrupted when its stdin ends."""
MOST_WAITING = 20
_TOLD = 20  # of those that have ended
_MOST_MESSAGE = 500  # letters


@dataclass(frozen=True)
class BackgroundJob:
    """One of them. part: 0..1; message: the newest line of progress, or why it failed, or who cancelled it; result:
    what the command said (`--json`); about: what it was asked for, for the page."""

    id: int
    kind: Literal["rerun", "export"]
    reviewer: str
    about: Mapping[str, Any] = field(default_factory=dict)
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    part: float = 0.0
    message: str = ""
    result: Any = None

    @property
    def ended(self) -> bool:
        return self.state not in ("waiting", "running")


class BackgroundJobs:
    """Does background_jobs for one output folder. Safe to ask from several threads."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lock = threading.Condition()
        self._ids = itertools.count(1)
        self._known: dict[int, BackgroundJob] = {}
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="background_jobs", daemon=True)
        self._thread.start()

    def rerun(self, shots: Sequence[Sequence[str]], generator: dict[str, Any], reviewer: str) -> BackgroundJob:
        """New takes of shots (title, language, id). Where the same is waiting or running, that one, and no second.

        Raises InputError where MOST_WAITING jobs wait.
        """
        keys = [list(key) for key in dict.fromkeys(map(tuple, shots))]
        return self._add("rerun", reviewer, {"keys": keys, "generator": generator})

    def export(self, reviewer: str) -> BackgroundJob:
        """Masters and lists of what was decided. Where an export waits, that one; one that runs may not know of what
        was decided since. Raises InputError where MOST_WAITING jobs wait."""
        return self._add("export", reviewer, {})

    def cancel(self, number: int, reviewer: str) -> BackgroundJob:
        """Take back what waits, or end what runs; takes that are finished are kept. Raises InputError where it has
        ended, or never was."""
        with self._lock:
            job = self._known.get(number)
            if job is None or job.ended:
                raise InputError(
                    f"There is no rerun or export {number} that waits or runs; it may have ended just now."
                )
            self._known[number] = cancelled = replace(job, state="cancelled", message=f"by {reviewer}")
            if job.state == "running":
                self._end_process()
            return cancelled

    def all(self) -> list[BackgroundJob]:
        """What waits, what runs, and the last that have ended, oldest first."""
        with self._lock:
            return list(self._known.values())

    def close(self) -> None:
        """End what runs; takes that are finished are kept."""
        with self._lock:
            self._closed = True
            self._lock.notify()
            self._end_process()
        self._thread.join(timeout=20)

    def _end_process(self) -> None:
        """Under the lock. The process sees its stdin end, and has some time to end well."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _add(self, kind: Literal["rerun", "export"], reviewer: str, about: dict[str, Any]) -> BackgroundJob:
        with self._lock:
            for job in self._known.values():
                same = job.kind == kind and _asked(job.about) == _asked(about)
                if same and not job.ended and (kind == "rerun" or job.state == "waiting"):
                    return job
            if sum(job.state == "waiting" for job in self._known.values()) >= MOST_WAITING:
                raise InputError(
                    f"{MOST_WAITING} reruns and exports wait already; cancel one, or ask again when one has ended."
                )
            ended = [n for n, job in self._known.items() if job.ended]
            for n in ended[:-_TOLD]:  # what every page asks for every few seconds must not grow all day
                del self._known[n]
            job = BackgroundJob(next(self._ids), kind, reviewer, about)
            self._known[job.id] = job
            self._lock.notify()
        return job

    def _set(self, number: int, **fields: Any) -> None:
        """Of a job that runs: what was cancelled stays so."""
        with self._lock:
            if self._known[number].state == "running":
                self._known[number] = replace(self._known[number], **fields)

    def _next(self) -> BackgroundJob | None:
        """The oldest that waits, running from now on; None once this is closed."""
        with self._lock:
            while not self._closed:
                for job in self._known.values():
                    if job.state == "waiting":
                        self._known[job.id] = job = replace(job, state="running")
                        return job
                self._lock.wait()
        return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._do(job)
            except Exception as e:  # whatever it was, the page is told, and the next one is done
                self._set(job.id, state="failed", message=f"It could not be started: {e}."[:_MOST_MESSAGE])

    def _do(self, job: BackgroundJob) -> None:
        number = job.id
        with self._lock:
            if self._closed or self._known[number].ended:
                return
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "dubbing", *self._args(job)], env=os.environ | {ENDS_WITH_STDIN: "1"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None and process.stdin is not None
        said: list[str] = []
        last = ""
        with process.stdin, process.stdout as results, process.stderr as lines:
            reader = threading.Thread(target=lambda: said.append(results.read()), daemon=True)
            reader.start()
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    last = line.strip().removeprefix("dub: ") or last
                    continue
                if isinstance(event, dict) and event.get("event") == "progress":
                    text = str(event.get("text") or "")[:_MOST_MESSAGE]
                    self._set(number, part=float(event.get("part") or 0), message=text)
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
            self._set(number, state="failed", message=(last or f"It ended with exit code {code}.")[:_MOST_MESSAGE])

    def _args(self, job: BackgroundJob) -> list[str]:
        """What comes after `dub`."""
        args = [job.kind, "--reviewer", job.reviewer, "--log-format", "json", "--json"]
        if job.kind == "rerun":
            for key in job.about["keys"]:
                args += ["--shots", "/".join(key)]
            args += ["--generator", json.dumps(job.about["generator"])]
        return [*args, "--", str(self._out)]


def _asked(about: Mapping[str, Any]) -> Any:
    """The same for two jobs that would do the same."""
    return sorted(about.get("keys", [])), json.dumps(about.get("generator"), sort_keys=True)
