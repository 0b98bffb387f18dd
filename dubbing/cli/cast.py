"""`dub cast`: thin; `dubbing.api.cast` does the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import PLACE, json_option, reviewer_option
from dubbing.cli.say import echo
from dubbing.errors import InputError, several
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing.api.cast import Cast

__all__ = ["cast"]

_AT_ONCE_S = 2.0  # what takes less is not worth a word
_SHOTS = 6  # shots of a person that are listed


@click.command(
    short_help="Show who is seen, and name them.",
    epilog="""\b
Examples:
  dub cast out                          everybody: number, name, seconds, shots; portraits in out/review/cast-reel.jpg
  dub cast out --name 2=ANNA --name 3=BORIS
  dub cast out --name reel/2=ANNA       where the run has several titles
  dub cast out --unname 2

Names are kept as decisions, and stand on every page, in the report, and in the tables from the next `dub run` on;
nothing is rendered again for a name alone. `dub review` has the same as a page.""",
)
@click.argument("out", type=PLACE, required=False, default="out")
@click.option("--name", "names", multiple=True, metavar="N=NAME", help="Which character person N is; more than once.")
@click.option("--unname", "unnamed", multiple=True, metavar="N", help="Take the name of person N away; more than once.")
@reviewer_option
@json_option
def cast(
    out: Path | Uri, names: tuple[str, ...], unnamed: tuple[str, ...], reviewer: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show everybody who is seen in a run's titles, and say which character each is. OUT is a run's --out."""
    from dubbing.api.cast import cast as find
    from dubbing.cli import show

    wanted = dict(_named(text) for text in names)
    if len(wanted) < len(names):
        raise InputError("--name says of one person twice who it is; say it once.")
    with _portraits() as on_person:
        found = find(str(out), name=wanted, unname=unnamed, reviewer=reviewer, on_person=on_person)
    if as_json:
        show.as_json(_plain(found))
    else:
        echo(_told(found))
    for note in found.notes:
        echo(f"note: {note}", err=True)


def _named(text: str) -> tuple[str, str]:
    whom, equals, name = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--name is a person's number and a name, such as 2=ANNA; found {text!r}.")
    return whom.strip(), name.strip()


@contextmanager
def _portraits() -> Iterator[Callable[[int, int], None]]:
    """Says how many portraits are made, from two seconds on, and then every two."""
    next_s = time.monotonic() + _AT_ONCE_S

    def tell(done: int, of: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _AT_ONCE_S
            echo(f"portraits: {done} of {of}", err=True)

    yield tell


def _plain(found: Cast) -> dict[str, Any]:
    return {
        "people": [asdict(one) for one in found.people],
        "unseen": [asdict(one) for one in found.unseen],
        "cast": {t: {n: m.model_dump(mode="json") for n, m in mine.items()} for t, mine in found.members.items()},
        "sheets": {title: str(path) for title, path in found.sheets.items()},
    }


def _told(found: Cast) -> str:
    from dubbing.cli.show import table

    parts, rows = [], []
    several_titles = len({one.title for one in found.people}) > 1
    for one in found.people:
        more = f" and {len(one.shots) - _SHOTS} more" if len(one.shots) > _SHOTS else ""
        shots = ", ".join(s.removeprefix("shot_").lstrip("0") for s in one.shots[:_SHOTS]) + more
        number = f"{one.title}/{one.number}" if several_titles else str(one.number)
        how = {"name": "named", "picture": f"by pictures ({one.likeness:.2f})" if one.likeness else "by pictures"}
        rows.append([number, one.name or "", how.get(one.by or "", ""), f"{one.seconds:.1f} s", shots])
    parts.append(table(["person", "character", "", "in sight", "shots"], rows) if rows else "Nobody is seen.")
    said = [
        f"{name}: {', '.join(what)}"
        for mine in found.members.values()
        for name, m in mine.items()
        if (what := [w for w, on in (("off screen", m.off_screen), ("left alone", m.leave_alone),
                                     (f"consent: {m.consent}", m.consent)) if on])
    ]  # fmt: skip
    said += [f"{one.name}: nobody plays it; {one.why}" for one in found.unseen if one.why[:5] != "never"]
    if said:
        parts.append("\n".join(said))
    parts += [f"portraits of {several(sum(p.title == t for p in found.people), 'person', 'people')}: {path}"
              for t, path in found.sheets.items()]  # fmt: skip
    return "\n\n".join(parts)
