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
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dubbing import media, models
from dubbing.errors import ManifestError, StageError
from dubbing.generators import Rendered, Work
from dubbing.generators.paste import Place, cut, lay, matte, places, raised, smooth
from dubbing.generators.wav2lip import _BELOW, _SMOOTH_S, _checkpoint, _only_speech
from dubbing.networks.boxes import detector_boxes
from dubbing.networks.speech_gan import inputs
from dubbing.records import Line, Patch
from dubbing.sound import RATE_HZ
from dubbing.store import key_of

if TYPE_CHECKING:
    from dubbing.networks.speech_gan import nets, run

__all__ = ["Settings", "SpeechGAN"]

VERSION = 1
_GROUP = 32  # ticks heard at once
_SIZE_WH = inputs.PICTURE_HW[::-1]


class Settings(BaseModel):
    """What a manifest may say under `generator: {name: speech_gan, ...}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "speech_gan", description="the checkpoint: a name among `dub models`, or your own file (absolute, or from ~)"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="which of the performances that one sound allows is drawn")
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")


class SpeechGAN:
    """See `dubbing.generators.Generator`. The mouth it means to draw is not known beforehand: no wanted opening.

    models_folder: where published models lie, as the configuration says; device: where it runs, None for a GPU
    where there is one. Raises ManifestError: unknown setting; ModelError: no such checkpoint.
    """

    name = "speech_gan"

    def __init__(
        self, settings: Mapping[str, Any], models_folder: str | None = None, *, device: str | None = None
    ) -> None:
        try:
            self.settings = Settings(**settings)
        except ValidationError as e:
            first = e.errors()[0]
            raise ManifestError(
                f"generator speech_gan: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}; "
                f"it knows {', '.join(Settings.model_fields)}."
            ) from e
        self._device = device
        self._path, content = _checkpoint(self.settings.model, models_folder, self.name)
        self.hash = key_of(VERSION, content, self.settings.model_dump(exclude={"model"}))[:12]

    def check(self) -> None:
        """Loads the checkpoint: no hash says that it fits, because whoever trained it made it."""
        self._loaded()

    def _loaded(self) -> nets.SpeechGANNet:
        """The checkpoint in its network. Raises ModelError: no checkpoint, or of another architecture."""
        from dubbing.networks.speech_gan import nets

        state = models.load_state(self._path)
        return models.fit(nets.SpeechGANNet(nets.plan_of(state)), state, self.settings.model).eval()

    @cached_property
    def _net(self) -> run.SpeechGAN:
        import torch  # not before there is something to render: it is large

        from dubbing.networks.speech_gan import run

        return run.SpeechGAN(self._loaded(), self._device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def render(self, work: Work) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines`. Raises what `media.read` raises, StageError for `apart_s`."""
        if work.apart_s is not None:
            raise StageError("speech_gan is driven by sound only: it cannot render a given mouth.")
        plan = _Plan(work, self.settings)
        for line in work.lines:
            a, b = work.window or (line.start_frame, line.end_frame)
            a, b = max(a, line.start_frame), min(b, line.end_frame)
            if a >= b:
                continue
            voice = _Voice(self._net, plan, line, self.settings.seed)
            at = work.track.start_frame if work.still else line.start_frame
            (still,) = media.read(work.source, work.timeline, at, at + 1)
            seen = self._net.see(plan.face(still)[0])
            for picture in media.read(work.source, work.timeline, a, b):
                drawn = self._net.draw(seen, voice.code(plan.middle_s(picture.frame))[None])[0]
                yield plan.lay(picture, drawn)


class _Plan:
    """Everything about a track that needs no network: boxes, places, sound, and the way back into the picture."""

    def __init__(self, work: Work, settings: Settings) -> None:
        track, self._timeline = work.track, work.timeline
        self._first, count = track.start_frame, len(track.frames_N)
        self.id = track.id
        reach = max(1, round(float(work.timeline.rate) * _SMOOTH_S))
        self._mesh_NP2 = smooth(track.mesh_NP3[..., :2], reach)
        boxes = smooth(detector_boxes(track.mesh_NP3), reach)
        boxes[:, 3] += _BELOW * (boxes[:, 3] - boxes[:, 1])
        self._boxes_N4 = raised(boxes, self._mesh_NP2)
        self._places: list[Place] = places(self._boxes_N4, work.picture_wh)
        self._picture_wh = work.picture_wh
        self._fade_N = work.fade(settings.ramp_frames)
        edges = [self.sample(self._first + n) for n in range(count + 1)]
        self.wave = _only_speech(work.wave, work.speech_N, edges)

    def sample(self, frame: int) -> int:
        """The first sample of a frame of the title, from the track's beginning on."""
        return int((self._timeline.time(frame) - self._timeline.time(self._first)) * RATE_HZ)

    def middle_s(self, frame: int) -> float:
        """When a frame of the title is half over, seconds from the track's beginning on."""
        begins, ends = self._timeline.time(frame), self._timeline.time(frame + 1)
        return float((begins + ends) / 2 - self._timeline.time(self._first))

    def face(self, picture: media.Picture) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """The face as the network sees it, uint8 (128, 96, 3); the part of the picture around it, its top left."""
        n = picture.frame - self._first
        place, (left, top, right, bottom) = self._places[n], self._boxes_N4[n]
        width, height = self._picture_wh
        x, y = max(0, min(place.x, int(left) - 2)), max(0, min(place.y, int(top) - 2))
        far_x = min(width, max(place.x + place.width, int(right) + 3))
        far_y = min(height, max(place.y + place.height, int(bottom) + 3))
        part = picture.bgr(box=(x, y, far_x - x, far_y - y))
        return cut(part, (x, y), self._boxes_N4[n], _SIZE_WH), part, (x, y)

    def lay(self, picture: media.Picture, drawn_HWC: np.ndarray) -> Rendered:
        """A drawn face, 0..255 (128, 96, 3), as the patch of a frame."""
        n = picture.frame - self._first
        place, box, mesh = self._places[n], self._boxes_N4[n], self._mesh_NP2[n]
        seen, part, origin = self.face(picture)
        alpha = matte(mesh, box, place)
        x, y = place.x - origin[0], place.y - origin[1]
        bgr = lay(part[y : y + place.height, x : x + place.width], seen, drawn_HWC, box, place, alpha, mesh)
        alpha = np.rint(alpha * (255 * self._fade_N[n])).astype(np.uint8)
        return Rendered(Patch(picture.frame, place.x, place.y, bgr, alpha), float("nan"))


class _Voice:
    """What the network has heard of one line, from its first frame on, in groups that no window changes."""

    def __init__(self, net: run.SpeechGAN, plan: _Plan, line: Line, seed: int) -> None:
        self._net, self._wave = net, plan.wave
        self._begins = plan.sample(line.start_frame)
        self._rng = np.random.default_rng([seed, zlib.crc32(plan.id.encode()), line.start_frame])
        self._state: run.State | None = None
        self._heard = 0
        self._codes_TC: np.ndarray | None = None  # the last group's, and the one before it

    def code(self, time_s: float) -> np.ndarray:
        """The code of a moment, seconds from the track's beginning on; moments have to come in order."""
        (k,), (part,) = inputs.between(np.array([time_s - self._begins / RATE_HZ]))
        before = self._tick(int(k))
        return before if part == 0 else before + (self._tick(int(k) + 1) - before) * np.float32(part)

    def _tick(self, k: int) -> np.ndarray:
        while self._heard <= k:
            at = self._begins + self._heard * inputs.TICK
            lead = min(at, inputs.LEAD + 1)
            mfcc = inputs.windows(self._wave[at - lead :], lead, _GROUP)
            codes, self._state = self._net.hear(mfcc, inputs.noise(self._rng, _GROUP), self._state)
            self._codes_TC = codes if self._codes_TC is None else np.concatenate([self._codes_TC[-1:], codes])
            self._heard += _GROUP
        assert self._codes_TC is not None
        return np.asarray(self._codes_TC[k - self._heard])  # counted from its end
