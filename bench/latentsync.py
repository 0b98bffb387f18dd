"""LatentSync as dub runs it beside plain eager float32 layers of the same weights, in one process.

    python -m bench.latentsync [--rounds 2] [--threads 2] [--size 256] [--width 64] [--frames 16] [--steps 1]

One chunk a round, one way after the other: `plain` has layers and pictures as torch lays them out, and both passes of
guidance in turn with all threads; `dub` has them channels_last and a pass a thread. On a GPU (`--device cuda`): plain
float32, then dub's own float16, and the most memory that it took. Printed for a frame: processor time (what counts
where a machine is shared) and wall time, the least of the rounds; how many times quicker than `plain`; how far the
result lies from `plain`, of 255. Weights are made: each tensor by its name (`tests/formula.py`); --width: of the UNet's
first layers, 320 as published (5.1 GB).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from whisper.model import AudioEncoder

from dubbing.networks.latentsync import schedule
from dubbing.networks.latentsync.run import LatentSync, LatentSyncNet, noise_of
from dubbing.networks.latentsync.unet import UNet3D, UNetShape

__all__ = ["main"]

GUIDANCE = 1.5
Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chance = np.random.default_rng(1)
    faces = chance.integers(0, 256, (given.frames, given.size, given.size, 3), np.uint8)
    work = faces, chance.normal(size=(given.frames, 50, 384)).astype(np.float32), noise_of(0, given.size)
    least: dict[str, tuple[float, float]] = {}
    first: np.ndarray | None = None
    for name, ready in ways(given).items():
        draw = ready()
        result = draw(*work)
        first = result if first is None else first
        found = []
        for _ in range(given.rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            draw(*work)
            found.append(((time.process_time() - cpu) / given.frames, (time.perf_counter() - wall) / given.frames))
        least[name] = min(one[0] for one in found), min(one[1] for one in found)
        (cpu, wall), (plain_cpu, plain_wall) = least[name], least["plain"]
        taken = f"  memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if given.device != "cpu" else ""
        print(
            f"{name:10} cpu {cpu:7.3f} s ({plain_cpu / cpu:.2f}x)  wall {wall:7.3f} s ({plain_wall / wall:.2f}x)  "
            f"apart {float(np.abs(result - first).max()):.1e}{taken}", flush=True,
        )  # fmt: skip


def ways(given: argparse.Namespace) -> dict[str, Callable[[], Draw]]:
    """Ways by name; each begins when it is called, because they change the same layers' layout."""
    net = made(given.width)

    def plain() -> Draw:
        quick = LatentSync(net, given.device, half=False, layout=torch.contiguous_format)

        def draw(faces: np.ndarray, audio: np.ndarray, noise: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                chunk = quick.chunk(faces)
                told = chunk.told.to(quick.device)
                heard = torch.from_numpy(audio).to(quick.device)
                latents = torch.from_numpy(noise).to(quick.device).expand(-1, -1, len(faces), -1, -1)
                for step in schedule.steps(given.steps):
                    x = torch.cat([latents, told], 1)
                    without, foretold = (quick.unet(x, step.at, one) for one in (torch.zeros_like(heard), heard))
                    latents = schedule.stepped(step, latents, schedule.guided(without, foretold, GUIDANCE))
                return np.asarray((quick.pictures(chunk, latents).permute(0, 2, 3, 1).numpy() + 1) * 127.5)

        return draw

    def dub() -> Draw:
        quick = LatentSync(net, given.device)
        return lambda *work: quick(*work, steps=given.steps, guidance=GUIDANCE)

    return {"plain": plain, "dub": dub}


def made(width: int) -> LatentSyncNet:
    """All networks in float32, filled."""
    tests = Path(__file__).parents[1] / "tests"
    sys.path.append(str(tests))
    fill = import_module("formula").fill
    vae: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 64, 64) if width < 320 else (128, 256, 512, 512), layers_per_block=2,
    )  # fmt: skip
    unet = UNet3D(UNetShape((width, 2 * width, 4 * width, 4 * width)))
    tables = {k: v.clone() for k, v in unet.state_dict().items() if k.endswith(".pe")}
    fill(unet).load_state_dict(tables, strict=False)
    return LatentSyncNet(unet, fill(vae), AudioEncoder(80, 1500, 384, 6, 1)).eval()


if __name__ == "__main__":
    main()
