"""Sync: measure each face of a finished take that was rendered, where it was, by what was seen of it.

The mesh was found again in the patched pictures while these were made (`dubbing.sight`), and from it come
LSE-D, LSE-C and the offset, beside the same numbers of the original performance; how well the mouth
follows what was wanted, motion in silence, sharpness (`dubbing.metrics`). The film is decoded only for experts and
metrics that want pixels, and for takes that nobody looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from dubbing import experts, media, metrics, sight
from dubbing.analysis.sheet import write_sheets
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, SourceSound, load_speech, load_wave, sound_of, speech_mask
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.takes import SHEET, FaceScores, Scores, Take, TakeFace, seen_file
from dubbing.artifacts.tracks import FaceTracks, load_tracks, size_and_turn
from dubbing.clock import Timeline
from dubbing.experts import crop, lse, original
from dubbing.experts.feed import CropExpert, Feed
from dubbing.mesh import Meshes
from dubbing.metrics import Metric, RenderedShot
from dubbing.records import Patch, Track
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import Inputs, uncounted

__all__ = ["EDGE_S", "Sync", "SyncInputs", "middle_frames"]

_CURVES = ("distance", "confidence")
EDGE_S = 0.12  # this much of a silence at each end still belongs to the speech beside it


@dataclass(frozen=True)
class SyncInputs(Inputs):
    """What the scores of a take depend on."""

    start: int
    """First frame of the shot."""
    end: int
    """The frame after its last."""
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

    @property
    def bounds(self) -> tuple[int, int]:
        """The shot's frames [start, end)."""
        return self.start, self.end


class Sync(Stage[SyncInputs, Scores]):
    """The scores of one take, with curves of each face (`seen_file`); with a contact sheet (`SHEET`) where the take has
    none."""

    name: ClassVar[str] = "sync"
    scope = Scope.TAKE
    version = 9
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=8)
    bad_input_costs = "shot"
    profits_from_gpu = True
    chain_ms = 20.0

    def __init__(self) -> None:
        self._meshes: Meshes | None = None
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

    def process(self, inputs: SyncInputs, out: Path, progress: Callable[[int], None]) -> Scores:
        """Writes seen_face_<n>.npz for each rendered face, and sheet.jpg where the take has none.

        The npz: frames (N,) of the track; rendered (N,): bool; wanted, seen, was (N,): mouth opening asked for, of
        the take, of the original; distance, source_distance (31,): per shift, take with dub and original with its own
        sound; windows (V,): the middle frame of each window; confidence, source_confidence (V,), nan of windows that
        do not count; what there is not has length 0.
        """
        take, length = inputs.take.read(), inputs.end - inputs.start
        if take.status != "dubbed" or inputs.unmeasured:
            progress(length)
            return Scores()
        tracks = {t.id: t for t in load_tracks(inputs.faces.folder)}
        line = media.load_timeline(inputs.timeline.folder)
        asked = self._asked([name.partition("@")[0] for name in inputs.metrics])
        looks, sheets = [], []
        for face in take.rendered:
            track, folder = tracks[face.track].until(inputs.end), inputs.take.folder / face.folder
            look = _Look(inputs.film.path, line, track, folder)
            if not look.told(asked):
                eye = sight.Sight(
                    track, line, media.probe(inputs.film.path).upright_size, self._lent(), asked,
                    name=f"{inputs.title} {track.id}", drawn=sight.moments(look.frames), known=look.seen,
                )  # fmt: skip
                with eye:
                    for _ in look.run(eye, (inputs.start, inputs.end)):
                        if length:
                            length -= 1
                            progress(1)
                sheets.append(eye.sheet)
            looks.append(look)
        progress(length)
        if not (inputs.take.folder / SHEET).is_file():
            write_sheets(out / SHEET, sheets)
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
        track, frames, mesh_NP3 = look.track, look.frames, look.mesh_NP3
        wanted = dict(zip(frames.tolist(), look.wanted, strict=True))
        patched_N = np.isin(track.frames_N, frames)
        times_s = line.times_s(track.start_frame, track.end_frame) - float(line.time(track.start_frame))
        stem = sound_of(inputs.sound.folder, face.sound)
        dub = _wave(stem, line, track)
        heard = inputs.source_sound.folder if inputs.source_sound else None
        own = _wave(heard, line, track) if heard else None
        result: dict[str, Any] = {}
        curves: dict[str, np.ndarray] = {}
        counted_V = _rendered_windows(times_s, patched_N)
        if counted_V.any():
            expert = self._expert(inputs.expert.partition("@")[0], inputs.models_folder)
            was, is_VE = self._embedded(inputs, expert, look, times_s, counted_V, own)
            dub_VE = expert.embed_sound(dub, 0.0, len(is_VE))
            found = lse.lse(is_VE, dub_VE, counted_V=counted_V)
            result |= {**_numbers(found), "lse_model": experts.model_name(expert)}
            result["lse_windows"] = int(counted_V.sum())
            curves = _curves(found, counted_V)
            if was.sound_VE is not None:
                source = lse.lse(was.lips_VE, was.sound_VE, counted_V=counted_V)
                result |= _numbers(source, "source_")
                curves |= _curves(source, counted_V, "source_")
            foreign = lse.lse(was.lips_VE, dub_VE, counted_V=counted_V)
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
            source_silent_N=_silent(heard, line, track),
            wave=dub,
            source_wave=own,
        )
        numbers = metrics.measure(asked, shot, {metric.name: look.said(metric) for metric in asked})
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

    def _embedded(
        self,
        inputs: SyncInputs,
        expert: experts.Expert,
        look: _Look,
        times_s: np.ndarray,
        counted_V: np.ndarray,
        own: np.ndarray | None,
    ) -> tuple[original.Original, np.ndarray]:
        """The original performance as the expert embeds it, and the lips of the take in the windows that count, float32
        (V, E). What an expert makes of the original's pixels is made once for all languages, where it can be kept."""
        track = look.track
        if expert.wants == "mesh":
            lips_VE = expert.embed_video(track.mesh_NP3, times_s)
            sound_VE = None if own is None else expert.embed_sound(own, 0.0, len(lips_VE))
            return original.Original(lips_VE, sound_VE), expert.embed_video(look.mesh_NP3, times_s)
        faces = inputs.faces
        file = original.file_of(faces.folder.parent.parent, track, expert, faces.key, inputs.source_key)
        known = original.load(file, lse.windows_in(times_s), own is not None) if file else None
        found_VE, is_VE = look.embedded(cast(CropExpert, expert), times_s, counted_V, again=known is None)
        if known is None:
            sound_VE = None if own is None else expert.embed_sound(own, 0.0, len(found_VE))
            known = original.Original(found_VE, sound_VE)
            if file:
                original.save(file, known)
        return known, is_VE

    def close(self) -> None:
        if self._meshes is not None:
            self._meshes.close()

    def _lent(self) -> Meshes:
        """Where trackers are lent from; they are slow to load, and most takes need none."""
        self._meshes = self._meshes or Meshes()
        return self._meshes

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
    """One rendered face and what was seen of it."""

    def __init__(self, source: Path, line: Timeline, track: Track, folder: Path) -> None:
        self.source, self.line, self.track, self.folder = source, line, track, folder
        made = media.mouth_frames(folder)
        self.frames: np.ndarray = made["frame"].to_numpy()
        self.wanted: list[float] = made["wanted_opening"].to_pylist()
        self.seen = sight.load_seen(folder)

    def told(self, asked: Sequence[Metric]) -> bool:
        """Whether all is there that these metrics want of single frames."""
        return self.seen is not None and all(sight.said_by(m) in self.seen.said for m in asked if metrics.looks(m))

    def run(self, eye: sight.Sight, shot: tuple[int, int]) -> Iterator[int]:
        """Look at the take now; yields each frame that was decoded for it."""
        meant = frozenset(self.frames.tolist())
        yield from sight.look_again(eye, self.folder, self.source, self.line, shot, meant)
        self.seen = eye.seen

    def said(self, metric: Metric) -> Sequence[Sequence[float]]:
        """What a metric said of each rendered frame."""
        return self.seen.said.get(sight.said_by(metric), ()) if self.seen else ()

    @cached_property
    def mesh_NP3(self) -> np.ndarray:
        """The take's meshes; where no patch lies, the original's."""
        assert self.seen is not None
        return self.seen.over(self.track)

    def embedded(
        self, expert: CropExpert, times_s: np.ndarray, counted_V: np.ndarray, *, again: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lips of the original in all windows where it is looked at `again`, else nothing, and of the take in those
        that count, (V, E) each; V is at least 1.

        Crops are cut where a detector would put its box in either picture: the published median over boxes needs the
        meshes of all of them first.
        """
        track = self.track
        now = Feed(expert, replace(track, mesh_NP3=self.mesh_NP3), times_s, counted_V)
        was = Feed(expert, track, times_s) if again else None
        assert now.frames is not None
        first, last = (track.start_frame, track.end_frame) if was else now.frames
        patches = media.read_patches(self.folder, first, last)
        patch = next(patches, None)
        for picture in media.read(self.source, self.line, first, last, threads=1):
            here = patch if patch is not None and patch.frame == picture.frame else None
            if here is not None:
                patch = next(patches, None)
            wanted = now.wants(picture.frame)
            if wanted or was is not None and was.wants(picture.frame):
                whole = crop.published_bgr(picture)
                if was is not None and was.wants(picture.frame):
                    was.give(whole)
                if wanted:
                    now.give(whole if here is None else _published(whole, picture, here))
        return was.finish() if was else np.zeros((0, 0), np.float32), now.finish()


def _published(whole_HWC: np.ndarray, picture: media.Picture, patch: Patch) -> np.ndarray:
    """The picture in the published pipelines' colours with a patch over it: what the patch changes is added."""
    height, width = patch.matte_HW.shape
    before = picture.bgr(box=(patch.x, patch.y, width, height))
    change = media.composite(before, patch, patch.x, patch.y).astype(np.int16) - before
    out = whole_HWC.copy()
    part = out[patch.y : patch.y + height, patch.x : patch.x + width]
    part[:] = np.clip(part + change, 0, 255).astype(np.uint8)
    return out
