"""Train the prior that ships with `rewrite`: sound to mouth shape, for speakers it has never seen.

    python -m shipped_weights.prior --media DIR [--meshes DIR] [--out FILE] [--cross]

Machine: one CPU core, about five minutes; with --cross, which trains once more without each group
of speakers to judge them unseen, about fifteen. Networks first learn to tell the sounds
of made speech apart by how they look (`shipped_weights.babble`, twenty minutes of it), then, with that as
a second task, the shapes of the clips that `shipped_weights.clips` allows; a linear readout
(`shipped_weights.readout`) goes with them. Prints how well the result does
on the clips kept for testing. Knows nothing of the pipeline.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dubbing import media
from dubbing.face import canonical
from dubbing.generators.rewrite import hearing, shape, voice
from dubbing.generators.rewrite.fitting import LEVELS, SURE, Fit
from dubbing.generators.rewrite.hearing import CLASSES, DILATIONS, ENCODED, STEP_HZ
from dubbing.networks import voice_encoder
from dubbing.sound import MELS, log_mel
from shipped_weights import clips, readout
from shipped_weights import prior_report as report
from shipped_weights.augment import augmented
from shipped_weights.babble import Babble, babble
from shipped_weights.prior_report import measure

__all__ = ["Spoken", "main", "spoken", "train"]

WIDTH = 64
NETS = 3
MADE = 240  # utterances of made speech
VARIANTS = 12  # augmented copies of each real clip, the first one as recorded
MADE_VARIANTS = 2
WINDOW = 120  # steps of one training excerpt
PRETRAIN_STEPS, JOINT_STEPS = 1500, 600
# What matters in the loss: opening, width, then the principal components.
WEIGHTS = (3.0, 1.5, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3)
# What --cross found the prior's coefficients to correlate with, speakers unseen: how much of their spread to give back.
SCORES = (0.60, 0.31, 0.41, 0.29, 0.05, 0.20, 0.0, 0.0)
VOICES = ("de.wav", "fr.wav", "ja.wav", "ru.wav", "zh.wav", "en_16k.wav", "en_48k.wav", "en_60s_16k.wav")
# Left out together by --cross: one speaker each, but for the short clips.
GROUPS = (("kitchen",), ("garden",), ("webcam",), ("grid_a", "grid_b", "grid_2"),
          ("grid_c", "grid_d", "grid_e", "grid_f"), ("grid_g", "grid_h", "grid_i"))  # fmt: skip
OUT_OF_SYNC = ("frontal_512",)
MADE_PART = 0.3  # weight of the second task beside the first


@dataclass(frozen=True, eq=False)
class Spoken:
    """A clip ready to learn from. times_s (N,): middles of frames; coef_NK: (N, COEFS); full_NP3: canonical."""

    name: str
    speaker: str
    wave: np.ndarray
    times_s: np.ndarray
    full_NP3: np.ndarray
    rest_L3: np.ndarray
    coef_NK: np.ndarray


def spoken(clip: clips.Clip, space: shape.ShapeSpace | None) -> Spoken:
    """Canonical shapes and, given a space, coefficients of a clip."""
    full, _ = canonical(clip.mesh_NP3)
    rest = shape.resting(full)
    times_s = clip.times_s + 0.5 * float(np.median(np.diff(clip.times_s)))
    coef = space.encode(full, rest) if space else np.zeros((len(full), shape.COEFS))
    return Spoken(clip.name, clip.speaker, clip.wave, times_s, full, rest, coef)


class Net(nn.Module):
    """The network of `hearing`, with the heads it is trained by: shape, phone class, and the made speech's lips."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(MELS, WIDTH, 1)
        self.convs = nn.ModuleList([nn.Conv1d(WIDTH, WIDTH, 5, padding=2 * d, dilation=d) for d in DILATIONS])
        self.dropout = nn.Dropout(dropout)
        self.shape = nn.Conv1d(WIDTH, shape.COEFS, 1)
        self.phone = nn.Conv1d(WIDTH, len(CLASSES), 1)
        self.lips = nn.Conv1d(WIDTH, 2, 1)

    def forward(self, x_BMT: torch.Tensor) -> torch.Tensor:
        x = self.inlet(x_BMT)
        for conv in self.convs:
            x = x + self.dropout(torch.relu(conv(x)))
        return self.dropout(x)

    def arrays(self) -> dict[str, np.ndarray]:
        """As `hearing.Prior` reads them."""
        heads: dict[str, nn.Conv1d] = {"in": self.inlet, "out": self.shape, "phone": self.phone}
        out: dict[str, Any] = {f"{name}_w": head.weight[..., 0] for name, head in heads.items()}
        out |= {f"{name}_b": head.bias for name, head in heads.items()}
        for n, conv in enumerate(self.convs):
            out |= {f"conv{n}_w": conv.weight, f"conv{n}_b": conv.bias}
        return {k: v.detach().numpy().astype(np.float32) for k, v in out.items()}


@dataclass(frozen=True, eq=False)
class Excerpts:
    """Things to draw windows from: per clip, its variants as (feature (T, 40), targets (T, ...), valid (T,))."""

    variants: tuple[tuple[tuple[np.ndarray, ...], ...], ...]
    chance: np.ndarray

    def only(self, keep: Sequence[int]) -> Excerpts:
        """Some of the clips."""
        keep = list(keep)
        return Excerpts(tuple(self.variants[n] for n in keep), self.chance[keep] / self.chance[keep].sum())

    def draw(self, rng: np.random.Generator, count: int) -> list[torch.Tensor]:
        """Feature (B, 40, T) with noise and a dropped band, then each target."""
        rows = []
        for _ in range(count):
            copies = self.variants[rng.choice(len(self.variants), p=self.chance)]
            arrays = copies[rng.integers(len(copies))]
            start = int(rng.integers(max(1, len(arrays[0]) - WINDOW + 1)))
            cut = [_window(a, start) for a in arrays]
            x = cut[0] + rng.normal(0, 0.1, cut[0].shape) + rng.normal(0, 0.15)
            if rng.random() < 0.5:
                band = rng.integers(MELS - 4)
                x[:, band : band + rng.integers(1, 6)] = 0
            rows.append([x.astype(np.float32).T, *cut[1:]])
        return [torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)]


def _window(array: np.ndarray, start: int) -> np.ndarray:
    part = array[start : start + WINDOW]
    return np.pad(part, ((0, WINDOW - len(part)),) + ((0, 0),) * (array.ndim - 1))


def real_excerpts(people: Sequence[Spoken], spectrum_M: np.ndarray, seed: int) -> Excerpts:
    """Clips with z-scored coefficients as targets, valid in speech: what a mouth does in a pause no sound tells."""
    all_variants = []
    for one in people:
        rng = np.random.default_rng([seed, *one.name.encode()])
        said = _speaking(one)
        target = shape.smoothed(one.coef_NK, one.times_s)
        target = (target - target[said].mean(0)) / target[said].std(0)
        variants = []
        for n in range(VARIANTS):
            wave, speed = augmented(one.wave, rng) if n else (one.wave, 1.0)
            feature = hearing.features(wave, spectrum_M)
            at_s = np.arange(len(feature)) / STEP_HZ * speed
            y = np.stack([np.interp(at_s, one.times_s, column) for column in target.T], 1).astype(np.float32)
            valid = np.interp(at_s, one.times_s, said, right=0) > 0.5
            variants.append((feature, y, valid.astype(np.float32)))
        all_variants.append(tuple(variants))
    size = np.array([len(v[0][0]) for v in all_variants], float) ** 0.75
    return Excerpts(tuple(all_variants), size / size.sum())


def made_excerpts(made: Sequence[Babble], spectrum_M: np.ndarray, seed: int) -> Excerpts:
    """Made speech with phone classes and lips as targets."""
    rng = np.random.default_rng(seed)
    all_variants = []
    for one in made:
        variants = []
        for _ in range(MADE_VARIANTS):
            wave, speed = augmented(one.wave, rng)
            feature = hearing.features(wave, spectrum_M)
            at = np.minimum(np.rint(np.arange(len(feature)) * speed).astype(int), len(one.phone_T) - 1)
            variants.append((feature, one.phone_T[at], one.lips_T2[at].astype(np.float32)))
        all_variants.append(tuple(variants))
    return Excerpts(tuple(all_variants), np.full(len(made), 1 / len(made)))


def _made_loss(net: Net, made: Excerpts, rng: np.random.Generator, count: int) -> torch.Tensor:
    x, phone, lips = made.draw(rng, count)
    hidden = net(x)
    told = nn.functional.cross_entropy(net.phone(hidden), phone)
    moved = ((net.lips(hidden) - lips.transpose(1, 2)) ** 2).mean()
    return told + 4 * moved


def _real_loss(net: Net, real: Excerpts, rng: np.random.Generator, count: int) -> torch.Tensor:
    x, y, valid = real.draw(rng, count)
    weight = torch.tensor(WEIGHTS)[:, None]
    square = (net.shape(net(x)) - y.transpose(1, 2)) ** 2 * valid[:, None] * weight
    return square.sum() / valid.sum() / weight.sum()


def _optimise(net: Net, steps: int, peak: float, loss: Any) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), peak, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    net.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    net.eval()


def pretrain(made: Excerpts, seed: int) -> dict[str, torch.Tensor]:
    """A network's state after made speech alone."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Net()
    _optimise(net, PRETRAIN_STEPS, 3e-3, lambda: _made_loss(net, made, rng, 16))
    return net.state_dict()


def train(real: Excerpts, made: Excerpts, started: Sequence[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """Arrays of one network per state in `started`, fitted to the clips of `real`."""
    out: dict[str, np.ndarray] = {}
    for n, state in enumerate(started):
        torch.manual_seed(n)
        rng = np.random.default_rng(n)
        net = Net()
        net.load_state_dict(state)

        def loss(net: Net = net, rng: np.random.Generator = rng) -> torch.Tensor:
            return _real_loss(net, real, rng, 12) + MADE_PART * _made_loss(net, made, rng, 6)

        _optimise(net, JOINT_STEPS, 1.5e-3, loss)
        out |= {f"net{n}.{k}": v for k, v in net.arrays().items()}
    return out


def general_spectrum(waves: Sequence[np.ndarray]) -> np.ndarray:
    """Mean log-mel of speech, float32 (40,), each recording's own level taken out."""
    means = []
    for wave in waves:
        mel = log_mel(wave)
        level = mel.mean(1)
        mean = mel[level >= np.quantile(level, 0.95) - 4].mean(0)
        means.append(mean - mean.mean())
    return np.mean(means, 0).astype(np.float32)


def population(
    arrays: dict[str, np.ndarray], people: Sequence[Spoken], voices: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Everyone's fit: mouths from `people`, each of equal weight; what is heard and said from `voices`, all unseen."""
    coefs = [p.coef_NK[_speaking(p)] for p in people]
    mean_K = np.mean([c.mean(0) for c in coefs], 0)
    std_K = np.sqrt(np.mean([c.var(0) for c in coefs], 0))
    opening_Q = np.mean([np.quantile(c[:, 0], LEVELS) for c in coefs], 0)
    width = shape.COEFS + NETS * WIDTH + len(CLASSES) + ENCODED
    blank = Fit(
        mean_K, std_K, np.maximum(opening_Q, 0), np.zeros(width), np.ones(width), np.ones(shape.COEFS),
        np.zeros((width, shape.COEFS)), np.zeros(shape.COEFS), np.ones(shape.COEFS), np.linspace(-2, 2, len(LEVELS)),
        np.clip(np.array(SCORES) / SURE, 0, 1), 0.0,
    )  # fmt: skip
    prior = hearing.Prior.of(arrays | flat(blank))
    heard = [voice.heard(prior, wave)[hearing.speaks(wave)] for wave in voices]
    centred = np.concatenate([h - h.mean(0) for h in heard])
    said = centred[:, : shape.COEFS]
    fit = replace(
        blank,
        heard_mean_F=np.mean([h.mean(0) for h in heard], 0),
        heard_std_F=np.maximum(centred.std(0), 1e-3),
        said_std_K=said.std(0),
        said_Q=np.quantile(said[:, 0] / said[:, 0].std(), LEVELS),
    )
    return flat(fit)


def read_out(
    arrays: dict[str, np.ndarray], people: Sequence[Spoken], voices: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The readout that goes with networks, scaled so that on `voices`, all unseen, it moves as far as they do."""
    blank = Fit(*(np.zeros(shape.COEFS) for _ in fields(Fit)[:-1]), 0.0)
    prior = hearing.Prior.of(arrays | {"level": np.zeros(1), "readout": np.zeros(1)} | flat(blank))
    made = readout.readout(
        prior, [p.wave for p in people], [p.times_s for p in people], [p.coef_NK for p in people]
    )  # fmt: skip
    nets, lines = [], []
    for wave in voices:
        feature, coef, _, phones = prior.sounds(wave)
        speech, row = hearing.speaks(wave), prior.row(wave, feature, phones)
        line = hearing.surroundings(row - row[speech].mean(0)) @ made["readout"]
        nets.append(coef[speech] - coef[speech].mean(0))
        lines.append(line[speech] - line[speech].mean(0))
    scale = np.concatenate(nets).std(0) / np.concatenate(lines).std(0)
    return made | {"readout": (made["readout"] * scale).astype(np.float32)}


def flat(fit: Fit) -> dict[str, np.ndarray]:
    """A fit as the arrays of `prior.npz`."""
    return {f"population.{f.name}": np.asarray(getattr(fit, f.name), np.float32) for f in fields(Fit)}


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, required=True, help="folder of the clips and of speech/")
    parser.add_argument("--meshes", type=Path, help="folder of stored meshes; written where missing")
    parser.add_argument("--out", type=Path, default=shape.PRIOR_FILE)
    parser.add_argument("--cross", action="store_true", help="also judge the training speakers, each unseen")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()

    def say(what: str) -> None:
        print(f"{time.process_time() - began:6.0f} s  {what}", flush=True)

    raw = clips.load_all(clips.TRAIN, given.meshes, given.media)
    bare = [spoken(clip, None) for clip in raw]
    space = shape.learn_space([(p.full_NP3, p.rest_L3) for p in bare])
    people = [spoken(clip, space) for clip in raw]
    voices = [media.read_sound(given.media / "speech" / name) for name in VOICES]
    spectrum_M = general_spectrum([p.wave for p in people])
    made = made_excerpts(babble(MADE), spectrum_M, seed=0)
    real = real_excerpts(people, spectrum_M, seed=0)
    say(f"{len(people)} clips of {sum(p.times_s[-1] for p in people):.0f} s, {MADE} made utterances")
    started = []
    for seed in range(NETS):
        started.append(pretrain(made, seed))
        say(f"network {seed + 1} knows its phones")
    base = {
        "analysis": space.analysis_KD.astype(np.float32),
        "synthesis": space.synthesis_KD.astype(np.float32),
        "spectrum": spectrum_M,
        "encoder": np.array(voice_encoder.digest()),
        "basis": readout.basis([p.wave for p in people]),
    }

    def finished(keep: Sequence[int]) -> dict[str, np.ndarray]:
        known = [people[n] for n in keep]
        arrays = base | train(real.only(keep), made, started)
        arrays |= read_out(arrays, known, voices)
        return arrays | population(arrays, known, voices)

    arrays = finished(range(len(people)))
    with open(given.out, "wb") as file:
        np.savez(file, **{k: _compact(k, v) for k, v in arrays.items()})
    say(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB")
    with np.load(given.out) as written:
        prior = hearing.Prior.of({name: written[name] for name in written.files})
    tests = [spoken(clip, space) for clip in clips.load_all(clips.TEST, given.meshes, given.media)]
    rows = [measure(_subject(one), prior, space) for one in tests]
    print(report.table(rows))
    print(report.summary([r for r in rows if r.name not in OUT_OF_SYNC], "unseen clips in sync"))
    if given.cross:
        crossed = []
        for n, held in enumerate(GROUPS):
            keep = [k for k, p in enumerate(people) if p.speaker not in held]
            prior = hearing.Prior.of(finished(keep))
            crossed += [measure(_subject(p), prior, space) for p in people if p.speaker in held]
            say(f"group {n + 1} of {len(GROUPS)}")
        print(report.table(crossed))
        print(report.summary(crossed, "training clips, each speaker unseen"))
        print(report.summary(crossed + [r for r in rows if r.name not in OUT_OF_SYNC], "all in sync"))
    say("done")


def _speaking(one: Spoken) -> np.ndarray:
    """Frames in or at the edge of speech, bool (N,)."""
    speech = readout.spoken_steps(one.wave, near=True)
    return np.asarray(np.interp(one.times_s, np.arange(len(speech)) / STEP_HZ, speech) > 0.5)


def _compact(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "U":
        return array
    return array.astype(np.float16 if name.startswith(("net", "readout", "basis")) else np.float32)


def _subject(one: Spoken) -> report.Subject:
    return report.Subject(one.name, one.full_NP3, one.times_s, one.wave)


if __name__ == "__main__":
    main()
