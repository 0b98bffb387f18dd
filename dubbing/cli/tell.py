"""What `check`, `plan`, `run` and `demo` say at their end: for people, and as plain values."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dubbing.cli.say import echo_on
from dubbing.cli.show import PROVEN, counted, number, table
from dubbing.cli.watch import doing
from dubbing.errors import several

if TYPE_CHECKING:
    from dubbing import Estimate, Findings, Plan, Report
    from dubbing.remote import Uri

__all__ = [
    "check_plain", "check_told", "counting", "demo_told", "estimate_plain", "plan_plain", "plan_told", "run_told",
    "waiting",
]  # fmt: skip


# -- check -----------------------------------------------------------------------------------


@contextmanager
def counting(stream: TextIO, frames: int | None) -> Iterator[Callable[[int], None]]:
    """A counter of decoded pictures, shown on a terminal. frames: of how many; None: nothing is counted."""
    if frames is None or not stream.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=stream), transient=True) as progress:
        task = progress.add_task("decoding", total=frames or None)
        yield lambda n: progress.advance(task, n)


class Speech:
    """A bar of sentences that are spoken, on a terminal; gone when it has `ended`. A context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, of: int) -> None:
        """So many of so many are said."""
        if not self._stream.isatty():
            return
        from rich.console import Console
        from rich.progress import Progress

        if self._bar is None:
            self._bar = Progress(console=Console(file=self._stream), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("speaking", total=of)
        self._bar.update(self._task, completed=done, total=of)

    def ended(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def speaking(stream: TextIO) -> Iterator[Speech]:
    """What is told how many sentences are spoken."""
    told = Speech(stream)
    try:
        yield told
    finally:
        told.ended()


@contextmanager
def waiting(stream: TextIO, what: str | None) -> Iterator[None]:
    """Says what is being waited for, on a terminal with a sign of life. what: None where it takes no time."""
    if what is None:
        yield
        return
    if not stream.isatty():
        echo_on(f"{what} ...", stream)
        yield
        return
    from rich.console import Console

    with Console(file=stream).status(what):
        yield


def check_plain(found: Findings) -> dict[str, Any]:
    """All of it, as plain values."""
    return {
        "titles": [asdict(t) for t in found.titles],
        "problems": [{"kind": type(p).__name__, "text": str(p)} for p in found.problems],
        "notes": found.notes,
        "disk_needed_bytes": found.disk_needed,
        "disk_free_bytes": found.disk_free,
        "versions": dict(found.versions),
        "devices": dict(found.devices),
    }


def check_told(found: Findings, out: Path | Uri) -> str:
    """One paragraph and one table per title; notes; disk; versions; what a run would make. Problems are for stderr."""
    parts = []
    for t in found.titles:
        size = "{}x{}".format(*t.size_px)
        if t.coded_px is not None:
            size = "{}x{} shown as ".format(*t.coded_px) + size
        mean = t.frames / t.duration_s if t.variable_rate and t.duration_s else None
        parts.append(
            f"{t.id}: {t.video}\n  {t.codec} {size}, {several(t.bit_depth, 'bit')}, {several(t.frames, 'frame')}"
            f"{'' if t.exact else ' (by its header)'} at {_rate(t.rate, mean)}, {t.duration_s:.3f} s, "
            f"timecode {t.start_tc or 'none'}, {'with' if t.has_sound else 'without'} sound"
        )
        rows = (
            (d.language, d.audio.name, d.codec, d.channels, d.rate_hz, d.samples, f"{d.over_frames:+.2f}",
             " and ".join([str(out / t.id / d.language / d.master), *d.others]), d.sound)
            for d in t.dubs
        )  # fmt: skip
        head = ("dub", "sound", "codec", "channels", "Hz", "samples", "frames over", "master to come", "its sound")
        if t.dubs:
            parts.append("\n".join([table(head, rows), *(f"{d.language}: {d.asked}" for d in t.dubs if d.asked)]))
        if t.sounds:
            heard = [line for one in t.sounds for line in _heard(one)]
            parts.append(table(("sound of", "file", "listened to", "speech"), heard))
    parts += [f"note: {note}" for note in found.notes]
    parts.append(
        f"disk: about {found.disk_needed / 1e9:.2f} GB may be needed, {found.disk_free / 1e9:.2f} GB are free\n"
        f"with: {', '.join(f'{name} {v}' for name, v in found.versions.items())}"
        + (f"\nruns: {', '.join(f'{what} {where}' for what, where in found.devices.items())}" if found.devices else "")
    )
    if not found.problems:
        parts.append(
            f"`dub run` would make {several(sum(1 + len(d.others) for t in found.titles for d in t.dubs), 'master')}."
        )
    return "\n\n".join(parts)


def _heard(one: Any) -> list[tuple[str, str, str, str]]:
    """What of a file is listened to, and below it what else there is."""
    rest = [("", "", f"not {name}", f"{speech_s:.1f} s") for name, speech_s in one.others.items()]
    return [(one.whose, one.file.name, one.listened, f"{one.speech_s:.1f} s"), *rest]


def _rate(rate: Fraction, mean: float | None) -> str:
    """`25 a second`, `24000/1001 (23.976) a second`; mean: of a variable rate, `a variable rate (22.01 a second on
    average)`."""
    if mean is not None:
        return f"a variable rate ({mean:.2f} a second on average)"
    return f"{rate} a second" if rate.denominator == 1 else f"{rate} ({float(rate):.3f}) a second"


# -- plan ------------------------------------------------------------------------------------


def plan_plain(plan: Plan) -> dict[str, Any]:
    """Stages with counts, and every task known so far."""
    return {
        "stages": [
            {"stage": s, "tasks": n, "done": ended, "frames": frames}
            for s, n, ended, frames in _stages(plan)
        ],
        "complete": plan.complete,
        "tasks": [
            {"id": t.id, "stage": t.stage, "key": t.key, "folder": str(t.folder), "done": t.id in plan.done,
             "frames": t.frames, "needs": list(t.needs), "after": list(t.after)}
            for t in plan.tasks
        ],
    }  # fmt: skip


def plan_told(plan: Plan) -> str:
    """One row per stage, one line of sum, and what it rests on. `~`: how many there will be is a guess yet."""
    expected = plan.estimate
    rows = [
        (doing(s.stage), f"{'' if s.known else '~'}{s.tasks}", s.done, s.frames, _hours(s.core_hours),
         *([_hours(s.gpu_hours)] if expected.gpus else []))
        for s in expected.stages
    ]  # fmt: skip
    gpu_column = ("GPU time",) if expected.gpus else ()
    text = table(("stage", "tasks", "done", "frames to do", "core time", *gpu_column), rows)
    if expected.generators:
        each = [(g.generator, g.frames, _hours(g.core_hours), *([_hours(g.gpu_hours)] if expected.gpus else []))
                for g in expected.generators]  # fmt: skip
        text += "\n\n" + table(("generator", "frames to do", "core time", *gpu_column), each)
    if plan.finished:
        return text + "\n\nEverything is done: a run would only write the tables again."
    if expected.core_hours is not None and expected.wall_s is not None and expected.longest_s is not None:
        gpu = f" and {_hours(expected.gpu_hours)} of one GPU" if expected.gpus else ""
        with_gpus = f" and {expected.gpus:g} GPU{'' if expected.gpus == 1 else 's'}" if expected.gpus else ""
        text += (
            f"\n\nabout {_hours(expected.core_hours)} of one core{gpu} are left: {_long(expected.wall_s)} with "
            f"{expected.workers} at once{with_gpus}, start-up of {expected.startup_s:.0f} s included; never under "
            f"{_long(expected.longest_s)}, however many there are"
        )
    return text + "".join(f"\nnote: {note}" for note in expected.notes)


def estimate_plain(expected: Estimate) -> dict[str, Any]:
    """An estimate as plain values."""
    return asdict(expected)


def _hours(hours: float | None) -> str | None:
    return None if hours is None else _long(3600 * hours)


def _long(seconds: float) -> str:
    """`0 s`, `0.4 s`, `41 s`, `12 min`, `3.5 h`, `1,200 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def _stages(plan: Plan) -> list[tuple[str, int, int, int]]:
    """(stage, tasks known, of them done, frames in those that are not) in pipeline order."""
    out = []
    for stage in plan.stages:
        mine = [t for t in plan.tasks if t.stage == stage]
        todo = sum(t.frames for t in mine if t.id not in plan.done)
        out.append((stage, len(mine), sum(t.id in plan.done for t in mine), todo))
    return out


# -- run and demo ----------------------------------------------------------------------------


def run_told(report: Report, out: Path | Uri, said: Collection[str] = ()) -> str:
    """One row per dub, what a person should know about it, and what to do next. said: notes that were shown before."""
    rows = (
        (
            d["title"],
            d["language"],
            counted(d["counts"]),
            d["needs_review"],
            " and ".join([d["master"], *d["other_masters"]]) if d["master"] else d["error"],
            PROVEN[d["verified"]] if d["master"] else None,
        )
        for d in report.summary
    )
    parts = [table(("title", "language", "shots", "review", "master", "proven"), rows)]
    parts += [
        f"NOT PROVEN: {d['title']}/{d['language']}: {d['error']}. `dub verify` names every difference; the master "
        "stays where it is, and is not for delivery."
        for d in report.summary
        if d["verified"] is False
    ]
    notes: dict[str, list[str]] = {}
    for d in report.summary:
        for note in d["notices"]:
            if note not in said:
                notes.setdefault(note, []).append(f"{d['title']}/{d['language']}")
    parts += [f"note: {', '.join(dubs)}: {note}" for note, dubs in notes.items()]
    run = report.run_json
    made, found, seconds = run.get("done_now", 0), run.get("found_done", 0), number(run.get("seconds"), 1)
    before = f"{found:,} {'was' if found == 1 else 'were'} done before"
    parts.append(f"{several(made, 'task')} done in {seconds} s, {before}")
    where = shlex.quote(str(out))
    parts[-1] += f"\n`dub status {where}` has the scores"
    if isinstance(out, Path) and any(d["table"] for d in report.summary):
        parts[-1] += f"; `dub review {where}` shows every shot, worst first"
    return "\n\n".join(parts)


def demo_told(report: Report, film: Path | Uri) -> str:
    """Where everything lies, and what to look at."""
    lines = [f"the original: {film}"]
    for d in report.summary:
        lines.append(f"{d['language']}: {d['master'] or d['error']}")
        lines.append(f"    every shot, with scores or the reason it was left alone: {d['table']}")
        lines += [f"    source above, result below, mouths enlarged: {s}" for s in d["sheets"]]
    lines.append(
        "\nPlay an original and a dub side by side: the lips follow the new words, rest in its pauses, and the\n"
        "shots without a face or without speech are untouched. `dub status` of the out folder lists the scores."
    )
    return "\n".join(lines)
