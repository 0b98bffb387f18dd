"""Tensors out of a file that anybody may have made, and into a network of exactly that shape.

Read are safetensors files (the format is read here: a JSON header and raw bytes), torch checkpoints,
these through torch's restricted unpickler, and Keras's .h5 (`keras`): nothing in a file is executed, and
what would need that is refused. It knows no model by name and asks no registry.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from dubbing.errors import ModelError
from dubbing.inputs import not_a_file
from dubbing.models import keras
from dubbing.store import content_key

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["SAFETENSORS_TYPES", "fit", "is_program", "is_safetensors", "load_state", "look_into_pickle"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
MAX_HEADER_BYTES = 50_000_000
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch's files began before they were ZIP archives
_PLAIN = re.compile(r"collections\.OrderedDict|torch\.\w+|torch\._utils\._rebuild_\w+|torch\.storage\.\w+")
SAFETENSORS_TYPES = {  # of the format, and torch's
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
M = TypeVar("M", bound="Module")


def load_state(
    path: Path | str,
    *,
    sha256: str | None = None,
    beside: Sequence[str] = (),
    within: str | None = None,
    strict: bool = False,
) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its key, on the CPU, in the types of the file.

    path: safetensors, torch or Keras, told apart by content; what lies under `state_dict` (`model_state_dict`,
    `model_state`) is unwrapped, and `module.` before every key removed. sha256: hex that the file's bytes must have; a
    file from `models.path` was checked already; beside: tensors that are kept though they lie beside what is unwrapped;
    within: the name of one network's tensors in a file that may hold several; the file itself where it has no such
    part, which `strict` refuses. Raises ModelError: absent, another hash, cut short, code in it, no checkpoint.
    """
    path = Path(path)
    if kind := not_a_file(path):
        raise ModelError(f"{str(path)!r} is {kind}, and not a model file.")
    try:
        with path.open("rb") as f:
            head = f.read(9)
        size = path.stat().st_size
        found = content_key(path) if sha256 is not None else None
    except FileNotFoundError as e:
        raise ModelError(f"No such model file: {str(path)!r}.") from e
    except OSError as e:
        raise ModelError(f"The model file {str(path)!r} cannot be read ({e.strerror or e}).") from e
    if sha256 is not None and found != sha256.lower():
        raise ModelError(f"{str(path)!r} is not the file that was asked for: its sha256 is {found}, not {sha256}.")
    length = int.from_bytes(head[:8], "little")
    if head.startswith((ZIP, PICKLE)):
        content = _torch(path, head, size)
    elif head.startswith(keras.SIGNATURE):
        content = keras.read(path)
    elif _begins_as_safetensors(head):
        content = _safetensors(path, length, size)
    else:
        page = "; it looks like a web page" if head.lstrip()[:1] == b"<" else ""
        raise ModelError(f"{str(path)!r} is no checkpoint: neither safetensors nor torch nor Keras (.h5){page}.")
    if isinstance(content, Mapping) and within and isinstance(content.get(within), Mapping):
        content = content[within]
    elif within and strict:
        parts = [str(k) for k, v in content.items() if isinstance(v, Mapping)] if isinstance(content, Mapping) else []
        held = f"it holds {', '.join(parts)}" if parts else "it holds one network alone"
        raise ModelError(f"{str(path)!r} has no part {within!r}; {held}.")
    return _named(path, content, beside)


def fit(network: M, state: Mapping[str, Tensor], name: str) -> M:
    """Load `state` into `network`, every tensor of both, and return it.

    name: what to call the weights in a message. A missing `num_batches_tracked` is no mismatch (torch
    before 0.4.1 wrote none, and inference needs none). A network on torch's `meta` takes the tensors themselves.
    Raises ModelError naming the first key of the network that does not fit, with both shapes; or the keys that one
    side lacks.
    """
    import torch

    own = network.state_dict()
    missing = [k for k in own if k not in state and not k.endswith(".num_batches_tracked")]
    extra = [k for k in state if k not in own]
    for key, wanted in own.items():
        given = state.get(key, wanted)
        if given.shape != wanted.shape or given.is_floating_point() != wanted.is_floating_point():
            raise ModelError(
                f"{name} is a checkpoint of another architecture: {key!r} is {_shape(given)} in the file and "
                f"{_shape(wanted)} in the network."
            )
        if key in missing:
            break
    if missing or extra:
        lacks = f"has no {missing[0]!r} {_shape(own[missing[0]])}{_more(missing)}" if missing else ""
        knows = f"has {extra[0]!r} {_shape(state[extra[0]])}{_more(extra)}, which the network has not" if extra else ""
        what = " and ".join(part for part in (lacks, knows) if part)
        raise ModelError(f"{name} is a checkpoint of another architecture: the file {what}.")
    for key in own:
        if key in state and state[key].is_floating_point() and not bool(torch.isfinite(state[key]).all()):
            raise ModelError(f"{name} cannot be used: {key!r} holds values that are not finite.")
    bare = any(v.is_meta for v in own.values())
    network.load_state_dict({k: state.get(k, v) for k, v in own.items()}, strict=True, assign=bare)
    return network


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do; False where it cannot be read."""
    try:
        with path.open("rb") as f:
            return _begins_as_safetensors(f.read(9))
    except OSError:
        return False


def _begins_as_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES


def is_program(path: Path) -> bool:
    """Whether this is a TorchScript archive: a program with its weights, not a checkpoint."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/", 1)[-1] == "constants.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _shape(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" of {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{kind}"


def _more(keys: list[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""


def _named(path: Path, content: Any, beside: Sequence[str] = ()) -> dict[str, Tensor]:
    """The mapping of tensors in a file's content."""
    import torch

    kept = {key: content[key] for key in beside if isinstance(content, Mapping) and key in content}
    for name in ("state_dict", "model_state_dict", "model_state"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = {**content[name], **kept}
    if not isinstance(content, Mapping) or not content:
        what = "is empty" if isinstance(content, Mapping) else f"is of type {type(content).__name__}"
        raise ModelError(f"{str(path)!r} is no checkpoint: its content {what}, where tensors with names belong.")
    for key, value in content.items():
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not isinstance(key, str) or not plain or value.is_quantized:
            kind = type(value).__name__
            raise ModelError(
                f"{str(path)!r} is no checkpoint: {key!r} is of type {kind}, where a plain tensor belongs."
            )
    while all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return {key: value.detach() for key, value in content.items()}


# -- torch -----------------------------------------------------------------------------------


def _torch(path: Path, head: bytes, size: int) -> Any:
    """The content of a torch file, read by torch's restricted unpickler after a check that runs nothing."""
    if head.startswith(ZIP):
        _look_into_zip(path, size)
    else:
        with path.open("rb") as f:
            if not look_into_pickle(path, f).startswith(_MAGIC):
                raise ModelError(f"{str(path)!r} is no checkpoint: it is a Python pickle of something else.")
            for _ in range(3):  # version, system, content
                look_into_pickle(path, f)
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (Exception, MemoryError) as e:  # whatever a made-up file provokes
        reason = keras.printable(" ".join(str(e).split("\n")[-1].split())) or type(e).__name__
        raise ModelError(
            f"{str(path)!r} is damaged, cut short or no checkpoint ({reason}); load it again from its source."
        ) from e


def look_into_pickle(path: Path, f: IO[bytes]) -> bytes:
    """Pass over one pickle and return its bytes. Raises ModelError where it ends early, or names code."""
    start, strings = f.tell(), ["?", "?"]
    try:
        for op, value, _ in pickletools.genops(f):
            if op.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                name = ".".join(strings[-2:]) if value is None else str(value).replace(" ", ".")
                if not _PLAIN.fullmatch(name):
                    raise ModelError(
                        f"{str(path)!r} holds more than tensors ({keras.printable(name)}): loading that could run "
                        "code, so it was refused; use a file of tensors alone, such as the published one."
                    )
            elif isinstance(value, str):
                strings.append(value)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, EOFError) as e:
        raise ModelError(f"{str(path)!r} is cut short or damaged; load it again from its source.") from e
    end = f.tell()
    f.seek(start)
    return f.read(end - start)


def _look_into_zip(path: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            if is_program(path):
                raise ModelError(
                    f"{str(path)!r} is a TorchScript program, which would have to be executed: use the checkpoint "
                    "with its tensors instead."
                )
            members = archive.infolist()
            data = next((m for m in members if m.filename.endswith("/data.pkl")), None)
            if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
                raise ModelError(f"{str(path)!r} is no checkpoint: its parts are compressed, which torch never does.")
            if data is None:
                raise ModelError(f"{str(path)!r} is no checkpoint: it is a ZIP archive of something else.")
            with archive.open(data) as f:
                look_into_pickle(path, io.BytesIO(f.read()))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as e:
        raise ModelError(f"{str(path)!r} is cut short or damaged; load it again from its source.") from e


# -- safetensors -----------------------------------------------------------------------------


def _safetensors(path: Path, length: int, size: int) -> dict[str, Tensor]:
    """The format, as `convert` writes it: keys of `__metadata__` that name another key share its tensor."""
    import torch

    with path.open("rb") as f:
        f.seek(8)
        text = f.read(length)
        try:
            if len(text) < length:
                raise EOFError
            entries = dict(json.loads(text))
            noted = entries.pop("__metadata__", None)
            placed = [
                (k, SAFETENSORS_TYPES[v["dtype"]], list(v["shape"]), *v["data_offsets"]) for k, v in entries.items()
            ]
            placed.sort(key=lambda entry: entry[3])
            end = 0
            for _, dtype, shape, start, stop in placed:
                count = math.prod(shape) * getattr(torch, dtype).itemsize
                if start != end or stop - start != count or any(type(n) is not int or n < 0 for n in shape):
                    raise ValueError("offsets do not meet")
                end = stop
            if 8 + length + end > size:
                raise EOFError
            if 8 + length + end < size:
                raise ValueError("bytes that belong to no tensor")
        except EOFError as e:
            raise ModelError(f"{str(path)!r} is cut short: it ends after {size} bytes; load it again.") from e
        except (KeyError, TypeError, ValueError, RecursionError) as e:
            raise ModelError(f"{str(path)!r} is no checkpoint: its safetensors header is wrong ({e}).") from e
        out: dict[str, Tensor] = {}
        for key, dtype, shape, start, stop in placed:
            kind = getattr(torch, dtype)
            if stop == start:
                out[key] = torch.empty(shape, dtype=kind)
                continue
            f.seek(8 + length + start)
            out[key] = torch.frombuffer(bytearray(f.read(stop - start)), dtype=kind).reshape(shape)
    shared = noted.items() if isinstance(noted, dict) else ()
    return out | {k: out[v] for k, v in shared if k not in out and isinstance(v, str) and v in out}
