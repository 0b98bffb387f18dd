"""The faces of one shot: found, followed, measured, and stored compactly once per title.

A track covers every frame from a face's first to its last in the shot; where it was out of sight the
mesh is drawn straight across the gap and `seen_N` is False. `stretches` says which of those frames
may be used: gaps of up to BRIDGE_S are, longer ones are not. Meshes are as measured, never smoothed.
This stage knows nothing of sound, nor of who is who (`identity`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.face import yaw_deg
from dubbing.records import Shot, Track
from dubbing.stage import Resources, Stage
from dubbing.stages.tracker import Detector, Follower, Found, Meshes, box_of

__all__ = ["BRIDGE_S", "Faces", "load_tracks", "save_tracks", "stretches"]

BRIDGE_S = Fraction(2, 5)
FILE = "tracks.npz"
_SEARCH_S = Fraction(1, 5)
_STEP_PX = 1 / 32  # stored precision of a mesh whose points fit it, else coarser by powers of two


class Faces(Stage):
    """The face tracks of one shot. Result: `tracks.npz`, and per track its id, size and turn.

    args: source, timeline: paths; number, start, end: the shot.
    """

    name: ClassVar[str] = "faces"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1000)

    def setup(self) -> None:
        self._detector = Detector()
        self._meshes = Meshes()

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        shot = Shot(args["number"], args["start"], args["end"])
        film = media.load_timeline(args["timeline"])
        every = max(2, round(film.rate * _SEARCH_S))
        follower: Follower | None = None
        for picture in media.read(args["source"], film, shot.start_frame, shot.end_frame, threads=1):
            if follower is None:
                patience = int(film.rate * BRIDGE_S)
                follower = Follower(self._detector, self._meshes, picture.size, every, patience)
            follower.step(picture)
            progress(1)
        found = [f for f in follower.finish() if f.lasts()] if follower else []
        tracks = tracks_of(shot, found)
        save_tracks(out, tracks)
        return {"tracks": [_summary(t) for t in tracks]}

    def close(self) -> None:
        self._detector.close()
        self._meshes.close()


def _summary(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "start_frame": track.start_frame,
        "end_frame": track.end_frame,
        "seen_frames": int(track.seen_N.sum()),
        "face_px": round(track.height_px, 1),
        "yaw_deg": round(float(np.median(track.yaw_N[track.seen_N])), 1),
    }


def tracks_of(shot: Shot, found: list[Found]) -> list[Track]:
    """Tracks with ids, largest face first, gaps drawn across."""
    made = [(_height_px(f), min(f.meshes), f) for f in found]
    made.sort(key=lambda m: (-m[0], m[1]))
    tracks = []
    for n, (height, _, face) in enumerate(made, 1):
        seen_at = np.array(sorted(face.meshes), np.int32)
        meshes = np.stack([face.meshes[int(f)] for f in seen_at])
        frames = np.arange(seen_at[0], seen_at[-1] + 1, dtype=np.int32)
        right = np.minimum(np.searchsorted(seen_at, frames), len(seen_at) - 1)
        left = np.maximum(right - 1, 0)
        span = np.maximum(seen_at[right] - seen_at[left], 1)
        part = np.clip((frames - seen_at[left]) / span, 0, 1).astype(np.float32)[:, None, None]
        mesh = meshes[left] * (1 - part) + meshes[right] * part
        seen = np.isin(frames, seen_at)
        mesh[seen] = meshes
        tracks.append(Track(f"{shot.id}/face_{n}", frames, mesh, seen, yaw_deg(mesh), height))
    return tracks


def _height_px(face: Found) -> float:
    return float(np.median([box_of(m)[3] for m in face.meshes.values()]))


def stretches(track: Track, rate: Fraction) -> list[tuple[int, int]]:
    """Frame ranges [start, end) in which the face is in sight; gaps of up to BRIDGE_S are part of them."""
    longest = int(rate * BRIDGE_S)
    frames = track.frames_N[track.seen_N]
    breaks = np.flatnonzero(np.diff(frames) > longest + 1)
    starts = [int(frames[0]), *(int(frames[b + 1]) for b in breaks)]
    ends = [*(int(frames[b]) + 1 for b in breaks), int(frames[-1]) + 1]
    return list(zip(starts, ends, strict=True))


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
        data[f"step_{n}"] = np.float32(step)
        data[f"frames_{n}"] = track.frames_N.astype(np.int32)
        data[f"seen_{n}"] = track.seen_N
        data[f"yaw_{n}"] = track.yaw_N.astype(np.float16)
        data[f"height_px_{n}"] = np.float32(track.height_px)
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
