"""`dub dataset`: data for training, out of corpora, clips and finished titles. Thin: `dubbing.dataset` does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dubbing.cli.options import FILE, Finite, engine_option, json_option, out_option
from dubbing.cli.say import echo, echo_on, safe
from dubbing.errors import DubError, InputError

if TYPE_CHECKING:
    from dubbing import Event

__all__ = ["dataset"]

_LINE_S = 5.0


@click.group(
    short_help="Prepare data for training.",
    epilog="""\b
Examples:
  dub dataset prepare lrs2/mvlrs_v1 --out data
  dub dataset prepare out --out data          the speakers of finished titles (an --out of `dub run`)
  dub dataset show data
  dub dataset coefficients data               what SadTalker's networks learn

docs/dataset.md says what is kept, what is left out, and how it is stored.""",
)
def dataset() -> None:
    """Prepare data for training: clips of one speaking face, with sound and lip shapes, split by speaker."""


@dataset.command(
    short_help="Cut a source folder into shards of speaking faces.",
    epilog="""\b
Examples:
  dub dataset prepare lrs2/mvlrs_v1 --out data            LRS2: main and pretrain, its own lists
  dub dataset prepare vox2 --out data --workers 32        VoxCeleb2: dev, test or mp4
  dub dataset prepare clips --out data --val 0.2          films, or folders of films by speaker
  dub dataset prepare out --out data --note "contract 12" what `dub run` wrote to out
  dub dataset prepare out --title reel --crop musetalk --size 256 --out out/reel/models/data_musetalk
  dub dataset prepare clips --out data --max-offset 3     leave out what is not in sync
  dub dataset prepare clips --out data --json | jq .splits

\b
Layouts:
  lrs2       main|pretrain/SPEAKER/NNNNN.mp4 with NNNNN.txt beside; train.txt, val.txt, test.txt where there are
  voxceleb2  dev|test|mp4/idNNNNN/VIDEO/NNNNN.mp4
  clips      films; the speaker is the folder they lie in, or their own name
  titles     the --out folder of a finished `dub run`

Every file is decoded once. After an interruption the same command goes on where it was; another setting does again
only what it touches. Exit codes: 0 all well; 1 some clips are broken (named; the rest is there); 2 wrong input, or no
clip can be used.""",
)
@click.argument("source", type=FILE)
@out_option("data", FILE)
@click.option(
    "--layout", type=click.Choice(["auto", "lrs2", "voxceleb2", "clips", "titles"]), default="auto", show_default=True,
    help="How SOURCE is laid out; auto: as it looks.",
)  # fmt: skip
@click.option("--title", "titles", multiple=True, metavar="ID", help="Of a finished run only this title, repeatable.")
@click.option("--size", type=click.IntRange(32, 1024), default=128, show_default=True, metavar="PX",
              help="Side of the square face pictures.")  # fmt: skip
@click.option(
    "--crop",
    type=click.Choice(["wav2lip", "musetalk"]),
    default="wav2lip",
    show_default=True,
    help="Whose boxes around faces: what is to learn from the data must see faces as it will later.",
)
@click.option("--val", type=Finite(0, 1), default=0.05, show_default=True, metavar="PART",
              help="Part of the speakers, 0 to 1, by which training knows when to stop.")  # fmt: skip
@click.option("--test", type=Finite(0, 1), default=0.05, show_default=True, metavar="PART",
              help="Part of the speakers, 0 to 1, that training never sees.")  # fmt: skip
@click.option("--min-face", type=Finite(8), default=48.0, show_default=True, metavar="PX",
              help="Leave out faces less high than this.")  # fmt: skip
@click.option("--shortest", type=Finite(0.24), default=1.0, show_default=True, metavar="S",
              help="Leave out faces that are seen for less time.")  # fmt: skip
@click.option("--longest", type=Finite(1), default=10.0, show_default=True, metavar="S",
              help="Cut what is seen for longer into equal parts.")  # fmt: skip
@click.option("--max-offset", type=Finite(0), metavar="FRAMES",
              help="Leave out what is out of sync by more 25ths of a second, as the built-in expert hears it.  "
              "[default: nothing]")  # fmt: skip
@click.option("--shard-clips", type=click.IntRange(1), default=256, show_default=True, metavar="N",
              help="Samples in one file (shard).")  # fmt: skip
@click.option("--note", metavar="TEXT", help="Licence or consent, kept on the card.")
@engine_option
@click.option("--workers", type=click.IntRange(min=1), help="Clips at once; default: one per core.")
@json_option
def prepare(
    source: Path, out: Path, layout: str, titles: tuple[str, ...], size: int, crop: str, val: float, test: float,
    min_face: float, shortest: float, longest: float, max_offset: float | None, shard_clips: int, note: str | None,
    engine: str, workers: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Cut the clips of SOURCE into shards of one speaking face each, with sound and lip shapes, split by speaker."""
    if val + test > 1:
        raise click.UsageError(
            f"--val {val:g} and --test {test:g} are more than all speakers; give less than 1 together."
        )
    if shortest > longest:
        raise click.UsageError(f"--shortest {shortest:g} is more than --longest {longest:g}.")
    from dubbing.cli import show
    from dubbing.config import Config, Engine
    from dubbing.dataset.card import format_text, write_card
    from dubbing.dataset.layouts import Splits
    from dubbing.dataset.prepare import Settings
    from dubbing.dataset.prepare import prepare as do

    settings = Settings(
        size,
        min_face,
        shortest,
        longest,
        max_offset,
        Splits(val, test),
        shard_clips,
        None if crop == "wav2lip" else crop,
    )
    config = Config(engine=Engine(workers=workers))
    with _shown(sys.stderr) as watch:
        made = do(source, out, settings, layout=layout, titles=titles, engine=engine, config=config, on_event=watch,
                  on_shard=watch.shard)  # fmt: skip
    card = write_card(made, note)
    if as_json:
        show.as_json(card)
    else:
        echo(format_text(card))
    echo(f"{out}: card.md and sheet.jpg are for people, clips.parquet says what became of every clip", err=True)
    if not made.samples:
        why = ", ".join(f"{n} {reason}" for reason, n in card["rejected"].items())
        echo(f"dub: no clip of {source} can be used ({why}); docs/dataset.md says what a clip must be.", err=True)
        raise SystemExit(InputError.exit_code)
    if card["broken"]:
        raise SystemExit(DubError.exit_code)


@dataset.command(
    "show",
    short_help="Print the card of a data folder.",
    epilog="""\b
Examples:
  dub dataset show data
  dub dataset show data --json | jq .splits.val.names""",
)
@click.argument("folder", type=FILE, metavar="DIR")
@json_option
def show_card(folder: Path, as_json: bool) -> None:
    """Print what is in a data folder, from where, and what was left out and why."""
    from dubbing.cli import show
    from dubbing.dataset.card import format_text, load_card

    card = load_card(folder)
    if as_json:
        show.as_json(card)
    else:
        echo(format_text(card))


@dataset.command(
    short_help="Make the coefficients that SadTalker's networks learn.",
    epilog="""\b
Examples:
  dub dataset coefficients data                           of our own meshes: nothing has to be downloaded
  dub dataset coefficients data --network sadtalker_3dmm  as SadTalker sees faces (also sadtalker_256, or a file)
  dub dataset coefficients data --teacher wav2lip         lips as Wav2Lip draws them on each clip's first frame
  dub train sadtalker_exp --data data --set coefficients=data/coefficients/mesh --out exp --steps 20000

They lie in DIR/coefficients. Meshes that were found are kept, shard by shard, whatever is made of them next.
docs/train.md says what the numbers are.""",
)
@click.argument("folder", type=FILE, metavar="DIR")
@click.option(
    "--network", metavar="MODEL",
    help="What sees the numbers: sadtalker_3dmm, sadtalker_256, or a file; default: nothing: they are fitted to our "
    "own meshes.",
)  # fmt: skip
@click.option(
    "--mean-face", default="sadtalker_mean_face", show_default=True, metavar="MODEL",
    help="The standard face of --network, or a file with it.",
)  # fmt: skip
@click.option(
    "--teacher", metavar="MODEL", help="Who draws the lips: wav2lip, wav2lip_gan, or a file; default: nobody."
)
@json_option
def coefficients(folder: Path, network: str | None, mean_face: str, teacher: str | None, as_json: bool) -> None:
    """Make 64 numbers of expression and 6 of pose for every frame of a data folder."""
    from dubbing.cli import show
    from dubbing.dataset import coefficients as made

    sees = draws = None
    if network is not None:
        from dubbing.dataset.face_network import FaceNetwork

        sees = FaceNetwork.load(_file_or_name(network), _file_or_name(mean_face))
    if teacher is not None:
        from dubbing.dataset.lip_teacher import LipTeacher

        draws = LipTeacher(_file_or_name(teacher))
    with _shown(sys.stderr) as watch:
        out = made.make(folder, sees, draws, watch.clip)
    card = made.opened(out).card
    if as_json:
        show.as_json({**card, "folder": str(out)})
        return
    left = f"; {card['left_out']} without a face that is seen throughout" if card["left_out"] else ""
    echo(f"{out}: coefficients of {card['clips']} clips{left}")


def _file_or_name(model: str) -> str:
    """A file's whole path, where it is one; else a name among `dub models`."""
    path = Path(model).expanduser()
    return str(path.absolute()) if "/" in model or path.is_file() else model


class _Watch:
    """Counts an engine's events and says how far it is: a bar on a terminal, else a line every few seconds."""

    def __init__(self, stream: TextIO, progress: Any) -> None:
        self._stream, self._progress = stream, progress
        self._task = progress.add_task("", total=None) if progress else None
        self._known = self._done = self._frames = self._kept = 0
        self._started = time.monotonic()
        self._next = self._started + _LINE_S

    def __call__(self, event: Event) -> None:
        if event.kind == "planned":
            self._known, self._done = (sum(t[n] for t in event.totals.values()) for n in (0, 1))
        elif event.kind == "frames":
            self._frames += event.frames
        elif event.kind in ("finished", "failed"):
            from dubbing.dataset.clip import Pieces

            self._done += 1
            found = event.result if isinstance(event.result, Pieces) else None
            self._kept += bool(found and found.pieces)
            text = event.text if event.kind == "failed" or found is None else found.text
            if text:
                self._say(f"{event.where}: {text.splitlines()[0]}")
        elif event.kind == "message":
            self._say(event.text)
        self._tell(self._done, self._known, f"clips {self._done}/{self._known}  {self._kept} of them used now")

    def shard(self, done: int, of: int) -> None:
        """Shards written so far."""
        self._tell(done, of, f"shards {done}/{of}")

    def clip(self, what: str, done: int, of: int) -> None:
        """Clips done so far of one part of the work."""
        self._tell(done, of, f"{what} {done}/{of}")

    def _say(self, text: str) -> None:
        if self._progress:
            self._progress.console.print(safe(f"dub: {text}"), markup=False, highlight=False, soft_wrap=True)
        else:
            echo_on(f"dub: {text}", self._stream)

    def _tell(self, done: int, of: int, what: str) -> None:
        now = time.monotonic()
        what += f"  {self._frames / max(now - self._started, 1e-3):.0f} frames/s" if self._frames else ""
        if self._progress:
            self._progress.update(self._task, completed=done, total=of or None, description=safe(what))
        elif now >= self._next:
            self._next = now + _LINE_S
            echo_on(f"dub: {what}", self._stream)


@contextmanager
def _shown(stream: TextIO) -> Iterator[_Watch]:
    if not stream.isatty():
        yield _Watch(stream, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(24), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        yield _Watch(stream, progress)
