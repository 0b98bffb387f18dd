"""Actors: fit how each person's mouth moves with sound, on the title's own dialogue.

One actor is one person found by `speakers` in any number of shots. The model lies in the title's
analysis folder under its own hash and goes nowhere else (design section 4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.face import canonical
from dubbing.generators.rewrite import voice
from dubbing.sound import RATE_HZ
from dubbing.stage import Stage
from dubbing.stages.audio import load_wave
from dubbing.stages.faces import load_tracks
from dubbing.store import read_json

__all__ = ["Actors"]

MOST_S = 600.0  # dialogue used to fit one actor: more changes little and costs memory


class Actors(Stage):
    """args: timeline, shots, speakers, faces (one folder or None per shot), source_sound (folder or None)."""

    name = "actors"
    version = 2

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Writes actor_<hash12>.npz files; returns {"shots": {shot id: decision}}, a decision being the
        speakers' row with `actor` the file's name, or None where the prior alone will drive."""
        decided = read_json(Path(args["speakers"]) / "speakers.json")
        line = media.load_timeline(Path(args["timeline"]))
        examples: dict[int, list[voice.Example]] = defaultdict(list)
        seconds: dict[int, float] = defaultdict(float)
        for row, folder in zip(decided, args["faces"], strict=True):
            if folder is None or not args["source_sound"]:
                continue
            tracks = {t.id: t for t in load_tracks(Path(folder))}
            for spoken in row["tracks"]:
                track = tracks[spoken["track"]]
                if seconds[spoken["actor"]] > MOST_S or len(track.frames_N) < 12:
                    continue
                speaking = np.zeros(len(track.frames_N), bool)
                for a, b in spoken["stretches"]:
                    speaking[max(0, a - track.start_frame) : max(0, b - track.start_frame)] = True
                if speaking.sum() < 12:
                    continue
                first, last = line.sample(track.start_frame, RATE_HZ), line.sample(track.end_frame, RATE_HZ)
                wave = load_wave(Path(args["source_sound"]), first, last)
                times_s = line.times_s(track.start_frame, track.end_frame, centre=True)
                times_s = times_s - float(line.time(track.start_frame))
                shape, _ = canonical(track.mesh_NP3)
                examples[spoken["actor"]].append(voice.Example(shape, times_s, wave, speaking & track.seen_N))
                seconds[spoken["actor"]] += float(speaking.sum() / line.rate)
        files = {}
        for actor, given in sorted(examples.items()):
            model = voice.fit_actor(given)
            files[actor] = f"actor_{model.hash[:12]}.npz"
            voice.save(model, out / files[actor])
        for row in decided:
            for spoken in row["tracks"]:
                spoken["actor"] = files.get(spoken["actor"])
        return {"shots": {row["shot"]: row for row in decided}, "dialogue_s": dict(seconds)}


def actor_file(folder: Path, name: str | None) -> Path | None:
    """The model's file, or None."""
    return folder / name if name else None
