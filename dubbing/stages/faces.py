"""The faces of one shot: found, followed, measured, and stored compactly once per title.

A track covers every frame from a face's first to its last in the shot; where it was out of sight the
mesh is drawn straight across the gap and `seen_N` is False; so it is where a hand lies before the
mouth. `in_sight` says which frames may be rendered: gaps of up to BRIDGE_S are, longer ones are not.
Meshes are as measured, never smoothed. This stage knows nothing of sound, nor of who is who.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.face import yaw_deg
from dubbing.mesh import Detector, Hands, Meshes
from dubbing.records import Shot, Track
from dubbing.stage import Resources, Stage
from dubbing.stages.identity import Signature, proportions
from dubbing.stages.tracker import Follower, Found, box_of
from dubbing.stages.windows import OVERLAP_FRAMES, join_tracks

__all__ = ["BRIDGE_S", "Faces", "in_sight", "load_signatures", "load_tracks", "save_tracks"]

BRIDGE_S = Fraction(2, 5)
FILE, SIGNATURES = "tracks.npz", "faces.npz"
_COVERED = 0.4  # part of the mouth behind a hand from which on it counts as covered
_SEARCH_S = Fraction(1, 5)
_STEP_PX = 1 / 32  # stored precision of a mesh whose points fit it, else coarser by powers of two


class Faces(Stage):
    """The face tracks of one shot. Result: `tracks.npz`, and per track its id, size and turn.

    args: source, timeline: paths; number, start, end: the shot; window (of a long shot): the part [a, b) of it to
    look at; parts: instead, the folders of its windows, to be joined.
    """

    name: ClassVar[str] = "faces"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1000)

    def setup(self) -> None:
        self._detector = Detector()
        self._meshes = Meshes()
        self._hands = Hands()

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        shot = Shot(args["number"], args["start"], args["end"])
        if "parts" in args:
            return self._joined(shot, args["parts"], out)
        start, end = shot.start_frame, shot.end_frame
        if "window" in args:
            a, b = args["window"]
            start, end = max(start, a - OVERLAP_FRAMES), min(end, b + OVERLAP_FRAMES)
        film = media.load_timeline(args["timeline"])
        every = max(2, round(film.rate * _SEARCH_S))
        follower: Follower | None = None
        for picture in media.read(args["source"], film, start, end, threads=1):
            if follower is None:
                patience = int(film.rate * BRIDGE_S)
                follower = Follower(self._detector, self._meshes, self._hands, picture.size, every, patience)
            follower.step(picture)
            if "window" not in args or args["window"][0] <= picture.frame < args["window"][1]:
                progress(1)
        found = _ordered(follower.finish() if follower else [])
        tracks = [_track(f"{shot.id}/face_{n}", f) for n, f in enumerate(found, 1)]
        save_tracks(out, tracks)
        save_signatures(out, [_signature(f) for f in found])
        return {"tracks": [_summary(t) for t in tracks]}

    def _joined(self, shot: Shot, parts: list[str], out: Path) -> dict[str, Any]:
        seen = [list(zip(load_tracks(p), load_signatures(p), strict=True)) for p in parts]
        faces = join_tracks(seen, shot.id)
        save_tracks(out, [t for t, _ in faces])
        save_signatures(out, [s for _, s in faces])
        return {"tracks": [_summary(t) for t, _ in faces]}

    def close(self) -> None:
        self._detector.close()
        self._meshes.close()
        self._hands.close()


def _summary(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "start_frame": track.start_frame,
        "end_frame": track.end_frame,
        "seen_frames": int(track.seen_N.sum()),
        "unseen_frames": len(track.frames_N) - int(track.seen_N.sum()),
        "face_px": round(track.height_px, 1),
        "yaw_deg": round(float(np.median(track.yaw_N)), 1),
    }


def _height_px(face: Found) -> float:
    return float(np.median([box_of(m)[3] for m in face.meshes.values()]))


def _ordered(found: list[Found]) -> list[Found]:
    """Largest first, then the one that appears first."""
    return sorted(found, key=lambda f: (-_height_px(f), min(f.meshes)))


def _track(name: str, found: Found) -> Track:
    """A face as a track: every frame from its first to its last, gaps drawn across."""
    met = np.array(sorted(found.meshes), np.int32)
    meshes = np.stack([found.meshes[int(f)] for f in met])
    frames = np.arange(met[0], met[-1] + 1, dtype=np.int32)
    right = np.searchsorted(met, frames)
    left = np.where(met[right] == frames, right, right - 1)
    span = np.maximum(met[right] - met[left], 1)
    part = ((frames - met[left]) / span).astype(np.float32)[:, None, None]
    mesh = meshes[left] * (1 - part) + meshes[right] * part
    seen = np.isin(frames, met)
    mesh[seen] = meshes
    return Track(name, frames, mesh, seen & ~_covered(found, frames), yaw_deg(mesh), _height_px(found))


def _covered(found: Found, frames: np.ndarray) -> np.ndarray:
    """Frames in which a hand lies before the mouth, bool (N,): two of three looks running must say so."""
    at = np.array(sorted(found.cover), np.int64)
    covered = np.zeros(len(frames), bool)
    if len(at) < 3:
        return covered
    cover = np.array([found.cover[int(f)] for f in at])
    middle = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(cover, 1, "edge"), 3), axis=1)
    edges = np.concatenate([[frames[0]], (at[:-1] + at[1:] + 1) // 2, [frames[-1] + 1]])
    room = int(np.diff(at).min()) // 2 + 1  # so that no such stretch is short enough to be bridged
    for n in np.flatnonzero(middle > _COVERED):
        covered |= (frames >= edges[n] - room) & (frames < edges[n + 1] + room)
    return covered


def _signature(found: Found) -> Signature:
    meshes = np.stack([found.meshes[f] for f in sorted(found.meshes)])
    frontal = np.abs(yaw_deg(meshes)) < 30.0
    picture = (found.portrait_HWC / max(found.portraits, 1)).astype(np.float32)
    return Signature(picture, proportions(meshes[frontal] if frontal.any() else meshes), found.portraits)


def in_sight(track: Track, rate: Fraction) -> np.ndarray:
    """Frames of a track that may be rendered, bool (N,): where the mouth is seen, and gaps of up to BRIDGE_S."""
    longest = int(rate * BRIDGE_S)
    usable = track.seen_N.copy()
    at = np.flatnonzero(track.seen_N)
    for a, b in zip(at[:-1], at[1:], strict=True):
        if 1 < b - a <= longest + 1:
            usable[a:b] = True
    return usable


def save_signatures(folder: Path | str, signatures: list[Signature]) -> None:
    """Write `faces.npz`: what each track looks like, in the tracks' order."""
    data: dict[str, np.ndarray] = {"count": np.array(len(signatures))}
    for n, one in enumerate(signatures, 1):
        data[f"portrait_{n}"] = np.clip(np.rint(one.portrait_HWC), 0, 255).astype(np.uint8)
        data[f"shape_{n}"] = one.shape_P3.astype(np.float32)
        data[f"frames_{n}"] = np.array(one.frames)
    np.savez_compressed(Path(folder) / SIGNATURES, **data)


def load_signatures(folder: Path | str) -> list[Signature]:
    """The signatures of a finished result, in the order of `load_tracks`."""
    with np.load(Path(folder) / SIGNATURES) as data:
        return [
            Signature(data[f"portrait_{n}"].astype(np.float32), data[f"shape_{n}"], int(data[f"frames_{n}"]))
            for n in range(1, int(data["count"]) + 1)
        ]


def save_tracks(folder: Path | str, tracks: list[Track]) -> None:
    """Write `tracks.npz`: meshes as int16 steps from a per-frame middle, as changes from frame to frame."""
    data: dict[str, np.ndarray] = {"ids": np.array([t.id for t in tracks])}
    for n, track in enumerate(tracks, 1):
        middle = np.round(track.mesh_NP3.mean(axis=1))
        relative = track.mesh_NP3 - middle[:, None]
        step = _STEP_PX
        while np.abs(relative).max() / step > 32767:
            step *= 2
        codes = np.rint(relative / step).astype(np.int16)
        data[f"mesh_{n}"] = np.diff(codes, axis=0, prepend=np.zeros_like(codes[:1]))
        data[f"middle_{n}"] = middle.astype(np.int32)
        data[f"step_{n}"] = np.array(step, np.float32)
        data[f"frames_{n}"] = track.frames_N.astype(np.int32)
        data[f"seen_{n}"] = track.seen_N
        data[f"yaw_{n}"] = track.yaw_N.astype(np.float16)
        data[f"height_px_{n}"] = np.array(track.height_px, np.float32)
    np.savez_compressed(Path(folder) / FILE, **data)


def load_tracks(folder: Path | str) -> list[Track]:
    """The tracks of a finished result, largest face first."""
    tracks = []
    with np.load(Path(folder) / FILE) as data:
        for n, name in enumerate(data["ids"], 1):
            codes = np.cumsum(data[f"mesh_{n}"], axis=0, dtype=np.int16)
            mesh = codes * data[f"step_{n}"] + data[f"middle_{n}"][:, None].astype(np.float32)
            tracks.append(
                Track(
                    id=str(name),
                    frames_N=data[f"frames_{n}"],
                    mesh_NP3=mesh.astype(np.float32),
                    seen_N=data[f"seen_{n}"],
                    yaw_N=data[f"yaw_{n}"].astype(np.float32),
                    height_px=float(data[f"height_px_{n}"]),
                )
            )
    return tracks
