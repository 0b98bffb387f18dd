"""StableSyncNet, LatentSync's sync expert: 16 frames of an aligned lower face in colour against their mel spectrogram.

Li et al., "LatentSync" (2024); layers under the published keys (`dubbing.networks.latentsync.syncnet`). It was trained
by the cosine of its embeddings; they have unit length, so `lse`'s distance orders pairs as the cosine does, but its
numbers are no LSE of the literature.

It sees 0.64 s at once and not 0.2: each of `lse`'s windows is judged by the 16 frames around it, 5 before its own and
6 behind; at the ends of a stretch the nearest frame stands in, with silence under it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from dubbing import models
from dubbing.device import exact
from dubbing.experts import crop, lse
from dubbing.networks.folding import in_lanes, last
from dubbing.networks.latentsync import alignment
from dubbing.networks.latentsync.syncnet import COLUMNS, FRAMES, SIDE, StableSyncNet, widths_of
from dubbing.networks.mel import mel
from dubbing.networks.mfcc import stretch
from dubbing.store import content_key

__all__ = ["StableSyncNetExpert"]

_FRAME = 640  # samples of a 25th of a second
_MEL_PER_S = 80
_SILENCE = -4.0
_BEFORE, _BEHIND = 5, 6  # frames that it sees around a window
_LEAD = _BEFORE * _MEL_PER_S // lse.FPS  # columns
_PART, _ON_GPU = 2, 32  # windows at a time


class StableSyncNetExpert:
    """The expert `stable_syncnet`; see `dubbing.experts.Expert`.

    weights: the published file. Raises ModelError for another. Crops are faces aligned to LatentSync's template.
    """

    name: ClassVar[str] = "stable_syncnet"
    wants: ClassVar[Literal["mesh", "crop"]] = "crop"
    published: ClassVar[tuple[models.Model, ...]] = (models.find("stable_syncnet"),)
    profits_from_gpu: ClassVar[bool] = True
    crop_px = SIDE
    around = _BEFORE, _BEHIND

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.hash12 = content_key(Path(weights))[:12]
        state = {k: v.float() if v.is_floating_point() else v for k, v in models.load_state(weights).items()}
        with torch.device("meta"):
            net = StableSyncNet(widths_of(state, self.name))
        net = models.fit(net, state, self.name).eval()
        self._numbers = net.visual_encoder.norm_out.num_channels
        self._device = torch.device(device)
        self._net = net.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(cls, folder: str | Path | None, device: str) -> StableSyncNetExpert:
        return cls(models.path(cls.name, configured=folder), device)

    @classmethod
    def hash_of(cls, folder: str | Path | None) -> str:
        return models.digest(cls.name, configured=folder)[:12]

    def crops(self, mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> list[crop.Crop]:
        """What of each frame of one face in one shot is seen, and by which matrix; `cut` cuts it."""
        follow, found = alignment.Matrices(SIDE), []
        corners = np.array([[x, y, 1.0] for y in (0, SIDE - 1) for x in (0, SIDE - 1)])
        for mesh in mesh_NP3[..., :2]:
            matrix = follow.of(alignment.mesh_points(mesh))
            there = corners @ cv2.invertAffineTransform(alignment.to_square(matrix, SIDE)).T
            (left, top), (right, bottom) = np.floor(there.min(0)), np.ceil(there.max(0)) + 1
            found.append(crop.Crop(int(left), int(top), int(right), int(bottom), tuple(matrix.ravel())))
        return found

    def cut(self, whole_HWC: np.ndarray, place: crop.Crop) -> np.ndarray:
        """The aligned face of a whole picture, uint8 (256, 256, 3), as published; grey where there is no picture."""
        height, width = whole_HWC.shape[:2]
        x, y = (int(np.clip(v, 0, far - 1)) for v, far in ((place.left, width), (place.top, height)))
        matrix = np.reshape(place.matrix, (2, 3)).copy()
        matrix[:, 2] += matrix[:, :2] @ (x, y)
        inside = whole_HWC[y : max(y + 1, place.bottom), x : max(x + 1, place.right)]
        return alignment.square_of(inside, matrix, SIDE)

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """float32 (V, E) of uint8 crops (N, 256, 256, 3), BGR; resampled to 25 a second by time."""
        windows = lse.windows_in(times_s_N)
        at = crop.shown(times_s_N)
        if not windows:
            return self._embed(self._net.visual_encoder, [])
        lower = {int(n): frames_N[n, SIDE // 2 :, :, ::-1] for n in at}

        def window(first: int) -> Tensor:
            seen = [lower[int(at[min(max(first - _BEFORE + n, 0), len(at) - 1)])] for n in range(FRAMES)]
            return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).flatten(0, 1).float() / 127.5 - 1

        return self._embed(self._net.visual_encoder, [window(n) for n in range(windows)])

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """float32 (windows, E). Only what lies under the stretch is heard; around it is silence."""
        if not windows:
            return self._embed(self._net.audio_encoder, [])
        part = stretch(wave_16k, start_s, (windows + lse.WINDOW) * _FRAME)
        columns = mel(part.astype(np.float32) / 32768)
        columns = np.pad(columns, ((0, 0), (_LEAD, COLUMNS)), constant_values=_SILENCE)
        starts = [n * _MEL_PER_S // lse.FPS for n in range(windows)]
        given = [torch.from_numpy(columns[None, :, at : at + COLUMNS].copy()) for at in starts]
        return self._embed(self._net.audio_encoder, given)

    def _embed(self, encoder: nn.Module, given: list[Tensor]) -> np.ndarray:
        """What one of the two encoders makes of its windows, float32 (N, E) of length 1."""
        if not given:
            return np.zeros((0, self._numbers), np.float32)
        size = _PART if self._device.type == "cpu" else _ON_GPU
        parts = [given[n : n + size] for n in range(0, len(given), size)]
        if self._device.type == "cpu":
            return torch.cat(in_lanes(lambda part: encoder(last(torch.stack(part))), parts)).numpy()
        with torch.inference_mode(), exact(self._device):
            found = [encoder(last(torch.stack(part).to(self._device))) for part in parts]
            return torch.cat(found).cpu().numpy()
