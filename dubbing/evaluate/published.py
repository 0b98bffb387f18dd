"""Numbers by the names that papers use, for which other people's models are needed: VMAF, FID and CSIM.

    vmaf, vmaf_least  Netflix's video quality, 0..100, by libvmaf (`vmaf`): mean and least frame
    fid               Frechet inception distance (Heusel et al. 2017) of result and source, by the published weights
    csim              cosine similarity of face descriptors of result and source in the same frame, the mean

All are of the crops around a face, result against source. What is not installed is a row with its reason. FID and CSIM
look at every fourth frame; at any time the features of those are held, and nothing else grows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.analysis.identity import chip
from dubbing.config import Config
from dubbing.errors import DubError
from dubbing.evaluate import vmaf
from dubbing.evaluate.frechet import Inception, frechet_distance
from dubbing.evaluate.measurements import row
from dubbing.networks.face_descriptor import FaceDescriptor

__all__ = ["ALL", "VERSION", "Beside", "Models", "csim", "identities"]

VERSION = 1  # raise it when its numbers change
ALL = ("vmaf", "fid", "csim")
EVERY = 4
LEAST_FID = 8  # pictures of each side
_NO_DESCRIPTOR = "CSIM: absent: no face descriptor is installed; install dubbing[identity]."
_NO_INCEPTION = f"FID: absent: the weights of {Inception.name} are not here; `dub models pull {Inception.name}`"


def identities(settings: Config, names: Sequence[str] = ALL) -> list[str]:
    """What the numbers depend on besides our own code: versions of programs and hashes of weights that are here."""
    found = {
        "vmaf": vmaf.identity() if "vmaf" in names else None,
        "fid": _inception(settings) if "fid" in names else None,
        "csim": FaceDescriptor.identity() if "csim" in names else None,
    }
    return [f"published {VERSION}", *(text for text in found.values() if text)]


def _inception(settings: Config) -> str | None:
    """The weights' identity; of a file that is not the published one, why it cannot be used."""
    try:
        return Inception.identity(settings.models.folder)
    except DubError as e:
        return str(e)


def csim(a_F: np.ndarray, b_F: np.ndarray) -> float:
    """Cosine of the angle between two descriptors, -1..1."""
    a, b = (np.asarray(x, np.float64) for x in (a_F, b_F))
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


class Models:
    """The models that are here, loaded at their first use, for all faces of a clip. absent: name -> why."""

    def __init__(self, settings: Config, names: Sequence[str] = ALL) -> None:
        self.absent: dict[str, str] = {}
        self.inception: Inception | None = None
        self.descriptor: FaceDescriptor | None = None
        self._weights: str | None = None
        self.names = tuple(names)
        if "vmaf" in names and (why := vmaf.missing()):
            self.absent["vmaf"] = why
        if "csim" in names:
            if FaceDescriptor.identity() is None:
                self.absent["csim"] = _NO_DESCRIPTOR
            else:
                self.descriptor = FaceDescriptor()
        if "fid" in names:
            try:
                self._weights = Inception.identity(settings.models.folder)
                if self._weights is None:
                    self.absent["fid"] = _NO_INCEPTION
                else:
                    self.inception = Inception(settings.models.folder)
            except DubError as e:
                self.absent["fid"] = f"FID: {e}"

    @property
    def by(self) -> dict[str, str]:
        """What measures FID and CSIM."""
        return {"fid": f"{self._weights}, every {EVERY}th frame" if self.inception else "",
                "csim": f"{FaceDescriptor.identity()}, every {EVERY}th frame" if self.descriptor else ""}  # fmt: skip

    def beside(self) -> Beside:
        """For one face; a context manager."""
        return Beside(self)


class Beside:
    """Result beside source, frame by frame, of one face. All crops of one face are of one size."""

    def __init__(self, models: Models) -> None:
        self._models, self._count = models, 0
        self._folder = tempfile.TemporaryDirectory(prefix="dub-vmaf-")
        self._films: vmaf.Films | None = None
        self._features: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self._alike: list[float] = []
        self._why = dict(models.absent)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._films is not None:
            self._films.__exit__()
        self._folder.cleanup()

    def add(self, before_HWC: np.ndarray, after_HWC: np.ndarray, mesh_P2: np.ndarray) -> None:
        """One frame: source, result (uint8 BGR of one size) and the source's mesh in them, for both: what moved is
        to be seen, not followed."""
        models = self._models
        if "vmaf" in models.names and "vmaf" not in self._why:
            try:
                if self._films is None:
                    size = (before_HWC.shape[1], before_HWC.shape[0])
                    self._films = vmaf.Films(Path(self._folder.name), size)
                self._films.add(after_HWC, before_HWC)
            except DubError as e:
                self._why["vmaf"] = str(e)
        if self._count % EVERY == 0:
            if models.inception is not None:
                for held, picture in zip(self._features, (before_HWC, after_HWC), strict=True):
                    held.append(models.inception.features([picture])[0])
            if models.descriptor is not None:
                chips = [chip(picture, mesh_P2) for picture in (before_HWC, after_HWC)]
                self._alike.append(csim(*models.descriptor.describe(chips)))
        self._count += 1

    def rows(self, measure: str, **about: Any) -> list[dict[str, Any]]:
        """A row of each number, or with the reason why there is none."""
        names, found, by = self._models.names, dict[str, float](), self._models.by
        if self._films is not None and "vmaf" not in self._why:
            try:
                score = self._films.measure()
                found |= {"vmaf": score.mean, "vmaf_least": score.least}
                by |= {"vmaf": score.by, "vmaf_least": score.by}
            except DubError as e:
                self._why["vmaf"] = str(e)
        count = len(self._features[0])
        if self._models.inception is not None and count < LEAST_FID:
            self._why["fid"] = f"FID: the face has {count} pictures, and {LEAST_FID} are needed."
        elif self._models.inception is not None:
            found["fid"] = frechet_distance(*(np.stack(held) for held in self._features))
            by["fid"] += f", {count} pictures"
        if self._alike:
            found["csim"] = float(np.mean(self._alike))
        told = [row(measure, name, value, by=by[name], **about) for name, value in found.items()]
        why = {name: self._why.get(name, "there is no frame to compare.") for name in names if name not in found}
        return told + [{"measure": measure, "name": name, "reason": text, **about} for name, text in why.items()]
