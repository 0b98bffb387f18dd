"""`latentsync`: Li et al., "LatentSync" (2024), with its published weights, in this project's pictures.

Its own program makes every film 25 frames a second first; here the source's frames are drawn as they are, at any rate,
each with the sound about its own time. Frames are drawn in chunks that lie fast on their line and go over into each
other, so that no window and no seam shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing import models
from dubbing.errors import ManifestError
from dubbing.generators import Rendered, RenderRequest, in_latents, needs, square
from dubbing.generators.latentsync.chunks import Chunk, chunks
from dubbing.generators.latentsync.plan import FacePlan
from dubbing.generators.latentsync.settings import LatentSyncSettings
from dubbing.generators.square import CropPlan, Part
from dubbing.networks import whisper_states
from dubbing.records import Line

if TYPE_CHECKING:
    from torch import Tensor

    from dubbing.networks.latentsync import run, unet
    from dubbing.networks.whisper_states import Hearing

__all__ = ["LatentSyncGenerator", "memory_bytes"]

_SHARE = 0.5  # of a GPU
_AROUND = 4  # frames beside a line that are drawn with it, where the track has them
_FRAME_BYTES = 65_000_000  # for a frame of 256 pixels: twice what its tensors hold at most at once
_ROOM_BYTES = 500_000_000  # for what libraries of the GPU take
_TRAINED = {"latentsync_15_unet": 256, "latentsync_16_unet": 512}  # pixels


class LatentSyncGenerator(square.Drawn):
    """See `dubbing.generators.square.Drawn`.

    The files of 1.5 and 1.6 have the same tensors: only a published file's hash says for which size it was trained.
    """

    name = "latentsync"
    version = 2
    Settings = LatentSyncSettings
    published = tuple(models.find(name) for name in (*_TRAINED, "sd_vae_ft_mse", "whisper_tiny"))
    files = in_latents.FILES
    extra = "latentsync"
    modules = in_latents.PACKAGES
    settings: LatentSyncSettings

    # -- which of both -----------------------------------------------------------------------

    @property
    def side(self) -> int:
        """Pixels of the network's square. Raises ManifestError: `size` is missing, or not the checkpoint's."""
        model, size = self.settings.model, self.settings.size
        known = _TRAINED.get(self.known_as)
        if known is None and size is None:
            raise ManifestError(
                f"generator latentsync: size: {model!r} does not say for which size it was trained; say `size: 256` "
                "(as LatentSync 1.5) or `size: 512` (as 1.6).",
                at=("size",),
            )
        if known is not None and size not in (None, known):
            other = next((f", or name {one} by `model`" for one, side in _TRAINED.items() if side == size), "")
            raise ManifestError(
                f"generator latentsync: size: {model} was trained at {known} pixels, not {size}; leave `size` "
                f"out{other}.",
                at=("size",),
            )
        return known or size or 0

    def _told(self) -> dict[str, Any]:
        return {**super()._told(), "size": self.side}

    # -- networks ----------------------------------------------------------------------------

    def _require(self, device: str) -> None:
        super()._require(device)
        needs.require_memory(self.name, self._need, device, self.settings.batch, self.side)

    def _need(self, batch: int, size: int) -> int:
        return memory_bytes(self.size_bytes, batch, size, self.settings.half is not False)

    @property
    def gpu_share(self) -> float:
        """See `dubbing.generators.Generator`: half at least, since it keeps a GPU busy for longer than it is fed; more
        where its memory is more of a usual GPU's."""
        return max(_SHARE, needs.share(self._need(self.settings.batch, self.side)))

    def loaded(self) -> run.LatentSyncNet:
        """The checkpoints in their networks. Raises PluginError: the extra is not installed; ModelError."""
        import torch

        from dubbing.networks.latentsync import run, unet

        def build(state: Mapping[str, Tensor]) -> unet.UNet3D:
            with torch.device("meta"):
                return unet.UNet3D(unet.shape_of(state, self.settings.model))

        return in_latents.assembled(self, run.LatentSyncNet, build)

    def _running(self, net: run.LatentSyncNet, device: str) -> run.LatentSync:
        from dubbing.networks.latentsync import run

        return run.LatentSync(net, device, half=self.settings.half)

    # -- chunks ------------------------------------------------------------------------------

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines`. Raises what `media.read` raises."""
        if spans := work.spans:
            yield from self._render(work, FacePlan(work, self.settings.ramp_frames, self.side), spans)

    def _render(self, work: RenderRequest, plan: CropPlan, spans: list[tuple[Line, int, int]]) -> Iterator[Rendered]:
        from dubbing.networks.latentsync.run import noise_of

        assert isinstance(plan, FacePlan)
        hearing, noise = self.net.hear(plan.wave), noise_of(self.settings.seed, plan.side)
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
        pictures = work.pictures(first, last)
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
        faces, at = held.faces(one)
        rows = whisper_states.first_rows([plan.times[n] for n in at])
        steps = min(self.settings.steps, self.settings.draft_steps) if draft else self.settings.steps
        made: np.ndarray = self.net(faces, hearing.windows(rows), noise, steps=steps, guidance=self.settings.guidance)
        return made


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


def memory_bytes(weights: int, batch: int, size: int, half: bool = True) -> int:
    """Of a GPU's memory, for chunks of so many frames at a size: reckoned by the sizes of tensors, not measured.

    weights: bytes of their files, float32. Fewer than 8 frames are never drawn at once.
    """
    working = _FRAME_BYTES * max(batch, 8) * (size / 256) ** 2
    return _ROOM_BYTES + int((weights / 2 + working) * (1 if half else 2))
