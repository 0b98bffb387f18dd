"""`dub init` and `dub schema`: a manifest to start from, and what one may hold. Thin: `dubbing.api` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dubbing.cli.options import FILE, json_option
from dubbing.cli.say import echo

__all__ = ["init", "schema", "sounds_argument"]

_SOUNDS = "[LANG=]SOUND..."


def sounds_argument(required: bool) -> Any:
    """The dubs of a film on a command line, each with its language before it where a person says it."""
    return click.argument("sounds", nargs=-1, required=required, metavar=_SOUNDS if required else f"[{_SOUNDS}]")


@click.command(
    short_help="Write a manifest to start from.",
    epilog="""\b
Examples:
  dub init reel.mp4 reel.fr.flac reel.de.flac       writes reel.yaml
  dub init reel.mp4 fr=mix_final.wav                says the language, where no name does
  dub init reel.mp4                                 with the sounds that lie beside it: reel.fr.flac, ...
  dub init reel.mp4 fr.wav --to jobs/reel.yaml

A language is taken from the end of a sound's name (reel.pt-BR.wav) or from its stream's tag. Where these are silent or
disagree, the manifest holds a comment that asks, and `dub check` names the line.""",
)
@click.argument("film", type=FILE)
@sounds_argument(required=False)
@click.option(
    "--to", type=FILE, metavar="FILE",
    help="The manifest to write; a file that is there is never overwritten.  [default: the film's name, .yaml, here]",
)  # fmt: skip
@json_option
def init(film: Path, sounds: tuple[str, ...], to: Path | None, as_json: bool) -> None:
    """Write a manifest of FILM and its dubs, to read, to complete, and to give to `dub check` and `dub run`."""
    from dubbing.api import starting
    from dubbing.cli import show

    file = to or Path(f"{starting.called(film)}.yaml")
    made = starting.first(film, sounds, file.parent)
    starting.write(made, file)
    if as_json:
        said = [{"audio": str(s.file), "language": s.language, "why": s.why} for s in made.sounds]
        show.as_json({"manifest": str(file), "dubs": said, "lines_to_complete": made.asks})
        return
    lines = f"complete line{'s' * (len(made.asks) > 1)} {', '.join(map(str, made.asks))}, then " if made.asks else ""
    echo(f"{file}: {lines}`dub check {file}`")


@click.command(
    short_help="Print the JSON Schema of the manifest.",
    epilog="""\b
Examples:
  dub schema > manifest.schema.json     editors that know JSON Schema then complete and check
  dub schema --config""",
)
@click.option("--config", "of_config", is_flag=True, help="Of a config file, instead of the manifest.")
def schema(of_config: bool) -> None:
    """Print the JSON Schema of the manifest."""
    from dubbing.api.jobs import schema_of
    from dubbing.cli import show

    found, problems = schema_of("config" if of_config else "manifest")
    for problem in problems:
        echo(f"note: {problem}", err=True)
    show.as_json(found)
