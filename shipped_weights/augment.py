"""What training does to mouths and sounds so that a few speakers stand for many.

Axes: B stretches, n frames at 25 fps, K components of the mouth, T columns at 100 Hz, F bands.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augmented", "disturb_mouth", "disturb_sound", "read_at"]

_FLOOR = -11.5  # dubbing.sound.log_mel of silence


def augmented(wave: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Another speaker, room and level: resampled (pitch, formants and tempo), filtered, scaled, with noise.

    Returns the sound and its speed: what is at t in it was at t * speed.
    """
    speed = float(np.exp(rng.uniform(-0.18, 0.18)))
    out = np.interp(np.arange(int(len(wave) / speed)) * speed, np.arange(len(wave)), wave)
    spectrum = np.fft.rfft(out)
    place = np.sqrt(np.linspace(0, 1, len(spectrum)))
    gain_db = np.interp(place, np.linspace(0, 1, 6), rng.normal(0, 4, 6))
    out = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(out)) * 10 ** (rng.uniform(-20, 6) / 20)
    noise = rng.normal(size=len(out))
    if rng.random() < 0.5:
        noise = np.cumsum(noise)
        noise -= np.convolve(noise, np.full(800, 1 / 800), "same")
    noise *= np.sqrt((out**2).mean() / (noise**2).mean()) * 10 ** (-rng.uniform(10, 45) / 20)
    return (out + noise).astype(np.float32), speed


def read_at(signal_TK: Tensor, place: Tensor) -> Tensor:
    """A signal at fractional places, linear between them, held at the ends."""
    place = place.clamp(0, len(signal_TK) - 1.001)
    low = place.floor().long()
    part = (place - low).unsqueeze(-1).to(signal_TK.dtype)
    return signal_TK[low] * (1 - part) + signal_TK[low + 1] * part


def disturb_mouth(
    coef_BnK: Tensor, spread_K: Tensor, generator: torch.Generator, jitter: float = 0.3, drift: float = 0.6
) -> Tensor:
    """Other amplitudes (overall 25 %, per component 15 %), mesh jitter and slow drift, as another face would have.

    spread_K: the usual deviation of each component; jitter (frame by frame) and drift are parts of it.
    """
    size, frames, parts = coef_BnK.shape

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    out = coef_BnK * (0.25 * draw(size, 1, 1)).exp() * (1 + 0.15 * draw(size, 1, parts))
    slow = F.interpolate(draw(size, parts, 5), frames, mode="linear").transpose(1, 2)
    return out + spread_K * (jitter * draw(size, frames, parts) + drift * slow)


def disturb_sound(columns_BTF: Tensor, generator: torch.Generator) -> Tensor:
    """Another voice, room, level, line and background: the log-mel of each stretch changed in turn by a
    warp of its bands, decaying echoes, another stretch's sound as babble, noise, an equaliser, a gain
    and a missing band."""
    size, length, bands = columns_BTF.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def over_bands(points: int) -> Tensor:
        return F.interpolate(normal(size, 1, points), bands, mode="linear", align_corners=True)

    stretch = 1 + 0.1 * (2 * uniform(size, 1) - 1)
    place = (torch.arange(bands) * stretch + (2 * uniform(size, 1) - 1) * bands / 40).clamp(0, bands - 1.001)
    low = place.floor().long()
    part = (place - low)[:, None]
    low = low[:, None].expand(size, length, bands)
    sound = columns_BTF.gather(2, low) * (1 - part) + columns_BTF.gather(2, low + 1) * part

    power = sound.exp()
    room = 0.75 * uniform(size, 1, 1) * (uniform(size, 1, 1) < 0.5)
    before = F.pad(power, (0, 0, 11, 0))
    wet = power + sum(room * torch.exp(-k / (1 + 8 * room)) * before[:, 11 - k : 11 - k + length] for k in range(1, 12))
    babble = (sound.roll(1, 0) - 1.5 - 3.5 * uniform(size, 1, 1)).exp() * (uniform(size, 1, 1) < 0.4)
    level = torch.where(uniform(size, 1, 1) < 0.6, -10 + 5 * uniform(size, 1, 1), torch.tensor(-13.0))
    noise = (level + over_bands(5) + 0.5 * normal(size, length, bands)).exp()
    sound = (wet + babble + noise).log()

    sound = sound + 0.7 * over_bands(6) + 0.8 * normal(size, 1, 1)
    sound = torch.logaddexp(sound, torch.tensor(_FLOOR))
    first, wide = uniform(size, 1, 1) * bands, uniform(size, 1, 1) * bands * 0.15
    band = torch.arange(bands)
    lost = (band >= first.floor()) & (band < (first + wide).floor())
    return torch.where(lost, sound.mean((1, 2), keepdim=True), sound)
