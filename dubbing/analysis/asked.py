"""Which frames of a film may be re-rendered: what `only` and `leave` of a manifest say, in frames.

A dub's own `only` takes the place of its title's; what either of the two says under `leave` is left. Timecode is the
film's own. Shots are known once the cuts are; before that their numbers alone are looked at. Characters are no frames:
an `only` with characters and frames means these faces in these frames. Nothing here opens a film.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dubbing.analysis.cutlist import OutsideFilm
from dubbing.clock import Timecode, frame_of, joined
from dubbing.document import Location
from dubbing.errors import ManifestError, several
from dubbing.manifest import Dub, Parts, Title
from dubbing.records import Shot

__all__ = ["Ranges", "ShownFilm", "asked", "characters_asked", "parts_of", "stretch_of", "within"]

Ranges = tuple[tuple[int, int], ...]
"""Frames [start, end) of a film, increasing, apart from each other."""

_MIDNIGHT = "00:00:00:00"


@dataclass(frozen=True)
class ShownFilm:
    """A film as its parts are named. rate: nominal frames a second; start_tc: timecode of frame 0, None where the file
    has none; shots: None where they are not known yet."""

    frames: int
    rate: Fraction
    start_tc: str | None
    shots: Sequence[Shot] | None

    @property
    def first(self) -> Timecode:
        """Timecode of frame 0."""
        return Timecode.parse(self.start_tc or _MIDNIGHT, self.rate)

    def __str__(self) -> str:
        first = self.first
        return f"the film, which runs from {first} to {first + self.frames} ({several(self.frames, 'frame')})"


@dataclass(frozen=True)
class _Stretch:
    """One part as it was written, and its frames [start, end); of shots that are not known yet their numbers."""

    text: str
    at: Location
    start: int
    end: int


def within(ranges: Ranges, start: int, end: int) -> Ranges:
    """What of these frames lies in [start, end)."""
    cut = ((max(a, start), min(b, end)) for a, b in ranges)
    return tuple((a, b) for a, b in cut if a < b)


def asked(title: Title, dub: Dub, film: ShownFilm) -> Ranges | None:
    """The frames of a film that may be re-rendered in a dub; None where nothing is said, or it depends on shots that
    are not known yet.

    Raises ManifestError, whose `at` is the place in the title: a part outside the film (OutsideFilm), one that ends
    before it begins, two that overlap, a part that `only` and `leave` both name, a shot that is not there, a timecode
    of another rate or count than the film's.
    """
    only: list[_Stretch] = []
    left: list[_Stretch] = []
    unknown = False
    levels: tuple[tuple[Title | Dub, Location], ...] = ((title, ()), (dub, ("dubs", title.dubs.index(dub))))
    for says, at in levels:
        _differ_in_name(says, at)
        mine, mine_unknown = _read(says.only, (*at, "only"), film)
        gone, gone_unknown = _read(says.leave, (*at, "leave"), film)
        _differ(mine, gone)
        _differ(mine_unknown, gone_unknown)
        if says.only:
            only = mine
        left += gone
    for parts in (dub.only or title.only, title.leave, dub.leave):
        unknown = unknown or bool(parts and parts.shots and film.shots is None)
    if unknown or not any(parts and parts.in_time for parts in (dub.only or title.only, title.leave, dub.leave)):
        return None
    keep = [(s.start, s.end) for s in only] or [(0, film.frames)]
    for one in left:
        keep = [part for a, b in keep for part in ((a, min(b, one.start)), (max(a, one.end), b)) if part[0] < part[1]]
    return tuple(joined(keep))


def characters_asked(title: Title, dub: Dub) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The characters who alone may be re-rendered in a dub, None for all; and those who may not be, sorted: of `leave`,
    and of the cast those with `leave_alone`."""
    only = dub.only or title.only
    leave = {name for name, one in (title.cast or {}).items() if one.leave_alone}
    for parts in (title.leave, dub.leave):
        leave |= set(parts.characters or ()) if parts else set()
    return tuple(sorted(only.characters)) if only and only.characters else None, tuple(sorted(leave))


def _differ_in_name(says: Title | Dub, at: Location) -> None:
    """Raises ManifestError where `only` and `leave` name one character."""
    leave = set((says.leave and says.leave.characters) or ())
    for n, name in enumerate((says.only and says.only.characters) or ()):
        if name in leave:
            raise ManifestError(
                f"'only' and 'leave' both name {name}, so nothing of it would be done; remove it from one of them.",
                at=(*at, "only", "characters", n),
            )


def _read(parts: Parts | None, at: Location, film: ShownFilm) -> tuple[list[_Stretch], list[_Stretch]]:
    """The parts in order, none of which may overlap; and apart from them shots that are not known yet, by number."""
    found = [_stretch(kind, text, (*at, kind, n), film) for kind, n, text in (parts.in_time if parts else ())]
    found.sort(key=lambda s: s.start)
    unknown = [s for s in found if s.at[-2] == "shots" and film.shots is None]
    known = [s for s in found if s not in unknown]
    for of in (known, unknown):
        for one, other in zip(of, of[1:], strict=False):
            if other.start < one.end:
                raise ManifestError(
                    f"{one.text} and {other.text} overlap; the parts under {at[-1]!r} must lie apart.", at=other.at
                )
    return known, unknown


def parts_of(parts: Parts | None, at: Location, film: ShownFilm) -> Ranges | None:
    """The frames of some parts of a film; None where they name none, or shots that are not known yet. at: where they
    stand in the title. Raises ManifestError as `asked`."""
    known, unknown = _read(parts, at, film)
    return None if unknown or not known else tuple(joined([(s.start, s.end) for s in known]))


def stretch_of(kind: str, text: str, at: Location, film: ShownFilm) -> tuple[int, int]:
    """The frames [start, end) of one part of a film, as `Parts` has it. Raises ManifestError with this `at`."""
    found = _stretch(kind, text, at, film)
    return found.start, found.end


def _stretch(kind: str, text: str, at: Location, film: ShownFilm) -> _Stretch:
    first, _, last = text.partition("-")
    if kind == "timecodes":
        start, end = (_frame(code, at, film) for code in (first, last))
        named = text
    elif kind == "frames":
        start, end, named = int(first), int(last), f"frames {text}"
    else:
        start, end = int(first), int(last or first) + 1
        named = f"shots {text}" if last else f"shot {text}"
    if kind != "shots" and not (0 <= start < film.frames and end <= film.frames):
        raise OutsideFilm(f"{named} is outside {film}.", at=at)
    if end < start or (kind == "shots" and end == start):
        raise ManifestError(f"{named} ends before it begins; write its beginning first.", at=at)
    if end == start:
        raise ManifestError(f"{named} holds no frame: what follows the - is the frame after its last.", at=at)
    if kind == "shots" and film.shots is not None:
        if end - 1 > len(film.shots):
            raise ManifestError(
                f"there is no shot {end - 1}: the film has {several(len(film.shots), 'shot')}, counted from 1.", at=at
            )
        start, end = film.shots[start - 1].start_frame, film.shots[end - 2].end_frame
    return _Stretch(named, at, start, end)


def _frame(text: str, at: Location, film: ShownFilm) -> int:
    """The number of the frame that has this timecode."""
    try:
        return frame_of(text, film.rate, film.start_tc)
    except ManifestError as e:
        raise ManifestError(str(e), at=at) from e


def _differ(only: Sequence[_Stretch], left: Sequence[_Stretch]) -> None:
    """Raises ManifestError where a part of `only` is left whole."""
    gone = tuple(joined([(s.start, s.end) for s in left]))
    for one in only:
        if within(gone, one.start, one.end) == ((one.start, one.end),):
            raise ManifestError(
                f"'only' and 'leave' both name {one.text}, so nothing of it would be done; remove it from one of them.",
                at=one.at,
            )
