"""A film whose frames carry their numbers as bars, cut into shots with takes that carry them too: what a review reads.

The upper strip of every frame is its number in BITS black or white bars; the middle strip is grey in the source, and in
a take the frame's number plus the take's own OFFSETS. A click in each sound marks one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from made import put

from dubbing import media
from dubbing.artifacts.takes import Take as Rendered
from dubbing.artifacts.takes import TakeFace
from dubbing.artifacts.tracks import save_tracks
from dubbing.clock import Timeline
from dubbing.decisions import Standing
from dubbing.errors import InputError
from dubbing.job import Step
from dubbing.manifest import Dub, Title
from dubbing.records import Patch, Shot, Track
from dubbing.review.library import Shown
from dubbing.review.takes import Take
from dubbing.stages.faces import Faces
from dubbing.stages.lipsync import Lipsync
from dubbing.stages.sync import Sync
from dubbing.task import Inputs, Task

BITS = 11
OFFSETS = {"aaaaaaaaaaaa": 512, "bbbbbbbbbbbb": 1024}
CURRENT, OTHER = OFFSETS
GREY = 120


def bars(number: int, width: int, height: int) -> np.ndarray:
    """uint8 (H, W, 3)."""
    bits = [(number >> k) & 1 for k in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8), -(-width // BITS))[:width] * 255
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2)


def number(strip_HWC: np.ndarray) -> int | None:
    """The number in a strip, None where it has no bars."""
    luma = strip_HWC.mean(2)
    width = luma.shape[1]
    step = -(-width // BITS) if width % BITS else width // BITS
    middle = luma[luma.shape[0] // 2]
    at = [middle[min(width - 1, int((k + 0.5) * step * width / (step * BITS)))] for k in range(BITS)]
    if any(60 < v < 195 for v in at):
        return None
    return sum((v > 127) << k for k, v in enumerate(at))


@dataclass
class NumberedFilm:
    """A film on disk with what a library says of it."""

    out: Path
    shots: list[Shot]
    line: Timeline
    shown: dict[str, Shown] = field(default_factory=dict)

    @property
    def store(self) -> Any:
        return SimpleNamespace(local=Path)

    def job(self, *_: str) -> Any:
        return SimpleNamespace(shots=lambda title: self.shots, film=lambda title: Path(title.video))

    def find(self, title: str, language: str, shot: str) -> Shown:
        if shot not in self.shown:
            raise InputError(f"no {shot}")
        return self.shown[shot]


def click(line: Timeline, frame: int | None, level: float) -> np.ndarray:
    """48 kHz mono of the film's length: quiet noise and a click as long as 5 ms from a frame's start."""
    wave = np.random.default_rng(1).normal(0, 1e-4, line.sample(len(line), 48_000)).astype(np.float32)
    if frame is not None:
        at = line.sample(frame, 48_000)
        wave[at : at + 240] += level
    return wave


def make(
    folder: Path, *, cuts: tuple[int, ...] = (0, 40, 60, 100), size: tuple[int, int] = (352, 288),
    name: str = "film.mp4", rate: Fraction = Fraction(24000, 1001), steps: list[int] | None = None, sound: bool = True,
    clicks: tuple[int, int] = (50, 56), rotation_deg: int = 0, face_px: float = 90.0, **writer: Any,
) -> NumberedFilm:  # fmt: skip
    """A film of `cuts[-1]` frames. size: as coded; steps: ticks of 1 ms from frame to frame, for a variable rate;
    clicks: frames at which the source's and the dub's sound click; every shot has takes CURRENT and OTHER."""
    folder.mkdir(parents=True, exist_ok=True)
    count = cuts[-1]
    upright = size[::-1] if rotation_deg in (90, 270) else size
    base = Fraction(1, 1000) if steps else 1 / rate
    pts = np.concatenate([[0], np.cumsum(steps or [1] * count)])
    line = Timeline(pts[:-1], base, int(pts[-1]), rate)
    file = folder / name
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (upright[1], upright[0], 3), dtype=np.uint8)
    strip = upright[1] // 4 // 2 * 2
    writer = {"crf": 8, "time_base": base, "rotation_deg": rotation_deg, **writer}
    with media.ClipWriter(file, *size, rate, sample_rate_hz=48_000 if sound else None, channels=1, **writer) as made:
        for n in range(count):
            picture = noise + np.uint8(60)
            picture[:strip] = bars(n, upright[0], strip)
            picture[strip : 2 * strip] = GREY
            made.frame(np.rot90(picture, rotation_deg // 90), int(pts[n]))
        if sound:
            made.sound(click(line, clicks[0], 0.5))
    with media.ClipWriter(folder / "dub.flac", sample_rate_hz=48_000, channels=1) as made:
        made.sound(click(line, clicks[1], 0.5))
    line = media.timeline(file)
    shots = [Shot(i + 1, a, b) for i, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True))]
    library = NumberedFilm(folder / "out", shots, line)
    title = Title(id="film", video=file, dubs=[Dub(language="fr", audio=folder / "dub.flac")])
    for shot in shots:
        library.shown[shot.id] = _shown(library, title, shot, upright, strip, face_px)
    return library


def _shown(library: NumberedFilm, title: Title, shot: Shot, size: tuple[int, int], strip: int, face_px: float) -> Shown:
    faces = library.out / "faces" / shot.id
    faces.mkdir(parents=True)
    frames = np.arange(shot.start_frame + 2, shot.end_frame, dtype=np.int32)
    rng = np.random.default_rng(shot.number)
    drift = np.linspace(0, 24, len(frames))[:, None] * (1, 0.5)
    mesh = np.zeros((len(frames), 478, 3), np.float32)
    shape = rng.uniform(-0.5, 0.5, (478, 2)) * (0.8 * face_px, face_px)
    mesh[..., :2] = shape + (np.array(size) * (0.4, 0.6) + drift + rng.normal(0, 0.8, drift.shape))[:, None]
    ones = np.ones(len(frames), bool)
    track = Track(f"{shot.id}/face_1", frames, mesh, ones, np.zeros(len(frames), np.float32), face_px)
    save_tracks(faces, [track])
    takes = tuple(_take(library, shot, track.id, take, size[0] // 2 * 2, strip) for take in OFFSETS)
    key = f"{CURRENT}{shot.number:04d}"
    step = Step(
        shot, Task(Faces, f"faces{title.video}{shot.id}", faces, Inputs(), title.id, shot=shot.id),
        Task(Lipsync, key, takes[0].folder, Inputs(), title.id, "fr", shot.id),
        Task(Sync, key, takes[0].folder.parent / "score", Inputs(), title.id, "fr", shot.id), Standing(),
        Path(title.video), sound=Path(), source_sound=None,
    )  # fmt: skip
    return Shown(title, title.dubs[0], step, library.line, {"face": track.id}, Standing(), takes)


def _take(library: NumberedFilm, shot: Shot, track: str, take: str, width: int, height: int) -> Take:
    folder = library.out / "takes" / shot.id / take / "patch"
    (folder / "face_1").mkdir(parents=True)
    with media.PatchWriter(folder / "face_1", width, height) as writer:
        for n in range(shot.start_frame, shot.end_frame):
            writer.write(
                Patch(n, 0, height, bars(n + OFFSETS[take], width, height), np.full((height, width), 255, np.uint8))
            )
    face = TakeFace(track, "face_1", len(shot), 0, ((shot.start_frame, shot.end_frame),))
    put(folder, Rendered("dubbed", None, track, None, None, (face,), len(shot)))
    return Take(shot.id, take, {"name": "rewrite"}, folder, (face,), "dubbed", None, (), None, "", take == CURRENT)


def rejected(shown: Shown) -> Shown:
    """The same shot, once a reviewer has the source's picture delivered."""
    said = Standing(verdict="original")
    return replace(shown, standing=said, step=replace(shown.step, decided=said))
