"""What a page may draw over a shot's pictures: where its faces are, and the outline of what a take changes.

Outlines are read from a take's mattes once and kept. All in upright pixels of the source. Knows no page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.artifacts.tracks import load_tracks
from dubbing.records import Patch, Track
from dubbing.review.kept import Kept
from dubbing.review.library import Library, Shown
from dubbing.review.sides import Cover, covers, rendered_frames, runs
from dubbing.store import key_of

__all__ = ["overlays"]

_VERSION = 1
_LEVEL = 128  # the matte's value on its outline
_MOST = 600  # outlines of one shot; a longer shot has one every few frames
_FINE = 0.004  # of a matte's width: how far an outline may be off
_KEPT_BYTES = 256 << 20


def overlays(library: Library, shown: Shown, take_id: str = "current") -> dict[str, Any]:
    """Faces and mattes of a shot, ready for JSON. take_id: a take's id, `current`, or `source` for no mattes.

    frames: [first, last) of the shot; faces: of every track its id, rendered: the stretches [a, b) in which the take
    changes it, boxes {frame: [x, y, w, h]} and unseen: the frames in which it was drawn across a gap; mattes: {frame:
    [[x0, y0, x1, y1, ...], ...]} polygons, for every frame that matte_step divides and the take changes. Raises
    InputError (no such take), MediaError.
    """
    shot = shown.step.shot
    over = covers(library, shown, take_id, shot.start_frame, shot.end_frame)
    changed = {c.folder.name: runs(rendered_frames(c.folder)) for c in over}
    step = -(-len(shot) // _MOST)
    return {
        "frames": [shot.start_frame, shot.end_frame],
        "faces": [
            _face(track, changed.get(track.id.rsplit("/", 1)[-1], [])) for track in load_tracks(shown.step.faces.folder)
        ],
        "mattes": _mattes(library, over, step),
        "matte_step": step,
    }


def _face(track: Track, rendered: list[list[int]]) -> dict[str, Any]:
    low, high = (np.rint(f(track.mesh_NP3[..., :2], axis=1)).astype(int) for f in (np.min, np.max))
    boxes = np.concatenate([low, high - low], 1)
    return {
        "track": track.id, "rendered": rendered,
        "boxes": {str(f): b for f, b in zip(track.frames_N.tolist(), boxes.tolist(), strict=True)},
        "unseen": track.frames_N[~track.seen_N].tolist(),
    }  # fmt: skip


def _mattes(library: Library, over: Sequence[Cover], step: int) -> dict[str, list[list[int]]]:
    if not over:
        return {}
    kept = Kept(library.out / "review" / "overlays", ".json", _KEPT_BYTES)
    name = key_of("mattes", _VERSION, step, [[c.take, c.folder.name] for c in over])[:24]
    file = kept.get(name)
    if file is not None:
        with suppress(OSError, ValueError):
            held: dict[str, list[list[int]]] = json.loads(file.read_text())
            return held
    found: dict[str, list[list[int]]] = {}
    for cover in over:
        for patch in media.read_patches(Path(cover.folder), cover.first, cover.last, step):
            found.setdefault(str(patch.frame), []).extend(_outline(patch))
    with suppress(OSError), kept.new(name) as part:  # a full disk costs the next one the same work, no more
        part.write_text(json.dumps(found, separators=(",", ":")))
    return found


def _outline(patch: Patch) -> list[list[int]]:
    """Polygons around what a patch replaces."""
    inside = (patch.matte_HW >= _LEVEL).astype(np.uint8)
    rings, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    fine = max(1.0, _FINE * inside.shape[1])
    simple = (cv2.approxPolyDP(ring, fine, True)[:, 0] + (patch.x, patch.y) for ring in rings)
    return [ring.ravel().tolist() for ring in simple if len(ring) > 2]
