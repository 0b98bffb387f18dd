"""The published networks: plain eager float32 against ours, in one process, on the same inputs.

    python -m bench.networks [--frames 128] [--rounds 3] [--wav2lip FILE] [--syncnet FILE] [--peak-tflops 989]

For Wav2Lip's forward and for SyncNet's lip tower: milliseconds a frame (wall time, and processor time of
all threads), plain at the published batch (128 faces; 20 copied windows) and at smaller ones, against ours;
and how far the results lie apart (grey levels; LSE-D and LSE-C). The best of the rounds counts, all by turns:
run it on an otherwise idle machine. Without checkpoints the weights are made (He-normal, seeded), which asks
more of accuracy than trained ones: most of Wav2Lip's outputs then hang on small differences. On a GPU also
frames a second by batch in float16, and their share of the card's peak.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dubbing import models
from dubbing.experts import lse
from dubbing.experts.syncnet import SyncNet, SyncNetNet
from dubbing.networks.wav2lip import Wav2Lip, Wav2LipNet, plan_of

FACES, WINDOWS = 128, 20
"""The batches of the published code."""

Run = Callable[[], Tensor]


class Time(NamedTuple):
    """Milliseconds per frame."""

    wall: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FACES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wav2lip", type=Path, help="a checkpoint; made weights without one")
    parser.add_argument("--syncnet", type=Path, help="a checkpoint; made weights without one")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU, dense float16 (H200: 989)")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    with torch.inference_mode():
        wav2lip(args.wav2lip, args.frames, args.rounds, args.peak_tflops)
        syncnet(args.syncnet, args.frames, args.rounds, args.peak_tflops)


def wav2lip(checkpoint: Path | None, frames: int, rounds: int, peak_tflops: float) -> None:
    """The generator's forward: whole pictures, and the lower half that the pipeline asks for."""
    plain = Wav2LipNet()
    if checkpoint is None:
        make(plain)
    else:
        state = models.load_state(checkpoint)
        plain = models.fit(Wav2LipNet(plan_of(state)), state, "wav2lip").eval()
    ours, side = Wav2Lip(plain), plain.plan.size_px
    source = torch.Generator().manual_seed(1)
    mel = torch.rand(frames, 1, 80, 16, generator=source) * 8 - 4
    face = smooth(torch.rand(frames, 6, side // 8, side // 8, generator=source), side)
    face[:, :3, side // 2 :] = 0

    def whole(batch: int) -> Tensor:
        return torch.cat([plain(mel[n : n + batch], face[n : n + batch]) for n in range(0, frames, batch)])

    batches = sorted({min(b, frames) for b in (8, FACES)})
    runs: dict[str, Run] = {f"plain, batch {b}": partial(whole, b) for b in batches}
    runs |= {"ours": lambda: ours(mel, face), "ours, lower half": lambda: ours(mel, face, side // 2)}
    times, results = race(runs, rounds, frames)
    report("Wav2Lip, forward", times)
    apart = (results["ours"] - next(iter(results.values()))).abs() * 255
    print(f"   apart: at most {float(apart.max()):.3f} of 255 grey levels, {float(apart.mean()):.4f} in the mean")
    if torch.cuda.is_available():
        gpu(Wav2Lip(plain, "cuda"), operations(plain, mel[:1], face[:1]), (mel, face), peak_tflops)


def syncnet(checkpoint: Path | None, frames: int, rounds: int, peak_tflops: float) -> None:
    """The lip tower over one stretch: windows copied out as published, against one pass."""
    net = SyncNetNet()
    if checkpoint is None:
        make(net)
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.save(net.state_dict(), file.name)
            ours = SyncNet(Path(file.name))
    else:
        models.fit(net, models.load_state(checkpoint), "syncnet_v2").eval()
        ours = SyncNet(checkpoint)
    source = torch.Generator().manual_seed(2)
    pictures = smooth(torch.rand(frames, 3, 14, 14, generator=source), 224) * 255
    crops = pictures.permute(0, 2, 3, 1).round().byte().numpy()
    windows = frames - lse.WINDOW

    def views(a: int, b: int) -> Tensor:
        copies = np.stack([crops[n : n + lse.WINDOW] for n in range(a, b)])
        return torch.from_numpy(copies).permute(0, 4, 1, 2, 3).float()

    def copied(batch: int) -> Tensor:
        return torch.cat([net.lips(views(n, min(windows, n + batch))) for n in range(0, windows, batch)])

    runs: dict[str, Run] = {f"plain, batch {b}": partial(copied, b) for b in (4, WINDOWS)}
    runs["ours"] = lambda: torch.from_numpy(np.concatenate(list(ours.embed_lips(iter(crops[:-1])))))
    times, results = race(runs, rounds, windows)
    report("SyncNet, lip tower", times)
    wave = torch.randn(frames * 640, generator=source).numpy() * 0.1
    sound = ours.embed_sound(wave, 0.0, windows)
    a, b = (lse.lse(results[name].numpy(), sound) for name in ("plain, batch 4", "ours"))
    for name, x, y in (("LSE-D", a.d, b.d), ("LSE-C", a.c, b.c)):
        print(f"   {name} {x:.4f} and {y:.4f}: {y / x - 1:+.0e}")
    if torch.cuda.is_available():
        work, half = operations(net.netcnnlip, views(0, 1)), net.cuda().half()
        gpu(lambda x: half.lips(x.cuda().half()).cpu(), work, (views(0, windows),), peak_tflops)


def make(net: nn.Module) -> None:
    """He-normal weights, norms near one, biases near zero: the same on every run."""
    source = torch.Generator().manual_seed(0)
    state = net.state_dict()
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=source)
        if value.ndim > 1:
            state[key] = noise * (2 / value[0].numel()) ** 0.5
        elif key.endswith("running_var"):
            state[key] = 1 + 0.1 * noise.abs()
        else:
            state[key] = 0.05 * noise + (1 if key.endswith("weight") else 0)
    net.load_state_dict(state)
    net.eval()


def smooth(small: Tensor, side: int) -> Tensor:
    """Coarse noise enlarged: pictures without a grain."""
    return nn.functional.interpolate(small, size=(side, side), mode="bilinear")


def race(runs: dict[str, Run], rounds: int, frames: int) -> tuple[dict[str, Time], dict[str, Tensor]]:
    """The best of the rounds of each, by turns after one warm-up; and the results."""
    results = {name: run() for name, run in runs.items()}
    best = {name: Time(float("inf"), float("inf")) for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            spent = (time.perf_counter() - wall, time.process_time() - processor)
            best[name] = Time(*(min(a, b / frames * 1000) for a, b in zip(best[name], spent, strict=True)))
    return best, results


def report(title: str, times: dict[str, Time]) -> None:
    """One line a run, and the ratios of every plain one to every one of ours."""
    print(f"{title}: ms a frame, wall (processor)")
    ours = {name: value for name, value in times.items() if name.startswith("ours")}
    for name, value in times.items():
        ratios = [
            f"{value.wall / own.wall:.2f} ({value.processor / own.processor:.2f}) x {what}"
            for what, own in ours.items()
            if name not in ours
        ]
        print(f"   {name:18s} {value.wall:7.1f} ({value.processor:.1f})   {', '.join(ratios)}".rstrip())


def gpu(run: Callable[..., Tensor], work: float, inputs: tuple[Tensor, ...], peak_tflops: float) -> None:
    """Frames a second in float16 by batch, and the share of the card's peak they are; copies included."""
    for batch in (16, 32, 64, 128, 256, 512):
        part = tuple(x[:1].expand(batch, *x.shape[1:]).contiguous().pin_memory() for x in inputs)
        run(*part)
        begin, rounds = time.perf_counter(), 10
        for _ in range(rounds):
            run(*part)
        rate = batch * rounds / (time.perf_counter() - begin)
        share = rate * work / (peak_tflops * 1e12)
        print(f"   GPU, batch {batch:4d}: {rate:8.0f} frames/s, {100 * share:.1f} % of {peak_tflops:g} TFLOP/s")


def operations(net: nn.Module, *inputs: Tensor) -> float:
    """Floating-point operations of one forward, counted at the layers (two a product)."""
    total = 0.0

    def count(layer: Any, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        places = given[0] if isinstance(layer, nn.ConvTranspose2d) else result
        total += 2 * layer.weight.numel() * (places[0, 0].numel() if places.ndim > 2 else 1)

    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, kinds)]
    try:
        net(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total


if __name__ == "__main__":
    main()
