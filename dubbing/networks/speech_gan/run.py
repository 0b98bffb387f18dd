"""Inference with the generator of the speech-driven GAN, one tick and one picture at a time.

So the result does not depend on how a sequence is cut: parts, with the state passed from each to the next, give the
same bytes as the whole. Numpy in, numpy out; it knows no film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dubbing.networks.speech_gan.inputs import picture
from dubbing.networks.speech_gan.nets import SpeechGANNet

__all__ = ["Seen", "SpeechGAN", "State"]


@dataclass(frozen=True, eq=False)
class Seen:
    """An encoded still: its 50 numbers (1, 50) and the four skips, on the device."""

    who: Tensor
    skips: list[Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """The states of both GRUs within a sequence, (2, 1, audio) and (2, 1, 10), on the device."""

    audio: Tensor
    noise: Tensor


class SpeechGAN:
    """The network ready to run, float32. device: of torch."""

    def __init__(self, net: SpeechGANNet, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._net = net.eval().to(self._device)
        self._heard = net.plan.audio

    def see(self, still_HWC: np.ndarray) -> Seen:
        """Encode a still, uint8 BGR (128, 96, 3)."""
        with torch.inference_mode():
            return Seen(*self._net.identity(self._to(picture(still_HWC[None]))))

    def hear(
        self, mfcc_T1CT: np.ndarray, noise_TZ: np.ndarray, state: State | None = None
    ) -> tuple[np.ndarray, State | None]:
        """Codes of what is said and of chance, float32 (T, audio + 10), and the state behind them.

        mfcc_T1CT: (T, 1, 13, 20), see `inputs.windows`; noise_TZ: (T, 10); state: None at a sequence's beginning.
        """
        audio, chance = (state.audio, state.noise) if state else (None, None)
        codes = []
        with torch.inference_mode():
            mfcc, noise = self._to(mfcc_T1CT), self._to(noise_TZ)
            for n in range(len(mfcc)):
                said, audio = self._net.audio(mfcc[None, n : n + 1], audio)
                drawn, chance = self._net.noise(noise[None, n : n + 1], chance)
                codes.append(torch.cat((said[0], drawn[0]), 1))
            if audio is None or chance is None or not codes:
                return np.zeros((0, self._heard + noise_TZ.shape[1]), np.float32), state
            return torch.cat(codes).cpu().numpy(), State(audio, chance)

    def draw(self, seen: Seen, codes_NC: np.ndarray) -> np.ndarray:
        """Pictures of codes as `hear` gives them, float32 BGR (N, 128, 96, 3), 0..255."""
        made = []
        with torch.inference_mode():
            for code in self._to(codes_NC)[:, None]:
                whole = torch.cat((code[:, : self._heard], seen.who, code[:, self._heard :]), 1)
                made.append(self._net.decoder(whole, seen.skips) * 255)
            if not made:
                return np.zeros((0, 128, 96, 3), np.float32)
            return torch.cat(made).permute(0, 2, 3, 1).cpu().numpy()

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)
