"""From a voice to the lips of one actor: the prior, fitted to how this actor's own mouth moves.

The prior says, for any voice, how the mouth departs from its speaker's average (`hearing`). An actor
adds the closed mouth, its average, spread and range, and where there is enough dialogue a correction
learnt from it (`fitting`). The dub's voice is not the actor's: what is heard, and what is predicted
from it, is centred and scaled by the recording it comes from. Knows no picture, film or shot.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from dubbing.errors import ModelError
from dubbing.face import LOWER_FACE
from dubbing.generators.rewrite import fitting, visemes
from dubbing.generators.rewrite.fitting import Fit
from dubbing.generators.rewrite.hearing import STEP_HZ, Prior, prior_hash
from dubbing.generators.rewrite.minutes import Minutes, Stretch, clearest, joined
from dubbing.generators.rewrite.shape import COEFS, ShapeSpace, lower_of, resting, smoothed
from dubbing.phones import Phone
from dubbing.smoothstep import smoothstep
from dubbing.sound import at_times

__all__ = [
    "Actor", "Dialogue", "Example", "closing", "default_actor", "dialogue", "fit_actor", "fitted", "heard", "load",
    "opening_of", "predict", "save",
]  # fmt: skip

SCHEMA = "dub.actor.2"
MOST_S = 2400.0  # of speech that a fit looks at
RISE_S, FALL_S = 0.10, 0.12  # the mouth opens before the voice, and shuts after it
CLOSING, CLOSED = 0.35, 0.65  # chances that the lips are shut, at which they begin to shut, and are shut
SMOOTH_S = 0.03  # of what is heard, standard deviation
LEVELLED_FRAMES = 50.0  # an example with this many frames is trusted by half on where its mouth sits
LAGS_S = np.round(np.arange(-0.3, 0.301, 0.02), 2)
LAG_GAIN = 0.05  # by how much a lag must better the correlation to be believed
LAG_LEAST_S, LAG_SURE = 3.0, 0.3  # of dialogue, and of correlation, below which no lag is believed
_MIDDLES = [[LOWER_FACE.index(point) for point in pair] for pair in ((82, 87), (13, 14), (312, 317))]


@dataclass(frozen=True, eq=False)
class Example:
    """One stretch of an actor's own performance.

    shape_NP3: canonical meshes (N, 478, 3) of `face.canonical`, or their lower faces (N, L, 3);
    times_s: (N,), middles of the frames, 0 at the first sample of `wave`; wave: float32 mono 16 kHz;
    speaking_N: bool, where this actor is the one who speaks and the face is seen; weight_N: 0..1, how clearly the mouth
    is seen there; None where nothing is known of that.
    """

    shape_NP3: np.ndarray
    times_s: np.ndarray
    wave: np.ndarray
    speaking_N: np.ndarray
    weight_N: np.ndarray | None = None

    @property
    def clear_N(self) -> np.ndarray:
        """How clearly the mouth is seen, 0..1; 0 where this actor does not speak."""
        speaking = np.asarray(self.speaking_N, bool)
        return np.where(speaking, 1.0 if self.weight_N is None else self.weight_N, 0.0)


@dataclass(frozen=True, eq=False)
class Actor:
    """How one person's mouth moves with sound.

    rest: float64 (L, 3), the canonical closed mouth; fit: sound to coefficients from there; seconds: of dialogue
    fitted, 0 for a default actor; lag_s: how much later than its lips the sound is in the actor's own
    footage (negative: earlier), which the fit undoes; synthesis_KD: what the coefficients do to this very face, its
    left and its right, None for what they do to everyone's.
    """

    rest: np.ndarray
    fit: Fit
    seconds: float
    lag_s: float
    synthesis_KD: np.ndarray | None = None

    @property
    def space(self) -> ShapeSpace:
        """What coefficients mean for this face."""
        general = ShapeSpace.load()
        return general if self.synthesis_KD is None else ShapeSpace(general.analysis_KD, self.synthesis_KD)

    @property
    def score(self) -> float:
        """Cross-validated correlation of the opening on the actor's own dialogue; 0 where there was too little."""
        return self.fit.score

    @cached_property
    def hash(self) -> str:
        """sha256 of the content, 64 hex digits; the prior it belongs to is part of it."""
        digest = hashlib.sha256(f"{SCHEMA} {prior_hash()}".encode())
        for name, value in _arrays(self).items():
            digest.update(f"{name}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()


def default_actor(shape_NP3: np.ndarray, *, prior: Prior | None = None) -> Actor:
    """An actor nobody has heard: this face's own closed mouth, everyone's average motion, the prior alone.

    shape_NP3: canonical meshes of the face, (N, 478, 3) or lower faces (N, L, 3), N >= 1.
    """
    return Actor(resting(shape_NP3), (prior or Prior.load()).population, 0.0, 0.0)


def fit_actor(
    examples: Sequence[Example], *, also: Sequence[Minutes] = (), max_seconds: float = MOST_S,
    prior: Prior | None = None, space: ShapeSpace | None = None,
) -> Actor:  # fmt: skip
    """Learn an actor from their own performance; deterministic. Only frames where they speak are used.

    Of more than max_seconds of speech, the clearest examples of all parts of the list are used. also: the same person's
    dialogue in other films. Under `fitting.LEAST_S` the prior is scaled to this mouth but not corrected. Raises
    ValueError where no frame speaks (`default_actor` needs none).
    """
    prior = prior or Prior.load()
    return fitted(dialogue(examples, max_seconds=max_seconds, prior=prior, space=space), also, prior=prior)


@dataclass(frozen=True, eq=False)
class Dialogue:
    """What was learnt of one person in one film before anything is fitted: the closed mouth, the shapes it takes, and
    its dialogue in numbers, from which lag_s (see `Actor`) is taken out."""

    rest: np.ndarray
    space: ShapeSpace
    minutes: Minutes
    lag_s: float


def dialogue(
    examples: Sequence[Example], *, max_seconds: float = MOST_S, prior: Prior | None = None,
    space: ShapeSpace | None = None,
) -> Dialogue:  # fmt: skip
    """Put what one person says into numbers. Raises ValueError where no frame speaks."""
    prior, space = prior or Prior.load(), space or ShapeSpace.load()
    usable = [e for e in examples if e.clear_N.any()]
    if not usable:
        raise ValueError("fit_actor needs a frame that speaks in at least one example; default_actor needs none.")
    frame_s = [_frame_s(e) for e in usable]
    spoken_s = [float((e.clear_N > 0).sum() * s) for e, s in zip(usable, frame_s, strict=True)]
    picked = clearest(spoken_s, [float(e.clear_N.sum() / (e.clear_N > 0).sum()) for e in usable], max_seconds)
    chosen = [usable[n] for n in picked]
    speaks = [e.clear_N > 0 for e in chosen]
    lower = [lower_of(e.shape_NP3) for e in chosen]
    rest = resting(np.concatenate(lower), np.concatenate(speaks))
    clear_N = np.concatenate([e.clear_N for e in chosen])
    own = space.of_face(np.concatenate(lower), rest, clear_N)
    stretches = []
    for n, example, where, shape in zip(picked, chosen, speaks, lower, strict=True):
        coef = smoothed(own.encode(shape, rest), example.times_s)[where]
        place = np.asarray(example.times_s, np.float64)[where] * STEP_HZ
        stretches.append(Stretch(heard(prior, example.wave), place, coef, example.clear_N[where] * frame_s[n]))
    minutes = Minutes(tuple(stretches), sum(spoken_s[n] for n in picked))
    lag_s = _lag(minutes)
    return Dialogue(rest, own, minutes.shifted(lag_s * STEP_HZ), lag_s)


def fitted(own: Dialogue, also: Sequence[Minutes] = (), *, prior: Prior | None = None) -> Actor:
    """The actor of this dialogue, and of the same person's in other films, whose closed mouth is measured there."""
    minutes = joined([own.minutes, *also])
    shut_N = np.concatenate([closing(at_times(s.heard_TF, s.place_N, 1.0)) for s in minutes.stretches])
    fit = fitting.learn(_levelled(minutes), (prior or Prior.load()).population, shut_N)
    return Actor(own.rest, fit, minutes.film_s, own.lag_s, own.space.synthesis_KD)


def predict(
    actor: Actor,
    wave: np.ndarray,
    times_s: np.ndarray,
    speech_N: np.ndarray,
    *,
    prior: Prior | None = None,
    hears_TF: np.ndarray | None = None,
    phones: Sequence[Phone] = (),
    share: float = visemes.SHARE,
) -> np.ndarray:
    """Wanted coefficients at any frame times, float64 (N, COEFS); see `ShapeSpace.decode`.

    wave: float32 mono 16 kHz, any voice, sample 0 at time 0; times_s: (N,), middles of the frames, rising;
    speech_N: bool, where this face speaks; hears_TF: `heard` of that wave, where it is known; phones: what is said in
    it, in seconds of that wave, where that is known: then lips are shut at each p, b and m; share: of what phones say,
    beside what is heard. Exactly 0 (rest) in silence, but for the RISE_S before and FALL_S after speech in which the
    mouth opens and shuts.
    """
    times, speech = np.asarray(times_s, np.float64), np.asarray(speech_N, bool)
    if not speech.any() or not len(wave):
        return np.zeros((len(times), COEFS))
    hears = heard(prior or Prior.load(), wave) if hears_TF is None else hears_TF
    if phones:
        hears = visemes.told(hears, phones, share)
    # Which frame shows at each step.
    frame = np.searchsorted((times[1:] + times[:-1]) / 2, np.arange(len(hears)) / STEP_HZ)
    said = actor.fit.say(hears, speech[frame])
    said[:, 0] *= 1 - actor.fit.closes * closing(hears)
    coef = at_times(said, times, STEP_HZ)
    if phones:
        coef[:, 0] *= visemes.open_at(phones, times)
    # Rounded, so that the last bits of a matrix product on another machine do not change a patch.
    return np.asarray(np.round(coef * _envelope(times, speech)[:, None], 6)) + 0.0


def heard(prior: Prior, wave: np.ndarray) -> np.ndarray:
    """What the prior hears, float32 (T, F) at STEP_HZ: coefficients and the ear, smoothed in time, and at last the
    chance that the lips are shut, as it is."""
    here = prior.hear(wave)
    row = np.concatenate([here.coef_TK, here.ear_TE], 1)
    smooth = gaussian_filter1d(row, SMOOTH_S * STEP_HZ, axis=0, mode="nearest")
    return np.concatenate([smooth, here.shut_T[:, None]], 1).astype(np.float32)


def closing(heard_TF: np.ndarray) -> np.ndarray:
    """How far the lips are shut by what is heard, as at a p, b or m; 0..1, (T,)."""
    return smoothstep((heard_TF[:, -1].astype(np.float64) - CLOSING) / (CLOSED - CLOSING))


def opening_of(coef_NK: np.ndarray, rest_L3: np.ndarray, space: ShapeSpace | None = None) -> np.ndarray:
    """The opening of wanted shapes as `face.mouth_measures` reads it, float64 (N,), inter-ocular distances."""
    lower = (space or ShapeSpace.load()).decode(coef_NK, rest_L3)
    return np.asarray(np.mean([np.linalg.norm(lower[:, a] - lower[:, b], axis=-1) for a, b in _MIDDLES], axis=0))


def save(actor: Actor, path: Path) -> None:
    """Write an actor as .npz, no pickle."""
    with open(path, "wb") as file:
        np.savez(file, schema=np.array(SCHEMA), **_arrays(actor))


def load(path: Path) -> Actor:
    """Read what `save` wrote. Raises ModelError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["schema"]) != SCHEMA:
                raise ModelError(f"{path} holds {data['schema']}, this version reads {SCHEMA}; fit the actor again.")
            values = {name: data[name] for name in data.files if name != "schema"}
        fit = Fit.of({name[4:]: value for name, value in values.items() if name.startswith("fit.")})
        about = float(values["seconds"]), float(values["lag_s"])
        return Actor(values["rest"], fit, *about, values.get("synthesis"))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} is not an actor's model ({e}); fit the actor again.") from e


def _arrays(actor: Actor) -> dict[str, np.ndarray]:
    named = {"rest": actor.rest, "seconds": actor.seconds, "lag_s": actor.lag_s}
    if actor.synthesis_KD is not None:
        named["synthesis"] = actor.synthesis_KD
    named |= {f"fit.{name}": value for name, value in actor.fit.arrays().items()}
    return {name: np.array(value, "<f8", order="C") for name, value in named.items()}


def _frame_s(example: Example) -> float:
    steps = np.diff(example.times_s)
    return float(np.median(steps)) if len(steps) else 0.04


def _levelled(minutes: Minutes) -> Minutes:
    """Take out of each stretch where the mesh, not the voice, puts the mouth. The opening stays: it is absolute."""
    if len(minutes.stretches) < 2:
        return minutes
    general = np.median(np.concatenate([s.coef_NK for s in minutes.stretches]), axis=0)
    out = []
    for one in minutes.stretches:
        count = len(one.coef_NK)
        shift = (np.median(one.coef_NK, axis=0) - general) * count / (count + LEVELLED_FRAMES)
        shift[0] = 0
        out.append(replace(one, coef_NK=one.coef_NK - shift))
    return replace(minutes, stretches=tuple(out))


def _lag(minutes: Minutes) -> float:
    """How much later the sound is than the lips it belongs to, as far as the prior can tell; 0 in doubt."""
    opening = np.concatenate([s.coef_NK[:, 0] for s in minutes.stretches])
    if minutes.film_s < LAG_LEAST_S or opening.std() < 1e-6:
        return 0.0
    scores = []
    for lag_s in LAGS_S:
        heard_N = [at_times(s.heard_TF[:, :1], s.place_N + lag_s * STEP_HZ, 1.0)[:, 0] for s in minutes.stretches]
        said = np.concatenate(heard_N)
        scores.append(np.corrcoef(said, opening)[0, 1] if said.std() > 1e-9 else 0.0)
    best = int(np.argmax(scores))
    sure = scores[best] > max(LAG_SURE, scores[len(LAGS_S) // 2] + LAG_GAIN)
    return float(LAGS_S[best]) if sure else 0.0


def _envelope(times_s: np.ndarray, speech_N: np.ndarray) -> np.ndarray:
    """1 in speech; half cosines up to it and down from it; 0 elsewhere."""
    spoken = times_s[speech_N]
    after = np.searchsorted(spoken, times_s)
    to_next = np.where(after < len(spoken), spoken[np.minimum(after, len(spoken) - 1)] - times_s, np.inf)
    since_last = np.where(after > 0, times_s - spoken[np.maximum(after - 1, 0)], np.inf)
    up = 0.5 + 0.5 * np.cos(np.pi * np.clip(to_next / RISE_S, 0, 1))
    down = 0.5 + 0.5 * np.cos(np.pi * np.clip(since_last / FALL_S, 0, 1))
    return np.where(speech_N, 1.0, np.maximum(up, down))


def __getattr__(name: str) -> str:
    if name == "PRIOR_HASH":  # read from the file only when asked for
        return prior_hash()
    raise AttributeError(name)
