"""`lips`: the built-in sync expert, on the shape of the mouth instead of its pixels.

A few principal components of the lips and jaw (canonical shape, so the head's turn and place are
out; left and right averaged; rest and amplitude taken from the track itself) over 5 frames, and log-mel
over the same 0.2 s (free of voice and microphone: the stretch's own mean speech taken out), each through a small
perceptron into one space; several members trained from different starts stand side by side. It shares no feature
and no sentence with the prior of `rewrite`, so that a dub is not judged by its own teacher. Trained by
`shipped_weights/sync.py`; the card is `lips.md`. It reads no picture and no file but its weights, and runs in numpy
alone. On another device than the processor its perceptrons run in torch, with the same results but for rounding. A
stretch takes milliseconds either way, so it asks for no GPU.

What goes out is scaled so that lips and unrelated sound are 10 apart on average (root mean square),
and the zeros beyond a stretch's ends are as far as unrelated sound: they favour no shift.

Axes: N frames, n instants at 25 fps, V windows, T columns of log-mel at 100 Hz, B bands, P points, K components,
M members, E embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from dubbing import models
from dubbing.errors import ModelError
from dubbing.experts.lse import FPS, WINDOW, instants, windows_in
from dubbing.face import INNER_LIPS, JAW, OUTER_LIPS, canonical
from dubbing.models import Model
from dubbing.sound import HOP, RATE_HZ, log_mel
from dubbing.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BANDS", "COLUMNS", "PER_FRAME", "POINTS", "WEIGHTS", "Lips", "centred", "levelled", "mouth",
           "mouth_of", "relax", "sound_columns", "speech_columns"]  # fmt: skip

WEIGHTS = Path(__file__).with_name("lips.npz")
PER_FRAME = RATE_HZ // HOP // FPS  # columns
COLUMNS = WINDOW * PER_FRAME  # under a window
BANDS = 20
UNIT, LOWEST, HIGHEST = 2.0, -4.0, 3.0  # nats in a unit of what the perceptrons hear, and its range in units
_LOUD = 0.06  # root mean square that speech is brought to
_MOST_GAIN = 30.0
REST_FRAMES = 12.0  # how many frames of a stretch weigh as much as what is usual
REST_COLUMNS = 100.0  # how many columns of its speech do
NATS = 4.0  # speech is what lies within this much of the loudest twentieth


def _pairs() -> tuple[tuple[int, int], ...]:
    """Points of the picture's left half of the lower face, each with its mirror point."""
    found = []
    for ring in (OUTER_LIPS, INNER_LIPS):
        upper, lower = ring[:11], ring[11:]
        found += [(upper[i], upper[10 - i]) for i in range(6)] + [(lower[8 - i], lower[i]) for i in range(5)]
    line, chin = JAW[:17], JAW[17:]
    found += [(line[i], line[16 - i]) for i in range(9)]
    found += [(point, point) for point in chin[:4]] + list(zip(chin[4:13:2], chin[5:14:2], strict=True))
    return tuple(found)


POINTS = _pairs()


def mouth(mesh_NP3: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
    """The lower face at 25 fps: float32 (n, len(POINTS) * 2), left and right averaged, in inter-ocular distances.

    mesh_NP3: (N, 478, 3) pixels; times_s_N: when each frame begins. Between frames linear in time;
    then a light three-tap smoothing against the mesh's own jitter. Depth is left out: it is guessed,
    and cost accuracy on every speaker.
    """
    return mouth_of(canonical(mesh_NP3)[0], times_s_N)


def mouth_of(shape_NP3: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
    """The same of canonical shapes (N, 478, 3), as `face.canonical` gives them."""
    shape = shape_NP3
    left, right = (shape[:, [pair[side] for pair in POINTS]] for side in (0, 1))
    flat_ND = ((left + right * (-1, 1, 1)) / 2)[..., :2].reshape(len(shape), -1)
    times = np.asarray(times_s_N, np.float64)
    at = instants(times)
    place = np.interp(at, times, np.arange(len(times)))
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(times) - 1)
    part = (place - low)[:, None]
    even = flat_ND[low] * (1 - part) + flat_ND[high] * part
    around = np.concatenate([even[:1], even, even[-1:]])
    return (0.8 * even + 0.1 * (around[:-2] + around[2:])).astype(np.float32)


def relax(coef_nK: np.ndarray, deviation_K: np.ndarray, usual: float) -> np.ndarray:
    """Components of one stretch, free of the person: its own mean out, its own amplitude made one.

    deviation_K: what each component varies by over people; usual: the usual energy of a stretch
    relative to it, which a short stretch's amplitude leans on.
    """
    apart = coef_nK - coef_nK.mean(0)
    count = len(apart)
    energy = float((apart**2).sum() / count / (deviation_K**2).sum())
    energy = (count * energy + REST_FRAMES * usual) / (count + REST_FRAMES)
    return apart / (np.sqrt(energy) * np.sqrt(deviation_K * deviation_K.mean()))


def levelled(wave: np.ndarray) -> np.ndarray:
    """Sound brought to one level: the root mean square of its louder 20 ms blocks (those over a tenth
    of the mean power), so that silences count for nothing. wave: float32 mono at 16 kHz."""
    whole = wave[: len(wave) // 320 * 320].reshape(-1, 320)
    power = np.einsum("bt,bt->b", whole, whole, dtype=np.float64) / 320
    if not len(power) or power.max() <= 0:
        return wave
    loud = np.sqrt(power[power >= 0.1 * power.mean()].mean())
    return wave * np.float32(min(_LOUD / loud, _MOST_GAIN))


def sound_columns(wave: np.ndarray) -> np.ndarray:
    """Log-mel at one level, neighbouring bands averaged: float32 (T, BANDS), 100 a second, column k centred on
    k / 100 s."""
    mel = log_mel(levelled(wave))
    return np.asarray(mel.reshape(len(mel), BANDS, -1).mean(2), np.float32)


def speech_columns(columns_TB: np.ndarray) -> np.ndarray:
    """Which columns of `sound_columns` are no pauses, by their level alone: bool (T,)."""
    level = columns_TB.mean(1)
    return np.asarray(level >= np.quantile(level, 0.95) - NATS)


def centred(columns_TB: np.ndarray, usual_B: np.ndarray) -> np.ndarray:
    """Columns free of voice and microphone, in units of UNIT nats within LOWEST..HIGHEST, float32 (T, B): the mean of
    the stretch's own speech is out, which leans on the usual spectrum usual_B, brought to the stretch's level."""
    speech_TB = columns_TB[speech_columns(columns_TB)]
    own_B = speech_TB.mean(0)
    usual = usual_B - usual_B.mean() + own_B.mean()
    mean_B = (len(speech_TB) * own_B + REST_COLUMNS * usual) / (len(speech_TB) + REST_COLUMNS)
    return np.asarray(np.clip((columns_TB - mean_B) / UNIT, LOWEST, HIGHEST), np.float32)


def _stacked(signal_TK: np.ndarray, length: int, step: int, count: int) -> np.ndarray:
    """`count` overlapping stretches of a signal, flattened in time order: (count, length * K)."""
    view = np.lib.stride_tricks.sliding_window_view(signal_TK, length, axis=0)[::step][:count]
    return np.ascontiguousarray(view.transpose(0, 2, 1)).reshape(len(view), -1)


class Lips:
    """The built-in expert (protocol `dubbing.experts.Expert`). Raises ModelError where its weights are unusable."""

    name: ClassVar[str] = "lips"
    wants: ClassVar[Literal["mesh", "crop"]] = "mesh"
    published: ClassVar[tuple[Model, ...]] = ()
    profits_from_gpu: ClassVar[bool] = False

    def __init__(self, path: Path | None = None, device: str = "cpu") -> None:
        path = path or WEIGHTS
        stored = models.shipped_arrays(path, "the sync expert lips", "shipped_weights/sync.py")
        try:
            self._w = {key: value.astype(np.float32) for key, value in stored.items()}
            self._usual, self._spectrum = float(self._w["usual"]), self._w["spectrum"]
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{path.name} lacks {error}, so it is not the weights of the sync expert lips.") from error
        self.hash12 = content_key(path)[:12]
        self.device = device
        self._there: dict[str, Tensor] = {}  # the perceptrons' arrays, where they do not run on the processor
        if device.partition(":")[0] != "cpu":
            import torch

            layers = {k: v for k, v in self._w.items() if k.endswith(("_weight", "_bias"))}
            self._there = {k: torch.from_numpy(v).to(device) for k, v in layers.items()}

    @classmethod
    def load(cls, folder: str | Path | None, device: str) -> Lips:
        """See `dubbing.experts.Expert`."""
        return cls(device=device)

    @classmethod
    def hash_of(cls, folder: str | Path | None) -> str:
        """See `dubbing.experts.Expert`. Reads the weights whole, so that damage is found before a run."""
        return cls().hash12

    def embed_video(self, frames_N: np.ndarray, times_s_N: np.ndarray) -> np.ndarray:
        """Meshes (N, 478, 3) at their times: float32 (V, E)."""
        count = windows_in(times_s_N)
        coef = mouth(frames_N, times_s_N) @ self._w["basis"]
        return self._embed("video", _stacked(relax(coef, self._w["deviation"], self._usual), WINDOW, 1, count))

    def embed_sound(self, wave_16k: np.ndarray, start_s: float, windows: int) -> np.ndarray:
        """The sound under each window: float32 (windows, E). Where the wave has ended there is silence."""
        first = round(start_s * RATE_HZ)
        length = ((windows - 1) * PER_FRAME + COLUMNS) * HOP
        wave = np.zeros(length, np.float32)
        held = np.asarray(wave_16k[max(first, 0) : max(first + length, 0)], np.float32)
        begin = max(-first, 0)
        wave[begin : begin + len(held)] = held
        heard = centred(sound_columns(wave), self._spectrum)
        return self._embed("sound", _stacked(heard, COLUMNS, PER_FRAME, windows))

    def _embed(self, side: str, inputs_VI: np.ndarray) -> np.ndarray:
        """The members' perceptrons, side by side, unit length each, then the common scale."""
        hidden = self._hidden(side, inputs_VI)
        unit = hidden / np.maximum(np.linalg.norm(hidden, axis=-1, keepdims=True), 1e-6)
        flat = unit.transpose(1, 0, 2).reshape(len(inputs_VI), -1)
        apart = np.concatenate([flat - self._w["centre"], np.ones((len(flat), 1), np.float32) * self._w["beside"]], 1)
        return apart * self._w["scale"]

    def _hidden(self, side: str, inputs_VI: np.ndarray) -> np.ndarray:
        """The members' last layers, float32 (M, V, E)."""
        weights: dict[str, Any] = self._there or self._w
        hidden: Any = inputs_VI
        if self._there:
            import torch

            hidden = torch.from_numpy(inputs_VI).to(self.device)
        layer = 0
        while f"{side}_{layer}_weight" in weights:
            if layer:
                hidden = hidden.clip(0) if self._there else np.maximum(hidden, 0)
            hidden = hidden @ weights[f"{side}_{layer}_weight"] + weights[f"{side}_{layer}_bias"][:, None]
            layer += 1
        return np.asarray(hidden.cpu() if self._there else hidden)
