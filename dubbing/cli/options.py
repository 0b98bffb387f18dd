"""Options that several commands have, and how places are written on a command line. Knows no command."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from dubbing.remote import Uri, place

__all__ = [
    "FILE", "PLACE", "Finite", "config_option", "engine_option", "json_option", "log_format_option", "out_option",
    "reviewer_option",
]  # fmt: skip


class _Place(click.ParamType):
    """A path, or a URI."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Uri:
        return place(value)


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
config_option = click.option(
    "--config", "config_file", type=PLACE, metavar="FILE", help="Settings that differ from configs/default.yaml."
)
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
        "--out", type=kind, default=default, show_default=True, metavar="DIR", help=f"The {where} to write to."
    )
