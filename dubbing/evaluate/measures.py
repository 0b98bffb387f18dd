"""The measures of one clip, in groups that share their work; each gives rows and leaves pictures in its folder.

    hearing      1  sound to shape
    rendering    2  the true shapes, from frames half a second away at least
    dub          3 following, 4 steadiness, 5 seam, 6 silence, 7 sync: of takes with another sound
    published    8  what needs other people's models
    languages    9  every voice, on the moving clip and on a still of it

It knows no table and no page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import experts
from dubbing.config import Config
from dubbing.errors import StageError
from dubbing.evaluate import hearing, rendering, takes
from dubbing.evaluate.bench import Bench, Film
from dubbing.evaluate.clips import Voice
from dubbing.evaluate.table import row
from dubbing.face import canonical
from dubbing.mesh import Meshes

__all__ = ["GROUPS", "Group", "expert_key"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Group:
    """measures: of `evaluation.MEASURES`; measure(bench, film, voices, folder): their rows, or StageError with why not."""

    name: str
    measures: tuple[str, ...]
    needs_voice: bool
    measure: Callable[[Bench, Film, tuple[Voice, ...], Path], Rows]


def expert_key(settings: Config) -> str:
    """The sync expert that takes are scored by."""
    return experts.identity(settings.sync.expert, settings.models.folder)


def _hearing(bench: Bench, film: Film, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 1 of every speaking face. Writes curves_<n>.npz."""
    rows: Rows = []
    for n, speaker in enumerate(film.speakers(), 1):
        track = speaker.track
        if not speaker.wave.any():
            continue
        shape, _ = canonical(track.mesh_NP3)
        heard = hearing.sound_to_shape(shape, speaker.times_s, speaker.wave, speaker.speaks_N, track.seen_N)
        if heard is None:
            continue
        np.savez_compressed(out / f"curves_{n}.npz", track=track.id, times_s=heard.times_s, held=heard.held_N,
                            **heard.curves)  # fmt: skip
        rows += [row("hearing", name, value, track=track.id, input="moving") for name, value in heard.numbers.items()]
    if not rows:
        raise StageError(
            f"{film.clip.path.name}: no face speaks for {hearing.LEAST_S:g} s with sound in both parts of its shot."
        )
    return rows


def _rendering(bench: Bench, film: Film, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 2 of every speaking face. Writes <n>/sheet.jpg."""
    rows: Rows = []
    refused: StageError | None = None
    meshes, generator = Meshes(), bench.create_generator()
    try:
        for n, speaker in enumerate(film.speakers(), 1):
            folder = out / str(n)
            folder.mkdir()
            try:
                numbers = rendering.render_truth(film, speaker, generator, folder, meshes)
            except StageError as e:
                refused = refused or e
                continue
            rows += [row("rendering", k, v, track=speaker.track.id, input="moving") for k, v in numbers.items()]
    finally:
        meshes.close()
    if not rows:
        raise refused or StageError(f"{film.clip.path.name}: nobody speaks.")
    return rows


def _dub(bench: Bench, film: Film, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measures 3 to 7 in every language. Copies the contact sheets."""
    made = bench.dubbed(film, {v.language: bench.sound_for(film, v) for v in voices})
    rows: Rows = []
    reasons: list[str] = []
    meshes = Meshes()
    try:
        for voice in voices:
            done, why = takes.finished(made, voice.language)
            reasons += why
            for take in done:
                about = {"track": take.track.id, "language": voice.language, "input": "moving",
                         "lse_model": take.score.get("lse_model")}  # fmt: skip
                steady, seams = takes.look_at(made, take, meshes)
                groups = {"following": takes.following(take), "steadiness": steady, "seam": seams,
                          "silence": takes.silence(made, take), "sync": takes.sync(take.score)}  # fmt: skip
                for measure, numbers in groups.items():
                    rows += [row(measure, k, v, **about) for k, v in numbers.items() if v is not None]
                rows.append(row("steadiness", "sharpness", take.score.get("sharpness"), **about))
                if take.sheet.exists():
                    name = f"sheet_{voice.language}_{take.step.shot.id}.jpg"
                    (out / name).write_bytes(take.sheet.read_bytes())
    finally:
        meshes.close()
    if not rows:
        raise StageError(f"{film.clip.path.name}: no shot was dubbed ({', '.join(sorted(set(reasons)))}).")
    return rows


GROUPS: tuple[Group, ...] = (
    Group("hearing", ("hearing",), False, _hearing),
    Group("rendering", ("rendering",), False, _rendering),
    Group("dub", ("following", "steadiness", "seam", "silence", "sync"), True, _dub),
)
