"""Actors: fit how each person's mouth moves with sound, on the title's own dialogue.

One actor is one person found by `speakers` in any number of shots. The model lies in the title's
analysis folder under its own hash and goes nowhere else: a film must not train anything that outlives the job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dubbing import media
from dubbing.artifact import Ref
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import SourceSound, load_wave
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.face import canonical
from dubbing.generators.rewrite import voice
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["Actors", "ActorsInputs"]

MOST_S = 600.0  # dialogue used to fit one actor: more changes little and costs memory
_COVERED = "the speakers were found in it"


@dataclass(frozen=True)
class ActorsInputs(Inputs):
    """The inputs of the stage `actors`."""

    speakers: Ref[SpeakerList]
    """Who speaks where."""
    prior: str
    """Key of what every actor is fitted on."""
    faces: tuple[Ref[FaceTracks] | None, ...] = awaited(why=_COVERED)
    """The faces of each shot, None where they could not be looked for."""
    source_sound: Ref[SourceSound] | None = uncounted(_COVERED)
    """The film's own sound, where it has one."""
    timeline: Ref[ShotList] = uncounted(_COVERED)
    """The film's frames in time."""


class Actors(Stage[ActorsInputs, FittedActors]):
    """The models of all people of a title who speak enough of it."""

    name: ClassVar[str] = "actors"
    scope = Scope.TITLE
    version = 2
    expands = True
    chain_ms = 65.0

    @classmethod
    def inputs(cls, at: Place) -> ActorsInputs:
        sound = at.ref(SourceSound) if at.has(SourceSound) else None
        return ActorsInputs(at.ref(SpeakerList), at.prior, at.each(FaceTracks), sound, at.ref(ShotList))

    def process(self, inputs: ActorsInputs, out: Path, progress: Callable[[int], None]) -> FittedActors:
        line = media.load_timeline(inputs.timeline.folder)
        examples: dict[int, list[voice.Example]] = defaultdict(list)
        seconds: dict[int, float] = defaultdict(float)
        speakers = inputs.speakers.read()
        for decision, faces in zip(speakers.decisions, inputs.faces, strict=True):
            if faces is None or inputs.source_sound is None or speakers.unheard:
                continue
            tracks = {t.id: t for t in load_tracks(faces.folder)}
            for spoken in decision.tracks:
                track = tracks[spoken.track]
                if seconds[spoken.actor] > MOST_S or len(track.frames_N) < 12:
                    continue
                speaking = np.zeros(len(track.frames_N), bool)
                for a, b in spoken.stretches:
                    speaking[max(0, a - track.start_frame) : max(0, b - track.start_frame)] = True
                if speaking.sum() < 12:
                    continue
                first, last = line.sample(track.start_frame, RATE_HZ), line.sample(track.end_frame, RATE_HZ)
                wave = load_wave(inputs.source_sound.folder, first, last)
                times_s = line.times_s(track.start_frame, track.end_frame, centre=True)
                times_s = times_s - float(line.time(track.start_frame))
                shape, _ = canonical(track.mesh_NP3)
                examples[spoken.actor].append(voice.Example(shape, times_s, wave, speaking & track.seen_N))
                seconds[spoken.actor] += float(speaking.sum() / line.rate)
        files = {}
        for actor, given in sorted(examples.items()):
            model = voice.fit_actor(given)
            files[actor] = f"actor_{model.hash[:12]}.npz"
            voice.save(model, out / files[actor])
        return FittedActors(files, dict(seconds))
