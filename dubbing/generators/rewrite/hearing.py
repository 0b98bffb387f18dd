"""What a voice says to the lips, for any voice: normalised speech features, and the prior's networks.

Features are freed of loudness, microphone and much of the speaker by subtracting the recording's own
mean speech spectrum. The prior is a few small dilated convolution networks (WaveNet's idea, van den
Oord 2016, with context on both sides), run here in numpy from arrays that `shipped_weights.prior` made. Each gives
the shape coefficients in units of the speaker's own spread, and how lip-shaping the sounds are
(phone classes). A linear readout of a quarter of a second either way (the spectrum, the phone classes and
silero-vad's encoding) says the same with other errors, and the two are averaged. Knows no actor and no
time but its own 50 steps a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.generators.rewrite.fitting import Fit
from dubbing.generators.rewrite.shape import PRIOR_FILE, prior_arrays
from dubbing.networks import voice_encoder
from dubbing.sound import log_mel

__all__ = [
    "CLASSES", "DILATIONS", "ENCODED", "STEP_HZ", "Heard", "Prior", "features", "prior_hash", "speaks", "surroundings",
]  # fmt: skip

STEP_HZ = 50
DILATIONS = (1, 2, 4, 8)
# What the second head tells apart: one group of sounds per look of the mouth.
CLASSES = ("silence", "pbm", "fv", "uw", "o", "a", "e", "i", "tdnszl", "sh", "kg")
ENCODED = 32  # main directions of the encoding
_LOUD = 4.0  # speech is what lies within this many nats of the loudest twentieth
_UNIT = 2.0  # nats per feature unit
_REACH, _STRIDE = 14, 2  # steps either way that the readout sees, and how far apart
_SMOOTH_STEPS = 1.0
_QUIET = 0.1  # all but a thousandth of the samples of a quiet recording lie within this
_LEAST_CHANCE = 0.01
_SHRINK_STEPS = 50  # a recording with this many steps of speech trusts its own spectrum by half


@dataclass(frozen=True, eq=False)
class Heard:
    """coef_TK: float64 (T, COEFS), z-scored shape; hidden_TH: (T, H); phones_TC: (T, CLASSES), sums to 1;
    encoded_TE: (T, E), main directions of silero-vad's encoding."""

    coef_TK: np.ndarray
    hidden_TH: np.ndarray
    phones_TC: np.ndarray
    encoded_TE: np.ndarray


def features(wave: np.ndarray, spectrum_M: np.ndarray | None = None) -> np.ndarray:
    """Normalised log-mel, float32 (T, 40), 50 steps a second, step k centred on k / 50 s.

    wave: float32 mono at 16 kHz. A gain changes nothing. spectrum_M: the mean log-mel of speech in
    general, which a recording with little speech leans on.
    """
    mel = _mel(wave)
    speech = mel[_speaks(mel)]
    mean = speech.mean(0)
    if spectrum_M is not None:
        own = len(speech) / (len(speech) + _SHRINK_STEPS)
        general = spectrum_M - spectrum_M.mean() + mean.mean()
        mean = own * mean + (1 - own) * general
    return np.clip((mel - mean) / _UNIT, -4, 3).astype(np.float32)


def speaks(wave: np.ndarray) -> np.ndarray:
    """Steps of a recording that are not pauses, by their level; bool (T,)."""
    return _speaks(_mel(wave))


@dataclass(frozen=True, eq=False)
class Prior:
    """The shipped networks, and what is known of mouths and voices in general.

    nets: per network its arrays: in_w (H, 40), in_b, conv<n>_w (H, H, 5), conv<n>_b, out_w (COEFS, H), out_b,
    phone_w (CLASSES, H), phone_b; spectrum_M: (40,), mean log-mel of speech, itself of mean 0; basis_SE: the main
    directions of `voice_encoder.encoded`; level_R: (20 + CLASSES + E,), mean of `row` in speech; readout_XK:
    `surroundings` to coefficients; encoder: `voice_encoder.digest` of what it was trained with; population: everyone's
    fit, of gain 1 and no correction.
    """

    nets: tuple[dict[str, np.ndarray], ...]
    spectrum_M: np.ndarray
    basis_SE: np.ndarray
    level_R: np.ndarray
    readout_XK: np.ndarray
    encoder: str
    population: Fit

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> Prior:
        """The prior that ships with the package. Raises ModelError where it is damaged."""
        return Prior.of(prior_arrays())

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Prior:
        """From flat names: net0.in_w, ..., spectrum, population.mean_K, ..."""
        count = len({name.split(".")[0] for name in arrays if name.startswith("net")})
        return Prior(
            tuple(_under(f"net{n}.", arrays) for n in range(count)),
            np.asarray(arrays["spectrum"], np.float64),
            np.asarray(arrays["basis"], np.float64),
            np.asarray(arrays["level"], np.float64),
            np.asarray(arrays["readout"], np.float64),
            str(arrays["encoder"]),
            Fit.of(_under("population.", arrays)),
        )

    def hear(self, wave: np.ndarray) -> Heard:
        """Everything that is heard in a recording: T = 50 steps a second, as `features`.

        Raises ModelError where another silero-vad is installed than the prior was trained with.
        """
        wave = _audible(wave)
        feature, coef_TK, hidden_TH, phones_TC = self.sounds(wave)
        row = self.row(wave, feature, phones_TC)
        speech = speaks(wave)
        own = speech.sum() / (speech.sum() + _SHRINK_STEPS)
        level = own * row[speech].mean(0) + (1 - own) * self.level_R
        coef = 0.5 * (coef_TK + surroundings(row - level) @ self.readout_XK)
        return Heard(coef, hidden_TH, phones_TC, row[:, -self.basis_SE.shape[1] :])

    def sounds(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Features (T, 40), and of the networks alone: coefficients (T, COEFS), hidden units (T, H), phones
        (T, CLASSES)."""
        feature = features(wave, self.spectrum_M)
        coefs, hiddens, phones = [], [], []
        for net in self.nets:
            hidden = _hidden(net, feature)
            hiddens.append(hidden)
            coefs.append(hidden @ net["out_w"].T + net["out_b"])
            logit = hidden @ net["phone_w"].T + net["phone_b"]
            odds = np.exp(logit - logit.max(1, keepdims=True))
            phones.append(odds / odds.sum(1, keepdims=True))
        return feature, np.mean(coefs, 0), np.concatenate(hiddens, 1), np.mean(phones, 0)

    def row(self, wave: np.ndarray, feature_TM: np.ndarray, phones_TC: np.ndarray) -> np.ndarray:
        """What the readout looks at, in similar units, float64 (T, 20 + CLASSES + E)."""
        voice_encoder.check(self.encoder, "The prior of rewrite")
        bands = feature_TM.reshape(len(feature_TM), -1, 2).mean(2)
        return np.concatenate(
            [bands, np.log(phones_TC + _LEAST_CHANCE), voice_encoder.encoded(wave) @ self.basis_SE], 1
        )


def surroundings(row_TR: np.ndarray) -> np.ndarray:
    """Each step's smoothed rows from a quarter of a second before to as much after, (T, taps * R)."""
    smooth = gaussian_filter1d(row_TR, _SMOOTH_STEPS, axis=0, mode="nearest")
    padded = np.pad(smooth, ((_REACH, _REACH), (0, 0)), mode="edge")
    return np.concatenate([padded[k : k + len(row_TR)] for k in range(0, 2 * _REACH + 1, _STRIDE)], 1)


def _audible(wave: np.ndarray) -> np.ndarray:
    """A recording quieter than those trained on, raised to where the floor of `log_mel` hides none of its speech."""
    loud = float(np.quantile(np.abs(wave), 0.999)) if len(wave) else 0.0
    return wave * np.float32(_QUIET / loud) if 0 < loud < _QUIET else wave


def _mel(wave: np.ndarray) -> np.ndarray:
    mel = np.pad(log_mel(wave), ((1, 1), (0, 0)), mode="edge")
    return np.asarray((0.25 * mel[:-2] + 0.5 * mel[1:-1] + 0.25 * mel[2:])[::2])


def _speaks(mel_TM: np.ndarray) -> np.ndarray:
    level = mel_TM.mean(1)
    return np.asarray(level >= np.quantile(level, 0.95) - _LOUD)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k[len(prefix) :]: np.asarray(v, np.float64) for k, v in arrays.items() if k.startswith(prefix)}


def _hidden(net: dict[str, np.ndarray], feature_TM: np.ndarray) -> np.ndarray:
    """Residual dilated convolutions over time, float64 (T, H); outside the recording is silence of nothing (0)."""
    x = feature_TM.astype(np.float64) @ net["in_w"].T + net["in_b"]
    steps = len(x)
    for n, dilation in enumerate(DILATIONS):
        weight = net[f"conv{n}_w"]
        reach = weight.shape[2] // 2 * dilation
        padded = np.pad(x, ((reach, reach), (0, 0)))
        y = net[f"conv{n}_b"] + sum(
            padded[tap * dilation : tap * dilation + steps] @ weight[:, :, tap].T for tap in range(weight.shape[2])
        )
        x = x + np.maximum(y, 0)
    return x


@lru_cache(maxsize=1)
def prior_hash() -> str:
    """sha256 of the shipped file: what predictions depend on besides an actor."""
    return hashlib.sha256(PRIOR_FILE.read_bytes()).hexdigest()
