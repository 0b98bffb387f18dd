"""`latentsync`: Li et al., "LatentSync" (2024), with its published weights, in this project's pictures.

Its own program makes every film 25 frames a second first; here the source's frames are drawn as they are, at any rate,
each with the sound about its own time. Frames are drawn in chunks that lie fast on their line and go over into each
other, so that no window and no seam shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing import media, models
from dubbing.generators import Rendered, RenderRequest, needs
from dubbing.generators.latentsync import weights
from dubbing.generators.latentsync.chunks import Chunk, chunks
from dubbing.generators.latentsync.plan import FacePlan
from dubbing.generators.latentsync.settings import LatentSyncSettings
from dubbing.generators.square import Part
from dubbing.records import Line
from dubbing.store import key_of

if TYPE_CHECKING:
    from dubbing.networks.latentsync.run import LatentSync
    from dubbing.networks.whisper_states import EncoderStates, Hearing

__all__ = ["LatentSyncGenerator", "need"]

_AROUND = 4  # frames beside a line that are drawn with it, where the track has them
_FILES = {"model", "vae", "hearing", "size"}


class LatentSyncGenerator:
    """See `dubbing.generators.Generator`. The mouth it means to draw is not known beforehand: no wanted opening."""

    name = "latentsync"
    version = 1
    Settings = LatentSyncSettings
    published = tuple(models.find(name) for name in weights.NAMES)
    wants: frozenset[str] = frozenset()
    profits_from_gpu = True

    def __init__(self, settings: Any, models_folder: str | None = None, *, device: str = "cpu") -> None:
        self.settings: LatentSyncSettings = settings
        self.device = device
        self._weights = weights.chosen(settings, models_folder)
        told = settings.model_dump(exclude=_FILES)
        self.hash = key_of(self.version, self._weights.hashes, told, self._weights.side)[:12]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return self._weights.size_bytes

    def check(self) -> None:
        """Raises PluginError: without the extra; ModelError: too little memory of a GPU, or, where their hashes alone
        do not say that they fit, files that do not."""
        needs.packages(self.name, self.name, {"diffusers": "diffusers", "whisper": "openai-whisper"})
        side = self._weights.side
        needs.require_memory(self.name, need, self.device, self.settings.batch, side)
        if self._weights.unknown:
            self._weights.loaded("cpu")

    @cached_property
    def nets(self) -> tuple[LatentSync, EncoderStates]:
        """What draws and what hears, loaded when they are first asked for. Raises ModelError."""
        return self._weights.loaded(self.device)

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.spans`. Raises what `media.read` raises."""
        from dubbing.networks import whisper_states
        from dubbing.networks.latentsync.run import noise_of

        spans = work.spans
        if not spans:
            return
        plan = FacePlan(work, self.settings.ramp_frames, self._weights.side)
        hearing = whisper_states.Hearing(self.nets[1], plan.wave, floor="whole", outside="edge")
        noise = noise_of(self.settings.seed, plan.side)
        for line, a, b in spans:
            yield from self._line(work, plan, hearing, noise, line, a, b)

    def _line(
        self, work: RenderRequest, plan: FacePlan, hearing: Hearing, noise: np.ndarray, line: Line, a: int, b: int
    ) -> Iterator[Rendered]:
        """Patches of frames [a, b) of a line: of the chunks of the whole line, those that show in them."""
        track, settings = work.track, self.settings
        begin = max(track.start_frame, line.start_frame - _AROUND)
        end = min(track.end_frame, line.end_frame + _AROUND)
        wanted = [
            one for one in chunks(end - begin, settings.batch, settings.overlap)
            if one.shown[0] < b - begin and a - begin < one.shown[1]
        ]  # fmt: skip
        first, last = begin + wanted[0].start, begin + wanted[-1].stop
        pictures = media.read(work.source, work.timeline, first, last, threads=1)
        held = _Held(plan, begin - track.start_frame)
        for one, after in zip(wanted, [*wanted[1:], None], strict=True):
            while held.until < one.stop:
                held.take(plan.part(next(pictures)))
            held.draw(one, self._drawn(plan, hearing, noise, held, one, work.draft))
            ready = after.shown[0] if after else one.stop
            for part, seen, made in held.finished(ready, keep=after.start if after else one.stop):
                if a <= track.start_frame + part.number < b:
                    yield plan.laid(part, seen[..., ::-1], made[..., ::-1])

    def _drawn(
        self, plan: FacePlan, hearing: Hearing, noise: np.ndarray, held: _Held, one: Chunk, draft: bool
    ) -> np.ndarray:
        from dubbing.networks import whisper_states

        faces, at = held.faces(one)
        rows = whisper_states.first_rows([plan.times[n] for n in at])
        steps = min(self.settings.steps, self.settings.draft_steps) if draft else self.settings.steps
        return self.nets[0](faces, hearing.windows(rows), noise, steps=steps, guidance=self.settings.guidance)


class _Held:
    """The frames of a line that some chunk still needs: what is kept of each, its face, RGB, and what was drawn of it.

    Frames are counted from the first of the line's stretch, which is frame `offset` of the track.
    """

    def __init__(self, plan: FacePlan, offset: int) -> None:
        self._plan, self._offset = plan, offset
        self._frames: dict[int, tuple[Part, np.ndarray, np.ndarray]] = {}
        self.until = 0
        self._shown = 0

    def take(self, part: Part) -> None:
        """The next frame."""
        seen = self._plan.seen(part)[..., ::-1]
        n = part.number - self._offset
        self._frames[n] = part, seen, np.zeros(seen.shape, np.float32)
        self.until = n + 1

    def faces(self, one: Chunk) -> tuple[np.ndarray, list[int]]:
        """The faces of a chunk, uint8 (F, S, S, 3), RGB, and their frames' numbers in the track."""
        inside = [self._frames[n] for n in range(one.start, one.stop)]
        return np.stack([seen for _, seen, _ in inside]), [part.number for part, _, _ in inside]

    def draw(self, one: Chunk, made: np.ndarray) -> None:
        """What a chunk drew, float32 (F, S, S, 3), RGB 0..255."""
        for n, weight, picture in zip(range(one.start, one.stop), one.weight_F, np.clip(made, 0, 255), strict=True):
            if weight > 0:
                self._frames[n][2][:] += weight * picture

    def finished(self, ready: int, keep: int) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Frames before `ready` that were not given yet, in order; those before `keep` are let go."""
        for n in sorted(self._frames):
            if self._shown <= n < ready:
                self._shown = n + 1
                yield self._frames[n]
        for n in [n for n in self._frames if n < min(keep, ready)]:
            del self._frames[n]


def need(batch: int, size: int) -> int:
    """Bytes of a GPU's memory for chunks of so many frames at a size; fewer than 8 are never drawn at once.

    3 GB of weights in half precision and what torch keeps, and what 16 frames hold at the finest level.
    """
    return int(3.2e9 + max(batch, 8) * (size / 512) ** 2 * 0.35e9)
