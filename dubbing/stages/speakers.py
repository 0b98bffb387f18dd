"""Who speaks in each shot of the original, and where: the face whose lips move while there is speech.

First version: sound says when (silero-vad on the film's own sound), lips say who. A face is chosen
for the stretches in which its lips move faster than its own mesh noise explains, and faster than
any other face's; nobody is chosen when no face does, for then the speaker is off screen.
Whether the *dub* speaks in a shot is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import Ref
from dubbing.artifacts.active import ActiveFaces, load_active
from dubbing.artifacts.people import People
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, load_speech, speech_mask
from dubbing.artifacts.speakers import Decision, FaceEvidence, SpeakerList, Speaking
from dubbing.artifacts.tracks import (
    USABLE_PART,
    FaceTracks,
    Limits,
    hidden_reason,
    in_sight,
    load_tracks,
    size_and_turn,
    unfit,
)
from dubbing.clock import Timeline, mask_of, runs
from dubbing.face import INNER_LIPS, canonical
from dubbing.records import Shot, Track
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["Speakers", "SpeakersInputs", "lip_activity", "who_speaks"]

_NOSE = (1, 4, 5, 195, 197, 6, 48, 278, 64, 294)  # speech moves none of these
_SMOOTH_S = 0.1
_NOISE_WEIGHT = 1.5
# Inner-lip speed above noise, in inter-ocular distances a second. Measured on third-party clips:
# speaking 0.06 to 0.21 over a shot, listening -0.01 to 0.04.
_MOVES = 0.05
_SURE = 0.1  # what a quite sure detector of active speakers adds to the activity, or takes from it
_CHANGE = 0.05  # what it costs to hear another speaker: a third of a second of clear evidence
_MIN_PART, _MIN_S, _ENOUGH_S = 0.3, 0.4, 1.2
_WHOLE_PART = 0.6  # a single face that speaks this much of the speech speaks all of it
_LEAST_FRAMES = 5
_STEADY_S = 0.5  # lips that move this long are no twitch
_ENOUGH_MOTION_S = 2.0
# Of the time in which lips are seen to move, what part must at least be heard of a film with dialogue. Measured: 0.95
# to 1.07 on films with their own dialogue, 0.13 with music, effects and one shout.
_HEARD_PART = 0.25


@dataclass(frozen=True)
class _Spoken:
    """One face with the stretches [start, end) in which it speaks; refusal: why it cannot be dubbed, or None."""

    track: Track
    stretches: tuple[tuple[int, int], ...]
    frames: int
    refusal: str | None


@dataclass(frozen=True)
class SpeakersInputs(Inputs):
    """The inputs of the stage `speakers`."""

    source_sound: Ref[SourceSound] | None
    """The film's own sound, where it has one."""
    limits: Limits
    """The limits within which a face may be dubbed."""
    people: Ref[People]
    """Which tracks show one person."""
    faces: tuple[Ref[FaceTracks] | None, ...] = awaited()
    """The faces of each shot, None where that failed."""
    active: tuple[Ref[ActiveFaces] | None, ...] = awaited()
    """A detector's evidence for each shot, None where there is none."""
    shots: Ref[ShotList] = uncounted("the faces are those of its shots")
    """The shots, and the film's frames in time."""
    face: int | None = field(default=None, kw_only=True)
    """Of a photograph: which of its faces speaks, counted from the left; None for the largest."""


class Speakers(Stage[SpeakersInputs, SpeakerList]):
    """The speakers of one title."""

    name: ClassVar[str] = "speakers"
    version = 3
    scope = Scope.TITLE
    resources = Resources(cpus=1.0, memory_mb=700)
    expands = True
    chain_ms = 70.0

    @classmethod
    def inputs(cls, at: Place) -> SpeakersInputs:
        sound = at.ref(SourceSound) if at.has(SourceSound) else None
        limits = Limits(at.config.speakers.min_face_px, at.config.speakers.max_yaw_deg)
        return SpeakersInputs(
            sound, limits, at.ref(People), at.each(FaceTracks), at.each(ActiveFaces), at.ref(ShotList),
            face=at.made_of.settings.face if at.made_of else None,
        )  # fmt: skip

    def process(self, inputs: SpeakersInputs, out: Path, progress: Callable[[int], None]) -> SpeakerList:
        film = media.load_timeline(inputs.shots.folder)
        listed = inputs.shots.read()
        speech = load_speech(inputs.source_sound.folder) if inputs.source_sound else None
        speaks_N = None if speech is None or len(speech) == 0 else speech_mask(speech, film, 0, len(film))
        rows, people, moves_N = _decided(inputs, listed, film, speaks_N, progress)
        if speaks_N is not None and not _has_dialogue(moves_N, speaks_N, film):
            speaks_N = None
            rows, people, _ = _decided(inputs, listed, film, None, lambda n: None)
        of_track = inputs.people.read().of_track
        decisions = []
        for row, spoken in zip(rows, people, strict=True):
            named = tuple(Speaking(s.track.id, of_track[s.track.id], s.stretches) for s in spoken)
            decisions.append(replace(row, tracks=named, actor=named[0].actor if named else None))
        people_seen = len({s.actor for d in decisions for s in d.tracks})
        return SpeakerList(tuple(decisions), people_seen, speaks_N is None and inputs.source_sound is not None)


def _decided(
    inputs: SpeakersInputs, listed: ShotList, film: Timeline, speaks_N: np.ndarray | None,
    progress: Callable[[int], None],
) -> tuple[list[Decision], list[list[_Spoken]], np.ndarray]:  # fmt: skip
    """The decision for each shot and who speaks in it, as of `_decide`; and in which frames of the film lips move for
    long, bool, None of them where nothing is heard. speaks_N: where there is speech, None where nobody is heard."""
    rows: list[Decision] = []
    people: list[list[_Spoken]] = []
    moves_N = np.zeros(len(film), bool)
    for shot, faces, active in zip(listed.shots, inputs.faces, inputs.active, strict=True):
        every = tracks = load_tracks(faces.folder) if faces else []
        if inputs.face is not None:
            tracks = sorted(tracks, key=lambda t: float(t.mesh_NP3[0, :, 0].mean()))[inputs.face - 1 :][:1]
        sure = load_active(active.folder) if active and faces else {}
        heard_N = None if speaks_N is None else speaks_N[shot.start_frame : shot.end_frame]
        mixed_N = mask_of(listed.mixes, shot.start_frame, shot.end_frame)
        lips = {}
        for track in every if heard_N is not None else ():
            if any(track is one for one in tracks) or len(track.frames_N) >= _LEAST_FRAMES:
                times_s = film.times_s(track.start_frame, track.end_frame, centre=True)
                lips[track.id] = lip_activity(track.mesh_NP3, times_s)
            if len(track.frames_N) >= _LEAST_FRAMES:
                moves_N[track.start_frame : track.end_frame] |= _move_for_long(track, lips[track.id], times_s)
        row, spoken = _decide(shot, tracks, lips, sure, heard_N, mixed_N, film, inputs.limits)
        rows.append(row)
        people.append(spoken)
        progress(len(shot))
    return rows, people, moves_N


def _move_for_long(track: Track, lips_N: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """In which frames of a track lips move, and not for a moment only, bool (N,). lips_N: their activity."""
    activity_N = np.where(track.seen_N, lips_N, 0.0)
    width = max(1, round(_STEADY_S * len(activity_N) / max(1e-3, float(times_s[-1] - times_s[0]))))
    return np.asarray(np.convolve(activity_N, np.ones(width) / width, "same")[: len(activity_N)] > _MOVES)


def _has_dialogue(moves_N: np.ndarray, speaks_N: np.ndarray, film: Timeline) -> bool:
    """Whether the film's own sound is the dialogue of its faces. It is not where lips move for long and next to nothing
    is heard: then it is music and effects, and what speech was found in it is a shout, or no speech at all."""
    frame_s = float(film.duration) / len(film)
    moves_s, speaks_s = moves_N.sum() * frame_s, speaks_N.sum() * frame_s
    return bool(moves_s < _ENOUGH_MOTION_S or speaks_s >= _HEARD_PART * moves_s)


def lip_activity(mesh_NP3: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """How fast the inner lips move within the face, less what mesh noise explains, float (N,).

    mesh_NP3: (N, 478, 3) pixels, N at least 3; times_s: (N,). In inter-ocular distances a second;
    noise is judged by the nose, which moves like the lips' noise but not with speech.
    """
    shape, _ = canonical(mesh_NP3)
    width = max(1, round(_SMOOTH_S / max(1e-3, float(np.median(np.diff(times_s)))))) | 1

    def speed(points: Sequence[int]) -> np.ndarray:
        part = shape[:, list(points), :2]
        part = part - part.mean(axis=1, keepdims=True)
        padded = np.pad(part, ((width // 2, width // 2), (0, 0), (0, 0)), "edge")
        smooth = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).mean(-1)
        return np.asarray(np.linalg.norm(np.gradient(smooth, times_s, axis=0), axis=-1).mean(1))

    return speed(INNER_LIPS) - _NOISE_WEIGHT * speed(_NOSE)


def who_speaks(activity_KN: np.ndarray, speaks_N: np.ndarray, frame_s: float) -> np.ndarray:
    """For each frame the index of the face that speaks, -1 where none does, int (N,).

    activity_KN: `lip_activity` of K faces, 0 where a face is out of sight; speaks_N: bool, where there
    is speech. The most likely sequence (Viterbi): staying is free, changing the speaker is not.
    """
    gain = np.concatenate([np.zeros((1, len(speaks_N))), (activity_KN - _MOVES)]) * frame_s * speaks_N
    best = gain[:, 0].copy()
    came = np.zeros(gain.shape, np.int64)
    for n in range(1, gain.shape[1]):
        leap = int(np.argmax(best))
        change = best[leap] - _CHANGE > best
        came[:, n] = np.where(change, leap, np.arange(len(best)))
        best = np.where(change, best[leap] - _CHANGE, best) + gain[:, n]
    state = int(np.argmax(best))
    path = np.empty(gain.shape[1], np.int64)
    for n in range(gain.shape[1] - 1, -1, -1):
        path[n] = state
        state = int(came[state, n])
    return np.where(speaks_N, path - 1, -1)


def _decide(
    shot: Shot,
    tracks: list[Track],
    lips: Mapping[str, np.ndarray],
    sure: Mapping[str, np.ndarray],
    heard_N: np.ndarray | None,
    mixed_N: np.ndarray,
    film: Timeline,
    limits: Limits,
) -> tuple[Decision, list[_Spoken]]:
    """The decision for one shot, with people not numbered yet, and the faces that may be dubbed in it, those that
    speak longest first. lips: the activity of each track's, by id, where something is heard; sure: see `load_active`;
    mixed_N: the shot's frames that show two scenes at once, bool."""
    row = Decision(shot.id, None, None, None, None, None)
    if heard_N is not None:
        row = replace(row, source_speech=tuple(runs(heard_N, shot.start_frame)))
    if not tracks:
        whole = (~mixed_N).sum() < _LEAST_FRAMES
        return replace(row, reason="dissolve" if whole else "no_face"), []
    row = replace(row, **_about(tracks[0]))
    frame_s = float(film.duration) / len(film)
    if heard_N is None:
        speaking = [_spoken(tracks[0], np.ones(len(shot), bool), shot, film, limits)]
    else:
        activity_KN = np.zeros((len(tracks), len(shot)))
        for k, track in enumerate(tracks):
            at = slice(track.start_frame - shot.start_frame, track.end_frame - shot.start_frame)
            moves_N = lips[track.id]
            if track.id in sure:
                moves_N = moves_N + _SURE * np.tanh(np.nan_to_num(sure[track.id]) / 2)
            activity_KN[k, at] = np.where(track.seen_N, moves_N, 0.0)
        path_N = who_speaks(activity_KN, heard_N, frame_s)
        evidence = _evidence(tracks, activity_KN, heard_N, path_N, frame_s)
        row = replace(row, evidence=evidence, speech_s=round(float(heard_N.sum() * frame_s), 2))
        speaking = []
        for k, track in enumerate(tracks):
            says_N = _says(path_N == k, heard_N, track, shot, film, alone=len(tracks) == 1)
            if says_N.any():
                speaking.append(_spoken(track, says_N, shot, film, limits))
        speaking.sort(key=lambda s: -s.frames)
    if not speaking:
        reason = _silence(tracks[0], shot, heard_N, film, limits)
        if reason == "off_screen" and heard_N is not None and _in_mixes(heard_N, mixed_N, frame_s):
            reason = "dissolve"
        return replace(row, reason=reason), []
    fit = [s for s in speaking if s.refusal is None]
    if not fit:
        return replace(row, **_about(speaking[0].track), reason=speaking[0].refusal), []
    return replace(row, **_about(fit[0].track)), fit


def _about(track: Track) -> dict[str, Any]:
    height_px, yaw_deg = size_and_turn(track)
    return {"track": track.id, "face_px": height_px, "yaw_deg": yaw_deg}


def _says(mine_N: np.ndarray, heard_N: np.ndarray, track: Track, shot: Shot, film: Timeline, alone: bool) -> np.ndarray:
    """The frames in which one face speaks, bool over the shot; none where it speaks too little to be sure of it."""
    here_N = np.zeros(len(shot), bool)
    here_N[track.start_frame - shot.start_frame : track.end_frame - shot.start_frame] = in_sight(track, film.rate)
    could_N = heard_N & here_N
    rate = len(film) / float(film.duration)
    said, could = mine_N.sum() / rate, could_N.sum() / rate
    if said < _MIN_S or said < min(_MIN_PART * could, _ENOUGH_S):
        return np.zeros(len(shot), bool)
    return could_N if alone and said >= _WHOLE_PART * could else mine_N


def _spoken(track: Track, says_N: np.ndarray, shot: Shot, film: Timeline, limits: Limits) -> _Spoken:
    at = slice(track.start_frame - shot.start_frame, track.end_frame - shot.start_frame)
    here_N = np.zeros(len(shot), bool)
    here_N[at] = True
    says_N = says_N & here_N
    refusal = unfit(track, says_N[at], film.rate, limits)
    return _Spoken(track, tuple(runs(says_N, shot.start_frame)), int(says_N.sum()), refusal)


def _in_mixes(heard_N: np.ndarray, mixed_N: np.ndarray, frame_s: float) -> bool:
    """Whether what is heard in a shot is heard while it dissolves or fades, but for too little to see who speaks."""
    return bool((heard_N & mixed_N).any() and (heard_N & ~mixed_N).sum() * frame_s < _MIN_S)


def _silence(largest: Track, shot: Shot, heard_N: np.ndarray | None, film: Timeline, limits: Limits) -> str:
    """Why no face was seen to speak: none could have been, or the speaker is off screen."""
    if largest.height_px < limits.min_face_px:
        return "too_small"
    if heard_N is not None:
        heard = heard_N[largest.start_frame - shot.start_frame : largest.end_frame - shot.start_frame]
        if heard.any() and in_sight(largest, film.rate)[heard].mean() < USABLE_PART:
            return hidden_reason(largest, heard)
        if heard.any() and np.median(np.abs(largest.yaw_N[heard])) > limits.max_yaw_deg:
            return "profile"
    return "off_screen"


def _evidence(
    tracks: list[Track], activity_KN: np.ndarray, heard_N: np.ndarray, path_N: np.ndarray, frame_s: float
) -> dict[str, FaceEvidence]:
    """Numbers to judge a decision by: per face its lips' activity in and out of speech."""
    faces = {}
    for k, track in enumerate(tracks):
        speech, quiet = activity_KN[k][heard_N], activity_KN[k][~heard_N]
        faces[track.id.rsplit("/", 1)[-1]] = FaceEvidence(
            round(float(speech.mean()), 3) if len(speech) else None,
            round(float(quiet.mean()), 3) if len(quiet) else None,
            round(float((path_N == k).sum() * frame_s), 2),
        )
    return faces
