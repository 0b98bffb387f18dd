"""`musetalk`: the mouth as MuseTalk's networks draw it from the sound, put back at native resolution.

Zhang et al. 2024, "MuseTalk: Real-Time High Quality Lip Synchronization with Latent Space Inpainting", versions 1.0 and
1.5, which differ in their weights, in the room under the chin and in what of the face goes back. The networks see the
frame's own face with its lower half black, the same face whole, and 0.2 s of what Whisper's encoder says. The published
code asks two more networks where the face lies and which of its pixels are skin: here the mesh tells both. Pasting and
whose sound it is: `square`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from dubbing import models
from dubbing.errors import ManifestError
from dubbing.generators import adapters, in_latents, needs, square
from dubbing.generators.paste import Place, edges, smooth
from dubbing.generators.square import Hearing
from dubbing.networks import whisper_states
from dubbing.networks.musetalk import box as boxes
from dubbing.networks.musetalk import masks
from dubbing.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

    from dubbing.networks.musetalk import run

__all__ = ["MuseTalk", "MuseTalkSettings", "memory_bytes", "mesh_matte"]

Release = Literal["1.5", "1.0"]
_NAMED: dict[str, Release] = {"musetalk_v15_unet": "1.5", "musetalk_v10_unet": "1.0"}
_MARGIN = {"1.5": 10.0, "1.0": 0.0}
_MASK: dict[str, masks.Mode] = {"1.5": "jaw", "1.0": "raw"}
_FRAME_BYTES = 400_000_000  # for a frame of 256 pixels in half precision
_ROOM_BYTES = 500_000_000  # for what libraries of the GPU take
_OWN = "a name among `dub models`, or your own file (absolute, or from ~)"


class MuseTalkSettings(square.DrawnSettings):
    """What a manifest may say under `generator: {name: musetalk, ...}`. Lengths are in pixels of the network's picture
    of 256, so that they mean the same in a film of any size."""

    model: str = Field("musetalk_v15_unet", description=f"the UNet: musetalk_v15_unet, musetalk_v10_unet, or {_OWN}")
    vae: str = Field("sd_vae_ft_mse", description=f"the autoencoder: {_OWN}")
    hearing: str = Field("whisper_tiny_hf", description=f"Whisper tiny: {_OWN}; whisper_tiny is OpenAI's file")
    version: Release | None = Field(
        None, description="MuseTalk's, which no checkpoint says; null: the named model's, 1.5 for your own file"
    )
    size: int = Field(
        256, ge=64, le=1024, multiple_of=64, description="side of the network's picture; it was trained with 256"
    )
    shift: float = Field(
        0.0, ge=-64, le=64, description="1.0 alone: how far down the middle of the box is moved (published: bbox_shift)"
    )
    margin: float | None = Field(
        None, ge=0, le=64, description="room under the chin (published: extra_margin); null: 10 for 1.5, none for 1.0"
    )
    mask: Literal["jaw", "raw"] | None = Field(
        None, description="what of the face goes back; null: jaw for 1.5, raw for 1.0, as published"
    )
    batch: int = Field(8, ge=1, le=64, description="frames drawn at once")
    adapter: str = Field(
        adapters.AUTO, description="what `dub train musetalk` learnt: auto, this title's own where there is one; off; "
        "or a file (absolute, or from ~)"
    )  # fmt: skip
    half: bool | None = Field(None, description="float16 on a GPU; null: yes; a processor draws in float32")

    @field_validator("version", mode="before")
    @classmethod
    def _written_as_a_number(cls, value: object) -> object:
        return f"{value:.1f}" if isinstance(value, float) else value


class MuseTalk(square.Square):
    """See `dubbing.generators.square.Square`."""

    name = "musetalk"
    version = 2
    Settings = MuseTalkSettings
    published = tuple(models.find(name) for name in (*_NAMED, "sd_vae_ft_mse", "whisper_tiny_hf"))
    files = in_latents.FILES
    extra = "musetalk"
    modules = in_latents.PACKAGES
    settings: MuseTalkSettings

    # -- which of both -----------------------------------------------------------------------

    @property
    def release(self) -> Release:
        """1.5 or 1.0. Raises ManifestError: the settings say one and the checkpoint is known as the other."""
        asked, model = self.settings.version, self.settings.model
        known = _NAMED.get(self.known_as)
        if asked and known and asked != known:
            raise ManifestError(
                f"generator musetalk: version: {model} is MuseTalk {known}, and version {asked} was asked for; leave "
                "`version` out, or name the other model."
            )
        found = asked or known or "1.5"
        if self.settings.shift and found == "1.5":
            raise ManifestError(
                "generator musetalk: shift: MuseTalk 1.5 was trained without it; leave it out, or use version 1.0."
            )
        return found

    def _told(self) -> dict[str, Any]:
        told = {**super()._told(), "version": self.release}
        del told[adapters.KEY]
        learnt = adapters.chosen(self.name, self.settings.adapter)
        return told if learnt is None else {**told, adapters.KEY: content_key(learnt)}

    def _must_look(self) -> bool:
        return adapters.chosen(self.name, self.settings.adapter) is not None or super()._must_look()

    # -- networks ----------------------------------------------------------------------------

    def _require(self, device: str) -> None:
        super()._require(device)
        settings = self.settings
        sizes = tuple(range(64, settings.size, 64))
        needs.require_memory(self.name, self._need, device, settings.batch, settings.size, sizes)

    def _need(self, batch: int, size: int) -> int:
        return memory_bytes(self.size_bytes, batch, size, self.settings.half is not False)

    @property
    def gpu_share(self) -> float:
        """See `dubbing.generators.Generator`: as much as its memory is of a usual GPU's."""
        return needs.share(self._need(self.settings.batch, self.settings.size))

    def loaded(self) -> run.MuseTalkNet:
        """The checkpoints in their networks. Raises PluginError: the extra is not installed; ModelError."""
        from dubbing.networks.diffusion import unet
        from dubbing.networks.musetalk import run

        def adapt(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            learnt = adapters.chosen(self.name, self.settings.adapter)
            return state if learnt is None else adapters.with_adapter(state, learnt, self.contents["model"])

        return in_latents.assembled(self, run.MuseTalkNet, unet.network_of, adapt)

    def _running(self, net: run.MuseTalkNet, device: str) -> run.MuseTalk:
        from dubbing.networks.musetalk import run

        settings = self.settings
        return run.MuseTalk(net, device, size=settings.size, half=settings.half, batch=settings.batch)

    # -- what a frame sees, hears, and gives back --------------------------------------------

    @property
    def batch(self) -> int:
        return self.settings.batch

    def boxes(self, mesh_NP3: np.ndarray, reach: int) -> np.ndarray:
        margin = self.settings.margin
        room = _MARGIN[self.release] if margin is None else margin
        return smooth(boxes.boxes_of_mesh(mesh_NP3, self.settings.shift, room), reach)

    def matte(self, mesh_P2: np.ndarray, box_4: np.ndarray, place: Place) -> np.ndarray:
        return mesh_matte(mesh_P2, box_4, place, self.settings.mask or _MASK[self.release])

    def _hearing(self, wave: np.ndarray, times: Sequence[Fraction]) -> Hearing:
        heard = self.net.hear(wave)
        first = whisper_states.first_rows(times)
        return lambda at: heard.windows(first[at])

    def _drawn(self, sound: Tensor, squares_NCHW: Tensor, from_row: int) -> Tensor:
        made: Tensor = self.net(sound, squares_NCHW)
        return made


def mesh_matte(mesh_P2: np.ndarray, box_4: np.ndarray, place: Place, mode: masks.Mode) -> np.ndarray:
    """The published mask of a face that its mesh parts, as it lies in a patch, float32 (H, W) 0..1: nothing above the
    box's middle. mesh_P2: (478, 2) pixels of the picture."""
    left, top, right, bottom = (round(float(v)) for v in box_4)
    about, _ = masks.square_about((left, top, right, bottom))
    mask = masks.soft(masks.mask_of(masks.parted(mesh_P2, about), mode), (left, top, right, bottom), about)
    side = len(mask)
    rows, columns = place.y - about[1] + np.arange(place.height), place.x - about[0] + np.arange(place.width)
    inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None]
    cut = mask[np.clip(rows, 0, side - 1)][:, np.clip(columns, 0, side - 1)]
    return np.asarray(np.where(inside, cut, 0).astype(np.float32) / 255 * edges(box_4, place))


def memory_bytes(weights: int, batch: int, size: int, half: bool = True) -> int:
    """Of a GPU's memory, for so many frames at a size: reckoned, not measured. weights: bytes of their files,
    float32."""
    working = _FRAME_BYTES * batch * (size / 256) ** 2
    return _ROOM_BYTES + int((weights / 2 + working) * (1 if half else 2))
