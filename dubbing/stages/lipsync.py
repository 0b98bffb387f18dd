"""Lipsync: decide where in a shot mouths must change for this dub, and have them rendered.

A take is a folder of patches, one folder per face. A shot that is left alone gets a take too: no
patches, and the reason. It decides when mouths are rendered; generators decide how.

Over 400 lines: one take, from what is said of a shot to its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing import media, metrics, phones, sight
from dubbing.analysis.asked import Ranges, within
from dubbing.analysis.mixes import mixed_in
from dubbing.analysis.overlays import KeepOut
from dubbing.analysis.sheet import Sheet, write_sheets
from dubbing.artifact import File, Ref
from dubbing.artifacts.actors import FittedActors
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import OverlayList, Overlays, load_overlays
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, load_phones, load_wave, sound_of
from dubbing.artifacts.speakers import Decision, SpeakerList
from dubbing.artifacts.takes import SHEET, StillFilm, Take, TakeFace
from dubbing.artifacts.tracks import USABLE_PART, FaceTracks, facing, hidden_reason, in_sight, load_tracks
from dubbing.artifacts.turns import ShotTurns, TurnList
from dubbing.clock import Timeline, mask_of, runs
from dubbing.generators import Generator, RenderRequest, adapters, create
from dubbing.manifest import GeneratorChoice
from dubbing.mesh import Meshes
from dubbing.performance.performed import Performance, Performed, asked_of
from dubbing.records import HIDDEN, OCCLUDED, OUT_OF_FRAME, FilmLook, Line, Shot, Track
from dubbing.rendered_by import RenderedBy
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.store import key_of
from dubbing.task import Inputs, Windowed, uncounted

__all__ = ["Lipsync", "LipsyncInputs", "lines_of"]

PAD_S = 0.25  # a patch begins this long before the speech it covers
_SPEAKS_S = 0.4  # of a dub in a shot; less is the end of a line from the shot beside it
_HOLE_S = 0.2  # of hidden speech, which somebody should look at
JOIN_S = 0.6  # gaps shorter than this between two stretches are covered too
LEAST_FRAMES = 3  # of a line
_UNLENT = (
    "the mouths of the title's other shots could not be collected (the stage donors failed), so this shot had only its "
    "own; run again to have them"
)


@dataclass(frozen=True)
class LipsyncInputs(Windowed):
    """The inputs of the stage `lipsync`."""

    film: File
    """The film."""
    faces: Ref[FaceTracks]
    """The shot's faces."""
    decision: Decision
    """Who speaks in the shot."""
    turns: ShotTurns
    """Who says what in the dub."""
    speech_key: str
    """Key of the dub's sound in and near the shot."""
    generator: str
    """Name of what renders."""
    generator_hash: str
    """12 hex digits of its weights and settings."""
    max_yaw_deg: float
    """Degrees; a head turned further to either side is left alone."""
    number: int
    """The shot's number."""
    actor_files: tuple[str | None, ...] | None = None
    """For a generator that uses fitted actors: the model's file of each of the faces in `turns`, None where there is
    no model; None for other generators."""
    still: bool | None = None
    """True where the film is made of a photograph, which is at rest already."""
    draft: bool | None = None
    """True for quick and coarse."""
    asked: tuple[tuple[int, int], ...] | None = None
    """Frames [start, end) of the title, in the shot, that may be re-rendered; None where all of them may."""
    mixes: tuple[tuple[int, int], ...] | None = None
    """Frames [start, end) of the shot that show two scenes at once, where there are any."""
    donor_files: tuple[str | None, ...] | None = None
    """For a generator that borrows mouths: the store of each of the faces in `turns`, None where there is none; None
    where there are no stores."""
    unlent: bool | None = None
    """True where stores should be there, and could not be made."""
    unexpressed: str | None = None
    """Why a photograph has not the expression that was asked for, a sentence."""
    looks: tuple[tuple[FilmLook, ...], ...] | None = None
    """How each of the faces in `turns` is to look, where any is to look otherwise."""
    over: str | None = None
    """Key of what lies over the shot's faces; None where nothing does."""
    acts: tuple[str, ...] | None = None
    """Of a photograph: what moves beside its mouth, `motion` and `blinks`, and how; None where nothing does."""
    by_face: tuple[tuple[str, str], ...] | None = None
    """Name and hash of what renders each of the faces in `turns`, where one is rendered by another than `generator`."""
    learnt: tuple[tuple[str, File], ...] | None = None
    """What was fine-tuned on the title, with the name of the generator that takes it, where there is any."""
    settings: dict[str, Any] = uncounted("the generator's hash holds them", default=None)
    """The generator's settings."""
    face_settings: tuple[dict[str, Any], ...] | None = uncounted("the hashes in `by_face` hold them", default=None)
    """The settings of each generator in `by_face`."""
    sound: Ref[DubSound] = uncounted("only the sound near the shot matters: `speech_key`", default=None)
    """What drives the lips."""
    actors: Ref[FittedActors] | None = uncounted("the files' names are hashes: `actor_files`", default=None)
    """The fitted actors, for a generator that uses them."""
    donors: Ref[DonorStores] | None = uncounted("the files' names are hashes: `donor_files`", default=None)
    """The stores of mouths, for a generator that borrows them."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""
    overlays: Ref[Overlays] | None = uncounted("what is in it counts: `over`", default=None)
    """What lies over the shot's faces."""
    models_folder: str = uncounted("the generator's hash names the weights", default="")
    """Where published models lie."""
    title: str = uncounted("it is only written on the contact sheet", default="")
    """Id of the title."""
    unmeasured: bool | None = uncounted("the patches are the same, and can be looked at later", default=None)
    """True where nobody is going to score the take, so that it is not looked at."""


class Lipsync(Stage[LipsyncInputs, Take]):
    """One take: a folder of patches for every face that speaks, or the reason why there is none."""

    name: ClassVar[str] = "lipsync"
    scope = Scope.TAKE
    version = 7
    resources = Resources(cpus=1.0, memory_mb=2000, picture_mb=8)
    bad_input_costs = "shot"
    profits_from_gpu = True
    chain_ms = 45.0
    folder = "takes"

    def __init__(self) -> None:
        self._generators: dict[str, Generator] = {}
        self._meshes: Meshes | None = None

    @classmethod
    def inputs(cls, at: Place) -> LipsyncInputs:
        shot, by = at.shot, at.rendered_by
        decision, turns = at.result(SpeakerList).by_shot[shot.id], at.result(TurnList).by_shot[shot.id]
        over = at.result(OverlayList).contents.get(shot.id, "failed")
        choices = [by.of(f.track) for f in turns.faces] if by.others else [by.main] * len(turns.faces)
        mixed = any(one != by.main for one in choices)
        every = [by.main, *choices]
        fitted = at.result(FittedActors).model_files if _any_wants(at, "actors", every) else None
        borrows = _any_wants(at, "donors", every) and at.has(DonorStores)
        unlent = borrows and at.failed(DonorStores)
        stores = at.result(DonorStores).store_files if borrows and not unlent else {}
        pairs = list(zip(turns.faces, choices, strict=True))
        lent = tuple(stores.get(f.actor) if at.generator_wants("donors", one) else None for f, one in pairs)
        looks = tuple(at.looks(f.character) for f in turns.faces)
        return LipsyncInputs(
            shot.start_frame, shot.end_frame, at.film, at.ref(FaceTracks), decision, turns,
            at.result(DubSound).shot_keys[shot.id], by.main.name, at.generator_hash(by.main),
            at.config.speakers.max_yaw_deg, shot.number,
            None if fitted is None
            else tuple(fitted.get(f.actor) if at.generator_wants("actors", one) else None for f, one in pairs),
            True if at.made_of else None,
            True if at.config.quality == "draft" else None,
            at.asked,
            mixed_in(at.result(ShotList).mixes, shot.start_frame, shot.end_frame) or None,
            lent if any(lent) else None,
            True if unlent and turns.faces else None,
            at.result(StillFilm).left if at.made_of and at.made_of.settings.expression else None,
            looks if any(looks) else None,
            over or None,
            None if at.made_of is None else asked_of(at.made_of.settings),
            tuple((one.name, at.generator_hash(one)) for one in choices) if mixed else None,
            _learnt(at, every),
            by.main.settings,
            tuple(one.settings for one in choices) if mixed else None,
            at.ref(DubSound),
            None if fitted is None else at.ref(FittedActors),
            at.ref(DonorStores) if any(lent) else None,
            at.ref(ShotList),
            at.ref(Overlays) if over else None,
            at.models_folder,
            at.title.id,
            None if at.config.sync.score else True,
        )  # fmt: skip

    @classmethod
    def where(cls, home: Path, shot: str | None, key: str, inputs: Inputs) -> Path:
        assert shot is not None
        return home / cls.folder / shot / key[:12] / "patch"

    @classmethod
    def rendered_by(cls, inputs: Inputs) -> tuple[tuple[str, dict[str, Any]], ...]:
        assert isinstance(inputs, LipsyncInputs)
        found = [(inputs.generator, inputs.settings or {})]
        for (name, _), settings in zip(inputs.by_face or (), inputs.face_settings or (), strict=True):
            if (name, settings) not in found:
                found.append((name, settings))
        return tuple(found)

    def process(self, inputs: LipsyncInputs, out: Path, progress: Callable[[int], None]) -> Take:
        """Writes face_<n>/ patch folders with what is seen of them (`dubbing.sight`), and the contact sheet, SHEET."""
        if inputs.parts is not None:
            return _joined(inputs, inputs.parts, out)
        shot = Shot(inputs.number, inputs.start, inputs.end)
        length = inputs.bounds[1] - inputs.bounds[0]
        line = media.load_timeline(inputs.timeline.folder)
        decision, sound = inputs.decision, inputs.sound.folder
        if inputs.asked == ():
            progress(length)
            return _untouched(decision, "excluded")
        turns = inputs.turns
        if not turns.faces or not turns.heard:
            progress(length)
            reason = turns.reason or decision.reason
            if reason != "no_face" and not turns.heard:
                reason = "no_speech"
            alone = _untouched(decision, "excluded" if turns.left else reason or "off_screen")
            heard = sum(b - a for a, b in turns.heard)
            doubt = None if turns.reason else _doubt(alone, decision, float(heard / line.rate))
            return replace(alone, doubt=turns.doubt or doubt)
        sheets: list[Sheet] = []
        tracks = {t.id: t.until(shot.end_frame) for t in load_tracks(inputs.faces.folder)}
        info = media.probe(inputs.film.path)
        done, faces, left, resting = 0, [], False, turns.resting(tracks)
        said, hidden, why = 0, np.zeros(len(HIDDEN), int), "occluded"
        covers = load_overlays(inputs.overlays.folder) if inputs.overlays else []
        over = KeepOut(covers, bool(inputs.draft)) if covers else None
        burned, covered = False, 0
        doubts = [doubt for doubt in (turns.doubt, inputs.unexpressed) if doubt]
        if over is not None and over.thin(shot.start_frame, shot.end_frame):
            doubts.append("something that stands still was taken for letters over the face, by thin evidence")
        for n, face in enumerate(turns.faces):
            track = tracks[face.track]
            own = () if inputs.still else face.own
            says_N = mask_of(face.says, track.start_frame, track.end_frame)
            said, hidden = said + int(says_N.sum()), hidden + np.bincount(track.hidden[says_N], minlength=len(HIDDEN))
            lines = lines_of(track, says_N, own, line, inputs.max_yaw_deg, rests=face in resting)
            if n == 0 and track.hidden[says_N].any():
                why = hidden_reason(track, says_N)
            if inputs.asked is not None and lines:
                lines = _kept(lines, inputs.asked)
                left = left or not lines
            if over is not None and lines:
                blocked_N = over.blocked(track)
                clear = _clear(lines, blocked_N, track)
                meant, rest = _length(lines), _length(clear)
                lines = clear if rest >= USABLE_PART * meant else []
                burned = burned or not lines
                if lines and rest < meant:
                    doubts.append(f"letters lie over the lips in {meant - rest} of {meant} frames, left alone")
                track = replace(track, seen_N=track.seen_N & ~blocked_N)  # what is covered lends no mouth
            if not lines:
                continue
            first, last = (line.sample(f, RATE_HZ) for f in (track.start_frame, track.end_frame))
            work = RenderRequest(
                source=inputs.film.path,
                timeline=line,
                picture_wh=info.upright_size,
                track=track,
                lines=tuple(lines),
                wave=load_wave(sound_of(sound, face.sound), first, last),
                speech_N=says_N,
                actor=_actor(inputs, n),
                window=inputs.window,
                still=bool(inputs.still),
                draft=bool(inputs.draft),
                scratch=out,
                donors=_donors(inputs, n),
                overlays=over,
                phones=phones.within(load_phones(sound), first / RATE_HZ, last / RATE_HZ) if not face.sound else (),
            )
            generator = self._generator(inputs, n)
            acts = Performance.of(inputs.acts, track, tracks.values(), inputs.asked)
            if acts is not None and getattr(generator, "performs", False):
                whole = tuple(Line(track.id, a, b) for a, b in acts.ranges)
                work = replace(work, lines=whole, acts=inputs.acts or (), others=acts.others)
                acts = None
            eye = None if inputs.unmeasured else self._eye(inputs, work)
            if eye is not None:
                work = replace(work, watch=eye.crops.watch)
            mouths = generator.render(work)
            if acts is not None:
                mouths = Performed(work, acts).over(mouths)
            ranges = acts.ranges if acts else tuple((x.start_frame, x.end_frame) for x in work.lines)
            if inputs.looks and inputs.looks[n]:
                from dubbing.expression.film import Expressed  # slow to load, and every command loads this module

                face_N = in_sight(track, line.rate) & facing(track, inputs.max_yaw_deg)
                if inputs.asked is not None:
                    face_N &= mask_of(inputs.asked, track.start_frame, track.end_frame)
                expressed = Expressed(inputs.looks[n], work, face_N)
                mouths, ranges = expressed.over(work, mouths), expressed.ranges
            folder = out / track.id.rsplit("/", 1)[-1]
            folder.mkdir()
            count = 0
            with ExitStack() as stack:
                if eye is not None:
                    stack.enter_context(eye)
                writer: media.PatchWriter | None = None
                for one in mouths:
                    if writer is None:
                        height, width = one.patch.matte_HW.shape
                        transfer = None if one.patch.deep_HWC is None else _transfer(info)
                        writer = stack.enter_context(
                            media.PatchWriter(
                                folder,
                                width,
                                height,
                                transfer=transfer,
                                depth=info.video.bit_depth if info.video else 16,
                                draft=bool(inputs.draft),
                                colour=media.planar_colour(info.video),
                            )
                        )
                    patch, lies = (one.patch, False) if over is None else over.kept_out(one.patch)
                    covered += lies
                    about_it = {} if acts is None and not inputs.looks else {media.MOUTH: one.mouth}
                    kept = writer.write(patch, wanted_opening=one.wanted_opening, **about_it)
                    if eye is not None and about_it.get(media.MOUTH, True):
                        eye.see(kept)
                    count += 1
                    if done < length:
                        done += 1
                        progress(1)
            if not count:
                folder.rmdir()
            elif eye is not None:
                eye.sight.save(folder, part=inputs.window is not None)
                sheets.append(eye.sight.sheet)
            mine = f"{generator.name}@{generator.hash}" if inputs.by_face else ""
            faces.append(TakeFace(track.id, folder.name, count, face.actor, ranges, face.sound, mine))
        progress(length - done)
        if inputs.window is None:
            write_sheets(out / SHEET, sheets)
        if burned and not faces:
            return _untouched(decision, "burned_in", "; ".join(doubts) or None)
        if left and not faces:
            return _untouched(decision, "excluded", turns.doubt)
        rendered = sum(f.frames for f in faces)
        main = self._generator(inputs)
        about = replace(_untouched(decision, why, turns.doubt), occluded_frames=int(hidden[1:].sum()))
        if not rendered and inputs.window is None:
            return replace(about, reason=_out_of_sight(inputs) or why)
        doubts += _holes(said, hidden, float(line.rate))
        if inputs.unlent:
            doubts.append(_UNLENT)
        return replace(
            about, status="dubbed", reason=None if rendered else why, doubt="; ".join(doubts) or None,
            faces=tuple(faces), frames=rendered, generator=main.name, generator_hash=main.hash,
            covered_frames=covered, choice=_choice(inputs),
        )  # fmt: skip

    def _eye(self, inputs: LipsyncInputs, work: RenderRequest) -> sight.Eye:
        """What looks at a face while it is rendered. work: with the lines in which its mouth is."""
        self._meshes = self._meshes or Meshes()
        return sight.Eye(
            work.track, work.timeline, work.picture_wh, self._meshes, metrics.built_in(), source=inputs.film.path,
            name=_on_sheet(inputs, work.track.id), spans=[(x.start_frame, x.end_frame) for x in work.lines],
            window=inputs.window, still=bool(inputs.still), scratch=work.scratch,
        )  # fmt: skip

    def close(self) -> None:
        if self._meshes is not None:
            self._meshes.close()

    def _generator(self, inputs: LipsyncInputs, face: int | None = None) -> Generator:
        """What renders a face of the turns, by its number; None: the shot's main one."""
        name, settings = inputs.generator, inputs.settings
        if face is not None and inputs.by_face and inputs.face_settings:
            name, settings = inputs.by_face[face][0], inputs.face_settings[face]
        file = dict(inputs.learnt or ()).get(name)
        if file is not None and adapters.asks(settings):
            settings = {**settings, adapters.KEY: str(file.path)}
        key = key_of(name, settings, inputs.models_folder, file.content if file else None)
        if key not in self._generators:
            self._generators[key] = create(name, settings, inputs.models_folder)
        return self._generators[key]


def _any_wants(at: Place, what: str, choices: Sequence[GeneratorChoice]) -> bool:
    """Whether one of these generators declares that it uses this part of a title's analysis."""
    return any(at.generator_wants(what, one) for one in choices)


def _learnt(at: Place, choices: Sequence[GeneratorChoice]) -> tuple[tuple[str, File], ...] | None:
    """What the generators of a take take of what was fine-tuned on its title."""
    found = {one.name: file for one in choices if (file := at.learnt(one)) is not None}
    return tuple(sorted(found.items())) or None


def _choice(inputs: LipsyncInputs) -> dict[str, Any]:
    """The generators of a take as a decision names them."""
    faces = zip(inputs.turns.faces, inputs.by_face or (), inputs.face_settings or (), strict=bool(inputs.by_face))
    choices = ((face.track, GeneratorChoice(name=name, **settings)) for face, (name, _), settings in faces)
    main = GeneratorChoice(name=inputs.generator, **inputs.settings)
    return RenderedBy(main, tuple((track, one) for track, one in choices if one != main)).plain


def _transfer(info: media.MediaInfo) -> int:
    """The film's transfer where it has a high dynamic range, else 0."""
    transfer = info.video.transfer if info.video else None
    return transfer if transfer is not None and transfer in media.HDR else 0


def _actor(inputs: LipsyncInputs, n: int) -> Path | None:
    """The file of the fitted actor of the n-th face of the turns, where the generator uses one."""
    name = inputs.actor_files[n] if inputs.actor_files else None
    return inputs.actors.folder / name if inputs.actors and name else None


def _donors(inputs: LipsyncInputs, n: int) -> Path | None:
    """The store of the n-th face of the turns, where the generator borrows and there is one."""
    name = inputs.donor_files[n] if inputs.donor_files else None
    return inputs.donors.folder / name if inputs.donors and name else None


def _doubt(take: Take, decision: Decision, dub_s: float) -> str | None:
    """Why a shot that was left alone should be looked at: the dub speaks where nobody was heard in the original."""
    if take.reason != "off_screen" or decision.source_speech or dub_s < _SPEAKS_S:
        return None
    return (
        f"the dub speaks {dub_s:.1f} s here, and the original's sound has no speech: nobody could be seen to speak. If "
        "somebody does, name its dialogue (`original: {dialogue: ...}` or `{track: ...}`)"
    )


def _holes(said: int, hidden: np.ndarray, rate: float) -> list[str]:
    """Why a shot that is rendered in part should be looked at: its faces speak where their mouths are hidden.

    said: frames in which they speak; hidden: how many of them the mouth is hidden in, by the places of HIDDEN.
    """
    cut, before = hidden[OUT_OF_FRAME], hidden[OCCLUDED]
    if cut + before < _HOLE_S * rate:
        return []
    causes = [text for count, text in ((before, f"something lies before the mouth in {before}"),
                                       (cut, f"the picture's edge cuts the mouth in {cut}")) if count]  # fmt: skip
    return [f"of {said} frames that are spoken {' and '.join(causes)}: these keep the original's mouth"]


def _untouched(decision: Decision, reason: str, doubt: str | None = None) -> Take:
    return Take("untouched", reason, decision.track, decision.face_px, decision.yaw_deg, doubt=doubt)


def _out_of_sight(inputs: LipsyncInputs) -> str | None:
    """`dissolve` where nothing of what is said in the shot lies outside of one; else None."""
    mixed_N = mask_of(inputs.mixes or (), inputs.start, inputs.end)
    says_N = np.zeros(len(mixed_N), bool)
    for face in inputs.turns.faces:
        says_N |= mask_of(face.says, inputs.start, inputs.end)
    inside = says_N.any() and (says_N & ~mixed_N).sum() < LEAST_FRAMES
    return "dissolve" if inside else None


def _joined(inputs: LipsyncInputs, parts: Sequence[Ref[Take]], out: Path) -> Take:
    """One take from those of a long shot's windows. A window in which nobody speaks has faces without patches. What was
    seen, and a contact sheet, are in it only where somebody looked at every face in every window."""
    takes = [p.read() for p in parts]
    first = takes[0]
    if first.status != "dubbed":
        return first
    faces, sheets = [], []
    line = media.load_timeline(inputs.timeline.folder)
    pieces_of = [
        [p.folder / face.folder for p, t in zip(parts, takes, strict=True) if t.faces[n].frames]
        for n, face in enumerate(first.faces)
    ]
    # where one was not looked at, whoever scores the take looks at all of it
    looked_at = sight.looked_at(piece for pieces in pieces_of for piece in pieces)
    for n, (face, pieces) in enumerate(zip(first.faces, pieces_of, strict=True)):
        if pieces:
            (out / face.folder).mkdir()
            media.join_patches(pieces, out / face.folder)
            if looked_at:
                sheets.append(Sheet(_on_sheet(inputs, face.track), line, ()))
                sight.join(pieces, out / face.folder, sheets[-1])
            faces.append(replace(face, frames=sum(t.faces[n].frames for t in takes)))
    if not faces:
        return replace(first, status="untouched", reason=_out_of_sight(inputs) or first.reason, faces=(), frames=0)
    write_sheets(out / SHEET, sheets)
    covered = sum(t.covered_frames for t in takes)
    frames = sum(f.frames for f in faces)
    return replace(first, reason=None, faces=tuple(faces), frames=frames, covered_frames=covered)


def _on_sheet(inputs: LipsyncInputs, track: str) -> str:
    """What the contact sheet calls a face."""
    return f"{inputs.title} {track}"


def _kept(lines: Sequence[Line], asked: Ranges) -> list[Line]:
    """What of lines lies in the frames that may be re-rendered; a line ends where these do."""
    parts = ((x.track, *part) for x in lines for part in within(asked, x.start_frame, x.end_frame))
    return [Line(track, a, b) for track, a, b in parts if b - a >= LEAST_FRAMES]


def _length(lines: Sequence[Line]) -> int:
    """Frames that they have."""
    return sum(x.end_frame - x.start_frame for x in lines)


def _clear(lines: Sequence[Line], blocked_N: np.ndarray, track: Track) -> list[Line]:
    """What of lines is not blocked. blocked_N: frames of the track, bool (N,)."""
    meant_N = mask_of([(x.start_frame, x.end_frame) for x in lines], track.start_frame, track.end_frame)
    return [Line(track.id, a, b) for a, b in runs(meant_N & ~blocked_N, track.start_frame) if b - a >= LEAST_FRAMES]


def lines_of(
    track: Track, says_N: np.ndarray, own: Sequence[tuple[int, int]], line: Timeline, max_yaw_deg: float,
    *, rests: bool = False,
) -> list[Line]:  # fmt: skip
    """The lines of a track that are re-rendered. says_N: the frames of it in which it speaks the dub, bool (N,); rests:
    whether one that says nothing in sight is re-rendered too.

    That is wherever the dub speaks, and wherever only the original did, so that the mouth comes to rest there.
    """
    count = len(track.frames_N)
    own_N = mask_of(own, track.start_frame, track.end_frame)
    if not says_N.any() and not (rests and own_N.any()):
        return []
    moves_N = says_N | own_N
    pad, join = (max(1, int(s * line.rate)) for s in (PAD_S, JOIN_S))
    where = np.flatnonzero(moves_N)
    for a, b in zip([0, *where], [*where, count - 1], strict=True):
        if 1 < b - a <= join + 2 * pad or (a == 0 or b == count - 1) and b - a <= join:
            moves_N[a : b + 1] = True
    moves_N = np.convolve(moves_N, np.ones(2 * pad + 1), "same") > 0.5
    moves_N &= in_sight(track, line.rate) & facing(track, max_yaw_deg)
    return [Line(track.id, a, b) for a, b in runs(moves_N, track.start_frame) if b - a >= LEAST_FRAMES]
