"""Made data to train on, drawn mouths that open as loud as their sound is, and a recipe that learns in no time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dubbing.dataset.shards import PER_FRAME, POINTS, Clip, Sample, write_index, write_shard
from dubbing.train.recipe import Batch, Data, Numbers, Recipe, SampleLike, Settings
from dubbing.train.state import State

__all__ = ["Line", "LineSettings", "clip", "data_folder"]


def clip(seed: int, frames: int = 24, size: int = 32) -> Clip:
    """A face of one colour whose mouth opens with its sound."""
    rng = np.random.default_rng(seed)
    loud = 0.5 + 0.5 * np.sin(np.arange(frames) * rng.uniform(0.5, 1.2) + rng.uniform(0, 6))
    skin, pitch = rng.integers(90, 220, 3), rng.uniform(120, 400)
    faces = np.empty((frames, size, size, 3), np.uint8)
    y, x = np.mgrid[:size, :size] / size
    for n in range(frames):
        mouth = ((x - 0.5) / 0.22) ** 2 + ((y - 0.75) / (0.03 + 0.12 * loud[n])) ** 2 < 1
        shade = skin * (0.8 + 0.2 * y[..., None])
        faces[n] = np.where(mouth[..., None], (30, 20, 70), shade)
    t = np.arange(frames * PER_FRAME) / 16000
    wave = np.repeat(loud, PER_FRAME) * np.sin(2 * np.pi * pitch * t) * 0.5
    shapes = np.repeat(loud.astype(np.float32)[:, None, None], POINTS, 1) * np.ones((1, 1, 2), np.float32)
    lips = np.tile(np.float32([0.25, 0.6, 0.75, 0.9]), (frames, 1))
    return Clip(faces, wave.astype(np.float32), 0, shapes, lips)


def data_folder(
    folder: Path, train: int = 8, val: int = 3, frames: int = 24, size: int = 32, title: str = "", **about: str
) -> Path:
    """A data folder with so many clips, each of a speaker of its own; title: whose speakers they are;
    about: what the index says besides."""
    samples = []
    for split, count in (("train", train), ("val", val)):
        made = []
        for n in range(count):
            name = f"{split}_{n}"
            seed = n + 100 * (split == "val")
            made.append((Sample(name, title + name, split, frames, f"{name}.mp4"), clip(seed, frames, size)))
        samples += write_shard(folder, split, made) if made else ()
    write_index(folder, samples, **about)
    return folder


class LineSettings(Settings):
    """Of `Line`. worse: the held-out number rises with every look, whatever is learnt."""

    batch: int = 2
    learning_rate: float = 0.1
    worse: bool = False


class Line(Recipe):
    """The smallest design: the mean colour of a face from a random frame of it; its loss depends on every draw."""

    name = "line"
    summary = "a line"
    monitor = "apart"
    Settings = LineSettings

    def networks(self, settings: LineSettings) -> dict[str, nn.Module]:
        return {"line": nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1))}

    def optimisers(self, settings: LineSettings, networks: Mapping[str, nn.Module]) -> dict[str, Optimizer]:
        return {"line": torch.optim.Adam(networks["line"].parameters(), settings.learning_rate)}

    def schedules(self, settings: LineSettings, optimisers: Mapping[str, Optimizer]) -> dict[str, LRScheduler]:
        return {"line": torch.optim.lr_scheduler.StepLR(optimisers["line"], 3, 0.9)}

    def memory(self, settings: LineSettings) -> dict[str, float]:
        return {"looks": 0.0}

    def item(
        self, data: Data, sample: SampleLike, rng: np.random.Generator, settings: LineSettings
    ) -> dict[str, np.ndarray]:
        face = data.load(sample, int(rng.integers(sample.frames)), 1).faces_NHWC[0] / 255
        return {"x": face.mean((0, 1)).astype(np.float32), "y": np.array(face.std(), np.float32)}

    def step(self, batch: Batch, state: State) -> Numbers:
        loss = self._apart(batch, state)
        state.backward(loss)
        state.update("line")
        return {"apart": loss}

    def held_out(self, batch: Batch, state: State) -> Numbers:
        return {"apart": state.memory["looks"] if state.settings.worse else self._apart(batch, state)}

    def on_validation_end(self, numbers: Mapping[str, float], state: State) -> None:
        state.memory["looks"] += 1

    def _apart(self, batch: Batch, state: State) -> Tensor:
        return (state.networks["line"](batch["x"])[:, 0] - batch["y"]).abs().mean()

    def pictures(self, batch: Batch, state: State) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    def export(self, settings: LineSettings, networks: Mapping[str, nn.Module]) -> tuple[Any, str]:
        return {"state_dict": networks["line"].state_dict()}, "line.pth"
