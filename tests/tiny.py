"""Networks with few numbers, of the published layers, so that a whole way through them costs little."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dubbing.networks.sadtalker.generator import GeneratorShape
from dubbing.networks.sadtalker.keypoints import DetectorShape
from dubbing.networks.sadtalker.motion import MotionShape
from dubbing.networks.sadtalker.run import SadTalkerNet, Shape

if TYPE_CHECKING:
    from dubbing.networks.latentsync.run import LatentSyncNet
    from dubbing.networks.latentsync.syncnet import StableSyncNet
    from dubbing.networks.musetalk.run import MuseTalkNet

__all__ = [
    "SADTALKER", "latentsync", "latentsync_files", "musetalk", "musetalk_files", "sadtalker", "stable_syncnet",
]  # fmt: skip

SADTALKER = Shape(
    DetectorShape(first=4, most=8, blocks=2, depth=2),
    GeneratorShape(first=4, most=16, volume=4, depth=2, residuals=1, motion=MotionShape(2, 4, 2, 1, 2), seg=8, hidden=4,
                   last=4),
    coefficients=73, mapping=8, face=2,
)  # fmt: skip
# nobody's: left and right eye, nose, corners of the mouth; y upwards, z towards the viewer
_FACE = ((-0.31, 0.29, 0.3), (0.31, 0.29, 0.3), (0.0, -0.05, 0.6), (-0.24, -0.4, 0.36), (0.24, -0.4, 0.36))


def sadtalker(coefficients: int = 73) -> SadTalkerNet:
    """An untrained SadTalker. coefficients: 73 for `full`, 70 for `crop`."""
    shape = Shape(SADTALKER.detector, SADTALKER.generator, coefficients, SADTALKER.mapping, SADTALKER.face)
    net = SadTalkerNet(shape)
    net.mean_face.copy_(torch.tensor(_FACE))
    return net.eval()


def musetalk() -> MuseTalkNet:
    """An untrained MuseTalk, which hears two states of 64 numbers."""
    from diffusers import UNet2DConditionModel

    from dubbing.networks.musetalk.run import MuseTalkNet

    unet = UNet2DConditionModel(
        in_channels=8, out_channels=4, block_out_channels=(32, 32), layers_per_block=1, cross_attention_dim=64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
    )  # fmt: skip
    return MuseTalkNet(unet, _vae(), _whisper()).eval()


def musetalk_files(folder: Path) -> dict[str, str]:
    """Its three files, by the settings that name them."""
    net = musetalk()
    return _files(folder, {"model": net.unet, "vae": net.vae, "hearing": net.hearing})


def latentsync() -> LatentSyncNet:
    """An untrained LatentSync, which hears two states of 64 numbers."""
    from dubbing.networks.latentsync.run import LatentSyncNet
    from dubbing.networks.latentsync.unet import UNet3D, UNetShape

    return LatentSyncNet(UNet3D(UNetShape((32, 32, 32, 32), audio=64)), _vae(), _whisper()).eval()


def latentsync_files(folder: Path) -> dict[str, str | int]:
    """Its three files, and its size, by the settings that name them."""
    net = latentsync()
    return {**_files(folder, {"model": net.unet, "vae": net.vae, "hearing": net.hearing}), "size": 64}


def stable_syncnet() -> StableSyncNet:
    """An untrained sync expert whose embeddings are 64 numbers."""
    from dubbing.networks.latentsync.syncnet import StableSyncNet

    return StableSyncNet(((32,) * 6 + (64,), (32,) * 7 + (64,)))


def _vae() -> torch.nn.Module:
    from diffusers import AutoencoderKL

    made: torch.nn.Module = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=8,
    )  # fmt: skip
    return made


def _whisper() -> Any:
    from whisper.model import AudioEncoder

    return AudioEncoder(80, 1500, 64, 1, 1)


def _files(folder: Path, nets: dict[str, torch.nn.Module]) -> dict[str, str]:
    for name, net in nets.items():
        torch.save(net.state_dict(), folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in nets}
