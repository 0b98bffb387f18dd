"""`dub submit`, `dub logs`, `dub cancel`, and `dub status --address`: a run on a Ray cluster, from here.

Thin: `dubbing.cluster` talks to the cluster, this asks, shows and ends with the run's own exit code.
Ctrl-C never stops a job: it says how to come back.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dubbing.cli.options import config_file_option, json_option
from dubbing.cli.say import echo, safe
from dubbing.errors import ClusterError, InputError

if TYPE_CHECKING:
    from dubbing.cluster.jobs import Cluster, ClusterJob

__all__ = ["address_option", "advice", "cancel", "followed", "is_job", "logs", "newest_figures", "show_jobs", "submit"]

INTERRUPTED = 130
_FIGURES = re.compile(r"\s*(\d{1,3})\s?%\s")
_RAYS_OWN = re.compile(r"Running entrypoint for job |\S+ \S+\s+INFO job_manager\.py")

address_option = click.option(
    "--address", metavar="URL", help="The cluster's dashboard, http://HOST:8265; default: RAY_API_SERVER_ADDRESS."
)
_out_option = click.option(
    "--out", default="out", show_default=True, metavar="DIR", help="The folder to write to, as the cluster sees it."
)


@click.command(
    short_help="Hand a run to a Ray cluster.",
    epilog="""\b
Examples:
  dub submit reel.yaml --address http://head:8265 --out /shared/out
  dub submit reel.yaml --address http://head:8265 --out /shared/out --wait
  dub submit s3://films/reel.yaml --out s3://films/out     the address from RAY_API_SERVER_ADDRESS

The same manifest, settings and --out are the same job: a second submit attaches to it while it is under
way, tells how it ended once it has ended well, and starts it again after a failure; finished shots are
kept. The token comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.""",
)
@click.argument("manifest")
@address_option
@_out_option
@config_file_option
@click.option("--workers", type=click.IntRange(min=1), help="Tasks at once; default: one per core of the cluster.")
@click.option("--with-code", is_flag=True, help="Send this package's source too, for a cluster whose image lacks it.")
@click.option("--again", is_flag=True, help="Start it anew even if it has ended well (the media have changed).")
@click.option("--wait", is_flag=True, help="Show its progress, and end with its exit code.")
@json_option
def submit(
    manifest: str, address: str | None, out: str, config_file: Path | None, workers: int | None,
    with_code: bool, again: bool, wait: bool, as_json: bool,
) -> None:  # fmt: skip
    """Hand a run to a Ray cluster, or come back to it. Paths in the manifest must mean the same there."""
    from dubbing.cluster.submission import prepare

    submission = prepare(manifest, config_file, out, workers)
    for path in submission.absent:
        echo(f"{path} is not on this machine; the cluster must find it under this very name.", err=True)
    cluster = _cluster(address)
    job, started = cluster.submit(submission, with_code=with_code, again=again)
    how = "submitted" if started else "is under way already" if job.under_way else "has ended already"
    echo(f"{job.id} {how} at {cluster.address}", err=True)
    if wait and job.under_way:
        with _leaving(cluster, job):
            job = followed(cluster, job)
    _tell(cluster, job, as_json, started=started)
    raise SystemExit(job.exit_status or 0)


@click.command(
    short_help="Print what a job on a cluster printed.",
    epilog="""\b
Examples:
  dub logs --address http://head:8265                      of the newest job
  dub logs dub-reel-0123456789ab --follow
  dub logs reel.yaml --out /shared/out                     of the job that was made from it""",
)
@click.argument("job", required=False, metavar="[ID|MANIFEST]")
@address_option
@_out_option
@config_file_option
@click.option("--follow", is_flag=True, help="Go on until the job has ended, and end with its exit code.")
def logs(job: str | None, address: str | None, out: str, config_file: Path | None, follow: bool) -> None:
    """Print what a job on a cluster printed: progress, failures, and the result."""
    cluster = _cluster(address)
    found = _find(cluster, job, out, config_file)
    if not follow:
        echo(cluster.log(found.id), nl=False)
        return
    with _leaving(cluster, found):
        for now, text in cluster.follow(found.id):
            echo(text, nl=False)
            found = now or found
    raise SystemExit(found.exit_status or 0)


@click.command(
    short_help="Stop a job on a cluster.",
    epilog="""\b
Examples:
  dub cancel dub-reel-0123456789ab --address http://head:8265

Finished shots are kept: the same `dub submit` goes on where it was.""",
)
@click.argument("job", metavar="ID|MANIFEST")
@address_option
@_out_option
@config_file_option
@json_option
def cancel(job: str, address: str | None, out: str, config_file: Path | None, as_json: bool) -> None:
    """Stop a job on a cluster; its finished shots are kept."""
    cluster = _cluster(address)
    found = _find(cluster, job, out, config_file)
    asked = found.under_way and cluster.stop(found.id)
    until = time.monotonic() + 30
    while (found := cluster.job(found.id)).under_way and time.monotonic() < until:
        time.sleep(0.3)
    if not asked:
        echo(f"{found.id} had ended already", err=True)
    elif found.under_way:
        echo(f"{found.id} was asked to stop, and has not stopped yet", err=True)
    _tell(cluster, found, as_json)


def is_job(text: str) -> bool:
    """Whether `dub status TEXT` means a job of a cluster rather than a folder."""
    if not text.startswith("dub-"):  # told without loading what knows clusters
        return False
    from dubbing.cluster.submission import is_job_id

    return is_job_id(text) and not Path(text).exists()


def show_jobs(address: str | None, job: str | None, as_json: bool) -> None:
    """`dub status --address URL [ID]`: one job, or all that dub made."""
    from dubbing.cli import show

    cluster = _cluster(address)
    if job is not None:
        _tell(cluster, _find(cluster, job, "out", None), as_json)
        return
    found = [_plain(cluster, j) for j in cluster.jobs()]
    if as_json:
        show.as_json({"address": cluster.address, "jobs": found})
    elif found:
        rows = [(j["id"], _state(j), _span(j["age_s"]), j["progress"], j["out"]) for j in found]
        echo(show.table(("job", "state", "age", "progress", "out"), rows))
    else:
        echo(f"no jobs of dub at {cluster.address}")


def _cluster(address: str | None) -> Cluster:
    from dubbing.cluster.access import address_of, token_of

    where, token = address_of(address, os.environ), token_of(os.environ)
    from dubbing.cluster.jobs import Cluster

    return Cluster(where, token)


def _find(cluster: Cluster, word: str | None, out: str, config_file: Path | None) -> ClusterJob:
    """The job that a person means: by id, by the manifest it was made from, or the newest."""
    from dubbing.cluster.submission import is_job_id, prepare

    if word is not None and is_job_id(word):
        return cluster.job(word)
    if word is None:
        jobs = cluster.jobs()
        if not jobs:
            raise ClusterError(f"There are no jobs of dub at {cluster.address}; `dub submit` makes one.")
        return jobs[-1]
    if not word.endswith((".yaml", ".yml")) and not Path(word).exists():
        raise ClusterError(
            f"{word!r} is neither the id of a job (`dub status --address {cluster.address}` lists them) nor a manifest."
        )
    jobs = cluster.attempts(prepare(word, config_file, out).name)
    if not jobs:
        raise ClusterError(
            f"No job at {cluster.address} was made from {word!r} with these settings and --out {out}; "
            "`dub status --address ...` lists those there are."
        )
    return jobs[-1]


@contextmanager
def _leaving(cluster: Cluster, job: ClusterJob) -> Iterator[None]:
    """Ctrl-C leaves the job running, and says how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        at = f"{job.id} --address {shlex.quote(cluster.address)}"
        echo(
            f"\ndub: {job.id} goes on without you. `dub status {at}` says how far it is, `dub logs {at} --follow` "
            f"shows what it prints, the same `dub submit ... --wait` comes back to it, `dub cancel {at}` stops it.",
            err=True,
        )
        raise SystemExit(INTERRUPTED) from None


def followed(cluster: Cluster, job: ClusterJob) -> ClusterJob:
    """Show a job's lines and figures on stderr until it has ended."""
    with _shown() as (say, draw):
        waiting = ""
        for now, text in cluster.follow(job.id):
            if now is None:
                note = "no answer from the cluster; asking again"
            else:
                job, note = now, "" if now.state != "pending" else f"waiting for the cluster: {now.message}"
            if note and note != waiting:
                say(note)
            waiting = note
            for line in text.splitlines():
                if _FIGURES.match(line):
                    draw(line)
                elif not _RAYS_OWN.match(line):
                    say(line)
    return job


@contextmanager
def _shown() -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """(say a line, draw the newest figures): a bar on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        say = lambda line: echo(line, err=True)  # noqa: E731
        yield say, say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=sys.stderr)
    with Progress(BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), console=console,
                  transient=True) as bar:  # fmt: skip
        task = bar.add_task("", total=100)

        def draw(line: str) -> None:
            figures = _FIGURES.match(line)
            bar.update(task, completed=int(figures[1]) if figures else 0, description=safe(line.strip()))

        def tell(line: str) -> None:
            console.print(safe(line), markup=False, highlight=False, soft_wrap=True)

        yield tell, draw


def _tell(cluster: Cluster, job: ClusterJob, as_json: bool, **more: Any) -> None:
    from dubbing.cli import show

    plain = _plain(cluster, job) | more
    if as_json:
        show.as_json({"address": cluster.address, **plain})
        return
    took = f"after {_span(plain['seconds'])}" if plain["seconds"] is not None else ""
    since = f"for {_span(plain['age_s'])}" if plain["age_s"] is not None and job.under_way else ""
    parts = [f"{job.id}: {_state(plain)}", took or since]
    echo(", ".join(p for p in (*parts, f"out: {job.out}") if p))
    if job.under_way:
        echo(plain["progress"] or job.message)
    elif not job.ended_well:
        echo(f"{plain['advice']}\n`dub logs {job.id} --address {shlex.quote(cluster.address)}` has all of it.")


def _plain(cluster: Cluster, job: ClusterJob) -> dict[str, Any]:
    """One job for machines. age_s: since it was submitted; seconds: how long it took, once it has ended."""
    ended = job.ended_s if job.ended_s and not job.under_way else None
    progress = newest_figures(cluster, job) if job.state == "running" else None
    return {
        "id": job.id,
        "state": job.state,
        "exit_status": job.exit_status,
        "age_s": round(time.time() - job.started_s, 1) if job.started_s else None,
        "seconds": round(ended - job.started_s, 1) if ended and job.started_s else None,
        "progress": progress,
        "manifest": job.manifest,
        "out": job.out,
        "message": job.message,
        "advice": advice(cluster, job) if job.exit_status not in (None, 0, 3) else None,
    }


def newest_figures(cluster: Cluster, job: ClusterJob) -> str | None:
    """The newest figures: from the output folder where this machine sees it, else from the log."""
    from dubbing.api.progress import Figures, read_figures
    from dubbing.cli.watch import format_text

    with suppress(KeyError, TypeError, InputError):
        at = read_figures(job.out)
        if at is not None and time.time() - at["at"] < 60:
            return format_text(Figures(**{name: at[name] for name in Figures.__dataclass_fields__ if name in at}))
    with suppress(ClusterError):
        return next((x.strip() for x in reversed(cluster.log(job.id).splitlines()) if _FIGURES.match(x)), None)
    return None


def advice(cluster: Cluster, job: ClusterJob) -> str:
    """What to do about a job that did not end well."""
    if job.state == "stopped":
        return "It was stopped; the same `dub submit` goes on where it was."
    lines: list[str] = []
    with suppress(ClusterError):
        lines = [x.strip() for x in cluster.log(job.id).splitlines() if x.strip() and not _RAYS_OWN.match(x)]
    if any(x.endswith("No module named dubbing") for x in lines):
        return "The cluster has no dubbing; use an image that has, or submit with --with-code."
    if any(re.search(r"python: (command )?not found", x) for x in lines):
        return "The cluster's nodes have no `python` on their PATH."
    said = next((x for x in reversed(lines) if x.startswith("dub: ")), None)
    return said or f"{job.message or 'It failed'}; its last line is: {lines[-1] if lines else '(none)'}"


def _state(plain: dict[str, Any]) -> str:
    """`finished (exit status 3: some shots need review)`."""
    meaning = {3: "some shots need review"}
    status = plain["exit_status"]
    if plain["state"] == "stopped" or not status:
        return str(plain["state"])
    return f"{plain['state']} (exit status {status}{f': {meaning[status]}' if status in meaning else ''})"


def _span(seconds: float | None) -> str | None:
    """`1:20`, `2:01:20`."""
    from dubbing.cli.watch import clock_time

    return None if seconds is None else clock_time(max(0.0, seconds))
