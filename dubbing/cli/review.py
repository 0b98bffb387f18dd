"""`dub review` and `dub rerun`: thin; `dubbing.api.reviewed` does the work."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import PLACE, Finite, json_option, log_format_option, reviewer_option
from dubbing.cli.say import echo
from dubbing.errors import InputError
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing import Rerun

__all__ = ["rerun", "review"]

GIB = 1 << 30


@click.command(
    short_help="Serve the review page: worst shots first.",
    epilog="""\b
Examples:
  dub review out                            prints a URL; open it
  dub review out --port 8300                the same port every time
  dub review out --host 0.0.0.0             for others on the network too, with the token

The page: every shot, worst first; source and take in step, frame by frame; approve, reject, leave the original, rerun,
comment, each by one key (? lists them); all languages of a shot side by side, the film across its cuts, a dashboard of
scores and of why takes were rejected. Decisions are kept in OUT/review/decisions.jsonl, as they are taken;
`dub export OUT` masters what they changed. Ctrl-C ends it.""",
)
@click.argument("out", type=PLACE, required=False, default="out")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; default: any free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any other than 127.0.0.1 is open to the network.",
)
@click.option(
    "--cache-gb",
    type=Finite(min=0.05),
    default=4.0,
    show_default=True,
    help="Most disk for the films that the page plays.",
)
def review(out: Path | Uri, port: int, host: str, cache_gb: float) -> None:
    """Serve the review page of a finished run. OUT is a run's --out (default: out)."""
    from dubbing.api.reviewed import serve_review

    server = serve_review(out, port=port, host=host, cache_bytes=int(cache_gb * GIB))
    echo(server.url)
    for name, why in server.left_out.items():
        echo(f"note: {name}, of an earlier run, is left out: {why}", err=True)
    if server.open_to_network:
        echo("Anybody on the network who has this URL can see the film and decide; http is not encrypted.", err=True)
    echo("Ctrl-C ends it; decisions are kept as they are taken.", err=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        echo("dub: the review has ended.", err=True)


@click.command(
    short_help="Make new takes of some shots.",
    epilog="""\b
Examples:
  dub rerun out --shots fr/shot_0004 --generator wav2lip
  dub rerun out --shots fr/4 --shots ja/4 --generator '{name: rewrite, jump_cost: 1.0}'
  dub rerun out --shots review                 all that need review, by the manifest's generator
  dub rerun out --shots rejected --choose      and deliver the new takes from now on

New takes lie beside the old; `dub review` compares them. Without --choose nothing that is delivered changes.""",
)
@click.argument("out", type=PLACE)
@click.option(
    "--shots", "names", multiple=True, required=True, metavar="SHOT",
    help="shot_0004 or 4 (in every dub), fr/4, reel/fr/4, `review`, `rejected`; more than once for more.",
)  # fmt: skip
@click.option(
    "--generator", metavar="NAME|YAML", help="A name, or a mapping as in a manifest; default: the manifest's."
)
@click.option("--choose", is_flag=True, help="Deliver the new takes from now on (the next `dub export` or `dub run`).")
@click.option(
    "--engine",
    type=click.Choice(["ray", "local"]),
    help="ray: all cores; local: one process. Default: local for a few shots.",
)
@reviewer_option
@log_format_option
@json_option
def rerun(
    out: Path | Uri, names: tuple[str, ...], generator: str | None, choose: bool, engine: str | None,
    reviewer: str | None, log_format: str, as_json: bool,
) -> None:  # fmt: skip
    """Render some shots of a finished run again, with another generator or other settings, as new takes."""
    from dubbing.api.reviewed import rerun as render
    from dubbing.cli import show

    named = _generator(generator)
    with _progress(log_format) as part:
        made = render(out, names, generator=named, choose=choose, engine=engine, reviewer=reviewer, on_part=part)
    if as_json:
        show.as_json({"made": [_plain(m) for m in made], "chosen": choose})
    else:
        echo(_told(made, choose, out))
    raise SystemExit(1 if any(m.error for m in made) else 0)


def _generator(text: str | None) -> dict[str, Any] | None:
    """A name, or a mapping in YAML. Raises InputError."""
    if text is None:
        return None
    from dubbing.api.reviewed import generator_of

    try:
        value = generator_of(text)
    except InputError:
        value = None
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value
    shown = text if len(text) <= 80 else text[:77] + "..."
    raise InputError(f"--generator is a name, or a mapping like '{{name: rewrite, jump_cost: 1}}'; found {shown!r}.")


@contextmanager
def _progress(log_format: str) -> Iterator[Any]:
    """Shows how much is done: a bar on a terminal, JSON lines where asked, else a line now and then."""
    from dubbing.cli.watch import LINE_S, doing

    if log_format == "json":

        def line(part: float, stage: str) -> None:
            echo(json.dumps({"event": "progress", "part": round(part, 3), "text": doing(stage)}), err=True)

        yield line
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            task = progress.add_task("starting", total=1.0)
            yield lambda part, stage: progress.update(task, completed=part, description=doing(stage) or "starting")
    else:
        next_s, before = 0.0, ""

        def now_and_then(part: float, stage: str) -> None:
            """At each new kind of work, and every few seconds; not before what was asked for is found to be right."""
            nonlocal next_s, before
            now = time.monotonic()
            if stage and (stage != before or now >= next_s):
                next_s, before = now + LINE_S, stage
                echo(f"{part:3.0%}  {doing(stage)}", err=True)

        yield now_and_then


def _plain(one: Rerun) -> dict[str, Any]:
    key = [one.title, one.language, one.shot]
    return {
        "key": key,
        "take": one.take.id if one.take else None,
        "known": one.known,
        "error": one.error,
        "ended": one.ended,
    }


def _told(made: Sequence[Rerun], chosen: bool, out: Path | Uri) -> str:
    """The new takes beside those there were."""
    from dubbing.cli.show import number, table

    rows = []
    for one in made:
        old, new = one.before, one.take
        what = one.error or ("the same take as there was" if one.known else "")
        if one.ended:
            what = f"{what}, " * bool(what) + f"takes the place of: {one.ended}"
        both = [number(t.scores.get(c)) if t else None for c in ("lse_d", "lse_c") for t in (old, new)]
        rows.append([f"{one.title}/{one.language}/{one.shot}", old and old.id, new and new.id, *both, what])
    text = table(["shot", "take", "new take", "LSE-D", "new", "LSE-C", "new", ""], rows)
    following = "`dub export` masters them" if chosen else "`dub review` compares them; --choose delivers them"
    return f"{text}\n\n{following}: dub {'export' if chosen else 'review'} {out}"
