"""What contracts are tried on: a drawn face that speaks, as meshes and as a film, and a voice. The same every time.

Nobody's face: an ellipse with the mesh's points where they roughly lie on a face, in a picture of soft noise.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.face import INNER_LIPS, JAW, OUTER_LIPS, RIGID, yaw_deg
from dubbing.generators import RenderRequest
from dubbing.records import Line, Track
from dubbing.sound import RATE_HZ

__all__ = ["LEAD", "RATE", "SIZE_WH", "face", "openings", "request", "track", "voice", "write_film"]

SIZE_WH = (320, 320)
RATE = Fraction(25)
LEAD = 3  # frames of the film before the face is seen: frame numbers are no indices into a track
_EYE_PX = 100.0  # between the outer corners of the eyes
# x, y, z of some points in inter-ocular distances, the middle of the eyes at 0
_KNOWN = {
    33: (-0.5, 0, 0), 263: (0.5, 0, 0), 133: (-0.18, 0.01, -0.05), 362: (0.18, 0.01, -0.05), 10: (0, -0.85, -0.05),
    338: (0.2, -0.82, -0.03), 109: (-0.2, -0.82, -0.03), 162: (-0.78, -0.3, 0.4), 389: (0.78, -0.3, 0.4),
    127: (-0.8, 0, 0.45), 356: (0.8, 0, 0.45), 234: (-0.78, 0.2, 0.5), 454: (0.78, 0.2, 0.5),
    93: (-0.76, 0.35, 0.48), 323: (0.76, 0.35, 0.48), 168: (0, 0, -0.15), 6: (0, 0.08, -0.2), 197: (0, 0.2, -0.28),
    195: (0, 0.3, -0.34), 5: (0, 0.4, -0.4), 4: (0, 0.48, -0.42), 1: (0, 0.52, -0.42), 2: (0, 0.6, -0.3),
    19: (0, 0.56, -0.38), 8: (0, -0.08, -0.12), 64: (-0.17, 0.53, -0.25), 294: (0.17, 0.53, -0.25),
    70: (-0.6, -0.22, 0.1), 63: (-0.52, -0.29, 0), 105: (-0.4, -0.32, -0.05), 66: (-0.26, -0.31, -0.1),
    107: (-0.12, -0.27, -0.12), 336: (0.12, -0.27, -0.12), 296: (0.26, -0.31, -0.1), 334: (0.4, -0.32, -0.05),
    293: (0.52, -0.29, 0), 300: (0.6, -0.22, 0.1),
}  # fmt: skip


def openings(count: int) -> np.ndarray:
    """How far a mouth stands open in each of `count` frames, float64 (count,), 0..1: syllables with pauses."""
    at = np.arange(count)
    return np.where(at % 20 < 14, np.abs(np.sin(at * 0.45)), 0.0)


def voice(opening_N: np.ndarray, rate: Fraction = RATE) -> np.ndarray:
    """A buzz as loud and as bright as the mouth is open, with a breath of noise, float32 mono 16 kHz, 0.5 at most."""
    count = int(len(opening_N) / rate * RATE_HZ)
    clock = np.arange(count) / RATE_HZ
    loud = np.interp(clock * float(rate), np.arange(len(opening_N)) + 0.5, opening_N)
    tones = sum(np.exp(-(((k * 120 - 300 - 500 * loud) / 200) ** 2)) * np.sin(2 * np.pi * k * 120 * clock)
                for k in range(1, 30))  # fmt: skip
    noise = np.random.default_rng(1).normal(0, 0.001, count)
    return np.clip(0.2 * loud * tones + noise, -0.5, 0.5).astype(np.float32)


def face(opening_N: np.ndarray) -> np.ndarray:
    """Meshes of a face whose mouth opens, drifting slowly to the right, float32 (N, 478, 3) pixels of SIZE_WH."""
    rng = np.random.default_rng(0)
    still = rng.uniform(-1, 1, (478, 3)) * (0.5, 0.35, 0.05) - (0, 0.35, 0.05)  # somewhere between brows and nose
    still[list(RIGID)] = rng.uniform(-1, 1, (len(RIGID), 3)) * (0.15, 0.3, 0.1) + (0, 0.2, -0.2)
    for point, known in _KNOWN.items():
        still[point] = known
    mesh = np.repeat(still[None], len(opening_N), 0)
    gap = 0.2 * np.asarray(opening_N)[:, None]
    for ring, wide, thick in ((OUTER_LIPS, 0.3, 0.09), (INNER_LIPS, 0.25, 0.0)):
        angle = np.pi * np.concatenate([1 - np.arange(11) / 10, -(np.arange(1, 10)) / 10])
        up = np.sin(angle)
        mesh[:, ring, 0] = wide * np.cos(angle) * (1 - 0.1 * gap)
        mesh[:, ring, 1] = 0.8 - up * thick + np.where(up < 0, -up * gap, -up * 0.15 * gap)
        mesh[:, ring, 2] = -0.25 + 0.2 * np.abs(np.cos(angle))
    for place, point in enumerate(JAW):
        across = np.cos(np.pi * place / 16) if place < 17 else 0.25 * np.sin(place)
        mesh[:, point] = (
            -0.7 * across,
            (1.3 if place < 17 else 1.15) - 0.75 * abs(across) ** 3,
            0.4 * abs(across) - 0.1,
        )
        mesh[:, point, 1] += 0.7 * gap[:, 0] * (1 - abs(across))
    mesh = mesh * _EYE_PX + (SIZE_WH[0] / 2 - 10, SIZE_WH[1] * 0.42, 0)
    mesh[..., 0] += 0.25 * np.arange(len(mesh))[:, None] % 40
    return mesh.astype(np.float32)


def track(count: int) -> Track:
    """The face over `count` frames, from frame LEAD of the film on."""
    mesh_NP3 = face(openings(count))
    frames_N = np.arange(LEAD, LEAD + count, dtype=np.int32)
    height_px = float(np.ptp(mesh_NP3[..., 1], axis=1).max())
    return Track("shot_0001/face_1", frames_N, mesh_NP3, np.ones(count, bool), yaw_deg(mesh_NP3), height_px)


def write_film(path: Path, one: Track, frames: int | None = None) -> None:
    """A film without sound of that face, as long as the track ends, or of its first `frames` pictures only."""
    rng = np.random.default_rng(2)
    ground = cv2.GaussianBlur(rng.integers(60, 160, (*SIZE_WH[::-1], 3), np.uint8), (0, 0), 2)
    with media.ClipWriter(path, *SIZE_WH, RATE, crf=8) as clip:
        for frame in range(one.end_frame if frames is None else frames):
            picture = ground.copy()
            points = np.rint(one.mesh_NP3[max(0, frame - LEAD), :, :2]).astype(np.int32)
            skin = np.zeros(SIZE_WH[::-1], np.uint8)
            cv2.fillConvexPoly(skin, cv2.convexHull(points), 255)
            picture[skin > 0] = ground[skin > 0] // 3 + np.array([90, 110, 150], np.uint8)
            for eye in (33, 263):
                cv2.circle(picture, points[eye].tolist(), 6, (40, 40, 40), -1)
            cv2.fillPoly(picture, [points[list(OUTER_LIPS)]], (90, 80, 170))
            cv2.fillPoly(picture, [points[list(INNER_LIPS)]], (30, 20, 40))
            clip.frame(picture)


def request(folder: Path, count: int) -> RenderRequest:
    """Work on a film written into `folder`: two lines with a gap between, the second to the track's end.

    count: frames of the track, 24 at least.
    """
    one = track(count)
    path = folder / "film.mp4"
    write_film(path, one)
    first, last = one.start_frame, one.end_frame
    lines = (Line(one.id, first + 2, first + 10), Line(one.id, first + 14, last))
    speech_N = np.ones(count, bool)
    return RenderRequest(path, media.timeline(path), SIZE_WH, one, lines, voice(openings(count)), speech_N, None)
