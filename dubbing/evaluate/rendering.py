"""Measures 2 and 11: a face is rendered again over itself, from its own shapes or from its own sound.

Mouths of frames within half a second are not used. Two baselines are pasted under the same matte: the mean of the
track's faces, and a random frame. Every picture's mesh is found again, the source's too. Frames stream;
at any time one picture and CANDIDATES small crops are held. It knows no table.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from dubbing import experts, media
from dubbing.analysis.sheet import Sheet, write_sheets
from dubbing.clock import Timeline
from dubbing.errors import StageError
from dubbing.evaluate import pictures
from dubbing.evaluate.hearing import correlation
from dubbing.evaluate.published import Beside
from dubbing.evaluate.session import EvaluatedFilm, Speaker
from dubbing.experts import Expert
from dubbing.face import LIPS, LOWER_FACE, RIGID, canonical, mouth_measures
from dubbing.generators import Generator, Rendered, RenderRequest
from dubbing.mesh import Meshes, MeshTracker, face_boxes
from dubbing.records import Line, Patch

__all__ = ["APART_S", "BorrowsMouths", "Look", "flicker", "lay", "lmd", "matte_in", "render_truth", "similarity"]

APART_S = 0.5
MOST_FRAMES = 250
CANDIDATES = 24
LEAST_S = 1.5
_CPBD_EVERY = 4
_CPBD_ROOM = 0.6
_CPBD_EYE_PX = 70  # between the outer corners of the eyes, as in GRID


@runtime_checkable
class BorrowsMouths(Protocol):
    """A generator that can also render a face again without mouths from nearby frames."""

    def render_apart(self, work: RenderRequest, gap_s: float, *, shapes: bool) -> Iterator[Rendered]:
        """Render with mouths from frames `gap_s` away at least; shapes: the track's own mouth drives, not sound.
        Raises ValueError where no frame is that far away."""
        ...


def _apart(generator: Generator, work: RenderRequest, shapes: bool) -> Iterator[Rendered]:
    """A face rendered again; a generator that borrows no mouths has nothing to keep apart. Raises StageError."""
    if isinstance(generator, BorrowsMouths):
        return iter(generator.render_apart(work, APART_S, shapes=shapes))
    if shapes:
        raise StageError(f"{generator.name} is driven by sound only: it cannot render a given mouth.")
    return iter(generator.render(work))


def render_truth(
    film: EvaluatedFilm, speaker: Speaker, generator: Generator, out: Path, meshes: Meshes,
    expert: Expert | None = None, beside: Beside | None = None,
) -> dict[str, float]:  # fmt: skip
    """Numbers by name: of the result, and `mean_...` and `random_...` of the two mouths beside it. Writes sheet.jpg
    into `out`. expert: drive by the sound instead of by the shapes, and let this one, of those that look at meshes,
    judge the result; beside: shown it beside the source. Raises StageError where the face is seen too shortly."""
    track, line = speaker.track, film.line
    if float(line.time(track.end_frame) - line.time(track.start_frame)) < LEAST_S:
        raise StageError(f"{film.clip.path.name}: {track.id} is shorter than {LEAST_S:g} s.")
    middle = (track.start_frame + track.end_frame) // 2
    a = max(track.start_frame, middle - MOST_FRAMES // 2)
    window = (a, min(track.end_frame, a + MOST_FRAMES))
    size = media.probe(film.video).upright_size
    work = RenderRequest(
        source=film.video, timeline=line, picture_wh=size, track=track,
        lines=(Line(track.id, track.start_frame, track.end_frame),), wave=speaker.wave, speech_N=speaker.speaks_N,
        actor=speaker.actor, window=window,
    )  # fmt: skip
    boxes = face_boxes(track.mesh_NP3, size)
    others = _Others(film.video, line, speaker, boxes, window)
    by = "own shapes" if expert is None else f"own sound, {generator.name}"
    sheet = Sheet(f"{film.clip.id} {track.id} {by}", line, np.linspace(*window, 10).astype(int)[1:-1].tolist())
    look = Look(meshes, ("source", "result", "mean", "random"))
    per_frame: dict[str, list[float]] = defaultdict(list)
    timed = _Timed(_apart(generator, work, shapes=expert is None))
    shown = media.read(film.video, line, *window, threads=1)
    try:
        for n, patch in enumerate(timed):
            picture = next(p for p in shown if p.frame == patch.frame)
            at = patch.frame - track.start_frame
            box = boxes[at]
            before = picture.bgr(box=box)
            local = track.mesh_NP3[at, :, :2] - box[:2]
            alpha = matte_in(patch, box)
            views = {"source": before, "result": media.composite(before, patch, *box[:2])}
            views["mean"] = lay(before, others.mean(local), alpha)
            views["random"] = lay(before, others.random(patch.frame, local), alpha)
            sheet.add(patch.frame, before, views["result"], local)
            found = look.find(views, box)
            if not track.seen_N[at]:
                continue
            if beside is not None:
                beside.add(before, views["result"], local)
            _compare(views, found, local, per_frame, n % _CPBD_EVERY == 0)
    except ValueError as e:
        raise StageError(
            f"{film.clip.path.name}: {track.id} cannot be rendered from frames {APART_S} s away: {e}"
        ) from e
    finally:
        look.close()
    if not per_frame:
        raise StageError(f"{film.clip.path.name}: {track.id} is out of sight.")
    write_sheets(out / "sheet.jpg", [sheet])
    numbers = {name: float(np.median(values)) for name, values in per_frame.items() if values}
    for who in ("", "mean_", "random_"):
        numbers[f"{who}sharpness"] = numbers.pop(f"{who}detail") / max(numbers["source_detail"], 1e-6)
    if "source_cpbd" in numbers and "cpbd" in numbers:
        numbers["cpbd_ratio"] = numbers["cpbd"] / max(numbers["source_cpbd"], 1e-6)
    del numbers["source_detail"]
    numbers["steadiness"] = flicker(look.meshes["result"]) / max(flicker(look.meshes["source"]), 1e-9)
    opening = {
        who: mouth_measures(canonical(np.stack(list(found.values())))[0])["opening"]
        for who, found in look.meshes.items()
        if len(found) >= 6
    }
    for who in ("result", "mean", "random"):
        if who in opening:
            name = "opening_corr" if who == "result" else f"{who}_opening_corr"
            numbers[name] = correlation(opening[who], opening["source"])
    if expert is not None:
        numbers |= _judged(expert, look.meshes, window, film, speaker)
    numbers |= {"render_ms_per_frame": timed.ms_per_frame, "face_px": track.height_px, "frames": timed.frames}
    return numbers


def _judged(
    expert: Expert,
    meshes: dict[str, dict[int, np.ndarray]],
    window: tuple[int, int],
    film: EvaluatedFilm,
    speaker: Speaker,
) -> dict[str, float]:
    """LSE of result and source with the own sound; where a result's mesh was not found, the source's stands for it."""
    first = speaker.track.start_frame
    starts_s = film.line.times_s(*window) - float(film.line.time(first))
    made: dict[str, float] = {}
    for who, name in (("result", ""), ("source", "source_")):
        shown = np.array([meshes[who].get(n, speaker.track.mesh_NP3[window[0] - first + n])
                          for n in range(window[1] - window[0])])  # fmt: skip
        score = experts.score(expert, shown.astype(np.float32), starts_s, speaker.wave)
        if score is not None:
            made |= {f"{name}lse_d": score.d, f"{name}lse_c": score.c, f"{name}offset_frames": score.offset_frames}
    return made


def _compare(
    views: dict[str, np.ndarray], found: dict[str, np.ndarray], local_P2: np.ndarray,
    per_frame: dict[str, list[float]], with_cpbd: bool,
) -> None:  # fmt: skip
    before = views["source"]
    size = (before.shape[1], before.shape[0])
    lips = local_P2[list(LIPS)]
    left, top, right, bottom = pictures.mouth_box(lips, size)
    wide = pictures.mouth_box(lips, size, _CPBD_ROOM)
    eye = float(np.linalg.norm(local_P2[33] - local_P2[263]))
    for who, view in views.items():
        name = "" if who == "result" else f"{who}_"
        part, true = view[top:bottom, left:right], before[top:bottom, left:right]
        per_frame[f"{name}detail"].append(pictures.detail(part))
        if with_cpbd:
            around = _small(view[wide[1] : wide[3], wide[0] : wide[2]], eye)
            for kind, sharp in (("cpbd", pictures.cpbd(around)), ("cpbd_rows", pictures.cpbd(around, rows_only=True))):
                if sharp is not None:
                    per_frame[f"{name}{kind}"].append(sharp)
        if who == "source":
            continue
        per_frame[f"{name}psnr_db"].append(pictures.psnr_db(part, true))
        per_frame[f"{name}ssim"].append(pictures.ssim(part, true))
        if who in found and "source" in found:
            mouth, face = lmd(found[who], found["source"])
            per_frame[f"{name}m_lmd"].append(mouth)
            per_frame[f"{name}f_lmd"].append(face)


def _small(part_HWC: np.ndarray, eye_px: float) -> np.ndarray:
    """A part of a face, shrunk to the size of the literature's faces where it is larger, because CPBD counts pixels."""
    scale = min(1.0, _CPBD_EYE_PX / max(eye_px, 1.0))
    return cv2.resize(part_HWC, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else part_HWC


def lmd(mesh_P3: np.ndarray, true_P3: np.ndarray) -> tuple[float, float]:
    """Mean distance of landmarks in the picture, of the lips and of the face, in the true inter-ocular distance."""
    eye = float(np.linalg.norm(true_P3[33, :2] - true_P3[263, :2]))
    apart = np.linalg.norm(mesh_P3[:, :2] - true_P3[:, :2], axis=-1) / max(eye, 1e-6)
    return float(apart[list(LIPS)].mean()), float(apart[:468].mean())


def flicker(meshes: dict[int, np.ndarray]) -> float:
    """Mean second difference of the lips' points in canonical coordinates, over runs of consecutive frames.

    meshes: frame -> (478, 3). In inter-ocular distances; 0 where no three frames follow each other.
    """
    frames = np.array(sorted(meshes))
    if len(frames) < 3:
        return 0.0
    shape = canonical(np.stack([meshes[int(f)] for f in frames]))[0][:, list(LIPS), :2]
    runs = (frames[2:] - frames[:-2]) == 2
    second = np.linalg.norm(np.diff(shape, 2, axis=0), axis=-1).mean(1)
    return float(second[runs].mean()) if runs.any() else 0.0


class Look:
    """Finds the meshes of several views of one face, frame after frame, each view with a tracker of its own.

    meshes: view -> frame number from 0 -> mesh in pixels of the picture, of the frames found in every view.
    """

    def __init__(self, meshes: Meshes, views: tuple[str, ...]) -> None:
        self._trackers = {name: MeshTracker(meshes) for name in views}
        self.meshes: dict[str, dict[int, np.ndarray]] = {name: {} for name in views}
        self._count = 0

    def find(self, views: dict[str, np.ndarray], box: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
        """Meshes (478, 3) in pixels of the views; a view in which no face is found is left out."""
        found = {name: mesh for name, view in views.items() if (mesh := self._trackers[name].find(view)) is not None}
        if len(found) == len(self._trackers):
            for name, mesh in found.items():
                self.meshes[name][self._count] = mesh + (box[0], box[1], 0)
        self._count += 1
        return found

    def skip(self) -> None:
        """Leave a frame out, so that the next one does not count as following the last one."""
        self._count += 1

    def close(self) -> None:
        for tracker in self._trackers.values():
            tracker.close()


@dataclass
class _Timed:
    """Iterates over patches while it measures the processor time that rendering them takes."""

    rendered: Iterator[Rendered]
    seconds: float = 0.0
    frames: int = 0

    def __iter__(self) -> Iterator[Patch]:
        while True:
            began = time.process_time()
            one = next(self.rendered, None)
            self.seconds += time.process_time() - began
            if one is None:
                return
            self.frames += 1
            yield one.patch

    @property
    def ms_per_frame(self) -> float:
        return 1000 * self.seconds / max(self.frames, 1)


class _Others:
    """The mean face, and some frames to draw from, in the coordinates of the track's middle frame."""

    def __init__(
        self, source: Path, line: Timeline, speaker: Speaker, boxes: list[tuple[int, int, int, int]],
        window: tuple[int, int],
    ) -> None:  # fmt: skip
        track = speaker.track
        eyes = np.linalg.norm(track.mesh_NP3[:, 33, :2] - track.mesh_NP3[:, 263, :2], axis=-1)
        usual = track.mesh_NP3[int(np.argsort(eyes)[len(eyes) // 2]), :, :2].astype(np.float64)
        lower = usual[[*LOWER_FACE, 2, 205, 425]]
        room = 0.25 * float(np.median(eyes))
        corner = np.floor(lower.min(0) - room)
        self._reference = usual - corner
        self._size = tuple(np.ceil(lower.max(0) + room - corner).astype(int).tolist())
        self._times_s = dict(zip(track.frames_N.tolist(), speaker.times_s.tolist(), strict=True))
        self._kept: dict[int, np.ndarray] = {}
        every = max(1, (window[1] - window[0]) // CANDIDATES)
        total = np.zeros((self._size[1], self._size[0], 3), np.float64)
        count = 0
        for picture in media.read(source, line, *window, threads=1):
            at = picture.frame - track.start_frame
            if not track.seen_N[at]:
                continue
            box = boxes[at]
            move = similarity(track.mesh_NP3[at, list(RIGID), :2] - box[:2], self._reference[list(RIGID)])
            crop = cv2.warpAffine(picture.bgr(box=box), move, self._size, borderMode=cv2.BORDER_REPLICATE)
            total += crop
            count += 1
            if (picture.frame - window[0]) % every == 0:
                self._kept[picture.frame] = crop
        self._mean = np.rint(total / max(count, 1)).astype(np.uint8)

    def mean(self, local_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(crop, 2x3 matrix from it to the target's crop)."""
        return self._mean, similarity(self._reference[list(RIGID)], local_P2[list(RIGID)])

    def random(self, frame: int, local_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of a frame at least APART_S away, the same one every time."""
        now = self._times_s[frame]
        far = [f for f in self._kept if abs(self._times_s[f] - now) >= APART_S]
        if not far:
            raise ValueError("no frame is that far away")
        crop = self._kept[far[int(np.random.default_rng(frame).integers(len(far)))]]
        return crop, similarity(self._reference[list(RIGID)], local_P2[list(RIGID)])


def similarity(from_P2: np.ndarray, to_P2: np.ndarray) -> np.ndarray:
    """The turn, size and shift that take one set of points nearest to another, float64 (2, 3)."""
    a, b = (np.asarray(p, np.float64) @ np.array([1, 1j]) for p in (from_P2, to_P2))
    turn = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean())
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def matte_in(patch: Patch, box: tuple[int, int, int, int]) -> np.ndarray:
    """A patch's matte in a crop (x, y, width, height) of the picture, float32 (H, W) 0..1."""
    ones = np.full(patch.bgr_HWC.shape, 255, np.uint8)
    black = np.zeros((box[3], box[2], 3), np.uint8)
    white = Patch(patch.frame, patch.x, patch.y, ones, patch.matte_HW)
    return media.composite(black, white, box[0], box[1])[..., 0].astype(np.float32) / 255


def lay(before_HWC: np.ndarray, other: tuple[np.ndarray, np.ndarray], alpha_HW: np.ndarray) -> np.ndarray:
    """Another face, moved by its matrix, over a picture under a matte."""
    crop, move = other
    size = (before_HWC.shape[1], before_HWC.shape[0])
    moved = cv2.warpAffine(crop, move, size, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones(crop.shape[:2], np.float32), move, size)
    alpha = (alpha_HW * inside)[..., None]
    return np.rint(before_HWC * (1 - alpha) + moved * alpha).astype(np.uint8)
