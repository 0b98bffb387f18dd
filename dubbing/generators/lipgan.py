"""`lipgan`: the mouth as LipGAN's network draws it from the sound, put back at native resolution.

Prajwal et al., "Towards automatic face-to-face translation" (2019). The network sees the frame's own face, the same
with its lower half black, and 0.35 s of lipgan_mfcc. Boxes, pasting and whose sound it is: `square`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from dubbing import models
from dubbing.generators import square
from dubbing.generators.paste import smooth
from dubbing.generators.square import Hearing
from dubbing.models.keras import SIGNATURE
from dubbing.networks import lipgan_mfcc

if TYPE_CHECKING:
    from torch import Tensor

    from dubbing.networks import lipgan as network

__all__ = ["LipGAN", "LipGANSettings", "square_boxes"]


class LipGANSettings(square.DrawnSettings):
    """What a manifest may say under `generator: {name: lipgan, ...}`."""

    model: str = square.named("lipgan")
    box: Literal["auto", "dlib", "s3fd"] = Field(
        "auto",
        description="whose face boxes the checkpoint was trained on; auto: dlib's for a Keras file, as published, and "
        "S3FD's, which `dub dataset` cuts, for others",
    )
    alignment: Literal["training", "inference"] = Field(
        "training",
        description="where a frame lies in its sound: in the middle (as trained), at the start (as the published call)",
    )


class LipGAN(square.Square):
    """See `dubbing.generators.square.Square`."""

    name = "lipgan"
    version = 4
    Settings = LipGANSettings
    published = (models.find("lipgan"),)
    settings: LipGANSettings

    def loaded(self) -> network.LipGANNet:
        from dubbing.networks import lipgan as network

        state = models.load_state(self.paths["model"])
        return models.fit_layers(network.LipGANNet(network.kind_of(state)), state, self.settings.model).eval()

    def _running(self, net: network.LipGANNet, device: str) -> network.LipGAN:
        from dubbing.networks import lipgan as network

        return network.LipGAN(net, device)

    def _hearing(self, wave: np.ndarray, times: Sequence[Fraction]) -> Hearing:
        heard = lipgan_mfcc.mfcc(wave)
        starts = lipgan_mfcc.starts(times, self.settings.alignment)
        return lambda at: lipgan_mfcc.windows(heard, starts[at])

    def _drawn(self, sound: Tensor, squares_NCHW: Tensor, from_row: int) -> Tensor:
        face = squares_NCHW.repeat(1, 2, 1, 1)
        face[:, 3:, face.shape[2] // 2 :] = 0
        made: Tensor = self.net(sound, face)
        return made

    def boxes(self, mesh_NP3: np.ndarray, reach: int) -> np.ndarray:
        box = self.settings.box
        if box == "auto":
            with self.paths["model"].open("rb") as f:
                box = "dlib" if f.read(len(SIGNATURE)) == SIGNATURE else "s3fd"
        return super().boxes(mesh_NP3, reach) if box == "s3fd" else smooth(square_boxes(mesh_NP3), reach)


def square_boxes(mesh_NP3: np.ndarray) -> np.ndarray:
    """Boxes about as dlib's detectors draw them, float64 (N, 4): left, top, right, bottom.

    They are squares from the middle of the forehead to the chin, where the mesh begins and ends too. After what is
    generally known of faces in such boxes (brows at a fifth, chin at the bottom); not measured against dlib.

    mesh_NP3: (N, 478, >=2) pixels.
    """
    low, high = (np.asarray(f(mesh_NP3[..., :2], 1), np.float64) for f in (np.min, np.max))
    height, middle = high[:, 1] - low[:, 1], (low[:, 0] + high[:, 0]) / 2
    return np.stack([middle - height / 2, low[:, 1], middle + height / 2, high[:, 1]], 1)
