"""The weights that come with the package, read without pickle and with every byte's checksum looked at."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from dubbing.errors import ModelError

__all__ = ["shipped_arrays"]


def shipped_arrays(path: Path, whose: str, made_by: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of the package, by name.

    whose, made_by: for the message, such as "the sync expert lips" and the script that trains it. Raises ModelError
    where the file is absent or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as e:
        raise ModelError(
            f"{path.name}, the weights of {whose}, cannot be used ({e}); install the package again, or make them with "
            f"{made_by}."
        ) from e
