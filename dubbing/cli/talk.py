"""`dub talk`: a photograph says a text or a sound, in one command. Thin: `dubbing.api.talking` does it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dubbing.cli.options import FILE, config_file_option, json_option, log_format_option
from dubbing.cli.say import echo

__all__ = ["talk"]


@click.command(
    short_help="Have a photograph say something.",
    epilog="""\b
Examples:
  dub talk anna.png --text "Good morning." --language en --out talk.mp4
  dub talk anna.png --text speech.txt --voice en_US-joe-medium --out talk.mp4
  dub talk anna.png --text "नमस्ते, आप कैसे हैं?" --language hi --emotion happy:0.6 --out talk.mp4
  dub talk anna.png --audio speech.wav --out talk.mp4
  dub talk two.jpg --face 2 --text lines.srt --language fr --out talk.mov

\b
The same as `dub run` of this manifest, whose master is written to --out:
  version: 1
  titles:
    - id: talk
      video: anna.png
      still: {face: 1, expression: {emotion: happy}}
      dubs:
        - {language: hi, text: "...", voice: hi}

`dub voices LANGUAGE` lists who can speak; nothing that is written leaves this machine. A text may hold marks of SSML
(<break time="500ms"/>, <emphasis>); a file of subtitles is said line by line, each in its time.""",
)
@click.argument("picture", type=FILE)
@click.option("--text", metavar="WORDS|FILE", help="What is said: words, or a file (.txt, .ssml, .srt, .vtt, .csv).")
@click.option("--audio", type=FILE, metavar="FILE", help="A sound that is said instead.")
@click.option("--language", metavar="TAG", help="Of the text, BCP 47: en, pt-BR, hi; not needed with --voice.")
@click.option(
    "--voice", metavar="NAME", help="Who speaks, as `dub voices` lists.  [default: the best for the language]"
)
@click.option("--face", type=click.IntRange(1, 99), help="Which face of several, counted from the left.")
@click.option(
    "--emotion",
    metavar="NAME[:STRENGTH]",
    help="How the face looks: neutral, happy, sad, angry, surprised, disgusted, afraid; happy:0.5 half as much.",
)
@click.option(
    "--neutralise/--keep-expression",
    default=None,
    help="Whether the expression that the face has is taken away first.  [default: where --emotion is given]",
)
@click.option("--generator", default="rewrite", show_default=True, metavar="NAME", help="What moves the face.")
@click.option("--seed", type=click.IntRange(min=0), help="Of a generator that has one: another performance.")
@click.option("--out", type=FILE, required=True, metavar="FILE", help="The film: .mp4, .mov or .mkv; it is replaced.")
@click.option("--keep", "work", type=FILE, metavar="DIR", help="Keep the whole run in a folder, for `dub review`.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: all cores, for speech of minutes; the same bytes.",
)
@config_file_option
@log_format_option
@json_option
def talk(
    picture: Path, out: Path, engine: str, config_file: Path | None, log_format: str, as_json: bool, **how: Any
) -> None:  # fmt: skip
    """Have the face in PICTURE say a text or a sound, and write the film: no manifest, the same pipeline."""
    from dubbing import config
    from dubbing.api import talking
    from dubbing.cli import show
    from dubbing.cli.watch import watched

    settings = config.load(config_file)
    with watched(sys.stderr, log_format) as shown:
        made = talking.talk(
            picture, out, config=settings, engine=engine, on_event=shown.on_event, on_check=shown.begin,
            on_speech=shown.on_speech, **how,
        )  # fmt: skip
    if as_json:
        show.as_json({"file": str(made.file), "run": made.report.run_json})
    else:
        echo(f"{made.file} is written")
    raise SystemExit(made.report.exit_code)
