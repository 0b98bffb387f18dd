"""Made data to train on: drawn mouths that open as loud as their sound is. Knows no trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dubbing.dataset.shards import PER_FRAME, POINTS, Clip, Sample, write_index, write_shard

__all__ = ["clip", "data_folder"]


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


def data_folder(folder: Path, train: int = 8, val: int = 3, frames: int = 24, size: int = 32) -> Path:
    """A data folder with so many clips, each of a speaker of its own."""
    samples = []
    for split, count in (("train", train), ("val", val)):
        made = [
            (Sample(f"{split}_{n}", f"{split}_{n}", split, frames, f"{split}_{n}.mp4"), clip(n + 100 * (split == "val"), frames, size))
            for n in range(count)
        ]  # fmt: skip
        samples += write_shard(folder, split, made) if made else ()
    write_index(folder, samples)
    return folder
