"""Trains the sync expert `lips` (dubbing/experts/lips.npz) and prints how well it hears and sees.

    python -m shipped_weights.sync --media DIR --meshes DIR --out dubbing/experts/lips.npz
    python -m shipped_weights.sync --media DIR --meshes DIR --cross 4       # no weights; by speaker, in 4 parts

Two small perceptrons, one on the shape of the mouth over 5 frames and one on 0.2 s of log-mel and of
silero-vad's encoding, in several members, trained so that the sound under a window is nearer to it than
the same clip's sound at other times (Chung and Zisserman 2016; InfoNCE, van den Oord et al. 2018) and so
that the mean distance of a stretch is least at shift 0. About a minute on one core. Knows nothing of films.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.experts.lips import (
    BANDS,
    PER_FRAME,
    STEPS,
    centred,
    codes,
    mouth,
    sound_columns,
    speech_steps,
)
from dubbing.experts.lse import WINDOW
from dubbing.networks import voice_encoder
from shipped_weights import readout
from shipped_weights.augment import augmented, disturb_mouth, disturb_sound, read_at
from shipped_weights.clips import TRAIN, Clip, load_all

__all__ = ["Recipe", "main", "train", "write_npz"]

SHIFTS = 15
UNRELATED = 10.0  # the root mean square distance of unrelated windows in the finished expert


@dataclass(frozen=True)
class Recipe:
    """How the expert is trained. Chosen by cross-validation over speakers; see lips.md."""

    components: int = 6
    members: int = 3
    embedding: int = 32
    video_hidden: int = 64
    sound_hidden: int = 64
    steps: int = 800
    frames: int = 576  # windows in a batch, over all its stretches
    rate: float = 3e-3
    decay: float = 1e-3
    dropout: float = 0.3
    sharpness: float = 8.0  # of the window-by-window contrast
    steepness: float = 20.0  # of the contrast between shifts of a whole stretch
    near: float = 0.15  # how much of the target goes to each neighbouring window
    variants: int = 10  # augmented copies of each clip's encoding, beside the one as recorded
    voice_noise: float = 0.3  # of the codes, step by step and over a stretch
    seed: int = 0


class Members(nn.Module):
    """Perceptrons of one shape side by side: (R, I) or (M, R, I) to unit vectors (M, R, E)."""

    def __init__(self, members: int, sizes: Sequence[int], dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = dropout
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            bound = inputs**-0.5
            draw = torch.rand(members, inputs + 1, outputs, generator=generator) * 2 * bound - bound
            self.weights.append(nn.Parameter(draw[:, :-1].clone()))
            self.biases.append(nn.Parameter(draw[:, -1].clone()))

    def forward(self, x: Tensor) -> Tensor:
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                x = F.dropout(F.relu(x), self.dropout, self.training)
            x = x @ weight + bias[:, None]
        return F.normalize(x, dim=-1)


@dataclass(frozen=True, eq=False)
class Material:
    """One clip as the network meets it: coefficients (n, K) at 25 fps, sound columns (T, BANDS) at 100 Hz, which of
    its steps are speech (T / 2,), and codes (T / 2, C) of it as recorded and of its copies."""

    coef_nK: Tensor
    sound_TB: Tensor
    speech_T: Tensor
    codes: tuple[Tensor, ...]


def train(clips: Sequence[Clip], recipe: Recipe, say: bool = False) -> dict[str, np.ndarray]:
    """The weights of `lips`, by the names dubbing/experts/lips.py reads. Same clips, same recipe, same weights."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    shapes = [mouth(clip.mesh_NP3, clip.times_s) for clip in clips]
    basis, deviation = _components(shapes, recipe.components)
    voice_basis = readout.basis([clip.wave for clip in clips])
    material = [_material(clip, shape @ basis, voice_basis, recipe) for shape, clip in zip(shapes, clips, strict=True)]
    level = torch.stack([m.codes[0][m.speech_T].mean(0) for m in material]).mean(0)
    energies = [float(((m.coef_nK - m.coef_nK.mean(0)) ** 2).sum(1).mean()) for m in material]
    usual = float(np.mean(energies) / (deviation**2).sum())
    spread = torch.from_numpy(deviation)
    video = Members(recipe.members, (WINDOW * recipe.components, recipe.video_hidden, recipe.embedding),
                    recipe.dropout, generator)  # fmt: skip
    row, hidden = 2 * BANDS + len(level), recipe.sound_hidden
    sound = Members(recipe.members, (STEPS * row, hidden, hidden, recipe.embedding), recipe.dropout, generator)
    parameters = [*video.parameters(), *sound.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1)
    chance = np.array([len(m.coef_nK) for m in material], float) ** 0.7
    chance /= chance.sum()
    began = time.monotonic()
    for step in range(recipe.steps):
        count = int(rng.integers(24, 65))
        size = max(6, recipe.frames // count)
        picks = rng.choice(len(material), size, p=chance)
        drawn = [_draw(material[i], level, count, rng) for i in picks]
        coef, columns, voices = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        coef = disturb_mouth(coef, spread * usual**0.5, generator)
        for shape in (voices.shape, (size, 1, len(level))):
            voices = voices + recipe.voice_noise * torch.randn(shape, generator=generator)
        seen = _windows(_relaxed(coef, spread, usual), WINDOW, 1, count)
        heard = _windows(_rows(disturb_sound(columns, generator), voices), STEPS, PER_FRAME, count)
        video_MBVE = video(seen.flatten(0, 1)).unflatten(1, (size, count))
        sound_MBVE = sound(heard.flatten(0, 1)).unflatten(1, (size, count))
        loss = _contrast(video_MBVE, sound_MBVE, recipe)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if say and step % 200 == 0:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - began:.0f} s", flush=True)
    video.eval()
    sound.eval()
    with torch.inference_mode():
        seen_all = [_windows(_relaxed(m.coef_nK[None], spread, usual), WINDOW, 1, len(m.coef_nK) - WINDOW)[0]
                    for m in material]  # fmt: skip
        heard_all = [
            _windows(
                _rows(m.sound_TB[None], _level(m.codes[0], m.speech_T, level)[None]), STEPS, PER_FRAME, len(m.coef_nK)
            )[0]
            for m in material
        ]
        flat_video = video(torch.cat(seen_all)).transpose(0, 1).flatten(1).numpy()
        flat_sound = sound(torch.cat(heard_all)).transpose(0, 1).flatten(1).numpy()
    weights: dict[str, np.ndarray] = {"basis": basis, "deviation": deviation, "usual": np.asarray(usual, np.float32)}
    weights |= {"voice_basis": voice_basis, "voice_level": level.numpy(), "encoder": np.array(voice_encoder.digest())}
    weights |= _named("video", video) | _named("sound", sound, *_sound_range(len(level)))
    return weights | _scaled(flat_video, flat_sound)


def _components(shapes: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of how mouths move: basis float32 (D, K), deviation (K,); every clip weighs alike
    but for the root of its length, whatever its person's amplitude."""
    rows = []
    for shape in shapes:
        apart = shape - shape.mean(0)
        rows.append(apart / np.sqrt((apart**2).sum(1).mean()) * len(apart) ** -0.25)
    _, size, axes = np.linalg.svd(np.concatenate(rows), full_matrices=False)
    axes *= np.sign(axes[:, np.abs(axes).argmax(1)].diagonal())[:, None]
    share = size[:count] / np.sqrt((size**2).sum())
    return axes[:count].T.astype(np.float32), share.astype(np.float32)


def _material(clip: Clip, coef_nK: np.ndarray, voice_basis: np.ndarray, recipe: Recipe) -> Material:
    """A clip with copies of its voice, each code at the moment of the recording that it stands for."""
    columns = sound_columns(clip.wave)
    made = [codes(clip.wave, voice_basis)]
    rng = np.random.default_rng([recipe.seed, *clip.name.encode()])
    for _ in range(recipe.variants):
        wave, speed = augmented(clip.wave, rng)
        copy = torch.from_numpy(codes(wave, voice_basis))
        made.append(read_at(copy, torch.arange(len(made[0])) / speed).numpy())
    return Material(
        torch.from_numpy(coef_nK), torch.from_numpy(columns), torch.from_numpy(speech_steps(columns)),
        tuple(torch.from_numpy(code) for code in made),
    )  # fmt: skip


def _draw(clip: Material, level_C: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A stretch of `count` windows and its sound, all at one random speed: (count + 5, K), (4 count + 20, B) and codes
    (2 count + 10, C), centred."""
    frames = count + WINDOW
    span = min(frames * rng.uniform(0.85, 1.2), len(clip.coef_nK) - 1.0)
    start = rng.uniform(0, len(clip.coef_nK) - span)
    speed = span / frames
    coef = read_at(clip.coef_nK, start + speed * torch.arange(frames))
    steps = start * PER_FRAME + speed * torch.arange(frames * PER_FRAME)
    columns = read_at(clip.sound_TB, 2 * start * PER_FRAME + speed * torch.arange(2 * frames * PER_FRAME))
    voice = read_at(clip.codes[int(rng.integers(len(clip.codes)))], steps)
    speech = clip.speech_T[steps.round().long().clamp(0, len(clip.speech_T) - 1)]
    return coef, columns, _level(voice, speech, level_C)


def _level(codes_TC: Tensor, speech_T: Tensor, level_C: Tensor) -> Tensor:
    return torch.from_numpy(centred(codes_TC.numpy(), speech_T.numpy(), level_C.numpy()))


def _relaxed(coef_BnK: Tensor, spread_K: Tensor, usual: float) -> Tensor:
    """dubbing.experts.lips.relax over a batch."""
    apart = coef_BnK - coef_BnK.mean(1, keepdim=True)
    count = apart.shape[1]
    energy = (apart**2).sum((1, 2), keepdim=True) / count / (spread_K**2).sum()
    energy = (count * energy + 12.0 * usual) / (count + 12.0)
    return apart / (energy.sqrt() * (spread_K * spread_K.mean()).sqrt())


_MEL_MIDDLE, _MEL_SPREAD = -7.0, 3.0  # log-mel's usual middle and deviation


def _rows(columns_BUF: Tensor, codes_BTC: Tensor) -> Tensor:
    """What is heard, a row every 20 ms: two columns of log-mel, and the codes (B, T, 2 F + C)."""
    columns = ((columns_BUF - _MEL_MIDDLE) / _MEL_SPREAD).unflatten(1, (-1, 2)).flatten(2)
    return torch.cat([columns, codes_BTC], 2)


def _sound_range(directions: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle and the spread by which `_rows` brings a window's numbers to one scale, each (STEPS * row,)."""
    mel, code = np.ones(2 * BANDS), np.ones(directions)
    middle = np.concatenate([_MEL_MIDDLE * mel, 0 * code])
    spread = np.concatenate([_MEL_SPREAD * mel, code])
    return np.tile(middle, STEPS), np.tile(spread, STEPS)


def _windows(signal_BTK: Tensor, length: int, step: int, count: int) -> Tensor:
    """Overlapping stretches, flattened in time order: (B, count, length * K)."""
    return signal_BTK.unfold(1, length, step)[:, :count].transpose(2, 3).flatten(2)


def _contrast(video_MBVE: Tensor, sound_MBVE: Tensor, recipe: Recipe) -> Tensor:
    """Window against window, and stretch against shifted stretch; another clip's sound is a further negative."""
    count = video_MBVE.shape[2]
    like = video_MBVE @ sound_MBVE.transpose(2, 3)
    other = video_MBVE @ sound_MBVE.roll(1, 1).transpose(2, 3)
    back = sound_MBVE @ video_MBVE.roll(1, 1).transpose(2, 3)
    apart = (torch.arange(count)[:, None] - torch.arange(count)).abs()
    target = (apart == 0) + recipe.near * (apart == 1)
    target = target / target.sum(1, keepdim=True)

    def against(own: Tensor, more: Tensor) -> Tensor:
        whole = torch.cat([own, more], -1) * recipe.sharpness
        return -(target * (recipe.sharpness * own - whole.logsumexp(-1, keepdim=True))).sum(-1).mean()

    windows = (against(like, other) + against(like.transpose(2, 3), back)) / 2
    curve = _curve(like, 1)
    shift = torch.zeros(2 * SHIFTS + 1)
    shift[SHIFTS - 1 : SHIFTS + 2] = torch.tensor([recipe.near, 1.0, recipe.near]) / (1 + 2 * recipe.near)
    whole = -recipe.steepness * torch.cat([curve, _curve(other, 3)], -1)
    stretches = -(shift * (-recipe.steepness * curve - whole.logsumexp(-1, keepdim=True))).sum(-1).mean()
    return windows + stretches


def _curve(like_MBVV: Tensor, step: int) -> Tensor:
    """Mean distance (of unit vectors, over the root of 2) at every `step`-th shift: (M, B, shifts)."""
    distance = (1 - like_MBVV).clamp_min(1e-4).sqrt()
    return torch.stack([distance.diagonal(s, 2, 3).mean(-1) for s in range(-SHIFTS, SHIFTS + 1, step)], -1)


def _named(
    side: str, net: Members, middle_I: np.ndarray | None = None, spread_I: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """A side's weights, the inputs' (x - middle) / spread folded into the first layer."""
    named: dict[str, np.ndarray] = {}
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        w, b = weight.detach().numpy(), bias.detach().numpy()
        if layer == 0 and middle_I is not None and spread_I is not None:
            w = w / spread_I[:, None]
            b = b - middle_I @ w
        named |= {f"{side}_{layer}_weight": w.astype(np.float32), f"{side}_{layer}_bias": b.astype(np.float32)}
    return named


def _scaled(video_VE: np.ndarray, sound_VE: np.ndarray) -> dict[str, np.ndarray]:
    """What makes zeros as far from a window as unrelated sound, and that 10."""
    centre = (video_VE.mean(0) + sound_VE.mean(0)) / 2
    unrelated = (video_VE**2).sum(1).mean() + (sound_VE**2).sum(1).mean() - 2 * video_VE.mean(0) @ sound_VE.mean(0)
    beside = np.sqrt(max(unrelated - ((video_VE - centre) ** 2).sum(1).mean(), 0.0))
    return {"centre": centre, "beside": np.float32(beside), "scale": np.float32(UNRELATED / np.sqrt(unrelated))}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on the arrays alone (numpy's own carries the time of writing)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            array = arrays[name] if arrays[name].dtype.kind == "U" else np.asarray(arrays[name], np.float32)
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    from shipped_weights.sync_report import cross_validate, report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="the folder of clips (shipped_weights/clips.py names them)")
    parser.add_argument("--meshes", type=Path, help="where extracted meshes are kept from run to run")
    parser.add_argument("--out", type=Path, help="write the weights here and test them on clips never trained on")
    parser.add_argument("--cross", type=int, metavar="PARTS", help="cross-validate over speakers instead")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clips = load_all(TRAIN, options.meshes, options.media)
    recipe = Recipe()
    if options.cross:
        cross_validate(clips, recipe, options.cross, options.media, say=True)
    if options.out:
        write_npz(options.out, train(clips, recipe, say=True))
        print(f"{options.out}: {options.out.stat().st_size} bytes")
        report(options.out, options.meshes, options.media)


if __name__ == "__main__":
    main()
