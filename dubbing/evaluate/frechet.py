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

__all__ = ["Inception", "Pooled", "frechet_distance", "pooled_distance"]


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


class Pooled:
    """The features of a set of pictures that come little by little; how much is held does not grow with them.

    With a column of ones before them, the triangle R of their QR has what is needed: R[0, 1:] / R[0, 0] is the mean,
    and R[1:, 1:]'R[1:, 1:] the sum of squares about it. R of R below more rows is that of all rows.
    """

    def __init__(self) -> None:
        self.count = 0
        """Pictures."""
        self._held: list[np.ndarray] = []

    def add(self, features_ND: np.ndarray) -> None:
        """More of them, which all have as many numbers."""
        if len(features_ND):
            self.count += len(features_ND)
            rows = np.asarray(features_ND, np.float64)
            self._held.append(np.column_stack([np.ones(len(rows)), rows]))
            if sum(map(len, self._held)) > 2 * self._held[0].shape[1]:
                self._held = [self._triangle()]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Their mean (D,), and a root A (K, D) of their covariance A'A. Two pictures at least."""
        found = self._triangle()
        return found[0, 1:] / found[0, 0], found[1:, 1:] / np.sqrt(self.count - 1)

    def _triangle(self) -> np.ndarray:
        return np.asarray(np.linalg.qr(np.concatenate(self._held), mode="r"))


def frechet_distance(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """`pooled_distance` of features that are all there; at least two rows each."""
    a, b = Pooled(), Pooled()
    a.add(a_ND)
    b.add(b_MD)
    return pooled_distance(a, b)


def pooled_distance(a: Pooled, b: Pooled) -> float:
    """Frechet's distance of two Gaussians with the means and covariances of two sets of features (Heusel et al. 2017):
    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). 0 or more; at least two pictures each.

    With C = A'A the eigenvalues of C_a C_b are the squared singular values of A_a A_b' (and zeros), so that the trace
    of the root is their sum. That needs no root of a 2048x2048 matrix, which has no full rank where there are fewer
    pictures.
    """
    if min(a.count, b.count) < 2:
        raise ValueError("Frechet's distance needs two rows of each set.")
    (mean_a, root_a), (mean_b, root_b) = a.moments(), b.moments()
    both = float(np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum())
    apart = float(((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * both)
    return max(0.0, apart)
