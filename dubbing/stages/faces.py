"""The faces of one shot: found, followed, measured, and stored compactly once per title.

What a track is: `dubbing.artifacts.tracks`. Where the picture is mixed with another's, no face is looked for: a track
ends before a dissolve or a fade, and what comes after it is another. This stage knows nothing of sound, nor of who is
who.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.analysis.held import Held, letters_over
from dubbing.analysis.identity import Signature, proportions
from dubbing.analysis.mixes import mixed_in
from dubbing.analysis.occluders import covered_frames, lips_outside, unlike
from dubbing.analysis.tracker import Follower, Found
from dubbing.analysis.windows import OVERLAP_FRAMES, join_tracks
from dubbing.artifact import File, Ref
from dubbing.artifacts.overlays import save_letters
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import (
    BRIDGE_S,
    FaceTracks,
    TrackSummary,
    load_signatures,
    load_tracks,
    save_signatures,
    save_tracks,
)
from dubbing.clock import Timeline, mask_of
from dubbing.face import height_px, yaw_deg
from dubbing.mesh import Detector, Hands, Meshes
from dubbing.records import OCCLUDED, OUT_OF_FRAME, Shot, Track
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Windowed, uncounted

__all__ = ["HELD_BYTES", "Faces", "FacesInputs", "track_of"]

_COVERED = 0.2  # part of the mouth behind a hand from which on it counts as covered
_SEARCH_S = Fraction(1, 5)
HELD_BYTES = 400_000_000  # of decoded pictures: in 4K 4:2:2 of 10 bits those of 60 frames a second just fit


@dataclass(frozen=True)
class FacesInputs(Windowed):
    """The inputs of the stage `faces`."""

    film: File
    """The film."""
    number: int
    """The shot's number, which names its tracks."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames")
    """The film's frames in time."""
    squared: bool | None = None
    """True where meshes are in square pixels and the film's own are not; None where its own are."""
    mixes: tuple[tuple[int, int], ...] | None = None
    """Frames [start, end) of the shot that show two scenes at once, where there are any."""
    letters: bool = uncounted("they are found again where they were not looked for", default=False)
    """Whether letters over the faces are looked for too, while the pictures are here."""


class Faces(Stage[FacesInputs, FaceTracks]):
    """The face tracks of one shot."""

    name: ClassVar[str] = "faces"
    version = 5
    scope = Scope.SHOT
    resources = Resources(cpus=1.0, memory_mb=1000, picture_mb=12)
    bad_input_costs = "shot"
    chain_ms = 80.0

    @classmethod
    def inputs(cls, at: Place) -> FacesInputs:
        shot = at.shot
        return FacesInputs(
            shot.start_frame, shot.end_frame, at.film, shot.number, at.ref(ShotList),
            None if at.square_pixels else True,
            mixed_in(at.result(ShotList).mixes, shot.start_frame, shot.end_frame) or None, at.made_of is None,
        )  # fmt: skip

    def setup(self) -> None:
        self._detector = Detector()
        self._meshes = Meshes()
        self._hands = Hands()

    def process(self, inputs: FacesInputs, out: Path, progress: Callable[[int], None]) -> FaceTracks:
        shot = Shot(inputs.number, inputs.start, inputs.end)
        if inputs.parts is not None:
            seen = [list(zip(load_tracks(p.folder), load_signatures(p.folder), strict=True)) for p in inputs.parts]
            return _saved(out, join_tracks(seen, shot.id))
        a, b = inputs.bounds
        around = OVERLAP_FRAMES if inputs.window else 0
        start, end = max(shot.start_frame, a - around), min(shot.end_frame, b + around)
        film = media.load_timeline(inputs.timeline.folder)
        if not inputs.letters or inputs.window:
            tracks, _ = self._tracks(inputs, film, start, end, None, progress)
            return _saved(out, tracks)
        with Held(out, float(film.rate)) as held:
            tracks, size = self._tracks(inputs, film, start, end, held, progress)
            saved = _saved(out, tracks)
            save_letters(out, letters_over(load_tracks(out), held, size, float(film.rate)))
            return saved

    def _tracks(
        self, inputs: FacesInputs, film: Timeline, start: int, end: int, held: Held | None,
        progress: Callable[[int], None],
    ) -> tuple[list[tuple[Track, Signature]], tuple[int, int]]:  # fmt: skip
        """The faces in frames [start, end), largest first, and the size of the picture."""
        a, b = inputs.bounds
        follower: Follower | None = None
        found: list[Found] = []
        mixed_N = mask_of(inputs.mixes or (), start, end)
        shown = held.hold if held is not None else None
        for picture in media.read(inputs.film.path, film, start, end, threads=1):
            if a <= picture.frame < b:
                progress(1)
            if mixed_N[picture.frame - start]:
                found += follower.finish() if follower else []
                follower = None
                continue
            if follower is None:
                patience = int(film.rate * BRIDGE_S)
                # a search looks back at the pictures since the last one, which are held
                every = max(2, min(round(film.rate * _SEARCH_S), 1 + HELD_BYTES // picture.size_bytes))
                follower = Follower(self._detector, self._meshes, self._hands, picture.size, every, patience, shown)
            follower.step(picture)
        found += follower.finish() if follower else []
        size, shot = picture.size, Shot(inputs.number, inputs.start, inputs.end)
        tracks = [(track_of(f"{shot.id}/face_{n}", f, size), f) for n, f in enumerate(_ordered(found), 1)]
        return [(track, _signature(f, track)) for track, f in tracks], size

    def close(self) -> None:
        self._detector.close()
        self._meshes.close()
        self._hands.close()


def _saved(out: Path, faces: list[tuple[Track, Signature]]) -> FaceTracks:
    save_tracks(out, [track for track, _ in faces])
    save_signatures(out, [signature for _, signature in faces])
    return FaceTracks(tuple(_summary(track) for track, _ in faces))


def _summary(track: Track) -> TrackSummary:
    seen = int(track.seen_N.sum())
    return TrackSummary(
        id=track.id, start_frame=track.start_frame, end_frame=track.end_frame, seen_frames=seen,
        unseen_frames=len(track.frames_N) - seen, face_px=round(track.height_px, 1),
        yaw_deg=round(float(np.median(track.yaw_N)), 1), occluded_frames=int((track.hidden == OCCLUDED).sum()),
        out_of_frame_frames=int((track.hidden == OUT_OF_FRAME).sum()),
    )  # fmt: skip


def _height_px(face: Found) -> float:
    return height_px(np.stack([*face.meshes.values()]))


def _ordered(found: list[Found]) -> list[Found]:
    """Largest first, then the one that appears first."""
    return sorted(found, key=lambda f: (-_height_px(f), min(f.meshes)))


def track_of(name: str, found: Found, picture_wh: tuple[int, int]) -> Track:
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
    hidden = np.zeros(len(frames), np.uint8)
    skins = np.stack([found.skins[int(f)] for f in met])
    hidden[_behind_hand(found, frames) | covered_frames(unlike(skins, meshes, picture_wh), met)] = OCCLUDED
    hidden[lips_outside(mesh, picture_wh)] = OUT_OF_FRAME
    return Track(name, frames, mesh, seen & (hidden == 0), yaw_deg(mesh), _height_px(found), hidden)


def _behind_hand(found: Found, frames: np.ndarray) -> np.ndarray:
    """Frames in which a hand lies before the mouth, bool (N,): two of three looks running must say so."""
    at = np.array(sorted(found.cover), np.int64)
    covered = np.zeros(len(frames), bool)
    if len(at) < 3:
        return covered
    cover = np.array([found.cover[int(f)] for f in at])
    middle = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(cover, 1, "edge"), 3), axis=1)
    edges = np.concatenate([[frames[0]], (at[:-1] + at[1:] + 1) // 2, [frames[-1] + 1]])
    room = int(np.diff(at).min()) // 2 + 1  # a look says little of when between two of them it began
    for n in np.flatnonzero(middle > _COVERED):
        covered |= (frames >= edges[n] - room) & (frames < edges[n + 1] + room)
    return covered


def _signature(found: Found, track: Track) -> Signature:
    meshes = np.stack([found.meshes[f] for f in sorted(found.meshes)])
    frontal = np.abs(yaw_deg(meshes)) < 30.0
    picture = (found.portrait_HWC / max(found.portraits, 1)).astype(np.float32)
    chips = found.chips.best(set(track.frames_N[track.seen_N].tolist()) & found.meshes.keys())
    return Signature(picture, proportions(meshes[frontal] if frontal.any() else meshes), found.portraits, chips)
