"""How far a run is: counted from the engine's events, shown on a terminal or as plain lines.

It knows events and nothing of the work behind them. `Tally` counts; `Bar`, `Lines` and `JsonLines` show;
all also leave the figures in OUT/.progress.json, where `dub status` finds them.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from dubbing.engine import Event

__all__ = ["PROGRESS", "Bar", "Figures", "JsonLines", "Lines", "Tally", "event_fields", "watcher"]

PROGRESS = ".progress.json"
LINE_S = 5.0
FAILURES = 20  # how many of the newest failures `dub status` is told
# Milliseconds of wall time a frame of film costs on two cores: for the share done and the time left only.
COST = {"shots": 2.0, "faces": 7.0, "lipsync": 10.0, "sync": 9.0, "master": 22.0}
_PER_TITLE = ("shots", "faces")


@dataclass(frozen=True)
class Figures:
    """How far a run is. part: 0..1 of the work; shots_done of shots_total (null before the cuts are
    known), each counted once per language; frames_per_s: over the last seconds, all stages together;
    left_s: null while there is nothing to go by; stage: of the newest task; found: tasks that were done
    before; made: tasks finished now; seconds_by_stage: of these; failures: the newest, task id -> why."""

    part: float
    shots_done: int
    shots_total: int | None
    frames_per_s: float
    left_s: float | None
    stage: str
    running: int
    failed: int
    found: int = 0
    made: int = 0
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


class Tally:
    """Counts events. films: (frames, dubs) of every title, so that the whole is known from the start."""

    def __init__(self, films: list[tuple[int, int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected = {
            stage: sum(frames * (1 if stage in _PER_TITLE else dubs) for frames, dubs in films) for stage in COST
        }
        dubs = {n for _, n in films}
        self._dubs = dubs.pop() if len(dubs) == 1 else None
        self._done: Counter[str] = Counter()
        self._partial: dict[str, int] = {}
        self._stage_of: dict[str, str] = {}
        self._shots: tuple[int, int] | None = None
        self._recent: deque[tuple[float, int]] = deque()
        self._started = clock()
        self._found: float | None = None
        self._since: dict[str, float] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failures: dict[str, str] = {}
        self._made = self._known_done = 0
        self.failed = 0
        self.stage = ""

    def __call__(self, event: Event) -> None:
        if event.kind == "planned":
            for stage, (_, _, known, done) in event.totals.items():
                if stage in COST:
                    self._done[stage] = done
                    self._expected[stage] = max(self._expected[stage], known)
            tasks, ended, _, _ = event.totals.get("sync", (0, 0, 0, 0))
            if tasks:
                self._shots = (ended, tasks)
            elif self._dubs and (found := event.totals.get("faces", (0,))[0]):
                self._shots = (0, found * self._dubs)
            if self._found is None:
                self._found = self._work()
            self._known_done = max(
                self._known_done, sum(t[1] for t in event.totals.values()) - self._made - self.failed
            )
        elif event.kind == "started":
            self._stage_of[event.task_id] = self.stage = event.stage
            self._since[event.task_id] = self._clock()
        elif event.kind == "frames":
            self._partial[event.task_id] = self._partial.get(event.task_id, 0) + event.frames
            self._recent.append((self._clock(), event.frames))
        elif event.kind in ("finished", "failed"):
            known = self._partial.pop(event.task_id, 0)
            self._done[event.stage] += event.frames or known
            self._stage_of.pop(event.task_id, None)
            self._seconds[event.stage] += self.seconds_of(event)
            self._since.pop(event.task_id, None)
            if event.kind == "failed":
                self.failed += 1
                self._failures[event.task_id] = first_line(event.text)
            else:
                self._made += 1
            if event.stage == "sync" and event.window is None and self._shots is not None:
                self._shots = (self._shots[0] + 1, self._shots[1])

    def seconds_of(self, event: Event) -> float:
        """How long a task that ends with this event took, by the engine's word, else since it was started."""
        told: float | None = getattr(event, "seconds", None)
        return told if told else self._clock() - self._since.get(event.task_id, self._clock())

    def _work(self) -> float:
        done = Counter(self._done)
        for task_id, frames in self._partial.items():
            done[self._stage_of.get(task_id, "")] += frames
        return sum(COST[s] * min(done[s], self._expected[s]) for s in COST)

    def figures(self) -> Figures:
        now = self._clock()
        while self._recent and self._recent[0][0] < now - 10:
            self._recent.popleft()
        span = max(1.0, now - max(self._recent[0][0] if self._recent else now, self._started))
        whole = sum(COST[s] * self._expected[s] for s in COST)
        work = self._work()
        fresh, elapsed = work - (self._found or 0.0), now - self._started
        left = (whole - work) * elapsed / fresh if fresh > 0.01 * whole and elapsed > 2 else None
        done, total = self._shots or (0, None)
        return Figures(
            part=min(1.0, work / whole) if whole else 0.0,
            shots_done=done,
            shots_total=total,
            frames_per_s=round(sum(n for _, n in self._recent) / span, 1),
            left_s=round(left, 1) if left is not None else None,
            stage=self.stage,
            running=len(self._stage_of),
            failed=self.failed,
            found=self._known_done,
            made=self._made,
            seconds_by_stage={s: round(v, 2) for s, v in self._seconds.items()},
            failures=dict([*self._failures.items()][-FAILURES:]),
        )


def format_text(figures: Figures) -> str:
    """`37 %  shots 4/30  lipsync  85 frames/s  about 1:20 left`."""
    shots = f"shots {figures.shots_done}/{figures.shots_total}" if figures.shots_total else "finding shots"
    failed = f"{figures.failed} failed" if figures.failed else ""
    rate = f"{figures.frames_per_s:.0f} frames/s" if figures.frames_per_s else ""
    left = f"about {clock_time(figures.left_s)} left" if figures.left_s is not None else ""
    return "  ".join(t for t in (f"{figures.part:3.0%}", shots, figures.stage, rate, left, failed) if t)


def first_line(text: str) -> str:
    """What a failure's text begins with."""
    return text.splitlines()[0] if text.strip() else "no reason given"


def clock_time(seconds: float) -> str:
    """`1:20`, `2:01:20`."""
    s = round(seconds)
    return f"{s // 3600}:{s // 60 % 60:02d}:{s % 60:02d}" if s >= 3600 else f"{s // 60}:{s % 60:02d}"


class _Shown(ABC):
    """What both displays share: counting, what is said once, and the file for `dub status`."""

    def __init__(self, tally: Tally, stream: TextIO, folder: Path | None) -> None:
        self.tally, self.stream = tally, stream
        self._file = folder / PROGRESS if folder is not None else None
        self._written = 0.0

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._written:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def __call__(self, event: Event) -> None:
        self.tally(event)
        if event.kind == "failed":
            self.say(f"{event.task_id} failed: {first_line(event.text)}")
        elif event.kind == "finished" and event.stage == "master":
            self.say(f"{event.where} is rendered")
        elif event.kind == "message":
            self.say(event.text)
        self._leave()
        self.refresh()

    @abstractmethod
    def say(self, text: str) -> None:
        """A line that stays."""

    @abstractmethod
    def refresh(self) -> None:
        """Show the figures anew, if it is time to."""

    def _leave(self) -> None:
        """The figures for `dub status`; a disk that takes no more of them is the engine's to report."""
        now = time.monotonic()
        if self._file is None or now - self._written < 1.0 or not self._file.parent.is_dir():
            return
        self._written = now
        part = self._file.with_name(f".part-{os.getpid()}{PROGRESS}")
        with suppress(OSError):
            part.write_text(json.dumps({"pid": os.getpid(), "at": time.time(), **asdict(self.tally.figures())}))
            part.replace(self._file)


class Lines(_Shown):
    """Plain lines: one every five seconds, and one for every dub and every failure."""

    _next = 0.0

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def refresh(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_S
            self.say(format_text(self.tally.figures()))


class Bar(_Shown):
    """One line that is redrawn; what is said scrolls above it."""

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(file=self.stream),
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("", total=1.0)
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        super().__exit__(*error)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        figures = self.tally.figures()
        self._progress.update(self._task, completed=figures.part, description=format_text(figures))


class JsonLines(_Shown):
    """One JSON object per line for every event, and one of figures every five seconds; docs/events.md names
    the fields. Nothing else is written to the stream."""

    _next = 0.0

    def __call__(self, event: Event) -> None:
        seconds = round(self.tally.seconds_of(event), 3) if event.kind in ("finished", "failed") else None
        self.tally(event)
        if event.kind != "frames":
            self._line(event_fields(event, seconds))
        self._leave()
        self.refresh()

    def say(self, text: str) -> None:
        self._line({**event_fields(None, None), "event": "message", "text": text})

    def refresh(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_S
            figures = asdict(self.tally.figures())
            self._line(
                {**event_fields(None, None), "event": "progress", "text": format_text(self.tally.figures()), **figures}
            )

    def _line(self, fields: Mapping[str, Any]) -> None:
        print(json.dumps(fields, ensure_ascii=False), file=self.stream, flush=True)


def event_fields(event: Event | None, seconds: float | None) -> dict[str, Any]:
    """An event as the fields of docs/events.md, all of them, null where one does not apply."""
    fields: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": "info", "event": None, "task": None,
        "stage": None, "title": None, "language": None, "shot": None, "frames": None, "seconds": seconds, "text": None,
    }  # fmt: skip
    if event is None:
        return fields
    fields |= {"event": event.kind, "level": "error" if event.kind == "failed" else "info", "text": event.text or None}
    fields |= {"task": event.task_id or None, "stage": event.stage or None, "frames": event.frames or None}
    return fields | {"title": event.title or None, "language": event.language, "shot": event.shot}


def watcher(films: list[tuple[int, int]], stream: TextIO, folder: Path | None, log_format: str = "text") -> _Shown:
    """A display for this stream: a bar on a terminal, lines elsewhere, JSON where asked. A context manager;
    call it with events."""
    tally = Tally(films)
    if log_format == "json":
        return JsonLines(tally, stream, folder)
    return Bar(tally, stream, folder) if stream.isatty() else Lines(tally, stream, folder)
