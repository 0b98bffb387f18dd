"""The measures of one clip, in groups that share their work; each returns rows and writes pictures to its folder.

    hearing      1  sound to shape
    rendering    2  the true shapes, from frames half a second away at least
    dub          3 following, 4 steadiness, 5 seam, 6 silence, 7 sync, 12 identity: of takes with another sound
    published    8  LSE by the literature's network
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
from dubbing.evaluate import hearing, judging, published, rendering, takes
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
# What takes of a photograph have not, and why.
_STANDS_STILL = (
    ("steadiness", "lips", "stands still: there is no motion to compare with; lips_result is the take's own"),
    ("steadiness", "lips_source", "stands still"),
    ("steadiness", "pixels", "stands still: there is no motion to compare with"),
    ("silence", "motion_ratio", "is silent and stands still: there is no motion in silence to compare with"),
    ("sync", "recovery", "has no sound of its own: there is nothing to recover"),
)


@dataclass(frozen=True)
class Group:
    """measures: of `evaluation.MEASURES`; measure(session, film, voices, folder): rows, or StageError;
    judges(settings): the sync experts that its rows depend on; reads_words: whether they depend on word times
    beside the clip; of_photographs: whether it measures them too."""

    name: str
    measures: tuple[str, ...]
    needs_voice: bool
    measure: Callable[[Session, EvaluatedFilm, tuple[Voice, ...], Path], Rows]
    judges: Callable[[Config], list[str]] = lambda settings: []
    reads_words: bool = False
    of_photographs: bool = False


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
    named = published.Models(session.settings)
    try:
        for n, speaker in enumerate(film.speakers(), 1):
            folder = out / str(n)
            folder.mkdir()
            about = {"track": speaker.track.id, "input": "moving"}
            with named.beside() as beside:
                try:
                    numbers = rendering.render_truth(film, speaker, generator, folder, meshes, expert, beside)
                except StageError as e:
                    refused = refused or e
                    continue
                rows += beside.rows(measure, **about)
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
    """Measures 3 to 7 and 12 in every language, of a photograph too. Copies the contact sheets."""
    _with_sound(film, voices)
    made = session.dubbed(film, {v.language: session.sound_for(film, v) for v in voices})
    named = published.Models(session.settings, ("csim",))
    rows: Rows = []
    reasons: list[str] = []
    meshes = Meshes()
    try:
        for voice in voices:
            done, why = takes.finished(made, voice.language)
            reasons += why
            for take in done:
                about = {"track": take.track.id, "language": voice.language,
                         "input": "still" if film.photograph else "moving",
                         "lse_model": take.score.get("lse_model")}  # fmt: skip
                hard = out / f"hard_{voice.language}_{take.name}.jpg"
                with named.beside() as beside:
                    steady, seams = takes.look_at(made, take, meshes, hard, beside)
                    rows += beside.rows("identity", **about)
                groups = {"following": takes.following(take), "steadiness": steady, "seam": seams,
                          "silence": takes.silence(made, take), "sync": takes.sync(take.score)}  # fmt: skip
                rows.append(row("steadiness", "sharpness", take.score.get("sharpness"), **about))
                if film.photograph:
                    for measure, name, because in _STANDS_STILL:
                        groups[measure].pop(name, None)
                        rows.append({"measure": measure, "name": name, "reason": f"a photograph {because}", **about})
                for measure, numbers in groups.items():
                    rows += [row(measure, k, v, **about) for k, v in numbers.items() if v is not None]
                if not film.photograph and groups["sync"]["at_zero"] is not None and groups["sync"]["recovery"] is None:
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
    """Measure 8: LSE by the network that published tables use, where its weights are."""
    if not models.is_present(_LITERATURE, configured=session.settings.models.folder):
        why = (
            f"LSE of the literature: absent: the weights of {_LITERATURE} are not here; `dub models pull {_LITERATURE}`"
        )
        return [{"measure": "published", "name": "lse_d", "reason": why}]
    rows: Rows = []
    made = session.dubbed(film, {v.language: session.sound_for(film, v) for v in voices}, _LITERATURE)
    for voice in voices:
        for take in takes.finished(made, voice.language)[0]:
            about = {"track": take.track.id, "language": voice.language, "input": "moving",
                     "lse_model": take.score.get("lse_model")}  # fmt: skip
            rows += [row("published", k, v, **about) for k, v in takes.sync(take.score).items() if v is not None]
    return rows


def _with_sound(film: EvaluatedFilm, voices: tuple[Voice, ...]) -> None:
    """Raises StageError: a photograph that would be dubbed with its own sound."""
    if film.photograph and any(v.path.resolve() == film.clip.path for v in voices):
        raise StageError(
            f"{film.clip.path.name} is a photograph, and there is no sound to dub it with; give --dub-sound FILE."
        )


def _languages(session: Session, film: EvaluatedFilm, voices: tuple[Voice, ...], out: Path) -> Rows:
    """Measure 9: every voice, on the moving clip and on the most closed frame of it, standing still; or a photo."""
    _with_sound(film, voices)
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
    Group("rendering", ("rendering",), False, partial(_rendered, measure="rendering"), published.identities),
    Group(
        "dub",
        ("following", "steadiness", "seam", "silence", "sync", "identity"),
        True,
        _dub,
        lambda settings: [*_experts(settings), *published.identities(settings, ("csim",))],
        of_photographs=True,
    ),
    Group("published", ("published",), True, _published, _experts),
    Group("languages", ("languages",), True, _languages, _experts, of_photographs=True),
    Group("expert", ("expert",), True, _expert, _experts),
    Group(
        "resynthesis",
        ("resynthesis",),
        False,
        partial(_rendered, measure="resynthesis", judge="lips"),
        lambda settings: [experts.identity("lips"), *published.identities(settings)],
    ),
)
