"""The numbers of published tables over a whole data set: LSE by SyncNet v2, FID, CSIM, of one generator.

Each pair's picture is brought to 25 frames a second and to the length of its sound, dubbed by the pipeline, and looked
at: LSE of the take as everywhere here, FID of all pairs' pictures together, CSIM as the mean over pairs. What cannot be
dubbed is a row with its reason. Every pair is a committed folder, so a killed run goes on where it was.

`docs/published.md` says what compares with whose table. Which film meets which sound: `pairs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from dubbing import experts, media
from dubbing.analysis.identity import chip
from dubbing.config import Config
from dubbing.dataset.reading import even
from dubbing.errors import DubError, InputError, OutputError, StageError
from dubbing.evaluate import takes
from dubbing.evaluate.clips import RATE_HZ, Clip, write_sound
from dubbing.evaluate.frechet import Pooled, pooled_distance
from dubbing.evaluate.pairs import Pair
from dubbing.evaluate.published import EVERY, LEAST_FID, Models, csim, identities
from dubbing.evaluate.session import EvaluatedFilm, Session, code_hash
from dubbing.mesh import face_boxes
from dubbing.store import Store, content_key, key_of

__all__ = ["EXPERT", "SCHEMA", "VERSION", "Crop", "Measured", "Report", "file_of", "film_of", "measure"]

VERSION = 1  # raise it when its numbers change
SCHEMA = "dub.protocol.1"
EXPERT = "syncnet_v2"
Crop = Literal["face", "frame"]
_FPS = 25
_CRF = 10  # of films that had to be brought to 25 frames a second, or cut
_LEAST_S = 1.0
_LANGUAGE = "x-driven"
_FEATURES = "features.npz"


@dataclass(frozen=True)
class Measured:
    """One pair. lse_d, lse_c, offset_frames: of the largest face; windows: on how many; csim: mean over frames; frames:
    rendered; reason: why there is none of that, else None."""

    pair: str
    video: str
    sound: str
    lse_d: float | None = None
    lse_c: float | None = None
    offset_frames: int | None = None
    windows: int | None = None
    csim: float | None = None
    frames: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """pairs: each; lse_d, lse_c, csim: means over the pairs that have them; fid: of all pictures, fid_pictures: how
    many of each side; by: what measured each; absent: why a number is not there, by name."""

    protocol: str
    driven: str
    crop: str
    generator: str
    generator_hash: str
    pairs: tuple[Measured, ...]
    lse_d: float | None
    lse_c: float | None
    csim: float | None
    fid: float | None
    fid_pictures: int
    by: Mapping[str, str]
    absent: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"schema": SCHEMA, **asdict(self)}


def measure(
    pairs: Sequence[Pair], out: Path, generator: Mapping[str, Any], settings: Config, *, protocol: str, driven: str,
    crop: Crop = "face", expert: str = EXPERT, say: Callable[[str], None] = lambda text: None,
    step: Callable[[int, int, str], None] = lambda done, of, what: None,
) -> Report:  # fmt: skip
    """Dub and measure every pair. crop: what FID sees, the box around the face or whole frames; expert: of LSE.

    What was found is also written to `file_of(out, protocol)`. Raises ModelError: no weights of the expert or of the
    generator; InputError: no pair; OutputError.
    """
    if not pairs:
        raise InputError("There is no pair to measure.")
    judge = experts.identity(expert, settings.models.folder)
    named = Models(settings, ("fid", "csim"))
    about = [VERSION, crop, judge, *identities(settings, ("fid", "csim"))]
    store = Store(out)
    rows: list[Measured] = []
    seen = Pooled(), Pooled()
    with store.lock():
        store.sweep()
        with Session(store, settings, generator, lambda text: step(len(rows), len(pairs), text)) as session:
            session.create_generator().check()
            made_by = session.create_generator().hash
            for pair in pairs:
                step(len(rows), len(pairs), pair.name)
                try:
                    value, features = _pair(session, named, pair, expert, crop, [*about, made_by])
                except OutputError:
                    raise
                except Exception as e:  # a defect on one pair must not cost the others
                    text = str(e) if isinstance(e, DubError) else f"{pair.name}: {type(e).__name__}: {e}"
                    value, features = Measured(pair.name, str(pair.video), str(pair.sound), reason=text), None
                    say(text)
                rows.append(value)
                for held, some in zip(seen, features or (), strict=False):
                    held.add(some)
        report = _told(rows, seen, named, judge, protocol, driven, crop, str(generator["name"]), made_by)
        store.write_bytes(file_of(out, protocol), (json.dumps(report.plain(), indent=1) + "\n").encode())
    return report


def file_of(out: Path, protocol: str) -> Path:
    """Where the report of a protocol is written."""
    return out / f"protocol_{protocol}.json"


def _told(
    rows: Sequence[Measured], seen: tuple[Pooled, Pooled], named: Models, judge: str,
    protocol: str, driven: str, crop: str, generator: str, made_by: str,
) -> Report:  # fmt: skip
    count = seen[0].count
    absent = dict(named.absent)
    fid = None
    if count >= LEAST_FID:
        fid = pooled_distance(*seen)
    elif "fid" not in absent:
        absent["fid"] = f"FID: there are {count} pictures, and {LEAST_FID} are needed."

    def mean(name: str) -> float | None:
        found = [getattr(r, name) for r in rows if getattr(r, name) is not None]
        return float(np.mean(found)) if found else None

    by = {"lse": judge, **{name: text for name, text in named.by.items() if text}}
    return Report(
        protocol, driven, crop, generator, made_by, tuple(rows), mean("lse_d"), mean("lse_c"), mean("csim"), fid,
        count, by, absent,
    )  # fmt: skip


def _pair(
    session: Session, named: Models, pair: Pair, expert: str, crop: Crop, about: Sequence[Any]
) -> tuple[Measured, tuple[np.ndarray, np.ndarray] | None]:
    """The row of a pair, made now or read, and the features of its pictures (source, result)."""
    memory = session.store.root / ".contents.json"
    key = key_of(
        "protocol", list(about), content_key(pair.video, memory), content_key(pair.sound, memory),
        code_hash(session.generator.name),
    )[:12]  # fmt: skip
    folder = session.store.root / pair.id / f"protocol-{key}"

    def make(part: Path) -> dict[str, Any]:
        with threadpool_limits(limits=1):
            value, features = _measured(session, named, pair, expert, crop)
        np.savez(part / _FEATURES, source=features[0], result=features[1])
        return asdict(value)

    value = session.made(folder, make)
    with np.load(folder / _FEATURES) as stored:
        features = stored["source"], stored["result"]
    return Measured(**{k: value[k] for k in Measured.__dataclass_fields__}), features


def _measured(
    session: Session, named: Models, pair: Pair, expert: str, crop: Crop
) -> tuple[Measured, tuple[np.ndarray, np.ndarray]]:
    film = session.analysed(Clip(pair.id, film_of(session, pair)))
    dubbed = session.dubbed(film, {_LANGUAGE: _sound(session, pair, film)}, expert)
    done, reasons = takes.finished(dubbed, _LANGUAGE)
    if not done:
        raise StageError(f"{pair.name}: nothing was dubbed ({', '.join(sorted(set(reasons))) or 'no shot'}).")
    score = max(done, key=lambda take: take.track.height_px).score
    found = [_looked(dubbed, take, named, crop) for take in done]
    cosines = [c for _, _, some in found for c in some]
    features = tuple(np.concatenate([one[n] for one in found]).astype(np.float32) for n in (0, 1))
    row = Measured(
        pair.name, str(pair.video), str(pair.sound), score.get("lse_d"), score.get("lse_c"),
        score.get("lse_offset_frames"), score.get("lse_windows"), float(np.mean(cosines)) if cosines else None,
        sum(one.about.frames for one in {t.step.shot.id: t for t in done}.values()),
    )  # fmt: skip
    return row, (features[0], features[1])


def _looked(
    film: EvaluatedFilm, take: takes.Take, named: Models, crop: Crop
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Features of every EVERY-th rendered frame, source and result, and the cosines of both faces' descriptors."""
    size = media.probe(film.video).upright_size
    boxes = face_boxes(take.track.mesh_NP3, size)
    features: tuple[list[np.ndarray], list[np.ndarray]] = ([np.zeros((0, 2048))], [np.zeros((0, 2048))])
    cosines = []
    for count, (n, picture, patch) in enumerate(_rendered(film, take)):
        if count % EVERY:
            continue
        pictures = []
        for box in (boxes[n], (0, 0, *size)):
            before = picture.bgr(box=box)
            pictures.append((before, media.composite(before, patch, *box[:2])))
        if named.inception is not None:
            for held, one in zip(features, pictures[crop == "frame"], strict=True):
                held.append(named.inception.features([one]))
        if named.descriptor is not None:
            mesh = take.track.mesh_NP3[n, :, :2] - boxes[n][:2]
            cosines.append(csim(*named.descriptor.describe([chip(one, mesh) for one in pictures[0]])))
    return np.concatenate(features[0]), np.concatenate(features[1]), cosines


def _rendered(film: EvaluatedFilm, take: takes.Take) -> Iterator[tuple[int, media.Picture, Any]]:
    """(number in the track, picture, patch) of every rendered frame."""
    frames = media.mouth_frames(take.patches)["frame"].to_numpy()
    first, last = int(frames[0]), int(frames[-1]) + 1
    patches = media.read_patches(take.patches, first, last)
    patch = next(patches, None)
    for picture in media.read(film.video, film.line, first, last, threads=1):
        if patch is not None and patch.frame == picture.frame:
            yield picture.frame - take.track.start_frame, picture, patch
            patch = next(patches, None)


# -- what is dubbed --------------------------------------------------------------------------


def _length_s(path: Path) -> float:
    found = media.probe(path).duration_s
    if found is None:
        raise InputError(f"{path.name} does not say how long it is.")
    return float(found)


def film_of(session: Session, pair: Pair) -> Path:
    """The pair's picture at 25 frames a second, no longer than its sound: the file itself where it is that already.

    Raises InputError: no picture, no length; StageError: too short.
    """
    info = media.probe(pair.video)
    if info.video is None:
        raise InputError(f"{pair.video.name} has no picture.")
    length_s = min(_length_s(pair.video), _length_s(pair.sound))
    if length_s < _LEAST_S:
        raise StageError(f"{pair.name}: {length_s:.2f} s are too short; {_LEAST_S:g} s are needed.")
    if info.video.rate == _FPS and (pair.own or _length_s(pair.video) - length_s < 1 / _FPS):
        return pair.video
    memory = session.store.root / ".contents.json"
    key = key_of("film at 25", content_key(pair.video, memory), round(length_s * _FPS), _CRF)[:12]
    folder = session.store.root / pair.id / f"film-{key}"

    def make(part: Path) -> dict[str, Any]:
        count = int(length_s * _FPS)
        width, height = (side // 2 * 2 for side in info.upright_size)
        sound = media.read_sound(pair.video, rate_hz=RATE_HZ, mono=True) if info.audio else None
        rate = RATE_HZ if sound is not None else None
        with media.ClipWriter(
            part / "film.mp4", width, height, Fraction(_FPS), crf=_CRF, sample_rate_hz=rate, channels=2
        ) as writer:
            for picture in even(media.scan(pair.video, threads=1)):
                if picture.frame >= count:
                    break
                writer.frame(np.ascontiguousarray(picture.bgr()[:height, :width]))
            if sound is not None:
                cut = sound[: count * RATE_HZ // _FPS]
                writer.sound(np.stack([cut, cut], 1).astype(np.float32))
        return {"from": pair.video.name, "frames": count}

    session.made(folder, make)
    return folder / "film.mp4"


def _sound(session: Session, pair: Pair, film: EvaluatedFilm) -> Path:
    """What drives, cut to the film's length."""
    length = film.line.sample(len(film.line), RATE_HZ)
    memory = session.store.root / ".contents.json"
    key = key_of("driving sound", content_key(pair.sound, memory), length)[:12]
    folder = session.store.root / pair.id / f"driven-{key}"

    def make(part: Path) -> dict[str, Any]:
        wave = np.asarray(media.read_sound(pair.sound, rate_hz=RATE_HZ, mono=True), np.float32).reshape(-1)
        write_sound(np.pad(wave, (0, max(0, length - len(wave))))[:length], part / "dub.flac")
        return {"from": pair.sound.name}

    session.made(folder, make)
    return folder / "dub.flac"
