"""The faces of one shot: tracks and what each looks like, stored compactly once per title.

A track covers every frame from a face's first to its last in the shot; where it was out of sight the mesh is
interpolated linearly and `seen_N` is False, as it is where something lies before the mouth, or the picture's edge cuts
it off (`hidden_N`). Meshes are as measured, never smoothed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from dubbing.analysis.identity import CHIPS, Signature
from dubbing.artifact import Artifact
from dubbing.records import HIDDEN, OCCLUDED, OUT_OF_FRAME, Track

__all__ = [
    "BRIDGE_S", "USABLE_PART", "FaceTracks", "Limits", "TrackSummary", "clear_frames", "facing", "good_frames",
    "hidden_reason", "in_sight", "load_by_track", "load_signatures", "load_tracks", "save_by_track", "save_signatures",
    "save_tracks",
    "size_and_turn", "together", "unfit",
]  # fmt: skip

BRIDGE_S = Fraction(2, 5)
FILE, SIGNATURES = "tracks.npz", "faces.npz"
USABLE_PART = 0.3  # of what a face says
_CHIN, _FOREHEAD = 152, 10  # points of the mesh
_CLEAR_PX = 160.0  # height of a face from which on its mouth is as clear as can be
_CLEAR_DEG, _UNCLEAR_DEG = 15.0, 55.0  # turns of a head up to which it is, and from which on it hardly is
_CHIP_QUALITY = 95
_STEP_PX = 1 / 32  # stored precision of a mesh whose points fit it, else coarser by powers of two


@dataclass(frozen=True)
class TrackSummary:
    """One track in numbers."""

    id: str
    """`shot_0042/face_1`."""
    start_frame: int
    """First frame of the title in which it is."""
    end_frame: int
    """The frame after its last."""
    seen_frames: int
    """Frames in which the mouth was seen."""
    unseen_frames: int
    """Frames that were bridged, or in which the mouth was hidden."""
    face_px: float
    """Median height of the face in pixels."""
    yaw_deg: float
    """Median turn of the head in degrees, positive to the picture's right."""
    occluded_frames: int = 0
    """Frames in which something lay before the mouth."""
    out_of_frame_frames: int = 0
    """Frames in which the picture's edge cut the lips."""


@dataclass(frozen=True)
class FaceTracks(Artifact):
    """The face tracks of one shot, largest face first. Meshes and portraits are files in its folder."""

    schema: ClassVar[str] = "dub.faces.1"
    tracks: tuple[TrackSummary, ...]
    """In the order of `load_tracks`."""


def together(tracks: Sequence[TrackSummary]) -> list[tuple[int, int]]:
    """Pairs of tracks, by place, the later first, that are in the picture at one time: they are two people."""
    return [
        (a, b)
        for a, one in enumerate(tracks)
        for b, other in enumerate(tracks[:a])
        if one.start_frame < other.end_frame and other.start_frame < one.end_frame
    ]


def size_and_turn(track: Track) -> tuple[float, float]:
    """The median height of a face in pixels, and the median turn of its head in degrees where the mouth was seen."""
    seen_N = track.seen_N if track.seen_N.any() else np.ones(len(track.seen_N), bool)
    return round(track.height_px, 1), round(float(np.median(track.yaw_N[seen_N])), 1)


def in_sight(track: Track, rate: Fraction) -> np.ndarray:
    """Frames of a track that may be rendered, bool (N,): where the mouth is seen, and gaps of up to BRIDGE_S in which
    nothing is known to hide it."""
    longest = int(rate * BRIDGE_S)
    usable = track.seen_N.copy()
    at = np.flatnonzero(track.seen_N)
    for a, b in zip(at[:-1], at[1:], strict=True):
        if 1 < b - a <= longest + 1:
            usable[a:b] = True
    return usable & (track.hidden == 0)


def facing(track: Track, max_yaw_deg: float) -> np.ndarray:
    """Frames in which the head is turned no further than that to either side, bool (N,), by the median of five, so that
    a head that stays near the limit does not come and go."""
    padded = np.pad(np.abs(track.yaw_N).astype(np.float32), 2, "edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1) <= max_yaw_deg)


def hidden_reason(track: Track, here_N: np.ndarray) -> str:
    """Why a mouth is not in sight in most of some frames, bool (N,): a reason code."""
    codes = track.hidden[here_N]
    return HIDDEN[OUT_OF_FRAME if (codes == OUT_OF_FRAME).sum() > (codes == OCCLUDED).sum() else OCCLUDED]


@dataclass(frozen=True)
class Limits:
    """The limits within which a face may be dubbed."""

    min_face_px: float
    """Least height of the face in pixels."""
    max_yaw_deg: float
    """Most turn of the head, to either side."""


def unfit(track: Track, says_N: np.ndarray, rate: Fraction, limits: Limits) -> str | None:
    """Why a face that speaks cannot be dubbed, a reason code of `dub.shot.1`; None where it can.

    says_N: the frames of the track in which it speaks, bool (N,), at least one of them.
    """
    if track.height_px < limits.min_face_px:
        return "too_small"
    seen = in_sight(track, rate)[says_N]
    if float(seen.mean()) < USABLE_PART:
        return hidden_reason(track, says_N)
    turned_in = facing(track, limits.max_yaw_deg)[says_N]
    return "profile" if float((seen & turned_in).mean()) < USABLE_PART else None


def good_frames(track: Track, count: int) -> list[int]:
    """Numbers of up to `count` frames of the title that show a face well: in sight, spread over the track, each the one
    that looks most straight ahead in its part; in order, none twice."""
    seen = np.flatnonzero(track.seen_N)
    parts = np.array_split(seen, max(1, min(count, len(seen))))
    best = [int(part[np.argmin(np.abs(track.yaw_N[part]))]) for part in parts if len(part)]
    return [track.start_frame + n for n in best]


def clear_frames(track: Track) -> np.ndarray:
    """How clearly the mouth is seen in each frame of a track, float64 (N,): 0 where it is not, 1 where a large face
    looks straight ahead."""
    height_N = np.linalg.norm(track.mesh_NP3[:, _CHIN, :2] - track.mesh_NP3[:, _FOREHEAD, :2], axis=-1)
    size_N = np.clip(height_N / _CLEAR_PX, 0.1, 1)
    turn_N = np.clip(1 - (np.abs(track.yaw_N.astype(np.float64)) - _CLEAR_DEG) / (_UNCLEAR_DEG - _CLEAR_DEG), 0.1, 1)
    return np.where(track.seen_N, np.round(size_N * turn_N, 6), 0.0)


def save_signatures(folder: Path | str, signatures: list[Signature]) -> None:
    """Write `faces.npz`: what each track looks like, in the tracks' order."""
    data: dict[str, np.ndarray] = {"count": np.array(len(signatures))}
    for n, one in enumerate(signatures, 1):
        data[f"portrait_{n}"] = np.clip(np.rint(one.portrait_HWC), 0, 255).astype(np.uint8)
        data[f"shape_{n}"] = one.shape_P3.astype(np.float32)
        data[f"frames_{n}"] = np.array(one.frames)
        for k, chip_HWC in enumerate(one.chips, 1):
            done, jpeg = cv2.imencode(
                ".jpg", cv2.cvtColor(chip_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _CHIP_QUALITY]
            )
            assert done
            data[f"chip_{n}_{k}"] = jpeg.ravel()
    np.savez_compressed(Path(folder) / SIGNATURES, **data)


def load_signatures(folder: Path | str) -> list[Signature]:
    """The signatures of a finished result, in the order of `load_tracks`."""
    with np.load(Path(folder) / SIGNATURES) as data:
        return [
            Signature(
                data[f"portrait_{n}"].astype(np.float32), data[f"shape_{n}"], int(data[f"frames_{n}"]),
                tuple(
                    cv2.cvtColor(cv2.imdecode(data[f"chip_{n}_{k}"], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
                    for k in range(1, CHIPS + 1) if f"chip_{n}_{k}" in data
                ),
            )
            for n in range(1, int(data["count"]) + 1)
        ]  # fmt: skip


def save_by_track(file: Path, found: Mapping[str, np.ndarray]) -> None:
    """Write one array for each track id."""
    np.savez(file, **found)


def load_by_track(file: Path) -> dict[str, np.ndarray]:
    """What `save_by_track` wrote."""
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


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
        data[f"hidden_{n}"] = track.hidden
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
                    hidden_N=data[f"hidden_{n}"],
                )
            )
    return tracks
