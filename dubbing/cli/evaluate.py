"""`dub eval`: how good the rendered mouths are, on clips with their own sound. Thin: `dubbing.evaluate` measures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from dubbing.cli.options import FILE, config_file_option, json_option
from dubbing.cli.say import echo, echo_on, safe
from dubbing.errors import DubError, InputError

__all__ = ["evaluate"]

TABLE, PAGE = "eval.parquet", "eval.html"
_COLUMNS = (("lse_d", 3), ("lse_c", 3), ("offset_frames", 0), ("csim", 3))


@click.command(
    "eval",
    short_help="Measure how good the rendered mouths are.",
    epilog="""\b
Examples:
  dub eval clip.mp4
  dub eval clips/ --out eval                  every clip of a folder; run again, it goes on
  dub eval clips/ --only 1,rendering          some of the measures, by number or name
  dub eval clips/ --dub-sound fr=fr.wav --dub-sound ja=ja.wav
  dub eval clips/ --generator '{name: wav2lip, model: wav2lip_gan}'
  dub eval clips/ --generator rewrite --generator '{name: lipgan, model: /me/lipgan.pth}'     side by side
  dub eval voxceleb/ --latex > table.tex      means and deviations per speaker, for a paper: one folder each
  dub eval clips/ --csv > speakers.csv
  dub eval hdtf/ --protocol hdtf --generator musetalk --out hdtf-musetalk     as published tables are made
  dub eval mvlrs_v1/ --protocol lrs2 --pairs lrs2.txt --generator wav2lip --out lrs2-wav2lip
  dub eval clips/ --json | jq '.summary[] | select(.name == "recovery")'

With --protocol it measures what published tables print: docs/published.md says what compares with whose.

Measures: 1 hearing, 2 rendering, 3 following, 4 steadiness, 5 seam, 6 silence, 7 sync, 8 published,
9 languages, 10 expert, 11 resynthesis, 12 identity. docs/eval.md says exactly what each is.""",
)
@click.argument("clips", nargs=-1, type=FILE, metavar="[CLIPS]...")
@click.option("--out", type=FILE, default="eval", show_default=True, metavar="DIR", help="The folder to write to.")
@click.option(
    "--generator", "generators", multiple=True, metavar="NAME",
    help="What renders the mouths: a name, or a mapping as in a manifest; repeatable.  [default: rewrite]",
)  # fmt: skip
@click.option("--only", metavar="1,2,..|NAMES", help="Some of the measures, by number or name.")
@click.option(
    "--dub-sound", "sounds", multiple=True, metavar="[LANG=]FILE",
    help="A sound to dub every clip with, repeatable; default: the next clip's own.",
)  # fmt: skip
@click.option(
    "--protocol", type=click.Choice(["hdtf", "lrs2"]),
    help="Instead of measures: LSE by SyncNet v2, FID and CSIM over a whole data set, whose folder CLIPS is.",
)  # fmt: skip
@click.option(
    "--pairs", type=FILE, metavar="FILE", help="Of a protocol: which sound drives which picture, a pair a line."
)
@click.option(
    "--driven", type=click.Choice(["own", "other"]),
    help="Of a protocol: by each film's own sound, or by another one's.  [default: hdtf own, lrs2 other]",
)  # fmt: skip
@click.option(
    "--crop", type=click.Choice(["face", "frame"]), default="face", show_default=True,
    help="Of a protocol: what FID sees.",
)  # fmt: skip
@config_file_option
@json_option
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Mean and sample standard deviation per generator and speaker as CSV on stdout. A speaker is the first folder "
    "below the one that all clips share; where they share one folder, each clip.",
)
@click.option("--latex", "as_latex", is_flag=True, help="The same as a LaTeX table (booktabs) on stdout.")
def evaluate(
    clips: tuple[Path, ...], out: Path, generators: tuple[str, ...], only: str | None, sounds: tuple[str, ...],
    protocol: str | None, pairs: Path | None, driven: str | None, crop: str, config_file: Path | None, as_json: bool,
    as_csv: bool, as_latex: bool,
) -> None:  # fmt: skip
    """Measure generators on clips of talking people. CLIPS are films, or folders of them;
    without any, the folder ../shared/media where it is there."""
    from dubbing import config
    from dubbing.cli import show
    from dubbing.evaluate import (
        Evaluation,
        Options,
        find_clips,
        measures_named,
        page,
        summary,
        voices_named,
        write_table,
    )  # fmt: skip
    from dubbing.evaluate.measurements import by_generator, side_by_side

    if as_json + as_csv + as_latex > 1:
        raise click.UsageError("--json, --csv and --latex exclude each other; give one.")
    if protocol is not None:
        if len(clips) != 1 or len(generators) > 1 or only or sounds or as_csv or as_latex:
            raise click.UsageError(
                "--protocol takes one folder, one --generator, --pairs, --driven, --crop and --json, and nothing else."
            )
        return _by_protocol(protocol, clips[0], out, (generators or ("rewrite",))[0], pairs, driven, crop, config_file,
                            as_json)  # fmt: skip
    if pairs or driven:
        raise click.UsageError("--pairs and --driven belong to --protocol.")
    found = find_clips(clips)
    chosen = [_generator(text) for text in generators or ("rewrite",)]
    settings, voices = config.load(config_file), tuple(voices_named(sounds))
    rows: list[dict[str, Any]] = []
    with _shown(sys.stderr) as (say, step):
        todo = [Evaluation(out, Options(g, measures_named(only), voices), settings, say, step) for g in chosen]
        for one in todo:
            one.check()
        for one in todo:
            if len(todo) > 1:
                say(f"generator {one.options.generator['name']}")
            rows += one.run(found)
    store = todo[0].store
    write_table(store, out / TABLE, rows)
    store.write_bytes(out / PAGE, page(rows, out).encode())
    if as_json:
        each = {name: summary(held) for name, held in by_generator(rows).items()}
        show.as_json({"schema": "dub.eval.1", "summary": summary(rows) if len(each) == 1 else each,
                      "goals": _goals(rows), "side_by_side": side_by_side(rows), "rows": rows})  # fmt: skip
    elif as_csv or as_latex:
        _for_papers(rows, as_latex)
    else:
        echo(_all_told(rows))
    echo(f"{out / TABLE}: {len(rows)} numbers; {out / PAGE}: with pictures", err=True)
    if not any(r.get("value") is not None for r in rows):
        raise SystemExit(InputError.exit_code)
    if any(r.get("reason") and not r.get("name") for r in rows):  # a whole measure, not one number of it
        raise SystemExit(DubError.exit_code)


def _by_protocol(
    protocol: str, root: Path, out: Path, generator: str, listed: Path | None, driven: Any, crop: Any,
    config_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A published protocol over a data set."""
    from dubbing import config
    from dubbing.cli import show
    from dubbing.evaluate import protocol as protocols
    from dubbing.evaluate.pairs import DRIVEN, pairs_of

    chosen = "listed" if listed else driven or DRIVEN[protocol]
    found = pairs_of(protocol, root, listed, driven)
    with _shown(sys.stderr) as (say, step):
        report = protocols.measure(
            found, out, _generator(generator), config.load(config_file), protocol=protocol, driven=chosen, crop=crop,
            say=say, step=step,
        )  # fmt: skip
    if as_json:
        show.as_json(report.plain())
    else:
        rows = ((r.pair, *(show.number(getattr(r, n), d) for n, d in _COLUMNS), r.frames, r.reason or "")
                for r in report.pairs)  # fmt: skip
        echo(show.table(("pair", *(n for n, _ in _COLUMNS), "frames", "why not"), rows))
        numbers = (
            ("LSE-D", report.lse_d, 3),
            ("LSE-C", report.lse_c, 3),
            ("FID", report.fid, 2),
            ("CSIM", report.csim, 3),
        )
        told = ", ".join(f"{name} {show.number(value, digits)}" for name, value, digits in numbers)
        measured = sum(r.reason is None for r in report.pairs)
        about = f"{protocol}, driven by {chosen}, {report.generator}"
        echo(f"\n{about}: {measured} of {len(report.pairs)} pairs; {told}")
        for why in report.absent.values():
            echo(why)
    echo(f"{protocols.file_of(out, protocol)}: every pair, and by what it was measured", err=True)
    if report.lse_d is None:
        raise SystemExit(InputError.exit_code)
    if any(r.reason for r in report.pairs):
        raise SystemExit(DubError.exit_code)


def _generator(text: str) -> dict[str, Any]:
    """`rewrite`, or `{name: wav2lip, model: wav2lip_gan}`. Raises UsageError for anything else."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    value = {"name": value} if isinstance(value, str) else value
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise click.UsageError(f"--generator is a name, or a mapping with a name; found {text!r}.")
    return value


def _goals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    from dubbing.evaluate.goals import goals

    return [
        {"what": g.what, "value": g.value, "goal": g.wanted, "met": g.met, "over": g.over, "interval": g.interval}
        for g in goals(rows)
    ]


def _for_papers(rows: Sequence[Mapping[str, Any]], as_latex: bool) -> None:
    from dubbing.cli import show
    from dubbing.evaluate.speakers import BETTER, by_speaker, columns_measured

    lines = by_speaker(rows)
    columns = columns_measured(lines)
    if as_latex:
        chosen = [(label, digits) for label, digits in columns if label in BETTER]
        head = ["Speaker", "Clips", *(rf"{label} $\{BETTER[label]}arrow$" for label, _ in chosen)]
        for name in dict.fromkeys(line["generator"] for line in lines):
            body = [
                (x["speaker"], x["count"],
                 *(show.latex_spread(x[f"{label}_mean"], x[f"{label}_std"], digits) for label, digits in chosen))
                for x in lines if x["generator"] == name
            ]  # fmt: skip
            echo(show.latex(head, body, f"generator {name}; mean and sample standard deviation over clips"))
        return
    head = [f"{label}_{kind}" for label, _ in columns for kind in ("mean", "std")]
    cells = ((x["generator"], x["speaker"], x["count"], *(x[name] for name in head)) for x in lines)
    show.as_csv(("generator", "speaker", "clips", *head), cells)


Step = Callable[[int, int, str], None]


@contextmanager
def _shown(stream: TextIO) -> Iterator[tuple[Callable[[str], None], Step]]:
    """(say, step): a bar on a terminal, elsewhere only what is said."""
    if not stream.isatty():
        yield (lambda text: echo_on(f"dub: {text}", stream)), (lambda done, of, what: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task("", total=None)

        def step(done: int, of: int, what: str) -> None:
            progress.update(task, completed=done, total=of, description=safe(what))

        yield (lambda text: progress.console.print(safe(f"dub: {text}"), markup=False, highlight=False)), step


def _all_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was measured of each generator, and several of them side by side."""
    from dubbing.cli.show import number, table
    from dubbing.evaluate.measurements import by_generator, measured_beside, side_by_side

    parts = by_generator(rows)
    if len(parts) < 2:
        return _told(rows)
    told = [f"{name}\n\n{_told(held)}" for name, held in parts.items()]
    lines = side_by_side(rows)
    columns = measured_beside(lines)
    body = ((line["generator"], line["clips"], *(number(line[label], d) for label, d in columns)) for line in lines)
    return "\n\n".join([*told, table(("side by side", "clips", *(label for label, _ in columns)), body)])


def _told(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per clip and the medians; languages; the goals; what could not be measured."""
    from dubbing.cli.show import number, table
    from dubbing.evaluate.goals import goals
    from dubbing.evaluate.measurements import COLUMNS, absent, by_clip, languages, median_of
    from dubbing.evaluate.yardstick import confidence

    columns = [(label, by_clip(rows, measure, name), digits) for label, measure, name, digits in COLUMNS]
    columns = [c for c in columns if c[1]]
    clips = list(dict.fromkeys(r["clip"] for r in rows))
    seen = {r["clip"] for r in rows if r.get("seen")}
    lines = [
        (clip + (" +" if clip in seen else ""), *(number(values.get(clip), digits) for _, values, digits in columns))
        for clip in clips
    ]
    lines.append(("median", *(number(median_of(values.values()), digits) for _, values, digits in columns)))
    sure = [(confidence(list(values.values()), median_of), digits) for _, values, digits in columns]
    for n, end in enumerate(("95 % from", "95 % to")):
        if any(interval for interval, _ in sure):
            lines.append((end, *(number(interval and interval[n], digits) for interval, digits in sure)))
    parts = [table(("clip", *(label for label, _, _ in columns)), lines)] if columns else []
    if seen:
        parts.append("+ the shipped prior and sync expert were trained on this clip")
    if spoken := languages(rows):
        head = ("language", "input", "clips", "LSE-D", "LSE-C", "offset", "recovery", "follows", "sharp", "silence")
        body = (
            (x["language"], x["input"], x["clips"],
             *(number(x[n]) for n in ("lse_d", "lse_c", "offset_frames", "recovery", "opening_corr", "sharpness",
                                      "motion_per_s")))
            for x in spoken
        )  # fmt: skip
        parts.append(table(head, body))
    met = {True: "yes", False: "no", None: None}
    if told := [(g.what, g.measured, g.wanted, met[g.met], g.over) for g in goals(rows) if g.value is not None]:
        parts.append(table(("", "measured [95 %]", "goal", "met", "over"), told))
    if missing := absent(rows):
        parts.append("\n".join(missing))
    return "\n\n".join(parts)
