"""Who says which line when: lists that come with a dub, as CSV, SRT, WebVTT or TTML.

Times come out in seconds from frame 0 of the film. Timecode with frames is the film's own; what counts milliseconds or
seconds counts from frame 0, as subtitles do. It knows nothing of the sound; `line_drift` holds the lines against that.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import StringIO
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
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)", re.ASCII)
_SECONDS = re.compile(r"\d+(?:[.,]\d+)?", re.ASCII)
_OFFSET = re.compile(r"(\d+(?:\.\d+)?)(h|m|s|ms|f|t)", re.ASCII)
_CUE = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_SAYS = re.compile(r"\s*[-–—]?\s*(?:\[([^\]:]{1,40})\]:?|([^\s:,.!?][^:,.!?]{0,39}):)\s+(?=\S)")


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
    path: Path, rate: Fraction, start_tc: str | None = None, names: Collection[str] = ()
) -> tuple[SpokenLine, ...]:
    """The lines of a list, in order of their beginnings.

    rate, start_tc: the film's frames a second and the timecode of its frame 0; names: characters that are known, whose
    spelling is taken whatever the case. Raises ManifestError, a sentence with the line of the file: it is not there or
    no list, a time that cannot be, a line that ends before it begins.
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
    film = _Film(rate, start_tc)
    known = {name.casefold(): name for name in names}
    start = text.lstrip()
    if start.startswith("<"):
        read: Callable[[Path, str, _Film, Mapping[str, str]], Iterable[SpokenLine]] = _ttml
    elif start.startswith("WEBVTT") or _CUE.search(text):
        read = _cues
    else:
        read = _table
    found = sorted(read(path, text, film, known), key=lambda line: (line.start_s, line.end_s))
    if not found:
        raise ManifestError(f"{path} holds no line; give a list with character, in, out and text.")
    if all(line.character is None for line in found):
        raise ManifestError(
            f"{path} names no character; a list says who speaks: a column 'character', <v ANNA>, ttm:agent, or ANNA: "
            "before the text."
        )
    return tuple(found)


def _line(path: Path, number: int, who: str | None, times: Callable[[], tuple[Fraction, Fraction]], text: str,
          known: Mapping[str, str]) -> SpokenLine:  # fmt: skip
    """One line. Raises ManifestError with the line of the file."""
    try:
        start_s, end_s = times()
    except (ManifestError, ValueError) as e:
        raise ManifestError(f"{path}, line {number}: {e}") from e
    if end_s <= start_s:
        raise ManifestError(f"{path}, line {number}: the line ends before it begins; write its beginning first.")
    who = " ".join((who or "").split())
    return SpokenLine(known.get(who.casefold(), who) or None, start_s, end_s, " ".join(text.split()))


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
                missing = [kind for kind in ("character", "start", "end") if kind not in columns]
                if missing:
                    raise ManifestError(
                        f"{path}, line {rows.line_num}: the columns are {', '.join(row)[:200]}; a table of lines "
                        "begins with the header character,in,out,text."
                    )
                continue
            cells = {kind: row[n] if n < len(row) else "" for kind, n in columns.items()}

            def times(cells: Mapping[str, str] = cells) -> tuple[Fraction, Fraction]:
                return _seconds(film, cells["start"]), _seconds(film, cells["end"])

            yield _line(path, rows.line_num, cells["character"], times, cells.get("text", ""), known)
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
        first, last = found.groups()

        def times(first: str = first, last: str = last) -> tuple[Fraction, Fraction]:
            return _seconds(film, first), _seconds(film, last)

        for who, words in _said(said, known):
            yield _line(path, number, who, times, words, known)


def _said(rows: list[str], known: Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Who says what in the text of one cue: one or several voices."""
    parts: list[tuple[str | None, list[str]]] = []
    for row in rows:
        pieces = _VOICE.split(row)  # text, name, text, name, text
        spoken: list[tuple[str | None, str]] = [(None, pieces[0])]
        spoken += list(zip(pieces[1::2], pieces[2::2], strict=True))
        for who, words in spoken:
            words = _TAG.sub("", words)
            if who is None and (found := _SAYS.match(words)):
                name = (found[1] or found[2]).strip()
                if name.casefold() in known or (name == name.upper() and any(c.isalpha() for c in name)):
                    who, words = name, words[found.end() :]
            if who is not None or not parts:
                parts.append((who, [words]))
            else:
                parts[-1][1].append(words)
    found_any = any(who is not None for who, _ in parts)
    return [
        (who, " ".join(words)) for who, words in parts if who is not None or not found_any or " ".join(words).strip()
    ]


def _ttml(path: Path, text: str, film: _Film, known: Mapping[str, str]) -> Iterable[SpokenLine]:
    """Of TTML (W3C Timed Text) and what is made of it (DFXP, IMSC)."""
    reader = _Ttml(path, film, known)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reader.begins, reader.ends
    parser.CharacterDataHandler = reader.says
    parser.StartDoctypeDeclHandler = reader.refuses  # where entities would be declared
    reader.line = lambda: parser.CurrentLineNumber
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as e:
        raise ManifestError(f"{path}, line {e.lineno}: it is no whole XML; give a TTML file.") from e
    except (ValueError, ZeroDivisionError) as e:
        raise ManifestError(f"{path}, line {parser.CurrentLineNumber}: {e}") from e
    return reader.found


class _Ttml:
    """What an XML parser tells of a TTML file, put together."""

    def __init__(self, path: Path, film: _Film, known: Mapping[str, str]) -> None:
        self.found: list[SpokenLine] = []
        self.line: Callable[[], int] = lambda: 0
        self._path, self._film, self._known = path, film, known
        self._agents: dict[str, str] = {}
        self._agent: str | None = None  # whose name is being read
        self._open: list[tuple[str, Fraction, str | None]] = []  # element, where its time begins, who speaks
        self._cue: tuple[int, str, str | None, Fraction] | None = None  # line, begin and end, who, the parent's time
        self._text: list[str] = []
        self._smpte = False
        self._rate, self._ticks = Fraction(30), Fraction(1)

    def refuses(self, *about: Any) -> None:
        raise ManifestError(f"{self._path}, line {self.line()}: it has a DOCTYPE, which TTML has not; remove it.")

    def begins(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rsplit(" ", 1)[-1]
        plain = {key.rsplit(" ", 1)[-1]: value for key, value in attributes.items()}
        if kind == "tt":
            self._smpte = plain.get("timeBase") == "smpte"
            self._rate = Fraction(plain.get("frameRate", "30"))
            top, _, bottom = plain.get("frameRateMultiplier", "1 1").replace(":", " ").partition(" ")
            self._rate *= Fraction(int(top), int(bottom or 1))
            self._ticks = Fraction(plain.get("tickRate", str(self._rate if "frameRate" in plain else 1)))
        if kind == "agent" and "id" in plain:
            self._agent = plain["id"]
        _, since, who = self._open[-1] if self._open else ("", Fraction(0), None)
        who = plain.get("agent", who)
        if kind == "p":
            end = plain["end"] if "end" in plain else f"+{plain.get('dur', '')}"
            self._cue, self._text = (self.line(), f"{plain.get('begin', '')} {end}", who, since), []
        elif kind == "span" and self._cue and "agent" in plain:
            self._cue = (*self._cue[:2], plain["agent"], self._cue[3])
        elif kind == "br":
            self._text.append("\n")
        elif kind in ("body", "div") and "begin" in plain:
            since += self._time(plain["begin"])
        self._open.append((kind, since, who))

    def says(self, text: str) -> None:
        if self._cue:
            self._text.append(text)
        elif self._agent is not None and self._open[-1][0] == "name":
            self._agents[self._agent] = self._agents.get(self._agent, "") + text

    def ends(self, name: str) -> None:
        kind = self._open.pop()[0]
        if kind == "agent":
            self._agent = None
        if kind != "p" or self._cue is None:
            return
        number, written, agent, since = self._cue
        self._cue = None

        def times() -> tuple[Fraction, Fraction]:
            first, _, last = written.partition(" ")
            start_s = since + self._time(first)
            return start_s, start_s + self._time(last[1:]) if last.startswith("+") else since + self._time(last)

        named = None if agent is None else " and ".join(self._agents.get(a, a) for a in agent.split())
        for who, words in _said("".join(self._text).split("\n"), self._known):
            self.found.append(_line(self._path, number, named or who, times, words, self._known))

    def _time(self, text: str) -> Fraction:
        if found := _OFFSET.fullmatch(text):
            unit = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000),
                    "f": 1 / self._rate, "t": 1 / self._ticks}[found[2]]  # fmt: skip
            return Fraction(found[1]) * unit
        if _FRAMES.fullmatch(text) and not self._smpte:
            clock, frames = text[:8], int(text[9:])
            if frames >= self._rate:
                raise ValueError(f"{text!r} cannot be at the file's {float(self._rate):g} frames a second.")
            return self._film.seconds(clock) + frames / self._rate
        return _seconds(self._film, text)
