"""Wav2Lip's own sync expert: the lower half of the face in colour against its mel spectrogram.

Prajwal et al., "A lip sync expert is all you need for speech to lip generation in the wild" (2020);
layers under the published keys. It was trained by the cosine of its embeddings; they have unit length, so
`lse`'s distance orders pairs as the cosine does, but its numbers are no LSE of the literature.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing import models
from dubbing.device import exact
from dubbing.experts import crop, lse
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.folding import folded, in_lanes, last
from dubbing.networks.mel import COLUMNS, mel
from dubbing.networks.mfcc import stretch
from dubbing.store import content_key

__all__ = ["Wav2LipColor", "Wav2LipColorNet"]

_SIDE = 96
_FRAME = 640  # samples of a 25th of a second
_PART, _ON_GPU = 8, 256  # windows at a time
# (channels, kernel, stride, padding); a layer that keeps its shape also adds its input.
_Layers = tuple[tuple[int, int, int | tuple[int, int], int], ...]
_FACE: _Layers = (
    (32, 7, 1, 3),
    (64, 5, (1, 2), 1), (64, 3, 1, 1), (64, 3, 1, 1),
    (128, 3, 2, 1), (128, 3, 1, 1), (128, 3, 1, 1), (128, 3, 1, 1),
    (256, 3, 2, 1), (256, 3, 1, 1), (256, 3, 1, 1),
    (512, 3, 2, 1), (512, 3, 1, 1), (512, 3, 1, 1),
    (512, 3, 2, 1), (512, 3, 1, 0), (512, 1, 1, 0),
)  # fmt: skip
_SOUND: _Layers = (
    (32, 3, 1, 1), (32, 3, 1, 1), (32, 3, 1, 1),
    (64, 3, (3, 1), 1), (64, 3, 1, 1), (64, 3, 1, 1),
    (128, 3, 3, 1), (128, 3, 1, 1), (128, 3, 1, 1),
    (256, 3, (3, 2), 1), (256, 3, 1, 1), (256, 3, 1, 1),
    (512, 3, 1, 0), (512, 1, 1, 0),
)  # fmt: skip


class _Block(nn.Module):
    def __init__(self, inward: int, outward: int, kernel: int, stride: int | tuple[int, int], padding: int) -> None:
        super().__init__()
        conv = nn.Conv2d(inward, outward, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(outward))
        self.residual = inward == outward and stride == 1 and padding > 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)


def _encoder(inward: int, layers: _Layers) -> nn.Sequential:
    blocks = []
    for outward, kernel, stride, padding in layers:
        blocks.append(_Block(inward, outward, kernel, stride, padding))
        inward = outward
    return nn.Sequential(*blocks)


class Wav2LipColorNet(nn.Module):
    """The published network.

    `face_encoder`: (N, 15, 48, 96), the lower halves of five frames, BGR 0..1, one after another;
    `audio_encoder`: mel (N, 1, 80, 16). Both give (N, 512, 1, 1), to be scaled to unit length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder, self.audio_encoder = _encoder(15, _FACE), _encoder(1, _SOUND)

    def forward(self, mel_N: Tensor, face_N: Tensor) -> tuple[Tensor, Tensor]:
        """Unit embeddings of sound and face, (N, 512) each."""
        return _unit(self.audio_encoder(mel_N)), _unit(self.face_encoder(face_N))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1), dim=1)


class Wav2LipColor:
    """The expert `wav2lip_color`; see `dubbing.experts.Expert`.

    weights: the published file. Raises ModelError for another. Crops are the detector's box, no wider, of
    any size: they are seen at 96x96.
    """

    name: ClassVar[str] = "wav2lip_color"
    wants: ClassVar[Literal["mesh", "crop"]] = "crop"
    published: ClassVar[tuple[models.Model, ...]] = (models.find("wav2lip_color"),)
    profits_from_gpu: ClassVar[bool] = True
    crop_px = _SIDE

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.hash12 = content_key(Path(weights))[:12]
        net = models.fit(Wav2LipColorNet(), models.load_state(weights), self.name).eval()
        self._device = torch.device(device)
        self.face_tower, self.sound_tower = (folded(e).to(self._device) for e in (net.face_encoder, net.audio_encoder))

    @classmethod
    def load(cls, folder: str | Path | None, device: str) -> Wav2LipColor:
        return cls(models.path(cls.name, configured=folder), device)

    @classmethod
    def hash_of(cls, folder: str | Path | None) -> str:
        return models.digest(cls.name, configured=folder)[:12]

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[crop.Crop]:
        """Where to cut each frame of one face in one shot; `crop.cut` cuts it."""
        boxes = (map(int, box) for box in detector_boxes(mesh_NP3))
        return [crop.Crop(left, top, right, bottom) for left, top, right, bottom in boxes]

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """float32 (V, 512) of uint8 crops (N, H, W, 3); resampled to 25 a second by time."""
        windows = lse.windows_in(times_s_N)
        at = crop.shown(times_s_N)[: windows + lse.WINDOW - 1 if windows else 0]
        lower = [cv2.resize(frames_N[n], (_SIDE, _SIDE))[_SIDE // 2 :] for n in at]
        if not lower:
            return np.zeros((0, 512), np.float32)
        frames = torch.from_numpy(np.stack(lower)).permute(0, 3, 1, 2).float() / 255
        views = [frames[n : n + lse.WINDOW].flatten(0, 1) for n in range(windows)]
        return self.embed(self.face_tower, torch.stack(views))

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """float32 (windows, 512). Only what lies under the stretch is heard; around it is silence."""
        if not windows:
            return np.zeros((0, 512), np.float32)
        part = stretch(wave_16k, start_s, (windows + lse.WINDOW) * _FRAME)
        columns = mel(part.astype(np.float32) / 32768)
        views = [columns[:, n * 80 // lse.FPS :][:, :COLUMNS] for n in range(windows)]
        return self.embed(self.sound_tower, torch.from_numpy(np.stack(views)[:, None].copy()))

    def embed(self, encoder: nn.Module, x: Tensor) -> np.ndarray:
        """What one of the two towers makes of its inputs (N, ...), float32 (N, 512) of length 1."""

        def run(part: Tensor) -> Tensor:
            return _unit(encoder(last(part)))

        if self._device.type == "cpu":
            return torch.cat(in_lanes(run, x.split(_PART))).numpy()
        with torch.inference_mode(), exact(self._device):
            return torch.cat([run(part) for part in x.to(self._device).split(_ON_GPU)]).cpu().numpy()
