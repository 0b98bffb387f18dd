"""`dub score`: how well the lips of any film fit its sound. Thin: `dubbing.score` measures, this asks and prints."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from dubbing.cli.options import FILE, config_file_option, json_option
from dubbing.cli.say import echo, echo_on, safe
from dubbing.errors import DubError, several

__all__ = ["score"]

TABLE = Path("scores.parquet")
LINE_S = 5.0
_SPREADS = ("lse_d_mean", "lse_d_std", "lse_c_mean", "lse_c_std")
REASONS = {"no_face": "no face", "too_short": "too short: under 6 frames", "out_of_sight": "mouth never in sight"}


@click.command(
    short_help="Measure how well lips and sound of any film fit.",
    epilog="""\b
Examples:
  dub score film.mp4
  dub score film.mp4 --audio film.fr.wav       the same picture with another sound
  dub score film.mp4 --plot film.png           distance over shift, confidence over time
  dub score clips/ --out clips.parquet         all films of a folder; run again, it goes on
  dub score film.mp4 --model syncnet_v2        the published network: `dub models pull syncnet_v2` once
  dub score voxceleb/ --by-speaker             mean and deviation per speaker: one folder each
  dub score voxceleb/ --latex > table.tex      the same as a table for a paper
  dub score clips/ --csv > faces.csv           one line per face; with --by-speaker one per speaker
  dub score film.mp4 --json | jq '.videos[].tracks[] | {track, lse_d, lse_c, lse_offset_frames}'

LSE-D: lower is better; LSE-C: higher is better; offset: 25ths of a second, positive when the sound is
early. Numbers compare only within one model. docs/lse.md says exactly what they are.""",
)
@click.argument("videos", nargs=-1, required=True, type=FILE, metavar="VIDEO...")
@click.option(
    "--audio", type=FILE, metavar="FILE", help="Another sound instead of the film's own, from its first sample on."
)
@click.option(
    "--model",
    default="lips",
    show_default=True,
    metavar="NAME",
    help="The sync expert that measures: lips, or one of `dub models`.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="The table as CSV on stdout, every column but the curves.")
@click.option("--latex", "as_latex", is_flag=True, help="Means per speaker as a LaTeX table (booktabs) on stdout.")
@click.option(
    "--by-speaker",
    is_flag=True,
    help="Mean and sample standard deviation per speaker: the first folder below the one that all films share; "
    "where they share one folder, each film.",
)
@click.option(
    "--plot", type=FILE, metavar="PNG", help="Draw every track's distance over shift and confidence over time."
)
@click.option(
    "--out", type=FILE, metavar="PARQUET", help=f"A table of all tracks and curves; for a folder: {TABLE} by default."
)
@config_file_option
def score(
    videos: tuple[Path, ...],
    audio: Path | None,
    model: str,
    as_json: bool,
    as_csv: bool,
    as_latex: bool,
    by_speaker: bool,
    plot: Path | None,
    out: Path | None,
    config_file: Path | None,
) -> None:
    """Measure lips against sound for every face of every shot. VIDEO is a film, or a folder of films."""
    from dubbing.api import scores
    from dubbing.cli import show

    if as_json + as_csv + as_latex > 1:
        raise click.UsageError("--json, --csv and --latex exclude each other; give one.")
    many = len(set(videos)) > 1 or any(v.is_dir() for v in videos)
    if audio is not None and many:
        raise click.UsageError("--audio goes with one film.")
    out = TABLE if out is None and many else out
    with _shown(sys.stderr) as begin:

        class Watch(scores.Watch):
            """Shows pictures as they are read, and says the rest at once."""

            def begin(self, film: Path, number: int, films: int, pictures: int) -> None:
                self._count = begin(film, number, films, pictures)

            def pictures(self, film: Path, count: int) -> None:
                self._count(count)

            def failed(self, film: Path, error: DubError) -> None:
                echo(f"dub: {str(error).splitlines()[0]}", err=True)

            def note(self, text: str) -> None:
                echo(f"note: {text}", err=True)

        found = scores.score(videos, audio=audio, model=model, config=config_file, out=out, plot=plot, watch=Watch())
    if as_json:
        speakers = {"speakers": found.by_speaker} if by_speaker else {}
        show.as_json({"schema": "dub.score.1", "model": found.model, "videos": _plain(found.rows), **speakers})
    elif as_latex:
        echo(_latex(found.by_speaker, found.model))
    elif as_csv:
        lines = found.by_speaker if by_speaker else [_without_curves(r) for r in found.rows]
        show.as_csv(list(lines[0]) if lines else [], [[*line.values()] for line in lines])
    elif by_speaker:
        echo(_told_speakers(found.by_speaker, found.model))
    else:
        echo(_told(found.rows, found.model, many))
    if out is not None:
        echo(f"{out}: {several(len(found.rows), 'row')}", err=True)
    if found.errors:
        raise SystemExit(found.exit_code)


# -- for people, and as plain values ---------------------------------------------------------


def _told(rows: Sequence[Mapping[str, Any]], model: str, many: bool) -> str:
    """One line per track, and the means as papers give them."""
    from dubbing.cli.show import number, table

    lines = []
    for r in rows:
        offset = None if r["lse_offset_frames"] is None else f"{r['lse_offset_frames']:+.0f}"
        why = None if r["reason"] is None else REASONS.get(r["reason"], r["error"])
        line = (r["track"], r["start_tc"], r["end_tc"], number(r["face_px"], 0), r["lse_windows"],
                number(r["lse_d"]), number(r["lse_c"]), offset, why or "")  # fmt: skip
        lines.append((r["video"], *line) if many else line)
    head = ["film"] if many else []
    head += ["track", "from", "to", "face px", "windows", "LSE-D", "LSE-C", "offset"]
    if any(r["reason"] for r in rows):
        head.append("why not")
    text = table(head, (line[: len(head)] for line in lines))
    scored = [r for r in rows if r["distance"] is not None]
    if len(scored) > 1:
        d, c = (sum(r[name] for r in scored) / len(scored) for name in ("lse_d", "lse_c"))
        text += f"\n\nmean of {several(len(scored), 'track')}: LSE-D {d:.2f}, LSE-C {c:.2f}"
    return f"{text}\n\nby {model}; offset in 25ths of a second, positive when the sound is early"


def _told_speakers(lines: Sequence[Mapping[str, Any]], model: str) -> str:
    from dubbing.cli.show import number, table

    head = ("speaker", "faces", "LSE-D", "deviation", "LSE-C", "deviation")
    body = ([x["speaker"], x["count"], *(number(x[name]) for name in _SPREADS)] for x in lines)
    return f"{table(head, body)}\n\nby {model}; means over faces, sample standard deviations"


def _latex(lines: Sequence[Mapping[str, Any]], model: str) -> str:
    from dubbing.cli.show import latex, latex_spread

    d_mean, d_std, c_mean, c_std = _SPREADS
    body = [
        (x["speaker"], x["count"], latex_spread(x[d_mean], x[d_std]), latex_spread(x[c_mean], x[c_std])) for x in lines
    ]
    head = ("Speaker", "Faces", r"LSE-D $\downarrow$", r"LSE-C $\uparrow$")
    return latex(head, body, f"by {model}; mean and sample standard deviation over faces")


def _without_curves(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("distance", "confidence", "key")}


def _plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One value per film, its tracks inside."""
    films: dict[str, dict[str, Any]] = {}
    for r in rows:
        film = films.setdefault(r["video"], {"video": r["video"], "audio": r["audio"], "reason": None, "error": None})
        tracks = film.setdefault("tracks", [])
        if r["track"] is None:
            film |= {"reason": r["reason"], "error": r["error"]}
        else:
            tracks.append({k: v for k, v in r.items() if k not in ("video", "audio", "lse_model", "error", "key")})
    return list(films.values())


Begin = Callable[[Path, int, int, int], Callable[[int], None]]


@contextmanager
def _shown(stream: TextIO) -> Iterator[Begin]:
    """A display of the pictures read: a bar on a terminal, elsewhere a line every five seconds.

    What it yields begins a film, number n of so many, of so many pictures (0: nobody knows), and returns their counter.
    """
    if not stream.isatty():
        said = time.monotonic()

        def begin_lines(film: Path, n: int, films: int, total: int) -> Callable[[int], None]:
            done: Counter[str] = Counter()

            def count(new: int) -> None:
                nonlocal said
                done["pictures"] += new
                if time.monotonic() - said >= LINE_S:
                    said = time.monotonic()
                    part = (
                        f"{min(99, 100 * done['pictures'] // total)} %"
                        if total
                        else several(done["pictures"], "picture")
                    )
                    echo_on(f"{film.name} ({n} of {films}): {part}", stream)

            return count

        yield begin_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        whole = progress.add_task("", total=None, visible=False)
        task = progress.add_task("", total=None)

        def begin(film: Path, n: int, films: int, total: int) -> Callable[[int], None]:
            if films > 1:
                progress.update(whole, completed=n - 1, total=films, description=several(films, "film"), visible=True)
            progress.reset(task, total=total or None, description=safe(film.name))
            return lambda new: progress.advance(task, new)

        yield begin
