"""`dub verify`: is a master its source, but for the mouths and the sound? Thin: `dubbing.verify` compares."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dubbing.cli.options import FILE, PLACE, Finite, json_option
from dubbing.cli.say import echo
from dubbing.remote import Uri

__all__ = ["verify"]


@click.command(
    short_help="Prove that a master keeps all of its source.",
    epilog="""\b
Examples:
  dub verify out/reel/fr/reel.fr.mp4 --source reel.mp4        takes and sound as the run in out/ says
  dub verify reel.fr.mp4 --source reel.mp4 --dub reel.fr.flac --takes out
  dub verify reel.fr.mp4 --source reel.mp4 --json | jq '.checks[] | select(.status == "differs")'

Exit code 0: all as it should be; 1: something differs; 2: no such file, no film, or another film.""",
)
@click.argument("master", type=FILE)
@click.option("--source", type=FILE, required=True, metavar="FILM", help="The film that the master was made of.")
@click.option(
    "--dub", type=FILE, metavar="AUDIO", help="The sound that was delivered.  [default: what the run's manifest names]"
)
@click.option(
    "--takes",
    type=PLACE,
    metavar="OUT",
    help="The run's output folder, whose mattes say where pictures may differ.  [default: found where the master lies]",
)
@click.option(
    "--least",
    "least_db",
    type=Finite(1, 99),
    default=None,
    metavar="DB",
    help="PSNR under which a frame differs, and 6 dB less a block of it (10 in chroma).  [default: 34]",
)
@json_option
def verify(
    master: Path, source: Path, dub: Path | None, takes: Path | Uri | None, least_db: float | None, as_json: bool
) -> None:
    """Compare MASTER with its source and its dub: frames, times, pictures, tags, samples, subtitles, chapters."""
    from dubbing.api import proof
    from dubbing.cli import show, tell

    with tell.counting(sys.stderr, proof.frames_of(source) if sys.stderr.isatty() else None) as count:
        out = None if takes is None else str(takes)
        found = proof.verify(master, source, dub=dub, takes=out, least_db=least_db, on_frames=count)
    if as_json:
        show.as_json(found.to_dict())
    else:
        echo(show.table(("what", "result"), [(c.what, str(c)) for c in found.checks]))
        many = len(found.differing)
        echo(f"\n{found.master}: " + (f"{many} of {len(found.checks)} differ" if many else "all as it should be"))
    raise SystemExit(found.exit_code)
