"""Long shots, and long films, in windows: where they are cut, and how a face that was followed in several becomes one
track.

A shot of more than WINDOW_FRAMES is worked on window by window, by several workers at once, and joined. Faces are
followed a little beyond their window, so that neighbours share frames by which a face is known again; what is
rendered does not depend on windows at all. A film's windows are for its masters, and others for its cuts, which are
looked for before anything of it is known but its file's index. What is done for each person of a title is shared out by
people. It knows no task and no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np

from dubbing.analysis.identity import Signature, spread_out
from dubbing.analysis.tracker import box_of
from dubbing.face import height_px, yaw_deg
from dubbing.media import FilmSpan
from dubbing.mesh import overlap
from dubbing.records import Track

__all__ = [
    "OVERLAP_FRAMES", "WINDOW_FRAMES", "continue_faces", "film_windows", "is_scanned_in_windows", "join_tracks",
    "people_in_parts", "scan_windows", "shared_out", "windows",
]  # fmt: skip

T = TypeVar("T")

WINDOW_FRAMES = 1440  # a minute at 24 frames a second
OVERLAP_FRAMES = 48
FILM_S = 10.0  # shorter windows leave fewer slots idle while the last are made, longer ones decode less twice
_TASKS = 4  # as many as that share the people of a title, or one does it
SCAN_FROM_S = 600.0  # a shorter film is looked through by one task, whose decoder uses all cores
SCAN_S = 120.0  # of a window: the more, the less is decoded twice
LEAD_S = 5.0  # decoded before a window: more than finders of cuts and mixes remember
_REORDERED = 32  # pictures may be shown before a key frame that lie after it in the file
_SAME_FACE = 0.4  # overlap of boxes in the frames that two windows share


def windows(start: int, end: int) -> list[tuple[int, int]]:
    """Equal parts [a, b) of a shot, at most WINDOW_FRAMES each; the whole alone where it is short enough."""
    count = max(1, -(-(end - start) // WINDOW_FRAMES))
    edges = np.linspace(start, end, count + 1).round().astype(int).tolist()
    return list(zip(edges[:-1], edges[1:], strict=True))


def film_windows(starts: Iterable[int], end: int, rate: Fraction) -> list[tuple[int, int]]:
    """Parts [a, b) of a film of `end` frames whose pictures are made by themselves. Each begins where a shot does that
    is FILM_S or more after the part before, and at twice that where none begins. starts: first frames of shots, in
    order. A film that is no longer than three times FILM_S is one part; the last is not shorter than half of it."""
    least = max(1, round(FILM_S * rate))
    edges = [0]
    if end > 3 * least:
        for start in (*starts, end):
            while start - edges[-1] > 2 * least:
                edges.append(edges[-1] + 2 * least)
            if start - edges[-1] >= least and start < end:
                edges.append(start)
        if end - edges[-1] < least / 2:
            del edges[-1]
    return list(zip(edges, [*edges[1:], end], strict=True))


def people_in_parts(frames: Mapping[int, int], least: Fraction | float) -> list[tuple[int, ...]]:
    """The people that a task works on, for each of several tasks; none where there is too little for _TASKS of them.

    frames: how much work each of them is, by number. Who is `least` or more has a task alone; of the others so many
    share one that together they are as much, but for the last.
    """
    if sum(frames.values()) < _TASKS * least:
        return []
    parts: list[tuple[int, ...]] = []
    together: list[int] = []
    for one in sorted(frames, key=lambda n: (-frames[n], n)):
        together.append(one)
        if sum(frames[n] for n in together) >= least:
            parts.append(tuple(sorted(together)))
            together = []
    parts += [tuple(sorted(together))] if together else []
    return parts if len(parts) > 1 else []


def shared_out(
    parts: Sequence[tuple[int, ...]], frames: Mapping[int, int], end: int
) -> list[tuple[tuple[int, ...], int]]:  # fmt: skip
    """Each of these parts with its share of the `end` frames of a film, which tells what it costs."""
    edges = [0, *accumulate(sum(frames[n] for n in part) for part in parts)]
    at = [round(end * edge / max(1, edges[-1])) for edge in edges]
    return [(part, b - a) for part, a, b in zip(parts, at[:-1], at[1:], strict=True)]


def is_scanned_in_windows(frames: int, rate: Fraction) -> bool:
    """Whether a film of so many frames is long enough for `scan_windows`."""
    return frames >= SCAN_FROM_S * rate


def scan_windows(keys: Sequence[tuple[int, int]], frames: int, rate: Fraction) -> list[FilmSpan]:
    """The windows in which cuts and mixes of a film are looked for; none where one task does it. Each begins with the
    first key frame that is SCAN_S or more after the one before, and is decoded from one that is LEAD_S before it but
    not before the window before. keys: as of `media.key_frames`; frames: of the film, as its header promises them."""
    if not keys or not is_scanned_in_windows(frames, rate):
        return []
    least, ahead = max(1, round(SCAN_S * rate)), round(LEAD_S * rate) + _REORDERED
    begin: list[tuple[int, int]] = []  # of each window but the first, the key frames of its lead and of itself
    edge = lead = 0
    for n, (_, number) in enumerate(keys):
        if number - edge < least or frames - number < least / 2:
            continue
        while lead + 1 < n and keys[lead + 1][1] <= number - ahead:
            lead += 1
        if max(edge, 1) <= keys[lead][1] <= number - ahead:
            begin.append((lead, n))
            edge = number
    edges = [0, *(keys[n][1] for _, n in begin), frames]
    found = []
    for n, (a, b) in enumerate(pairwise(edges)):
        own = begin[n - 1] if n else None
        after = begin[n] if n < len(begin) else None
        found.append(
            FilmSpan(
                a, b, None if own is None else keys[own[0]][0], 0 if own is None else keys[own[0]][1],
                None if own is None else keys[own[1]][0], None if after is None else keys[after[0]][0],
                None if after is None else keys[after[1]][0],
            )
        )  # fmt: skip
    return found if begin else []


def continue_faces(faces: list[list[T]], found: Sequence[T], track: Callable[[T], Track]) -> None:
    """Append what was found in the next window to the faces that it continues, and begin new faces with the rest.

    faces: the pieces of each so far, changed in place; track: gives the track of a piece. Only the meshes' boxes count.
    """
    free = list(faces)
    for piece in found:
        shares = [(_shared(track(face[-1]), track(piece)), n) for n, face in enumerate(free)]
        best, n = max(shares, default=(0.0, -1))
        if best > _SAME_FACE:
            free.pop(n).append(piece)
        else:
            faces.append([piece])


def _shared(a: Track, b: Track) -> float:
    """How well two tracks' boxes overlap in the frames that both have, 0..1."""
    _, in_a, in_b = np.intersect1d(a.frames_N, b.frames_N, return_indices=True)
    boxes = [(box_of(a.mesh_NP3[i]), box_of(b.mesh_NP3[j])) for i, j in zip(in_a, in_b, strict=True)]
    return float(np.mean([overlap(x, y) for x, y in boxes])) if boxes else 0.0


def join_tracks(parts: Sequence[Sequence[tuple[Track, Signature]]], shot_id: str) -> list[tuple[Track, Signature]]:
    """The faces of a shot from those of its windows, which overlap: largest first, named anew."""
    faces: list[list[tuple[Track, Signature]]] = []
    for part in parts:
        continue_faces(faces, part, lambda piece: piece[0])
    joined = [(_one([t for t, _ in face]), _look([s for _, s in face])) for face in faces]
    joined.sort(key=lambda pair: (-pair[0].height_px, pair[0].start_frame))
    return [(replace(t, id=f"{shot_id}/face_{n}"), s) for n, (t, s) in enumerate(joined, 1)]


def _one(pieces: Sequence[Track]) -> Track:
    """One track of several that overlap, each used up to the middle of the frames that it shares with the next."""
    mesh, seen, frames, hidden = [], [], [], []
    start = pieces[0].start_frame
    for n, piece in enumerate(pieces):
        last = n + 1 == len(pieces)
        end = piece.end_frame if last else (pieces[n + 1].start_frame + piece.end_frame) // 2
        at = slice(start - piece.start_frame, end - piece.start_frame)
        mesh.append(piece.mesh_NP3[at])
        seen.append(piece.seen_N[at])
        hidden.append(piece.hidden[at])
        frames.append(piece.frames_N[at])
        start = end
    mesh_NP3 = np.concatenate(mesh)
    seen_N = np.concatenate(seen)
    height = height_px(mesh_NP3[seen_N] if seen_N.any() else mesh_NP3)
    frames_N, hidden_N = np.concatenate(frames), np.concatenate(hidden)
    return Track("", frames_N, mesh_NP3, seen_N, yaw_deg(mesh_NP3), height, hidden_N)


def _look(signatures: Sequence[Signature]) -> Signature:
    """One signature of a face: the mean over windows, weighted by how often the face was seen in each."""
    weights = np.array([max(s.frames, 1) for s in signatures], np.float64)
    weights /= weights.sum()
    picture = sum(w * s.portrait_HWC for w, s in zip(weights, signatures, strict=True))
    shape = sum(w * s.shape_P3 for w, s in zip(weights, signatures, strict=True))
    chips = spread_out([chip for s in signatures for chip in s.chips])
    return Signature(np.asarray(picture, np.float32), np.asarray(shape), sum(s.frames for s in signatures), chips)
