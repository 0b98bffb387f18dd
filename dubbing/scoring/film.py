"""One film measured, shot by shot, by one sync expert. Memory does not grow with the film's length.

Cuts and faces come from the pipeline's own stages, so a shot's face has the track and the name that `dub run`
gives it. A shot of more than PART_FRAMES is followed and measured in parts that overlap by OVERLAP_S: long enough
for every window to be taken from a part in which its whole neighbourhood lies. At any time there are in memory:
the meshes of one part, `feed.BLOCK` crops of each of its faces, one decoded picture, and 31 distances for each window
of one shot (124 bytes). The sound lies in an unnamed temporary file, 32 kB a second.

Axes: V windows, S shifts -15..15, E embedding, N frames, K instants at 25 a second.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import numpy as np

from dubbing import media
from dubbing.analysis.mixes import mixed_in
from dubbing.analysis.windows import continue_faces
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import in_sight, load_tracks
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.errors import MediaError
from dubbing.experts import Expert, crop, lse, model_name
from dubbing.experts.feed import CropExpert, Feed
from dubbing.networks.mfcc import pcm_of
from dubbing.records import Shot, Track
from dubbing.sound import RATE_HZ
from dubbing.stages.faces import Faces, FacesInputs
from dubbing.stages.shots import Shots, ShotsInputs
from dubbing.store import output_error, temporary

__all__ = ["FilmScore", "Scorer", "TrackScore"]

PART_FRAMES = 750
PART_S = 8  # a part is never shorter, however many frames a second there are
OVERLAP_S = 2  # shifts reach 0.6 s, a window 0.2 s, a crop's median 0.24 s to each side of the middle
_INAUDIBLE = 33  # int16, -60 dBFS, as the audio stage has it

OnFrames = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class TrackScore:
    """One face of one shot, with one sound.

    id: `shot_0042/face_1`; [start_frame, end_frame) and their timecodes; start_s: where its first window begins,
    seconds from frame 0; face_px: median height; yaw_deg: median turn; windows: how many d, c, offset_frames and
    at_zero rest on, 0 where they are None, and then reason says why: `too_short` or `out_of_sight`; distance_S:
    float32 (31,), mean distance at shifts -15..15; confidence_V: float32, `lse.confidence`, one value each 1/25 s
    from start_s on, NaN where the mouth is out of sight.
    """

    id: str
    start_frame: int
    end_frame: int
    start_tc: str
    end_tc: str
    start_s: float
    face_px: float
    yaw_deg: float
    reason: str | None = None
    windows: int = 0
    d: float | None = None
    c: float | None = None
    offset_frames: float | None = None
    at_zero: float | None = None
    distance_S: np.ndarray | None = None
    confidence_V: np.ndarray | None = None


@dataclass(frozen=True)
class FilmScore:
    """A film's tracks in the film's order, the largest face of a shot first. sound: the file that was heard;
    length_s, sound_s: how long picture and sound last; model: `name@hash12`."""

    video: Path
    sound: Path
    model: str
    frames: int
    shots: int
    length_s: Fraction
    sound_s: Fraction
    tracks: tuple[TrackScore, ...]


class Scorer:
    """Scores film after film with one expert; a context manager, because face models take a second to load."""

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._shots, self._faces = Shots(), Faces()
        self._ready = False
        self.passes = 2 if expert.wants == "mesh" else 3
        """How often each picture is read: on_frames counts up to about this many times the film's frames."""

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._ready:
            self._faces.close()

    def score(
        self, video: Path | str, audio: Path | str | None = None, on_frames: OnFrames = lambda n: None
    ) -> FilmScore:
        """Every face track of a film with its own sound, or with that of `audio` from its first sample on (where
        that file has a picture: from its first picture on).

        Raises MediaError: no picture, no sound, nothing louder than -60 dBFS, damage; OutputError: the disk of
        temporary files is full.
        """
        video, sound = Path(video), Path(audio or video)
        if media.probe(video).video is None:
            raise MediaError(f"{video} has no video stream.")
        if not media.probe(sound).audio:
            raise MediaError(f"{sound} has no sound" + ("." if audio else "; give one with --audio FILE."))
        try:
            return self._scored(video, sound, on_frames)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise output_error(Path(tempfile.gettempdir(), "dub-score"), e) from e

    def _scored(self, video: Path, sound: Path, on_frames: OnFrames) -> FilmScore:
        with _Sound(sound) as heard, temporary("score") as folder:
            if not self._ready:
                self._faces.setup()
                self._ready = True
            settings = Config().shots
            found = self._shots.process(
                ShotsInputs(File(video, ""), None, settings.threshold, settings.min_frames), folder, on_frames
            )
            line, shots = media.load_timeline(folder), found.shots
            film = _Film(self._expert, self._faces, video, heard, line, folder, found.mixes, on_frames)
            tracks = [track for shot in shots for track in film.shot(shot)]
            return FilmScore(
                video=video, sound=sound, model=model_name(self._expert), frames=len(line), shots=len(shots),
                length_s=line.duration, sound_s=Fraction(heard.samples, RATE_HZ), tracks=tuple(tracks),
            )  # fmt: skip


class _Sound:
    """A file's sound at 16 kHz mono, kept on disk; sample 0 is where the picture begins. A context manager.

    Raises MediaError when it cannot be read or holds nothing to hear.
    """

    def __init__(self, path: Path) -> None:
        self.samples, loudest = 0, 0
        self._file: IO[bytes] = tempfile.TemporaryFile()
        try:
            for block in media.sound_blocks(path, RATE_HZ):
                pcm = pcm_of(block)
                self._file.write(pcm.tobytes())
                self.samples += len(pcm)
                loudest = max(loudest, int(np.abs(pcm.astype(np.int32)).max()))
            if loudest < _INAUDIBLE:
                raise MediaError(f"{path} holds no sound: nothing in it is louder than -60 dBFS; give another file.")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def between(self, first: int, last: int) -> np.ndarray:
        """Samples [first, last), float32 in -1..1; silence where there is no sound."""
        out = np.zeros(max(0, last - first), np.float32)
        a, b = max(0, first), min(last, self.samples)
        if b > a:
            self._file.seek(2 * a)
            out[a - first : b - first] = np.frombuffer(self._file.read(2 * (b - a)), np.int16) / np.float32(32768)
        return out


@dataclass(eq=False)
class _Piece:
    """One face in one part of a shot: the distances of every window, and in which of them the mouth is seen."""

    track: Track
    start_s: float
    distance_SV: np.ndarray
    seen_V: np.ndarray

    def cut(self, from_s: float | None, to_s: float | None) -> tuple[np.ndarray, np.ndarray]:
        """(distance_SV, seen_V) of the windows that begin in [from_s, to_s)."""
        begins = self.start_s + np.arange(len(self.seen_V)) / lse.FPS
        keep = (begins >= (-np.inf if from_s is None else from_s)) & (begins < (np.inf if to_s is None else to_s))
        return self.distance_SV[:, keep], self.seen_V[keep]


class _Film:
    """What the shots of one film share."""

    def __init__(
        self,
        expert: Expert,
        faces: Faces,
        video: Path,
        sound: _Sound,
        line: Timeline,
        folder: Path,
        mixes: Sequence[tuple[int, int]],
        on_frames: OnFrames,
    ) -> None:
        self._expert, self._stage, self._video, self._sound = expert, faces, video, sound
        self._line, self._folder, self._mixes, self._on_frames = line, folder, mixes, on_frames

    def shot(self, shot: Shot) -> list[TrackScore]:
        """Every face of one shot."""
        faces: list[list[_Piece]] = []
        for start, end in parts(shot, self._line):
            found = self._part(shot, start, end)
            continue_faces(faces, found, lambda piece: piece.track)
        return [self._track(f"{shot.id}/face_{n}", pieces) for n, pieces in enumerate(faces, 1)]

    def _part(self, shot: Shot, start: int, end: int) -> list[_Piece]:
        """The faces of frames [start, end), measured as a stretch of their own."""
        timeline = Ref(ShotList, "", "", self._folder)
        mixes = mixed_in(self._mixes, start, end) or None
        inputs = FacesInputs(start, end, File(self._video, ""), shot.number, timeline, mixes=mixes)
        self._stage.process(inputs, self._folder, self._on_frames)
        tracks = load_tracks(self._folder)
        times = [self._line.times_s(t.start_frame, t.end_frame) - float(self._line.time(t.start_frame)) for t in tracks]
        counts = [lse.windows_in(t) for t in times]
        pieces = []
        for track, times_s, count, video_VE in zip(tracks, times, counts, self._seen(tracks, times), strict=True):
            distance_SV, seen_V = np.zeros((2 * lse.SHIFTS + 1, 0), np.float32), np.zeros(0, bool)
            if count:
                wave = self._sound.between(
                    *(self._line.sample(f, RATE_HZ) for f in (track.start_frame, track.end_frame))
                )
                distance_SV = lse.lse(video_VE, self._expert.embed_sound(wave, 0.0, count)).distance_SV
                usable = in_sight(track, self._line.rate)[crop.shown(times_s)]
                seen_V = np.lib.stride_tricks.sliding_window_view(usable, lse.WINDOW)[:count].all(1)
            bare = replace(track, mesh_NP3=_boxes(track))
            pieces.append(_Piece(bare, float(self._line.time(track.start_frame)), distance_SV, seen_V))
        return pieces

    def _seen(self, tracks: list[Track], times: list[np.ndarray]) -> Iterator[np.ndarray]:
        """The embeddings of each track's windows, (V, E)."""
        if self._expert.wants == "mesh":
            for track, times_s in zip(tracks, times, strict=True):
                yield self._expert.embed_video(track.mesh_NP3, times_s)
            return
        expert = cast(CropExpert, self._expert)
        feeds = [Feed(expert, t, s) for t, s in zip(tracks, times, strict=True) if lse.windows_in(s)]
        if feeds:
            first, last = min(t.start_frame for t in tracks), max(t.end_frame for t in tracks)
            for picture in media.read(self._video, self._line, first, last):
                self._on_frames(1)
                wanted = [f for f in feeds if f.wants(picture.frame)]
                if wanted:
                    whole = crop.published_bgr(picture)
                    for feed in wanted:
                        feed.give(whole)
        fed = iter(feeds)
        for times_s in times:
            yield next(fed).finish() if lse.windows_in(times_s) else np.zeros((0, 1), np.float32)

    def _track(self, name: str, pieces: list[_Piece]) -> TrackScore:
        """One face's score from its pieces, each up to the middle of what it shares with the next."""
        seams = [None, *(self._seam(a, b) for a, b in zip(pieces[:-1], pieces[1:], strict=True)), None]
        cuts = [p.cut(a, b) for p, a, b in zip(pieces, seams[:-1], seams[1:], strict=True)]
        distance_SV, seen_V = np.concatenate([d for d, _ in cuts], 1), np.concatenate([s for _, s in cuts])
        first, last = pieces[0].track.start_frame, max(p.track.end_frame for p in pieces)
        yaw_N = np.concatenate([p.track.yaw_N for p in pieces])
        common = TrackScore(
            id=name, start_frame=first, end_frame=last, start_tc=self._line.timecode(first),
            end_tc=self._line.timecode(last), start_s=pieces[0].start_s,
            face_px=float(np.median([p.track.height_px for p in pieces])), yaw_deg=float(np.median(yaw_N)),
        )  # fmt: skip
        return _scored(common, distance_SV, seen_V)

    def _seam(self, a: _Piece, b: _Piece) -> float:
        """Where, in seconds, one piece gives way to the next."""
        first, last = b.track.start_frame, a.track.end_frame
        return float(self._line.time(first) + self._line.time(last)) / 2


def _scored(track: TrackScore, distance_SV: np.ndarray, seen_V: np.ndarray) -> TrackScore:
    """The track with the numbers of those of its windows in which the mouth is in sight."""
    count = int(seen_V.sum())
    if not count:
        return replace(track, reason="out_of_sight" if len(seen_V) else "too_short")
    mean_S = distance_SV[:, seen_V].mean(1, dtype=np.float64)
    best, least = int(mean_S.argmin()), float(mean_S.min())
    result = lse.Lse(lse.SHIFTS - best, least, float(np.median(mean_S)) - least, mean_S, distance_SV)
    return replace(
        track, windows=count, d=result.d, c=result.c, offset_frames=float(result.offset),
        at_zero=float(mean_S[lse.SHIFTS]), distance_S=mean_S.astype(np.float32),
        confidence_V=np.where(seen_V, lse.confidence(result), np.float32(np.nan)),
    )  # fmt: skip


def parts(shot: Shot, line: Timeline) -> list[tuple[int, int]]:
    """Frames [start, end) of the parts that a shot is measured in: one, or several that overlap by OVERLAP_S."""
    found, start = [], shot.start_frame
    while True:
        until_s = line.time(start) + PART_S
        end = shot.end_frame if until_s >= line.time(shot.end_frame) else line.frame_at(until_s)
        end = min(shot.end_frame, max(start + PART_FRAMES, end))
        found.append((start, end))
        if end == shot.end_frame:
            return found
        start = max(start + PART_FRAMES // 2, line.frame_at(line.time(end) - OVERLAP_S))


def _boxes(track: Track) -> np.ndarray:
    """Two corners of the mesh's box instead of the mesh, float32 (N, 2, 3): all that joining needs."""
    return np.stack([track.mesh_NP3.min(1), track.mesh_NP3.max(1)], 1)
