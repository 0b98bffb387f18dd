"""What `dub train` fine-tuned on a title's own dialogue, for the takes of that title and of no other.

    OUT/TITLE/models/<generator>/<generator>_adapter.pth   pairs of matrices (`networks.diffusion.lora`), and of what

A generator whose settings have `adapter` takes one: `auto`, which is the title's own where there is one; `off`; or a
file. Which file `auto` means is known where a title is (`Job.learnt`); to a generator alone it means none.
The file says by its hash which checkpoint it was learnt on, and is refused beside another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dubbing.errors import ManifestError, ModelError
from dubbing.models import load_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AUTO", "BASE", "FOLDER", "KEY", "OFF", "asks", "chosen", "content", "file_of", "of_title", "pairs_of",
           "with_adapter"]  # fmt: skip

KEY, AUTO, OFF = "adapter", "auto", "off"
FOLDER = "models"  # of a title's folder
BASE = "base_sha256"  # the tensor in the file, uint8 (32,)


def file_of(generator: str) -> str:
    """The name of the file."""
    return f"{generator}_adapter.pth"


def of_title(home: Path, generator: str) -> Path:
    """Where a title's own lies, which need not be there. home: the title's folder."""
    return home / FOLDER / generator / file_of(generator)


def asks(settings: Mapping[str, Any]) -> bool:
    """Whether a generator's settings leave it to the title, and name no file."""
    return settings.get(KEY, AUTO) == AUTO


def chosen(generator: str, adapter: str) -> Path | None:
    """The file that a setting names; None for `auto` and `off`. Raises ManifestError: a relative path; ModelError: no
    such file."""
    if adapter in (AUTO, OFF):
        return None
    path = Path(adapter).expanduser()
    if not path.is_absolute():
        raise ManifestError(
            f"generator {generator}: adapter: {adapter!r} is none of auto, off and a path from / or from ~."
        )
    if not path.is_file():
        raise ModelError(
            f"generator {generator}: there is no adapter {adapter!r}; `dub train {generator} --title OUT/TITLE` makes "
            "one."
        )
    return path


def content(pairs: Mapping[str, Tensor], base_sha256: str) -> dict[str, Any]:
    """What a file holds. base_sha256: hex, of the checkpoint that the pairs were learnt on."""
    import torch

    return {"state_dict": {**pairs, BASE: torch.tensor(list(bytes.fromhex(base_sha256)), dtype=torch.uint8)}}


def pairs_of(path: Path, base_sha256: str) -> dict[str, Tensor]:
    """The pairs of a file. Raises ModelError: no adapter, or one of another checkpoint than `base_sha256` (hex)."""
    found = load_state(path)
    base = found.pop(BASE, None)
    if base is None:
        raise ModelError(f"{str(path)!r} is no adapter of `dub train`; it does not say what it was learnt on.")
    on = bytes(base.flatten().tolist()).hex()
    if on != base_sha256:
        raise ModelError(
            f"{str(path)!r} was learnt on another checkpoint (sha256 {on}, here {base_sha256}); name that one under "
            f"`model`, or say `{KEY}: {OFF}`."
        )
    return found


def with_adapter(state: Mapping[str, Tensor], path: Path, base_sha256: str) -> dict[str, Tensor]:
    """A checkpoint's tensors with those of an adapter added. Raises ModelError, as `pairs_of`; of other matrices."""
    from dubbing.networks.diffusion import lora

    try:
        return lora.added(state, pairs_of(path, base_sha256))
    except ValueError as e:
        raise ModelError(f"{str(path)!r} does not fit its checkpoint: {e}.") from e
