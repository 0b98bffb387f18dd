"""The published networks: plain eager float32 against ours, in one process, on the same inputs.

    python -m bench.networks [--frames 128] [--rounds 3] [--wav2lip FILE] [--syncnet FILE] [--peak-tflops 989]

Prints for Wav2Lip's forward and for SyncNet's lip tower: milliseconds a frame, plain at the published
batch (128 faces; 20 copied windows) and at smaller ones, ours, the ratios, and how far results lie apart
(grey levels; LSE-D and LSE-C). Wall time, the best of the rounds, plain and ours by turns: run it on an
otherwise idle machine. Without checkpoints the weights are made (He-normal, seeded), which is a harder test
of accuracy than trained ones: most of Wav2Lip's outputs then hang on small differences. On a GPU also
frames a second by batch in float16, and their share of the card's peak.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dubbing import models
from dubbing.experts import lse
from dubbing.experts.syncnet import SyncNet, SyncNetNet
from dubbing.networks.wav2lip import PUBLISHED, Wav2Lip, Wav2LipNet, plan_of

PUBLISHED_FACES, PUBLISHED_WINDOWS = 128, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=PUBLISHED_FACES)
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
    if checkpoint is None:
        plain = made(Wav2LipNet(PUBLISHED))
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

    batches = sorted({min(b, frames) for b in (4, 16, PUBLISHED_FACES)})
    runs: dict[str, Callable[[], Tensor]] = {f"plain, batch {b}": lambda b=b: whole(b) for b in batches}  # type: ignore[misc]
    runs |= {"ours": lambda: ours(mel, face), "ours, lower half": lambda: ours(mel, face, side // 2)}
    ms, results = race(runs, rounds, frames)
    report("Wav2Lip", ms)
    apart = (results["ours"] - results[f"plain, batch {batches[0]}"]).abs()
    print(f"   apart: at most {float(apart.max()) * 255:.3f} of 255 grey levels, {float(apart.mean()) * 255:.4f} in the mean")
    if torch.cuda.is_available():
        gpu(Wav2Lip(plain, "cuda"), plain, (mel, face), (32, 64, 128, 256, 512), peak_tflops)


def syncnet(checkpoint: Path | None, frames: int, rounds: int, peak_tflops: float) -> None:
    """The lip tower over one stretch: windows copied out as published, against one pass."""
    net = made(SyncNetNet()) if checkpoint is None else models.fit(SyncNetNet(), models.load_state(checkpoint), "syncnet")
    net.eval()
    if checkpoint is None:
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            torch.save(net.state_dict(), file.name)
            ours = SyncNet(Path(file.name))
    else:
        ours = SyncNet(checkpoint)
    source = torch.Generator().manual_seed(2)
    pictures = smooth(torch.rand(frames, 3, 14, 14, generator=source), 224) * 255
    crops = pictures.permute(0, 2, 3, 1).round().byte().numpy()
    windows = frames - lse.WINDOW
    stretch = crops[: windows + lse.WINDOW - 1]

    def copied(batch: int) -> Tensor:
        found = []
        for n in range(0, windows, batch):
            views = [crops[k : k + lse.WINDOW] for k in range(n, min(windows, n + batch))]
            found.append(net.lips(torch.from_numpy(np.stack(views)).permute(0, 4, 1, 2, 3).float()))
        return torch.cat(found)

    runs: dict[str, Callable[[], Tensor]] = {
        f"plain, batch {b}": lambda b=b: copied(b) for b in (4, PUBLISHED_WINDOWS)  # type: ignore[misc]
    }
    runs["ours"] = lambda: torch.from_numpy(np.concatenate(list(ours.embed_lips(iter(stretch)))))
    ms, results = race(runs, rounds, windows)
    report("SyncNet, lips", ms)
    wave = torch.randn(frames * 640, generator=source).numpy() * 0.1
    sound = ours.embed_sound(wave, 0.0, windows)
    a, b = (lse.lse(results[name].numpy(), sound) for name in ("plain, batch 4", "ours"))
    print(f"   LSE-D {a.d:.4f} and {b.d:.4f} ({b.d / a.d - 1:+.1e}), LSE-C {a.c:.4f} and {b.c:.4f} ({b.c / a.c - 1:+.1e})")
    if torch.cuda.is_available():
        clip = torch.from_numpy(np.stack([stretch[n : n + 5] for n in range(windows)])).permute(0, 4, 1, 2, 3).float()
        gpu(lambda x: net.cuda().half().lips(x.cuda().half()), net, (clip,), (32, 64, 128, 256), peak_tflops, net.lips)


def made(net: nn.Module) -> nn.Module:
    """He-normal weights, norms near one, biases near zero: the same on every run."""
    source = torch.Generator().manual_seed(0)
    state = net.state_dict()
    for key, value in state.items():
        noise = torch.randn(value.shape, generator=source) if value.is_floating_point() else torch.zeros(())
        if value.ndim > 1:
            state[key] = noise * (2 / value[0].numel()) ** 0.5
        elif key.endswith("running_var"):
            state[key] = 1 + 0.1 * noise.abs()
        elif value.is_floating_point():
            state[key] = 0.05 * noise + (1 if key.endswith("weight") else 0)
    net.load_state_dict(state)
    return net.eval()


def smooth(small: Tensor, side: int) -> Tensor:
    """Coarse noise enlarged: pictures without a grain."""
    return nn.functional.interpolate(small, size=(side, side), mode="bilinear")


def race(runs: dict[str, Callable[[], Tensor]], rounds: int, count: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Milliseconds per item of each, the best of the rounds, by turns after one warm-up; and the results."""
    results = {name: run() for name, run in runs.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - begin) / count * 1000)
    return best, results


def report(title: str, ms: dict[str, float]) -> None:
    """One line a run, ratios of every plain one to every one of ours."""
    print(f"{title}: ms a frame")
    ours = {name: value for name, value in ms.items() if name.startswith("ours")}
    for name, value in ms.items():
        against = "".join(f", {value / own:.2f} x {o}" for o, own in ours.items()) if name not in ours else ""
        print(f"   {name:22s} {value:7.1f}{against}")


def gpu(
    run: Callable[..., Tensor],
    net: nn.Module,
    inputs: tuple[Tensor, ...],
    batches: tuple[int, ...],
    peak_tflops: float,
    forward: Callable[..., Tensor] | None = None,
) -> None:
    """Frames a second in float16 by batch, and the share of the card's peak they are."""
    work = operations(net, forward or net, tuple(x[:1].to(next(net.parameters())) for x in inputs))
    for batch in batches:
        part = tuple(x[:1].expand(batch, *x.shape[1:]).contiguous() for x in inputs)
        run(*part)
        torch.cuda.synchronize()
        begin, rounds = time.perf_counter(), 10
        for _ in range(rounds):
            run(*part)
        torch.cuda.synchronize()
        rate = batch * rounds / (time.perf_counter() - begin)
        share = rate * work / (peak_tflops * 1e12)
        print(f"   GPU, batch {batch:4d}: {rate:8.0f} frames/s, {100 * share:.1f} % of {peak_tflops:g} TFLOP/s")


def operations(net: nn.Module, forward: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    """Floating-point operations of one forward, counted at the layers (two a product)."""
    total = 0.0

    def count(layer: nn.Module, given: tuple[Tensor, ...], made_: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        if isinstance(layer, nn.ConvTranspose2d):
            total += 2 * weight.numel() * given[0][0, 0].numel()
        else:
            total += 2 * weight.numel() * (made_[0, 0].numel() if made_.ndim > 2 else 1)

    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, kinds)]
    try:
        forward(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total


if __name__ == "__main__":
    main()
