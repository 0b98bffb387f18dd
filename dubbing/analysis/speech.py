"""Where in a sound someone speaks: silero-vad's answers, sharpened by energy.

silero-vad (its weights come in its wheel) answers for 32 ms at a time; what is digitally silent is never speech.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dubbing.sound import RATE_HZ

__all__ = ["CHUNK", "Listener", "samples16", "speech_ranges"]

CHUNK = 512  # samples that silero-vad answers for: 32 ms
_AT_ONCE = 256  # chunks, eight seconds
_HOP = RATE_HZ // 100
_SILENT = 2  # int16 code values: nothing louder is digital silence


class Listener:
    """silero-vad on one sound after another, each given in blocks. It sums on one thread.

    The package asks its network for one chunk after another. Here it is asked for many at once: all of it but its
    memory, an LSTM, looks at one chunk and the 4 ms before it, and torch runs the memory over them in one call. It says
    the same, but for the last bits of a sum, in a fraction of the time.
    """

    def __init__(self) -> None:
        import torch
        from silero_vad import load_silero_vad

        torch.set_num_threads(1)
        self._torch: Any = torch
        self._net: Any = dict(load_silero_vad(onnx=False).named_children())["_model"]  # the one for 16 kHz
        cell = self._net.decoder.rnn
        self._memory: Any = torch.nn.LSTM(cell.weight_ih.shape[1], cell.weight_hh.shape[1])
        self._memory.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
        self._before = int(self._net.context_size_samples)
        self.begin()

    def begin(self) -> None:
        """What comes is another sound."""
        self._state: Any = None
        self._rest = np.zeros(self._before, np.float32)

    def hear(self, block: np.ndarray) -> list[float]:
        """The chance of speech, 0..1, in each chunk that is complete with this block, float32 (T,) at 16 kHz."""
        chance: list[float] = []
        heard = np.concatenate([self._rest, block])
        whole = (len(heard) - self._before) // CHUNK * CHUNK
        with self._torch.inference_mode():
            for start in range(0, whole, _AT_ONCE * CHUNK):
                here = heard[start : min(start + _AT_ONCE * CHUNK, whole) + self._before]
                chunks = np.lib.stride_tricks.sliding_window_view(here, CHUNK + self._before)[::CHUNK]
                seen = self._net.encoder(self._net.stft(self._torch.from_numpy(chunks.copy())))
                said, self._state = self._memory(seen.transpose(1, 2), self._state)
                chance += self._net.decoder.decoder(said.transpose(1, 2))[:, 0, 0].tolist()
        self._rest = heard[whole:]
        return chance


def samples16(block: np.ndarray) -> np.ndarray:
    """Samples in -1..1 as int16 (T,), as analysed sound is kept."""
    return np.clip(np.rint(block * 32767.0), -32767, 32767).astype(np.int16)


def speech_ranges(wave: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The stretches in which someone speaks, int64 (S, 2) sample ranges, sorted and apart.

    wave: int16 (T,) at 16 kHz; chance: silero-vad's answer for each 512 samples, from sample 0.
    """
    from silero_vad.utils_vad import get_speech_timestamps_from_probs

    rough = get_speech_timestamps_from_probs(
        chance.tolist(), min_speech_duration_ms=96, min_silence_duration_ms=128, speech_pad_ms=0,
        audio_length_samples=len(wave),
    )  # fmt: skip
    level, silent = _levels(wave)
    speaks = np.zeros(len(level), bool)
    limits = [0, *(r["start"] // _HOP for r in rough), len(level)]
    for n, one in enumerate(rough):
        first, last = one["start"] // _HOP, min(-(-one["end"] // _HOP), len(level))
        end_before = min(rough[n - 1]["end"] // _HOP, first) if n else 0
        a, b = _sharpen(level, first, last, end_before, limits[n + 2])
        speaks[a:b] = True
    speaks &= ~silent
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speaks.astype(np.int8), [0]]))).reshape(-1, 2)
    edges = edges[edges[:, 1] - edges[:, 0] >= 3]
    return np.minimum(edges.astype(np.int64) * _HOP, len(wave))


def _levels(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dB of every 10 ms (float32), and which of them lie in a digital silence of at least 30 ms."""
    count = len(wave) // _HOP
    level = np.full(count, -120.0, np.float32)
    loud = np.zeros(count, np.int16)
    for start in range(0, count, 6000):
        stop = min(count, start + 6000)
        block = np.asarray(wave[start * _HOP : stop * _HOP], np.float32).reshape(-1, _HOP)
        level[start:stop] = 10 * np.log10((block**2).mean(1) / 32768.0**2 + 1e-12)
        loud[start:stop] = np.abs(block).max(1)
    silent = loud <= _SILENT
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]]))).reshape(-1, 2)
    for a, b in edges:
        if b - a < 3:
            silent[a:b] = False
    return level, silent


def _sharpen(level: np.ndarray, first: int, last: int, lowest: int, highest: int) -> tuple[int, int]:
    """Move a stretch's ends, in hops, to where the sound rises out of its surroundings and falls back.

    Inward over what is 30 dB below the stretch's loud parts; outward, up to 0.15 s, over what is not.
    """
    loud = float(np.percentile(level[first:last], 90)) if last > first else -120.0
    around = level[max(0, first - 50) : last + 50]
    floor = max(loud - 30.0, min(float(np.percentile(around, 5)) + 8.0, loud - 12.0))
    above = level > floor
    inside = np.flatnonzero(above[first:last])
    if len(inside) == 0:
        return first, last
    a, b = first + int(inside[0]), first + int(inside[-1]) + 1
    if a == first:
        while a > max(lowest, first - 15) and above[a - 1]:
            a -= 1
    if b == last:
        while b < min(highest, last + 15) and above[b]:
            b += 1
    return a, b
