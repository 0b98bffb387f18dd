"""Light-ASD, an active-speaker detector: whether a face speaks now, from lips and sound together.

Liao et al., "A Light Weight Model for Active Speaker Detection" (2023); layers under the published keys.
It sees SyncNet's crop in grey, the middle 112 of 224, 25 times a second, and hears 13 MFCCs 100 times a
second. It says how likely a face speaks; who is dubbed, the speakers stage decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from dubbing import device as devices
from dubbing import models
from dubbing.experts import crop
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.mfcc import mfcc, stretch
from dubbing.store import content_key

__all__ = ["BLOCK", "LightASD", "LightASDNet"]

_SIDE = 112
_MFCCS = 4  # of one frame
_FRAME = 640  # samples of one frame
BLOCK, _AROUND = 200, 25  # frames judged at once, and how many before and after they are judged with


class _Branch(nn.Module):
    """Two paths of kernels 3 and 5, each a spatial (`s`) or spectral (`m`) and a temporal convolution, then 1x1."""

    def __init__(self, inward: int, outward: int, *, picture: bool, down: bool = False) -> None:
        super().__init__()
        self._first = "s" if picture else "m"
        conv: Any = nn.Conv3d if picture else nn.Conv2d
        norm: Any = nn.BatchNorm3d if picture else nn.BatchNorm2d
        for k in (3, 5):
            over: Any = ((1, k, k), (k, 1, 1)) if picture else ((k, 1), (1, k))
            stride = (1, 2, 2) if picture and down else 1
            before, through = (tuple(n // 2 for n in shape) for shape in over)
            self.add_module(f"{self._first}_{k}", conv(inward, outward, over[0], stride, before, bias=False))
            self.add_module(f"bn_{self._first}_{k}", norm(outward, eps=0.001))
            self.add_module(f"t_{k}", conv(outward, outward, over[1], 1, through, bias=False))
            self.add_module(f"bn_t_{k}", norm(outward, eps=0.001))
        self.last = conv(outward, outward, 1, bias=False)
        self.bn_last = norm(outward, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor | None = None
        for k in (3, 5):
            y = x
            for name in (f"{self._first}_{k}", f"t_{k}"):
                y = self.get_submodule(f"bn_{name}")(self.get_submodule(name)(y)).relu()
            total = y if total is None else total + y
        return self.bn_last(self.last(total)).relu()


class _Encoder(nn.Module):
    def __init__(self, *, picture: bool) -> None:
        super().__init__()
        self.block1 = _Branch(1, 32, picture=picture, down=picture)
        self.block2 = _Branch(32, 64, picture=picture)
        self.block3 = _Branch(64, 128, picture=picture)
        self.pool: nn.Module = (
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if picture else nn.MaxPool2d((1, 3), (1, 2), (0, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block3(self.pool(self.block2(self.pool(self.block1(x)))))


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = _Encoder(picture=True)
        self.audioEncoder = _Encoder(picture=False)
        self.GRU = nn.ModuleDict({name: nn.GRU(128, 128, batch_first=True) for name in ("gru_forward", "gru_backward")})


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.FC = nn.Linear(128, 2)


class LightASDNet(nn.Module):
    """The published network, with its two heads (only the one for lips and sound together is used).

    `forward(mfcc, faces)`: MFCCs (1, 4 T, 13) and grey faces 0..255 (1, T, 112, 112), float32; returns logits
    (T, 2): column 1 above 0 means that the face speaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = _Model()
        self.lossAV, self.lossV = _Head(), _Head()

    def forward(self, mfcc_1T13: Tensor, faces_1THW: Tensor) -> Tensor:
        model = self.model
        seen = model.visualEncoder((faces_1THW[:, None] / 255 - 0.4161) / 0.1688).amax((3, 4)).transpose(1, 2)
        heard = model.audioEncoder(mfcc_1T13.transpose(1, 2)[:, None]).mean(2).transpose(1, 2)
        x = seen + heard
        x = nn.functional.gelu(model.GRU["gru_forward"](x)[0])
        x = nn.functional.gelu(model.GRU["gru_backward"](x.flip(1))[0].flip(1))
        return self.lossAV.FC(x[0])


class LightASD:
    """Light-ASD ready to judge. weights: the published file. Raises ModelError for another.

    name, hash12: for the table's metadata, `name@hash12`; device: of torch, None for a GPU where there is one.
    """

    name = "light_asd"
    profits_from_gpu: ClassVar[bool] = True
    crop_px = crop.CROP_PX

    def __init__(self, weights: Path, device: str | None = None) -> None:
        self.hash12 = content_key(Path(weights))[:12]
        self._net = models.fit(LightASDNet(), models.load_state(weights), self.name).eval()
        self._device = torch.device(device or devices.default())
        self._net.to(self._device)

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[crop.Crop]:
        """Where to cut each frame of one face in one shot; `crop.cut` cuts it."""
        return crop.syncnet_crops(detector_boxes(mesh_NP3), times_s_N)

    def speaking(self, crops_N: np.ndarray, times_s_N: np.ndarray, wave_16k: np.ndarray) -> np.ndarray:
        """How sure it is that the face speaks in each frame, float32 (N,): above 0 it does.

        crops_N: uint8 (N, 224, 224, 3) BGR, or (N, 112, 112) as `grey` makes them; times_s_N: when the frames
        begin, on the clock where sample 0 of `wave_16k` (float32 mono) is 0. A long stretch is judged in
        blocks of 8 s, each with a second around it; memory beyond the crops does not grow.
        """
        at = crop.shown(times_s_N)
        count = len(at)
        pcm = stretch(wave_16k, float(times_s_N[0]), count * _FRAME) if count else np.zeros(0, np.int16)
        found = np.zeros(count, np.float32)
        for a in range(0, count, BLOCK):
            low, high = max(0, a - _AROUND), min(count, a + BLOCK + _AROUND)
            faces = np.stack([self.grey(crops_N[n]) for n in at[low:high]])
            heard = mfcc(pcm[low * _FRAME : high * _FRAME], float(pcm[low * _FRAME - 1]) if low else 0.0)
            missing = max(0, _MFCCS * len(faces) - len(heard))  # the last window of 25 ms does not fit
            heard = np.pad(heard, ((0, missing), (0, 0)), mode="edge")[: _MFCCS * len(faces)]
            logits = self.logits(heard.astype(np.float32), faces)
            found[a : a + BLOCK] = logits[a - low :][: min(BLOCK, count - a), 1]
        nearest = np.minimum(np.searchsorted(at, np.arange(len(times_s_N))), max(count - 1, 0))
        return found[nearest] if count else np.zeros(len(times_s_N), np.float32)

    def logits(self, mfcc_T13: np.ndarray, faces_THW: np.ndarray) -> np.ndarray:
        """float32 (T, 2) of MFCCs (4 T, 13) and uint8 grey faces (T, 112, 112)."""
        with torch.inference_mode(), devices.exact(self._device):
            faces = torch.from_numpy(np.ascontiguousarray(faces_THW)).to(self._device).float()[None]
            heard = torch.from_numpy(np.ascontiguousarray(mfcc_T13)).to(self._device)[None]
            return self._net(heard, faces).cpu().numpy()

    @staticmethod
    def grey(crop_HWC: np.ndarray) -> np.ndarray:
        """The middle of a 224-pixel crop in grey, uint8 (112, 112): all it looks at; what is that already stays."""
        if crop_HWC.ndim == 2:
            return crop_HWC
        edge = (crop_HWC.shape[0] - _SIDE) // 2
        return cv2.cvtColor(crop_HWC, cv2.COLOR_BGR2GRAY)[edge : edge + _SIDE, edge : edge + _SIDE]
