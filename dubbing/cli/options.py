"""Options that several commands have, and how places are written on a command line. Knows no command."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from dubbing.remote import Uri, place

if TYPE_CHECKING:
    from dubbing import Config, Manifest

__all__ = [
    "FILE", "PLACE", "Finite", "changed", "config_file_option", "config_option", "engine_option", "json_option",
    "log_format_option", "narrowed", "out_option", "parts_options", "reviewer_option", "run_options",
]  # fmt: skip


class _Place(click.ParamType):
    """A path, or a URI."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Uri:
        return place(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The shell completes names of files by itself."""
        return [CompletionItem(incomplete, type="file")]


class Finite(click.FloatRange):
    """A number in a range; click's own lets `nan` through, which compares with nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _File(_Place):
    """A path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        found = super().convert(value, param, ctx)
        if isinstance(found, Uri):
            self.fail(f"{str(found)!r} lies elsewhere; give a file or folder of this machine.", param, ctx)
        return found


FILE = _File()
PLACE = _Place()

json_option = click.option("--json", "as_json", is_flag=True, help="The result as JSON, for machines.")


def _config(kind: click.ParamType) -> Any:
    where = "A file or URI" if kind is PLACE else "A file"
    return click.option(
        "--config", "config_file", type=kind, metavar="FILE", envvar="DUB_CONFIG", show_envvar=True,
        help=f"{where} of settings that differ from configs/default.yaml, which explains each.",
    )  # fmt: skip


config_option = _config(PLACE)
config_file_option = _config(FILE)
engine_option = click.option(
    "--engine",
    type=click.Choice(["ray", "local"]),
    default="ray",
    show_default=True,
    help="ray: all cores; local: one process, with less memory and nothing to start; the same bytes.",
)
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one object per line on stderr for every event, instead of a bar (docs/events.md).",
)
reviewer_option = click.option(
    "--reviewer", metavar="NAME", help="Who this is, for the records.  [default: your account's name]"
)


def out_option(default: str, kind: click.ParamType = PLACE) -> Any:
    """`--out`: a folder, or a place of another kind."""
    where = "folder or URI (s3://bucket/out)" if kind is PLACE else "folder"
    return click.option(
        "--out",
        type=kind,
        default=default,
        show_default=True,
        metavar="DIR",
        help=f"The {where} to write to; what is finished there is kept.",
    )


def parts_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which parts of a film are asked for, and from what besides it its actors are learnt."""
    options = (
        click.option(
            "--only", multiple=True, metavar="RANGE",
            help="Re-render this part alone: 01:02:03:00-01:02:10:00 or frames:240-360, the end not in it; or "
            "characters:ANNA; repeatable.",
        ),
        click.option(
            "--shots", multiple=True, metavar="LIST", help="Re-render these shots alone: 2,5-7; repeatable."
        ),
        click.option(
            "--leave", multiple=True, metavar="RANGE",
            help="Keep the source's picture in this part, also as shots:2,5-7 or characters:ANNA; repeatable.",
        ),
        click.option(
            "--from", "also", type=PLACE, multiple=True, metavar="OUT2",
            help="Learn how the same people's mouths move from another run too, as of another episode: its --out; "
            "repeatable.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def narrowed(
    job: Manifest, only: Sequence[str], shots: Sequence[str], leave: Sequence[str], also: Sequence[Path | Uri]
) -> Manifest:  # fmt: skip
    """A job with what `parts_options` say over its manifest. Raises ManifestError."""
    return job.narrowed([*only, *(f"shots:{one}" for one in shots)], leave).learning(also)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `dub run` and `dub quick` may be told."""
    options = (
        out_option("out"),
        engine_option,
        config_option,
        click.option(
            "--workers", type=click.IntRange(min=1),
            help="Tasks at once, each 2 to 2.5 GB of memory; default: one per core.",
        ),
        click.option(
            "--draft", is_flag=True,
            help="Quick and coarse: masters of half the size with simpler mouths, named .draft. As `quality: draft`.",
        ),
        click.option(
            "--no-score", is_flag=True,
            help="Leave out measuring the takes; without numbers no shot asks for review. As `sync: {score: false}`.",
        ),
        click.option(
            "--verify", is_flag=True, help="Look at every byte of what is done; make again what is damaged."
        ),
        click.option(
            "--preview", is_flag=True,
            help="No master: analyse the film, render only some seconds of each dub's likely worst and best shots (by "
            "scores of an earlier run, where there are any), and show them beside the original, with the dub's sound, "
            "in OUT/preview/TITLE.LANG.mp4. A full run goes on from there.",
        ),
        log_format_option,
        json_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return parts_options(command)


def changed(settings: Config, workers: int | None, draft: bool, no_score: bool) -> Config:
    """Settings with what `run_options` say over them."""
    if workers is not None:
        settings = settings.model_copy(update={"engine": settings.engine.model_copy(update={"workers": workers})})
    if draft:
        settings = settings.model_copy(update={"quality": "draft"})
    if no_score:
        settings = settings.model_copy(update={"sync": settings.sync.model_copy(update={"score": False})})
    return settings
