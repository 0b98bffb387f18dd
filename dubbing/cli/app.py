"""The commands of `dub`. Each is thin: it reads arguments, calls `dubbing.api`, and prints.

Results go to stdout, progress and messages to stderr. Errors end with one sentence and the exit
codes of docs/architecture.md; DUB_DEBUG=1 adds the traceback and writes a report to send.

Over 400 lines: the commands that most people use, each with the examples of its help.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dubbing import __version__
from dubbing.cli.cast import cast
from dubbing.cli.cluster import address_option, cancel, is_job, logs, show_jobs, submit
from dubbing.cli.dataset import dataset
from dubbing.cli.evaluate import evaluate
from dubbing.cli.export import export
from dubbing.cli.formats import formats
from dubbing.cli.listen import listen, listened_told, listening
from dubbing.cli.manifests import init, schema, sounds_argument
from dubbing.cli.models import models
from dubbing.cli.options import (
    FILE,
    PLACE,
    Finite,
    changed,
    config_option,
    engine_option,
    json_option,
    narrowed,
    out_option,
    parts_options,
    run_options,
)
from dubbing.cli.report import report
from dubbing.cli.review import rerun, review
from dubbing.cli.say import echo
from dubbing.cli.score import score
from dubbing.cli.talk import talk
from dubbing.cli.train import train
from dubbing.cli.verify import verify
from dubbing.cli.voices import voices
from dubbing.errors import DubError, InputError, ManifestError
from dubbing.remote import Uri

if TYPE_CHECKING:
    from dubbing import Config, Manifest, Report

__all__ = ["dub", "main"]


INTERRUPTED = 130


class _Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP during a command."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  dub demo                          make a small film, dub it into Hindi and Tamil, and look
  dub check reel.yaml               is everything there? what will happen?
  dub init reel.mp4 reel.fr.flac    write a manifest to start from
  dub talk anna.png --text "Good morning." --language en --out talk.mp4
  dub run reel.yaml --out out       do it; run it again after any interruption
  dub plan reel.yaml                how long will it take?
  dub status out                    how far it is, how well the lips fit, which shots to look at

\b
A manifest:
  version: 1
  titles:
    - id: reel
      video: reel.mp4
      dubs:
        - {language: fr, audio: reel.fr.flac}

\b
Exit codes: 0 all well; 1 some shots failed, the rest is delivered; 2 the manifest, an argument or
an input is wrong; 3 finished, some shots need review; 4 the workers did not start, or 130 interrupted (the same
command goes on).
""",
)
@click.version_option(__version__, prog_name="dub")
def dub() -> None:
    """Re-render the actors' mouths of a locked picture to fit its dubbed sound, shot by shot."""


@dub.command(
    short_help="Look at everything a run will need.",
    epilog="""\b
Examples:
  dub check reel.yaml
  dub check reel.yaml --deep        decode every picture too: finds damage inside the files
  dub check reel.yaml --listen      is each dub in the language of its tag? what is said?""",
)
@click.argument("manifest", type=PLACE)
@out_option("out")
@config_option
@click.option(
    "--deep", is_flag=True, help="Decode every picture, which takes a while: exact lengths, damage by timecode."
)
@click.option(
    "--listen", "words", is_flag=True, help="Hear each dub's language and words too, as `dub listen` does, into --out."
)
@parts_options
@json_option
def check(
    manifest: Path | Uri, out: Path | Uri, config_file: Path | Uri | None, deep: bool, words: bool, as_json: bool,
    **parts: Any,
) -> None:  # fmt: skip
    """Look at everything a run will need, and say what it will do, without doing it."""
    job, settings = _read(manifest, config_file)  # before what takes seconds to load
    job = narrowed(job, **parts)
    from dubbing.api import jobs
    from dubbing.api.listening import listen as hear
    from dubbing.cli import show, tell

    with tell.speaking(sys.stderr) as speech:
        found = jobs.check(job, out, config=settings, listen=not deep, on_speech=speech)
    if deep and found.titles:
        with tell.counting(sys.stderr, sum(t.frames for t in found.titles)) as count:
            found = jobs.check(job, out, config=settings, deep=True, on_frames=count)
    heard = None
    if words and not found.problems:
        with listening(job) as watch:
            heard = hear(job, out, config=settings, engine="local", on_event=watch)
        found.problems += heard.problems
    if as_json:
        show.as_json(tell.check_plain(found) | ({"heard": heard.to_dict()} if heard else {}))
    elif found.titles:
        echo(tell.check_told(found, out))
    if heard and not as_json:
        echo("\n" + listened_told(heard))
    for problem in found.problems:
        _complain(problem)
    if found.problems:
        if len(found.problems) > 1:
            _complain(RuntimeError(f"`dub run` would refuse this, for {len(found.problems)} reasons."))
        raise SystemExit(InputError.exit_code)


@dub.command(
    short_help="Say how long a job will take, and what is done.",
    epilog="""\b
Examples:
  dub plan reel.yaml                    from what earlier runs cost on this machine
  dub plan reel.yaml --trial            from a few seconds of the film, done now
  dub plan reel.yaml --workers 64       how long with 64 at once
  dub plan reel.yaml --json | jq .estimate.core_hours

Finished runs leave what they cost, numbers only, in the user's cache folder; DUB_HISTORY names another file.""",
)
@click.argument("manifest", type=PLACE)
@out_option("out")
@engine_option
@config_option
@click.option("--workers", type=click.IntRange(min=1), help="Tasks at once; default: one per core.")
@click.option("--gpus", type=Finite(min=0), default=0.0, help="GPUs to reckon with; default: one, if any are needed.")
@click.option(
    "--trial", "try_it", is_flag=True, help="Measure: do nine seconds of the first title in a temporary folder."
)
@parts_options
@json_option
def plan(
    manifest: Path | Uri, out: Path | Uri, engine: str, config_file: Path | Uri | None, workers: int | None,
    gpus: float, try_it: bool, as_json: bool, **parts: Any,
) -> None:  # fmt: skip
    """Say how many hours a job will take: stage by stage what is to do, what is done, and the time it costs."""
    job, settings = _read(manifest, config_file)  # before what takes seconds to load
    job = narrowed(job, **parts)
    from dubbing.api import jobs
    from dubbing.cli import show, tell

    with tell.waiting(sys.stderr, "trying nine seconds of the film" if try_it else None):
        found = jobs.plan(job, out, config=settings, engine=engine, workers=workers, gpus=gpus, trial=try_it)
    if as_json:
        show.as_json({**tell.plan_plain(found), "estimate": tell.estimate_plain(found.estimate)})
    else:
        echo(tell.plan_told(found))


@dub.command(
    short_help="Do the job: masters and tables of shots.",
    epilog="""\b
Examples:
  dub run reel.yaml
  dub run reel.yaml --out /films/out --workers 8
  dub run s3://films/reel.yaml --out s3://films/out
  dub run reel.yaml --preview       a few seconds of the worst and best shots, beside the original
  dub run reel.yaml --draft         quick and coarse, to look at timing; named reel.fr.draft.mp4
  dub run reel.yaml --only 01:02:03:00-01:02:10:00 --shots 2,5-7      these parts alone, in whole masters
  dub run reel.yaml --from out/one  learn how mouths move from another episode's run too
  dub run reel.yaml --log-format json 2> events.jsonl
  dub run -- -odd-name.yaml         a name that begins with a dash comes after --

Finished shots are kept: after an interruption the same command goes on where it was.""",
)
@click.argument("manifest", type=PLACE)
@run_options
def run(manifest: Path | Uri, config_file: Path | Uri | None, **how: Any) -> None:
    """Do the job: a master and a table of shots for every dub in the manifest."""
    _do(*_read(manifest, config_file), **how)


@dub.command(
    short_help="Dub one film, without a manifest.",
    epilog="""\b
Examples:
  dub quick reel.mp4 reel.fr.flac
  dub quick reel.mp4 fr=mix_final.wav de=german.wav --out out
  dub quick reel.mp4 fr.wav --draft --no-score      the quickest look at timing and choice of shots

The same as `dub run` of the manifest that `dub init` writes of these files. It is kept in OUT/run.json, so that
`dub status`, `dub review` and `dub export` go on from there.""",
)
@click.argument("film", type=FILE)
@sounds_argument(required=True)
@run_options
def quick(film: Path, sounds: tuple[str, ...], config_file: Path | Uri | None, **how: Any) -> None:
    """Dub FILM with each SOUND. Its language is the end of its name (reel.fr.flac), or said before it (fr=x.wav)."""
    from dubbing import config
    from dubbing.api import starting

    _do(starting.quick(film, sounds), config.load(config_file), **how)


@dub.command(
    short_help="Say how far a run is, and what fits worst.",
    epilog="""\b
Examples:
  dub status                        of ./out
  dub status /films/out --json | jq .state
  dub status s3://films/out
  dub status out --verify           looks at every byte; exit code 1 where something is damaged
  dub status --address http://head:8265                          the jobs on a cluster
  dub status dub-reel-0123456789ab --address http://head:8265    one of them""",
)
@click.argument("out", type=PLACE, required=False, metavar="[OUT|ID]")
@address_option
@click.option("--verify", is_flag=True, help="Look at every byte of what is done, and name what is damaged.")
@json_option
def status(out: Path | Uri | None, address: str | None, verify: bool, as_json: bool) -> None:
    """Say how far a run is or how it ended, and which shots fit worst. OUT is a run's --out (default: out)."""
    if address is not None or (out is not None and is_job(str(out))):
        return show_jobs(address, None if out is None else str(out), as_json)
    from dubbing.api.results import open_results
    from dubbing.cli import show
    from dubbing.cli.status import told_status

    results = open_results(out or Path("out"))
    found, damaged = results.to_dict(), results.verify() if verify else ()
    if as_json:
        show.as_json({**found, "damaged": list(damaged)} if verify else found)
    else:
        echo(told_status(found) + ("\n\nEverything is as it was written." if verify and not damaged else ""))
    for problem in damaged:
        _complain(problem)
    if damaged:
        raise SystemExit(DubError.exit_code)


@dub.command(
    short_help="Make a small film, and dub it.",
    epilog="""\b
Examples:
  dub demo
  dub demo --out /tmp/demo --engine local""",
)
@out_option("demo-out", FILE)
@engine_option
@json_option
def demo(out: Path, engine: str, as_json: bool) -> None:
    """Make a small film, dub it into Hindi and Tamil, and say what to look at. Needs the extra `demo`."""
    from dubbing.cli import show, tell
    from dubbing.demo import make_demo

    manifest = make_demo(out / "film", quiet=not sys.stderr.isatty())
    job, settings = _read(manifest, None)
    report, said = _run(job, settings, out / "out", engine)
    if as_json:
        show.as_json(report.run_json)
    else:
        echo(tell.run_told(report, out / "out", said))
        echo("\n" + tell.demo_told(report, job.titles[0].video))
    raise SystemExit(report.exit_code)


for _command in (
    init, schema, listen, review, rerun, export, report, verify, formats, score, evaluate, train, dataset, models,
    submit, logs, cancel, cast, voices, talk,
):  # fmt: skip
    dub.add_command(_command)


def _read(manifest: Path | Uri, config_file: Path | Uri | None) -> tuple[Manifest, Config]:
    """Manifest and settings. Who gives a film in place of a manifest is shown one to start from."""
    from dubbing import config
    from dubbing import manifest as manifests

    try:
        job = manifests.load(manifest)
    except ManifestError:
        from dubbing.api import starting

        if isinstance(manifest, Path) and (made := starting.first_of_film(manifest)):
            echo(made.text, nl=False)
            raise ManifestError(
                f"{str(manifest)!r} is a film, and this takes a manifest: one to start from is above; `dub init` "
                "writes it into a file, `dub quick FILM SOUND` goes without."
            ) from None
        raise
    return job, config.load(config_file)


def _do(
    job: Manifest, settings: Config, out: Path | Uri, engine: str, workers: int | None, draft: bool, no_score: bool,
    verify: bool, preview: bool, log_format: str, as_json: bool, **parts: Any,
) -> NoReturn:  # fmt: skip
    """A run as `dub run` and `dub quick` have it: options over settings, what came of it, and its exit code."""
    from dubbing.cli import show, tell

    job, settings = narrowed(job, **parts), changed(settings, workers, draft, no_score)
    if preview:
        from dubbing.api import previewing
        from dubbing.cli.preview import ended, told
        from dubbing.cli.watch import watched

        with watched(sys.stderr, log_format, masters=False) as shown:
            made = previewing.preview(
                job, out, config=settings, engine=engine, on_event=shown.on_event, on_check=shown.begin
            )
        if as_json:
            show.as_json({"schema": "dub.preview.1", **asdict(made)})
        else:
            echo(told(made))
        raise SystemExit(ended(made))
    report, said = _run(job, settings, out, engine, log_format, verify)
    if as_json:
        show.as_json(report.run_json)
    else:
        echo(tell.run_told(report, out, said))
    raise SystemExit(report.exit_code)


def _run(
    job: Manifest, settings: Config, out: Path | Uri, engine: str, log_format: str = "text", verify: bool = False
) -> tuple[Report, list[str]]:  # fmt: skip
    """A run watched on stderr, and the notes that were said at its start."""
    from dubbing.api import jobs
    from dubbing.cli.watch import watched

    with watched(sys.stderr, log_format) as shown:
        return jobs.run(
            job, out, config=settings, engine=engine, on_event=shown.on_event, on_check=shown.begin, verify=verify,
            on_speech=shown.on_speech,
        ), shown.said  # fmt: skip


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as SIGINT does: at once, with everything finished kept."""

    def stop(*_: object) -> NoReturn:
        raise _Interrupted

    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except SystemExit as e:
        if e.code == signal.SIGTERM:  # Ray puts its own handler in place of ours
            raise _Interrupted from e
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _complain(error: BaseException | str) -> None:
    echo("dub: " + str(error).replace("\n", " "), err=True)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    raise SystemExit(_code(args))


def _code(args: Sequence[str] | None) -> int:
    debug = os.environ.get("DUB_DEBUG", "") not in ("", "0")
    try:
        with _stoppable():
            value = dub.main(args, prog_name="dub", standalone_mode=False)
        sys.stdout.flush()
        return value if isinstance(value, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        return InputError.exit_code
    except click.UsageError as e:
        path = e.ctx.command_path if e.ctx else "dub"
        echo(f"dub: {e.format_message()} See `{path} --help`.", err=True)
        return InputError.exit_code
    except click.ClickException as e:
        _complain(e)
        return InputError.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("dub: interrupted; run the same command again to go on.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DubError as e:
        if debug:
            traceback.print_exc()
            _report(e, args)
        _complain(e)
        return e.exit_code
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 1
    except Exception as e:
        from dubbing.cli import defects

        if debug:
            traceback.print_exc()
            _report(e, args)
        hint = "" if debug else " DUB_DEBUG=1 writes a report that you can send."
        _complain(RuntimeError(f"{defects.sentence(e)}; this is a defect of dub.{hint}"))
        return 1


def _report(error: BaseException, args: Sequence[str] | None) -> None:
    """Write the report of DUB_DEBUG, and say where."""
    from dubbing.cli import defects

    file = defects.write(error, args)
    if file:
        echo(f"dub: the report is {file}: versions, where it happened, names of files, no media.", err=True)
    else:
        echo("dub: the report could be written neither here nor into the folder for temporary files.", err=True)
