"""What generators share whose network draws a face as a small square, from the same square and a window of sound.

Everything around such a network is ours: the box comes from the track and is smoothed inside it, only the lower half
of what was drawn goes back (`paste`), every frame gets a window, and sound that is nobody's speech moves no lips.
It knows no network: what a square is made of, what of the sound a frame hears, and what draws is said by those who
inherit from `Square` (`wav2lip`, `lipgan`, `musetalk`), or from `Drawn` alone (`speech_gan`, `latentsync`: sequences).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from dubbing import device as devices
from dubbing import generators, media, models
from dubbing.analysis.overlays import KeepOut
from dubbing.errors import ManifestError, ModelError
from dubbing.generators import Rendered, RenderRequest, needs, paste
from dubbing.generators.paste import Place, cut_square, lay, places, raised, smooth
from dubbing.networks.boxes import detector_boxes
from dubbing.records import Line
from dubbing.sound import RATE_HZ
from dubbing.store import content_key, key_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = [
    "CropPlan",
    "Drawn",
    "DrawnSettings",
    "Hearing",
    "Part",
    "Square",
    "named",
    "only_speech",
    "part_of",
    "steady_boxes",
]

BELOW = 0.06  # of the box's height: Wav2Lip's published call adds 10 pixels of some 170 under the chin
_SMOOTH_S = 0.1  # to each side
_BATCH = 16  # frames held at once
_MARGIN = 4  # rows of the network's square above its middle that are drawn too, for clean edges
_MODEL = "the checkpoint: a name among `dub models`, or your own file (absolute, or from ~)"
_PAD_FRAMES = 2  # this much around speech still counts as it

Hearing = Callable[[list[int]], np.ndarray]
"""Windows of sound of some frames of a track, float32 (n, 1, bands, columns)."""


class DrawnSettings(generators.Settings):
    """What a manifest may say of any of them."""

    model: str = Field(description=_MODEL)
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")


def steady_boxes(mesh_NP3: np.ndarray, reach: int) -> np.ndarray:
    """A detector's boxes with room under the chin, float64 (N, 4), smoothed over `reach` frames to either side."""
    boxes = smooth(detector_boxes(mesh_NP3), reach)
    boxes[:, 3] += BELOW * (boxes[:, 3] - boxes[:, 1])
    return boxes


def named(model: str) -> Any:
    """The setting `model` with the name that is meant where nothing is said."""
    return Field(model, description=_MODEL)


class Drawn(ABC):
    """See `dubbing.generators.Generator`: one with a checkpoint, whose network draws the face in a box. The mouth it
    means to draw is not known beforehand: no wanted opening.

    A subclass sets name, version, Settings and published; files, where several settings name checkpoints; extra and
    modules, where its networks need packages of an extra (see `needs.packages`). Raises ManifestError: a checkpoint by
    a relative path; ModelError: no such checkpoint, or the missing ones of several.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    Settings: ClassVar[type[DrawnSettings]]
    published: ClassVar[tuple[models.Model, ...]]
    wants: ClassVar[frozenset[str]] = frozenset()
    profits_from_gpu: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("model",)
    extra: ClassVar[str] = ""
    modules: ClassVar[dict[str, str]] = {}
    settings: DrawnSettings

    def __init__(self, settings: Any, models_folder: str | None = None, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = device
        named = {name: getattr(settings, name) for name in self.files}
        if len(named) > 1:
            models.require([model for model in named.values() if "/" not in model], configured=models_folder)
        found = {name: self._checkpoint(model, models_folder, name) for name, model in named.items()}
        self.paths = {name: path for name, (path, _) in found.items()}
        """The checkpoints' files, by the settings that name them."""
        self.contents = {name: content for name, (_, content) in found.items()}
        """Their sha256, hex."""
        whole = self.contents["model"] if len(found) == 1 else self.contents
        self.hash = key_of(self.version, whole, self._told())[:12]

    # -- what a subclass says ----------------------------------------------------------------

    @abstractmethod
    def loaded(self) -> Module:
        """The checkpoint in its network. Raises ModelError: no checkpoint, or of another architecture or size."""

    @abstractmethod
    def _running(self, net: Any, device: str) -> Any:
        """The loaded network ready to run."""

    @abstractmethod
    def _render(self, work: RenderRequest, plan: CropPlan, spans: list[tuple[Line, int, int]]) -> Iterator[Rendered]:
        """Patches of frames [a, b) of lines, in order."""

    def boxes(self, mesh_NP3: np.ndarray, reach: int) -> np.ndarray:
        """The face boxes that the network knows, steady, float64 (N, 4). reach: frames to smooth over."""
        return steady_boxes(mesh_NP3, reach)

    def matte(self, mesh_P2: np.ndarray, box_4: np.ndarray, place: Place) -> np.ndarray:
        """Where a patch may differ from the source; see `paste.matte`."""
        return paste.matte(mesh_P2, box_4, place)

    def _told(self) -> dict[str, Any]:
        """Settings that change what is drawn, beside the checkpoints."""
        return self.settings.model_dump(exclude=set(self.files))

    def _must_look(self) -> bool:
        """Whether the checkpoints' hashes alone do not say that they fit."""
        known = {m.name for m in models.MODELS if m.sha256}
        return not known.issuperset(getattr(self.settings, name) for name in self.files)

    def _require(self, device: str) -> None:
        """What has to be there before anything is loaded for a device. Raises PluginError, ModelError."""
        needs.packages(self.name, self.extra, self.modules)

    # -- what is the same for all ------------------------------------------------------------

    @property
    def known_as(self) -> str:
        """The name among `published` of the file that `model` is, told by its hash; what the setting says where that is
        no published one."""
        found = (m.name for m in self.published if m.sha256 and m.sha256 == self.contents["model"])
        return next(found, self.settings.model)

    @property
    def size_bytes(self) -> int:
        """Of the checkpoints."""
        return sum(path.stat().st_size for path in set(self.paths.values()))

    def check(self) -> None:
        """Loads the checkpoints where their hashes alone do not say that they fit."""
        self._require(devices.default(self.profits_from_gpu))
        if self._must_look():
            self.loaded()

    @cached_property
    def net(self) -> Any:
        """The checkpoint's network ready to run, loaded when it is first asked for: once a worker."""
        self._require(self.device)
        return self._running(self.loaded(), self.device)

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines`. Raises what `media.read` raises."""
        yield from self._render(work, CropPlan(work, self.settings.ramp_frames, self.boxes, self.matte), work.spans)

    def _checkpoint(self, model: str, models_folder: str | None, setting: str = "model") -> tuple[Path, str]:
        """The file and the sha256 of a checkpoint that a setting names. Raises ManifestError, ModelError."""
        if "/" not in model:
            path = models.path(model, configured=models_folder)
            return path, models.digest(model, configured=models_folder)
        path = Path(model).expanduser()
        if not path.is_absolute():
            raise ManifestError(
                f"generator {self.name}: {setting}: {model!r} is a relative path; give it from / or from ~."
            )
        if not path.is_file():
            raise ModelError(
                f"generator {self.name}: there is no checkpoint {model!r}; `dub models list` shows those by name."
            )
        return path, content_key(path)


class Square(Drawn):
    """A generator whose network draws each frame's square from itself and a window of sound.

    What runs (`_running`) says the side of its squares: `size_px`.
    """

    @property
    def batch(self) -> int:
        """Frames held at once."""
        return _BATCH

    @abstractmethod
    def _hearing(self, wave: np.ndarray, times: Sequence[Fraction]) -> Hearing:
        """What frames at `times` (seconds from the first sample) hear of a float32 mono wave at 16 kHz."""

    @abstractmethod
    def _drawn(self, sound: Tensor, squares_NCHW: Tensor, from_row: int) -> Tensor:
        """Squares (N, 3, S, S) 0..1 from the sound and the frames' own; rows above from_row are not used."""

    def _render(self, work: RenderRequest, plan: CropPlan, spans: list[tuple[Line, int, int]]) -> Iterator[Rendered]:
        hearing = self._hearing(plan.wave, plan.times)
        parts = (  # of all lines, one after another, so that batches are full
            plan.part(picture) for _, a, b in spans for picture in work.pictures(a, b)
        )
        while batch := list(islice(parts, self.batch)):
            yield from self._batch(plan, hearing, batch)

    def _batch(self, plan: CropPlan, hearing: Hearing, parts: list[Part]) -> Iterator[Rendered]:
        import torch

        side = self.net.size_px
        at = [part.number for part in parts]
        squares = np.stack([cut_square(part.bgr_HWC, part.corner, plan.boxes_N4[part.number], side) for part in parts])
        from_row = side // 2 - _MARGIN
        face = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        made = self._drawn(torch.from_numpy(hearing(at)), face, from_row)
        made_NHWC = made.permute(0, 2, 3, 1).numpy() * 255
        made_NHWC[:, :from_row] = squares[:, :from_row]
        for part, seen, drawn in zip(parts, squares, made_NHWC, strict=True):
            yield plan.laid(part, seen, drawn)


@dataclass(frozen=True, eq=False)
class Part:
    """What is held of one frame. number: in the track; bgr_HWC: uint8, the face's box and its patch, as it is shown;
    corner: its top left in the picture; kept_HWC: under the patch, as the film has it (see `Picture.kept_bgr`);
    transfer: the film's."""

    number: int
    bgr_HWC: np.ndarray
    corner: tuple[int, int]
    kept_HWC: np.ndarray
    transfer: int


class CropPlan:
    """Everything about a track that needs no network: boxes, patches' places, the sound, the way back to the picture.

    boxes_of: see `Drawn.boxes`; matte_of: see `Drawn.matte`. wave: the sound with silence where this face does not
    speak; times: when each frame of the track begins, exact seconds from the wave's first sample.
    """

    def __init__(
        self, work: RenderRequest, ramp_frames: int, boxes_of: Callable[[np.ndarray, int], np.ndarray],
        matte_of: Callable[[np.ndarray, np.ndarray, Place], np.ndarray] = paste.matte,
    ) -> None:  # fmt: skip
        track, timeline = work.track, work.timeline
        self._first = first = track.start_frame
        count = len(track.frames_N)
        reach = max(1, round(float(timeline.rate) * _SMOOTH_S))
        self.mesh_NP2 = smooth(track.mesh_NP3[..., :2], reach)
        self.boxes_N4 = boxes = raised(boxes_of(track.mesh_NP3, reach), self.mesh_NP2)
        self.places: list[Place] = places(boxes, work.picture_wh)
        self._picture_wh, self._overlays = work.picture_wh, work.overlays
        begins = timeline.time(first)
        self.times = [timeline.time(first + n) - begins for n in range(count)]
        edges = [int(t * RATE_HZ) for t in (*self.times, timeline.time(first + count) - begins)]
        self.wave = only_speech(work.wave, work.speech_N, edges)
        self.fade_N = work.fade(ramp_frames)
        self._matte = matte_of
        self._moves = not work.still  # a photograph's grain stands still

    def where(self, n: int) -> np.ndarray:
        """Where the network's picture of a frame lies: see `paste.enlarged`."""
        return np.asarray(self.boxes_N4[n])

    def bounds(self, n: int) -> np.ndarray:
        """The box of the picture's pixels that it is made of."""
        return np.asarray(self.boxes_N4[n])

    def alpha(self, n: int) -> np.ndarray:
        """How much of a frame's patch is new, float32 (H, W) 0..1, as if no line began or ended."""
        return self._matte(self.mesh_NP2[n], self.boxes_N4[n], self.places[n])

    def part(self, picture: media.Picture) -> Part:
        """What rendering needs of a picture: not the whole of it, so that many are held at once."""
        n = picture.frame - self._first
        return part_of(picture, n, self.places[n], self.bounds(n), self._picture_wh, self._overlays)

    def laid(self, part: Part, seen: np.ndarray, drawn: np.ndarray) -> Rendered:
        """The patch of a frame. seen, drawn: the network's picture as it is and as it was drawn, BGR 0..255."""
        n, transfer = part.number, part.transfer
        place, alpha = self.places[n], self.alpha(n)
        source = media.fractions(part.kept_HWC)
        if source.dtype == np.float32:
            seen, drawn = media.undisplayed(seen, transfer), media.undisplayed(drawn, transfer)
        bgr = lay(source, seen, drawn, self.where(n), place, alpha, self.mesh_NP2[n], self._first + n * self._moves)
        alpha = np.rint(alpha * (255 * self.fade_N[n])).astype(np.uint8)
        return Rendered(media.patch_of(self._first + n, place.x, place.y, bgr, alpha, transfer), float("nan"))


def part_of(
    picture: media.Picture, number: int, place: Place, box_4: np.ndarray, picture_wh: tuple[int, int],
    overlays: KeepOut | None,
) -> Part:  # fmt: skip
    """What rendering a patch at `place` from what is in a box needs of a picture. number: of the frame in its track."""
    (left, top, right, bottom), (width, height) = box_4, picture_wh
    x, y = max(0, min(place.x, int(left) - 2)), max(0, min(place.y, int(top) - 2))
    far_x = min(width, max(place.x + place.width, int(right) + 3))
    far_y = min(height, max(place.y + place.height, int(bottom) + 3))
    shown = picture.bgr(box=(x, y, far_x - x, far_y - y))
    if overlays is not None:  # a network draws letters anew, and bends them
        shown = overlays.cleaned(picture.frame, x, y, shown)
    kept = shown[place.y - y : place.y - y + place.height, place.x - x : place.x - x + place.width]
    if picture.deep:
        kept = picture.kept_bgr((place.x, place.y, place.width, place.height))
        if overlays is not None:
            kept = overlays.cleaned(picture.frame, place.x, place.y, kept)
    return Part(number, shown, (x, y), kept, picture.colour.transfer)


def only_speech(wave: np.ndarray, speech_N: np.ndarray, edges: list[int]) -> np.ndarray:
    """The sound with silence wherever this face does not speak (music must not move lips), softly."""
    speaks = np.convolve(speech_N, np.ones(2 * _PAD_FRAMES + 1))[_PAD_FRAMES : _PAD_FRAMES + len(speech_N)] > 0
    if speaks.all():
        return wave
    gain = np.zeros(len(wave), np.float32)
    for n in np.flatnonzero(speaks):
        gain[edges[n] : edges[n + 1]] = 1
    soft = RATE_HZ // 100
    return wave * np.convolve(gain, np.full(soft, 1 / soft, np.float32), "same")[: len(wave)]
