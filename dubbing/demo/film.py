"""Shoots the demo: a film of photographs, its original sound, two dubs, a manifest, and the truth about it all.

    film.mp4        the original: English, H.264, stereo AAC, timecode from 01:00:00:00
    film.hi.flac    dubs of exactly the film's length in samples, digital silence between sentences
    film.ta.flac
    truth.json      what only the maker can know: cuts, mouth openings, speech, which shots ought to change
    manifest.yaml   what `dub run` takes; written last, so a broken-off making leaves none

Everything is made offline from packages already installed, and is the same every time on one machine. It
knows how films are made, not how they are dubbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing.clock import samples_at
from dubbing.demo.portrait import MAX_OPENING, Camera, Pose, fetch, photograph, portrait
from dubbing.demo.scenes import LANGUAGES, SCENES, Grade, Scene
from dubbing.demo.voice import RATE_HZ, Speech, Utterance, lips, say
from dubbing.errors import OutputError

__all__ = ["make_demo"]

_MAKER = 1  # raise it when the same scenes would look or sound different
_LEAD_S, _TAIL_S = 0.3, 0.25  # silence inside a shot before and after its sentence
_VOICES = {"en": "en-us"}  # of espeak; other languages have one by their own tag
_PEAK_OPENING = 0.25  # inter-ocular distances at full opening
_GRAIN = 2.2  # standard deviation in code values


def make_demo(
    folder: Path | str,
    *,
    scenes: Sequence[Scene] = SCENES,
    size: tuple[int, int] = (960, 540),
    rate: Fraction = Fraction(24000, 1001),
    quiet: bool = False,
) -> Path:
    """Make the demo in `folder` (created where missing) and return its manifest.yaml.

    scenes: the shots in order, with a dub for every language that they speak; size: (width, height), even; rate:
    frames a second; quiet: no progress bar. A folder that already holds the same demo is left as it is. Raises
    InputError when the `demo` extra is not installed, OutputError when the folder cannot be written.
    """
    folder = Path(folder)
    recipe = hashlib.sha256(repr((_MAKER, tuple(scenes), size, rate)).encode()).hexdigest()[:12]
    manifest = folder / "manifest.yaml"
    if _is_made(folder, recipe):
        return manifest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        _make(folder, recipe, list(scenes), size, rate, quiet)
    except OSError as e:
        raise OutputError(f"The demo cannot be written into {folder}: {e.strerror or e}. Choose another folder.") from e
    return manifest


def _is_made(folder: Path, recipe: str) -> bool:
    try:
        truth = json.loads((folder / "truth.json").read_text("utf-8"))
        names = ["manifest.yaml", *truth["files"].values()]
        return truth["recipe"] == recipe and all((folder / n).stat().st_size > 0 for n in names)
    except (OSError, ValueError, KeyError):
        return False


def _make(folder: Path, recipe: str, scenes: list[Scene], size: tuple[int, int], rate: Fraction, quiet: bool) -> None:
    from dubbing.media import ClipWriter

    starts = [sum(s.frames for s in scenes[:n]) for n in range(len(scenes) + 1)]
    frames, edges = starts[-1], [samples_at(n / rate, RATE_HZ) for n in starts]
    languages = _languages(scenes)
    speech = _speak(scenes, edges)
    waves, stretches = {}, {}
    for language in languages:
        waves[language], stretches[language] = _mix(speech[language], edges)
    waves["en"] = waves["en"] + _room_tone(len(waves["en"]))

    files = {"en": "film.mp4", **{language: f"film.{language}.flac" for language in languages[1:]}}
    rows = []
    width, height = size
    with (
        ClipWriter(
            folder / files["en"], width, height, rate, sample_rate_hz=RATE_HZ, channels=2, crf=19,
            timecode="01:00:00:00", metadata={"title": "dub demo"},
        ) as clip,
        _progress(frames, quiet) as step,
    ):  # fmt: skip
        grain = _Grain(width, height)
        for n, scene in enumerate(scenes):
            times_s = np.array([float((starts[n] + k + Fraction(1, 2)) / rate) for k in range(scene.frames)])
            poses = _perform(speech["en"][n], times_s, edges[n] / RATE_HZ) if scene.has_face else None
            for k, picture in enumerate(_shoot(scene, poses, times_s, size)):
                frame = starts[n] + k
                clip.frame(grain(picture, frame))
                clip.sound(waves["en"][samples_at(frame / rate, RATE_HZ) : samples_at((frame + 1) / rate, RATE_HZ)])
                step()
            row = _truth(scene, poses, size)
            spoken = {language: stretches[language][n] for language in languages}
            rows.append({"shot": f"shot_{n + 1:04d}", "start_frame": starts[n], "end_frame": starts[n + 1]} | row)
            rows[-1]["speech_samples"] = spoken
    for language in languages[1:]:
        with ClipWriter(folder / files[language], sample_rate_hz=RATE_HZ, channels=2) as dub:
            dub.sound(waves[language])

    truth = {
        "schema": "dub.demo.1",
        "recipe": recipe,
        "files": files,
        "rate": f"{rate.numerator}/{rate.denominator}",
        "frames": frames,
        "cuts": starts[1:-1],
        "sample_rate_hz": RATE_HZ,
        "samples": edges[-1],
        "sound_offset_samples": 0,
        "instant": "openings are those of the middle of each frame",
        "shots": rows,
    }
    _write(folder / "truth.json", json.dumps(truth, indent=1))
    dubs = "".join(f"      - language: {language}\n        audio: {files[language]}\n" for language in languages[1:])
    _write(
        folder / "manifest.yaml",
        f"# Made by `dub demo`.\nversion: 1\ntitles:\n  - id: film\n    video: {files['en']}\n    dubs:\n{dubs}",
    )


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


@contextmanager
def _progress(frames: int, quiet: bool) -> Iterator[Any]:
    """A bar on stderr when that is a terminal; gives the function to call after each frame."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("making the demo film"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=frames)
        yield lambda: bar.advance(task)


# --- sound -----------------------------------------------------------------------------------------


def _languages(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """The original's language, then those of the dubs: the demo's own, and what scenes say besides."""
    return tuple(dict.fromkeys((*LANGUAGES, *(language for scene in scenes for language in scene.says))))


def _speak(scenes: Sequence[Scene], edges: Sequence[int]) -> dict[str, list[Speech | None]]:
    """Every sentence of every language, or None in a shot without one."""
    places, wanted = [], []
    for language in _languages(scenes):
        for n, scene in enumerate(scenes):
            if language in scene.says:
                room_s = (edges[n + 1] - edges[n]) / RATE_HZ - _LEAD_S - _TAIL_S
                wanted.append(
                    Utterance(scene.says[language], f"{_VOICES.get(language, language)}+{scene.voice}", room_s)
                )
                places.append((language, n))
    speech: dict[str, list[Speech | None]] = {language: [None] * len(scenes) for language in _languages(scenes)}
    for (language, n), said in zip(places, say(wanted), strict=True):
        speech[language][n] = said
    return speech


def _mix(speech: Sequence[Speech | None], edges: Sequence[int]) -> tuple[np.ndarray, list[list[list[int]]]]:
    """Stereo float32 (T, 2), digital silence outside speech, and per shot its stretches [first, end) in samples."""
    wave = np.zeros((edges[-1], 2), np.float32)
    stretches: list[list[list[int]]] = []
    for said, start in zip(speech, edges[:-1], strict=True):
        stretches.append([])
        if said is not None:
            first = start + int(_LEAD_S * RATE_HZ)
            wave[first : first + len(said.samples)] = said.samples[:, None] * np.array([1.0, 0.94], np.float32)
            stretches[-1] = [[first, first + len(said.samples)]]
    return wave, stretches


def _room_tone(samples: int) -> np.ndarray:
    """A set is never silent: soft stereo noise at about -62 dB, float32 (T, 2)."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(62).standard_normal((samples, 2))
    dark = lfilter([1.0], [1.0, -0.97], noise, axis=0)
    return (dark * (10 ** (-62 / 20) / dark.std())).astype(np.float32)


# --- picture ---------------------------------------------------------------------------------------


def _wander(times_s: np.ndarray, seed: int, slow_hz: float) -> np.ndarray:
    """A smooth aimless signal of about -1..1: a few incommensurate sines."""
    random = np.random.default_rng(seed)
    pace = slow_hz * np.array([1.0, 1.73, 2.9])
    phase = random.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * pace * times_s[:, None] + phase) @ np.array([0.6, 0.3, 0.12])


def _perform(said: Speech | None, times_s: np.ndarray, shot_s: float) -> list[Pose]:
    """The actress, frame by frame: lips from the sound, and the small things people do without knowing."""
    opening = spread = np.zeros(len(times_s))
    if said is not None:
        opening, spread = lips(said, times_s - shot_s - _LEAD_S)
    opening = np.clip(opening * _PEAK_OPENING, 0, MAX_OPENING)
    mood = cv2.GaussianBlur(opening.reshape(1, -1), (0, 0), 6).ravel() / _PEAK_OPENING
    since = (times_s - shot_s + 1.1) % 2.7  # a blink every 2.7 s: 0.08 s down, 0.16 s up
    lids = np.clip(np.minimum(since / 0.08, 1.15 - (since - 0.08) / 0.16), 0, 1)
    yaw, roll, x, y = (_wander(times_s, seed, hz) for seed, hz in ((1, 0.21), (2, 0.17), (3, 0.23), (4, 0.3)))
    return [
        Pose(float(o), float(s), float(b), float(2.2 * a), float(0.9 * r), float(1.2 * h), float(0.8 * v + 1.6 * m))
        for o, s, b, a, r, h, v, m in zip(opening, spread, lids, yaw, roll, x, y, mood, strict=True)
    ]


def _shoot(
    scene: Scene, poses: Sequence[Pose] | None, times_s: np.ndarray, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """The frames of one shot, graded, without grain: BGR uint8 (H, W, 3)."""
    still = photograph(scene.photograph)
    table = _grading_table(scene.grade)
    for k, camera in enumerate(_cameras(scene, times_s)):
        if poses is not None:
            picture: Any = portrait().frame(poses[k], camera, *size)
        else:
            picture = fetch(still, camera.coordinates(*size), cv2.INTER_CUBIC)
        yield cv2.LUT(picture, table)


def _cameras(scene: Scene, times_s: np.ndarray) -> Iterator[Camera]:
    """From the scene's first framing to its last, on an unsteady shoulder."""
    count = max(1, scene.frames - 1)
    x, y, roll = (_wander(times_s, seed, 0.37) for seed in (11, 12, 13))
    for k in range(scene.frames):
        part = k / count
        part = part * part * (3 - 2 * part)
        a, b = scene.start, scene.end
        width = a.width_px + (b.width_px - a.width_px) * part
        shake = width / 400
        yield Camera(
            a.x_px + (b.x_px - a.x_px) * part + 0.8 * shake * float(x[k]),
            a.y_px + (b.y_px - a.y_px) * part + 0.6 * shake * float(y[k]),
            width,
            a.roll_deg + (b.roll_deg - a.roll_deg) * part + 0.15 * float(roll[k]),
            a.mirror,
        )


def _grading_table(grade: Grade) -> np.ndarray:
    """uint8 (256, 1, 3) for cv2.LUT."""
    value = np.arange(256)[:, None] / 255 * np.array(grade.gain_BGR)
    value = 0.5 + (np.clip(value, 0, 1) ** (1 / grade.gamma) - 0.5) * grade.contrast
    return (np.clip(value, 0, 1) * 255 + 0.5).astype(np.uint8)[:, None]


class _Grain:
    """Film grain: one seeded sheet, laid on every frame at another place."""

    def __init__(self, width: int, height: int) -> None:
        sheet: Any = np.random.default_rng(35).standard_normal((height + 97, width + 97)).astype(np.float32)
        sheet = cv2.GaussianBlur(sheet, (0, 0), 0.7)
        sheet *= _GRAIN / sheet.std()
        self._sheet = np.repeat(np.round(sheet).astype(np.int16)[..., None], 3, axis=2)

    def __call__(self, picture: np.ndarray, frame: int) -> np.ndarray:
        y, x = np.random.default_rng([35, frame]).integers(0, 97, 2)
        height, width = picture.shape[:2]
        return cv2.add(picture, np.ascontiguousarray(self._sheet[y : y + height, x : x + width]), dtype=cv2.CV_8U)


# --- truth -----------------------------------------------------------------------------------------


def _truth(scene: Scene, poses: Sequence[Pose] | None, size: tuple[int, int]) -> dict[str, Any]:
    """What the maker knows about one shot, and what a good dub does with it."""
    if not scene.has_face:
        why = "a narrator speaks, nobody is seen" if scene.says else "nobody is seen or heard"
        return {"photograph": scene.photograph, "status": "untouched", "reason": "no_face", "why": why}
    assert poses is not None
    face = portrait()
    eyes_px = [face.eye_distance_in(camera, size[0]) for camera in _cameras(scene, np.zeros(scene.frames))]
    spoken = bool(scene.says)
    return {
        "photograph": scene.photograph,
        "mirrored": scene.start.mirror,
        "status": "dubbed" if spoken else "untouched",
        "reason": None if spoken else "no_speech",
        "why": "she speaks to the camera" if spoken else "she is seen but says nothing",
        "opening_iod": [round(p.opening, 5) for p in poses],
        "opening_px": [round(p.opening * e, 3) for p, e in zip(poses, eyes_px, strict=True)],
        "eye_distance_px": [round(e, 3) for e in eyes_px],
        "lids": [round(p.lids, 3) for p in poses],
    }
