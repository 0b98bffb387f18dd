"""Measures 3 to 7, of finished takes: following, steadiness, seam, silence, sync.

A take is looked at as a viewer would: its patches over the decoded source, the mesh found again in both. What the
pipeline's own sync stage measured (LSE, following, sharpness) is read from it, so that these numbers are those of
`faces.parquet`. It knows no table and no page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.analysis.sheet import Sheet, write_sheets
from dubbing.artifacts import takes as artifacts
from dubbing.artifacts.sound import load_speech, sound_of, speech_mask
from dubbing.artifacts.takes import SHEET, Scores, seen_file
from dubbing.artifacts.tracks import load_tracks
from dubbing.evaluate import pictures
from dubbing.evaluate.hearing import correlation
from dubbing.evaluate.published import Beside
from dubbing.evaluate.rendering import Look, flicker, matte_in
from dubbing.evaluate.session import EvaluatedFilm
from dubbing.face import OUTER_LIPS
from dubbing.job import Step
from dubbing.mesh import Meshes, face_boxes
from dubbing.metrics.mouth import STILL
from dubbing.records import Patch, Track
from dubbing.stages.sync import EDGE_S

__all__ = ["Take", "finished", "following", "hard_moments", "look_at", "recovery", "silence", "sync"]

MOST_FRAMES = 300
_SOLID = 0.5  # matte from which on a pixel is the take's


@dataclass(frozen=True)
class Take:
    """One rendered face of a dubbed shot. about: the take; score: what was measured of the face; patches: their folder;
    sound: the folder of what drives it; name: of files about it, `shot_0001`, with the face where there are several."""

    step: Step
    track: Track
    about: artifacts.Take
    score: Mapping[str, Any]
    patches: Path
    sound: Path
    name: str

    @property
    def sheet(self) -> Path:
        """The contact sheet, which lies beside the patches, or beside the scores where the take was looked at later."""
        beside = self.step.take.folder / SHEET
        return beside if beside.exists() else self.step.score.folder / SHEET


@dataclass(frozen=True, eq=False)
class _Held:
    """One frame's grey crops, matte (0..1) and where they lie (x, y, width, height)."""

    before: np.ndarray
    after: np.ndarray
    alpha: np.ndarray
    box: tuple[int, int, int, int]


def finished(film: EvaluatedFilm, language: str) -> tuple[list[Take], list[str]]:
    """The rendered faces of the dubbed shots in one language, and for every other shot why it is none."""
    found, reasons = [], []
    for step in film.steps(language):
        about: artifacts.Take | None = film.job.result(step.take)
        score: Scores | None = film.job.result(step.score)
        if about is None or about.status != "dubbed":
            lost = film.failed.get(step.take.id)
            reasons.append(lost.error or "failed" if lost else (about and about.reason) or "not reached")
            continue
        if score is None:
            reasons.append(
                (film.failed[step.score.id].error or "failed") if step.score.id in film.failed else "no score"
            )
            continue
        tracks = {t.id: t for t in load_tracks(step.faces.folder)}
        for face, one in zip(about.rendered, score.faces, strict=True):
            name = step.shot.id if len(score.faces) == 1 else f"{step.shot.id}_{face.folder}"
            patches, sound = step.take.folder / face.folder, sound_of(step.sound, face.sound)
            found.append(Take(step, tracks[face.track], about, one.row(), patches, sound, name))
    return found, reasons


def following(take: Take) -> dict[str, float | None]:
    """Wanted against re-detected opening: correlation (the stage's), error and spread in inter-ocular distances."""
    seen = _seen(take)
    ok = np.isfinite(seen["wanted"])
    want_N, got_N = seen["wanted"][ok], seen["seen"][ok]
    if len(want_N) < 6:
        return {}
    return {
        "opening_corr": correlation(want_N, got_N),
        "opening_error": float(np.abs(want_N - got_N).mean()),
        "opening_gain": float(got_N.std() / max(want_N.std(), 1e-9)),
    }


def silence(film: EvaluatedFilm, take: Take) -> dict[str, float | None]:
    """Motion of the opening while the dub is silent: in inter-ocular distances a second, over the source's in its own
    silence, over the source's in speech, and how far the mouth stands open."""
    seen, line = _seen(take), film.line
    rate = float(line.rate)
    quiet_N = _quiet(take.sound, film, take.track) & np.isfinite(seen["wanted"])
    pairs = quiet_N[1:] & quiet_N[:-1]
    numbers: dict[str, float | None] = {"lip_leak": take.score.get("lip_leak")}
    if pairs.sum() >= 3:
        moved = float(np.abs(np.diff(seen["seen"]))[pairs].mean())
        numbers["motion_per_s"] = moved * rate
        numbers["rest_opening"] = float(np.median(seen["seen"][quiet_N]))
        own = take.step.source_sound
        was_N = _quiet(own, film, take.track) if own else np.zeros(len(quiet_N), bool)
        was = was_N[1:] & was_N[:-1]
        if was.sum() >= 3:
            still = float(np.abs(np.diff(seen["was"]))[was].mean())
            numbers["motion_ratio"] = moved / max(still, STILL)
    return numbers


def sync(score: Mapping[str, Any]) -> dict[str, float | None]:
    """LSE of the take, of the original, and how much of the way from foreign to own sound it goes."""
    numbers = {
        "lse_d": score.get("lse_d"), "lse_c": score.get("lse_c"), "offset_frames": score.get("lse_offset_frames"),
        "source_lse_d": score.get("source_lse_d"), "source_lse_c": score.get("source_lse_c"),
        "source_offset_frames": score.get("source_lse_offset_frames"),
        "at_zero": score.get("lse_at_zero"), "source_at_zero": score.get("source_lse_at_zero"),
        "foreign_at_zero": score.get("foreign_lse_at_zero"),
    }  # fmt: skip
    if numbers["offset_frames"] is not None:
        numbers["offset_frames_abs"] = abs(numbers["offset_frames"])
    numbers["recovery"] = recovery(numbers["at_zero"], numbers["foreign_at_zero"], numbers["source_at_zero"])
    return numbers


def recovery(dub: float | None, foreign: float | None, own: float | None) -> float | None:
    """(dub - foreign) / (own - foreign) of distances near shift zero: 0 is the untouched picture with the dub's sound,
    1 as near as the original is to its own. None where the original is no nearer than foreign sound by a twentieth."""
    if dub is None or foreign is None or own is None or foreign - own < 0.05 * foreign:
        return None
    return (dub - foreign) / (own - foreign)


def hard_moments(take: Take, frames: np.ndarray) -> dict[int, str]:
    """The frames of a take (of `frames`) in which a mouth most often looks wrong, and why: widest open, opening
    or shutting fastest, head turned most, lips shut in the middle of speech."""
    wanted = _seen(take)["wanted"]
    at = frames - take.track.start_frame
    at = at[np.isfinite(wanted[at])]
    if len(at) < 12:
        return {}
    speed = np.abs(np.gradient(wanted))[at]
    around = np.convolve(np.nan_to_num(wanted), np.ones(13) / 13, "same")[at]
    scores = {"widest": wanted[at], "fastest": np.nan_to_num(speed), "turned": np.abs(take.track.yaw_N[at]),
              "shut": around - 3 * wanted[at]}  # fmt: skip
    found: dict[int, str] = {}
    for label, score in scores.items():
        free = np.array([min((abs(take.track.start_frame + n - f) for f in found), default=99) > 3 for n in at])
        if free.any():
            found[int(take.track.start_frame + at[np.where(free, score, -np.inf).argmax()])] = label
    return found


def look_at(
    film: EvaluatedFilm, take: Take, meshes: Meshes, sheet: Path | None = None, beside: Beside | None = None
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """(steadiness, seam) of a take over the original in the same frames.

    Steadiness: second differences of the lips' points, and of the pixels where the matte is solid. Seam: across the
    matte's own edge, and across a ring around the lips, where a mouth that was put in would end. Of a long take, the
    MOST_FRAMES in its middle. sheet: where its hard moments are drawn, enlarged; beside: shown result beside source.
    """
    track, line = take.track, film.line
    boxes = face_boxes(track.mesh_NP3, media.probe(film.video).upright_size)
    frames = media.mouth_frames(take.patches)["frame"].to_numpy()
    start = max(0, (len(frames) - MOST_FRAMES) // 2)
    frames = frames[start : start + MOST_FRAMES]
    first, last = int(frames[0]), int(frames[-1]) + 1
    look = Look(meshes, ("source", "result"))
    hard = hard_moments(take, frames)
    drawn = Sheet(f"{film.clip.id} {take.name}: hard moments", line, hard, hard, cell_px=360)
    found: dict[str, list[float]] = defaultdict(list)
    held: list[_Held] = []
    patches = media.read_patches(take.patches, first, last)
    patch = next(patches, None)
    try:
        for picture in media.read(film.video, line, first, last, threads=1):
            if patch is None or patch.frame != picture.frame:
                look.skip()
                held = []
                continue
            n = picture.frame - track.start_frame
            box = boxes[n]
            before = picture.bgr(box=box)
            after, alpha = media.composite(before, patch, *box[:2]), matte_in(patch, box)
            seen = look.find({"source": before, "result": after}, box)
            if beside is not None:
                beside.add(before, after, track.mesh_NP3[n, :, :2] - box[:2])
            drawn.add(picture.frame, before, after, track.mesh_NP3[n, :, :2] - box[:2])
            edge = pictures.seam(before, after, alpha)
            for name, value in (("edge", _whole_seam(picture, patch) if edge is None else edge),
                                ("ring", _ring(before, after, seen))):  # fmt: skip
                if value is not None:
                    found[name].append(value)
            held = [*held[-2:], _Held(pictures.luma(before), pictures.luma(after), alpha, box)]
            if len(held) == 3 and (moved := _pixels(held)) is not None:
                for name, value in zip(("pixels_source", "pixels"), moved, strict=True):
                    found[name].append(value)
            patch = next(patches, None)
    finally:
        look.close()
    if sheet is not None:
        write_sheets(sheet, [drawn])
    source, result = flicker(look.meshes["source"]), flicker(look.meshes["result"])
    steady: dict[str, float | None] = {"lips": result / source if source > 1e-9 else None}
    steady |= {"lips_source": source, "lips_result": result}
    if found["pixels_source"]:
        was = float(np.mean(found["pixels_source"]))
        steady["pixels"] = float(np.mean(found["pixels"])) / was if was > 1e-6 else None
    seams = {name: float(np.median(found[name])) for name in ("edge", "ring") if found[name]}
    return steady, dict(seams)


def _whole_seam(picture: media.Picture, patch: Patch) -> float | None:
    """`pictures.seam` of a patch whose matte ends outside of the face, as that of a head does."""
    height, width = patch.matte_HW.shape
    before = picture.bgr(box=(patch.x, patch.y, width, height))
    return pictures.seam(before, media.composite(before, patch, patch.x, patch.y), patch.matte_HW)


def _pixels(held: Sequence[_Held]) -> tuple[float, float] | None:
    """Mean second difference of (source, result) over three frames, in the picture's own coordinates, where all three
    mattes are solid; None where they share no place."""
    low = np.max([h.box[:2] for h in held], axis=0)
    high = np.min([(h.box[0] + h.box[2], h.box[1] + h.box[3]) for h in held], axis=0)
    if (high <= low).any():
        return None
    cuts = [(slice(low[1] - h.box[1], high[1] - h.box[1]), slice(low[0] - h.box[0], high[0] - h.box[0])) for h in held]
    solid = np.logical_and.reduce([h.alpha[cut] > _SOLID for h, cut in zip(held, cuts, strict=True)])
    if not solid.any():
        return None
    before, after = (
        pictures.second_difference(first, middle, last, solid)
        for first, middle, last in (
            [grey[cut] for grey, cut in zip(greys, cuts, strict=True)]
            for greys in ([h.before for h in held], [h.after for h in held])
        )
    )
    return before, after


def _ring(before: np.ndarray, after: np.ndarray, seen: Mapping[str, np.ndarray]) -> float | None:
    """The gradient across a ring around the lips of the result, over that around the lips of the source."""
    if len(seen) < 2:
        return None
    size = (before.shape[1], before.shape[0])
    now, was = (
        pictures.across(view, pictures.ring_matte(seen[name][list(OUTER_LIPS), :2], size))
        for view, name in ((after, "result"), (before, "source"))
    )
    return None if now is None or was is None else now / max(was, 1e-3)


def _seen(take: Take) -> dict[str, np.ndarray]:
    with np.load(seen_file(take.step.score.folder, take.track.id)) as data:
        return {name: np.asarray(data[name], np.float64) for name in ("wanted", "seen", "was")}


def _quiet(sound: Path, film: EvaluatedFilm, track: Track) -> np.ndarray:
    """Frames of the track well inside a silence, bool (N,)."""
    speech = speech_mask(load_speech(sound), film.line, track.start_frame, track.end_frame)
    edge = max(1, round(EDGE_S * float(film.line.rate)))
    return ~(np.convolve(speech, np.ones(2 * edge + 1), "same") > 0.5)
