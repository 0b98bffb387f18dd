"""The protocol of a recipe, which defines one design to train, and the settings that all recipes share.

The loop knows no design; a recipe knows no loop, no file and no process. One training item is drawn from one
clip; the loop stacks items to batches of tensors on the device and hands them to `step`, which does one
forward, backward and update of every network it trains:

    class LipReader(Recipe):
        name, monitor, Settings = "lip_reader", "l1", MySettings
        def networks(self, settings): return {"generator": Net()}
        def optimisers(self, settings, networks): return {"generator": Adam(networks["generator"].parameters(), 1e-4)}
        def item(self, data, sample, rng, settings):
            clip = data.load(sample, first, 5)
            return {"face": clip.faces_NHWC, ...}                 # numpy arrays of one shape for every item
        def step(self, batch, state):
            with state.autocast():
                loss = ...
            state.backward(loss)
            state.update("generator")                             # averages over processes, clips, steps
            return {"l1": loss}
        def held_out(self, batch, state): ...                     # no gradients, networks in eval mode
        def export(self, settings, networks): return {...}, "mine.pth"

Everything random in an item comes from `rng`, which is a function of the seed, the epoch and the clip, so that a
resumed run draws the same items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from dubbing.train.state import State
    from dubbing.train.world import World

__all__ = ["Batch", "ClipLike", "Data", "Numbers", "Recipe", "SampleLike", "Settings", "as_batch", "to_floats"]

Batch = dict[str, "Tensor"]
Numbers = Mapping[str, "float | Tensor"]


class SampleLike(Protocol):
    """One clip of a dataset, without its content. frames: how many it has, 25 a second; digest: of what is stored."""

    @property
    def id(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def digest(self) -> str: ...


class ClipLike(Protocol):
    """Some frames of a clip with their sound; see `dubbing.dataset.shards.Clip`."""

    @property
    def faces_NHWC(self) -> np.ndarray: ...
    @property
    def wave(self) -> np.ndarray: ...
    @property
    def lead(self) -> int: ...
    @property
    def shapes_NP2(self) -> np.ndarray: ...
    @property
    def lips_N4(self) -> np.ndarray: ...


class Data(Protocol):
    """The data that items are drawn from; `dubbing.dataset.shards.Dataset` is one. hash: of its content."""

    @property
    def hash(self) -> str: ...
    def of(self, split: Any) -> Sequence[Any]: ...
    def load(self, sample: Any, first: int = 0, count: int | None = None, tail: int = 0) -> Any: ...


class Settings(BaseModel):
    """Settings of every recipe, given by `--set key=value`; recipes add their own and change defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(16, ge=1, description="items a step, over all processes together")
    seed: int = Field(0, ge=0, description="of the first weights, the order and the items")
    clip_norm: float = Field(0.0, ge=0, description="gradients longer than this are shortened to it; 0: never")
    precision: Literal["auto", "float32"] = Field(
        "auto", description="auto: bfloat16, or float16 with loss scaling, on a GPU; float32 on a processor"
    )
    held_out_steps: int = Field(500, ge=1, description="steps between two looks at the held-out speakers")
    held_out_clips: int = Field(256, ge=1, description="how many of their clips are looked at, at most")
    held_out_items: int = Field(32, ge=1, description="at how many moments, at least: of few clips several of each")
    patience: int = Field(
        0, ge=0, description="looks without a better held-out number after which training stops; 0: never"
    )
    checkpoint_steps: int = Field(500, ge=1, description="steps between two checkpoints, at most")
    checkpoint_minutes: float = Field(10.0, gt=0, description="minutes between two checkpoints, at most")
    picture_steps: int = Field(500, ge=1, description="steps between two sheets of sample pictures")
    record_items: bool = Field(
        False, description="write which clips each process took in which step to items-<process>.jsonl"
    )
    result: Literal["best", "last"] = Field(
        "best", description="which model is published: the best on held-out speakers, or the last"
    )


class Recipe(ABC):
    """One design: how its items are drawn, its networks learn, its result is published.

    name: on the command line; summary: one line; monitor: the held-out number whose smallest value is the best
    model; least_items: the fewest items a process needs in a batch (2 where a batch norm sees one value an item);
    of_title: whether it fine-tunes published weights on one title and nothing else: it begins with those weights, and
    what it learns lies in that title's folder; crop: whose boxes its faces are, of `dataset.faces.CROPS`, None for the
    first.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    monitor: ClassVar[str]
    least_items: ClassVar[int] = 1
    of_title: ClassVar[bool] = False
    crop: ClassVar[str | None] = None
    Settings: ClassVar[type[Settings]] = Settings

    # -- what is trained ---------------------------------------------------------------------

    @abstractmethod
    def networks(self, settings: Any) -> dict[str, nn.Module]:
        """The networks that are trained, by name, with first weights (torch's generator is seeded), on the CPU."""

    @abstractmethod
    def optimisers(self, settings: Any, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        """One optimiser per name that `State.update` is given."""

    def schedules(self, settings: Any, optimisers: Mapping[str, Optimizer]) -> dict[str, LRScheduler]:
        """Learning-rate schedules by optimiser name, stepped with every update; none by default."""
        return {}

    def frozen(self, settings: Any) -> dict[str, nn.Module]:
        """Networks that are used and never trained, such as an expert; not part of checkpoints."""
        return {}

    def files(self, settings: Any) -> tuple[Path, ...]:
        """Files the settings name: their content is part of what a checkpoint belongs to. Raises InputError."""
        return ()

    def memory(self, settings: Any) -> dict[str, float]:
        """The first values of the recipe's own numbers that change in training and that checkpoints keep."""
        return {}

    def notes(self, settings: Any) -> tuple[str, ...]:
        """What has to be known of models that are learnt so, a sentence each: said at the start, kept in the card."""
        return ()

    # -- items -------------------------------------------------------------------------------

    def look_at(self, data: Data, settings: Any) -> None:
        """Raises InputError where the data are not what this design learns from."""
        return

    def usable(self, sample: SampleLike, settings: Any) -> bool:
        """Whether a clip is long enough for an item."""
        return sample.frames > 0

    @abstractmethod
    def item(self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: Any) -> dict[str, np.ndarray]:
        """One training item: arrays of the same names, shapes and types for every clip. Runs on a thread."""

    # -- learning ----------------------------------------------------------------------------

    def initial_state(self, settings: Any, device: torch.device | str = "cpu", world: World | None = None) -> State:
        """Networks with their first weights, which the seed alone decides, on the device, and their optimisers."""
        import torch

        from dubbing.train.state import State
        from dubbing.train.world import World

        device = torch.device(device)
        torch.manual_seed(settings.seed)
        networks = {name: net.to(device) for name, net in self.networks(settings).items()}
        if device.type == "cuda":
            networks = {name: net.to(memory_format=torch.channels_last) for name, net in networks.items()}  # type: ignore[call-overload]
        frozen = {name: net.to(device).eval() for name, net in self.frozen(settings).items()}
        for net in frozen.values():
            net.requires_grad_(False)
        optimisers = self.optimisers(settings, networks)
        return State(
            settings, device, networks, optimisers, self.schedules(settings, optimisers), frozen,
            dict(self.memory(settings)), world or World(),
        )  # fmt: skip

    @abstractmethod
    def step(self, batch: Batch, state: State) -> Numbers:
        """Learn from one batch; the losses by name, numbers or tensors of one. Networks are in training mode."""

    @abstractmethod
    def held_out(self, batch: Batch, state: State) -> Numbers:
        """The means over a batch of held-out speakers, by name. No gradients, networks in evaluation mode."""

    def on_validation_end(self, numbers: Mapping[str, float], state: State) -> None:
        """Called with the held-out means after every validation; may change `state.memory` (to switch a loss on)."""
        return

    def pictures(self, batch: Batch, state: State) -> np.ndarray | None:
        """A contact sheet of a batch, uint8 BGR (H, W, 3), or None. No gradients, evaluation mode."""
        return None

    # -- the result --------------------------------------------------------------------------

    @abstractmethod
    def export(self, settings: Any, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        """(what torch.save writes: the published layout, file name): what `dub run` loads."""

    def use(self, file: Path, settings: Any) -> str:
        """One line that says how the published file is used."""
        return ""

    def begin(self, networks: Mapping[str, nn.Module], state: Mapping[str, Tensor], name: str) -> None:
        """Start from a published checkpoint (`--from`). Raises ModelError: of another architecture."""
        from dubbing import models

        models.fit(next(iter(networks.values())), state, name)


def as_batch(items: Sequence[Mapping[str, np.ndarray]], device: torch.device) -> Batch:
    """Items stacked along a first axis, on the device, in their own types."""
    import torch

    stacked = {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}
    if device.type == "cuda":
        return {key: t.pin_memory().to(device, non_blocking=True) for key, t in stacked.items()}
    return stacked


def to_floats(numbers: Numbers) -> dict[str, float]:
    """Numbers and tensors of one as numbers."""
    return {name: float(v) if isinstance(v, (int, float)) else float(v.detach()) for name, v in numbers.items()}
