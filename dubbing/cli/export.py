"""`dub export`: deliver what reviewers decided. Thin: `dubbing.export` does it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dubbing.cli.options import FILE, PLACE, engine_option, json_option, log_format_option, reviewer_option
from dubbing.cli.say import echo
from dubbing.errors import several
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing import Exported

__all__ = ["export"]


@click.command(
    short_help="Deliver what reviewers decided: masters, lists, a report.",
    epilog="""\b
Examples:
  dub export out
  dub export out --to delivery-2          the lists and the report go there
  dub export out --since 1                the lists of changes once more, against an earlier delivery
  dub export out --patches exr --plate    pictures with their matte too, to be finished by a compositor
  dub export out --json | jq '.dubs[].changed'

A dub whose pictures did not change keeps its master, the very file. Each export is noted in
OUT/review/deliveries.jsonl; "changed" means since the one before, at first since the run.""",
)
@click.argument("out", type=PLACE)
@click.option("--to", type=FILE, metavar="DIR", help="Where the lists go.  [default: OUT/review/export]")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="N",
    help="What changed since delivery N; 0: since the run.  [default: the last]",
)
@click.option(
    "--patches",
    "layers",
    type=click.Choice(["exr", "tiff", "png", "prores4444"]),
    help="For compositors: the new pixels of every delivered shot with their matte, in DIR/TITLE.LANGUAGE.KIND, with "
    "a list and a script for Nuke.",
)
@click.option(
    "--crop", is_flag=True, help="Those pictures no larger than the shot's patches; the list has their place."
)
@click.option("--plate", is_flag=True, help="The source's own pictures of these frames beside them; not of a movie.")
@engine_option
@reviewer_option
@log_format_option
@json_option
def export(
    out: Path | Uri,
    to: Path | None,
    since: int | None,
    engine: str,
    reviewer: str | None,
    layers: str | None,
    crop: bool,
    plate: bool,
    log_format: str,
    as_json: bool,
) -> None:
    """Master again what decisions changed, and write what was decided: CSV, Parquet, OTIO, EDL of the changed shots,
    a list for re-delivery, report.html. OUT is a run's --out."""
    from dubbing.api.results import open_results
    from dubbing.api.reviewed import export as deliver
    from dubbing.cli import show
    from dubbing.cli.watch import watcher

    films = [(t.frames, len(t.dubs)) for t in open_results(out).titles]
    with watcher(films, sys.stderr, log_format) as watch:
        done = deliver(
            out, to=to, since=since, reviewer=reviewer, engine=engine, layers=layers, crop=crop, plate=plate,
            on_event=watch,
        )  # fmt: skip
    if as_json:
        show.as_json(done.to_dict())
    else:
        echo(_told(done))
    raise SystemExit(done.exit_code)


def _told(done: Exported) -> str:
    from dubbing.cli import show

    parts = [
        show.table(
            ("title", "language", "shots", "changed", "master"),
            (
                (d.title, d.language, d.shots, len(d.changes), _master(d.remastered, d.master, d.error))
                for d in done.dubs
            ),
        )  # fmt: skip
    ]
    changed = [
        (d.title, d.language, d.since, c.shot, c.was or "source", c.now or "source",
         c.decided.kind if c.decided else None, c.decided.reviewer if c.decided else None)
        for d in done.dubs for c in d.changes
    ]  # fmt: skip
    if changed:
        head = ("title", "language", "since", "shot", "was", "is now", "decision", "by")
        parts.append("changed pictures\n" + show.table(head, changed))
    elif not any(d.remastered for d in done.dubs):
        before = " and ".join(sorted({d.since for d in done.dubs}))
        parts.append(f"Nothing has changed since {before}; the masters are as they were.")
    parts += [f"note: {name}, of an earlier run, is left out: {why}" for name, why in done.left_out.items()]
    parts.append(f"delivery {done.delivery}: {several(len(done.files), 'file')} in {done.folder}\n"
                 + "\n".join(f"  {f.name}" for f in done.files))  # fmt: skip
    return "\n\n".join(parts)


def _master(remastered: bool, master: Path | None, error: str | None) -> str:
    if master is None:
        return f"not made: {error}"
    return f"{master} ({'new' if remastered else 'unchanged'})"
