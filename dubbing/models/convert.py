"""A checkpoint that is a Python pickle, written anew as safetensors: tensors alone, which nothing can be hidden in.

What is read is what `weights.load_state` reads: nothing in the file is executed, and a file that needs that is refused.
The same tensors give the same bytes.

The format (https://github.com/huggingface/safetensors): 8 bytes of header length, little-endian; JSON
{key: {dtype, shape, data_offsets}}; the bytes. A tensor that several keys share is written once, under the first of
them in order of names; the others stand in the header's `__metadata__` as {key: the key it shares}, as the format's
authors do it, and `load_state` gives them back.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dubbing.errors import InputError, ModelError
from dubbing.models.weights import SAFETENSORS_TYPES, is_safetensors, load_state
from dubbing.store import PART, content_key, output_error

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SUFFIX", "Converted", "to_safetensors"]

SUFFIX = ".safetensors"
_ALIGN = 8


@dataclass(frozen=True)
class Converted:
    """tensors: keys in all; shared: keys whose tensor stands under another; sha256 (hex) of both files."""

    file: Path
    to: Path
    tensors: int
    shared: int
    file_sha256: str
    to_sha256: str


def to_safetensors(file: Path, to: Path, part: str | None = None) -> Converted:
    """Write the tensors of a checkpoint to a new file.

    part: the name of one network's tensors in a file that holds several; what lies under `state_dict` is unwrapped
    without being named. Raises ModelError: no checkpoint, code in it, safetensors already, no such part; InputError:
    `to` has another ending or is there; OutputError: it cannot be written.
    """
    if to.suffix != SUFFIX:
        raise InputError(f"{str(to)!r} does not end in {SUFFIX}; name the new file so.")
    if to.exists():
        raise InputError(f"{str(to)!r} is there already; name another file, or remove it.")
    if is_safetensors(file):
        raise ModelError(f"{str(file)!r} is safetensors already; use it as it is.")
    state = load_state(file, within=part, strict=True)
    before = content_key(file)
    partial = to.with_name(f"{PART}{uuid.uuid4().hex[:8]}-{to.name}")
    try:
        with partial.open("wb") as out:
            shared = _write(state, out, file)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, to)
    except OSError as e:
        raise output_error(to, e) from e
    finally:
        with suppress(OSError):
            partial.unlink()
    return Converted(file, to, len(state), shared, before, content_key(to))


def _write(state: Mapping[str, Tensor], out: IO[bytes], file: Path) -> int:
    """The whole file; returns how many keys share another's tensor."""
    import torch

    names = {str(getattr(torch, kind)): code for code, kind in SAFETENSORS_TYPES.items()}
    first: dict[tuple[Any, ...], str] = {}
    header: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    end = 0
    for key in sorted(state):
        tensor = state[key]
        if str(tensor.dtype) not in names:
            raise ModelError(f"{str(file)!r} cannot be converted: {key!r} is {tensor.dtype}, which the format lacks.")
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in first:
            aliases[key] = first[place]
            continue
        first[place] = key
        size = tensor.numel() * tensor.element_size()
        header[key] = {
            "dtype": names[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [end, end + size],
        }  # fmt: skip
        end += size
    text = json.dumps(({"__metadata__": aliases} if aliases else {}) | header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    out.write(len(text).to_bytes(8, "little") + text)
    for key in header:
        if state[key].numel():
            out.write(state[key].contiguous().flatten().view(torch.uint8).numpy().data)
    return len(aliases)
