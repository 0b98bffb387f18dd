"""Train the prior that ships with `rewrite`: sound to mouth shape, for speakers it has never seen.

    python -m shipped_weights.prior --media DIR [--data DIR] [--grid DIR] [--meshes DIR] [--out FILE] [--cross]

--media holds the clips and `speech/`; --data the further clips and the Mandarin curves of `shipped_weights.clips`;
--grid the clips of GRID's speaker 1. What is not given is not learnt from. Machine: one CPU core, about half an hour,
of which most is finding the meshes (--meshes keeps them). --cross trains once more without each group of speakers, to
judge them unseen. Prints how well the result does on the clips kept for testing. Knows nothing of the pipeline.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dubbing import media
from dubbing.face import canonical
from dubbing.generators.rewrite import hearing, shape, voice
from dubbing.generators.rewrite.fitting import LEVELS, SURE, Fit
from dubbing.generators.rewrite.hearing import EARS
from dubbing.networks.whisper_front import CORE
from dubbing.store import content_key
from shipped_weights import clips, readout
from shipped_weights import prior_report as report
from shipped_weights.prior_report import measure
from shipped_weights.readout import Lesson

__all__ = ["Spoken", "main", "spoken"]

# What --cross found the prior's coefficients to correlate with, speakers unseen: how much of their spread to give back.
SCORES = (0.74, 0.60, 0.42, 0.14, 0.16, 0.24, 0.0, 0.0)
LIMIT = 2.5  # spreads of what is predicted, which no prediction goes beyond
VOICES = ("de.wav", "fr.wav", "ja.wav", "ru.wav", "zh.wav", "en_16k.wav", "en_48k.wav", "en_60s_16k.wav")
# Left out together by --cross: one speaker each, but for the short clips.
GROUPS = (("kitchen",), ("garden",), ("webcam",), ("address",), ("presenter",), ("s1",),
          ("grid_b", "grid_2"), ("grid_c", "grid_d", "grid_e", "grid_f"),
          ("grid_g", "grid_h", "grid_i"))  # fmt: skip
OUT_OF_SYNC = ("frontal_512",)


@dataclass(frozen=True, eq=False)
class Spoken:
    """A clip ready to learn from. times_s (N,): middles of frames; coef_NK: (N, COEFS), smoothed; seen_N: bool."""

    name: str
    speaker: str
    late: bool
    wave: np.ndarray
    times_s: np.ndarray
    coef_NK: np.ndarray
    seen_N: np.ndarray


def spoken(clip: clips.Clip, space: shape.ShapeSpace, late: bool = False) -> Spoken:
    """The coefficients of a clip."""
    full, times_s = posed(clip)
    coef = shape.smoothed(space.encode(full, shape.resting(full)), times_s, 0.012)
    return Spoken(clip.name, clip.speaker, late, clip.wave, times_s, coef, clip.ok_N)


def posed(clip: clips.Clip) -> tuple[np.ndarray, np.ndarray]:
    """Canonical meshes and the middles of the frames."""
    return canonical(clip.mesh_NP3)[0], clip.times_s + 0.5 * float(np.median(np.diff(clip.times_s)))


def lessons_of(people: Sequence[Spoken], prior: hearing.Prior) -> list[Lesson]:
    """What each clip teaches, late ones put in time by readouts that never saw their speaker."""
    bare = [
        readout.lesson(p.speaker, prior.hear(p.wave).ear_TE, p.times_s, p.coef_NK, p.seen_N, p.wave) for p in people
    ]
    lessons = readout.levelled(bare)
    sums = _together([one for one, p in zip(lessons, people, strict=True) if not p.late])
    return [
        replace(one, lag_s=readout.align(one, readout.ridge(*_without(sums, [one.speaker])))) if p.late else one
        for one, p in zip(lessons, people, strict=True)
    ]


Sums = dict[str, tuple[np.ndarray, np.ndarray]]


def _together(lessons: Sequence[Lesson]) -> Sums:
    """The normal equations of each speaker."""
    out: Sums = {}
    for one in lessons:
        gram, product = readout.sums(one)
        if one.speaker in out:
            gram, product = gram + out[one.speaker][0], product + out[one.speaker][1]
        out[one.speaker] = (gram, product)
    return out


def _without(sums: Sums, held: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    known = [pair for speaker, pair in sums.items() if speaker not in held]
    return np.sum([gram for gram, _ in known], 0), np.sum([product for _, product in known], 0)


def population(prior: hearing.Prior, people: Sequence[Spoken], voices: Sequence[np.ndarray]) -> Fit:
    """Everyone's fit: mouths from `people`, each speaker of equal weight; what is heard and said from `voices`."""
    speakers: dict[str, list[np.ndarray]] = {}
    for p in people:
        speech = np.interp(p.times_s, np.arange(len(hearing.speaks(p.wave))) / hearing.STEP_HZ, hearing.speaks(p.wave))
        speakers.setdefault(p.speaker, []).append(p.coef_NK[speech > 0.5])
    coefs = [np.concatenate(own) for own in speakers.values()]
    mean_K = np.mean([c.mean(0) for c in coefs], 0)
    std_K = np.sqrt(np.mean([c.var(0) for c in coefs], 0))
    opening_Q = np.mean([np.quantile(c[:, 0], LEVELS) for c in coefs], 0)
    heard = [voice.heard(prior, wave)[hearing.speaks(wave)] for wave in voices]
    centred = np.concatenate([h - h.mean(0) for h in heard])
    said = centred[:, : shape.COEFS]
    return replace(
        blank(),
        mean_K=mean_K,
        std_K=std_K,
        opening_Q=np.maximum(opening_Q, 0),
        heard_mean_F=np.mean([h.mean(0) for h in heard], 0),
        heard_std_F=np.maximum(centred.std(0), 1e-3),
        said_std_K=said.std(0),
        said_Q=np.quantile(said[:, 0] / said[:, 0].std(), LEVELS),
        share_K=np.clip(np.array(SCORES) / SURE, 0, 1),
    )


def blank() -> Fit:
    """A fit that says what the prior says."""
    width = shape.COEFS + EARS + 1
    none = np.zeros(shape.COEFS)
    return Fit(
        none, none + 1, np.zeros(len(LEVELS)), np.zeros(width), np.ones(width), none + 1,
        none, none + 1, np.linspace(-2, 2, len(LEVELS)), none + 1, 0.0,
    )  # fmt: skip


def flat(fit: Fit) -> dict[str, np.ndarray]:
    """A fit as the arrays of `prior.npz`."""
    return {f"population.{name}": np.asarray(value, np.float32) for name, value in fit.arrays().items()}


def prior_of(arrays: dict[str, np.ndarray]) -> hearing.Prior:
    """The prior as it is when written."""
    return hearing.Prior.of({k: _compact(k, v) for k, v in arrays.items()})


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, required=True, help="folder of the clips and of speech/")
    parser.add_argument("--data", type=Path, help="folder of video/ and mandarin_curves/")
    parser.add_argument("--grid", type=Path, help="folder of the clips of GRID's speaker 1")
    parser.add_argument("--most", type=int, default=1000, help="clips of GRID's speaker 1 to learn from")
    parser.add_argument("--meshes", type=Path, help="folder of stored meshes; written where missing")
    parser.add_argument("--out", type=Path, default=shape.PRIOR_FILE)
    parser.add_argument("--cross", action="store_true", help="also judge the training speakers, each unseen")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()

    def say(what: str) -> None:
        print(f"{time.process_time() - began:6.0f} s  {what}", flush=True)

    sources = [(source, given.media) for source in clips.TRAIN]
    sources += [(source, given.data) for source in clips.DATA if given.data]
    chosen: list[clips.Source] = []
    if given.grid:
        every = clips.grid_s1(given.grid, "prior")
        chosen = [every[n] for n in sorted(np.random.default_rng(0).permutation(len(every))[: given.most])]
        sources += [(source, given.grid) for source in chosen]
    # The space is that of the first clips: more of one man would bend it to his mouth.
    first = [posed(clips.load(source, given.meshes, given.media))[0] for source in clips.TRAIN]
    space = shape.learn_space([(full, shape.resting(full)) for full in first])
    del first
    people = [spoken(clips.load(source, given.meshes, folder), space, source.late) for source, folder in sources]
    voices = [media.read_sound(given.media / "speech" / name) for name in VOICES]
    say(f"{len(people)} clips of {sum(p.times_s[-1] for p in people):.0f} s")

    front = hearing.front(hearing.ear_hash())
    place_PD = readout.places(front, voices)

    def bare(wave: np.ndarray) -> np.ndarray:
        said = front.hear(wave)
        return (said - place_PD[np.arange(len(said)) % CORE]).astype(np.float16)

    said = [(p.speaker, bare(p.wave), hearing.speaks(p.wave)) for p in people]
    main_DE, level_E = readout.basis(said)
    base = {
        "analysis": space.analysis_KD.astype(np.float32),
        "synthesis": space.synthesis_KD.astype(np.float32),
        "ear": np.array(hearing.ear_hash()),
        "basis": main_DE,
        "level": level_E,
        "place": place_PD @ main_DE,
        "seen": np.array([int(content_key(given.grid / p.file)[:16], 16) for p in chosen], np.uint64),
    }
    taps = len(range(0, 2 * hearing.REACH + 1, hearing.STRIDE)) * EARS
    none = {
        "readout": np.zeros((taps, shape.COEFS)), "shut": np.zeros(taps), "shut_bias": np.array(0.0),
        "limit": np.full(shape.COEFS, 10.0),
    }  # fmt: skip
    deaf = hearing.Prior.of(base | none | flat(blank()))
    say("heard")
    lessons = lessons_of(people, deaf)
    for p, one in zip(people, lessons, strict=True):
        if p.late:
            say(f"{p.name}: sound {one.lag_s:+.2f} s late")
    sums = _together(lessons)

    def finished(held: Sequence[str]) -> dict[str, np.ndarray]:
        known = [one for one in lessons if one.speaker not in held]
        shut_X, shut_bias = readout.shut_head(known)
        arrays = base | none | {"readout": readout.ridge(*_without(sums, held)), "shut": shut_X}
        arrays |= {"shut_bias": np.array(shut_bias)}
        prior = hearing.Prior.of(arrays | flat(blank()))
        spread_K = np.concatenate([prior.hear(wave).coef_TK[hearing.speaks(wave)] for wave in voices]).std(0)
        arrays |= {"limit": LIMIT * spread_K}
        fit = population(hearing.Prior.of(arrays | flat(blank())), [p for p in people if p.speaker not in held], voices)
        return arrays | flat(fit)

    arrays = finished([])
    with open(given.out, "wb") as file:
        np.savez(file, **{k: _compact(k, v) for k, v in arrays.items()})
    say(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB")
    with np.load(given.out) as written:
        prior = hearing.Prior.of({name: written[name] for name in written.files})
    rows = []
    for clip in clips.load_all(clips.TEST, given.meshes, given.media):
        full, times_s = posed(clip)
        rows.append(measure(report.Subject(clip.name, full, times_s, clip.wave), prior, space))
    print(report.table(rows))
    print(report.summary([r for r in rows if r.name not in OUT_OF_SYNC], "unseen clips in sync"))
    if given.cross:
        scores = []
        for n, held in enumerate(GROUPS):
            if not any(one.speaker in held for one in lessons):
                continue
            prior = hearing.Prior.of(finished(held))
            judged = [report.judge(one, prior) for one in lessons if one.speaker in held]
            scores.append(report.mean(judged))
            say(f"group {n + 1} of {len(GROUPS)}, {', '.join(held)}: {report.judged(scores[-1])}")
        print("mean of groups:", report.judged(report.mean(scores)))
    if given.data:
        print("Mandarin, of which nothing was learnt:", report.judged(report.foreign(given.data, prior_of(arrays))))
    say("done")


def _compact(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "Uu":
        return array
    return array.astype(np.float16 if name in ("basis", "place", "readout", "shut") else np.float32)


if __name__ == "__main__":
    main()
