"""What a recipe works on in one process: its networks, optimisers, precision, and its own numbers.

A recipe computes losses under `autocast`, calls `backward` and `update`; scaling, averaging over processes, clipping
and gradient norms happen here. It knows no design and no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dubbing.train.world import World

__all__ = ["State"]


@dataclass
class State:
    """One process's part of a run. memory: the recipe's own numbers, kept in checkpoints; step: updates done so far;
    norms: the gradients' length at the last update, by optimiser; share: see `World.average_gradients`."""

    settings: Any
    device: torch.device
    networks: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler] = field(default_factory=dict)
    frozen: dict[str, nn.Module] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    world: World = field(default_factory=World)
    step: int = 0
    share: float = 1.0
    norms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        on_gpu = self.device.type == "cuda" and self.settings.precision == "auto"
        half = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
        self.half: torch.dtype | None = half if on_gpu else None
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.half is torch.float16)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Half precision where the device has it. Losses with logarithms belong behind it, in float32."""
        if self.half is None:
            yield
        else:
            with torch.autocast(self.device.type, self.half):
                yield

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """These networks pass gradients on but collect none, as a discriminator does while its generator learns."""
        own = [p for name in names for p in self.networks[name].parameters() if p.requires_grad]
        for p in own:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in own:
                p.requires_grad_(True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def update(self, *names: str) -> None:
        """Step these optimisers with the gradients collected since, and forget the gradients."""
        for name in names:
            optimiser = self.optimisers[name]
            parameters = [p for g in optimiser.param_groups for p in g["params"]]
            self.world.average_gradients(parameters, self.share)
            self.scaler.unscale_(optimiser)
            limit = self.settings.clip_norm or float("inf")
            self.norms[name] = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
            self.scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
            if name in self.schedules:
                self.schedules[name].step()

    def mode(self, training: bool) -> None:
        """Batch norm and dropout as in training, or as in use."""
        for net in self.networks.values():
            net.train(training)
