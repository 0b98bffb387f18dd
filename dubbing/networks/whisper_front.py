"""The front of whisper base's encoder as an ear: log-mel, two convolutions and the first blocks of its transformer.

Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision") was trained to write down
speech of a hundred languages. The middle of its encoder knows how sounds are articulated, its end knows words. Here
its front is run by torch, on one thread of a processor or on a GPU, from weights kept in eight bits with one scale per
row (`pack`), in windows of a few seconds, so that what is heard depends on little around it and memory does not grow
with length. It knows no lips, no file and no actor.

Axes: T steps at `STEP_HZ`, N columns of log-mel at twice that, M mel bands, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing.device import exact
from dubbing.networks.whisper_mel import BANDS, DEPTH, FFT, HOP, energies
from dubbing.sound import RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CORE", "MARGIN", "STEP_HZ", "WIDTH", "Front", "log_mel", "pack"]

STEP_HZ = 50
WIDTH = 512
CORE, MARGIN = 300, 50  # steps that a window answers for, and that it sees beside them on either side
AT_ONCE = 16  # windows in a batch on a GPU
PEAK = 1.5  # log10 of the loudest mel energy, to which every recording is brought
_STEP = RATE_HZ // STEP_HZ
_HEADS = 8
_LONGEST_WAVE = 10_000.0


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Whisper's log-mel, float32 (N, 80), 100 columns a second, column n centred on sample 160 n.

    wave: float32 mono at 16 kHz; N = 2 (len(wave) // 320 + 1). The loudest column of a recording is brought to one
    level, so that a gain changes nothing; what is 80 dB below it, and what is outside, is silence.
    """
    count = 2 * (len(wave) // _STEP + 1)
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    if not peak:
        return np.full((count, BANDS), (PEAK - DEPTH + 4) / 4, np.float32)
    sound = np.pad(np.asarray(wave, np.float32) / np.float32(peak), (FFT // 2, FFT // 2 + count * HOP - len(wave)))
    out = energies(sound, count)
    loudest = out.max()
    return np.asarray((np.maximum(out, loudest - DEPTH) - loudest + PEAK + 4) / 4, np.float32)


class Front:
    """Whisper's front with the weights of `pack`, on one device."""

    def __init__(self, packed: Mapping[str, Tensor], device: str = "cpu") -> None:
        """Raises KeyError where a weight is absent."""
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)
        self._state = {name: value.to(self._device) for name, value in _unpacked(packed).items()}
        self._blocks = len({name.split(".")[1] for name in packed if name.startswith("blocks.")})
        self._positions = torch.from_numpy(_sinusoids(CORE + 2 * MARGIN)).to(self._device)

    def hear(self, wave: np.ndarray) -> np.ndarray:
        """What the last block says, float32 (T, WIDTH), T = len(wave) // 320 + 1; step k is centred on k / 50 s.

        The place within the window, which whisper adds to every step before the first block, is taken out again.
        wave: float32 mono at 16 kHz. A gain changes nothing. A step sees at least MARGIN steps to either side.
        """
        return self.hear_all(wave)[-1]

    def hear_all(self, wave: np.ndarray) -> list[np.ndarray]:
        """What each block says, as `hear`."""
        torch = self._torch
        count = len(wave) // _STEP + 1
        silent = np.full((2 * MARGIN, BANDS), (PEAK - DEPTH + 4) / 4, np.float32)
        mel = np.concatenate([silent, log_mel(wave), silent])
        out = [np.empty((count, WIDTH), np.float32) for _ in range(self._blocks)]
        starts = list(range(0, count, CORE))
        at_once = 1 if self._device.type == "cpu" else AT_ONCE
        whole, last = starts[:-1], starts[-1]
        groups = [whole[n : n + at_once] for n in range(0, len(whole), at_once)] + [[last]]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the order of sums must not depend on how many cores there are
        try:
            with torch.inference_mode(), exact(self._device):
                for group in groups:
                    size = min(CORE, count - group[0])
                    cut = np.stack([mel[2 * s : 2 * (s + size + 2 * MARGIN)] for s in group])
                    said = self._run(torch.from_numpy(cut).to(self._device))
                    for part, block in zip(out, said, strict=True):
                        for start, answer in zip(group, block[:, MARGIN : MARGIN + size].cpu().numpy(), strict=True):
                            part[start : start + size] = answer
        finally:
            torch.set_num_threads(threads)
        return out

    def _run(self, mel_BNM: Tensor) -> list[Tensor]:
        torch, state = self._torch, self._state
        F = torch.nn.functional
        x = F.gelu(F.conv1d(mel_BNM.transpose(1, 2), state["conv1.weight"], state["conv1.bias"], padding=1))
        x = F.gelu(F.conv1d(x, state["conv2.weight"], state["conv2.bias"], stride=2, padding=1)).transpose(1, 2)
        here = self._positions[: x.shape[1]]
        x = x + here
        out = []
        for n in range(self._blocks):
            x = self._block(x, f"blocks.{n}.")
            out.append(x - here)
        return out

    def _block(self, x_BTD: Tensor, at: str) -> Tensor:
        F, state = self._torch.nn.functional, self._state

        def linear(x: Tensor, name: str) -> Tensor:
            return F.linear(x, state[f"{at}{name}.weight"], state.get(f"{at}{name}.bias"))

        def levelled(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(x, (WIDTH,), state[f"{at}{name}.weight"], state[f"{at}{name}.bias"])

        batch, steps, _ = x_BTD.shape
        h = levelled(x_BTD, "attn_ln")
        q, k, v = (
            linear(h, f"attn.{name}").view(batch, steps, _HEADS, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, steps, WIDTH)
        x = x_BTD + linear(seen, "attn.out")
        return x + linear(F.gelu(linear(levelled(x, "mlp_ln"), "mlp.0")), "mlp.2")


def pack(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The front of a whole whisper (keys `encoder.*`): matrices as int8 with a scale per row, the rest float16."""
    import torch

    out = {}
    for key, value in state.items():
        name = key.removeprefix("encoder.")
        if name == key or not name.startswith(("conv", "blocks.")):
            continue
        if name.startswith("blocks.") and int(name.split(".")[1]) >= blocks:
            continue
        if value.ndim > 1:
            rows = value.float().flatten(1)
            scale = (rows.abs().amax(1) / 127).clamp_min(1e-12)
            out[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(value.shape)
            out[f"{name}.scale"] = scale
        else:
            out[name] = value.half()
    return out


def _unpacked(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    for name, value in packed.items():
        if name.endswith(".scale"):
            continue
        scale = packed.get(f"{name}.scale")
        wide = value.float()
        out[name] = wide if scale is None else wide * scale.view(-1, *[1] * (value.ndim - 1))
    return out


def _sinusoids(steps: int) -> np.ndarray:
    rate = np.exp(-np.log(_LONGEST_WAVE) / (WIDTH // 2 - 1) * np.arange(WIDTH // 2))
    angle = np.arange(steps)[:, None] * rate[None]
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)
