"""Can a model learn at all? Eight clips, one thread, until the loss has fallen tenfold from its start.

    nice -n 10 python -m bench.overfit wav2lip --data data --out overfit --steps 700 \\
        --frames 16 --set size=24 --set width=0.5 --set sync_weight=0 --set learning_rate=1e-3 --set batch=4

Prints the curve, writes it to OUT/curve.png and OUT/losses.jsonl, and ends with 1 where the loss did not fall so far.
`--beside FILE OUT ...` instead draws the curves of finished runs, each over its start, in one picture; `OUT=LOSS` draws
another loss than `l1`.
`start` is the mean of the first steps, `end` that of the last, so that no single lucky batch counts.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from dubbing.dataset.shards import Dataset
from dubbing.train.logs import read_losses
from dubbing.train.loop import CARD, Progress, TrainingPlan, train

CLIPS, FALL = 8, 10.0


class Few:
    """The first clips of the training split, their first frames only, and nobody held out."""

    def __init__(self, data: Dataset, count: int, frames: int | None) -> None:
        self._data, self._count, self._frames = data, count, frames
        self._whole = {s.id: s for s in data.of("train")[:count]}
        self._few = tuple(replace(s, frames=min(s.frames, frames or s.frames)) for s in self._whole.values())
        self.hash = f"{data.hash} {count} {frames}"
        self.metadata = data.metadata

    def __copy__(self) -> Few:
        return Few(copy.copy(self._data), self._count, self._frames)

    def of(self, split: str) -> tuple[Any, ...]:
        return self._few if split == "train" else ()

    def load(self, sample: Any, first: int = 0, count: int | None = None, tail: int = 0) -> Any:
        return self._data.load(self._whole[sample.id], first, sample.frames - first if count is None else count, tail)


def plot(path: Path, losses_N: np.ndarray, title: str) -> None:
    """The curve on a logarithmic scale, with a tenth of its start."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.semilogy(np.arange(1, len(losses_N) + 1), losses_N, lw=0.6, color="0.6")
    width = max(1, len(losses_N) // 50)
    smooth = np.convolve(losses_N, np.full(width, 1 / width), "valid")
    axes.semilogy(np.arange(len(smooth)) + width, smooth, color="C0")
    axes.axhline(np.mean(losses_N[:3]) / FALL, color="C3", ls="--", lw=0.8)
    axes.set(xlabel="step", ylabel="loss", title=title)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def beside(path: Path, outs: list[str]) -> None:
    """Curves of finished runs over the mean of their first three steps, smoothed, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for text in outs:
        folder, _, loss = text.partition("=")
        loss = loss or "l1"
        losses = np.array([line[loss] for line in read_losses(Path(folder)) if loss in line])
        name = json.loads((Path(folder) / CARD).read_text(encoding="utf-8"))["recipe"]
        smooth = np.convolve(losses / losses[:3].mean(), np.full(10, 0.1), "valid")
        axes.semilogy(np.arange(len(smooth)) + 10, smooth, lw=1, label=name if loss == "l1" else f"{name}, {loss}")
    axes.axhline(1 / FALL, color="0.5", ls="--", lw=0.8)
    axes.set(xlabel="step", ylabel="loss over its start", title="eight clips")
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> int:
    """Overfit, print, plot."""
    if sys.argv[1:2] == ["--beside"]:
        beside(Path(sys.argv[2]), sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--frames", type=int, help="of each clip, from its start; default: all")
    parser.add_argument("--loss", default="l1")
    parser.add_argument("--set", dest="given", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    settings = {k: yaml.safe_load(v) for k, _, v in (text.partition("=") for text in said.given)}
    settings = {k: float(v) if isinstance(v, str) and v[:1].isdigit() else v for k, v in settings.items()}
    data, began_s = Few(Dataset(said.data), said.clips, said.frames), time.monotonic()
    every = max(1, said.steps // 20)

    def watch(p: Progress) -> None:
        if p.note:
            print(p.note, file=sys.stderr)
        elif p.losses and (p.step % every == 0 or p.step < 4):
            print(f"{p.step:6d} {p.rate:6.2f}/s  " + "  ".join(f"{k} {v:.4f}" for k, v in p.losses.items()), flush=True)

    plan = TrainingPlan(said.model, said.data, said.out, settings, steps=said.steps, device="cpu", threads=1)
    train(plan, watch, data)
    losses = np.array([line[said.loss] for line in read_losses(said.out) if said.loss in line])
    start, end = losses[:3].mean(), losses[-min(20, len(losses)) :].mean()
    took = time.monotonic() - began_s
    text = f"{said.model}: {said.loss} {start:.4f} -> {end:.4f}, {start / end:.1f} times less in {len(losses)} steps"
    print(f"{text}, {took:.0f} s")
    plot(said.out / "curve.png", losses, text)
    return 0 if start / end >= FALL else 1


if __name__ == "__main__":
    raise SystemExit(main())
