"""Who says which line when: lists that come with a dub, as CSV, SRT, WebVTT or TTML.

Times come out in seconds from frame 0 of the film. Timecode with frames is the film's own; what counts milliseconds or
seconds counts from frame 0, as subtitles do. It knows nothing of the sound; `line_drift` holds the lines against that.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from html import unescape
from io import StringIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from xml.parsers import expat

from dubbing.clock import Timecode, frame_of
from dubbing.errors import ManifestError

__all__ = ["SpokenLine", "read_lines"]

_MOST_BYTES = 50_000_000
_HEADERS = {
    "character": ("character", "speaker", "name", "role", "actor", "voice", "who"),
    "start": ("in", "start", "begin", "tcin", "timecodein", "intime", "starttime", "timein"),
    "end": ("out", "end", "tcout", "timecodeout", "outtime", "endtime", "timeout"),
    "text": ("text", "line", "dialogue", "dialog", "caption", "subtitle", "translation"),
}
_FRAMES = re.compile(r"\d\d:\d\d:\d\d[:;]\d\d\d?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,20}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,20})?)", re.ASCII)
_SECONDS = re.compile(r"\d{1,20}(?:[.,]\d{1,20})?", re.ASCII)
_OFFSET = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(h|m|s|ms|f|t)", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
_CUE = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]+)>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_ENTITY = re.compile(r"&#?\w{1,8};")
_SAYS = re.compile(r"[-–—]?\s*(?:\[([^\]:]{1,40})\]:?|([^\s:,.!?][^:,.!?]{0,39}):)(?:\s+|$)")
_DASHES = " \n\t-–—"  # before what each of two says
_LONGEST_S = 100 * 3600


@dataclass(frozen=True)
class SpokenLine:
    """One line of one character."""

    character: str | None
    """Who says it; None where the list does not tell."""
    start_s: Fraction
    """Seconds from frame 0 of the film to its beginning."""
    end_s: Fraction
    """Seconds to its end, after the beginning."""
    text: str
    """What is said, on one line; empty where the list does not tell."""


@dataclass(frozen=True)
class _Film:
    """How the film counts: nominal frames a second, timecode of frame 0, None where it has none."""

    rate: Fraction
    start_tc: str | None
    needs: tuple[str, ...] = ("character", "start", "end")
    """What a table has to say of each line."""

    def seconds(self, text: str) -> Fraction:
        """Of a time that is written in any of the ways. Raises ValueError, which says how it may be written;
        ManifestError for timecode that the film cannot have."""
        text = text.strip()
        if _FRAMES.fullmatch(text):
            frames, day = frame_of(text, self.rate, self.start_tc), Timecode.parse(text, self.rate).day
            return (frames if frames <= day // 2 else frames - day) / self.rate  # what is nearer: before the film
        if found := _CLOCK.fullmatch(text):
            hours, minutes, seconds = found.groups()
            return int(hours or 0) * 3600 + int(minutes) * 60 + Fraction(seconds.replace(",", "."))
        if _SECONDS.fullmatch(text):
            return Fraction(text.replace(",", "."))
        raise ValueError("write the film's timecode (01:02:03:04), 01:02:03.400, or seconds")


def read_lines(
    path: Path, rate: Fraction, start_tc: str | None = None, names: Collection[str] = (), *, as_text: bool = False
) -> tuple[SpokenLine, ...]:
    """The lines of a list, in order of their beginnings.

    rate, start_tc: the film's frames a second and the timecode of its frame 0; names: characters that are known, whose
    spelling is taken whatever the case; as_text: whether it is to be spoken: then characters may be missing, and words
    may not. Raises ManifestError, a sentence with the line of the file: it is not there or
    no list, a time that cannot be, a line that ends before it begins. A line without a length is left out.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ManifestError(f"there is no file {path}; 'lines' names a list: CSV, SRT, VTT or TTML.") from e
    if len(data) > _MOST_BYTES:
        raise ManifestError(f"{path} has {len(data) / 1e6:.0f} MB, too much for a list of lines; give the right file.")
    try:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as e:
        raise ManifestError(f"{path} is no text in UTF-8; save it as UTF-8.") from e
    film = _Film(rate, start_tc, ("start", "end", "text") if as_text else _Film.needs)
    known = {name.casefold(): name for name in names}
    start = text.lstrip()
    if start.startswith("<"):
        read: Callable[[Path, str, _Film, Mapping[str, str]], Iterable[SpokenLine]] = _ttml
    elif start.startswith("WEBVTT") or ("-->" in text and any(map(_CUE.match, text.split("\n")))):
        read = _cues
    else:
        read = _table
    every = sorted(read(path, text, film, known), key=lambda line: (line.start_s, line.end_s))
    if not every:
        raise ManifestError(f"{path} holds no line; give a list with character, in, out and text.")
    found = [line for line in every if line.end_s > line.start_s]
    if not found:
        raise ManifestError(f"no line of {path} has a length: each ends where it begins; write where each ends.")
    if as_text and not any(line.text.strip(_DASHES) for line in found):
        raise ManifestError(f"{path} has times and no words; write what is said in each line.")
    if not as_text and all(line.character is None for line in found):
        raise ManifestError(
            f"{path} names no character; a list says who speaks: a column 'character', <v ANNA>, ttm:agent, or ANNA: "
            "before the text."
        )
    return tuple(found)


def _lines(path: Path, number: int, times: Callable[[], tuple[Fraction, Fraction]],
           said: Sequence[tuple[str | None, str]], known: Mapping[str, str]) -> Iterator[SpokenLine]:  # fmt: skip
    """Who says what between two times: one, or several who share the time by their letters, in order. Raises
    ManifestError with the line of the file."""
    try:
        start_s, end_s = times()
    except (ManifestError, ValueError) as e:
        raise ManifestError(f"{path}, line {number}: {e}") from e
    if max(abs(start_s), abs(end_s)) > _LONGEST_S:
        raise ManifestError(
            f"{path}, line {number}: the line lies beyond {_LONGEST_S // 3600} hours; write seconds, or 01:02:03.400."
        )
    if end_s < start_s:
        raise ManifestError(f"{path}, line {number}: the line ends before it begins; write its beginning first.")
    letters = [max(1, sum(c.isalnum() for c in text)) for _, text in said]
    part_s = (end_s - start_s) / max(1, sum(letters))  # none where a cue has no text
    edges = [start_s + n * part_s for n in accumulate(letters, initial=0)]
    for (who, text), (first_s, last_s) in zip(said, pairwise(edges), strict=True):
        who = " ".join((who or "").split())
        yield SpokenLine(known.get(who.casefold(), who) or None, first_s, last_s, " ".join(text.split()))


def _table(path: Path, text: str, film: _Film, known: Mapping[str, str]) -> Iterator[SpokenLine]:
    """Of a table with a header line, apart by commas, semicolons, tabs or bars."""
    head = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t|", key=head.count)
    rows = csv.reader(StringIO(text), delimiter=delimiter)
    columns: dict[str, int] = {}
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not columns:
                plain = [re.sub(r"[\W_]", "", cell.lower()) for cell in row]
                for kind, words in _HEADERS.items():
                    at = [plain.index(word) for word in words if word in plain]
                    columns |= {kind: at[0]} if at else {}
                if any(kind not in columns for kind in film.needs):
                    raise ManifestError(
                        f"{path}, line {rows.line_num}: the columns are {', '.join(row)[:200]}; a table of lines "
                        "begins with the header character,in,out,text."
                    )
                continue
            cells = {kind: row[n] if n < len(row) else "" for kind, n in columns.items()}

            def times(cells: Mapping[str, str] = cells) -> tuple[Fraction, Fraction]:
                return _seconds(film, cells["start"]), _seconds(film, cells["end"])

            yield from _lines(path, rows.line_num, times, [(cells["character"], cells.get("text", ""))], known)
    except csv.Error as e:
        raise ManifestError(f"{path}, line {rows.line_num}: {e}; save the table again as CSV.") from e


def _seconds(film: _Film, text: str) -> Fraction:
    try:
        return film.seconds(text)
    except ValueError as e:
        raise ValueError(f"{text.strip()[:40]!r} is no time; {e}.") from e


def _cues(path: Path, text: str, film: _Film, known: Mapping[str, str]) -> Iterator[SpokenLine]:
    """Of SRT and WebVTT."""
    rows = text.split("\n")
    n = 0
    while n < len(rows):
        found = _CUE.match(rows[n])
        n += 1
        if not found:
            continue
        number, said = n, []
        while n < len(rows) and rows[n].strip() and not _CUE.match(rows[n]):
            said.append(rows[n])
            n += 1
        if n < len(rows) and said and rows[n].strip() and said[-1].strip().isdecimal():
            said.pop()  # the number of the next cue, where no empty row stands between
        first, last = found.groups()

        def times(first: str = first, last: str = last) -> tuple[Fraction, Fraction]:
            return _seconds(film, first), _seconds(film, last)

        yield from _lines(path, number, times, _said(said, known), known)


def _said(rows: list[str], known: Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Who says what in the text of one cue: one or several voices."""
    parts: list[tuple[str | None, list[str]]] = []
    last = max((n for n, row in enumerate(rows) if row.strip()), default=0)
    for n, row in enumerate(rows):
        pieces = _VOICE.split(row)  # text, name, text, name, text
        spoken: list[tuple[str | None, str]] = [(None, pieces[0])]
        spoken += list(zip(pieces[1::2], pieces[2::2], strict=True))
        for who, words in spoken:
            words = _plain(_TAG.sub("", words)).strip()
            if who is not None:
                who = _plain(who)
            elif found := _SAYS.match(words):
                name = (found[1] or found[2]).strip()
                capitals = name == name.upper() and any(c.isalpha() for c in name)
                holds = found.end() < len(words) or n < last
                if name.casefold() in known or (capitals and holds):  # [MUSIC] by itself is no name
                    who, words = name, words[found.end() :]
            if who is not None or not parts:
                parts.append((who, [words]))
            else:
                parts[-1][1].append(words)
    said = [(who, " ".join(words)) for who, words in parts]
    return [(who, words) for who, words in said if words.strip(_DASHES)] or said


def _plain(text: str) -> str:
    """With characters for WebVTT's entities."""
    return _ENTITY.sub(lambda found: unescape(found[0]), text)


def _ttml(path: Path, text: str, film: _Film, known: Mapping[str, str]) -> Iterable[SpokenLine]:
    """Of TTML (W3C Timed Text) and what is made of it (DFXP, IMSC)."""
    reader = _Ttml(path, film, known)
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")  # whatever it was in, and declares
    parser.StartElementHandler, parser.EndElementHandler = reader.begins, reader.ends
    parser.CharacterDataHandler = reader.says
    parser.StartDoctypeDeclHandler = reader.refuses  # where entities would be declared
    reader.line = lambda: parser.CurrentLineNumber
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as e:
        raise ManifestError(f"{path}, line {e.lineno}: it is no whole XML; give a TTML file.") from e
    except ValueError as e:
        raise ManifestError(f"{path}, line {parser.CurrentLineNumber}: {e}") from e
    return reader.found


@dataclass(frozen=True)
class _Slot:
    """What an element says of the text in it: from when to when, None where that is not known, and the agent."""

    start_s: Fraction = Fraction(0)
    end_s: Fraction | None = None
    who: str | None = None


class _Ttml:
    """What an XML parser tells of a TTML file, put together."""

    def __init__(self, path: Path, film: _Film, known: Mapping[str, str]) -> None:
        self.found: list[SpokenLine] = []
        self.line: Callable[[], int] = lambda: 0
        self._path, self._film, self._known = path, film, known
        self._agents: dict[str, str] = {}
        self._agent: str | None = None  # whose name is being read
        self._open: list[tuple[str, _Slot]] = [("", _Slot())]
        self._cue: int | None = None  # the line of the file where the p begins that is being read
        self._parts: list[tuple[_Slot, list[str]]] = []  # its text
        self._smpte = False
        self._rate, self._ticks = Fraction(30), Fraction(1)

    def refuses(self, *about: Any) -> None:
        raise ManifestError(f"{self._path}, line {self.line()}: it has a DOCTYPE, which TTML has not; remove it.")

    def begins(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rsplit(" ", 1)[-1]
        plain = {key.rsplit(" ", 1)[-1]: value for key, value in attributes.items()}
        if kind == "tt":
            self._smpte = plain.get("timeBase") == "smpte"
            self._rate = _number(plain, "frameRate", "30")[0]
            top, *bottom = _number(plain, "frameRateMultiplier", "1")
            self._rate *= top / (bottom[0] if bottom else 1)
            self._ticks = _number(plain, "tickRate", "1")[0] if "tickRate" in plain else (
                self._rate if "frameRate" in plain else Fraction(1))  # fmt: skip
        if kind == "agent" and "id" in plain:
            self._agent = plain["id"]
        around = self._open[-1][1]
        slot = replace(around, who=plain.get("agent", around.who))
        if kind in ("body", "div", "p", "span"):
            slot = self._timed(slot, plain)
        if kind == "p":
            self._cue, self._parts = self.line(), []
        elif kind == "br":
            self.says("\n")
        self._open.append((kind, slot))

    def says(self, text: str) -> None:
        kind, slot = self._open[-1]
        if kind == "name" and self._agent is not None:
            self._agents[self._agent] = self._agents.get(self._agent, "") + text
        elif self._cue is None or kind not in ("p", "span"):
            return
        elif self._parts and (self._parts[-1][0] == slot or not text.strip()):
            self._parts[-1][1].append(text)
        else:
            self._parts.append((slot, [text]))

    def ends(self, name: str) -> None:
        kind, slot = self._open.pop()
        if kind == "agent":
            self._agent = None
        if kind != "p" or self._cue is None:
            return
        parts = [(of, "".join(texts)) for of, texts in self._parts]
        parts = [(of, text) for of, text in parts if text.strip(_DASHES)]
        if not parts and slot.end_s is not None:
            parts = [(slot, "")]
        times: dict[tuple[Fraction, Fraction | None], list[tuple[str | None, str]]] = {}
        for of, text in parts:
            named = None if of.who is None else " and ".join(self._agents.get(a, a) for a in of.who.split())
            said = [(named or who, words) for who, words in _said(text.split("\n"), self._known)]
            times.setdefault((of.start_s, of.end_s), []).extend(said)
        for (start_s, end_s), said in times.items():
            if end_s is None:
                raise ManifestError(f"{self._path}, line {self._cue}: the line has no end; give it begin and end.")

            def span(first: Fraction = start_s, last: Fraction = end_s) -> tuple[Fraction, Fraction]:
                return first, last

            self.found += _lines(self._path, self._cue, span, said, self._known)
        self._cue = None

    def _timed(self, around: _Slot, plain: Mapping[str, str]) -> _Slot:
        """With an element's own times, which count from the beginning of the element around it; but SMPTE timecode is
        the film's."""
        start_s, end_s = around.start_s, around.end_s
        try:
            if "begin" in plain:
                start_s = self._time(plain["begin"], around.start_s)
            if "end" in plain:
                end_s = self._time(plain["end"], around.start_s)
            elif "dur" in plain:
                end_s = start_s + self._time(plain["dur"], Fraction(0), length=True)
        except ManifestError as e:
            raise ValueError(str(e)) from e
        return _Slot(start_s, end_s, around.who)

    def _time(self, text: str, since_s: Fraction, length: bool = False) -> Fraction:
        if found := _OFFSET.fullmatch(text):
            unit = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000),
                    "f": 1 / self._rate, "t": 1 / self._ticks}[found[2]]  # fmt: skip
            return since_s + Fraction(found[1]) * unit
        if not _FRAMES.fullmatch(text):
            return since_s + _seconds(self._film, text)
        if self._smpte and not length:
            return self._film.seconds(text)
        if int(text[9:]) >= self._rate:
            raise ValueError(f"{text!r} cannot be at the file's {float(self._rate):g} frames a second.")
        return since_s + self._film.seconds(text[:8]) + int(text[9:]) / self._rate


def _number(attributes: Mapping[str, str], name: str, default: str) -> list[Fraction]:
    """The number of an attribute, or two of a fraction. Raises ValueError."""
    text = attributes.get(name, default)
    parts = text.replace(":", " ").split()
    found = [Fraction(part) for part in parts if _NUMBER.fullmatch(part)]
    if not 1 <= len(parts) <= 2 or len(found) < len(parts) or not all(found):
        raise ValueError(f"ttp:{name} is {text[:40]!r}; write a number above 0, such as {default}.")
    return found
