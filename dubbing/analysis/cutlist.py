"""Cut lists that a person supplies: CMX3600 `.edl` and OpenTimelineIO `.otio`, read into frames.

An `.edl` is read here, line by line, because every fault must be named by its line and because only
the record side matters: source times, reels and speed changes may say what they like. An `.otio` is
read by opentimelineio, once it is known to be an ordinary file that nests no deeper than its parser bears. Both give
SMPTE timecode, which is counted at the film's own rate. Nothing here opens the film.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.clock import Timecode, Timeline, counting_base
from dubbing.errors import ManifestError
from dubbing.inputs import MOST_NESTED, nested, read_file

__all__ = ["OutsideFilm", "read_cuts"]

_MOST_BYTES = 64 << 20
_PAIRS_FROM = 48  # frames a second from which timecode may count pairs
_CLEARLY = 3.0  # times as much change at the cuts of one count as at those of the other
_SHOWN = 80  # letters of a line in a message

_EVENT = re.compile(
    r"(?P<number>\d+)\s+(?P<reel>\S+)\s+(?P<channel>\S+)\s+(?P<kind>C|D|W\d+|K[BO]?)\s+(?:(?P<length>\d{1,9})\s+)?"
    r"\S+\s+\S+\s+(?P<start>\d\d[:;.]\d\d[:;.]\d\d[:;.]\d\d+)\s+(?P<end>\d\d[:;.]\d\d[:;.]\d\d[:;.]\d\d+)"
)


class OutsideFilm(ManifestError):
    """An edit lies outside the film, by the header's number of frames or, once it is known, by the true one."""


@dataclass(frozen=True)
class _Edit:
    """One edit on the record side, in frames of the list's own count.

    cut: the frame at which its picture takes over (the middle of a dissolve into it); where: its name in messages.
    """

    where: str
    start: int
    end: int
    cut: int
    start_text: str
    end_text: str


def read_cuts(path: Path | str, film: Timeline, changes: Callable[[Sequence[int]], list[float]]) -> list[int]:
    """The cuts of a list: increasing frame numbers, each the first frame of a shot, 0 left out.

    changes: how much the film's picture changes at each of some frames; asked for where the list may count otherwise
    than the film does. Timecode at 48 frames a second and more often counts pairs of frames (SMPTE ST 12-1), and a list
    that does so is a list of frames too, of the wrong ones. The count whose cuts are cuts in the picture is taken.

    A dissolve or wipe cuts in its middle. A stretch that the list leaves out is a shot of its own.
    Where the film carries no timecode (it starts at 00:00:00:00) and the list starts at another
    whole hour, that hour is taken as the film's start.
    Raises ManifestError naming the line (or edit) and what is wrong with it; OutsideFilm, one of these, for a timecode
    that does not fit the film.
    """
    cuts, edits = _cuts(Path(path), film)
    pairs = _counted_in_pairs(Path(path), film, edits)
    if pairs is None or pairs == cuts:
        return cuts
    own, other = (np.median(changes(found)) if found else 0.0 for found in (cuts, pairs))
    if max(own, other) < _CLEARLY * min(own, other):
        base = counting_base(film.rate)
        raise ManifestError(
            f"{path}: its timecodes fit a count of {base} frames a second (the first cut is frame {cuts[0]}) and one "
            f"of {base // 2} pairs (frame {pairs[0]}), and the picture does not tell which; export the list with the "
            f"film's own count of {base}."
        )
    return cuts if own > other else pairs


def _counted_in_pairs(path: Path, film: Timeline, edits: Sequence[_Edit]) -> list[int] | None:
    """The cuts of a list if it counts pairs of frames; None where it cannot."""
    base = counting_base(film.rate)
    if base < _PAIRS_FROM or base % 2 or len(film) < 4:
        return None
    if any(
        int(re.split(r"[:;.]", text)[3]) >= base // 2 for edit in edits for text in (edit.start_text, edit.end_text)
    ):
        return None
    half = Timeline(film.pts[::2], film.time_base, film.end_pts, film.rate / 2, film.start_tc)
    try:
        cuts, _ = _cuts(path, half)
    except ManifestError:
        return None
    return [2 * cut for cut in cuts]


def _cuts(path: Path, film: Timeline) -> tuple[list[int], list[_Edit]]:
    """The cuts of a list that counts as the film does, and its edits."""
    if path.suffix.lower() == ".edl":
        edits = _read_edl(path, film)
    elif path.suffix.lower() == ".otio":
        edits = _read_otio(path, film)
    else:
        raise ManifestError(f"{path}: a cut list is a CMX3600 file (.edl) or an OpenTimelineIO file (.otio).")
    if not edits:
        raise ManifestError(f"{path}: there is no picture edit in this cut list.")
    first = Timecode.parse(film.start_tc, film.rate)
    if first.frames == 0 and re.fullmatch(r"\d\d[:;.]00[:;.]00[:;.]00+", edits[0].start_text):
        first = Timecode(edits[0].start, first.base, first.drop)
    start, end = first.frames, first.frames + len(film)
    cuts: set[int] = set()
    last = _Edit("", start, start, start, "", "")
    for edit in edits:
        if edit.start < start or edit.end > end:
            text = edit.start_text if not start <= edit.start < end else edit.end_text
            raise OutsideFilm(
                f"{path}, {edit.where}: {text} is outside the film, which runs from {first} to {first + len(film)}."
            )
        if edit.start < last.end:
            raise ManifestError(
                f"{path}, {edit.where}: it starts at {edit.start_text}, before {last.end_text}, "
                f"where {last.where} ends; edits must follow each other."
            )
        if edit.start > last.end:
            cuts.add(last.end - start)
        cuts.add(edit.cut - start)
        last = edit
    cuts.add(last.end - start)
    return sorted(cut for cut in cuts if 0 < cut < len(film)), edits


def _read_edl(path: Path, film: Timeline) -> list[_Edit]:
    lines = _text(path).splitlines()
    edits: list[_Edit] = []
    drop_frame = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.upper().startswith("FCM:"):
            drop_frame = "NON" not in text.upper()
            continue
        if not re.match(r"\d+\s+\S+\s+\S+\s", text):
            continue  # titles, comments, motion effects, blank lines
        event = _EVENT.match(text)
        if not event:
            raise ManifestError(
                f"{path}, line {number}: {text[:_SHOWN]!r} is no CMX3600 edit; one reads "
                "'001 REEL V C 00:00:00:00 00:00:01:00 01:00:00:00 01:00:01:00'."
            )
        if not _is_picture(event["channel"]):
            continue
        where = f"line {number}"
        start = _count(event["start"], film, f"{path}, {where}", drop_frame)
        end = _count(event["end"], film, f"{path}, {where}", drop_frame)
        if end < start:
            raise ManifestError(f"{path}, {where}: it ends at {event['end']}, before it starts at {event['start']}.")
        if end == start:
            continue  # the outgoing half of a dissolve
        cut = min(start + int(event["length"] or 0) // 2, end)
        edits.append(_Edit(where, start, end, cut, event["start"], event["end"]))
    return edits


def _is_picture(channel: str) -> bool:
    name = channel.upper()
    return name == "B" or "V" in name


def _count(text: str, film: Timeline, where: str, drop_frame: bool) -> int:
    """Frames since midnight of a timecode as the film counts them."""
    if drop_frame and counting_base(film.rate) % 30 == 0:
        text = f"{text[:8]};{text[9:]}"
    try:
        code = Timecode.parse(text, film.rate)
        start = Timecode.parse(film.start_tc, film.rate)
    except ManifestError as e:
        raise ManifestError(f"{where}: {e}") from e
    if code.drop != start.drop and start.frames:
        raise ManifestError(
            f"{where}: {text} counts {'drop-frame' if code.drop else 'non-drop'}, but the film starts at "
            f"{film.start_tc}; export the cut list in the film's own count."
        )
    return code.frames


def _read_otio(path: Path, film: Timeline) -> list[_Edit]:
    import opentimelineio as otio

    text = _text(path)
    if nested(text) > MOST_NESTED:  # its reader would use up the process's stack
        raise ManifestError(f"{path}: lists inside lists without end; {MOST_NESTED} are allowed.")
    try:
        timeline = otio.adapters.read_from_string(text, "otio_json")
    except Exception as e:  # its reader raises many kinds
        raise ManifestError(f"{path}: this OpenTimelineIO file cannot be read ({_short(e)}).") from e
    if not isinstance(timeline, otio.schema.Timeline):
        raise ManifestError(f"{path}: it holds a {type(timeline).__name__}; a cut list is a Timeline.")
    tracks = [t for t in timeline.tracks if isinstance(t, otio.schema.Track) and t.kind == "Video" and len(t)]
    if not tracks:
        return []
    try:
        track = tracks[0] if len(tracks) == 1 else otio.algorithms.flatten_stack(tracks)
    except Exception as e:
        raise ManifestError(
            f"{path}: its {len(tracks)} picture tracks cannot be laid over each other ({_short(e)}); give one track, "
            "whose clips say their source_range."
        ) from e
    base = counting_base(film.rate)
    first = Timecode.parse(film.start_tc, film.rate)
    offset = first.frames
    if timeline.global_start_time is not None:
        offset = _frames(timeline.global_start_time, base, f"{path}, global_start_time")
    edits: list[_Edit] = []
    for number, child in enumerate(track, 1):
        if isinstance(child, otio.schema.Transition):
            continue
        where = f"edit {number} ({child.name})" if child.name else f"edit {number}"
        at = _range(child, f"{path}, {where}")
        start = offset + _frames(at.start_time, base, f"{path}, {where}")
        end = start + _frames(at.duration, base, f"{path}, {where}")
        names = (str(Timecode(n, base, first.drop)) for n in (start, end))
        if end < start:
            raise ManifestError(f"{path}, {where}: it lasts {end - start} frames; a clip lasts 0 or more.")
        edits.append(_Edit(where, start, end, start, *names))
    return edits


def _range(child: Any, where: str) -> Any:
    """The TimeRange of a clip in its track."""
    try:
        return child.range_in_parent()
    except Exception as e:
        raise ManifestError(
            f"{where}: how long it lasts cannot be known ({_short(e)}); a clip needs a source_range, or the "
            "available_range of its media."
        ) from e


def _text(path: Path) -> str:
    """A cut list as text. Raises ManifestError."""
    try:
        data = read_file(path, _MOST_BYTES + 1)
    except FileNotFoundError as e:
        raise ManifestError(f"there is no file {path}; 'shots' names a cut list (.edl or .otio).") from e
    except OSError as e:
        raise ManifestError(f"{path}: the cut list cannot be read ({e.strerror}).") from e
    if len(data) > _MOST_BYTES:
        raise ManifestError(f"{path}: a cut list has at most {_MOST_BYTES >> 20} MB.")
    return data.decode("utf-8-sig", errors="replace")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


def _frames(time: object, base: int, where: str) -> int:
    """A RationalTime as a whole count of the film's frames."""
    value, rate = float(getattr(time, "value")), float(getattr(time, "rate"))  # noqa: B009
    if not (math.isfinite(value) and math.isfinite(rate)):
        raise ManifestError(f"{where}: {value:g} at {rate:g} a second is no time.")
    if round(rate) != base:
        raise ManifestError(
            f"{where}: it counts {rate:g} frames a second, the film counts {base}; "
            "export the cut list at the film's rate."
        )
    if abs(value - round(value)) > 0.01:
        raise ManifestError(f"{where}: {value:g} at {rate:g} a second falls between two frames.")
    return round(value)
