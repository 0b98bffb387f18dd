"""Where networks run: a GPU where torch sees one, else the processor. torch is imported only to answer.

It knows no network, and what an engine lends to whom is the engine's business: a worker that was lent no GPU sees none.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["default", "described", "exact"]


def default(profits_from_gpu: bool = True) -> str:
    """`cuda` where torch sees a GPU and whoever asks profits from it, else `cpu`."""
    if not profits_from_gpu:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def described(device: str) -> str:
    """A device for people: `cpu`, or `cuda (NVIDIA H200)`."""
    if device.partition(":")[0] != "cuda":
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if torch.cuda.is_available() else device


def exact(device: Any) -> AbstractContextManager[None]:
    """On a GPU (a torch.device): no shortened float32, which torch allows for convolutions by default, and the same
    sums every time."""
    if device.type == "cpu":
        return nullcontext()
    import torch

    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
