"""`wav2lip`: the mouth as Wav2Lip's network draws it from the sound, put back at native resolution.

Prajwal et al., "A lip sync expert is all you need for speech to lip generation in the wild" (2020). The
network sees the frame's own face with its lower half black, the same face whole, and 0.2 s of mel
spectrogram. Everything around it is ours: the box comes from the track and is smoothed inside it, only the
lower half goes back (`paste`), every frame gets a window, and sound that is nobody's speech moves no lips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dubbing import media, models
from dubbing.errors import ManifestError, ModelError, StageError
from dubbing.generators import Rendered, Work
from dubbing.generators.paste import Place, cut_square, lay, matte, places, raised, smooth
from dubbing.networks import mel as sound
from dubbing.networks.boxes import detector_boxes
from dubbing.records import Patch
from dubbing.sound import RATE_HZ
from dubbing.store import content_key, key_of

if TYPE_CHECKING:
    from dubbing.networks import wav2lip as network

__all__ = ["Settings", "Wav2Lip"]

VERSION = 1
_BELOW = 0.06  # of the box's height: the published call adds 10 pixels of some 170 under the chin
_SMOOTH_S = 0.1  # to each side
_BATCH = 16  # frames held at once
_MARGIN = 4  # rows of the network's square above its middle that are drawn too, for clean edges
_PAD_FRAMES = 2  # this much around speech still counts as it


class Settings(BaseModel):
    """What a manifest may say under `generator: {name: wav2lip, ...}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "wav2lip", description="the checkpoint: a name among `dub models`, or your own file (absolute, or from ~)"
    )
    size: int | None = Field(
        None, ge=32, le=1024, description="side of the network's pictures, where the checkpoint leaves a choice"
    )
    alignment: Literal["inference", "training", "sadtalker"] = Field(
        "inference",
        description="where a frame's sound begins: with it (as published), 1/25 s before (as trained), 2/25 s before",
    )
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")


class Wav2Lip:
    """See `dubbing.generators.Generator`. The mouth it means to draw is not known beforehand: no wanted opening.

    models_folder: where published models lie, as the configuration says; device: where it runs, None for a GPU
    where there is one. Raises ManifestError: unknown setting; ModelError: no such checkpoint.
    """

    name = "wav2lip"

    def __init__(
        self, settings: Mapping[str, Any], models_folder: str | None = None, *, device: str | None = None
    ) -> None:
        try:
            self.settings = Settings(**settings)
        except ValidationError as e:
            first = e.errors()[0]
            raise ManifestError(
                f"generator wav2lip: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}; "
                f"it knows {', '.join(Settings.model_fields)}."
            ) from e
        self._device = device
        self._path, content = _checkpoint(self.settings.model, models_folder)
        self.hash = key_of(VERSION, content, self.settings.model_dump(exclude={"model"}))[:12]

    def check(self) -> None:
        """Loads the checkpoint where its hash alone does not say that it fits: a user's own, or one of many sizes."""
        if "/" in self.settings.model or self.settings.size is not None:
            self._loaded()

    def _loaded(self) -> network.Wav2LipNet:
        """The checkpoint in its network. Raises ModelError: no checkpoint, or of another architecture or size."""
        from dubbing.networks import wav2lip as network

        state = models.load_state(self._path)
        plan = network.plan_of(state, self.settings.size, self.settings.model)
        return models.fit(network.Wav2LipNet(plan), state, self.settings.model).eval()

    @cached_property
    def _net(self) -> network.Wav2Lip:
        import torch  # not before there is something to render: it is large

        from dubbing.networks import wav2lip as network

        return network.Wav2Lip(self._loaded(), self._device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def render(self, work: Work) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines`. Raises what `media.read` raises, StageError for `apart_s`."""
        if work.apart_s is not None:
            raise StageError("wav2lip is driven by sound only: it cannot render a given mouth.")
        plan = _Plan(work, self.settings)
        start = work.track.start_frame
        for line in work.lines:
            a, b = work.window or (line.start_frame, line.end_frame)
            a, b = max(a, line.start_frame), min(b, line.end_frame)
            if a >= b:
                continue
            pictures = media.read(work.source, work.timeline, a, b)
            while batch := list(islice(pictures, _BATCH)):
                yield from self._batch(plan, start, batch)

    def _batch(self, plan: _Plan, start: int, pictures: list[media.Picture]) -> Iterator[Rendered]:
        import torch

        side = self._net.size_px
        at = [p.frame - start for p in pictures]
        parts = [plan.part(n, picture) for n, picture in zip(at, pictures, strict=True)]
        squares = np.stack([
            cut_square(part, origin, plan.boxes_N4[n], side) for n, (part, origin) in zip(at, parts, strict=True)
        ])  # fmt: skip
        face = torch.from_numpy(np.concatenate([squares, squares], 3)).permute(0, 3, 1, 2).float() / 255
        face[:, :3, side // 2 :] = 0
        from_row = side // 2 - _MARGIN
        made = self._net(torch.from_numpy(plan.windows(at)), face, from_row)
        made_NHWC = made.permute(0, 2, 3, 1).numpy() * 255
        made_NHWC[:, :from_row] = squares[:, :from_row]
        for n, picture, (part, origin), seen, drawn in zip(at, pictures, parts, squares, made_NHWC, strict=True):
            place, box, mesh = plan.places[n], plan.boxes_N4[n], plan.mesh_NP2[n]
            alpha = matte(mesh, box, place)
            x, y = place.x - origin[0], place.y - origin[1]
            source = part[y : y + place.height, x : x + place.width]
            bgr = lay(source, seen, drawn, box, place, alpha, mesh)
            alpha = np.rint(alpha * (255 * plan.fade_N[n])).astype(np.uint8)
            yield Rendered(Patch(picture.frame, place.x, place.y, bgr, alpha), float("nan"))


def _checkpoint(model: str, models_folder: str | None, generator: str = "wav2lip") -> tuple[Path, str]:
    """The checkpoint's file and its sha256. Raises ModelError."""
    if "/" not in model:
        path = models.path(model, configured=models_folder)
        return path, models.digest(model, configured=models_folder)
    path = Path(model).expanduser()
    if not path.is_absolute():
        raise ManifestError(f"generator {generator}: model: {model!r} is a relative path; give it from / or from ~.")
    if not path.is_file():
        raise ModelError(
            f"generator {generator}: there is no checkpoint {model!r}; `dub models list` shows those by name."
        )
    return path, content_key(path)


class _Plan:
    """Everything about a track that needs no pixels: the boxes, the patches' places, the sound of each frame."""

    def __init__(self, work: Work, settings: Settings) -> None:
        track, timeline = work.track, work.timeline
        first, count = track.start_frame, len(track.frames_N)
        reach = max(1, round(float(timeline.rate) * _SMOOTH_S))
        self.mesh_NP2 = smooth(track.mesh_NP3[..., :2], reach)
        boxes = smooth(detector_boxes(track.mesh_NP3), reach)
        boxes[:, 3] += _BELOW * (boxes[:, 3] - boxes[:, 1])
        self.boxes_N4 = boxes = raised(boxes, self.mesh_NP2)
        self.places: list[Place] = places(boxes, work.picture_wh)
        self._picture_wh = work.picture_wh
        begins = timeline.time(first)
        times = [timeline.time(first + n) - begins for n in range(count)]
        edges = [int(t * RATE_HZ) for t in (*times, timeline.time(first + count) - begins)]
        self._mel = sound.mel(_only_speech(work.wave, work.speech_N, edges))
        self._starts = sound.starts(times, self._mel.shape[1], settings.alignment)
        self.fade_N = work.fade(settings.ramp_frames)

    def windows(self, at: list[int]) -> np.ndarray:
        """The mel windows of some frames of the track, (n, 1, 80, 16)."""
        return sound.windows(self._mel, self._starts[at])

    def part(self, n: int, picture: media.Picture) -> tuple[np.ndarray, tuple[int, int]]:
        """The part of a picture that holds the face's box and its patch, and its top left."""
        place, (left, top, right, bottom) = self.places[n], self.boxes_N4[n]
        width, height = self._picture_wh
        x, y = max(0, min(place.x, int(left) - 2)), max(0, min(place.y, int(top) - 2))
        far_x = min(width, max(place.x + place.width, int(right) + 3))
        far_y = min(height, max(place.y + place.height, int(bottom) + 3))
        return picture.bgr(box=(x, y, far_x - x, far_y - y)), (x, y)


def _only_speech(wave: np.ndarray, speech_N: np.ndarray, edges: list[int]) -> np.ndarray:
    """The sound with silence wherever this face does not speak (music must not move lips), softly."""
    speaks = np.convolve(speech_N, np.ones(2 * _PAD_FRAMES + 1))[_PAD_FRAMES : _PAD_FRAMES + len(speech_N)] > 0
    if speaks.all():
        return wave
    gain = np.zeros(len(wave), np.float32)
    for n in np.flatnonzero(speaks):
        gain[edges[n] : edges[n + 1]] = 1
    soft = RATE_HZ // 100
    return wave * np.convolve(gain, np.full(soft, 1 / soft, np.float32), "same")[: len(wave)]
