"""`dub listen`: what is said in every sound of a job, and in which language. Thin: `dubbing.listen` hears it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import PLACE, config_option, engine_option, json_option, out_option
from dubbing.cli.say import echo
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing import Event, Listened, Manifest

__all__ = ["listen", "listened_told", "listening"]

_TEXT = 72  # letters of what was heard that are shown


@click.command(
    short_help="Hear the language and the words of every dub.",
    epilog="""\b
Examples:
  dub models pull whisper_base      once; whisper_small and larger ones hear better
  dub listen reel.yaml --out out
  dub listen reel.yaml --model whisper_turbo
  dub listen reel.yaml --json | jq '.sounds[] | {whose, language, text}'

Writes OUT/<title>/<language>/words.parquet and words.vtt, which `dub review` shows and searches; what was listened to
before is not listened to again. Exit code 0: all well; 1: a sound could not be listened to; 2: a dub is in another
language than its tag; 3: lines are missing, elsewhere or extra. Needs the extra `whisper`.""",
)
@click.argument("manifest", type=PLACE)
@out_option("out")
@engine_option
@config_option
@click.option("--model", metavar="NAME|FILE", help="Another model than the settings' `listen: {model: ...}`.")
@json_option
def listen(
    manifest: Path | Uri, out: Path | Uri, engine: str, config_file: Path | Uri | None, model: str | None, as_json: bool
) -> None:
    """Listen to the original, to each dub and to each stem: which language, which words and when; against the tags and
    the lines of MANIFEST."""
    from dubbing import config
    from dubbing import manifest as manifests
    from dubbing.api.listening import listen as hear
    from dubbing.cli import show

    job, settings = manifests.load(manifest), config.load(config_file)
    with listening(job) as watch:
        found = hear(job, out, config=settings, model=model, engine=engine, on_event=watch)
    if as_json:
        show.as_json(found.to_dict())
    else:
        echo(listened_told(found))
    for problem in found.problems:
        echo(f"dub: {problem}", err=True)
    raise SystemExit(found.exit_code)


@contextmanager
def listening(job: Manifest) -> Iterator[Callable[[Event], None]]:
    """A watcher of events that says on stderr how far listening to a job is."""
    from dubbing.cli import tell

    if not sys.stderr.isatty():
        yield lambda event: echo(f"{event.where} is heard", err=True) if event.kind == "finished" else None
        return
    with tell.waiting(sys.stderr, f"listening to {', '.join(t.id for t in job.titles)}"):
        yield lambda event: None


def listened_told(found: Listened) -> str:
    """A table of the sounds, how their lines differ, notes, and where the words are. Problems are for stderr."""
    from dubbing.cli import show

    parts = [show.table(
        ("sound", "file", "language", "probability", "speech", "words", "what is said"),
        ((_name(s), s.file.name, _language(s.result), round(s.result.probability, 2), f"{s.result.speech_s:.1f} s",
          s.result.words, s.text if len(s.text) <= _TEXT else s.text[: _TEXT - 1] + "…") for s in found.sounds),
    )]  # fmt: skip
    for dub, differences in found.lines.items():
        rows = [(at, d.kind, d.character, d.line, d.text) for at, d in differences]
        parts.append(f"{dub}: " + (
            f"lines and words differ in {len(rows)} places\n"
            + show.table(("at", "what", "character", "line", "text"), rows)
            if rows else "every line is said where it should be, and nothing else"
        ))  # fmt: skip
    parts += [f"{name} could not be listened to: {why}" for name, why in found.failed.items()]
    parts += [f"note: {note}" for note in found.notes]
    parts.append("\n".join(["words and subtitles:", *(f"  {table}" for table in found.tables)]))
    return "\n\n".join(parts)


def _name(sound: Any) -> str:
    return "/".join(part for part in (sound.title, sound.whose, sound.character) if part)


def _language(result: Any) -> str:
    """`de`, `de, not the tag's`."""
    return f"{result.language or '-'}{', not the tag’s' if result.verdict == 'another' else ''}"
