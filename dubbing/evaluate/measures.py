"""The measures of one clip, in groups that share their work; each returns rows and writes pictures to its folder.

    hearing      1  sound to shape
    rendering    2  the true shapes, from frames half a second away at least
    dub          3 following, 4 steadiness, 5 seam, 6 silence, 7 sync: of takes with another sound
    published    8  what needs other people's models
    languages    9  every voice, on the moving clip and on a still of it
    expert       10  whether the sync expert can be believed
    resynthesis  11  the clip's own sound drives: the one measure that all generators share with the literature

It knows no table and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import experts, media, models
from dubbing.config import Config
from dubbing.errors import StageError
from dubbing.evaluate import hearing, judging, rendering, takes
from dubbing.evaluate.clips import Voice, at_lips, words_beside
from dubbing.evaluate.measurements import row
from dubbing.evaluate.session import EvaluatedFilm, Session
from dubbing.face import canonical, mouth_measures
from dubbing.mesh import Meshes
from dubbing.sound import RATE_HZ as HEARD_HZ

__all__ = ["GROUPS", "Group"]

Rows = list[dict[str, Any]]
_IN_LANGUAGES = ("lse_d", "lse_c", "offset_frames", "offset_frames_abs", "recovery")
_LITERATURE = "syncnet_v2"
# Columns of published tables that are not measured, and why.
_ABSENT = {
    "vmaf": "VMAF: absent: the FFmpeg in PyAV's wheel has no libvmaf filter, nor its models",
    "fid": "FID: absent: there is no Inception network among the published models (`dub models list`)",
}


@dataclass(frozen=True)
class Group:
    """measures: of `evaluation.MEASURES`; measure(session, film, voices, folder): rows, or StageError;
    judges(settings): the sync experts that its rows depend on; reads_words: whether they depend on word times
    beside the clip."""

    name: str
    measures: tuple[str, ...]
    needs_voice: bool
    measure: Callable[[Session, EvaluatedFilm, tuple[Voice, ...], Path], Rows]
    judges: Callable[[Config], list[str]] = lambda settings: []
    reads_words: bool = False


def _experts(settings: Config) -> list[str]:
    """The sync experts that takes are scored by: the settings' own, and the literature's where its weights are."""
    names: list[str] = [settings.sync.expert]
    if _LITERATURE not in names and models.is_present(_LITERATURE, configured=settings.models.folder):
        names.append(_LITERATURE)
    return [experts.identity(name, settings.models.folder) for name in names]


def _hearing(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 1 of every speaking face. Writes curves_<n>.npz."""
    rows: Rows = []
    words = words_beside(film.clip.path)
    for n, speaker in enumerate(film.speakers(), 1):
        track = speaker.track
        if not speaker.wave.any():
            continue
        shape, _ = canonical(track.mesh_NP3)
        lips_N = at_lips(words, film.line.times_s(track.start_frame, track.end_frame, centre=True)) if words else None
        heard = hearing.sound_to_shape(
            shape, speaker.times_s, speaker.wave, speaker.speaks_N, track.seen_N, lips_N=lips_N
        )
        if heard is None:
            continue
        np.savez_compressed(out / f"curves_{n}.npz", track=track.id, times_s=heard.times_s, held=heard.held_N,
                            edges_s=heard.edges_s, **heard.curves)  # fmt: skip
        about = {"track": track.id, "input": "moving", "person": f"actor_{speaker.person}"}
        rows += [row("hearing", name, value, **about) for name, value in heard.numbers.items()]
    if not rows:
        raise StageError(f"{film.clip.path.name}: no face speaks for {hearing.LEAST_S:g} s in two parts of its shot.")
    return rows


def _rendered(
    session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path, measure: str, judge: str | None = None
) -> Rows:
    """Measure 2, or 11 where a judge is named, of every speaking face. Writes <n>/sheet.jpg."""
    expert = experts.load(judge) if judge else None
    rows: Rows = []
    refused: StageError | None = None
    meshes, generator = Meshes(), session.create_generator()
    try:
        for n, speaker in enumerate(film.speakers(), 1):
            folder = out / str(n)
            folder.mkdir()
            try:
                numbers = rendering.render_truth(film, speaker, generator, folder, meshes, expert)
            except StageError as e:
                refused = refused or e
                continue
            about = {"track": speaker.track.id, "input": "moving"}
            if expert is not None:
                about["lse_model"] = experts.model_name(expert)
                numbers["size_mb"] = generator.size_bytes / 1e6
            rows += [row(measure, k, v, **about) for k, v in numbers.items()]
    finally:
        meshes.close()
    if not rows:
        raise refused or StageError(f"{film.clip.path.name}: nobody speaks.")
    return rows


def _dub(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measures 3 to 7 in every language. Copies the contact sheets."""
    made = session.dubbed(film, {v.language: session.sound_for(film, v) for v in voices})
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
                hard = out / f"hard_{voice.language}_{take.name}.jpg"
                steady, seams = takes.look_at(made, take, meshes, hard)
                groups = {"following": takes.following(take), "steadiness": steady, "seam": seams,
                          "silence": takes.silence(made, take), "sync": takes.sync(take.score)}  # fmt: skip
                for measure, numbers in groups.items():
                    rows += [row(measure, k, v, **about) for k, v in numbers.items() if v is not None]
                rows.append(row("steadiness", "sharpness", take.score.get("sharpness"), **about))
                if groups["sync"]["at_zero"] is not None and groups["sync"]["recovery"] is None:
                    text = f"{voice.language} {take.name}: no recovery: own and foreign sound are about as far"
                    rows.append({"measure": "sync", "name": "recovery", "reason": text, **about})
                if take.sheet.exists():
                    name = f"sheet_{voice.language}_{take.step.shot.id}.jpg"
                    (out / name).write_bytes(take.sheet.read_bytes())
    finally:
        meshes.close()
    if not rows:
        raise StageError(f"{film.clip.path.name}: no shot was dubbed ({', '.join(sorted(set(reasons)))}).")
    return rows


def _published(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 8: LSE by the network that published tables use, where its weights are; what else is absent."""
    rows: Rows = [{"measure": "published", "name": name, "reason": why} for name, why in _ABSENT.items()]
    if not models.is_present(_LITERATURE, configured=session.settings.models.folder):
        why = (
            f"LSE of the literature: absent: the weights of {_LITERATURE} are not here; `dub models pull {_LITERATURE}`"
        )
        return [*rows, {"measure": "published", "name": "lse_d", "reason": why}]
    made = session.dubbed(film, {v.language: session.sound_for(film, v) for v in voices}, _LITERATURE)
    for voice in voices:
        for take in takes.finished(made, voice.language)[0]:
            about = {"track": take.track.id, "language": voice.language, "input": "moving",
                     "lse_model": take.score.get("lse_model")}  # fmt: skip
            rows += [row("published", k, v, **about) for k, v in takes.sync(take.score).items() if v is not None]
    return rows


def _languages(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 9: every voice, on the moving clip and on the most closed frame of it, standing still; or a photo."""
    if film.photograph and any(v.path.resolve() == film.clip.path for v in voices):
        raise StageError(
            f"{film.clip.path.name} is a photograph, and there is no sound to dub it with; give --dub-sound FILE."
        )
    sounds = {v.language: session.sound_for(film, v) for v in voices}
    if film.photograph:
        return _spoken_by(film, {"still": session.dubbed(film, sounds)}, voices, out)
    speaker = max(film.speakers(), key=lambda s: float(s.speaks_N.sum()))
    opening = mouth_measures(canonical(speaker.track.mesh_NP3)[0])["opening"] + 0.002 * np.abs(speaker.track.yaw_N)
    frame = int(speaker.track.frames_N[np.where(speaker.track.seen_N, opening, np.inf).argmin()])
    kinds = {"moving": session.dubbed(film, sounds), "still": session.dubbed(session.still(film, frame), sounds)}
    return _spoken_by(film, kinds, voices, out)


def _spoken_by(film: EvaluatedFilm, kinds: Mapping[str, EvaluatedFilm], voices: tuple[Voice, ...], out: Path) -> Rows:
    """The numbers of measure 9, by `moving` and `still`. Copies the contact sheets of stills."""
    rows: Rows = []
    for kind, made in kinds.items():
        for voice in voices:
            done, why = takes.finished(made, voice.language)
            for take in done:
                about = {"track": take.track.id, "language": voice.language, "input": kind,
                         "lse_model": take.score.get("lse_model")}  # fmt: skip
                numbers = {k: v for k, v in takes.sync(take.score).items() if k in _IN_LANGUAGES}
                numbers["opening_corr"] = takes.following(take).get("opening_corr")
                numbers["sharpness"] = take.score.get("sharpness")
                numbers |= {k: v for k, v in takes.silence(made, take).items() if k in ("motion_per_s", "lip_leak")}
                rows += [row("languages", k, v, **about) for k, v in numbers.items() if v is not None]
                if kind == "still" and take.sheet.exists():
                    name = f"sheet_still_{voice.language}_{take.step.shot.id}.jpg"
                    (out / name).write_bytes(take.sheet.read_bytes())
            if not done:
                text = f"{film.clip.path.name}, {kind}: not dubbed ({', '.join(sorted(set(why))) or 'no shot'})"
                rows.append({"measure": "languages", "language": voice.language, "input": kind, "reason": text})
    return rows


def _expert(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 10: the expert on every speaking face with its own sound, and with the voices."""
    expert = experts.load(session.settings.sync.expert, session.settings.models.folder)
    if expert.wants != "mesh":
        raise StageError(f"the sync expert {expert.name} looks at crops: it is measured by its published numbers only.")
    foreign = [judging.spoken_only(media.read_sound(v.path, rate_hz=HEARD_HZ)) for v in voices]
    rows: Rows = []
    for speaker in film.speakers():
        track = speaker.track
        starts_s = film.line.times_s(track.start_frame, track.end_frame) - float(film.line.time(track.start_frame))
        speaks_N = speaker.speaks_N & track.seen_N
        judged = judging.judge(expert, track.mesh_NP3, starts_s, speaker.wave, speaks_N, foreign)
        if judged is not None:
            about = {"track": track.id, "input": "moving", "lse_model": experts.model_name(expert)}
            rows += [row("expert", name, value, **about) for name, value in asdict(judged).items()]
    if not rows:
        why = f"{film.clip.path.name}: no face speaks for {judging.LENGTH_S:g} s on end"
        rows = [{"measure": "expert", "name": "found", "reason": why}]
    return rows


GROUPS: tuple[Group, ...] = (
    Group("hearing", ("hearing",), False, _hearing, reads_words=True),
    Group("rendering", ("rendering",), False, partial(_rendered, measure="rendering")),
    Group("dub", ("following", "steadiness", "seam", "silence", "sync"), True, _dub, _experts),
    Group("published", ("published",), True, _published, _experts),
    Group("languages", ("languages",), True, _languages, _experts),
    Group("expert", ("expert",), True, _expert, _experts),
    Group(
        "resynthesis",
        ("resynthesis",),
        False,
        partial(_rendered, measure="resynthesis", judge="lips"),
        lambda settings: [experts.identity("lips")],
    ),
)
