"""Who is seen in the titles of a run, and which character each plays, from Python: what `dub cast` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dubbing.errors import InputError
from dubbing.manifest import CastMember
from dubbing.review.library import Library
from dubbing.review.people import (
    SeenPerson,
    Unseen,
    draw_sheet,
    find_person,
    name_person,
    people_of,
    picture_of,
    unseen_of,
)
from dubbing.run_file import account
from dubbing.store import output_error

__all__ = ["Cast", "CastMember", "SeenPerson", "Unseen", "cast"]


@dataclass(frozen=True)
class Cast:
    """Who is seen. people: of all titles, in order of appearance; unseen: characters of the manifest whom nobody plays;
    members: what the manifest says of each character, by title; sheets: where the portraits lie, by title; notes:
    sentences."""

    people: tuple[SeenPerson, ...]
    unseen: tuple[Unseen, ...]
    members: Mapping[str, Mapping[str, CastMember]]
    sheets: Mapping[str, Path]
    notes: tuple[str, ...]


def cast(
    out: Path | str, *, name: Mapping[str, str] | None = None, unname: Sequence[str] = (), reviewer: str | None = None,
    sheets: bool = True, on_person: Callable[[int, int], None] = lambda done, of: None,
) -> Cast:  # fmt: skip
    """Who is seen in a run's titles, and name them.

    out: a run's output folder on this machine, whose analysis is done; name: character by person, `2` or `reel/2`;
    unname: of whom the name is taken away; reviewer: who says so, None for the account's name; sheets: write portraits
    of each title into OUT/review/cast-<title>.jpg; on_person: told how many portraits are made, of how many.

    Raises InputError: no such person, no such name; OutputError: no run there, its people are not known yet, it lies at
    a URI, a file cannot be written.
    """
    library, who = Library(out), reviewer or account()
    titles = list(dict.fromkeys(title.id for title, _ in library.dubs()))
    asked = [*(name or {}).items(), *((one, "") for one in unname)]
    before = {title: people_of(library, title) for title in titles}
    aims = [(_person(before, whom), character) for whom, character in asked]  # before anything is said
    twice = [person for n, (person, _) in enumerate(aims) if person in [p for p, _ in aims[:n]]]
    if twice:
        raise InputError(f"Person {twice[0].number} of {twice[0].title} is named twice; say it once.")
    notes = [name_person(library, person, character, who) for person, character in aims]
    people = [person for title in titles for person in people_of(library, title)]
    members = {title.id: title.cast for title, _ in library.dubs() if title.cast}
    written, done = {}, 0
    for title in titles if sheets else ():
        pictures = []
        mine = [person for person in people if person.title == title]
        for person in mine:
            pictures.append(picture_of(library, person))
            done += 1
            on_person(done, len(people))
        path = library.out / "review" / f"cast-{title}.jpg"
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(draw_sheet(mine, pictures))
        except OSError as e:
            raise output_error(path, e) from e
        written[title] = path
    unseen = [one for title in titles for one in unseen_of(library, title)]
    return Cast(tuple(people), tuple(unseen), members, written, tuple(n for n in notes if n))


def _person(people: Mapping[str, Sequence[SeenPerson]], text: str) -> SeenPerson:
    """The person that is meant by `2` or `reel/2`. Raises InputError."""
    title, _, number = text.rpartition("/")
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise InputError(f"A person is named by number, such as 2 or {next(iter(people))}/2; found {text!r}.")
    if not title and len(people) > 1:
        first = next(iter(people))
        raise InputError(f"This run has {len(people)} titles; say of which {number} is, as in {first}/{number}.")
    if title and title not in people:
        raise InputError(f"There is no title {title!r}; there is: {', '.join(people)}.")
    return find_person(people[title or next(iter(people))], int(number))
