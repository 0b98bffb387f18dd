"""Lipsync: decide where in a shot mouths must change for this dub, and have them rendered.

A take is a folder of patches, one folder per face. A shot that is left alone gets a take too: no
patches, and the reason. Knows when, never how: generators render.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.clock import Timeline
from dubbing.generators import Generator, RenderRequest, create
from dubbing.records import Line, Shot, Track
from dubbing.sound import RATE_HZ
from dubbing.stage import RESULT, Resources, Stage
from dubbing.stages.actors import actor_file
from dubbing.stages.audio import load_speech, load_wave
from dubbing.stages.faces import in_sight, load_tracks
from dubbing.store import key_of, read_json

__all__ = ["Lipsync", "speech_mask"]

PAD_S = 0.25  # a patch begins this long before the speech it covers
JOIN_S = 0.6  # gaps shorter than this between two stretches are covered too


class Lipsync(Stage):
    """args: source, timeline, shot, start, end, faces, sound, source_sound, decided, actors, generator,
    models (folder), settings; still: True where the film is made of a photograph; window (of a long shot): the
    part [a, b) of it to render; parts: instead, the folders of its windows, to be joined."""

    name = "lipsync"
    version = 1
    resources = Resources(cpus=1.0, memory_mb=2000)

    def __init__(self) -> None:
        self._generators: dict[str, Generator] = {}

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Writes face_<n>/ patch folders; returns status, reason, face, generator and what was rendered."""
        if "parts" in args:
            return _joined([Path(p) for p in args["parts"]], out)
        shot = Shot(args["shot"], args["start"], args["end"])
        window = tuple(args["window"]) if "window" in args else None
        length = window[1] - window[0] if window else len(shot)
        line = media.load_timeline(Path(args["timeline"]))
        decided = args["decided"]
        about = {"face": decided["track"], "face_px": decided["face_px"], "yaw_deg": decided["yaw_deg"]}
        speech_N = speech_mask(load_speech(Path(args["sound"])), line, shot.start_frame, shot.end_frame)
        reason = decided["reason"]
        if reason != "no_face" and not speech_N.any():
            reason = "no_speech"
        if reason or not decided["tracks"]:
            progress(length)
            return {**about, "status": "untouched", "reason": reason or "off_screen", "faces": []}
        generator = self._generator(args["generator"], args["models"])
        tracks = {t.id: t.until(shot.end_frame) for t in load_tracks(Path(args["faces"]))}
        info = media.probe(Path(args["source"]))
        shares = _share(speech_N, decided["tracks"], shot)
        done, rendered, faces = 0, 0, []
        for spoken, share_N in zip(decided["tracks"], shares, strict=True):
            track = tracks[spoken["track"]]
            own = [] if args.get("still") else spoken["stretches"]  # a photograph is at rest already
            lines, says_N = _lines(track, share_N, own, shot, line, args["settings"]["max_yaw_deg"])
            if not lines:
                continue
            first, last = (line.sample(f, RATE_HZ) for f in (track.start_frame, track.end_frame))
            work = RenderRequest(
                source=Path(args["source"]),
                timeline=line,
                picture_wh=info.upright_size,
                track=track,
                lines=tuple(lines),
                wave=load_wave(Path(args["sound"]), first, last),
                speech_N=says_N,
                actor=actor_file(Path(args["actors"]), spoken["actor"]),
                window=window,
                still=bool(args.get("still")),
            )
            folder = out / track.id.rsplit("/", 1)[-1]
            folder.mkdir()
            count = 0
            with ExitStack() as stack:
                writer: media.PatchWriter | None = None
                for one in generator.render(work):
                    if writer is None:
                        height, width = one.patch.matte_HW.shape
                        writer = stack.enter_context(media.PatchWriter(folder, width, height))
                    writer.write(one.patch, wanted_opening=one.wanted_opening)
                    count += 1
                    if done < length:
                        done += 1
                        progress(1)
            if not count:
                folder.rmdir()
            faces.append({"track": track.id, "folder": folder.name, "frames": count, "actor": spoken["actor"],
                          "lines": [[x.start_frame, x.end_frame] for x in lines]})  # fmt: skip
            rendered += count
        progress(length - done)
        if not rendered and window is None:
            return {**about, "status": "untouched", "reason": "occluded", "faces": []}
        return {**about, "status": "dubbed", "reason": None, "faces": faces, "frames": rendered,
                "generator": generator.name, "generator_hash": generator.hash,
                "choice": dict(args["generator"])}  # fmt: skip

    def _generator(self, choice: Mapping[str, Any], models_folder: str) -> Generator:
        key = key_of(choice)
        if key not in self._generators:
            self._generators[key] = create(choice["name"], choice["settings"], models_folder)
        return self._generators[key]


def _joined(parts: list[Path], out: Path) -> dict[str, Any]:
    """One take from those of a long shot's windows. A window in which nobody speaks has faces without patches."""
    results = [read_json(p / RESULT) for p in parts]
    first = results[0]
    if first["status"] != "dubbed":
        return {k: v for k, v in first.items() if k not in ("seconds", "key")}
    faces = []
    for n, face in enumerate(first["faces"]):
        pieces = [p / face["folder"] for p, r in zip(parts, results, strict=True) if r["faces"][n]["frames"]]
        if pieces:
            (out / face["folder"]).mkdir()
            media.join_patches(pieces, out / face["folder"])
            faces.append({**face, "frames": sum(r["faces"][n]["frames"] for r in results)})
    about = {k: v for k, v in first.items() if k not in ("seconds", "key", "faces", "frames")}
    if not faces:
        return {**about, "status": "untouched", "reason": "occluded", "faces": []}
    return {**about, "faces": faces, "frames": sum(f["frames"] for f in faces)}


def speech_mask(speech: np.ndarray, line: Timeline, start: int, end: int) -> np.ndarray:
    """Which frames [start, end) are shown while there is speech, bool.

    speech: int (S, 2) ranges of 16 kHz samples, sorted.
    """
    edges = np.array([line.sample(f, RATE_HZ) for f in range(start, end + 1)])
    mask = np.zeros(end - start, bool)
    for a, b in np.asarray(speech).reshape(-1, 2):
        mask |= (edges[:-1] < b) & (edges[1:] > a)
    return mask


def _share(speech_N: np.ndarray, tracks: list[Mapping[str, Any]], shot: Shot) -> list[np.ndarray]:
    """Who of the shot's speakers says which frame of the dub: the one who speaks nearest to it in the original."""
    if len(tracks) == 1:
        return [speech_N]
    frames = np.arange(shot.start_frame, shot.end_frame)
    far = []
    for spoken in tracks:
        distance = np.full(len(frames), len(frames) * 2)
        for a, b in spoken["stretches"]:
            distance = np.minimum(distance, np.maximum(np.maximum(a - frames, frames - b + 1), 0))
        far.append(distance)
    nearest = np.argmin(np.stack(far), 0)
    return [speech_N & (nearest == k) for k in range(len(tracks))]


def _lines(
    track: Track, share_N: np.ndarray, own: list[list[int]], shot: Shot, line: Timeline, max_yaw_deg: float
) -> tuple[list[Line], np.ndarray]:
    """Where a track is re-rendered, and where in the track it speaks the dub.

    Wherever the dub speaks, and wherever the original did: there the mouth must come to rest.
    """
    count = len(track.frames_N)
    offset = track.start_frame - shot.start_frame
    says_N = share_N[offset : offset + count]
    if not says_N.any():
        return [], says_N
    moves_N = says_N.copy()
    for a, b in own:
        moves_N[max(0, a - track.start_frame) : max(0, b - track.start_frame)] = True
    pad, join = (max(1, int(s * line.rate)) for s in (PAD_S, JOIN_S))
    where = np.flatnonzero(moves_N)
    for a, b in zip([0, *where], [*where, count - 1], strict=True):
        if 1 < b - a <= join + 2 * pad or (a == 0 or b == count - 1) and b - a <= join:
            moves_N[a : b + 1] = True
    moves_N = np.convolve(moves_N, np.ones(2 * pad + 1), "same") > 0.5
    moves_N &= in_sight(track, line.rate) & (np.abs(track.yaw_N) <= max_yaw_deg)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], moves_N, [0]])))
    runs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= 3]
    return [Line(track.id, track.start_frame + a, track.start_frame + b) for a, b in runs], says_N
