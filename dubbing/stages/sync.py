"""Sync: look at a finished take as a viewer would, and measure each face that was rendered, where it was.

The mesh is found again in the patched pictures (never taken from what was wanted), and from it come
LSE-D, LSE-C and the offset, beside the same numbers of the original performance; how well the mouth
follows what was wanted, motion in silence, sharpness (`dubbing.metrics`); and a contact sheet to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from dubbing import experts, media, metrics
from dubbing.analysis.sheet import Sheet, write_sheets
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound, load_speech, load_wave, sound_of, speech_mask
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.takes import SHEET, FaceScores, Scores, Take, TakeFace, seen_file
from dubbing.artifacts.tracks import FaceTracks, load_tracks, size_and_turn
from dubbing.clock import Timeline
from dubbing.experts import crop, lse
from dubbing.experts.feed import CropExpert, Feed
from dubbing.face import roll_deg
from dubbing.mesh import Meshes, MeshTracker, face_boxes, turn_of
from dubbing.metrics import FramePair, Metric, RenderedShot
from dubbing.records import Patch, Track
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, Windowed, uncounted

__all__ = ["EDGE_S", "Sync", "SyncInputs", "middle_frames"]

_LOOK, _SAID = "look_", "said_"
_CURVES = ("distance", "confidence")
EDGE_S = 0.12  # this much of a silence at each end still belongs to the speech beside it


@dataclass(frozen=True)
class SyncInputs(Windowed):
    """What the scores of a take depend on."""

    take: Ref[Take]
    """The take."""
    expert: str
    """The sync expert, `name@hash12`."""
    metrics: tuple[str, ...] = ()
    """Metrics of other packages, `name@version of package`."""
    unmeasured: bool | None = None
    """True where takes are not to be measured."""
    source_key: str | None = None
    """Key of the original's sound in and near the shot; None where it has none, or no speech of its own."""
    title: str = uncounted("it is only written on the contact sheet", default="")
    """Id of the title."""
    film: File = uncounted("the take was made of it", default=None)
    """The film."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""
    faces: Ref[FaceTracks] = uncounted("the take was made of them", default=None)
    """The shot's faces."""
    sound: Ref[DubSound] = uncounted("the take was made of its part near the shot", default=None)
    """What drives the lips."""
    source_sound: Ref[SourceSound] | None = uncounted(
        "only the sound near the shot matters: `source_key`", default=None
    )
    """The film's own sound, where it has one."""
    models_folder: str = uncounted("the expert's hash names the weights", default="")
    """Where published models lie."""


class Sync(Stage[SyncInputs, Scores]):
    """The scores of one take, with a contact sheet (`SHEET`) and curves of each face (`seen_file`)."""

    name: ClassVar[str] = "sync"
    scope = Scope.TAKE
    version = 7
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=8)
    bad_input_costs = "shot"
    profits_from_gpu = True
    chain_ms = 20.0

    def __init__(self) -> None:
        self._experts: dict[str, experts.Expert] = {}
        self._metrics: dict[str, Metric] = {m.name: m for m in metrics.built_in()}

    @classmethod
    def inputs(cls, at: Place) -> SyncInputs:
        own = at.ref(SourceSound) if at.has(SourceSound) and not at.result(SpeakerList).unheard else None
        return SyncInputs(
            at.shot.start_frame, at.shot.end_frame, at.ref(Take), at.expert, at.metrics,
            None if at.config.sync.score else True,
            at.result(SourceSound).shot_keys[at.shot.id] if own else None, at.title.id, at.film,
            at.ref(ShotList), at.ref(FaceTracks), at.ref(DubSound), own, at.models_folder,
        )  # fmt: skip

    @classmethod
    def where(cls, home: Path, shot: str | None, key: str, inputs: Inputs) -> Path:
        assert isinstance(inputs, SyncInputs)
        return inputs.take.folder.parent / f"score-{key[:12]}"

    def setup(self) -> None:
        self._meshes = Meshes()

    def process(self, inputs: SyncInputs, out: Path, progress: Callable[[int], None]) -> Scores:
        """Writes sheet.jpg and, for each rendered face, seen_face_<n>.npz.

        The latter: frames (N,) of the track; rendered (N,): bool; wanted, seen, was (N,): mouth opening asked for, of
        the take, of the original; distance, source_distance (31,): per shift, take with dub and original with its own
        sound; windows (V,): the middle frame of each window; confidence, source_confidence (V,), nan of windows that
        do not count; what there is not has length 0.
        """
        take = inputs.take.read()
        begin, end = inputs.bounds
        if take.status != "dubbed" or inputs.unmeasured:
            progress(0 if inputs.parts is not None else end - begin)
            return Scores()
        tracks = {t.id: t for t in load_tracks(inputs.faces.folder)}
        line = media.load_timeline(inputs.timeline.folder)
        asked = self._asked([name.partition("@")[0] for name in inputs.metrics])
        looks = []
        for face in take.rendered:
            track, folder = tracks[face.track].until(inputs.end), inputs.take.folder / face.folder
            looks.append(_Look(inputs.film.path, line, track, folder, f"{inputs.title} {track.id}", asked))
        left = 0 if inputs.parts is not None else end - begin
        for look in looks:
            if inputs.parts is not None:
                look.join([p.folder for p in inputs.parts])
                continue
            for _ in look.run(self._meshes, begin, end):
                if left:
                    left -= 1
                    progress(1)
        progress(left)
        if inputs.window is not None:
            for look in looks:
                look.save(out)
            return Scores()
        write_sheets(out / SHEET, [look.sheet for look in looks])
        return Scores(
            tuple(
                self._measured(inputs, take, face, look, line, asked, out)
                for face, look in zip(take.rendered, looks, strict=True)
            )
        )

    def _measured(
        self,
        inputs: SyncInputs,
        take: Take,
        face: TakeFace,
        look: _Look,
        line: Timeline,
        asked: Sequence[Metric],
        out: Path,
    ) -> FaceScores:
        """The numbers of one face that was looked at; writes its curves."""
        track, mesh_NP3 = look.track, look.mesh_NP3
        made, frames = media.mouth_frames(look.folder), look.frames
        wanted = dict(zip(frames.tolist(), made["wanted_opening"].to_pylist(), strict=True))
        patched_N = np.isin(track.frames_N, frames)
        times_s = line.times_s(track.start_frame, track.end_frame) - float(line.time(track.start_frame))
        stem = sound_of(inputs.sound.folder, face.sound)
        dub = _wave(stem, line, track)
        original = inputs.source_sound.folder if inputs.source_sound else None
        own = _wave(original, line, track) if original else None
        result: dict[str, Any] = {}
        curves: dict[str, np.ndarray] = {}
        counted_V = _rendered_windows(times_s, patched_N)
        if counted_V.any():
            expert = self._expert(inputs.expert.partition("@")[0], inputs.models_folder)
            was_VE, is_VE = look.embedded(expert, times_s, mesh_NP3)
            dub_VE = expert.embed_sound(dub, 0.0, len(is_VE))
            found = lse.lse(is_VE, dub_VE, counted_V=counted_V)
            result |= {**_numbers(found), "lse_model": experts.model_name(expert)}
            result["lse_windows"] = int(counted_V.sum())
            curves = _curves(found, counted_V)
            if own is not None:
                source = lse.lse(was_VE, expert.embed_sound(own, 0.0, len(was_VE)), counted_V=counted_V)
                result |= _numbers(source, "source_")
                curves |= _curves(source, counted_V, "source_")
            foreign = lse.lse(was_VE, dub_VE, counted_V=counted_V)
            result["foreign_lse_at_zero"] = float(foreign.distance_S[lse.SHIFTS])
            curves["windows"] = track.start_frame + middle_frames(times_s, len(is_VE))
        shot = RenderedShot(
            frames_N=track.frames_N,
            times_s_N=times_s,
            before_NP3=track.mesh_NP3,
            after_NP3=mesh_NP3,
            patched_N=patched_N,
            wanted_N=np.array([wanted.get(int(f), np.nan) for f in track.frames_N]),
            silent_N=_silent(stem, line, track),
            source_silent_N=_silent(original, line, track),
            wave=dub,
            source_wave=own,
        )
        numbers = metrics.measure(asked, shot, look.said)
        others = {name: value for name, value in numbers.items() if name.startswith(metrics.COLUMN)}
        result |= {name: value for name, value in numbers.items() if name not in others}
        none = dict.fromkeys((*_CURVES, *(f"source_{c}" for c in _CURVES), "windows"), np.zeros(0, np.float32))
        np.savez(seen_file(out, track.id), frames=track.frames_N, rendered=patched_N, wanted=shot.wanted_N,
                 seen=shot.opening_N, was=shot.source_opening_N, **(none | curves))  # fmt: skip
        main = track.id == take.face
        face_px, yaw_deg = (take.face_px, take.yaw_deg) if main else size_and_turn(track)
        return FaceScores(
            track.id, int(frames[0]), int(frames[-1]) + 1, len(frames), face_px, yaw_deg, **result, metrics=others
        )

    def close(self) -> None:
        self._meshes.close()

    def _expert(self, name: str, models_folder: str) -> experts.Expert:
        if name not in self._experts:
            self._experts[name] = experts.load(name, models_folder)
        return self._experts[name]

    def _asked(self, names: Sequence[str]) -> list[Metric]:
        """Our own metrics, and those of other packages by name. Raises PluginError: one is not on this machine."""
        self._metrics |= {name: metrics.load(name) for name in names if name not in self._metrics}
        return list(self._metrics.values())


def _wave(folder: Path, line: Timeline, track: Track) -> np.ndarray:
    """The samples while a track is in the picture, float32."""
    return load_wave(folder, line.sample(track.start_frame, RATE_HZ), line.sample(track.end_frame, RATE_HZ))


def _silent(folder: Path | None, line: Timeline, track: Track) -> np.ndarray:
    """Frames of the track well inside a silence, bool (N,); none where there is no sound."""
    if folder is None:
        return np.zeros(len(track.frames_N), bool)
    speech = speech_mask(load_speech(folder), line, track.start_frame, track.end_frame)
    edge = max(1, round(EDGE_S * float(line.rate)))
    return ~(np.convolve(speech, np.ones(2 * edge + 1), "same") > 0.5)


def _numbers(found: lse.Lse, whose: str = "") -> dict[str, float]:
    """A score as columns of the table."""
    values = {
        "lse_d": found.d,
        "lse_c": found.c,
        "lse_offset_frames": found.offset,
        "lse_at_zero": found.distance_S[lse.SHIFTS],
    }
    return {whose + name: float(value) for name, value in values.items()}


def _curves(found: lse.Lse, counted_V: np.ndarray, whose: str = "") -> dict[str, np.ndarray]:
    """A score as `seen_file` keeps it."""
    confidence_V = np.full(len(counted_V), np.nan, np.float32)
    confidence_V[counted_V] = lse.confidence(found)
    values = {"distance": found.distance_S.astype(np.float32), "confidence": confidence_V}
    return {whose + name: values[name] for name in _CURVES}


def middle_frames(times_s: np.ndarray, windows: int) -> np.ndarray:
    """The frame, counted from the stretch's first, that is shown in the middle of each window, int32 (V,)."""
    middle_s = lse.instants(times_s)[:windows] + lse.WINDOW / 2 / lse.FPS
    return np.asarray(np.searchsorted(times_s, middle_s, side="right") - 1, np.int32)


def _rendered_windows(times_s: np.ndarray, patched_N: np.ndarray) -> np.ndarray:
    """Which windows of a stretch count: those with a patch on every frame under them, bool (V,)."""
    windows = lse.windows_in(times_s)
    # a frame is shown at an instant from its time on; one rounded to its time base must not come too late
    at_K = np.maximum(np.searchsorted(times_s, lse.instants(times_s) + 1e-3, side="right") - 1, 0)
    first_V, last_V = at_K[:windows], at_K[lse.WINDOW - 1 :][:windows]
    patches = np.concatenate([[0], np.cumsum(patched_N)])
    whole_V: np.ndarray = patches[last_V + 1] - patches[first_V] == last_V + 1 - first_V
    return whole_V


class _Look:
    """One pass over a rendered face: paste, find the mesh again, ask the metrics about each frame, keep stills.

    said: by the metric's name, what it said of each rendered frame.
    """

    def __init__(
        self, source: Path, line: Timeline, track: Track, folder: Path, name: str, asked: Sequence[Metric]
    ) -> None:
        self.source, self.line, self.track, self.folder = source, line, track, folder
        self.frames = media.mouth_frames(folder)["frame"].to_numpy()
        self._mouths = frozenset(self.frames.tolist())
        stills = np.linspace(0, len(self.frames) - 1, 10).round().astype(int)[1:-1]
        self.sheet = Sheet(name, line, self.frames[stills].tolist())
        self.mesh_NP3 = track.mesh_NP3.copy()
        self._asked = asked
        self.said: dict[str, list[Sequence[float]]] = {metric.name: [] for metric in asked}
        self._found: list[int] = []

    def run(self, meshes: Meshes, begin: int, end: int) -> Iterator[int]:
        """Look at what is rendered of frames [begin, end); yields each frame that was decoded for it.

        Where no patch lies, `mesh_NP3` stays the original's.
        """
        track = self.track
        first, last = max(begin, int(self.frames[0])), min(end, int(self.frames[-1]) + 1)
        if first >= last:
            return
        boxes = face_boxes(track.mesh_NP3, media.probe(self.source).upright_size)
        mesh_NP3 = self.mesh_NP3
        patches = media.read_patches(self.folder, first, last)
        patch = next(patches, None)
        tracker = MeshTracker(meshes, turn_of(float(np.median(roll_deg(track.mesh_NP3)))))
        try:
            for picture in media.read(self.source, self.line, first, last, threads=1):
                yield picture.frame
                if patch is None or patch.frame != picture.frame:
                    continue
                if patch.frame not in self._mouths:
                    patch = next(patches, None)
                    continue
                n = picture.frame - track.start_frame
                x, y, w, h = box = boxes[n]
                before = picture.bgr(box=box)
                after = media.composite(before, patch, x, y)
                found = tracker.find(after)
                if found is not None:
                    mesh_NP3[n] = found + (x, y, 0)
                    self._found.append(n)
                local = track.mesh_NP3[n, :, :2] - (x, y)
                pair = FramePair(picture.frame, before, after, local, mesh_NP3[n, :, :2] - (x, y))
                for metric in self._asked:
                    if numbers := tuple(metric.frame(pair)):
                        self.said[metric.name].append(numbers)
                self.sheet.add(picture.frame, before, after, local)
                patch = next(patches, None)
        finally:
            tracker.close()

    @property
    def _file(self) -> str:
        return f"{_LOOK}{self.folder.name}.npz"

    def save(self, folder: Path) -> None:
        """What was seen, for `join`."""
        said = {f"{_SAID}{name}": np.array(numbers, np.float64) for name, numbers in self.said.items() if numbers}
        np.savez_compressed(folder / self._file, at=np.array(self._found, np.int64), mesh=self.mesh_NP3[self._found],
                            **said, **self.sheet.columns)  # fmt: skip

    def join(self, folders: Sequence[Path]) -> None:
        """As if `run` had seen what was saved in each of these."""
        for folder in folders:
            with np.load(folder / self._file) as data:
                self.mesh_NP3[data["at"]] = data["mesh"]
                for name, all_of_them in self.said.items():
                    if f"{_SAID}{name}" in data.files:
                        all_of_them += data[f"{_SAID}{name}"].tolist()
                drawn = (k for k in data.files if k not in ("at", "mesh") and not k.startswith(_SAID))
                self.sheet.columns |= {k: data[k] for k in drawn}

    def embedded(
        self, expert: experts.Expert, times_s: np.ndarray, mesh_NP3: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lips of the original and of the take, (V, E) each; mesh_NP3: what `run` found; V is at least 1.

        An expert that looks at crops gets them from where a detector would put its box in either picture: a
        second pass, because the published median over boxes needs all of them first.
        """
        track = self.track
        if expert.wants == "mesh":
            return expert.embed_video(track.mesh_NP3, times_s), expert.embed_video(mesh_NP3, times_s)
        pixels = cast(CropExpert, expert)
        was, now = Feed(pixels, track, times_s), Feed(pixels, replace(track, mesh_NP3=mesh_NP3), times_s)
        patches = media.read_patches(self.folder)
        patch = next(patches, None)
        for picture in media.read(self.source, self.line, track.start_frame, track.end_frame, threads=1):
            here = patch if patch is not None and patch.frame == picture.frame else None
            if here is not None:
                patch = next(patches, None)
            if was.wants(picture.frame):
                whole = crop.published_bgr(picture)
                was.give(whole)
                now.give(whole if here is None else _published(whole, picture, here))
        return was.finish(), now.finish()


def _published(whole_HWC: np.ndarray, picture: media.Picture, patch: Patch) -> np.ndarray:
    """The picture in the published pipelines' colours with a patch over it: what the patch changes is added."""
    height, width = patch.matte_HW.shape
    before = picture.bgr(box=(patch.x, patch.y, width, height))
    change = media.composite(before, patch, patch.x, patch.y).astype(np.int16) - before
    out = whole_HWC.copy()
    part = out[patch.y : patch.y + height, patch.x : patch.x + width]
    part[:] = np.clip(part + change, 0, 255).astype(np.uint8)
    return out
