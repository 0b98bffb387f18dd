"""Finished titles as clips: who speaks where is known from their analysis, so faces are only cut, in one pass a film.

Knows the folder of a `dub run` as far as its pipeline tells where things lie, and no split and no shard.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import ValidationError

from dubbing import experts, media
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.dataset.clip import PIECES, finished
from dubbing.dataset.faces import cut_face, face_boxes
from dubbing.dataset.layouts import Source
from dubbing.dataset.pieces import Piece, pieces
from dubbing.dataset.segment import Run
from dubbing.dataset.shards import FPS, LEAD, PER_FRAME, RATE_HZ, Sample, jpeg, write_shard
from dubbing.errors import InputError, MediaError
from dubbing.experts.crop import shown
from dubbing.manifest import Manifest, of_run
from dubbing.pipeline import Job
from dubbing.records import Track
from dubbing.stage import Resources, Stage
from dubbing.stages.audio import load_wave
from dubbing.stages.faces import in_sight, load_tracks

__all__ = ["CutTitle", "find_titles"]

_JOIN_S = 1.0  # a silence this long between two stretches of speech belongs to them
_SMOOTH_S = 0.1  # to each side, as `generators.square` smooths boxes


def find_titles(out: Path) -> list[Source]:
    """Every person who speaks in every title of an output folder, one source a person and title, in film order.

    Raises InputError: no run, one of another version, or one whose analysis is not finished; MediaError: a film that
    is gone.
    """
    try:
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(of_run(run["manifest"]), strict=False)
        config = Config.model_validate(run["config"], strict=False)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as e:
        raise InputError(
            f"{str(out / 'run.json')!r} is not that of a finished `dub run` of this version; run the job again."
        ) from e
    job = Job(manifest, out, config)
    job.decisions = {}
    sources: list[Source] = []
    for title in manifest.titles:
        try:
            shots, decided = job.shots(title), job.decided(title)
        except FileNotFoundError as e:
            raise MediaError(f"{e.filename!r}, the film of title {title.id}, is gone; bring it back.") from e
        if not shots or not decided:
            raise InputError(
                f"Title {title.id} in {str(out)!r} is not analysed, or was by other settings or another version; "
                "`dub run` its manifest again."
            )
        tasks = {t.id: t for t in job.tasks()}
        sound = tasks.get(f"audio {title.id}/source")
        faces = {s.id: tasks[f"faces {title.id}/{s.id}"] for s in shots}
        people: dict[str, list[dict[str, Any]]] = {}
        line, silent = job.timeline(title), Counter[str]()
        for shot in shots:
            if why := decided[shot.id]["reason"]:
                silent[why] += int((line.time(shot.end_frame) - line.time(shot.start_frame)) * FPS)
            for spoken in decided[shot.id]["tracks"]:
                name = spoken["actor"].removesuffix(".npz") if spoken["actor"] else "unknown"
                one = {"folder": str(faces[shot.id].folder), "track": spoken["track"], "stretches": spoken["stretches"]}
                people.setdefault(name, []).append(one)
        args = {
            "source": str(job.film(title)), "timeline": str(tasks[f"shots {title.id}"].folder),
            "sound": str(sound.folder) if sound else None,
            "people": [{"speaker": f"{title.id}/{name}", "faces": spoken} for name, spoken in sorted(people.items())],
            "left_out": dict(silent),
        }  # fmt: skip
        sources.append(Source(title.id, title.id, job.film(title), None, args))
    return sources


class _Wave:
    """The analysed sound of a title from one frame of it on, as `reading.Sound` gives a clip's."""

    def __init__(self, folder: str, zero: int, length: int) -> None:
        self._folder, self._zero, self._length = folder, zero, length

    def between(self, first: int, last: int) -> np.ndarray:
        return load_wave(self._folder, self._zero + first, self._zero + last)

    def reaches(self, last: int) -> int:
        return min(last, self._length - self._zero)


class _Wanted:
    """One stretch of one face, at 25 a second from where its first frame begins: filled as the frames pass by."""

    def __init__(self, track: Track, line: Timeline, first: int, last: int, speaker: str) -> None:
        self.speaker, self.start = speaker, first
        times_s = line.times_s(first, last)
        self.at_K = shown(times_s) + first
        local = self.at_K - track.start_frame
        reach = max(1, round(float(line.rate) * _SMOOTH_S))
        self.mesh_KP3 = track.mesh_NP3[local]
        self.boxes_K4 = face_boxes(track.mesh_NP3, reach)[local]
        self.height_px = track.height_px
        self.jpegs: list[bytes] = []

    @property
    def last(self) -> int:
        return int(self.at_K[-1])

    def give(self, picture: media.Picture, side: int) -> None:
        """A frame of the film, each once and in order."""
        one: bytes | None = None
        while len(self.jpegs) < len(self.at_K) and self.at_K[len(self.jpegs)] == picture.frame:
            one = one or jpeg(cut_face(picture, self.boxes_K4[len(self.jpegs)], side))
            self.jpegs.append(one)


class CutTitle(Stage):
    """The pieces of one finished title. args: as `find_titles` gives them, and settings as `clip.CutClip` has them.

    left_out: frames at 25 a second of shots in which nobody is to be dubbed, by the analysis's reason. Result: as of a
    clip; each piece says its speaker.
    """

    name: ClassVar[str] = "cut_title"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def setup(self) -> None:
        self._expert = experts.load("lips")

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        made: list[dict[str, Any]] = []
        lost: Counter[str] = Counter(args["left_out"])
        if args["sound"] is None:
            return {"status": "rejected", "reason": "no_sound", "text": "", "pieces": [], "left_out": {}}

        def rows() -> Iterator[tuple[Sample, Any]]:
            for speaker, piece in self._pieces(args, lost, progress):
                made.append({**piece.about, "speaker": speaker})
                yield Sample(str(len(made)), "", "train", 0, ""), piece.packed

        try:
            write_shard(out, PIECES, rows())
        except MediaError as e:
            for left in out.rglob("*.parquet"):
                left.unlink()
            return {"status": "unreadable", "reason": "unreadable", "text": str(e), "pieces": [], "left_out": {}}
        if not made:
            (out / "shards" / f"{PIECES}.parquet").unlink()
        return finished(made, lost)

    def _pieces(
        self, args: Mapping[str, Any], lost: Counter[str], progress: Callable[[int], None]
    ) -> Iterator[tuple[str, Piece]]:
        settings = args["settings"]
        line = media.load_timeline(args["timeline"])
        length = line.sample(len(line), RATE_HZ)
        limits = (settings["min_face_px"], settings["shortest_s"], settings["longest_s"])
        wanted = []
        for stretch in sorted(_stretches(args["people"], line, settings["longest_s"]), key=lambda s: s[1]):
            length_s = line.time(stretch[2]) - line.time(stretch[1])
            if length_s < settings["shortest_s"]:
                lost["too_short"] += int(length_s * FPS)
            else:
                wanted.append(stretch)
        if not wanted:
            return
        open_: list[_Wanted] = []
        end = max(last for _, _, last, _ in wanted)
        for picture in media.read(args["source"], line, wanted[0][1], end, threads=1):
            while wanted and wanted[0][1] <= picture.frame:
                track, first, last, speaker = wanted.pop(0)
                open_.append(_Wanted(track(), line, first, last, speaker))
            for one in open_:
                one.give(picture, settings["size"])
            for one in [o for o in open_ if o.last <= picture.frame]:
                open_.remove(one)
                before = min(int(line.time(one.start) * FPS), -(-LEAD // PER_FRAME))  # frames of sound that lead in
                sound = _Wave(args["sound"], line.sample(one.start, RATE_HZ) - before * PER_FRAME, length)
                run = Run(0, before, one.mesh_KP3, one.boxes_K4, tuple(one.jpegs), one.height_px)
                at_s = float(line.time(one.start)) - before / FPS
                for piece in pieces(run, sound, self._expert, settings["size"], limits, lost, at_s):
                    yield one.speaker, piece
            progress(1)


def _stretches(
    people: Sequence[Mapping[str, Any]], line: Timeline, longest_s: float
) -> Iterator[tuple[Callable[[], Track], int, int, str]]:
    """(track, first, last, speaker) of every stretch in which a speaking face is in sight, none too long."""
    longest = max(2, int(longest_s * line.rate))
    for person in people:
        for spoken in person["faces"]:
            get = _later(spoken["folder"], spoken["track"])
            track = get()
            speaks_N = np.zeros(len(track.frames_N), bool)
            before: int | None = None
            for a, b in spoken["stretches"]:
                first = before if before is not None and a - before <= line.rate * _JOIN_S else a
                speaks_N[max(0, first - track.start_frame) : max(0, b - track.start_frame)] = True
                before = b
            seen_N = np.concatenate([[False], speaks_N & in_sight(track, line.rate), [False]])
            for a, b in (np.flatnonzero(np.diff(seen_N)).reshape(-1, 2) + track.start_frame).tolist():
                cuts = np.linspace(a, b, -(-(b - a) // longest) + 1).round().astype(int).tolist()
                for first, last in zip(cuts[:-1], cuts[1:], strict=True):
                    if last - first > 1:
                        yield get, first, last, person["speaker"]


def _later(folder: str, name: str) -> Callable[[], Track]:
    """A track that is loaded when it is needed: a film has thousands."""
    return lambda: _track(folder, name)


def _track(folder: str, name: str) -> Track:
    return next(t for t in load_tracks(folder) if t.id == name)
