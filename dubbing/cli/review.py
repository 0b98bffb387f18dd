"""`dub review` and `dub rerun`: thin; `dubbing.review` does the work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import json_option, log_format_option, me, reviewer_option
from dubbing.errors import InputError

if TYPE_CHECKING:
    from dubbing.review.rerun import Made

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
comment, each by one key (? lists them). Decisions are kept in OUT/review/decisions.jsonl, as they are taken;
`dub export OUT` masters what they changed. Ctrl-C ends it.""",
)
@click.argument("out", type=click.Path(), required=False, default="out")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; default: any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="On which address; others than loopback are open to the network.",
)
@click.option(
    "--cache-gb", type=click.FloatRange(min=0.05), default=4.0, show_default=True, help="Most disk for proxies."
)
def review(out: str, port: int, host: str, cache_gb: float) -> None:
    """Serve the review page of a finished run. OUT is a run's --out (default: out)."""
    import socket

    import uvicorn

    from dubbing.review.background_jobs import BackgroundJobs
    from dubbing.review.library import Library
    from dubbing.review.proxy import Proxies
    from dubbing.review.safety import is_loopback, new_token
    from dubbing.review.server import Desk, create_app

    library = Library(out)
    if not library.rows():
        raise InputError(f"No dub in {out!r} is finished; `dub run` its manifest to the end, then review.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as e:
        raise InputError(
            f"{host}:{port} cannot be listened on ({e.strerror or e}); choose another --port, or leave it out."
        ) from e
    port, token = listening.getsockname()[1], new_token()
    proxies = Proxies(library, library.out / "review" / "proxies", int(cache_gb * GIB))
    app = create_app(Desk(library, proxies, BackgroundJobs(library.out)), token, host, port)
    shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
    click.echo(f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}")
    if not is_loopback(host):
        click.echo(
            "Anybody on the network who has this URL can see the film and decide; http is not encrypted.", err=True
        )
    click.echo("Ctrl-C ends it; decisions are kept as they are taken.", err=True)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, server_header=False)
    )
    try:
        with listening:
            server.run(sockets=[listening])
    except KeyboardInterrupt:
        click.echo("dub: the review has ended.", err=True)


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
@click.argument("out", type=click.Path())
@click.option(
    "--shots", "names", multiple=True, required=True, metavar="SHOT",
    help="shot_0004 or 4 (in every dub), fr/4, reel/fr/4, `review`, `rejected`; more than once for more.",
)  # fmt: skip
@click.option(
    "--generator", metavar="NAME|YAML", help="A name, or a mapping as in a manifest; default: the manifest's."
)
@click.option("--choose", is_flag=True, help="Deliver the new takes from now on (the next `dub export` or `dub run`).")
@click.option("--engine", type=click.Choice(["ray", "local"]), help="Default: one process for a few shots, else Ray.")
@reviewer_option
@log_format_option
@json_option
def rerun(
    out: str, names: tuple[str, ...], generator: str | None, choose: bool, engine: str | None, reviewer: str | None,
    log_format: str, as_json: bool,
) -> None:  # fmt: skip
    """Render some shots of a finished run again, with another generator or other settings, as new takes."""
    from dataclasses import asdict

    from dubbing.cli import show
    from dubbing.review.library import Library
    from dubbing.review.rerun import rerun as render
    from dubbing.review.rerun import shots_named

    library, who = Library(out), me(reviewer)
    keys = shots_named(library, names)
    named = _generator(generator)
    choice = library.choice(named) if named else library.manifest.generator
    before = {key: next((t.id for t in library.find(*key).takes if t.current), None) for key in keys}
    with _progress(log_format) as part:
        made = render(library, keys, choice, who, part, engine)
    if choose:
        for one in made:
            if one.take is not None:
                take = library.find(*one.key).take(one.take)
                library.log.append(one.key, "choose", who, take=take.id, generator=take.generator)
    if as_json:
        show.as_json({"made": [asdict(m) for m in made], "chosen": choose})
    else:
        click.echo(_told(library, made, before, choose, out))
    raise SystemExit(1 if any(m.error for m in made) else 0)


def _generator(text: str | None) -> dict[str, Any] | None:
    """A name, or a mapping in YAML. Raises InputError."""
    if text is None:
        return None
    import yaml

    try:
        value = json.loads(text)  # YAML takes 1e-05, which JSON writes, for a text
    except ValueError:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value
    raise InputError(f"--generator is a name, or a mapping like '{{name: rewrite, jump_cost: 1}}'; found {text!r}.")


@contextmanager
def _progress(log_format: str) -> Iterator[Any]:
    """Shows how much is done: a bar on a terminal, JSON lines where asked, else a line now and then."""
    if log_format == "json":

        def line(part: float, stage: str) -> None:
            click.echo(json.dumps({"event": "progress", "part": round(part, 3), "text": stage}), err=True)

        yield line
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            task = progress.add_task("starting", total=1.0)
            yield lambda part, stage: progress.update(task, completed=part, description=stage or "starting")
    else:
        click.echo("rendering ...", err=True)
        yield lambda part, stage: None


def _told(library: Any, made: list[Made], before: dict[Any, str | None], chosen: bool, out: str) -> str:
    """The new takes beside those there were."""
    from dubbing.cli.show import number, table

    rows = []
    for one in made:
        takes = {t.id: t for t in library.find(*one.key).takes}
        old, new = takes.get(before[one.key] or ""), takes.get(one.take or "")
        what = one.error or ("the same take as there was" if one.known else "")
        both = [number(t.scores.get(c)) if t else None for c in ("lse_d", "lse_c") for t in (old, new)]
        rows.append(["/".join(one.key), old and old.id, new and new.id, *both, what])
    text = table(["shot", "take", "new take", "LSE-D", "new", "LSE-C", "new", ""], rows)
    following = "`dub export` masters them" if chosen else "`dub review` compares them; --choose delivers them"
    return f"{text}\n\n{following}: dub {'export' if chosen else 'review'} {out}"
