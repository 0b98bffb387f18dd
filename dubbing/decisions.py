"""What reviewers decided: an appended record each, never changed; what holds for a shot is read from all of them.

`OUT/review/decisions.jsonl`, one JSON object a line, in the order in which they were taken. A record is on disk before
its reviewer is told so; a line cut off by a crash was never acknowledged, and goes. A last line that lacks its end only
(an editor took it) counts. Several processes may append. Knows no page and no pipeline.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from dubbing.errors import InputError, OutputError
from dubbing.inputs import json_value, not_a_file
from dubbing.store import output_error

__all__ = [
    "FILE", "KINDS", "MOST_POINTS", "MOST_STROKES", "REASONS", "SEVERITIES", "Conflict", "Decision", "DecisionLog",
    "Kind", "Reason", "Severity", "ShotKey", "Standing", "name_of", "standing_of",
]  # fmt: skip

FILE = "review/decisions.jsonl"
_SCHEMA = "dub.decision.1"
Kind = Literal["approve", "reject", "original", "choose", "comment", "rerun", "undo", "name"]
Severity = Literal["note", "issue", "blocker"]
Reason = Literal["teeth", "jaw", "sync", "wrong_face", "covered", "seam"]
KINDS: tuple[str, ...] = get_args(Kind)
REASONS: tuple[str, ...] = get_args(Reason)
"""Why a take is rejected, as makers of generators count it: teeth, jaw line, lips and sound, another's face, something
before the mouth, the edge of the patch."""
SEVERITIES: tuple[str, ...] = get_args(Severity)
_VERDICTS = {"approve": "approved", "reject": "rejected", "original": "original", "choose": "chosen"}
MOST_STROKES, MOST_POINTS = 40, 2000
"""The largest drawing: about 30 KB of the log."""
_MOST_TEXT = 4000
_MOST_NAME = 80
_MOST_TRACKS = 20_000  # that one naming of a person holds

ShotKey = tuple[str, str, str]
"""Title, language, shot id."""


def name_of(reviewer: str) -> str:
    """A reviewer's name without the space around it. Raises InputError where it is none."""
    name = reviewer.strip()
    if not 0 < len(name) <= _MOST_NAME:
        raise InputError(f"A decision needs its reviewer's name, of 1 to {_MOST_NAME} letters.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise InputError(f"A reviewer's name is letters on one line; found {ascii(name)}.")
    return name


class Conflict(InputError):
    """Somebody else has decided on the shot since the reviewer looked; their decision stands until looked at."""


@dataclass(frozen=True)
class Decision:
    """One record.

    seq: its place in the log, from 1; time: UTC, ISO 8601; kind: approve and reject (the take named), original (leave
    the source's picture), choose (that take from now on), comment, rerun (asked for, with that generator), undo, name
    (a person of a title: `text` is the character, empty to take the name away; of no language and no shot); take: 12
    hex digits of a take's key; generator: its name and settings, as in a manifest; frame: of the title, where a comment
    belongs; severity: of a comment; undoes: the seq that an undo takes back; reasons: of a rejection, where any was
    given; drawing: on the frame of a comment, strokes of points (x, y), 0..1 of the upright picture's width and height
    from its upper left corner, at most MOST_STROKES and MOST_POINTS of them; tracks: ids of the face tracks that a name
    is of; spans: frames [start, end) of the shot of each when it was named, by which its name follows the shot where
    cuts change. Fields that an older version did not know stand last and may be absent.
    """

    seq: int
    time: str
    reviewer: str
    title: str
    language: str
    shot: str
    kind: Kind
    take: str | None = None
    generator: Mapping[str, Any] | None = None
    frame: int | None = None
    text: str = ""
    severity: Severity | None = None
    undoes: int | None = None
    reasons: tuple[Reason, ...] = ()
    drawing: tuple[tuple[tuple[float, float], ...], ...] = ()
    tracks: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def key(self) -> ShotKey:
        return self.title, self.language, self.shot


@dataclass(frozen=True)
class Standing:
    """What holds for one shot.

    verdict: approved, rejected, original, chosen (a take, and nothing was said of the shot since), or None; about: the
    take it was said of; by, at: whose and when; take, generator: the chosen take and what renders it, None for the
    manifest's own; comments: those not taken back; revision: seq of the newest record other than comments and reruns, 0
    before any; history: all records, oldest first, what was taken back among them; reasons: of a rejection that holds;
    chosen_by, chosen_at: who chose `take`, and when.
    """

    verdict: str | None = None
    about: str | None = None
    by: str | None = None
    at: str | None = None
    take: str | None = None
    generator: Mapping[str, Any] | None = None
    comments: tuple[Decision, ...] = ()
    revision: int = 0
    history: tuple[Decision, ...] = ()
    reasons: tuple[Reason, ...] = ()
    chosen_by: str | None = None
    chosen_at: str | None = None

    def delivers_source(self, take: str) -> bool:
        """Whether the source's own picture is delivered instead of a take: said so, or that take rejected."""
        return self.verdict == "original" or (self.verdict == "rejected" and self.about == take)

    def approves(self, take: str) -> bool:
        """Whether a person has seen this take and found it good."""
        return self.verdict == "approved" and self.about == take


def standing_of(records: Sequence[Decision]) -> Standing:
    """What holds after these records of one shot, oldest first.

    The newest verdict holds; to choose a take is one too, and ends what was said of the one before.
    """
    undone = {r.undoes for r in records if r.kind == "undo"}
    verdict: Decision | None = None
    chosen: Decision | None = None
    comments = []
    for r in records:
        if r.seq in undone or r.kind in ("undo", "rerun", "name"):
            continue
        if r.kind == "comment":
            comments.append(r)
        else:
            verdict = r
            chosen = r if r.kind == "choose" else chosen
    return Standing(
        verdict=_VERDICTS[verdict.kind] if verdict else None,
        about=verdict.take if verdict else None,
        by=verdict.reviewer if verdict else None,
        at=verdict.time if verdict else None,
        take=chosen.take if chosen else None,
        generator=chosen.generator if chosen else None,
        comments=tuple(comments),
        revision=max((r.seq for r in records if r.kind not in ("comment", "rerun")), default=0),
        history=tuple(records),
        reasons=verdict.reasons if verdict else (),
        chosen_by=chosen.reviewer if chosen else None,
        chosen_at=chosen.time if chosen else None,
    )


def _record(line: bytes, after: int) -> Decision:
    """The record in a line; its number follows `after`. Raises ValueError, which ends a sentence."""
    plain = json_value(line)
    names = {x.name for x in fields(Decision)}
    if not isinstance(plain, dict) or plain.pop("schema", None) != _SCHEMA or not plain.keys() <= names:
        raise ValueError("another schema")
    try:
        record = _adapter().validate_json(json.dumps(plain), strict=True)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}") from e
    if record.seq <= after:
        raise ValueError(f"its number is {record.seq}, and {after} came before")
    if record.spans and len(record.spans) != len(record.tracks):
        raise ValueError(f"it has {len(record.tracks)} tracks and {len(record.spans)} spans")
    if record.generator is not None and not isinstance(record.generator.get("name"), str):
        raise ValueError("its generator has no name")
    return record


@cache
def _adapter() -> TypeAdapter[Decision]:
    return TypeAdapter(Decision)


class DecisionLog:
    """The log of one output folder. Reading is cheap: only what was appended since is read again. Safe to ask from
    several threads, and from several processes. generation: how often another file was found in the place of the one
    that was read."""

    def __init__(self, out: Path | str) -> None:
        self.path = Path(out) / FILE
        self._lock = threading.RLock()
        self.generation = 0
        self._read_bytes, self._newest = 0, b""  # how far it is read, and the line before that place
        self._records: list[Decision] = []
        self._by_shot: dict[ShotKey, list[Decision]] = {}

    def records(self) -> Sequence[Decision]:
        """All of them, oldest first. Raises OutputError where a line was not written by this project."""
        with self._lock:
            self._refuse_special()
            try:
                with self.path.open("rb") as f:
                    self._catch_up(f)
            except FileNotFoundError:
                self._forget()
            return list(self._records)

    def of(self, key: ShotKey) -> Standing:
        """What holds for a shot."""
        with self._lock:
            self.records()
            return standing_of(self._by_shot.get(key, ()))

    def all(self) -> dict[ShotKey, Standing]:
        """What holds for every shot on which anything was said."""
        with self._lock:
            self.records()
            return {key: standing_of(records) for key, records in self._by_shot.items()}

    def name(
        self, title: str, tracks: Sequence[str], character: str, reviewer: str, spans: Sequence[tuple[int, int]] = ()
    ) -> Decision:
        """Name the person whom these tracks of a title show; an empty name takes the name away. spans: as of
        `Decision`. Raises as `append`."""
        about: dict[str, Any] = {"text": character.strip(), "tracks": tuple(tracks), "spans": tuple(spans)}
        return self.append((title, "", ""), "name", reviewer, **about)

    def append(self, key: ShotKey, kind: Kind, reviewer: str, *, expected: int | None = None, **about: Any) -> Decision:
        """Add a record; on disk when this returns.

        expected: the revision of the shot that the reviewer saw, None for whatever it is. about: further fields of
        `Decision`. Raises Conflict where it is another by now, InputError where the record makes no sense,
        OutputError where it cannot be written.
        """
        with self._lock, self._locked() as f:
            self._catch_up(f)
            now = standing_of(self._by_shot.get(key, ()))
            if expected is not None and now.revision != expected:
                last = next((r for r in reversed(now.history) if r.seq == now.revision), None)
                said = (
                    f"{last.reviewer} has said {last.kind!r} of {key[2]}" if last else f"{key[2]} has become undecided"
                )
                raise Conflict(f"{said} since you looked at it; look and decide again.")
            title, language, shot = key
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            made = Decision(self._last + 1, time, name_of(reviewer), title, language, shot, kind, **about)
            self._accept(made)
            plain = {k: v for k, v in asdict(made).items() if k in ("language", "shot") or v not in (None, "", ())}
            f.seek(self._read_bytes)
            f.truncate()  # what a crash left of a line that nobody was told of
            end = b"" if self._newest.endswith(b"\n") or not self._read_bytes else b"\n"
            try:
                text = json.dumps({"schema": _SCHEMA, **plain}, ensure_ascii=False, allow_nan=False)
                line = end + text.encode() + b"\n"
            except ValueError as e:
                raise InputError("The decision holds half a letter or a number that is none; write it again.") from e
            try:
                while line:
                    line = line[f.write(line) :]
                os.fsync(f.fileno())
            except OSError:
                with suppress(OSError):
                    f.truncate(self._read_bytes)  # its reviewer is told that it is not kept
                raise
            f.seek(self._read_bytes)
            self._catch_up(f)
        return made

    def _accept(self, made: Decision) -> None:
        """Raises InputError where a record makes no sense."""
        if made.kind not in KINDS:
            raise InputError(f"There is no decision {made.kind!r}; there is: {', '.join(KINDS)}.")
        if len(made.text) > _MOST_TEXT:
            raise InputError(f"A text of {len(made.text)} letters is too long; {_MOST_TEXT} are allowed.")
        if any(letter == "\0" or unicodedata.category(letter) == "Cs" for letter in made.text):
            raise InputError("The text holds half a letter or a NUL, which no file can keep; write it again.")
        if made.kind == "comment" and not made.text.strip():
            raise InputError("A comment needs a text.")
        if made.kind == "comment" and made.severity not in SEVERITIES:
            raise InputError(f"A comment's severity is one of {', '.join(SEVERITIES)}; found {made.severity!r}.")
        if made.kind in ("approve", "reject", "choose") and not made.take:
            raise InputError(f"To {made.kind} a take, name it.")
        if made.reasons and made.kind != "reject":
            raise InputError(f"Only a rejection has reasons; found them with {made.kind!r}.")
        if strange := [r for r in made.reasons if r not in REASONS]:
            raise InputError(f"There is no reason {strange[0]!r}; there is: {', '.join(REASONS)}.")
        if len(set(made.reasons)) < len(made.reasons):
            raise InputError(f"Each reason is given once; found {', '.join(made.reasons)}.")
        if made.drawing:
            self._accept_drawing(made)
        if made.kind == "undo":
            self._accept_undo(made)
        if made.spans and len(made.spans) != len(made.tracks):
            raise InputError(f"Each of {len(made.tracks)} face tracks has its shot's frames; found {len(made.spans)}.")
        if (made.kind == "name") != bool(made.tracks) or len(made.tracks) > _MOST_TRACKS:
            raise InputError(f"A name is of 1 to {_MOST_TRACKS} face tracks; found {len(made.tracks)}.")
        if made.kind == "name" and (len(made.text) > _MOST_NAME or not made.text.isprintable()):
            raise InputError(f"A character's name is up to {_MOST_NAME} letters on one line; found {made.text[:99]!r}.")

    def _accept_drawing(self, made: Decision) -> None:
        strokes, points = len(made.drawing), sum(len(s) for s in made.drawing)
        if made.kind != "comment" or made.frame is None:
            raise InputError(f"Only a comment at a frame has a drawing; found one with {made.kind!r}.")
        if strokes > MOST_STROKES or points > MOST_POINTS or not all(made.drawing):
            raise InputError(
                f"A drawing of {strokes} strokes and {points} points cannot be kept; at most {MOST_STROKES} strokes, "
                f"none of them empty, and {MOST_POINTS} points are allowed."
            )
        if not all(0 <= value <= 1 for stroke in made.drawing for point in stroke for value in point):
            raise InputError("A drawing's points are parts of the picture's width and height, 0 to 1 each.")

    def _accept_undo(self, made: Decision) -> None:
        held = {r.seq: r for r in self._by_shot.get(made.key, ())}
        aim = held.get(made.undoes or 0)
        if aim is None or aim.kind in ("undo", "rerun"):
            raise InputError(f"There is no decision {made.undoes} of this shot that can be undone.")
        if any(r.kind == "undo" and r.undoes == aim.seq for r in held.values()):
            raise InputError(f"Decision {aim.seq} is undone already.")
        if aim.reviewer != made.reviewer:
            raise InputError(f"Decision {aim.seq} is {aim.reviewer}'s; only they can undo it.")

    def _catch_up(self, f: IO[bytes]) -> None:
        """Read the records after those already known; all of them where somebody put another file there, which ends
        before that place or has another line before it."""
        size = f.seek(0, os.SEEK_END)
        f.seek(self._read_bytes - len(self._newest) if size >= self._read_bytes else 0)
        if f.read(len(self._newest)) != self._newest:
            self._forget()
        f.seek(self._read_bytes)
        data = f.read()
        if self._newest and not self._newest.endswith(b"\n") and data.startswith(b"\n"):
            self._newest += b"\n"
            self._read_bytes += 1
            data = data[1:]
        *whole, rest = data.split(b"\n")
        for line in [*(line + b"\n" for line in whole), *([rest] if rest else [])]:
            try:
                record = _record(line, after=self._last)
            except ValueError as e:
                if not line.endswith(b"\n"):
                    break  # still being written, or cut off
                raise OutputError(
                    f"Line {len(self._records) + 1} of {str(self.path)!r} is not a decision ({e}); restore the file "
                    "from a copy, or take that line out."
                ) from e
            self._records.append(record)
            self._by_shot.setdefault(record.key, []).append(record)
            self._newest = line
            self._read_bytes += len(line)

    @property
    def _last(self) -> int:
        """The number of the newest record."""
        return self._records[-1].seq if self._records else 0

    def _refuse_special(self) -> None:
        """Raises OutputError where something lies there that is no file and could block for ever."""
        if kind := not_a_file(self.path):
            raise OutputError(f"{str(self.path)!r} is {kind}, and not a file; move it away.")

    def _forget(self) -> None:
        self.generation += bool(self._read_bytes)
        self._read_bytes, self._newest, self._records, self._by_shot = 0, b"", [], {}

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """The file, held alone. Raises OutputError."""
        self._refuse_special()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # no buffer: what a full disk refused must not be tried again at closing
            handle = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        except OSError as e:
            raise output_error(self.path, e) from e
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield handle
            except OSError as e:
                raise output_error(self.path, e) from e
