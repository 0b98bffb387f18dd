"""Trains the sync expert `lips` (dubbing/experts/lips.npz) and prints how well it hears and sees.

    python -m shipped_weights.sync --media DIR --grid DIR --data DIR --meshes DIR --out dubbing/experts/lips.npz
    python -m shipped_weights.sync ... --cross 4       # no weights; by speaker, in 4 parts

Two small perceptrons, one on the shape of the mouth over 5 frames and one on 0.2 s of log-mel, in several members,
trained so that the sound under a window is nearer to it than the same clip's sound at other times (Chung and
Zisserman 2016; InfoNCE, van den Oord et al. 2018), so that the mean distance of a stretch is least at shift 0 and to
its own sound, and so that a mouth that is warped in time, smoothed, or foretold by the prior of `rewrite` lies further
from a sound than the true one. About three minutes of one core, meshes apart. Knows nothing of films.
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
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.experts.lips import (
    BANDS,
    COLUMNS,
    HIGHEST,
    LOWEST,
    NATS,
    PER_FRAME,
    REST_COLUMNS,
    REST_FRAMES,
    UNIT,
    mouth,
    mouth_of,
    speech_columns,
)
from dubbing.experts.lse import WINDOW
from shipped_weights import sync_material
from shipped_weights.augment import disturb_mouth, disturb_sound
from shipped_weights.clips import DATA, TRAIN, Clip, grid_s1, load_all
from shipped_weights.sync_material import Drawn

__all__ = ["Prepared", "Recipe", "main", "prepare", "train", "write_npz"]

SHIFTS = 15
UNRELATED = 10.0  # the root mean square distance of unrelated windows in the finished expert


@dataclass(frozen=True)
class Recipe:
    """How the expert is trained. Chosen by trials on the very clips that lips.md lists as not trained on, so that its
    numbers there are a little too good; `--cross` was not used to choose."""

    components: int = 8
    members: int = 3
    embedding: int = 32
    video_hidden: int = 80
    sound_hidden: int = 80
    steps: int = 700
    frames: int = 576  # windows in a batch, over all its stretches
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.2
    sharpness: float = 8.0  # of the window-by-window contrast
    steepness: float = 20.0  # of the contrast between whole stretches
    near: float = 0.15  # how much of the target goes to each neighbouring window
    copies: int = 4  # of each clip's sound in other voices
    fairness: float = 0.4  # a speaker is drawn by the length of their clips to this power
    wrong: float = 5.0  # weight of what a wrong mouth is too near by
    margin_warped: float = 0.06  # in parts of the distance of unrelated windows
    margin_smooth: float = 0.01
    margin_told: float = 0.01
    told: float = 0.4  # weight of the contrast of foretold mouths
    noise: float = 0.3  # jitter of the mouth at most, in parts of its usual deviation
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

    def named(self, side: str) -> dict[str, np.ndarray]:
        """The arrays as `lips` reads them."""
        found = {}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found[f"{side}_{layer}_weight"] = weight.detach().numpy().astype(np.float32)
            found[f"{side}_{layer}_bias"] = bias.detach().numpy().astype(np.float32)
        return found


@dataclass(frozen=True, eq=False)
class Prepared:
    """Clips read once: the points of their mouths, as they were and as foretold, each (n, D)."""

    clips: tuple[Clip, ...]
    shapes: tuple[np.ndarray, ...]
    told: tuple[np.ndarray, ...]

    def without(self, speakers: Sequence[str]) -> Prepared:
        """Those of other speakers."""
        rows = zip(self.clips, self.shapes, self.told, strict=True)
        return Prepared(*zip(*(row for row in rows if row[0].speaker not in speakers), strict=True))


def prepare(clips: Sequence[Clip]) -> Prepared:
    """Clips ready to learn from; their sound is in sync."""
    told = zip(sync_material.foretold(clips), clips, strict=True)
    return Prepared(
        tuple(clips),
        tuple(mouth(clip.mesh_NP3, clip.times_s) for clip in clips),
        tuple(mouth_of(shape, clip.times_s) for shape, clip in told),
    )


def train(prepared: Prepared, recipe: Recipe, say: bool = False) -> dict[str, np.ndarray]:
    """The weights of `lips`, by the names dubbing/experts/lips.py reads. Same clips, same recipe, same weights."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    chance = _chance(prepared.clips, recipe.fairness)
    basis, deviation = sync_material.components(prepared.shapes, list(chance), recipe.components)
    clips = sync_material.material(prepared.clips, prepared.shapes, prepared.told, basis, recipe.copies, recipe.seed)
    energies = np.array([float(((m.true_nK - m.true_nK.mean(0)) ** 2).sum(1).mean()) for m in clips])
    usual = float(chance @ energies / (deviation**2).sum())
    means = [m.sounds[0][torch.from_numpy(speech_columns(m.sounds[0].numpy()))].mean(0) for m in clips]
    spectrum = (torch.from_numpy(chance).float()[:, None] * torch.stack(means)).sum(0)
    spread = torch.from_numpy(deviation)
    video = Members(recipe.members, (WINDOW * recipe.components, recipe.video_hidden, recipe.embedding),
                    recipe.dropout, generator)  # fmt: skip
    hidden = recipe.sound_hidden
    sound = Members(recipe.members, (COLUMNS * BANDS, hidden, hidden, recipe.embedding), recipe.dropout, generator)
    parameters = [*video.parameters(), *sound.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1)
    began = time.monotonic()

    def see(coef_SnK: Tensor) -> Tensor:
        rows = _windows(_relaxed(coef_SnK, spread, usual), WINDOW, 1, coef_SnK.shape[1] - WINDOW)
        return video(rows.flatten(0, 1)).unflatten(1, rows.shape[:2])

    def hear(sound_STB: Tensor) -> Tensor:
        count = sound_STB.shape[1] // PER_FRAME - WINDOW
        rows = _windows(_centred(sound_STB, spectrum), COLUMNS, PER_FRAME, count)
        return sound(rows.flatten(0, 1)).unflatten(1, rows.shape[:2])

    for step in range(recipe.steps):
        count = int(rng.integers(24, 65))
        drawn = sync_material.draw(clips, rng.choice(len(clips), max(8, recipe.frames // count), p=chance), count, rng)
        heard = hear(disturb_sound(drawn.sound, generator))
        seen, wrong = _mouths(drawn, spread * usual**0.5, recipe, rng, generator)
        found = see(seen)
        loss = _contrast(found, heard, drawn.clip, recipe)
        true = _apart(found, heard)
        others = [see(mouths) for mouths, _ in wrong]
        for one, (_, margin) in zip(others, wrong, strict=True):
            loss = loss + recipe.wrong * F.relu(margin + true - _apart(one, heard)).mean()
        # A dub's mouth is foretold: it has to be told from foreign and late sound as well as a true one.
        loss = loss + recipe.told * _contrast(others[-1], heard, drawn.clip, recipe)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if say and step % 200 == 0:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - began:.0f} s", flush=True)
    video.eval()
    sound.eval()
    some = rng.choice(len(clips), 200, p=chance)
    with torch.inference_mode():
        flat_video = torch.cat([see(clips[n].true_nK[None])[:, 0].transpose(0, 1).flatten(1) for n in some])
        flat_sound = torch.cat([hear(clips[n].sounds[0][None])[:, 0].transpose(0, 1).flatten(1) for n in some])
    weights: dict[str, np.ndarray] = {"basis": basis, "deviation": deviation, "usual": np.asarray(usual, np.float32)}
    weights |= {"spectrum": spectrum.numpy()} | video.named("video") | sound.named("sound")
    return weights | _scaled(flat_video.numpy(), flat_sound.numpy())


def _chance(clips: Sequence[Clip], fairness: float) -> np.ndarray:
    """How often each clip is drawn: a speaker by the length of all their clips to the power of `fairness`."""
    length = np.array([float(len(clip.wave)) for clip in clips])
    chance = np.empty(len(clips))
    speakers = np.array([clip.speaker for clip in clips])
    for speaker in set(speakers):
        own = speakers == speaker
        chance[own] = length[own] / length[own].sum() ** (1 - fairness)
    return chance / chance.sum()


def _mouths(
    drawn: Drawn, spread_K: Tensor, recipe: Recipe, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    """The true mouths of a batch, and wrong ones with the margin of each. All are disturbed alike, and what is smooth
    gets the quick part of the true mouth at another time: no mouth is told by the mesh's noise alone."""
    quick = drawn.true - torch.from_numpy(gaussian_filter1d(drawn.true.numpy(), 1.2, axis=1, mode="nearest"))
    quick = quick.roll(int(rng.integers(5, quick.shape[1] - 4)), 1) * float(rng.uniform(0, 1))
    kinds = [drawn.true, sync_material.warped(drawn.true, rng), sync_material.smoothed(drawn.true, rng) + quick,
             drawn.told + quick]  # fmt: skip
    jitter = float(rng.uniform(0, recipe.noise))
    disturbed = disturb_mouth(torch.cat(kinds), spread_K, generator, jitter)
    true, *wrong = disturbed.chunk(len(kinds))
    margins = (recipe.margin_warped, recipe.margin_smooth, recipe.margin_told)
    return true, list(zip(wrong, margins, strict=True))


def _relaxed(coef_SnK: Tensor, spread_K: Tensor, usual: float) -> Tensor:
    """dubbing.experts.lips.relax over a batch."""
    apart = coef_SnK - coef_SnK.mean(1, keepdim=True)
    count = apart.shape[1]
    energy = (apart**2).sum((1, 2), keepdim=True) / count / (spread_K**2).sum()
    energy = (count * energy + REST_FRAMES * usual) / (count + REST_FRAMES)
    return apart / (energy.sqrt() * (spread_K * spread_K.mean()).sqrt())


def _centred(columns_STB: Tensor, usual_B: Tensor) -> Tensor:
    """dubbing.experts.lips.centred over a batch."""
    level = columns_STB.mean(2)
    speech = (level >= level.quantile(0.95, 1, keepdim=True) - NATS).float().unsqueeze(2)
    count = speech.sum(1, keepdim=True)
    own = (columns_STB * speech).sum(1, keepdim=True) / count
    usual = usual_B - usual_B.mean() + own.mean(2, keepdim=True)
    mean = (count * own + REST_COLUMNS * usual) / (count + REST_COLUMNS)
    return ((columns_STB - mean) / UNIT).clamp(LOWEST, HIGHEST)


def _windows(signal_STK: Tensor, length: int, step: int, count: int) -> Tensor:
    """Overlapping stretches, flattened in time order: (S, count, length * K)."""
    return signal_STK.unfold(1, length, step)[:, :count].transpose(2, 3).flatten(2)


def _contrast(video_MSVE: Tensor, sound_MSVE: Tensor, clip_S: Tensor, recipe: Recipe) -> Tensor:
    """Window against window, and stretch against stretch: shifts of its own, and the sounds of all other clips."""
    count = video_MSVE.shape[2]
    like = video_MSVE @ sound_MSVE.transpose(2, 3)
    other = video_MSVE @ sound_MSVE.roll(1, 1).transpose(2, 3)
    back = sound_MSVE @ video_MSVE.roll(1, 1).transpose(2, 3)
    apart = (torch.arange(count)[:, None] - torch.arange(count)).abs()
    target = (apart == 0) + recipe.near * (apart == 1)
    target = target / target.sum(1, keepdim=True)

    def against(own: Tensor, more: Tensor) -> Tensor:
        whole = torch.cat([own, more], -1) * recipe.sharpness
        return -(target * (recipe.sharpness * own - whole.logsumexp(-1, keepdim=True))).sum(-1).mean()

    windows = (against(like, other) + against(like.transpose(2, 3), back)) / 2
    curve = torch.stack([_distance(like.diagonal(s, 2, 3)).mean(-1) for s in range(-SHIFTS, SHIFTS + 1)], -1)
    shift = torch.zeros(2 * SHIFTS + 1)
    shift[SHIFTS - 1 : SHIFTS + 2] = torch.tensor([recipe.near, 1.0, recipe.near]) / (1 + 2 * recipe.near)
    foreign = _distance(torch.einsum("mbve,mcve->mbcv", video_MSVE, sound_MSVE)).mean(-1)
    same = clip_S[:, None] == clip_S
    stretches = torch.zeros(())
    for far in (foreign, foreign.transpose(1, 2)):
        whole = -recipe.steepness * torch.cat([curve, far.masked_fill(same, 9.0)], -1)
        stretches = stretches - (shift * (-recipe.steepness * curve - whole.logsumexp(-1, keepdim=True))).sum(-1).mean()
    return windows + stretches / 2


def _distance(like: Tensor) -> Tensor:
    """Of unit vectors, over the root of 2: 1 for unrelated ones."""
    return (1 - like).clamp_min(1e-4).sqrt()


def _apart(video_MSVE: Tensor, sound_MSVE: Tensor) -> Tensor:
    """The mean distance of each stretch at shift 0, (M, S)."""
    return _distance((video_MSVE * sound_MSVE).sum(-1)).mean(-1)


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
            np.lib.format.write_array(buffer, np.asarray(arrays[name], np.float32), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    from shipped_weights.sync_report import cross_validate, report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="the folder of clips (shipped_weights/clips.py names them)")
    parser.add_argument("--data", type=Path, help="the folder of the late clips")
    parser.add_argument("--grid", type=Path, required=True, help="the folder of GRID's first speaker")
    parser.add_argument("--meshes", type=Path, help="where extracted meshes are kept from run to run")
    parser.add_argument("--out", type=Path, help="write the weights here and test them on clips never trained on")
    parser.add_argument("--cross", type=int, metavar="PARTS", help="cross-validate over speakers instead")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clips = load_all(TRAIN, options.meshes, options.media)
    # A quarter of the sentences that he may teach are enough of one man.
    clips += [sync_material.aligned(clip) for clip in load_all(DATA, options.meshes, options.data)]
    clips += load_all(grid_s1(options.grid, "expert")[::4], options.meshes, options.grid)
    prepared, recipe = prepare(clips), Recipe()
    if options.cross:
        cross_validate(prepared, recipe, options.cross, options.media, say=True)
    if options.out:
        write_npz(options.out, train(prepared, recipe, say=True))
        print(f"{options.out}: {options.out.stat().st_size} bytes")
        report(options.out, options.meshes, options.media, options.grid)


if __name__ == "__main__":
    main()
