"""`dub train`: learn one of the literature's networks from a data folder. Thin: `dubbing.train` does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dubbing.cli.options import FILE, Finite, json_option
from dubbing.cli.say import echo, echo_on, safe
from dubbing.errors import InputError

if TYPE_CHECKING:
    from dubbing.train.loop import Progress, Result
    from dubbing.train.recipe import Recipe

__all__ = ["train"]

MODELS, DATA = "models", "data"
_EVERY_S = 10.0  # between two lines where there is no terminal


@click.command(
    short_help="Train a network on your own data.",
    epilog="""\b
Examples:
  dub train wav2lip_expert --data data --out expert --minutes 60
  dub train wav2lip --data data --out mine --set expert=expert/lipsync_expert.pth --steps 100000
  dub train wav2lip --data data --out big --set size=192 --set quality_weight=0.07 --set lip_weight=4 \\
      --set expert=wav2lip_color --epochs 50 --workers 2
  dub train wav2lip --title out/reel --from mine/wav2lip.pth --set expert=wav2lip_color --steps 2000
  dub train musetalk --title out/reel --minutes 10
  dub train wav2lip --settings          what --set knows

The same command goes on where it was after any interruption. `dub dataset prepare` makes data folders;
docs/train.md says what each model learns from and how its result is used.""",
)
@click.argument("model")
@click.option("--data", type=FILE, metavar="DIR", help="A folder of `dub dataset prepare`.")
@click.option("--out", type=FILE, metavar="DIR", help="The folder for checkpoints, curves and the result.")
@click.option("--steps", type=click.IntRange(min=1), help="End after so many steps in all.")
@click.option("--epochs", type=click.IntRange(min=1), help="End after every clip was seen so often.")
@click.option("--minutes", type=Finite(min=0, min_open=True), help="End after so much training in all.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True,
    help="Processes that share every step, on Ray; 1: this process alone.",
)  # fmt: skip
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="One of what --settings lists, repeatable.")
@click.option(
    "--from", "start", type=FILE, metavar="CHECKPOINT", help="Begin with these weights: a file in the published layout."
)
@click.option(
    "--title", metavar="OUT/TITLE",
    help="Learn from one finished title's own dialogue; the result stays in that title's folder. Needs --from, but "
    "for musetalk.",
)  # fmt: skip
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: a GPU where there is one.")
@click.option("--settings", "ask", is_flag=True, help="List the model's settings with defaults; train nothing.")
@json_option
def train(
    model: str, data: Path | None, out: Path | None, steps: int | None, epochs: int | None, minutes: float | None,
    workers: int, given: tuple[str, ...], start: Path | None, title: str | None, device: str | None, ask: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Train MODEL on the clips of a data folder, or go on with it: wav2lip_expert, wav2lip, musetalk, ..."""
    from dubbing.cli import show
    from dubbing.train import recipes

    recipe = recipes.find(model)
    if ask:
        return _tell_settings(recipe, as_json)
    settings = _settings(given)
    checked = recipes.settings_of(recipe, settings)
    name = None
    if title is not None:
        name = Path(title).name
        data, out = _of_title(title, recipe, data, out, start)
    elif recipe.of_title:
        raise InputError(f"{model} is fine-tuned on one finished title and stays in its folder: say --title OUT/TITLE.")
    if data is None or out is None:
        missing = "--data DIR" if data is None else "--out DIR"
        raise click.UsageError(f"Missing {missing}: the folder to {'learn from' if data is None else 'write to'}.")
    if steps is epochs is minutes is None and not checked.patience:
        raise click.UsageError("Say when to end: --steps, --epochs, --minutes, or --set patience=N.")
    from dubbing.train import processes
    from dubbing.train.loop import TrainingPlan

    plan = TrainingPlan(model, data, out, settings, steps, epochs, minutes, start, name, device)
    with _shown(sys.stderr) as watch:
        result = processes.run(plan, workers, watch)
    if as_json:
        from dataclasses import asdict

        show.as_json({"schema": "dub.train.1", **asdict(result)})
    else:
        echo(_told(result))


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """`key=value` as YAML reads the value. Raises UsageError."""
    import yaml

    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[key.strip()] = value
        if not equals or not key.strip():
            raise click.UsageError(f"--set is KEY=VALUE; found {text!r}.")
        if isinstance(found[key.strip()], str) and "e" in value:  # YAML takes 1e-4 for a word
            try:
                found[key.strip()] = float(value)
            except ValueError:
                pass
    return found


def _of_title(title: str, recipe: Recipe, data: Path | None, out: Path | None, start: Path | None) -> tuple[Path, Path]:
    """(data, out) of a title's own model. Raises InputError."""
    if "/" not in title and out is not None:
        folder = out / title
    elif out is None:
        folder = Path(title)
    else:
        raise InputError(
            f"--title {title} keeps its result in that folder; leave --out away, or name the title alone: --title "
            f"{Path(title).name} --out {Path(title).parent}."
        )
    if not (folder / "analysis").is_dir():
        raise InputError(
            f"{str(folder)!r} is no finished title: there is no {str(folder / 'analysis')!r}; `dub run` makes one, and "
            "--title is the folder OUT/TITLE of it."
        )
    if start is None and not recipe.of_title:
        raise InputError("--title fine-tunes a checkpoint: say which with --from CHECKPOINT.")
    data = data or folder / MODELS / (f"{DATA}_{recipe.crop}" if recipe.crop else DATA)
    if not data.exists():
        cut = f" --crop {recipe.crop} --size 256" if recipe.crop else ""
        raise InputError(
            f"There is no data of {str(folder)!r} yet; `dub dataset prepare {folder.parent} --title "
            f"{folder.name}{cut} --out {data}` makes it."
        )
    return data, folder / MODELS / recipe.name


def _tell_settings(recipe: Any, as_json: bool) -> None:
    from dubbing.cli import show

    if as_json:
        return show.as_json(recipe.Settings.model_json_schema())
    rows = [
        (k, "-" if f.default is None else f.default, f.description) for k, f in recipe.Settings.model_fields.items()
    ]
    echo(f"{recipe.name}: {recipe.summary}\n\n" + show.table(("setting", "default", "what it is"), rows))


def _numbers(numbers: Any) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())


@contextmanager
def _shown(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere a line now and then. Held-out numbers are always said."""
    if not stream.isatty():
        last = -1e9

        def line(p: Progress) -> None:
            nonlocal last
            rate = f", {p.rate:.2f} steps/s" if p.rate else ""
            if p.note:
                echo_on(f"dub: {p.note}", stream)
            elif p.held_out:
                echo_on(f"dub: step {p.step}: held-out speakers: {_numbers(p.held_out)}", stream)
            elif time.monotonic() - last > _EVERY_S or p.step == p.of:
                last = time.monotonic()
                of = f" of {p.of}" if p.of else ""
                echo_on(f"dub: step {p.step}{of}, epoch {p.epoch}{rate}: {_numbers(p.losses)}", stream)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(p: Progress) -> None:
            if p.note or p.held_out:
                text = p.note or f"step {p.step}: held-out speakers: {_numbers(p.held_out)}"
                bar.console.print(safe(f"dub: {text}"), markup=False, highlight=False)
            else:
                said = f"step {p.step} epoch {p.epoch} {p.rate:.2f}/s {_numbers(p.losses)}"
                bar.update(task, completed=p.step, total=p.of, description=said)

        yield show


def _told(result: Result) -> str:
    held_out = f"; on held-out speakers {_numbers(result.held_out)}" if result.held_out else ""
    lines = [
        f"{result.recipe}: ended after {result.why} at step {result.step}, epoch {result.epoch}.",
        f"{result.file}: the model of step {result.best_step}{held_out}",
    ]
    return "\n".join([*lines, *([f"use: {result.use}"] if result.use else [])])
