"""silero-vad's network for 16 kHz, run by numpy from the weights that come in its package.

The published network (https://github.com/snakers4/silero-vad, version 6) answers for 512 samples at a time: a Fourier
transform of four windows, four convolutions over these, one step of an LSTM (Hochreiter and Schmidhuber 1997) and one
unit. All but the LSTM's step knows only its own samples and the 64 before, so many chunks are done at once. It needs no
torch.

Axes: T chunks, K windows of a chunk, C channels.
"""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from pathlib import Path

import numpy as np

from dubbing.errors import ModelError

__all__ = ["CHUNK", "Silero"]

CHUNK = 512  # samples
_BEFORE = 64  # samples before a chunk that belong to it, and mirrored ones behind it
_WINDOW, _HOP = 256, 128
_STRIDES = (1, 2, 2, 1)  # of the convolutions
_AT_ONCE = 256  # chunks
_WIDTH = 128
_FIRST = 2  # number of the first tensor in the archive: before it are empty ones, behind the last those for 8 kHz
_SHAPES = (
    (258, 256),
    (128, 129, 3), (128,), (64, 128, 3), (64,), (64, 64, 3), (64,), (128, 64, 3), (128,),
    (512, 128), (512, 128), (512,), (512,), (128,), (1,),
)  # fmt: skip


class Silero:
    """The chance of speech in one sound after another, each given in blocks. It sums on one thread of numpy's."""

    def __init__(self) -> None:
        """Raises ModelError where the package or its weights are absent."""
        basis, *convolutions, into, self._again, bias_in, bias_again, self._last, self._last_bias = _weights()
        self._basis = np.ascontiguousarray(basis.T)
        self._layers = [
            # (3 C, D): a convolution is one product
            (np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(bias))), bias, stride)
            for weight, bias, stride in zip(convolutions[::2], convolutions[1::2], _STRIDES, strict=True)
        ]
        self._into, self._bias = np.ascontiguousarray(into.T), bias_in + bias_again
        self.begin()

    def begin(self) -> None:
        """What comes is another sound."""
        self._hidden, self._cell = np.zeros((2, _WIDTH), np.float32)
        self._before = np.zeros(_BEFORE, np.float32)

    def hear(self, samples: np.ndarray) -> np.ndarray:
        """The chance of speech, 0..1, in each chunk, float32 (T,). samples: float32 (512 T,), which follow those that
        were heard before."""
        chance = np.empty(len(samples) // CHUNK, np.float32)
        for a in range(0, len(chance), _AT_ONCE):
            part = samples[a * CHUNK : (a + _AT_ONCE) * CHUNK]
            chance[a : a + _AT_ONCE] = self._said(part)
        return chance

    def _said(self, samples: np.ndarray) -> np.ndarray:
        sound = np.concatenate([self._before, samples])
        self._before = sound[len(sound) - _BEFORE :]
        chunks = np.lib.stride_tricks.sliding_window_view(sound, _BEFORE + CHUNK)[::CHUNK]
        chunks = np.concatenate([chunks, chunks[:, -2 : -2 - _BEFORE : -1]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(chunks, _WINDOW, axis=1)[:, ::_HOP]
        x = windows.reshape(-1, _WINDOW) @ self._basis
        half = x.shape[1] // 2
        x = np.sqrt(x[:, :half] ** 2 + x[:, half:] ** 2).reshape(len(chunks), -1, half)
        for weight, bias, stride in self._layers:
            x = _convolved(x, weight, bias, stride)
        return self._followed(x[:, 0] @ self._into + self._bias)

    def _followed(self, driven_TC: np.ndarray) -> np.ndarray:
        """The LSTM, step by step, and what it says. driven: what its gates get from each chunk, (T, 512)."""
        hidden_TC = np.empty((len(driven_TC), _WIDTH), np.float32)
        hidden, cell = self._hidden, self._cell
        for n, driven in enumerate(driven_TC):
            gates = driven + self._again @ hidden
            keep, out = _sigmoid(gates[: 2 * _WIDTH]), _sigmoid(gates[3 * _WIDTH :])
            cell = keep[_WIDTH:] * cell + keep[:_WIDTH] * np.tanh(gates[2 * _WIDTH : 3 * _WIDTH])
            hidden = hidden_TC[n] = out * np.tanh(cell)
        self._hidden, self._cell = hidden.copy(), cell
        return _sigmoid(np.maximum(hidden_TC, 0) @ self._last + self._last_bias)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5, np.float32)


def _convolved(x_TKC: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Three windows wide, zeros beside the first and the last; what is below 0 is 0."""
    wide = np.pad(x_TKC, ((0, 0), (1, 1), (0, 0)))
    three = np.concatenate([wide[:, k : k + x_TKC.shape[1] : stride] for k in range(3)], axis=2)
    flat = three.reshape(-1, len(weight)) @ weight + bias
    return np.maximum(flat, 0).reshape(len(three), -1, len(bias))


def _weights() -> list[np.ndarray]:
    """The tensors of the package's TorchScript file, an archive of raw ones in the order of `_SHAPES`; nothing in it is
    run. The package is found without being imported, because that loads torch."""
    spec = importlib.util.find_spec("silero_vad")
    places = list(spec.submodule_search_locations or ()) if spec else []
    try:
        with zipfile.ZipFile(Path(places[0]) / "data" / "silero_vad.jit") as archive:
            raw = {name.split("/", 1)[-1]: name for name in archive.namelist()}
            held = [archive.read(raw[f"data/{n}"]) for n in range(_FIRST, _FIRST + len(_SHAPES))]
        return [np.frombuffer(one, "<f4").reshape(shape) for one, shape in zip(held, _SHAPES, strict=True)]
    except (IndexError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as e:
        raise ModelError(
            f"The weights of silero-vad 6.2 cannot be used ({type(e).__name__}: {e}); install its package again."
        ) from e
