"""A training run in one of its processes: epochs, validation on held-out speakers, checkpoints, stopping, the result.

    OUT/checkpoint.pt, best.pt   see `checkpoints`
    OUT/losses.jsonl, tensorboard/   see `logs`
    OUT/<name>.pth               the result in the published layout, of the best model
    OUT/model.json               what it is: recipe, settings, data, steps, held-out numbers

The same call goes on where a killed one stopped, and its losses are those of an undisturbed run. It knows no design
and no Ray.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dubbing import __version__, models
from dubbing.errors import DubError, InputError, ModelError, several
from dubbing.store import content_key
from dubbing.store.folder import replace
from dubbing.train import checkpoints, recipes
from dubbing.train.checkpoints import Identity, Position
from dubbing.train.feed import Draw, Feed
from dubbing.train.logs import Logs
from dubbing.train.recipe import Batch, Data, Recipe, as_batch, to_floats
from dubbing.train.sampler import order, step_seed, steps_of, strided
from dubbing.train.stopping import STOP, stop_asked
from dubbing.train.title import OfTitle
from dubbing.train.world import World

__all__ = ["CARD", "TrainingPlan", "Progress", "Result", "check", "train", "spread"]

CARD = "model.json"


@dataclass(frozen=True)
class TrainingPlan:
    """A run as the user asked for it. It travels to other processes by pickle.

    settings: those that differ from the recipe's own; steps, epochs, minutes: where it ends, whichever comes first,
    None for no limit; start: a checkpoint in the published layout to begin from; title: whose clips alone are learnt
    from; device: None for a GPU where there is one; threads: that draw items; loaders: processes
    that do so instead, None for as many as there are cores to spare where there is a GPU, and none without; boards:
    whether TensorBoard's files are written.
    """

    recipe: str
    data: Path
    out: Path
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    start: Path | None = None
    title: str | None = None
    device: str | None = None
    threads: int = 2
    loaders: int | None = None
    boards: bool = True


@dataclass(frozen=True)
class Progress:
    """Progress after a step or a validation. of: steps in all, None where that is not known; rate: steps a second since
    this process began; held_out: numbers of a validation, empty after a step; note: a line to print, or empty."""

    step: int
    of: int | None
    epoch: int
    losses: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    held_out: dict[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Result:
    """How a run ended. file: the result in the published layout; step, epoch: the last ones; best_step: of the
    model in `file`; held_out: that model's numbers; why: what ended it; use: how the file is used."""

    recipe: str
    file: str
    step: int
    epoch: int
    best_step: int
    held_out: dict[str, float]
    why: str
    use: str = ""

    @staticmethod
    def read(out: Path) -> Result:
        """How the run in a folder ended, from its card."""
        card = json.loads((out / CARD).read_text(encoding="utf-8"))
        return Result(
            card["recipe"], str(out / card["file"]), card["steps"], card["epochs"], card["best_step"],
            card["held_out"], card["ended"], card["use"],
        )  # fmt: skip


Watch = Callable[[Progress], None]


def train(
    plan: TrainingPlan, watch: Watch = lambda progress: None, data: Data | None = None, world: World | None = None
) -> Result:
    """Do a run, or go on with it. data: in place of the folder the plan names.

    Raises InputError (settings, data, too few clips), ModelError (a checkpoint of another run), OutputError,
    KeyboardInterrupt after SIGINT or SIGTERM with everything done so far in a checkpoint.
    """
    return _Run(plan, watch, data, world or World()).run()


def check(plan: TrainingPlan, workers: int = 1) -> None:
    """Everything about a plan that can be wrong before a network is made. Raises InputError, ModelError."""
    wanted = _Wanted(plan)
    steps_of(np.arange(len(wanted.train)), wanted.settings.batch, workers, wanted.recipe.least_items)
    checkpoints.fits(plan.out, wanted.identity)


class _Wanted:
    """A plan with everything that it names loaded: recipe, settings, data, clips, identity."""

    def __init__(self, plan: TrainingPlan, data: Data | None = None) -> None:
        self.plan = plan
        self.recipe: Recipe = recipes.find(plan.recipe)
        self.settings = recipes.settings_of(self.recipe, plan.settings)
        self.data: Data = data if data is not None else _opened(plan)
        self.recipe.look_at(self.data, self.settings)
        self.train = self._usable("train")
        self.val = spread(self._usable("val"), self.settings.held_out_clips)
        if not self.train:
            raise InputError(
                f"There is no clip in the split `train` of {str(plan.data)!r} that {plan.recipe} can use; see its card "
                "for what was rejected."
            )
        files = [content_key(Path(f)) for f in self.recipe.files(self.settings)]
        if plan.start is not None:
            if not plan.start.is_file():
                raise ModelError(f"There is no checkpoint {str(plan.start)!r} to start from.")
            files.append(content_key(plan.start))
        said = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        self.identity = Identity(plan.recipe, said, self.data.hash, " ".join(files))

    def _usable(self, split: str) -> list[Any]:
        return sorted((s for s in self.data.of(split) if self.recipe.usable(s, self.settings)), key=lambda s: s.id)


class _Run(_Wanted):
    def __init__(self, plan: TrainingPlan, watch: Watch, data: Data | None, world: World) -> None:
        super().__init__(plan, data)
        self.watch, self.world = watch if world.first else (lambda progress: None), world
        device = plan.device or (
            f"cuda:{world.rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        )
        self.state = self.recipe.initial_state(self.settings, device, world)
        found = checkpoints.load(plan.out, self.identity, self.state)
        if found is None and plan.start is not None:
            self.recipe.begin(self.state.networks, models.load_state(plan.start), str(plan.start))
        self.at = found or Position()
        self.resumed = found is not None
        self._began_s, self._first_step = time.monotonic(), self.at.step
        self._saved = (self.at.step, time.monotonic())
        self._before_s, self.per_epoch = self.at.seconds, 0
        self.logs: Logs | None = None
        self._asked = threading.Event()
        draw = Draw(self.recipe, self.settings, self.data, {"train": self.train, "val": self.val})
        spare = min(16, (os.cpu_count() or 2) // world.size - 2) if self.state.device.type == "cuda" else 0
        self.feed = Feed(draw, plan.threads, max(0, spare) if plan.loaders is None else plan.loaders)

    # -- the run -----------------------------------------------------------------------------

    def run(self) -> Result:
        steps = steps_of(np.arange(len(self.train)), self.settings.batch, self.world.size, self.recipe.least_items)
        self.per_epoch = len(steps)
        if self.world.first:
            self.logs = Logs(self.plan.out, self.at.step, self.plan.boards)
        self._say(
            f"{self.plan.recipe}: {several(len(self.train), 'clip')} to learn from, "
            f"{len(self.val)} of held-out speakers, {several(self.per_epoch, 'step')} an epoch, on {self.state.device}"
            + (f"; goes on at step {self.at.step}" if self.resumed else "")
        )
        for note in self.recipe.notes(self.settings):
            self._say(note)
        try:
            with stop_asked() as self._asked:
                why = self._why()
                while not why:
                    why = self._epoch()
            if self.val and self.at.step % self.settings.held_out_steps and self.at.best_step != self.at.step:
                self._look(last=True)
            self._save()
            return self._publish(why)
        finally:
            self.feed.close()
            if self.logs is not None:
                self.logs.close()

    def _why(self) -> str:
        """Why the run ends here, or an empty text."""
        at, plan = self.at, self.plan
        if at.stopped:
            return f"no better held-out number in {self.settings.patience} looks"
        if plan.steps is not None and at.step >= plan.steps:
            return several(plan.steps, "step")
        if plan.epochs is not None and at.epoch >= plan.epochs:
            return f"{plan.epochs} epochs"
        if plan.minutes is not None and self.world.any(self._seconds() >= 60 * plan.minutes, self.state.device):
            return f"{plan.minutes:g} minutes"
        return ""

    def _epoch(self) -> str:
        """Train for the rest of the epoch. Returns why the run ends in it, or an empty text."""
        world, settings, at = self.world, self.settings, self.at
        permutation = order(len(self.train), settings.seed, at.epoch)
        steps = steps_of(permutation, settings.batch, world.size, self.recipe.least_items)
        own = [strided(s, world.rank, world.size) for s in steps]
        for items in self.feed.ahead("train", at.epoch, own[at.done :]):
            whole = len(steps[at.done])
            if settings.record_items:
                self._record(own[at.done])
            self._step(as_batch(items, self.state.device), len(items) * world.size / whole)
            at.done += 1
            if at.done == len(steps):
                at.epoch, at.done = at.epoch + 1, 0
            if at.step % settings.held_out_steps == 0:
                self._look()
            self._maybe_save(at.done == 0)
            if world.any(self._stopped(), self.state.device):
                self._save()
                raise KeyboardInterrupt
            if why := self._why():
                return why
        return ""

    def _step(self, batch: Batch, share: float) -> None:
        state, at = self.state, self.at
        torch.manual_seed(step_seed(self.settings.seed, at.step, self.world.rank))
        state.share = share
        state.mode(training=True)
        own = to_floats(self.recipe.step(batch, state))
        state.scaler.update()
        for net in state.networks.values():
            self.world.share_buffers(net)
        at.step += 1
        state.step = at.step
        at.seconds = self._seconds()
        count = len(next(iter(batch.values())))
        losses = self.world.mean({name: value * count for name, value in own.items()}, count, state.device)
        if bad := [name for name, value in losses.items() if not math.isfinite(value)]:
            raise DubError(
                f"The loss {', '.join(bad)} is not finite at step {at.step}; run with a smaller learning rate or "
                "clip_norm=1, into another --out."
            )
        numbers = {**losses, **{f"grad_norm/{name}": value for name, value in state.norms.items()}}
        if self.logs is not None:
            self.logs.losses(at.step, at.epoch, numbers)
        rate = (at.step - self._first_step) / max(1e-9, time.monotonic() - self._began_s)
        self.watch(Progress(at.step, self._of(), at.epoch, losses, rate))
        if at.step % self.settings.picture_steps == 0 and self.logs is not None:
            self._sheet(batch)

    def _stopped(self) -> bool:
        """Whether this process was told to stop; of several, the first one looks for a file that says so."""
        several = self.world.size > 1 and self.world.first
        return self._asked.is_set() or (several and (self.plan.out / STOP).exists())

    def _record(self, items: list[int]) -> None:
        line = {"step": self.at.step + 1, "epoch": self.at.epoch, "clips": [self.train[n].id for n in items]}
        path = self.plan.out / f"items-{self.world.rank}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line) + "\n")

    def _sheet(self, batch: Batch) -> None:
        self.state.mode(training=False)
        with torch.no_grad():
            sheet = self.recipe.pictures(batch, self.state)
        if sheet is not None and self.logs is not None:
            self.logs.picture(self.at.step, sheet)

    def _of(self) -> int | None:
        ends = [self.plan.steps, self.plan.epochs * self.per_epoch if self.plan.epochs is not None else None]
        return min((n for n in ends if n is not None), default=None)

    def _seconds(self) -> float:
        return self._before_s + time.monotonic() - self._began_s

    # -- held-out speakers -------------------------------------------------------------------

    def _look(self, last: bool = False) -> None:
        """Validate, and keep the model where it is the best so far. Every process gets the same numbers.

        last: at the end of a run, at a step where a longer run would not validate, so nothing else may change.
        """
        if not self.val:
            return
        state, at = self.state, self.at
        numbers = self._held_out()
        at.held_out = numbers
        if not last:
            self.recipe.on_validation_end(numbers, state)
        if self.logs is not None:
            self.logs.held_out(at.step, at.epoch, numbers)
        value = numbers[self.recipe.monitor]
        if at.best is None or value < at.best:
            at.best, at.best_step, at.worse = value, at.step, 0
            if self.world.first:
                checkpoints.save_best(self.plan.out, self.identity, state, at)
        elif not last:
            at.worse += 1
            at.stopped = 0 < self.settings.patience <= at.worse
        self.watch(Progress(at.step, self._of(), at.epoch, held_out=numbers))

    def _held_out(self) -> dict[str, float]:
        self.state.mode(training=False)
        own = list(range(max(len(self.val), self.settings.held_out_items)))
        if len(own) >= self.world.size:  # with fewer clips than processes, each looks at all of them
            own = strided(own, self.world.rank, self.world.size)
        size = max(1, self.settings.batch // self.world.size)
        batches = [own[n : n + size] for n in range(0, len(own), size)]
        sums: dict[str, float] = {}
        torch.manual_seed(step_seed(self.settings.seed, -1, self.world.rank))
        with torch.no_grad():
            for items in self.feed.ahead("val", "held out", batches):
                numbers = to_floats(self.recipe.held_out(as_batch(items, self.state.device), self.state))
                for name, value in numbers.items():
                    sums[name] = sums.get(name, 0.0) + value * len(items)
        return self.world.mean(sums, len(own), self.state.device)

    # -- what is kept ------------------------------------------------------------------------

    def _maybe_save(self, epoch_ended: bool) -> None:
        steps, seconds = self.at.step - self._saved[0], time.monotonic() - self._saved[1]
        wanted = self.settings.checkpoint_steps
        late = seconds > 60 * self.settings.checkpoint_minutes
        if steps >= wanted or (epoch_ended and 10 * steps >= wanted) or self.world.first and late:
            self._save()

    def _save(self) -> None:
        """The first process writes the files, and the others do not wait for it."""
        if self.world.first and (self.at.step != self._saved[0] or not (self.plan.out / checkpoints.FILE).exists()):
            assert self.logs is not None
            self.logs.flush()
            checkpoints.save(self.plan.out, self.identity, self.state, self.at)
        self._saved = (self.at.step, time.monotonic())

    def _publish(self, why: str) -> Result:
        """The best model in the published layout. Every process comes here; the first one writes."""
        at = self.at
        best = None
        if self.val and self.world.first and self.settings.result == "best":
            best = checkpoints.load_best(self.plan.out, self.identity, self.state)
        content, name = self.recipe.export(self.settings, self.state.networks)
        file = self.plan.out / name
        numbers = best.held_out if best is not None else at.held_out
        step = best.step if best is not None else at.step
        result = Result(
            self.plan.recipe, str(file), at.step, at.epoch, step, numbers, why, self.recipe.use(file, self.settings)
        )
        if self.world.first:
            checkpoints.write(file, content)
            card = {
                "schema": "dub.model.1", "version": __version__, "recipe": self.plan.recipe, "file": name,
                "sha256": content_key(file), "settings": json.loads(self.identity.settings), "data": self.data.hash,
                "clips": len(self.train), "held_out_clips": len(self.val), "steps": at.step, "epochs": at.epoch,
                "best_step": step, "held_out": numbers, "ended": why, "seconds": round(at.seconds, 1),
                "started_from": self.plan.start.name if self.plan.start else None, "title": self.plan.title,
                "use": result.use, "notes": list(self.recipe.notes(self.settings)),
            }  # fmt: skip
            replace(self.plan.out / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
        return result

    def _say(self, text: str) -> None:
        self.watch(Progress(self.at.step, self._of(), self.at.epoch, note=text))


def spread(samples: list[Any], most: int) -> list[Any]:
    """At most `most` samples, taken evenly from all, because neighbours are of one speaker."""
    if len(samples) <= most:
        return samples
    return [samples[n * len(samples) // most] for n in range(most)]


def _opened(plan: TrainingPlan) -> Data:
    from dubbing.dataset.shards import Dataset

    data = Dataset(plan.data)
    return data if plan.title is None else OfTitle(data, plan.title)
