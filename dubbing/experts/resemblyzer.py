"""Resemblyzer's voice encoder: 256 numbers that are alike for sounds of one voice, whatever it says.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018): three LSTM layers over 40 mel bands, then one
linear layer; its weights (Apache-2.0) come in the wheel `Resemblyzer`, of which nothing else is used: the package
itself needs a compiler to be installed. It knows no face, and two voices at once are to it a third.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from dubbing import models
from dubbing.errors import ModelError
from dubbing.sound import RATE_HZ

__all__ = ["HASH12", "HOP", "SIZE", "WINDOW", "VoiceEncoder", "installed"]

_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
HASH12 = _SHA256[:12]
WINDOW, HOP = 16_000, 3_200  # samples that one answer is about, and from one answer to the next
SIZE = 256
_STEP, _FFT, _BANDS, _LAYERS = 160, 400, 40, 3
_COLUMNS = WINDOW // _STEP
_AT_ONCE = 64  # windows
_QUIETEST = 10 ** (-30 / 20)


def installed() -> Path | None:
    """The file of the weights; None where the wheel is not installed. It imports nothing."""
    found = importlib.util.find_spec("resemblyzer")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "pretrained.pt"
    return path if path.is_file() else None


class VoiceEncoder:
    """The network with its weights, on the processor. Raises ModelError: not installed, or another file."""

    def __init__(self) -> None:
        import torch

        path = installed()
        if path is None:
            raise ModelError("The voices' network is not installed: pip install --no-deps Resemblyzer==0.1.4.")
        layers = {"lstm": torch.nn.LSTM(_BANDS, SIZE, _LAYERS, batch_first=True), "linear": torch.nn.Linear(SIZE, SIZE)}
        state = models.load_state(path, sha256=_SHA256)
        net = torch.nn.ModuleDict(layers)
        models.fit(net, {k: v for k, v in state.items() if k.split(".")[0] in layers}, "Resemblyzer")
        self._net = net.eval().requires_grad_(False)

    def embed(self, wave_16k: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (S, 256), every number 0 or more, of the windows that begin at `starts`.

        wave_16k: float32 mono, -1..1, which is made louder where it is below -30 dBFS, as in the package; starts: int
        (S,), samples, multiples of 160. After the sound is silence.
        """
        import librosa
        import torch

        loudness = float(np.sqrt(np.mean(np.square(wave_16k)))) if len(wave_16k) else 0.0
        wave_16k = wave_16k * np.float32(max(1.0, _QUIETEST / max(loudness, 1e-6)))
        missing = max([0, *(start + WINDOW - len(wave_16k) for start in starts)])
        mel_BT = librosa.feature.melspectrogram(
            y=np.pad(wave_16k, (0, missing)), sr=RATE_HZ, n_fft=_FFT, hop_length=_STEP, n_mels=_BANDS
        )
        columns = np.asarray(starts, np.int64)[:, None] // _STEP + np.arange(_COLUMNS)
        out = np.empty((len(starts), SIZE), np.float32)
        for a in range(0, len(starts), _AT_ONCE):
            part_STB = np.ascontiguousarray(mel_BT.T[columns[a : a + _AT_ONCE]], np.float32)
            with torch.inference_mode():
                _, (hidden, _) = self._net["lstm"](torch.from_numpy(part_STB))
                found = self._net["linear"](hidden[-1]).relu()
                out[a : a + len(found)] = torch.nn.functional.normalize(found, dim=1).numpy()
        return out
