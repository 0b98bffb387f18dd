"""Which face tracks of a title show one person, and which character a person plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from dubbing.artifact import Artifact
from dubbing.decisions import Decision
from dubbing.records import Shot

__all__ = ["Cast", "Names", "People", "Person", "Span", "named_tracks", "names_of", "spans_of"]

Span = tuple[int, int]
"""Frames [start, end) of a title."""


@dataclass(frozen=True)
class Person:
    """One person of a title."""

    number: int
    """From 0, in order of appearance."""
    tracks: tuple[str, ...]
    """Ids of the tracks that show the person, in the film's order."""
    frames: int
    """In how many frames the face is seen."""


@dataclass(frozen=True)
class People(Artifact):
    """Everybody who is seen in a title."""

    schema: ClassVar[str] = "dub.people.1"
    people: tuple[Person, ...]
    """In order of appearance; every track belongs to one of them."""

    @cached_property
    def of_track(self) -> Mapping[str, int]:
        """The person's number by track id."""
        return {track: one.number for one in self.people for track in one.tracks}


@dataclass(frozen=True)
class Cast(Artifact):
    """The characters of a title, as far as they are known."""

    schema: ClassVar[str] = "dub.cast.1"
    characters: Mapping[str, str] = field(default_factory=dict)
    """Name of the character by track id."""
    likeness: Mapping[str, float] = field(default_factory=dict)
    """By track id, how alike the person and the character's pictures are, where these decided: up to 1."""
    unseen: tuple[str, ...] = ()
    """Characters of whom nobody in the film was found to be the actor."""
    doubts: tuple[str, ...] = ()
    """What a person should look at, as clauses without a stop."""


def named_tracks(people: People, named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The character of every track of everybody who was named. named: (track id, character), as people said it.

    A track that was named keeps its name, whomever it is joined with; the person's other tracks take the name that most
    of the person's named tracks have, the first of two that as many have.
    """
    own, found = dict(named), {}
    for one in people.people:
        names = Counter(own[t] for t in one.tracks if t in own)
        for track in one.tracks if names else ():
            found[track] = own.get(track) or names.most_common(1)[0][0]
    return found


class Names(dict[str, str]):
    """The name by track id, empty where it was taken away. lost: those of tracks whose shot has other cuts by now."""

    def __init__(self) -> None:
        self.lost: dict[tuple[str, Span | None], str] = {}

    @property
    def gone(self) -> tuple[str, ...]:
        """Characters who lost their name so, and have it nowhere."""
        return tuple(sorted({*self.lost.values()} - {*self.values(), ""}))


def spans_of(shots: Iterable[Shot]) -> dict[Span, str]:
    """The shots of a title by their frames, for `names_of`."""
    return {(s.start_frame, s.end_frame): s.id for s in shots}


def names_of(records: Iterable[Decision], shots: Mapping[str, Mapping[Span, str]] | None = None) -> dict[str, Names]:
    """By title the newest names in these records, oldest first. shots: by title the id of the shot that has these
    frames [start, end) now; of a title that is not in it, and of records without spans, each track keeps its id."""
    found: dict[str, Names] = {}
    for r in records:
        if r.kind == "name":
            names = found.setdefault(r.title, Names())
            here = (shots or {}).get(r.title)
            for track, span in zip(r.tracks, r.spans or [None] * len(r.tracks), strict=True):
                shot, _, face = track.rpartition("/")
                now = shot if here is None or span is None else here.get(span)
                if now is None:
                    names.lost[track, span] = r.text
                else:
                    names[f"{now}/{face}"] = r.text
    return found
