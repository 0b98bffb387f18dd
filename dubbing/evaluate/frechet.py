"""FID: the features of pictures by the published Inception network, and the distance of two sets of them.

Heusel et al. 2017. The network is `dubbing.networks.inception`. Knows no film and no take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch.nn import functional

from dubbing import models
from dubbing.device import exact
from dubbing.networks.inception import FEATURES, SIDE_PX, InceptionNet

__all__ = ["Inception", "frechet_distance"]


class Inception:
    """The network with its weights. folder: of models, as configured. Raises ModelError: absent, or another file."""

    name: ClassVar[str] = "inception_fid"

    def __init__(self, folder: str | Path | None = None, device: str = "cpu") -> None:
        state = models.load_state(models.path(self.name, configured=folder))
        self._device = torch.device(device)
        self._net = models.fit(InceptionNet(), state, self.name).eval().to(self._device)

    @classmethod
    def identity(cls, folder: str | Path | None = None) -> str | None:
        """`name@hash12` of the weights, None where they are absent. Raises ModelError: another file."""
        if not models.is_present(cls.name, configured=folder):
            return None
        return f"{cls.name}@{models.digest(cls.name, configured=folder)[:12]}"

    def features(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (N, 2048) of uint8 BGR pictures of any sizes, each stretched to 299x299 by two points a side, as
        pytorch-fid does."""
        found = [np.zeros((0, FEATURES), np.float32)]
        with torch.inference_mode(), exact(self._device):
            for picture in pictures:
                rgb = torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).to(self._device)
                x = rgb.permute(2, 0, 1)[None].float() / 255
                x = functional.interpolate(x, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
                found.append(self._net(2 * x - 1).cpu().numpy())
        return np.concatenate(found)


def frechet_distance(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """Frechet's distance of two Gaussians with the means and covariances of two sets of features (Heusel et al. 2017):
    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). 0 or more; at least two rows each.

    With C_a = A'A of the centred rows, the eigenvalues of C_a C_b are the squared singular values of A B' (and zeros),
    so that the trace of the root is their sum. That needs no root of a 2048x2048 matrix, which has no full rank where
    there are fewer pictures.
    """
    if min(len(a_ND), len(b_MD)) < 2:
        raise ValueError("Frechet's distance needs two rows of each set.")
    mean_a, mean_b = (np.asarray(x, np.float64).mean(0) for x in (a_ND, b_MD))
    a, b = ((x - mean) / np.sqrt(len(x) - 1) for x, mean in ((a_ND, mean_a), (b_MD, mean_b)))
    a, b = (np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in (a, b))
    root = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    apart = float(((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root)
    return max(0.0, apart)
