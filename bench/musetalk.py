"""MuseTalk as dub runs it beside plain eager float32 layers of the same weights, in one process.

    python -m bench.musetalk [--rounds 2] [--threads 2] [--size 256] [--width 320]

Two pictures a round each way, by turns: `plain` draws one after another with all threads; `dub` a picture a thread;
`last` the same with layers and pictures channels_last, and `compiled` by torch.compile where that works. On a GPU
(`--device cuda`): plain float32, then dub's own float16 at several batches. Printed for a picture: processor time (what
counts where a machine is shared) and wall time, the least of the rounds; how many times quicker than `plain`; how far
the result lies from `plain`, of 1. Weights are made: each tensor by its name (`tests/formula.py`); --width: of the
UNet's first layers, 320 as published (3.4 GB).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from whisper.model import AudioEncoder

from dubbing.networks.musetalk.run import MuseTalk, MuseTalkNet, positions

__all__ = ["main"]

PICTURES = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    net, pictures = made(given.width), PICTURES if given.device == "cpu" else 32
    chance = torch.Generator().manual_seed(1)
    told = torch.randn(pictures, 50, 384, generator=chance)
    faces = torch.rand(pictures, 3, given.size, given.size, generator=chance)
    ways = on_processor(net, given) if given.device == "cpu" else on_gpu(net, given)
    least: dict[str, tuple[float, float]] = {}
    first: Tensor | None = None
    for name, run in ways.items():
        draw = run()
        result = draw(told, faces)
        first = result if first is None else first
        found = []
        for _ in range(given.rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            draw(told, faces)
            found.append(((time.process_time() - cpu) / pictures, (time.perf_counter() - wall) / pictures))
        least[name] = min(one[0] for one in found), min(one[1] for one in found)
        (cpu, wall), (plain_cpu, plain_wall) = least[name], least["plain"]
        apart = float((result - first).abs().max())
        print(
            f"{name:10} cpu {cpu:7.3f} s ({plain_cpu / cpu:.2f}x)  wall {wall:7.3f} s ({plain_wall / wall:.2f}x)  "
            f"apart {apart:.1e}", flush=True,
        )  # fmt: skip


def made(width: int) -> MuseTalkNet:
    """All networks in float32, filled."""
    tests = Path(__file__).parents[1] / "tests"
    sys.path.append(str(tests))
    fill = import_module("formula").fill
    unet: Any = UNet2DConditionModel(
        in_channels=8, out_channels=4, cross_attention_dim=384, attention_head_dim=8,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
    )  # fmt: skip
    vae: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2,
    )  # fmt: skip
    return MuseTalkNet(fill(unet), fill(vae), AudioEncoder(80, 1500, 384, 6, 4)).eval()


Draw = Callable[[Tensor, Tensor], Tensor]


def plain(quick: MuseTalk) -> Draw:
    """One picture after another with all threads, as whoever calls the layers does."""

    def draw(told: Tensor, faces: Tensor) -> Tensor:
        told = told + positions(*told.shape[1:])
        with torch.inference_mode():
            parts = [
                quick.drawn(quick.inpainted(quick.seen(one[None].to(quick.device)), heard[None].to(quick.device)))
                for heard, one in zip(told, faces, strict=True)
            ]
        return torch.cat(parts).float().cpu()

    return draw


def on_processor(net: MuseTalkNet, given: argparse.Namespace) -> dict[str, Callable[[], Draw]]:
    """Ways by name; each begins when it is called, because they change the same layers' layout."""

    def ready(layout: torch.memory_format) -> MuseTalk:
        return MuseTalk(net, size=given.size, layout=layout)

    def compiled() -> Draw:
        quick = ready(torch.contiguous_format)
        quick.unet = torch.compile(quick.unet)
        return plain(quick)

    ways: dict[str, Callable[[], Draw]] = {
        "plain": lambda: plain(ready(torch.contiguous_format)),
        "dub": lambda: ready(torch.contiguous_format),
        "last": lambda: ready(torch.channels_last),
        "plain last": lambda: plain(ready(torch.channels_last)),
    }
    return {**ways, "compiled": compiled} if given.compile else ways


def on_gpu(net: MuseTalkNet, given: argparse.Namespace) -> dict[str, Callable[[], Draw]]:
    """Plain float32, then half precision at several batches."""
    ways: dict[str, Callable[[], Draw]] = {
        "plain": lambda: plain(MuseTalk(net, given.device, size=given.size, half=False, batch=1))
    }
    for batch in (1, 4, 8, 16, 32):
        ways[f"batch {batch}"] = lambda n=batch: MuseTalk(net, given.device, size=given.size, batch=n)  # type: ignore[misc]
    return ways


if __name__ == "__main__":
    main()
