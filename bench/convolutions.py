"""The published networks by torch's own means, by its compilers and by ONNX Runtime, in one process.

    pip install onnxruntime 'onnx<1.18'
    python -m bench.convolutions [--rounds 7] [--threads 1 2] [--networks ...] [--ways ...]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m bench.convolutions

Ways: `plain` eager float32 torch, channels first; `folded` as dub runs them: batch norms folded, channels_last, eager;
`frozen` that, traced and frozen; `optimized` through torch.jit.optimize_for_inference, which lays weights out for
oneDNN; `compiled` torch.compile with freezing, which needs a C++ compiler where it runs; `onnx` ONNX Runtime.

Every way gets the same inputs in the same parts, as many parts at once as there are threads, by turns in every round.
Printed: milliseconds of processor time a picture, all threads together, least and median of the rounds; the same of
wall time; how many times quicker than `plain` by each; and how far the result lies from `plain`, relative to its
largest value. Processor time is what counts where a machine is shared. Weights are made (He-normal, seeded).
ONNX Runtime reads the processor itself: the variables above do not keep it from anything. Results of 2026, also of
convolutions written by hand, are in LOG.md.
"""

from __future__ import annotations

import argparse
import copy
import io
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks import make, smooth
from dubbing.experts import lse, syncnet
from dubbing.experts.wav2lip_color import Wav2LipColorNet
from dubbing.networks import folding
from dubbing.networks.folding import in_lanes, last
from dubbing.networks.lipgan import Kind, LipGANNet
from dubbing.networks.wav2lip import PUBLISHED, NetworkShape, Wav2LipNet, plan_for

Part = tuple[Tensor, ...]
Run = Callable[[], Tensor]


class Case(NamedTuple):
    """A network to measure. net: plain layers; inputs: its arguments for all pictures; part: pictures at a time."""

    net: nn.Module
    inputs: Part
    part: int


def main() -> None:
    """Measure and print a table for every network and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--part", type=int, help="pictures at a time; else as many as dub runs at once")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, best of {args.rounds} rounds")
    for name in args.networks:
        torch.set_num_threads(1)  # compilers bake it in: parts run beside each other, each on one
        case = CASES[name]()
        if args.part:
            case = case._replace(part=args.part)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript and its exporter are deprecated, and say so
            runs = {way: ready(way, case) for way in dict.fromkeys(["plain", *args.ways])}
            for threads in args.threads:
                torch.set_num_threads(threads)
                print(f"\n{name}, {threads} thread{'s' * (threads > 1)}: {len(case.inputs[0])} by {case.part}")
                race(runs, args.rounds, len(case.inputs[0]))


def race(runs: dict[str, Run], rounds: int, pictures: int) -> None:
    """All by turns after a warm-up; one line each."""
    with torch.inference_mode():
        results = {way: [run() for _ in range(2)][-1] for way, run in runs.items()}
        walls: dict[str, list[float]] = {way: [] for way in runs}
        spents: dict[str, list[float]] = {way: [] for way in runs}
        for _ in range(rounds):
            for way, run in runs.items():
                began, worked = time.perf_counter(), time.process_time()
                run()
                spents[way].append((time.process_time() - worked) / pictures * 1000)
                walls[way].append((time.perf_counter() - began) / pictures * 1000)
    plain = results["plain"]
    print("             processor ms (median)   wall ms (median)      times plain: processor, wall   apart")
    for way in runs:
        spent, wall = spents[way], walls[way]
        quicker = [min(of["plain"]) / min(of[way]) for of in (spents, walls)]
        apart = float((results[way] - plain).abs().max() / plain.abs().max())
        print(
            f"{way:12s} {min(spent):9.3f} ({median(spent):9.3f}) {min(wall):9.3f} ({median(wall):9.3f})"
            f"      {quicker[0]:6.2f}, {quicker[1]:6.2f}            {apart:.0e}"
        )


def ready(way: str, case: Case) -> Run:
    """The network made ready to run that way."""
    prepared = WAYS[way](case.net, tuple(x[: case.part] for x in case.inputs))
    laid = (lambda x: x) if way in ("plain", "onnx") else last

    def some(part: Part) -> Tensor:
        return prepared(*part)

    def run() -> Tensor:
        pieces = [x.split(case.part) for x in case.inputs]
        parts = [tuple(map(laid, part)) for part in zip(*pieces, strict=True)]
        return torch.cat(in_lanes(some, parts))

    return run


# -- ways ------------------------------------------------------------------------------------


def folded(net: nn.Module, part: Part) -> nn.Module:
    """As dub runs it."""
    return folding.folded(net, net.norms() if isinstance(net, LipGANNet) else None)


def frozen(net: nn.Module, part: Part) -> Any:
    """Traced and frozen."""
    return torch.jit.freeze(torch.jit.trace(folded(net, part), tuple(map(last, part))))


def optimized(net: nn.Module, part: Part) -> Any:
    """Traced, frozen, and laid out for oneDNN."""
    return torch.jit.optimize_for_inference(torch.jit.trace(folded(net, part), tuple(map(last, part))))


def compiled(net: nn.Module, part: Part) -> Any:
    """Through inductor, weights frozen into it so that it may lay them out."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    program = torch.compile(folded(net, part), dynamic=False)
    with torch.inference_mode():
        program(*map(last, part))
    return program


def onnx(net: nn.Module, part: Part) -> Callable[..., Tensor]:
    """ONNX Runtime's processor provider, one thread a session call."""
    import onnxruntime

    names = [f"x{n}" for n in range(len(part))]
    file: Any = io.BytesIO()
    axes = {name: {0: "n"} for name in (*names, "y")}
    torch.onnx.export(
        copy.deepcopy(net), part, file, dynamo=False, input_names=names, output_names=["y"], dynamic_axes=axes
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

    def run(*given: Tensor) -> Tensor:
        arrays = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


WAYS: dict[str, Callable[[nn.Module, Part], Any]] = {
    "plain": lambda net, part: net, "folded": folded, "frozen": frozen, "optimized": optimized,
    "compiled": compiled, "onnx": onnx,
}  # fmt: skip


# -- networks --------------------------------------------------------------------------------


def wav2lip(plan: NetworkShape, pictures: int) -> Case:
    """The generator, whole pictures. `wav2lip_gan` has the same layers."""
    net = Wav2LipNet(plan)
    make(net)
    source = torch.Generator().manual_seed(1)
    mel = torch.rand(pictures, 1, 80, 16, generator=source) * 8 - 4
    side = plan.size_px
    return Case(net, (mel, smooth(torch.rand(pictures, 6, side // 8, side // 8, generator=source), side)), 4)


def lipgan(kind: Kind, pictures: int) -> Case:
    """One of LipGAN's generators."""
    net = LipGANNet(kind)
    make(net)
    source = torch.Generator().manual_seed(1)
    mfcc = torch.randn(pictures, 1, 12, 35, generator=source)
    return Case(net, (mfcc, smooth(torch.rand(pictures, 6, 12, 12, generator=source), 96)), 4)


class Tower(nn.Module):
    """Layers, and what joins their results: one branch of an expert."""

    def __init__(self, layers: nn.Module, join: nn.Module) -> None:
        super().__init__()
        self.layers, self.join = layers, join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.layers(x).flatten(1))


class Unit(nn.Module):
    """Scales to unit length."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)


def lips(windows: int) -> Case:
    """SyncNet's lip tower over the windows of one stretch, its layers 2-D ones in every way."""
    net = syncnet.SyncNetNet()
    make(net)
    source = torch.Generator().manual_seed(2)
    pictures = (smooth(torch.rand(windows + lse.WINDOW - 1, 3, 14, 14, generator=source), 224) * 255).round()
    views = pictures.unfold(0, lse.WINDOW, 1).permute(0, 4, 1, 2, 3).flatten(1, 2).contiguous()
    return Case(Tower(syncnet.flat(net.netcnnlip), net.netfclip).eval(), (views,), 4)


def ear(windows: int) -> Case:
    """SyncNet's sound tower."""
    net = syncnet.SyncNetNet()
    make(net)
    mfcc = torch.randn(windows, 1, 13, 20, generator=torch.Generator().manual_seed(3))
    return Case(Tower(net.netcnnaud, net.netfcaud).eval(), (mfcc,), windows // 2)


def colour(which: str, shape: Sequence[int], windows: int) -> Case:
    """One of the colour expert's encoders."""
    net = Wav2LipColorNet()
    make(net)
    x = torch.rand(windows, *shape, generator=torch.Generator().manual_seed(4))
    return Case(Tower(net.get_submodule(which), Unit()).eval(), (x,), 8)


CASES: dict[str, Callable[[], Case]] = {
    "wav2lip": lambda: wav2lip(PUBLISHED, 16),
    "wav2lip-192": lambda: wav2lip(plan_for(192), 8),
    "syncnet-lips": lambda: lips(16),
    "syncnet-sound": lambda: ear(200),
    "lipgan-residual": lambda: lipgan("residual", 16),
    "lipgan-basic": lambda: lipgan("basic", 16),
    "colour-face": lambda: colour("face_encoder", (15, 48, 96), 32),
    "colour-sound": lambda: colour("audio_encoder", (1, 80, 16), 32),
}


if __name__ == "__main__":
    main()
