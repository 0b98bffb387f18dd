"""How far a run is, shown on a terminal, as plain lines or as JSON.

It knows events and nothing of the work behind them; `dubbing.api.progress` counts.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from dubbing.api.progress import DOING, Figures, Tally, first_line
from dubbing.cli.say import echo_on, safe

if TYPE_CHECKING:
    from dubbing import Event, Findings

__all__ = ["Bar", "JsonLines", "Lines", "Watched", "doing", "event_fields", "format_text", "watched", "watcher"]

LINE_S = 5.0


def format_text(figures: Figures) -> str:
    """`37%  shots 4/30  rendering mouths of reel/fr  85 frames/s  about 1:20 left`."""
    unknown = "finding shots" if figures.stage else "starting"
    shots = f"shots {figures.shots_done}/{figures.shots_total}" if figures.shots_total else unknown
    failed = f"{figures.failed} failed" if figures.failed else ""
    rate = f"{figures.frames_per_s:.0f} frames/s" if figures.frames_per_s else ""
    left = f"about {clock_time(figures.left_s)} left" if figures.left_s is not None else ""
    now = " of ".join(text for text in (doing(figures.stage), figures.where) if text)
    return "  ".join(t for t in (f"{figures.part:3.0%}", shots, now, rate, left, failed) if t)


def doing(stage: str) -> str:
    """A stage as people read it; one of another package by its name."""
    return DOING.get(stage, stage)


def clock_time(seconds: float) -> str:
    """`1:20`, `2:01:20`."""
    s = round(seconds)
    return f"{s // 3600}:{s // 60 % 60:02d}:{s % 60:02d}" if s >= 3600 else f"{s // 60}:{s % 60:02d}"


class _Shown(ABC):
    """What the displays share: counting, and what is said once."""

    def __init__(self, tally: Tally, stream: TextIO) -> None:
        self.tally, self.stream = tally, stream

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        self.tally(event)
        if event.kind == "failed":
            self.say(f"{doing(event.stage)} of {event.where or event.task_id} failed: {first_line(event.text)}")
        elif event.kind == "finished" and event.stage == "master" and event.window is None:
            self.say(f"{event.where} is rendered")
        elif event.kind == "message":
            self.say(event.text)
        self.refresh()

    @abstractmethod
    def say(self, text: str) -> None:
        """A line that stays."""

    @abstractmethod
    def refresh(self) -> None:
        """Show the figures anew, if it is time to."""


class Lines(_Shown):
    """Plain lines: one every five seconds, and one for every dub and every failure."""

    _next = 0.0

    def say(self, text: str) -> None:
        echo_on(text, self.stream)

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
        self._progress.console.print(safe(text), markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        figures = self.tally.figures()
        self._progress.update(self._task, completed=figures.part, description=format_text(figures))


class JsonLines(_Shown):
    """One JSON object per line for every event, and one of figures every five seconds; docs/events.md names
    the fields. Nothing else is written to the stream."""

    _next = 0.0

    def __call__(self, event: Event) -> None:
        seconds = round(self.tally.seconds_of(event), 3) if event.kind in ("finished", "failed") else None
        seconds = event.seconds if event.kind == "expected" else seconds
        self.tally(event)
        if event.kind != "frames":
            self._line(event_fields(event, seconds))
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
        echo_on(json.dumps(fields, ensure_ascii=False), self.stream)


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


def watcher(films: list[tuple[int, int]], stream: TextIO, log_format: str = "text") -> _Shown:
    """A display for this stream: a bar on a terminal, lines elsewhere, JSON where asked. A context manager;
    call it with events."""
    tally = Tally(films)
    if log_format == "json":
        return JsonLines(tally, stream)
    return Bar(tally, stream) if stream.isatty() else Lines(tally, stream)


@dataclass
class Watched:
    """What a run is told to tell. begin: what was found before it; on_event, on_speech: as it goes; said: the notes
    that were shown at its start."""

    begin: Callable[[Findings], None]
    on_event: Callable[[Event], None]
    on_speech: Callable[[int, int], None]
    said: list[str] = field(default_factory=list)


@contextmanager
def watched(stream: TextIO, log_format: str, masters: bool = True) -> Iterator[Watched]:
    """A display of a run. masters: whether all of every dub is to be done, of which the display counts what is left."""
    from dubbing.cli import defects, tell

    watching: list[Callable[[Event], None]] = []
    with ExitStack() as stack:
        speech = stack.enter_context(tell.speaking(stream))

        def begin(found: Findings) -> None:
            speech.ended()
            films = [(t.frames, len(t.dubs) if masters else 0) for t in found.titles]
            watch = stack.enter_context(watcher(films, stream, log_format))
            watching.append(watch)
            for note in found.notes:
                watch.say(f"note: {note}")
            shown.said.extend(found.notes)

        def on_event(event: Event) -> None:
            defects.remember(event)
            watching[0](event)

        shown = Watched(begin, on_event, speech)
        yield shown
