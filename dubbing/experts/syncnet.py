"""SyncNet v2, the sync expert that published LSE-D and LSE-C are measured with.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016). `SyncNetNet` has the
published layers under the published keys; `SyncNet` is the expert: crops of the face at 25 frames a
second and MFCCs in, embeddings out, float32 on every device. Windows and distances are `lse`'s; where the
crop lies is `crop`'s. It knows no film.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dubbing import models
from dubbing.device import exact
from dubbing.experts import crop, lse
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.folding import folded, in_lanes, last
from dubbing.networks.mfcc import HOP, mfcc, stretch
from dubbing.store import content_key

__all__ = ["SOUNDS", "SyncNet", "SyncNetNet", "flat"]

_FRAME = 640  # samples of a 25th of a second
_MFCCS = 20  # of one window, four a frame
_PART = 4  # windows at a time
_BLOCK = 32  # windows between two results
SOUNDS = 500  # windows of sound at a time


class SyncNetNet(nn.Module):
    """The published network: plain float32 layers.

    `sound`: MFCCs (N, 1, 13, 20) to (N, 1024); `lips`: BGR 0..255 (N, 3, 5, 224, 224) to (N, 1024).
    """

    def __init__(self) -> None:
        super().__init__()

        def sound(inward: int, outward: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
            return [nn.Conv2d(inward, outward, kernel, padding=padding), nn.BatchNorm2d(outward), nn.ReLU()]

        def lips(inward: int, outward: int, kernel: tuple[int, int, int], stride: int, padding: int) -> list[nn.Module]:
            conv = nn.Conv3d(inward, outward, kernel, (1, stride, stride), (0, padding, padding))
            return [conv, nn.BatchNorm3d(outward), nn.ReLU()]

        def pool(padding: int) -> nn.Module:
            return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, padding, padding))

        def join() -> nn.Sequential:
            return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))

        self.netcnnaud = nn.Sequential(
            *sound(1, 64, 3, 1), nn.MaxPool2d(1, 1),
            *sound(64, 192, 3, 1), nn.MaxPool2d(3, (1, 2)),
            *sound(192, 384, 3, 1), *sound(384, 256, 3, 1), *sound(256, 256, 3, 1), nn.MaxPool2d(3, 2),
            *sound(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud, self.netfclip = join(), join()
        self.netcnnlip = nn.Sequential(
            *lips(3, 96, (5, 7, 7), 2, 0), pool(0),
            *lips(96, 256, (1, 5, 5), 2, 1), pool(1),
            *lips(256, 256, (1, 3, 3), 1, 1), *lips(256, 256, (1, 3, 3), 1, 1),
            *lips(256, 256, (1, 3, 3), 1, 1), pool(0),
            *lips(256, 512, (1, 6, 6), 1, 0),
        )  # fmt: skip

    def sound(self, mfcc_N1BT: Tensor) -> Tensor:
        return self.netfcaud(self.netcnnaud(mfcc_N1BT).flatten(1))

    def lips(self, frames_NCTHW: Tensor) -> Tensor:
        return self.netfclip(self.netcnnlip(frames_NCTHW).flatten(1))


class SyncNet:
    """The expert `syncnet_v2`; see `dubbing.experts.Expert`. Deterministic on one kind of machine.

    weights: the published file (flat), or the same with `module.` before its keys or inside `state_dict`.
    Raises ModelError for any other.
    """

    name: ClassVar[str] = "syncnet_v2"
    wants: ClassVar[Literal["mesh", "crop"]] = "crop"
    published: ClassVar[tuple[models.Model, ...]] = (models.find("syncnet_v2"),)
    profits_from_gpu: ClassVar[bool] = True
    crop_px = crop.CROP_PX

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.hash12 = content_key(Path(weights))[:12]
        net = models.fit(SyncNetNet(), models.load_state(weights), self.name).eval()
        self._device = torch.device(device)
        with torch.inference_mode():
            self._tower = _LipTower(net, self._device)
            self.ear = _Ear(net, self._device)

    @classmethod
    def load(cls, folder: str | Path | None, device: str) -> SyncNet:
        return cls(models.path(cls.name, configured=folder), device)

    @classmethod
    def hash_of(cls, folder: str | Path | None) -> str:
        return models.digest(cls.name, configured=folder)[:12]

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[crop.Crop]:
        """Where to cut each frame of one face in one shot; `crop.cut` cuts it."""
        return crop.syncnet_crops(detector_boxes(mesh_NP3), times_s_N)

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """float32 (V, 1024) of uint8 crops (N, 224, 224, 3); resampled to 25 a second by time."""
        windows = lse.windows_in(times_s_N)
        at = crop.shown(times_s_N)[: windows + lse.WINDOW - 1 if windows else 0]
        found = list(self.embed_lips(frames_N[n] for n in at))
        return np.concatenate(found) if found else np.zeros((0, 1024), np.float32)

    def embed_lips(self, crops: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Embeddings of successive windows, float32 (n, 1024) at a time, of crops that come 25 a second.

        n crops have n - 4 windows. Holds a few dozen crops, however many come.
        """
        held: list[np.ndarray] = []
        for one in crops:
            held.append(one)
            if len(held) == _BLOCK + lse.WINDOW - 1:
                yield self._tower(np.stack(held)).numpy()
                del held[:_BLOCK]
        if len(held) >= lse.WINDOW:
            yield self._tower(np.stack(held)).numpy()

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """float32 (windows, 1024). Only what lies under the stretch is heard; after it comes silence."""
        found = [np.zeros((0, 1024), np.float32)]
        pcm = stretch(wave_16k, start_s, (windows + lse.WINDOW) * _FRAME)
        for a in range(0, windows, SOUNDS):
            b = min(windows, a + SOUNDS)
            before = float(pcm[a * _FRAME - 1]) if a else 0.0
            part = pcm[a * _FRAME : (b + lse.WINDOW) * _FRAME]
            if b - a == windows == 1:  # five frames of sound are a hair short of 20 windows of 25 ms
                part = np.pad(part, (0, _FRAME))
            features = mfcc(part, before).astype(np.float32)
            views = np.lib.stride_tricks.sliding_window_view(features, _MFCCS, axis=0)[:: _FRAME // HOP]
            found.append(self.ear(torch.from_numpy(views[: b - a, None].copy())).numpy())
        return np.concatenate(found)


class _Ear:
    """The sound tower, folded."""

    def __init__(self, net: SyncNetNet, device: torch.device) -> None:
        self._device = device
        self._tower, self._join = (folded(part).to(device) for part in (net.netcnnaud, net.netfcaud))

    def __call__(self, mfcc_N1BT: Tensor) -> Tensor:
        with torch.inference_mode(), exact(self._device):
            return self._join(self._tower(last(mfcc_N1BT.to(self._device))).flatten(1)).cpu()


class _LipTower:
    """The lip tower, folded, of 2-D layers: time is only in the first one, where five frames are 15 channels."""

    def __init__(self, net: SyncNetNet, device: torch.device) -> None:
        self._device = device
        self._tower = folded(flat(net.netcnnlip)).to(device)
        self._join = folded(net.netfclip).to(device)

    def __call__(self, frames_THWC: np.ndarray) -> Tensor:
        """float32 (T - 4, 1024) of uint8 frames (T, 224, 224, 3)."""
        count = len(frames_THWC) - lse.WINDOW + 1
        with torch.inference_mode(), exact(self._device):
            frames = torch.from_numpy(frames_THWC).to(self._device).permute(0, 3, 1, 2).float().contiguous()
            parts = [frames[a : min(count, a + _PART) + lse.WINDOW - 1] for a in range(0, count, _PART)]
            if self._device.type == "cpu":
                return torch.cat(in_lanes(self._windows, parts))
            return torch.cat([self._windows(part) for part in parts]).cpu()

    def _windows(self, frames_TCHW: Tensor) -> Tensor:
        """All windows of a few frames."""
        stacked = frames_TCHW.unfold(0, lse.WINDOW, 1).permute(0, 4, 1, 2, 3).flatten(1, 2)
        return self._join(self._tower(last(stacked)).flatten(1))


def flat(tower: nn.Sequential) -> nn.Sequential:
    """Layers of stretches (N, C, T, H, W) as layers of pictures (N, T * C, H, W); only the first may span frames."""

    def one(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Conv3d):
            (depth, *kernel), stride, padding = layer.kernel_size, layer.stride[1:], layer.padding[1:]
            conv = nn.Conv2d(depth * layer.in_channels, layer.out_channels, kernel, stride, padding)  # type: ignore[arg-type]
            conv.weight, conv.bias = nn.Parameter(layer.weight.transpose(1, 2).flatten(1, 2)), layer.bias
            return conv
        if isinstance(layer, nn.BatchNorm3d):
            norm = nn.BatchNorm2d(layer.num_features)
            norm.load_state_dict(layer.state_dict())
            return norm
        if isinstance(layer, nn.MaxPool3d):
            return nn.MaxPool2d(layer.kernel_size[1:], layer.stride[1:], layer.padding[1:])  # type: ignore[index]
        return layer

    return nn.Sequential(*map(one, tower))
