"""Who says what in a dub whose replies are moved in time: nearest in time against voices, with truth by hand.

    python -m bench.voices MEDIA [--out DIR]

MEDIA holds two_faces.mp4, five_faces.mp4, and speech/ with a sound of one voice each. What each face does in the
originals was seen in every fifth frame (lips, microphones, burned-in subtitles) and is written down here; where several
speak at once nothing is scored. A dub gives every reply the sound of its speaker, from the original, the same at
another pitch, or of espeak-ng, and moves every change of speakers by some seconds, so its truth is exact. `talks` are
made-up films of a dozen shots, two of six people in each, whose replies move at random. Prints the share of the dub's
speech that is given to the right face, and how many shots ask for a person.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np

import dubbing
from dubbing import media
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.artifacts.sound import load_speech, new_wave, save_speech, speech_mask
from dubbing.artifacts.speakers import SpeakerList, Speaking
from dubbing.artifacts.tracks import load_tracks
from dubbing.artifacts.turns import FaceTurns, ShotTurns
from dubbing.clock import Timeline, mask_of, runs
from dubbing.demo.voice import Utterance, say
from dubbing.experts.whose_voice import by_voice
from dubbing.records import Shot
from dubbing.sound import RATE_HZ
from dubbing.stages.turns import share_of

Reply = tuple[int, int, str]
SHIFTS_S = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
RATE = Fraction(25)
TEXT = (
    "When the boat came back in the evening, nobody on the pier had seen the light, and yet the captain said that he "
    "had followed it all the way home, past the rocks and through the narrow channel, without looking at his chart."
)
ESPEAK = ("en-us+m3", "en-us+f2", "en-us+m7", "en-us+f4", "en-us+m1", "en-us+f5")


@dataclass(frozen=True)
class Clip:
    """What is seen in a clip. faces: a name and the place of its mouth in the picture, px; alone: frames in which one
    of them speaks; replies: who speaks in the dub, before its changes are moved."""

    faces: dict[str, tuple[int, int]]
    alone: tuple[Reply, ...]
    replies: tuple[Reply, ...]


_DEBATE = (
    (0, 92, "right"), (92, 143, "left"), (143, 202, "right"), (202, 213, "left"), (213, 229, "right"),
    (230, 335, "left"),
)  # fmt: skip
CLIPS = {
    "two_faces": Clip({"left": (562, 330), "right": (1411, 330)}, _DEBATE, _DEBATE),
    # the two of its five who speak longest; before 190 and from 236 to 305 others speak with them
    "five_faces": Clip(
        {"upper": (886, 120), "lower": (884, 410)},
        ((190, 236, "lower"), (305, 375, "upper")),
        ((0, 236, "lower"), (236, 375, "upper")),
    ),
}


def frames_of(wave: np.ndarray, replies: Sequence[Reply], who: str) -> np.ndarray:
    """What somebody says in a sound, joined."""
    step = RATE_HZ // int(RATE)
    return np.concatenate([wave[a * step : b * step] for a, b, name in replies if name == who])


def dub_of(sounds: dict[str, np.ndarray], replies: Sequence[Reply], frames: int) -> np.ndarray:
    """The dub: each reply goes on in its speaker's sound where the last one stopped; all equally loud."""
    step = RATE_HZ // int(RATE)
    wave = np.zeros(frames * step, np.float32)
    at = dict.fromkeys(sounds, 0)
    for a, b, who in replies:
        sound = sounds[who] * np.float32(0.06 / np.sqrt(np.mean(sounds[who] ** 2)))
        wave[a * step : b * step] = np.take(sound, np.arange((b - a) * step) + at[who], mode="wrap")
        at[who] += (b - a) * step
    return wave


def moved(replies: Sequence[Reply], frames: int, shift: Sequence[int]) -> list[Reply]:
    """The replies with the change before each but the first moved by `shift` frames."""
    cuts = [replies[0][0]]
    for (_, end, _), by in zip(replies[:-1], shift, strict=True):
        cuts.append(int(np.clip(end + by, cuts[-1], frames)))
    return [(a, b, who) for a, b, (_, _, who) in zip(cuts, [*cuts[1:], frames], replies, strict=True) if b > a]


def judged(
    shots: Sequence[tuple[Shot, Sequence[Speaking]]], truth: Sequence[Reply], names: dict[str, str], wave: np.ndarray,
    folder: Path,
) -> tuple[float, float, int]:  # fmt: skip
    """Share of the dub's speech given to the right face, by nearest in time and by voices; how many shots are in doubt.

    names: whose track is whose.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = shots[-1][0].end_frame
    line = Timeline(np.arange(frames, dtype=np.int64), 1 / RATE, frames, RATE)
    stored = new_wave(folder, len(wave))
    stored[:] = samples16(wave)
    stored.flush()
    listener = Listener()
    save_speech(folder, len(wave), speech_ranges(stored, np.array(listener.hear(wave), np.float32)))
    heard_N = speech_mask(load_speech(folder), line, 0, frames)
    nearest = []
    for shot, tracks in shots:
        mine_N = heard_N[shot.start_frame : shot.end_frame]
        faces = tuple(
            FaceTurns(t.track, t.actor, t.stretches, tuple(runs(says_N, shot.start_frame)))
            for t, says_N in zip(tracks, share_of(mine_N, tracks, shot), strict=True)
        )
        nearest.append(ShotTurns(shot.id, tuple(runs(mine_N, shot.start_frame)), faces))
    followed = by_voice(nearest, folder, line)
    shares = []
    for turns in (nearest, followed):
        right = 0
        for face in (f for one in turns for f in one.faces):
            spoken = [(a, b) for a, b, who in truth if who == names[face.track]]
            right += int((mask_of(face.says, 0, frames) & mask_of(spoken, 0, frames)).sum())
        shares.append(right / max(1, int((heard_N & mask_of([(a, b) for a, b, _ in truth], 0, frames)).sum())))
    return shares[0], shares[1], sum(one.doubt is not None for one in followed)


def told(label: str, found: tuple[float, float, int]) -> None:
    """One row."""
    print(f"{label:<48} {found[0]:7.1%} {found[1]:7.1%}" + (f"   {found[2]} in doubt" if found[2] else ""), flush=True)


def clips(folder: Path, out: Path) -> None:
    """The two clips, each looked at once by a run."""
    titles = []
    for name in CLIPS:
        source = folder / f"{name}.mp4"
        line, sound = media.timeline(source), media.read_sound(source, 48_000)
        with media.ClipWriter(out / f"{name}.flac", sample_rate_hz=48_000, channels=1) as clip:
            clip.sound(np.resize(sound, (line.sample(len(line), 48_000), 1)))
        dub = {"language": "fr", "audio": f"{name}.flac"}
        titles.append({"id": name, "video": str(source.resolve()), "dubs": [dub], "only": {"frames": ["0-3"]}})
    (out / "job.yaml").write_text(json.dumps({"version": 1, "titles": titles}), encoding="utf-8")
    dubbing.run(out / "job.yaml", out / "run", engine="local")
    for name, clip_ in CLIPS.items():
        home = out / "run" / name / "analysis"
        (decision,) = SpeakerList.read(next(home.glob("speakers-*"))).decisions
        places = {t.id: t.mesh_NP3[:, :, :2].mean((0, 1)) for t in load_tracks(next(home.glob("faces/*")))}
        names = {
            t.track: min(clip_.faces, key=lambda who: float(np.linalg.norm(places[t.track] - clip_.faces[who])))
            for t in decision.tracks
        }
        wave = media.read_sound(folder / f"{name}.mp4", RATE_HZ)
        frames = clip_.replies[-1][1]
        own = {who: frames_of(wave, clip_.alone, who) for who in clip_.faces}
        turned = {
            who: librosa.effects.pitch_shift(own[who], sr=RATE_HZ, n_steps=by)
            for who, by in zip(own, (-3, 2), strict=True)
        }
        for kind, sounds in (("own sound", own), ("other pitch", turned), ("espeak", espoken(tuple(own)))):
            for shift_s in SHIFTS_S:
                truth = moved(clip_.replies, frames, [round(shift_s * RATE)] * (len(clip_.replies) - 1))
                dub_wave = dub_of(sounds, truth, frames)
                shots = [(Shot(1, 0, frames), decision.tracks)]
                told(f"{name}, {kind}, {shift_s:+.1f} s", judged(shots, truth, names, dub_wave, out / "dub"))
        one_voice = dict.fromkeys(own, espoken(("anybody",))["anybody"])
        dub_wave = dub_of(one_voice, clip_.replies, frames)
        shots = [(Shot(1, 0, frames), decision.tracks)]
        told(f"{name}, one voice for all", judged(shots, clip_.replies, names, dub_wave, out / "dub"))


def espoken(names: Sequence[str]) -> dict[str, np.ndarray]:
    """A voice of espeak-ng for each name, at 16 kHz."""
    said = say([Utterance(TEXT, voice, 14.0) for voice in ESPEAK[: len(names)]])
    return {who: one.samples[::3].copy() for who, one in zip(names, said, strict=True)}


def talks(folder: Path, out: Path) -> None:
    """Films of shots of two people each."""
    files = [folder / "speech" / f"{name}.wav" for name in ("de", "fr", "ja", "ru", "zh", "en_60s_16k")]
    spoken = {f.stem: media.read_sound(f, RATE_HZ)[: 9 * RATE_HZ] for f in files}
    for kind, sounds in (("six voices", spoken), ("espeak", espoken(tuple(spoken)))):
        for most_s in (0.0, 0.5, 1.0, 2.0):
            rng = np.random.default_rng(7)
            people, length, count = list(sounds), 300, 12
            shots, truth, names = [], [], {}
            for n in range(count):
                first = n * length
                pair = [people[k] for k in rng.permutation(len(people))[:2]]
                cuts = [0, *np.cumsum(rng.integers(40, 100, 6)).tolist()]
                cuts = [*(c for c in cuts if c < length - 25), length]
                original = [
                    (first + a, first + b, pair[k % 2])
                    for k, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True))
                ]
                by = np.rint(rng.uniform(-most_s, most_s, len(original) - 1) * float(RATE)).astype(int)
                truth += [(max(a, first), b, who) for a, b, who in moved(original, first + length, by.tolist())]
                tracks = []
                for who in pair:
                    track = f"shot_{n + 1:04d}/{who}"
                    names[track] = who
                    own = tuple((a, b) for a, b, name in original if name == who)
                    tracks.append(Speaking(track, people.index(who), own))
                shots.append((Shot(n + 1, first, first + length), tracks))
            wave = dub_of(sounds, truth, count * length)
            told(f"talks, {kind}, up to {most_s:.1f} s", judged(shots, truth, names, wave, out / "dub"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--out", type=Path, default=Path("voices"))
    said = parser.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    print(f"{'':<48} nearest  voices")
    talks(said.media, said.out)
    clips(said.media, said.out)


if __name__ == "__main__":
    main()
