"""The published networks' convolutions: ours against what libraries do with the same layers, in one process.

    pip install onnxruntime 'onnx<1.18'
    python -m bench.convolutions [--rounds 7] [--threads 1 2] [--networks ...] [--ways ...]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m bench.convolutions

Ways: `plain` eager float32 torch, channels first; `folded` batch norms folded by torch.nn.utils.fusion, channels_last;
`frozen` that, traced and frozen; `optimized` through torch.jit.optimize_for_inference, which lays weights out for
oneDNN; `compiled` torch.compile with freezing, which needs a C++ compiler; `onnx` ONNX Runtime; `ours` what dub runs;
and ours without one of its ways: `no-fused` by torch's public convolutions, `no-winograd`, `no-nnpack`.

Every way gets the same inputs in the same parts, as many parts at once as there are threads, by turns in every round.
Printed: milliseconds of processor time a picture, all threads together, least and median of the rounds; the same of
wall time; how many times quicker than `plain` by each; and how far the result lies from `plain`, relative to its
largest value. Processor time is what counts where a machine is shared. Weights are made (He-normal, seeded).
ONNX Runtime reads the processor itself: the variables above do not keep it, nor NNPACK, from anything.
"""

from __future__ import annotations

import argparse
import copy
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from bench.networks import make, smooth
from dubbing.experts import lse, syncnet
from dubbing.experts.wav2lip_color import Wav2LipColor, Wav2LipColorNet
from dubbing.networks import convs
from dubbing.networks.convs import in_lanes
from dubbing.networks.lipgan import Kind, LipGAN, LipGANNet
from dubbing.networks.wav2lip import PUBLISHED, NetworkShape, Wav2Lip, Wav2LipNet, plan_for

LIBRARY = ("plain", "folded", "frozen", "optimized", "compiled", "onnx")
OURS = ("ours", "no-fused", "no-winograd", "no-nnpack")
Part = tuple[Tensor, ...]
Run = Callable[[], Tensor]


class Case(NamedTuple):
    """A network to measure. net: plain layers; inputs: its arguments for all pictures; part: pictures at a time;
    own: makes what dub runs of it, for all pictures at once."""

    net: nn.Module
    inputs: Part
    part: int
    own: Callable[[], Run]


def main() -> None:
    """Measure and print a table for every network and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ways", nargs="+", choices=[*LIBRARY, *OURS], default=[*LIBRARY, *OURS])
    parser.add_argument("--part", type=int, help="pictures at a time for the libraries' ways; else as many as for ours")
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
    if way in OURS:
        with without(way):
            return case.own()
    prepared = PREPARED[way](case.net, tuple(x[: case.part] for x in case.inputs))
    laid = "plain" if way in ("plain", "onnx") else "last"

    def some(part: Part) -> Tensor:
        return prepared(*part)

    def run() -> Tensor:
        pieces = [x.split(case.part) for x in case.inputs]
        parts = [tuple(last(x) if laid == "last" else x for x in part) for part in zip(*pieces, strict=True)]
        return torch.cat(in_lanes(some, parts))

    return run


@contextmanager
def without(way: str) -> Iterator[None]:
    """Ours, made without one of its ways."""
    never: Any = lambda *_: False  # noqa: E731
    if way == "no-fused":
        with mock.patch.object(convs, "_fuses", never):
            yield
    elif way == "no-nnpack":
        with mock.patch.object(convs, "has_nnpack", never), mock.patch.object(syncnet, "has_nnpack", never):
            yield
    elif way == "no-winograd":
        direct = partial(convs.Direct, device=torch.device("cpu"), dtype=torch.float32)
        with mock.patch.object(convs, "Winograd", direct):
            yield
    else:
        yield


# -- libraries -------------------------------------------------------------------------------


def last(x: Tensor) -> Tensor:
    """channels_last, which only pictures have."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def folded(net: nn.Module, part: Part) -> nn.Module:
    """A copy with every batch norm folded into the layer before it, channels_last."""
    net = copy.deepcopy(net).eval()
    if isinstance(net, LipGANNet):  # numbered as Keras does it: which norm is whose stands in its steps
        for step in [*net._tail, *(s for level in (*net._face, *net._audio, *net._up) for s in level)]:
            assert step.norm is not None
            setattr(net, step.conv, fused(net.get_submodule(step.conv), net.get_submodule(step.norm)))
            setattr(net, step.norm, nn.Identity())
    for parent in list(net.modules()):
        if isinstance(parent, nn.Sequential):
            for n in range(len(parent) - 1):
                if isinstance(parent[n + 1], (nn.BatchNorm1d, nn.BatchNorm2d)):
                    parent[n], parent[n + 1] = fused(parent[n], parent[n + 1]), nn.Identity()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fused(layer: Any, norm: Any) -> nn.Module:
    """One layer that does both."""
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    return fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))


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


PREPARED: dict[str, Callable[[nn.Module, Part], Any]] = {
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
    face = smooth(torch.rand(pictures, 6, side // 8, side // 8, generator=source), side)

    def own() -> Run:
        quick = Wav2Lip(net)
        return lambda: quick(mel, face)

    return Case(net, (mel, face), 4, own)


def lipgan(kind: Kind, pictures: int) -> Case:
    """One of LipGAN's generators."""
    net = LipGANNet(kind)
    make(net)
    source = torch.Generator().manual_seed(1)
    mfcc = torch.randn(pictures, 1, 12, 35, generator=source)
    face = smooth(torch.rand(pictures, 6, 12, 12, generator=source), 96)

    def own() -> Run:
        quick = LipGAN(net)
        return lambda: quick(mfcc, face)

    return Case(net, (mfcc, face), 4, own)


class Lips(nn.Module):
    """SyncNet's lip tower with five frames as 15 channels, so that every layer is a 2-D one."""

    def __init__(self, net: syncnet.SyncNetNet) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in net.netcnnlip:
            if isinstance(layer, nn.Conv3d):
                sizes: Any = (layer.kernel_size[1:], layer.stride[1:], layer.padding[1:])
                flat = nn.Conv2d(layer.in_channels * layer.kernel_size[0], layer.out_channels, *sizes)
                flat.weight.data = layer.weight.detach().flatten(1, 2)
                flat.bias = layer.bias
                layers.append(flat)
            elif isinstance(layer, nn.BatchNorm3d):
                norm = nn.BatchNorm2d(layer.num_features)
                norm.load_state_dict(layer.state_dict())
                layers.append(norm)
            elif isinstance(layer, nn.MaxPool3d):
                of: Any = layer
                layers.append(nn.MaxPool2d(of.kernel_size[1:], of.stride[1:], of.padding[1:]))
            else:
                layers.append(layer)
        self.tower, self.join = nn.Sequential(*layers), copy.deepcopy(net.netfclip)

    def forward(self, frames: Tensor) -> Tensor:
        return self.join(self.tower(frames).flatten(1))


def lips(windows: int) -> Case:
    """SyncNet's lip tower over one stretch; libraries get its windows copied out, ours takes the frames."""
    net = syncnet.SyncNetNet()
    make(net)
    source = torch.Generator().manual_seed(2)
    pictures = (smooth(torch.rand(windows + lse.WINDOW - 1, 3, 14, 14, generator=source), 224) * 255).round()
    views = pictures.unfold(0, lse.WINDOW, 1).permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
    crops = pictures.permute(0, 2, 3, 1).byte().numpy()

    def own() -> Run:
        tower = syncnet._LipTower(net, torch.device("cpu"))
        return lambda: tower(crops)

    return Case(Lips(net).eval(), (views,), 4, own)


class Ear(nn.Module):
    """SyncNet's sound tower."""

    def __init__(self, net: syncnet.SyncNetNet) -> None:
        super().__init__()
        self.tower, self.join = net.netcnnaud, net.netfcaud

    def forward(self, mfcc: Tensor) -> Tensor:
        return self.join(self.tower(mfcc).flatten(1))


def ear(windows: int) -> Case:
    """SyncNet's sound tower, which ours runs in one call."""
    net = syncnet.SyncNetNet()
    make(net)
    mfcc = torch.randn(windows, 1, 13, 20, generator=torch.Generator().manual_seed(3))

    def own() -> Run:
        quick = syncnet._Ear(net, torch.device("cpu"))
        return lambda: quick(mfcc)

    return Case(Ear(net).eval(), (mfcc,), windows // 2, own)


class Tower(nn.Module):
    """One of the colour expert's encoders, with the scaling to unit length behind it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.encoder(x).flatten(1), dim=1)


def colour(which: str, shape: Sequence[int], windows: int) -> Case:
    """One of the colour expert's encoders."""
    net = Wav2LipColorNet()
    make(net)
    x = torch.rand(windows, *shape, generator=torch.Generator().manual_seed(4))

    def own() -> Run:
        with tempfile.TemporaryDirectory() as folder:
            torch.save(net.state_dict(), Path(folder, "e"))
            expert = Wav2LipColor(Path(folder, "e"))
        layers = expert._face if which == "face_encoder" else expert._sound
        return lambda: torch.from_numpy(expert._embed(layers, x))

    return Case(Tower(net.get_submodule(which)).eval(), (x,), 8, own)


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
