"""Edit lists of a delivered dub for editing systems: the whole title as OTIO, what changed as a CMX3600 EDL.

Both name frames by the master's own timecode: a shot lies at the same place in the source, in the master and in these
lists. Films of variable frame rate are counted as their timecode counts them, frame by frame at the nominal rate.
Knows what a list holds, and no decision log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dubbing.clock import Timecode, Timeline

__all__ = ["COLOURS", "Edit", "Note", "edl", "otio_json", "reel_name"]

COLOURS = {"note": "BLUE", "issue": "YELLOW", "blocker": "RED",
           "approved": "GREEN", "rejected": "MAGENTA", "original": "PURPLE", "chosen": "CYAN"}  # fmt: skip
"""Of a marker, by a comment's severity or by a verdict; names that OTIO and Avid know."""
_REEL_LETTERS = 8
_FIELD = 8  # columns of a locator's colour


@dataclass(frozen=True)
class Note:
    """A marker. frame: of the title; kind: a severity or a verdict, names its colour; text: one line or several."""

    frame: int
    kind: str
    text: str
    by: str
    at: str


@dataclass(frozen=True)
class Edit:
    """One shot on a list. start_frame, end_frame: half-open, of the title; remarks: `NAME` -> text, said of it in an
    EDL; facts: what OTIO's metadata holds under `dub`."""

    name: str
    start_frame: int
    end_frame: int
    notes: Sequence[Note] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def edl(title: str, reel: str, file: str, line: Timeline, edits: Sequence[Edit]) -> str:
    """A CMX3600 list: one event a shot, source and record timecode the master's own; lines end as CMX's do.

    reel: see `reel_name`; file: the master's name, which editing systems look for.
    """
    drop = Timecode.parse(line.start_tc, line.rate).drop
    lines = [f"TITLE: {title}"[:70], f"FCM: {'DROP FRAME' if drop else 'NON-DROP FRAME'}", ""]
    width = max(3, len(str(len(edits))))
    for number, edit in enumerate(edits, 1):
        span = f"{line.timecode(edit.start_frame)} {line.timecode(edit.end_frame)}"
        lines.append(f"{number:0{width}d}  {reel:<{_REEL_LETTERS}} V     C        {span} {span}")
        lines += [f"* FROM CLIP NAME: {file}", f"* SOURCE FILE: {file}"]
        lines += [f"* {name}: {_one_line(text)}" for name, text in edit.remarks.items()]
        for note in edit.notes:
            at = line.timecode(_inside(note.frame, edit))
            lines.append(f"* LOC: {at} {COLOURS[note.kind]:<{_FIELD}}{_said(note)}")
        lines.append("")
    return "\r\n".join(lines).rstrip() + "\r\n"


def reel_name(title: str, language: str) -> str:
    """At most eight letters and digits: the title's first ones, then the language's (`REELFR`)."""
    tongue = re.sub(r"[^A-Z0-9]", "", language.upper())[: _REEL_LETTERS - 2]
    return re.sub(r"[^A-Z0-9]", "", title.upper())[: _REEL_LETTERS - len(tongue)] + tongue


def otio_json(name: str, master: Path, line: Timeline, edits: Iterable[Edit], facts: Mapping[str, Any]) -> str:
    """An OTIO timeline: a video track with a clip a shot, a sound track with one clip; both refer to the master."""
    import opentimelineio as otio

    rate = float(line.rate)
    first = Timecode.parse(line.start_tc, line.rate).frames

    def span(start: int, end: int) -> Any:
        time = otio.opentime.RationalTime
        return otio.opentime.TimeRange(time(first + start, rate), time(end - start, rate))

    def reference() -> Any:
        made = otio.schema.ExternalReference(master.absolute().as_uri(), span(0, len(line)))
        made.name = master.name
        return made

    begin = otio.opentime.RationalTime(first, rate)
    timeline = otio.schema.Timeline(name, global_start_time=begin, metadata={"dub": _plain(facts)})
    picture = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    for edit in edits:
        clip = otio.schema.Clip(edit.name, reference(), span(edit.start_frame, edit.end_frame))
        clip.metadata["dub"] = _plain(edit.facts)
        for note in edit.notes:
            at = _inside(note.frame, edit)
            about = {"frame": note.frame, "kind": note.kind, "text": note.text, "by": note.by, "at": note.at}
            colour = getattr(otio.schema.MarkerColor, COLOURS[note.kind])
            marker = otio.schema.Marker(_said(note), span(at, at + 1), colour, metadata={"dub": about})
            marker.comment = note.text
            clip.markers.append(marker)
        picture.append(clip)
    sound = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    sound.append(otio.schema.Clip(name, reference(), span(0, len(line))))
    timeline.tracks.extend([picture, sound])
    return str(timeline.to_json_string(indent=1))


def _inside(frame: int, edit: Edit) -> int:
    """The frame, moved into the edit where it was said of its handles: a marker outside its clip is not shown."""
    return min(max(frame, edit.start_frame), edit.end_frame - 1)


def _said(note: Note) -> str:
    return _one_line(f"{note.kind}, {note.by}: {note.text}" if note.text else f"{note.kind}, {note.by}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in facts.items() if v is not None}
