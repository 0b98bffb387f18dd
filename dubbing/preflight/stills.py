"""Whether the face of a photograph can speak, looked at before a run."""

from __future__ import annotations

from pathlib import Path

from dubbing import media
from dubbing.config import Config
from dubbing.errors import ManifestError
from dubbing.face import height_px, yaw_deg
from dubbing.manifest import Title
from dubbing.mesh import Detector, Meshes
from dubbing.stages.still import find_faces, numbered
from dubbing.store import Store

__all__ = ["said_of_face", "unfit_face"]


def said_of_face(title: Title, config: Config, store: Store) -> list[str]:
    """A note where no face of a photograph can speak, or another than the largest might be meant. Raises ManifestError
    where `still: {face: N}` names one that is not there."""
    said = unfit_face(store.local(title.video), title.still.face if title.still else None, config, "`still: {face: 2}`")
    return [f"{title.id}: {said}"] if said else []


def unfit_face(path: Path, face: int | None, config: Config, how: str) -> str | None:
    """What is wrong with the face that is to speak in a photograph, a sentence with what to do; None where nothing is.

    face: counted from the left, None for the only one; how: how another is chosen, for the message. It costs a second.
    Raises ManifestError where there are fewer faces than that.
    """
    detector, networks = Detector(), Meshes()
    try:
        found = find_faces(media.read_photograph(path).bgr_HWC, detector, networks)
    finally:
        detector.close()
        networks.close()
    if not found:
        return f"no face is found in {path.name}; crop it closer around the face, or give another picture."
    if face is not None and face > len(found):
        count = "1 face" if len(found) == 1 else f"{len(found)} faces"
        raise ManifestError(
            f"face {face} is asked for and {path.name} has {count}, counted from the left.", at=("still", "face")
        )
    if face is None and len(found) > 1:
        largest = 1 + sum(float(m[:, 0].mean()) < float(found[0][:, 0].mean()) for m in found)
        return (
            f"{path.name} has {len(found)} faces, of which the largest is face {largest} from the left; crop it to "
            f"one, or choose one by {how}."
        )
    mesh = numbered(found, face)[0]
    high, turned = height_px(mesh[None]), abs(float(yaw_deg(mesh[None])[0]))
    if high < config.speakers.min_face_px:
        return (
            f"the face in {path.name} is {high:.0f} pixels high, and from {config.speakers.min_face_px:g} on one can "
            "speak; give a larger picture."
        )
    if turned > config.speakers.max_yaw_deg:
        return (
            f"the face in {path.name} is turned by {turned:.0f} degrees, and up to {config.speakers.max_yaw_deg:g} "
            "one can speak; give a picture more from the front."
        )
    return None
