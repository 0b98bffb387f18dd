"""`dub models`: the published models on this machine. Thin: `dubbing.models` does it, this asks and prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from dubbing.cli.options import FILE, config_file_option, json_option
from dubbing.cli.say import echo, echo_on
from dubbing.errors import InputError, ModelError, several

if TYPE_CHECKING:
    from dubbing.config import Models
    from dubbing.models import Model, ModelStore

__all__ = ["download_shown", "models"]

LINE_S = 5.0


@click.group(
    short_help="Get and check published models.",
    epilog="""\b
Examples:
  dub models list                          which there are, which are here, what they may be used for
  dub models pull syncnet_v2               load one, and check it
  dub models pull musetalk                 load the whole set of files that a generator needs
  dub models pull wav2lip --accept-licence
  dub models add wav2lip_color FILE        take a file that you already have
  dub models verify                        read every file again
  dub models convert FILE --to NEW.safetensors   write a pickle's tensors anew
  dub models where                         the folder

They lie in $DUB_MODELS, else in the configuration's `models: {folder: ...}`, else in the user's data
folder. `models: {mirror: https://...}` names a server of your own that is asked instead of the authors'.""",
)
def models() -> None:
    """Get and check published models: files that other people made, for generators and sync experts.

    None is needed for a run with the default settings. Nothing in a model file is ever executed.
    """


_accept_option = click.option(
    "--accept-licence", is_flag=True, help="Say that your use is within the model's licence; recorded, asked once."
)


@models.command(
    "list",
    short_help="Which models there are, and which are here.",
    epilog="""\b
Examples:
  dub models list
  dub models list --json | jq '.models[] | {name, licence, state}'""",
)
@config_file_option
@json_option
def list_(config_file: Path | None, as_json: bool) -> None:
    """Which models there are, which are here, and what they may be used for."""
    from dubbing.cli import show
    from dubbing.models import added

    model_store, _ = _model_store(config_file)
    states = model_store.states()
    for problem in added(model_store.models).problems:
        echo(f"note: {problem}", err=True)
    if as_json:
        show.as_json({
            "folder": str(model_store.root), "models": [_plain(model_store, s.model) | _there(s) for s in states],
            "sets": [{"name": s.name, "what": s.what, "models": list(s.models)} for s in model_store.sets],
        })  # fmt: skip
        return
    rows = (
        (s.model.name, s.state if s.state != "partly" else f"{_part(s.size, s.model.size)} loaded",
         _bytes(s.model.size), s.model.licence.word, s.model.licence.use, s.model.what)
        for s in states
    )  # fmt: skip
    echo(show.table(("model", "here", "size", "licence", "use", "what it is"), rows))
    state = {s.model.name: s for s in states}
    sets = (
        (one.name, f"{sum(state[n].state == 'present' for n in one.models)} of {len(one.models)}",
         _bytes(sum(state[n].model.size or 0 for n in one.models)), one.what, ", ".join(one.models))
        for one in model_store.sets
    )  # fmt: skip
    if model_store.sets:
        echo("\n" + show.table(("set", "here", "size", "for", "files"), sets))
    echo(f"\nin {model_store.root}; `dub models pull NAME` loads one, or all of a set.")


@models.command(
    short_help="Load a model, and check it.",
    epilog="""\b
Examples:
  dub models pull syncnet_v2 light_asd_ava
  dub models pull musetalk                          a set: all files of generator musetalk
  dub models pull wav2lip_gan --accept-licence      where nobody can be asked

Whatever breaks off goes on with the same command. A file gets its name only when its hash is right.""",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_accept_option
@config_file_option
@json_option
def pull(names: tuple[str, ...], accept_licence: bool, config_file: Path | None, as_json: bool) -> None:
    """Load models, or all of a set, from their source or from the configuration's mirror, and check them."""
    from dubbing.cli import show
    from dubbing.models.download import pull as load

    model_store, settings = _model_store(config_file)
    wanted = model_store.named(names)
    done = []
    for model in wanted:  # all questions come before the first byte
        if model_store.state(model).state != "present":
            _agree(model_store, model, accept_licence)
    for model in wanted:
        with download_shown(sys.stderr, model.file) as at:
            path, now = load(model_store, model.name, mirror=settings.mirror, on_bytes=at)
        first = now and model.sha256 is None
        done.append({"name": model.name, "path": str(path), "sha256": model_store.hash_of(path), "loaded": now})
        if not as_json:
            state = "its hash is recorded" if first else "its hash is right" if now else "was here already"
            echo(f"{model.name}: {path} ({state})")
        if first:
            _trusted(model, model_store.hash_of(path))
    if as_json:
        show.as_json(done)


@models.command(
    short_help="Take a model file that is already here.",
    epilog="""\b
Examples:
  dub models add wav2lip ~/Downloads/wav2lip.pth
  dub models add wav2lip_color lipsync_expert.pth --accept-licence
  dub models add ours mine/wav2lip.pth      what `dub train` made; then `generator: {name: wav2lip, model: ours}`

The file is looked at before anything is asked: whether it is the published one; of a file of your own, or where
no hash was published, whether its keys and shapes are the network's. Then it is copied. Where the published hash
is known it must have it; where it is not, the first file counts, and its hash is what later ones are held to.""",
)
@click.argument("name")
@click.argument("file", type=FILE)
@_accept_option
@config_file_option
@json_option
def add(name: str, file: Path, accept_licence: bool, config_file: Path | None, as_json: bool) -> None:
    """Take FILE as the model NAME, after comparing it with the published one.

    Under a new NAME it takes what `dub train` made, with the model.json beside it.
    """
    from dubbing.api.weights import look_into
    from dubbing.cli import show

    model_store, _ = _model_store(config_file)
    model = model_store.wanted(name, file)
    with _counted(sys.stderr, f"looking at {file.name}", model.size) as count:
        model_store.look_at(model, file, count)
    own = model.sha256 is None or model not in model_store.published
    fits = look_into(model, file) if own else None
    _agree(model_store, model, accept_licence)
    with _counted(sys.stderr, model.file, model.size) as count:
        path, found, first = model_store.add(name, file, count)
    if as_json:
        show.as_json({"name": name, "path": str(path), "sha256": found, "trusted_on_first_use": first, "found": fits})
    else:
        echo(f"{name}: {path} ({f'{fits}, ' if fits else ''}its hash is {'recorded' if first else 'right'})")
    if first:
        _trusted(model, found)


@models.command(
    short_help="Read every model file again.",
    epilog="""\b
Examples:
  dub models verify
  dub models verify syncnet_v2 --json""",
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@config_file_option
@json_option
def verify(names: tuple[str, ...], config_file: Path | None, as_json: bool) -> None:
    """Read every model file that is here (or those named), and compare hashes. Exit code 2 if one is wrong."""
    from dubbing.cli import show

    model_store, _ = _model_store(config_file)
    chosen = model_store.named(names) or [m for m in model_store.every if model_store.file(m).is_file()]
    rows: list[dict[str, Any]] = []
    for model in chosen:
        try:
            with _counted(sys.stderr, model.file, model.size) as count:
                rows.append(
                    {"name": model.name, "sha256": model_store.verify(model, count), "good": True, "error": None}
                )
        except ModelError as e:
            rows.append({"name": model.name, "sha256": None, "good": False, "error": str(e)})
    if as_json:
        show.as_json({"folder": str(model_store.root), "models": rows})
    elif rows:
        told = ((r["name"], "good" if r["good"] else "wrong", r["sha256"]) for r in rows)
        echo(show.table(("model", "file", "sha256"), told))
    else:
        echo(f"no models in {model_store.root}")
    for row in rows:
        if row["error"]:
            echo(f"dub: {row['error']}", err=True)
    if not all(r["good"] for r in rows):
        raise SystemExit(InputError.exit_code)


@models.command(
    short_help="Write a checkpoint anew as safetensors.",
    epilog="""\b
Examples:
  dub models convert unet.pth --to unet.safetensors
  dub models convert mapping_00229-model.pth.tar --part mapping --to mapping.safetensors

The new file is used by its path: `generator: {name: musetalk, model: /models/unet.safetensors}`.""",
)
@click.argument("file", type=FILE)
@click.option("--to", "to", type=FILE, required=True, metavar="OUT.safetensors", help="The new file.")
@click.option("--part", metavar="NAME", help="One network's tensors in a file that holds several.")
@json_option
def convert(file: Path, to: Path, part: str | None, as_json: bool) -> None:
    """Write the tensors of FILE, a pickle of torch or a .h5 of Keras, as safetensors, which can hold nothing else.

    Nothing in FILE is executed; a file that holds more than tensors, or a program, is refused. A tensor that several
    keys share is written once. Both hashes are said.
    """
    from dubbing.cli import show
    from dubbing.models.convert import to_safetensors

    done = to_safetensors(file, to, part)
    if as_json:
        show.as_json({
            "file": str(done.file), "sha256": done.file_sha256, "tensors": done.tensors, "shared": done.shared,
            "to": str(done.to), "to_sha256": done.to_sha256,
        })  # fmt: skip
        return
    shared = f", {done.shared} of them shared with another and written once" if done.shared else ""
    echo(f"{done.file}: sha256 {done.file_sha256}\n{done.to}: sha256 {done.to_sha256}")
    echo(f"{several(done.tensors, 'tensor')}{shared}")


@models.command(
    short_help="Say where models lie.",
    epilog="""\b
Examples:
  dub models where                  the folder
  dub models where syncnet_v2       the file, its hash checked""",
)
@click.argument("name", required=False)
@config_file_option
@json_option
def where(name: str | None, config_file: Path | None, as_json: bool) -> None:
    """Say in which folder models lie, or where the checked file of one is."""
    from dubbing.cli import show

    model_store, _ = _model_store(config_file)
    if name is not None:
        path = model_store.checked(name)
        if as_json:
            show.as_json({"name": name, "path": str(path), "sha256": model_store.hash_of(path)})
        else:
            echo(path)
    elif as_json:
        show.as_json(
            {"folder": str(model_store.root), "files": {s.model.name: _there(s)["path"] for s in model_store.states()}}
        )
    else:
        echo(model_store.root)


def _model_store(config_file: Path | None) -> tuple[ModelStore, Models]:
    from dubbing import config
    from dubbing.models import ModelStore, folder

    settings = config.load(config_file).models
    return ModelStore(folder(settings.folder)), settings


def _agree(model_store: ModelStore, model: Model, accepted: bool) -> None:
    """Ask once for a licence that limits use; without a person to ask, it is refused by what comes next."""
    if model_store.is_accepted(model):
        return
    if not accepted and sys.stdin.isatty() and sys.stderr.isatty():
        echo(f"{model.licence.text}\n{model.source}", err=True)
        accepted = click.confirm("Is your use within that?", err=True)
    if accepted:
        model_store.accept(model)
    else:
        model_store.require_acceptance(model)


def _trusted(model: Model, found: str) -> None:
    text = f"note: no published hash of {model.file} is known: the one of this file, {found}, counts from now on."
    echo(text, err=True)


# -- for people ------------------------------------------------------------------------------


def _plain(model_store: ModelStore, model: Model) -> dict[str, Any]:
    licence = model.licence
    return {
        "name": model.name, "file": model.file, "what": model.what, "size": model.size,
        "sha256": model_store.expected(model),
        "licence": licence.word, "licence_text": licence.text, "use": licence.use,
        "licence_accepted": model_store.is_accepted(model), "source": model.source, "layout": model.layout,
        "urls": list(model.urls),
    }  # fmt: skip


def _there(state: Any) -> dict[str, Any]:
    return {"state": state.state, "path": str(state.path) if state.state in ("present", "wrong size") else None}


def _bytes(count: int | None) -> str | None:
    """`3.40 GB`, `436 MB`, `317 kB`."""
    if count is None:
        return None
    if count >= 1_000_000_000:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e3:.0f} kB"


def _part(count: int, of: int | None) -> str:
    return f"{100 * count // of} %" if of else str(_bytes(count))


@contextmanager
def _counted(stream: TextIO, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """The same display for who counts what is new instead of all."""
    with download_shown(stream, what) as at:
        seen = 0

        def count(new: int) -> None:
            nonlocal seen
            seen += new
            at(seen, total)

        yield count


@contextmanager
def download_shown(stream: TextIO, what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A display of bytes so far, of how many: a bar on a terminal, elsewhere a line every five seconds."""
    if not stream.isatty():
        said = time.monotonic()

        def tell(done: int, total: int | None) -> None:
            nonlocal said
            if time.monotonic() - said >= LINE_S:
                said = time.monotonic()
                echo_on(f"{what}: {_part(done, total)} of {_bytes(total) or '?'}", stream)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
