"""`speech_gan`: the mouth as the speech-driven temporal GAN draws it from one still and the sound.

After Vougioukas, Petridis and Pantic, "End-to-End Speech-Driven Facial Animation with Temporal GANs" (2018). The
network sees one picture of the face and then only hears, 25 times a second, whatever the film's rate: what it has
heard is read between its ticks at each frame's middle. Made for photographs, where the still is the track's first
frame. In a moving picture it is the first frame of each line: the drawn face is laid into the box as it moves, but
does not turn with the head, and an expression that changes during a line is the still's below the eyes. Each line is
a sequence of its own; only the lower half goes back (`paste`); sound that is nobody's speech moves no lips.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from dubbing import media, models
from dubbing.generators import Rendered, RenderRequest, square
from dubbing.generators.paste import cut
from dubbing.generators.square import CropPlan, Part
from dubbing.networks.speech_gan import inputs
from dubbing.records import Line
from dubbing.sound import RATE_HZ

if TYPE_CHECKING:
    from dubbing.networks.speech_gan import nets, run

__all__ = ["SpeechGAN", "SpeechGANSettings"]

_GROUP = 32  # ticks heard at once
_SIZE_WH = inputs.PICTURE_HW[::-1]


class SpeechGANSettings(square.DrawnSettings):
    """What a manifest may say under `generator: {name: speech_gan, ...}`."""

    model: str = square.named("speech_gan")
    seed: int = Field(0, ge=0, lt=2**32, description="which of the performances that one sound allows is drawn")


class SpeechGAN(square.Drawn):
    """See `dubbing.generators.square.Drawn`; all of its own is what the network sees and hears."""

    name = "speech_gan"
    version = 3
    Settings = SpeechGANSettings
    published = (models.find("speech_gan"),)
    settings: SpeechGANSettings

    def loaded(self) -> nets.SpeechGANNet:
        from dubbing.networks.speech_gan import nets

        state = models.load_state(self.paths["model"])
        return models.fit(nets.SpeechGANNet(nets.plan_of(state)), state, self.settings.model).eval()

    def _running(self, net: nets.SpeechGANNet, device: str) -> run.SpeechGAN:
        from dubbing.networks.speech_gan import run

        return run.SpeechGAN(net, device)

    def _render(self, work: RenderRequest, plan: CropPlan, spans: list[tuple[Line, int, int]]) -> Iterator[Rendered]:
        first, timeline = work.track.start_frame, work.timeline
        for line, a, b in spans:
            begins = plan.times[line.start_frame - first]
            chance = np.random.default_rng([self.settings.seed, zlib.crc32(work.track.id.encode()), line.start_frame])
            voice = _Voice(self.net, plan.wave, begins, chance)
            at = first if work.still else line.start_frame
            (still,) = media.read(work.source, timeline, at, at + 1, threads=1)
            seen = self.net.see(_face(plan, plan.part(still)))
            for picture in work.pictures(a, b):
                part = plan.part(picture)
                middle = plan.times[part.number]
                middle += (timeline.time(picture.frame + 1) - timeline.time(picture.frame)) / 2
                drawn = self.net.draw(seen, voice.code(float(middle - begins))[None])[0]
                yield plan.laid(part, _face(plan, part), drawn)


def _face(plan: CropPlan, part: Part) -> np.ndarray:
    """A face as the network sees it, uint8 (128, 96, 3)."""
    return cut(part.bgr_HWC, part.corner, plan.boxes_N4[part.number], _SIZE_WH)


class _Voice:
    """What the network has heard of one line, from its first frame on, in groups that no window changes.

    So a window inside a long line hears all of the line that lies before it, and draws none of it: a fifth of the
    time that rendering it took.
    """

    def __init__(self, net: run.SpeechGAN, wave: np.ndarray, begins_s: Fraction, chance: np.random.Generator) -> None:
        self._net, self._wave, self._begins, self._chance = net, wave, int(begins_s * RATE_HZ), chance
        self._state: run.State | None = None
        self._heard = 0
        self._codes_TC: np.ndarray | None = None  # the last group's, and the one before it

    def code(self, time_s: float) -> np.ndarray:
        """The code of a moment, seconds from the line's beginning on; moments have to come in order."""
        (k,), (part,) = inputs.between(np.array([time_s]))
        before = self._tick(int(k))
        return before if part == 0 else before + (self._tick(int(k) + 1) - before) * np.float32(part)

    def _tick(self, k: int) -> np.ndarray:
        while self._heard <= k:
            at = self._begins + self._heard * inputs.TICK
            lead = min(at, inputs.LEAD + 1)
            mfcc = inputs.windows(self._wave[at - lead :], lead, _GROUP)
            codes, self._state = self._net.hear(mfcc, inputs.noise(self._chance, _GROUP), self._state)
            self._codes_TC = codes if self._codes_TC is None else np.concatenate([self._codes_TC[-1:], codes])
            self._heard += _GROUP
        assert self._codes_TC is not None
        return np.asarray(self._codes_TC[k - self._heard])  # counted from its end
