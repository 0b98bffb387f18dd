"""`dub formats`: which files are supported. Thin: `dubbing.api.formats` knows."""

from __future__ import annotations

import textwrap
from dataclasses import asdict

import click

from dubbing.cli.options import json_option
from dubbing.cli.say import echo

__all__ = ["formats"]

_COLUMNS = 110


@click.command(
    short_help="List which files are supported.",
    epilog="""\b
Examples:
  dub formats
  dub formats --only "sound codec"
  dub formats --json | jq '.[] | select(.supported | not)'

What becomes of a file of yours says `dub check`.""",
)
@click.option("--only", metavar="PART", help="One part of the list: container, picture, sound codec, ...")
@json_option
def formats(only: str | None, as_json: bool) -> None:
    """List which containers, codecs, pictures, sounds, photographs, cut lists and addresses are supported, what becomes
    of each, and what to do with what is not."""
    from dubbing.api.formats import formats as known
    from dubbing.cli import show

    rows = known()
    parts = list(dict.fromkeys(row.part for row in rows))
    if only is not None and only not in parts:
        raise click.BadParameter(f"{only!r} is no part of the list; there is: {', '.join(parts)}.", param_hint="--only")
    rows = tuple(row for row in rows if only in (None, row.part))
    if as_json:
        show.as_json([asdict(row) for row in rows])
        return
    lines, before = [], None
    for row in rows:
        lines += [row.part] if row.part != before else []
        before = row.part
        text = f"{row.name}: {row.what}" + (f"; {row.todo}" if row.todo else "")
        answer = "yes" if row.supported else "no"
        lines.append(textwrap.fill(text, _COLUMNS, initial_indent=f"  {answer:<5}", subsequent_indent=" " * 9))
    echo("\n".join(lines))
