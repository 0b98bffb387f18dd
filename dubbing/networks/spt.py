"""SPT-Wav2Lip: Wav2Lip (`wav2lip`) with a spatial transformer around it, so that it sees turned heads upright.

Jaderberg et al., "Spatial transformer networks" (2015): a small network predicts an affine map from the face, and the
face is sampled along it, bilinearly, before Wav2Lip's face encoder. The decoder is joined to the encoder at every size
and so draws the face as it was sampled; the same map taken back behind it puts that where the face lies. The map begins
as the identity, which leaves Wav2Lip as it is. Keys: Wav2Lip's own, and `transformer.*`. It knows no film and no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dubbing.networks.wav2lip import PUBLISHED, NetworkShape, Wav2Lip, Wav2LipNet

__all__ = ["SpatialTransformer", "SptWav2Lip", "SptWav2LipNet", "back", "sampled", "wrapped"]

_SMALLEST = 0.05  # no map is taken back that shrinks areas by more than to this part


def sampled(pictures: Tensor, theta: Tensor) -> Tensor:
    """Pictures (N, C, H, W) read along affine maps (N, 2, 3), bilinearly; beyond a picture its edge goes on.

    A map leads from a place in the result to the place it is read from, both -1..1 from edge to edge, x first.
    """
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def back(theta: Tensor) -> Tensor:
    """The maps (N, 2, 3) that undo `theta`."""
    a, b, c, d = theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 0], theta[:, 1, 1]
    area = a * d - b * c
    area = torch.where(area.abs() < _SMALLEST, torch.full_like(area, _SMALLEST).copysign(area), area)
    turned = torch.stack((d, -b, -c, a), 1).view(-1, 2, 2) / area[:, None, None]
    return torch.cat((turned, -turned @ theta[:, :, 2:]), 2)


class SpatialTransformer(nn.Module):
    """The localisation network: faces (N, C, S, S) of any size to maps (N, 2, 3), the identity at first."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inward, outward, kernel in ((channels, 16, 7), (16, 32, 5), (32, 64, 3), (64, 64, 3)):
            layers += [nn.Conv2d(inward, outward, kernel, 2, kernel // 2), nn.ReLU()]
        self.localisation = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU()
        )
        self.theta = nn.Linear(64, 6)
        nn.init.zeros_(self.theta.weight)
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, face: Tensor) -> Tensor:
        return self.theta(self.localisation(face)).view(-1, 2, 3)


class SptWav2LipNet(Wav2LipNet):
    """The network for training, plain float32 layers; `forward` as `Wav2LipNet`'s."""

    def __init__(self, plan: NetworkShape = PUBLISHED) -> None:
        super().__init__(plan)
        self.transformer = SpatialTransformer()

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        theta = self.transformer(face)
        return sampled(super().forward(mel, sampled(face, theta)), back(theta))


def wrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Wav2Lip checkpoint as one of SPT-Wav2Lip, its transformer at the identity: where training may begin."""
    fresh = {f"transformer.{key}": value for key, value in SpatialTransformer().state_dict().items()}
    return {**fresh, **state}


class SptWav2Lip:
    """The network ready to run, as `Wav2Lip` is. Maps are found in float32 everywhere."""

    def __init__(
        self, net: SptWav2LipNet, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        self._inner = Wav2Lip(net, device, dtype)
        self.size_px = self._inner.size_px
        self._transformer = net.transformer.eval().to(self._inner.device)

    def __call__(self, mel: Tensor, face: Tensor, from_row: int = 0) -> Tensor:
        """Any number of pictures, as `Wav2Lip`: float32 on the processor, zeros above `from_row`."""
        if not len(mel):
            return face[:, :3].float()
        with torch.inference_mode():
            face = face.to(self._inner.device, torch.float32)
            theta = torch.cat([self._transformer(face[n : n + 1]) for n in range(len(face))])
            seen = sampled(face, theta)
            made = sampled(self._inner(mel, seen), back(theta).cpu())
            made[:, :, :from_row] = 0
            return made
