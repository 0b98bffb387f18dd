"""What a voice says to the lips, for any voice: an ear that knows articulation, and a readout of it.

The ear is the front of whisper base's encoder (`networks.whisper_front`; weights in the package), reduced to its main
components and freed of what stays the same through a recording: microphone, room and much of the speaker. From a third
of a second of them either way, linear readouts that `shipped_weights.prior` fitted say the shape coefficients in units
of the speaker's own spread, and whether the lips are shut. Knows no actor and no time but its own 50 steps a second.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dubbing.errors import ModelError
from dubbing.generators.rewrite.fitting import Fit
from dubbing.generators.rewrite.shape import PRIOR_FILE, prior_arrays
from dubbing.models import load_state
from dubbing.networks import whisper_front
from dubbing.networks.whisper_front import CORE, STEP_HZ, Front
from dubbing.sound import log_mel

__all__ = [
    "EARS", "EAR_FILE", "REACH", "STEP_HZ", "STRIDE", "Heard", "Prior", "ear_hash", "features", "front", "prior_hash",
    "speaks", "surroundings",
]  # fmt: skip

EAR_FILE = Path(whisper_front.__file__).with_name("whisper_front.safetensors")
EARS = 64  # main components of the ear
REACH, STRIDE = 16, 2  # steps either way that a readout sees, and how far apart
_LOUD = 4.0  # speech is what lies within this many nats of the loudest twentieth
_UNIT = 2.0  # nats per feature unit
_QUIET = 0.1  # all but a thousandth of the samples of a quiet recording lie within this
_SHRINK_STEPS = 50  # a recording with this many steps of speech trusts its own mean by half
_KEPT_STEPS = 60_000  # of what was heard last, in all: twenty minutes, 15 MB


@dataclass(frozen=True, eq=False)
class Heard:
    """coef_TK: float64 (T, COEFS), z-scored shape; ear_TE: float32 (T, EARS), components of the ear, of about one size
    and of mean 0 over the recording's speech; shut_T: float64 (T,), the chance that the lips are shut, 0..1."""

    coef_TK: np.ndarray
    ear_TE: np.ndarray
    shut_T: np.ndarray


def features(wave: np.ndarray) -> np.ndarray:
    """Normalised log-mel, float32 (T, 40), 50 steps a second, step k centred on k / 50 s: the plain baseline.

    wave: float32 mono at 16 kHz. A gain changes nothing.
    """
    mel = _mel(_audible(wave))
    return np.clip((mel - mel[_speaks(mel)].mean(0)) / _UNIT, -4, 3).astype(np.float32)


def speaks(wave: np.ndarray) -> np.ndarray:
    """Steps of a recording that are not pauses, by their level; bool (T,)."""
    return _speaks(_mel(_audible(wave)))


@dataclass(frozen=True, eq=False)
class Prior:
    """The shipped readouts, and what is known of mouths and voices in general.

    ear: sha256 of the ear's weights that the rest was made for; basis_DE: main components of the ear (512, EARS);
    level_E: their mean in speech; place_PE: what the place in a window of the ear adds to them (CORE, EARS);
    readout_XK, shut_X: `surroundings` to coefficients and to the log odds of shut lips, of which shut_bias is the rest;
    limit_K: how far coefficients go, softly; population: everyone's fit, of gain 1 and no correction.
    """

    ear: str
    basis_DE: np.ndarray
    level_E: np.ndarray
    place_PE: np.ndarray
    readout_XK: np.ndarray
    shut_X: np.ndarray
    shut_bias: float
    limit_K: np.ndarray
    population: Fit

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> Prior:
        """The prior that ships with the package. Raises ModelError where it, or its ear, is damaged."""
        prior = Prior.of(prior_arrays())
        _check(prior.ear)
        return prior

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Prior:
        """From flat names: basis, level, readout, ..., population.mean_K, ..."""
        return Prior(
            str(arrays["ear"]),
            np.asarray(arrays["basis"], np.float32),
            np.asarray(arrays["level"], np.float32),
            np.asarray(arrays["place"], np.float32),
            np.asarray(arrays["readout"], np.float64),
            np.asarray(arrays["shut"], np.float64),
            float(arrays["shut_bias"]),
            np.asarray(arrays["limit"], np.float64),
            Fit.of(_under("population.", arrays)),
        )

    def hear(self, wave: np.ndarray) -> Heard:
        """Everything that is heard in a recording: T = 50 steps a second, as `features`. What was heard last is kept.

        wave: float32 mono at 16 kHz; a gain changes nothing. Raises ModelError where the ear's weights are not those
        that the prior was made for.
        """
        ear = self._ear(np.asarray(wave, np.float32))
        around = surroundings(ear)
        coef = around @ self.readout_XK
        odds = around @ self.shut_X + self.shut_bias
        return Heard(self.limit_K * np.tanh(coef / self.limit_K), ear, 0.5 + 0.5 * np.tanh(odds / 2))

    def _ear(self, wave: np.ndarray) -> np.ndarray:
        own_bytes = (part.tobytes() for part in (self.basis_DE, self.level_E, self.place_PE, wave))
        key = f"{self.ear} {hashlib.sha256(b''.join(own_bytes)).hexdigest()}"
        if key in _heard:
            _heard.move_to_end(key)
            return _heard[key]
        said = front(self.ear).hear(wave) @ self.basis_DE
        said -= self.place_PE[np.arange(len(said)) % CORE]
        speech = speaks(wave)
        own = speech.sum() / (speech.sum() + _SHRINK_STEPS)
        ear = said - (own * said[speech].mean(0) + (1 - own) * self.level_E)
        ear.flags.writeable = False
        _heard[key] = ear
        while len(_heard) > 1 and sum(map(len, _heard.values())) > _KEPT_STEPS:
            _heard.popitem(last=False)
        return ear


_heard: OrderedDict[str, np.ndarray] = OrderedDict()


def surroundings(ear_TE: np.ndarray) -> np.ndarray:
    """Each step's components from a third of a second before to as much after, float32 (T, taps * E)."""
    padded = np.pad(ear_TE, ((REACH, REACH), (0, 0)), mode="edge")
    return np.concatenate([padded[k : k + len(ear_TE)] for k in range(0, 2 * REACH + 1, STRIDE)], 1)


@lru_cache(maxsize=1)
def front(wanted: str) -> Front:
    """The shipped ear. Raises ModelError where its sha256 is not `wanted`: it is absent, damaged or another."""
    _check(wanted)
    return Front(load_state(EAR_FILE))


def _check(wanted: str) -> None:
    found = ear_hash()
    if found != wanted:
        raise ModelError(
            f"{EAR_FILE.name}, the weights of the ear of the generator rewrite, cannot be used (the prior was made for "
            f"{wanted[:12]}, found is {found[:12]}); install the package again."
        )


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


@lru_cache(maxsize=1)
def ear_hash() -> str:
    """sha256 of the ear's weights; `none` where there are none."""
    try:
        return hashlib.sha256(EAR_FILE.read_bytes()).hexdigest()
    except OSError:
        return "none"


@lru_cache(maxsize=1)
def prior_hash() -> str:
    """sha256 of the shipped files, the ear's and the readouts': what predictions depend on besides an actor."""
    return hashlib.sha256(f"{ear_hash()} {hashlib.sha256(PRIOR_FILE.read_bytes()).hexdigest()}".encode()).hexdigest()
