"""The processes that train together: averages and agreements between them. With one process, nothing happens.

Gradients are averaged here, explicitly, in place of a wrapper around each network: recipes with several networks
run each of them several times in one step, some without gradients, which such wrappers do not support. It knows torch's
process groups; whoever starts the processes (`processes`) sets the group up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as group

__all__ = ["World"]


@dataclass(frozen=True)
class World:
    """rank: of this process, 0 first; size: how many there are. All of them must make the same calls in order."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[Tensor], share: float) -> None:
        """Mean of every gradient over the processes, each weighted with its part of the batch.

        share: this process's items over the mean number of items a process has. A parameter without a gradient
        in this process counts as zero.
        """
        if self.size == 1:
            return
        own = [p for p in parameters if p.requires_grad]
        for p in own:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in own if p.grad is not None]
        if not grads:
            return
        flat = torch.cat([g.reshape(-1) for g in grads]) * share
        group.all_reduce(flat)
        flat /= self.size
        at = 0
        for g in grads:
            g.copy_(flat[at : at + g.numel()].view_as(g))
            at += g.numel()

    def share_buffers(self, network: nn.Module) -> None:
        """Copy the first process's running means and counters to all others."""
        if self.size > 1:
            for buffer in network.buffers():
                group.broadcast(buffer, 0)

    def mean(self, sums: Mapping[str, float], count: int, device: torch.device) -> dict[str, float]:
        """Means over all processes of sums of `count` items each; the names must be the same everywhere."""
        if self.size == 1:
            return {name: value / count for name, value in sums.items()}
        names = sorted(sums)
        numbers = torch.tensor([*(sums[n] for n in names), count], dtype=torch.float64, device=device)
        group.all_reduce(numbers)
        *totals, items = numbers.tolist()
        return {n: t / items for n, t in zip(names, totals, strict=True)} if items else {}

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is set in any process."""
        if self.size == 1:
            return flag
        number = torch.tensor([float(flag)], device=device)
        group.all_reduce(number)
        return bool(number.item() > 0)
