"""Expression of a face in a picture: what it has is taken away, what is wanted is put there, before anything speaks.

An editor gets a picture with the mesh of its face, and gives both back as they are afterwards. There are two: `mesh`
(`by_mesh`) bends the picture by action units, and needs nothing; `latent` (`latent`) moves it through the space of a
StyleGAN whose weights are given. What speaks afterwards begins with the edited face, so that its lips close as they
would on any other. Knows no film and no manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dubbing.errors import ModelError
from dubbing.records import FilmLook, Look

__all__ = ["Edited", "Editor", "FilmLook", "Look", "create"]


@dataclass(frozen=True, eq=False)
class Edited:
    """A picture with another expression: bgr_HWC uint8, of the size of the one given; mesh_P3: (478, 3) its face's mesh
    in pixels."""

    bgr_HWC: np.ndarray
    mesh_P3: np.ndarray


class Editor(Protocol):
    """What changes expressions."""

    def edit(self, bgr_HWC: np.ndarray, mesh_P3: np.ndarray) -> Edited:
        """One face of a picture. bgr_HWC: uint8; mesh_P3: (478, 3) pixels of the picture. Both stay as they are."""
        ...


def create(
    look: Look, model: Path | None = None, directions: Path | None = None, *, speaks: bool = False
) -> Editor:  # fmt: skip
    """The editor that a look asks for. model, directions: files of `latent`; speaks: whether the face is to speak
    afterwards, so that an emotion does not part its lips.

    Raises ModelError: a file that is absent, or does not hold what it should.
    """
    if look.by == "mesh":
        from dubbing.expression.by_mesh import ByMesh

        return ByMesh(look, speaks=speaks)
    if model is None or directions is None:
        raise ModelError("The expression editor 'latent' has no weights; give its 'model' and its 'directions'.")
    from dubbing.expression.latent import ByLatent

    return ByLatent(look, model, directions)
