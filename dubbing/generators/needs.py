"""What a generator's networks need of a machine, said before any work: packages of an extra, memory of a GPU."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence

from dubbing.errors import ModelError, PluginError

__all__ = ["free_bytes", "packages", "require_memory", "share", "shortage"]

_USUAL_BYTES = 24_000_000_000

Need = Callable[[int, int], int]
"""Bytes of a GPU's memory, weights included, for a batch of so many frames at a size of so many pixels."""


def packages(generator: str, extra: str, modules: dict[str, str]) -> None:
    """Raises PluginError where a package is absent. modules: what is imported -> how its package is called."""
    absent = [name for module, name in modules.items() if importlib.util.find_spec(module) is None]
    if absent:
        are = "is" if len(absent) == 1 else "are"
        raise PluginError(
            f"generator {generator} needs {' and '.join(absent)}, which {are} not installed: "
            f"pip install 'dubbing[{extra}]'."
        )


def free_bytes(device: str) -> int | None:
    """Of a GPU's memory; None for a processor, and where torch sees no GPU."""
    if device.partition(":")[0] != "cuda":
        return None
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) if torch.cuda.is_available() else None


def shortage(generator: str, need: Need, free: int, batch: int, size: int, sizes: Sequence[int] = ()) -> str | None:
    """A sentence where `need` of `batch` frames at `size` pixels is more than is free, with what fits; else None.

    sizes: what `size` may be otherwise. A smaller batch is preferred, then a smaller size.
    """
    if (wanted := need(batch, size)) <= free:
        return None
    said = (
        f"generator {generator} needs {_gb(wanted)} of the GPU's memory for {batch} frames of {size} pixels at once, "
        f"and {_gb(free)} are free: "
    )
    for one in (size, *sorted((s for s in sizes if s < size), reverse=True)):
        for fewer in range(batch, 0, -1):
            if need(fewer, one) <= free:
                other = [f"`batch: {fewer}`"] * (fewer != batch) + [f"`size: {one}`"] * (one != size)
                return f"{said}{' with '.join(other)} fits."
    return f"{said}not even one frame fits; use a GPU with {_gb(need(1, size))} free, or none (CUDA_VISIBLE_DEVICES=)."


def share(wanted: int) -> float:
    """The share of a GPU that a worker of `wanted` bytes holds, in eighths, at least a quarter: of one with 24 GB, so
    that workers side by side fit on those that there are mostly; on a smaller one the configuration says more."""
    return min(1.0, max(0.25, math.ceil(8 * wanted / _USUAL_BYTES) / 8))


def require_memory(
    generator: str, need: Need, device: str, batch: int, size: int, sizes: Sequence[int] = ()
) -> None:  # fmt: skip
    """As `shortage`, of what is free on a device now. Raises ModelError."""
    free = free_bytes(device)
    if free is not None and (said := shortage(generator, need, free, batch, size, sizes)):
        raise ModelError(said)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
