"""A face whose points follow 64 numbers linearly: what an expression's coefficients move, in canonical shapes.

Fitted two ways. `Principal`: the coefficients are the principal components of how the shapes of a data folder's clips
leave their own means, so that they hold expressions and as little as possible of who it is. `Followed`: the
coefficients are another model's (the 3D face model of SadTalker), and the face is how the shapes follow them, least
squares with a ridge; nothing of that model's own points is needed. Numbers only: it knows no file of clips, no picture
and no network.

Axes: N frames, P = 468 mesh points (no irises), 3 their places in inter-ocular distances (`dubbing.face`), K = 64.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dubbing.errors import InputError

__all__ = ["COUNT", "SURFACE", "Followed", "LinearFace", "Principal"]

COUNT = 64
"""Coefficients of an expression."""
SURFACE = 468
"""Mesh points on the face's surface; the irises follow them."""
_NOSE = [197, 2]  # between its root and its tip, and its base
_RIDGE = 1e-3  # of the mean square of a coefficient


@dataclass(frozen=True, eq=False)
class LinearFace:
    """mean_P3: float32, the face at coefficients of 0; basis_KP3: float32, what each of them moves, (64, P, 3)."""

    mean_P3: np.ndarray
    basis_KP3: np.ndarray

    def coefficients(self, shapes_NP3: np.ndarray) -> np.ndarray:
        """The coefficients that come nearest to some shapes, float32 (N, 64)."""
        flat = self.basis_KP3.reshape(COUNT, -1).astype(np.float64)
        apart = (np.asarray(shapes_NP3, np.float64) - self.mean_P3).reshape(len(shapes_NP3), -1)
        return (apart @ flat.T @ _inverse(flat)).astype(np.float32)

    def shapes(self, coefficients_NK: np.ndarray) -> np.ndarray:
        """The shapes of some coefficients, float32 (N, P, 3)."""
        return self.mean_P3 + np.tensordot(np.asarray(coefficients_NK, np.float32), self.basis_KP3, 1)

    def lower(self) -> np.ndarray:
        """A matrix (64, 64): a change of coefficients times it comes nearest to moving the face below the nose as much,
        and what lies above it not at all. Between the nose's middle and its base it is blended."""
        flat = self.basis_KP3.reshape(COUNT, -1).astype(np.float64)
        high, low = self.mean_P3[_NOSE, 1]
        ramp = np.clip((self.mean_P3[:, 1] - high) / (low - high), 0, 1)
        mask = np.repeat(ramp * ramp * (3 - 2 * ramp), 3)
        return (flat * mask @ flat.T @ _inverse(flat)).astype(np.float32)

    def save(self, path: Path) -> None:
        """As an .npz file."""
        with path.open("wb") as f:
            np.savez(f, mean=self.mean_P3, basis=self.basis_KP3)

    @staticmethod
    def load(path: Path) -> LinearFace:
        """What `save` wrote. Raises InputError: it is not there, or damaged."""
        try:
            with np.load(io.BytesIO(path.read_bytes())) as held:
                face = LinearFace(np.asarray(held["mean"], np.float32), np.asarray(held["basis"], np.float32))
            if face.mean_P3.shape != (SURFACE, 3) or face.basis_KP3.shape != (COUNT, SURFACE, 3):
                raise ValueError("another size")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as e:
            raise InputError(f"{str(path)!r} is not there, or damaged; `dub dataset coefficients DIR` makes it.") from e
        return face


def _inverse(flat_KM: np.ndarray) -> np.ndarray:
    """Of the basis times itself; directions in which it has next to nothing stay out."""
    return np.linalg.pinv(flat_KM @ flat_KM.T, rcond=1e-6, hermitian=True)


class Principal:
    """Gathers clips, then gives the face of their principal components. Memory does not grow with the clips.

    All components have one scale, by which the first has a deviation of 1: the distance of coefficients is then the
    distance of shapes.
    """

    def __init__(self) -> None:
        size = 3 * SURFACE
        self._sum, self._apart, self._frames, self._clips = np.zeros(size), np.zeros((size, size)), 0, 0

    def add(self, shapes_NP3: np.ndarray) -> None:
        """One clip of one face, canonical shapes (N, P, 3)."""
        flat = np.asarray(shapes_NP3, np.float64).reshape(len(shapes_NP3), -1)
        mean = flat.mean(0)
        self._sum += mean
        self._apart += (flat - mean).T @ (flat - mean)
        self._frames += len(flat)
        self._clips += 1

    def face(self) -> LinearFace:
        """The face. Raises InputError where nothing moves in the clips, or there is none."""
        from scipy.linalg import eigh

        size = len(self._sum)
        values, vectors = eigh(self._apart / max(1, self._frames), subset_by_index=(size - COUNT, size - 1))
        values, vectors = values[::-1], vectors[:, ::-1].T
        if not self._clips or not values[0] > 0:
            raise InputError("No face moves in the clips of the split `train`: there is no expression to learn.")
        signs = np.sign(vectors[np.arange(COUNT), np.abs(vectors).argmax(1)])
        moved = values > 1e-9 * values[0]
        basis = vectors * (signs * moved * np.sqrt(values[0]))[:, None]
        mean = (self._sum / self._clips).astype(np.float32).reshape(-1, 3)
        return LinearFace(mean, basis.astype(np.float32).reshape(COUNT, -1, 3))


class Followed:
    """Gathers clips with another model's coefficients, then gives the face that follows these."""

    def __init__(self) -> None:
        self._means = np.zeros(COUNT + 3 * SURFACE)
        self._squares, self._products = np.zeros((COUNT, COUNT)), np.zeros((COUNT, 3 * SURFACE))
        self._frames, self._clips = 0, 0

    def add(self, shapes_NP3: np.ndarray, coefficients_NK: np.ndarray) -> None:
        """One clip of one face: canonical shapes (N, P, 3) and coefficients (N, 64)."""
        flat = np.asarray(shapes_NP3, np.float64).reshape(len(shapes_NP3), -1)
        numbers = np.asarray(coefficients_NK, np.float64)
        self._means += np.concatenate([numbers.mean(0), flat.mean(0)])
        numbers = numbers - numbers.mean(0)
        self._squares += numbers.T @ numbers
        self._products += numbers.T @ (flat - flat.mean(0))
        self._frames += len(flat)
        self._clips += 1

    def face(self) -> LinearFace:
        """The face. Raises InputError where no coefficient moves in the clips, or there is none."""
        mean_square = np.trace(self._squares) / COUNT
        if not mean_square > 0:
            raise InputError("No coefficient moves in the clips of the split `train`: there is no expression to learn.")
        basis = np.linalg.solve(self._squares + _RIDGE * mean_square * np.eye(COUNT), self._products)
        means = self._means / self._clips
        mean = means[COUNT:] - means[:COUNT] @ basis
        return LinearFace(mean.astype(np.float32).reshape(-1, 3), basis.astype(np.float32).reshape(COUNT, -1, 3))
