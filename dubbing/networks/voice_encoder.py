"""The encoder of silero-vad, trained on many languages: 128 numbers for every 32 ms of sound.

It was trained to tell speech from noise, and its last layer also predicts the shape of the lips well: the prior of
`rewrite` and the sync expert `lips` use it. Its weights come in silero-vad's wheel and are run here in
numpy, so that both engines and every machine agree. It knows no lips and no actor.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from dubbing.errors import ModelError

__all__ = ["SIZE", "check", "digest", "encoded"]

SIZE = 128
_STEP = 320  # samples from one answer to the next, at 16 kHz
_REACH = 288  # samples before the middle of what one answer is about, and after it
_PEAK, _PEAK_PART = 0.4, 0.999  # the level it hears: all but a thousandth of the samples lie within this
_FLOOR = 0.05
_WINDOW, _HOP, _MIRRORED, _BANDS = 256, 128, 64, 129
_STRIDES = (1, 2, 2, 1)
_AT_ONCE = 1500  # steps


def encoded(wave: np.ndarray) -> np.ndarray:
    """Logarithms of the encoder's last layer, float32 (T, SIZE), 50 steps a second, step k centred on k / 50 s.

    wave: float32 mono at 16 kHz. A gain changes nothing. Raises ModelError where silero-vad is not as expected.
    """
    basis, layers = _weights()
    count = len(wave) // _STEP + 1
    loud = np.quantile(np.abs(wave), _PEAK_PART) if len(wave) else 0.0
    sound = np.pad(np.asarray(wave, np.float32) * np.float32(_PEAK / max(loud, 1e-6)), (_REACH, _REACH + _STEP))
    windows = np.lib.stride_tricks.sliding_window_view(sound, 2 * _REACH)[::_STEP][:count]
    out = np.empty((count, SIZE), np.float32)
    for start in range(0, count, _AT_ONCE):
        part = np.pad(windows[start : start + _AT_ONCE], ((0, 0), (0, _MIRRORED)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(part, _WINDOW, axis=1)[:, ::_HOP]
        waves = frames @ basis
        x = np.sqrt(waves[..., :_BANDS] ** 2 + waves[..., _BANDS:] ** 2)
        for (weight, bias), stride in zip(layers, _STRIDES, strict=True):
            x = _layer(x, weight, bias, stride)
        out[start : start + len(x)] = np.log(x[:, 0] + _FLOOR)
    return out


@lru_cache(maxsize=1)
def digest() -> str:
    """16 hex digits of the weights: which encoder this is."""
    basis, layers = _weights()
    sha = hashlib.sha256(basis.tobytes())
    for weight, bias in layers:
        sha.update(weight.tobytes())
        sha.update(bias.tobytes())
    return sha.hexdigest()[:16]


def check(wanted: str, whose: str) -> None:
    """Raises ModelError where this is not the encoder that `whose` weights were trained with."""
    if digest() != wanted:
        raise ModelError(
            f"{whose} was trained with silero-vad's network {wanted}, but {digest()} is installed; install the version "
            "of silero-vad that pyproject.toml names."
        )


def _layer(x_BTC: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """A convolution over three steps with silence outside, then what of it is positive."""
    padded = np.pad(x_BTC, ((0, 0), (1, 1), (0, 0)))
    steps = range(0, x_BTC.shape[1], stride)
    near = np.stack([padded[:, t : t + 3].reshape(len(padded), -1) for t in steps], 1)
    return np.asarray(np.maximum(near @ weight + bias, 0))


@lru_cache(maxsize=1)
def _weights() -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """The transform's basis (256, 258), and of each layer the weights (3 * inputs, outputs) and biases; float32."""
    from silero_vad import load_silero_vad

    state = load_silero_vad(onnx=False).state_dict()
    try:
        basis = state["_model.stft.forward_basis_buffer"].numpy()
        layers = []
        for n in range(len(_STRIDES)):
            weight = state[f"_model.encoder.{n}.reparam_conv.weight"].numpy()
            bias = state[f"_model.encoder.{n}.reparam_conv.bias"].numpy()
            layers.append((np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, len(bias))), bias))
        if basis.shape != (2 * _BANDS, 1, _WINDOW) or len(layers[-1][1]) != SIZE:
            raise KeyError(f"shapes {basis.shape}, {layers[-1][0].shape}")
    except KeyError as e:
        raise ModelError(
            f"silero-vad's network is not the one that rewrite's prior reads ({e}); install silero-vad 6.2."
        ) from e
    return np.ascontiguousarray(basis[:, 0].T), layers
