"""`dub score`: how well the lips of any film fit its sound. Thin: `dubbing.score` measures, this asks and prints."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dubbing.cli.options import json_option
from dubbing.errors import DubError, InputError, MediaError, OutputError

if TYPE_CHECKING:
    from dubbing.experts import Expert

__all__ = ["score"]

FILE = click.Path(path_type=Path)
KINDS = ("avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "webm", "wmv")
TABLE = Path("scores.parquet")
LINE_S = 5.0
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
  dub score film.mp4 --json | jq '.videos[].tracks[] | {track, lse_d, lse_c, lse_offset_frames}'

LSE-D: lower is better; LSE-C: higher is better; offset: 25ths of a second, positive when the sound is
early. Numbers compare only within one model. docs/lse.md says exactly what they are.""",
)
@click.argument("videos", nargs=-1, required=True, type=FILE, metavar="VIDEO...")
@click.option("--audio", type=FILE, metavar="FILE", help="Another sound instead of the film's own.")
@click.option("--model", default="lips", show_default=True, metavar="NAME", help="The sync expert that measures.")
@json_option
@click.option("--plot", type=FILE, metavar="PNG", help="Draw every track's curves into this file.")
@click.option(
    "--out", type=FILE, metavar="PARQUET", help=f"A table of all tracks and curves; for a folder: {TABLE} by default."
)
@click.option(
    "--config", "config_file", type=FILE, metavar="FILE", help="Settings that differ from configs/default.yaml."
)
def score(
    videos: tuple[Path, ...],
    audio: Path | None,
    model: str,
    as_json: bool,
    plot: Path | None,
    out: Path | None,
    config_file: Path | None,
) -> None:
    """Measure lips against sound for every face of every shot. VIDEO is a film, or a folder of films."""
    from dubbing import config, experts, media
    from dubbing.cli import show
    from dubbing.experts import model_name
    from dubbing.score import draw

    films = list(_films(videos))
    many = len(films) > 1 or any(v.is_dir() for v in videos)
    if audio is not None and many:
        raise click.UsageError("--audio goes with one film.")
    if audio is not None:
        media.probe(audio)
    out = TABLE if out is None and many else out
    for path in (plot, out):
        _writable(path)
    expert = experts.load(model, config.load(config_file).models.folder)
    rows, errors = _measured(films, audio, expert, out, keep_going=many)
    if plot is not None:
        drawn, scored = draw(plot, rows), sum(r["distance"] is not None for r in rows)
        if drawn < scored:
            click.echo(f"note: {plot} shows the {drawn} longest of {scored} tracks.", err=True)
    if as_json:
        show.as_json({"schema": "dub.score.1", "model": model_name(expert), "videos": _plain(rows)})
    else:
        click.echo(_told(rows, model_name(expert), many))
    if out is not None:
        click.echo(f"{out}: {len(rows)} rows", err=True)
    if errors:
        raise SystemExit(InputError.exit_code if len(errors) == len(films) else DubError.exit_code)


def _films(videos: Sequence[Path]) -> Iterator[Path]:
    """The films that the arguments name, each once. Raises MediaError: no such file, no film in a folder."""
    seen: set[Path] = set()
    for path in videos:
        if not path.exists():
            raise MediaError(f"No such file: {str(path)!r}.")
        found = [path]
        if path.is_dir():
            inside = sorted(path.rglob("*"))
            found = [p for p in inside if p.suffix[1:].lower() in KINDS and p.is_file() and p.name[0] != "."]
            if not found:
                raise MediaError(f"There is no film in {str(path)!r}; films are files that end in {', '.join(KINDS)}.")
        for film in found:
            if film.resolve() not in seen:
                seen.add(film.resolve())
                yield film


def _writable(path: Path | None) -> None:
    """Refuse now what would be refused after hours. Raises OutputError."""
    if path is None:
        return
    folder = next(p for p in path.absolute().parents if p.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"{str(path)!r} cannot be written; give a file in a folder that you may write to.")


def _measured(
    films: Sequence[Path], audio: Path | None, expert: Expert, out: Path | None, *, keep_going: bool
) -> tuple[list[dict[str, Any]], list[DubError]]:
    """Rows of all films, in `out` too after each one; what is there already is not measured again."""
    from dubbing.experts import model_name
    from dubbing.score import Scorer, failed_row, key, read_table, write_table
    from dubbing.score import rows as rows_of

    model = model_name(expert)
    known: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in read_table(out) if out is not None else ():
        known.setdefault((row["video"], row["key"]), []).append(row)
    rows: list[dict[str, Any]] = []
    errors: list[DubError] = []
    with Scorer(expert) as scorer, _shown(sys.stderr, len(films)) as begin:
        for n, film in enumerate(films):
            try:
                frames = _frames(film)
                of = key(film, audio, model) if out is not None else ""
                if found := known.get((str(film), of)):
                    rows += found
                    continue
                scored = scorer.score(film, audio, begin(n, film, frames * scorer.passes))
                rows += rows_of(scored, str(film), of)
                if audio is not None and abs(over := float(scored.sound_s - scored.length_s)) >= 0.1:
                    side = "more" if over > 0 else "less"
                    click.echo(f"note: {audio} lasts {abs(over):.2f} s {side} than the picture.", err=True)
            except InputError as e:
                if not keep_going or isinstance(e, OutputError):
                    raise
                errors.append(e)
                rows.append(failed_row(str(film), audio, model, e))
                click.echo(f"dub: {str(e).splitlines()[0]}", err=True)
            if out is not None:
                write_table(out, rows)
    if out is not None:
        write_table(out, rows)
    return rows, errors


def _frames(film: Path) -> int:
    """How many frames its header promises. Raises MediaError where it is no film."""
    from dubbing import media

    video = media.probe(film).video
    return video.frames_hint if video else 0


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
        text += f"\n\nmean of {len(scored)} tracks: LSE-D {d:.2f}, LSE-C {c:.2f}"
    return f"{text}\n\nby {model}; offset in 25ths of a second, positive when the sound is early"


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


Begin = Callable[[int, Path, int], Callable[[int], None]]


@contextmanager
def _shown(stream: TextIO, films: int) -> Iterator[Begin]:
    """A display of the pictures read: a bar on a terminal, elsewhere a line every five seconds.

    What it yields begins the film number n, of so many pictures (0: nobody knows), and returns their counter.
    """
    if not stream.isatty():
        said = time.monotonic()

        def begin_lines(n: int, film: Path, total: int) -> Callable[[int], None]:
            done: Counter[str] = Counter()

            def count(new: int) -> None:
                nonlocal said
                done["pictures"] += new
                if time.monotonic() - said >= LINE_S:
                    said = time.monotonic()
                    part = f"{min(99, 100 * done['pictures'] // total)} %" if total else f"{done['pictures']} pictures"
                    print(f"{film.name} ({n + 1} of {films}): {part}", file=stream, flush=True)

            return count

        yield begin_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        whole = progress.add_task(f"{films} films", total=films) if films > 1 else None
        task = progress.add_task("", total=None)

        def begin(n: int, film: Path, total: int) -> Callable[[int], None]:
            if whole is not None:
                progress.update(whole, completed=n)
            progress.reset(task, total=total or None, description=film.name)
            return lambda new: progress.advance(task, new)

        yield begin
