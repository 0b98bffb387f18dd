"""What the sync expert learns from: clips as mouths and sounds, and beside each true mouth some that are wrong.

A wrong mouth goes with the same sound as the true one and must lie further from it: the mouth that the prior of
`rewrite` foretells from that sound, which is smoother than any real one, the true one smoothed, and the true one
warped in time. Knows no network of the expert.

Axes: N frames, n instants at 25 fps, K components, T columns at 100 Hz, B bands, C clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from dubbing.experts.lips import PER_FRAME, sound_columns, speech_columns
from dubbing.experts.lse import FPS, WINDOW
from dubbing.face import LOWER_FACE, canonical
from dubbing.generators.rewrite import hearing, shape, voice
from dubbing.generators.rewrite.shape import lower_of
from dubbing.sound import HOP, RATE_HZ
from shipped_weights.augment import augmented, read_at
from shipped_weights.clips import Clip

__all__ = ["Drawn", "Material", "aligned", "components", "draw", "foretold", "material", "smoothed", "warped"]

LATE_S = np.arange(-0.28, 0.281, 0.04)  # how late a clip's sound may be
FITTED_S = 120.0  # of a speaker's own clips that the prior is fitted to
COPIES_S = 60.0  # of sound: a speaker with less gets all the copies, one with more fewer


@dataclass(frozen=True, eq=False)
class Material:
    """One clip as the networks meet it.

    true_nK, told_nK: the mouth as it was, and as the prior foretells it; sounds: log-mel (T, B) of the recording and
    of copies of it; speeds: of each, what is at t in it was at t * speed; speaker: a number.
    """

    true_nK: Tensor
    told_nK: Tensor
    sounds: tuple[Tensor, ...]
    speeds: tuple[float, ...]
    speaker: int


@dataclass(frozen=True, eq=False)
class Drawn:
    """A batch of stretches of n = V + 5 instants. true, told, (S, n, K); sound: (S, 4 n, B); clip: (S,), numbers."""

    true: Tensor
    told: Tensor
    sound: Tensor
    clip: Tensor


def aligned(clip: Clip) -> Clip:
    """A clip whose sound comes late or early by as much as the prior finds, with that undone, in whole 25ths of a
    second."""
    full, times_s = canonical(clip.mesh_NP3)[0], _middles(clip)
    space = shape.ShapeSpace.load()
    open_N = space.encode(full, shape.resting(full))[:, 0]
    said_T = voice.heard(hearing.Prior.load(), clip.wave)[:, 0]
    at_s = np.arange(len(said_T)) / hearing.STEP_HZ
    like = [np.corrcoef(np.interp(times_s + late_s, at_s, said_T), open_N)[0, 1] for late_s in LATE_S]
    late_s = float(LATE_S[int(np.argmax(like))])
    moved = round(late_s * RATE_HZ)
    wave = clip.wave[moved:] if moved >= 0 else np.concatenate([np.zeros(-moved, np.float32), clip.wave])
    return Clip(clip.name, clip.speaker, clip.times_s, clip.mesh_NP3, clip.ok_N, wave)


def components(shapes: Sequence[np.ndarray], weights: Sequence[float], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of how mouths move: basis float32 (D, K), deviation (K,). weights: of each clip, whatever
    its length and its person's amplitude."""
    rows = []
    for one, weight in zip(shapes, weights, strict=True):
        apart = one - one.mean(0)
        rows.append(apart / np.sqrt((apart**2).sum(1).mean()) * np.sqrt(weight / len(apart)))
    _, size, axes = np.linalg.svd(np.concatenate(rows), full_matrices=False)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    share = size[:count] / np.sqrt((size**2).sum())
    return axes[:count].T.astype(np.float32), share.astype(np.float32)


def foretold(clips: Sequence[Clip]) -> list[np.ndarray]:
    """Canonical meshes (N, 478, 3) of the mouths that the prior foretells from each clip's own sound, fitted to each
    speaker's own clips, as a dub's are."""
    space, prior = shape.ShapeSpace.load(), hearing.Prior.load()
    made = [canonical(clip.mesh_NP3)[0] for clip in clips]
    for speaker in dict.fromkeys(clip.speaker for clip in clips):
        own = [n for n, clip in enumerate(clips) if clip.speaker == speaker]
        examples = [
            voice.Example(lower_of(made[n]), _middles(clips[n]), clips[n].wave, _speaking(clips[n])) for n in own
        ]
        actor = voice.fit_actor(examples, max_seconds=FITTED_S, prior=prior, space=space)
        for n, example in zip(own, examples, strict=True):
            coef = voice.predict(actor, example.wave, example.times_s, example.speaking_N, prior=prior)
            made[n][:, list(LOWER_FACE)] = space.decode(coef, actor.rest)
    return made


def material(
    clips: Sequence[Clip], shapes: Sequence[np.ndarray], told: Sequence[np.ndarray], basis: np.ndarray, copies: int,
    seed: int,
) -> list[Material]:  # fmt: skip
    """Every clip with copies of its sound, in other voices, rooms and levels."""
    names = list(dict.fromkeys(clip.speaker for clip in clips))
    has_s = {name: sum(len(s) / FPS for s, c in zip(shapes, clips, strict=True) if c.speaker == name) for name in names}
    made = []
    for clip, true, said in zip(clips, shapes, told, strict=True):
        rng = np.random.default_rng([seed, *clip.name.encode()])
        pairs = [(clip.wave, 1.0)]
        count = max(1, round(copies * min(1.0, COPIES_S / has_s[clip.speaker])))
        pairs += [augmented(clip.wave, rng) for _ in range(count)]
        made.append(Material(
            torch.from_numpy(true @ basis), torch.from_numpy((said @ basis).astype(np.float32)),
            tuple(torch.from_numpy(sound_columns(wave)) for wave, _ in pairs), tuple(speed for _, speed in pairs),
            names.index(clip.speaker),
        ))  # fmt: skip
    return made


def draw(clips: Sequence[Material], picks: np.ndarray, count: int, rng: np.random.Generator) -> Drawn:
    """A stretch of `count` windows of each picked clip and its sound, all at one random speed each."""
    frames = count + WINDOW
    true, told, sounds = [], [], []
    for pick in picks:
        clip = clips[pick]
        span = min(frames * rng.uniform(0.85, 1.2), len(clip.true_nK) - 1.0)
        start = rng.uniform(0, len(clip.true_nK) - span)
        speed = span / frames
        at = start + speed * torch.arange(frames)
        true.append(read_at(clip.true_nK, at))
        told.append(read_at(clip.told_nK, at))
        copy = int(rng.integers(len(clip.sounds)))
        at = PER_FRAME * (start + speed * torch.arange(frames * PER_FRAME) / PER_FRAME) / clip.speeds[copy]
        sounds.append(read_at(clip.sounds[copy], at))
    return Drawn(torch.stack(true), torch.stack(told), torch.stack(sounds), torch.from_numpy(np.asarray(picks)))


def warped(coef_SnK: Tensor, rng: np.random.Generator) -> Tensor:
    """Mouths that run ahead of their sound and fall behind it, by 2 to 8 instants at most, slowly changing."""
    size, frames, _ = coef_SnK.shape
    made = []
    for one in coef_SnK:
        knots = np.cumsum(rng.normal(size=max(4, frames // 8)))
        wave = np.interp(np.linspace(0, 1, frames), np.linspace(0, 1, len(knots)), knots - knots.mean())
        wave *= rng.uniform(2, 8) / max(float(np.abs(wave).max()), 1e-6)
        made.append(read_at(one, torch.arange(frames) + torch.from_numpy(wave).float()))
    return torch.stack(made)


def smoothed(coef_SnK: Tensor, rng: np.random.Generator) -> Tensor:
    """Mouths without what is quick in them, as a careful guess is."""
    return torch.stack([
        torch.from_numpy(gaussian_filter1d(one.numpy(), rng.uniform(1.5, 4.0), axis=0, mode="nearest"))
        for one in coef_SnK
    ])  # fmt: skip


def _middles(clip: Clip) -> np.ndarray:
    return np.asarray(clip.times_s + 0.5 * float(np.median(np.diff(clip.times_s))))


def _speaking(clip: Clip) -> np.ndarray:
    """Frames with sound, by its level, and short pauses between; bool (N,)."""
    near = np.convolve(speech_columns(sound_columns(clip.wave)), np.ones(21), "same") > 0
    at = np.clip(np.round(_middles(clip) * RATE_HZ / HOP).astype(int), 0, len(near) - 1)
    return np.asarray(near[at] & clip.ok_N)
