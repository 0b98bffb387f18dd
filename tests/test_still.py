"""A photograph as a title's picture: its film is as long as each dub, its mouth moves, the rest stays.

Made of the demo's photograph (NASA, public domain), with espeak's voice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Dub
from films import run, started_by, unchanged
from people import meshes_of

from dubbing import config, manifest, media
from dubbing.analysis.idle_motion import Blinks, Sway, blink_times
from dubbing.api.by_language import by_language
from dubbing.artifact import File
from dubbing.artifacts.takes import StillFilm
from dubbing.engine import Report
from dubbing.face import canonical, mouth_measures
from dubbing.job import Job
from dubbing.mesh import Detector, Meshes
from dubbing.shot_table import read_rows
from dubbing.stages.still import MakeFilm, StillInputs, find_faces

HZ = 48_000
LENGTHS = {"fr": 4.017, "de": 2.0}  # seconds
LEAD_S = {"fr": 1.5, "de": 0.3}  # silent before the sentence
SIZE = (301, 275)  # odd: the last column and the last row are left out


@pytest.fixture(scope="module")
def picture(demo_extra: None) -> np.ndarray:
    """A public-domain portrait, uint8 (275, 301, 3): a smile with teeth."""
    from dubbing.demo.portrait import photograph

    return np.ascontiguousarray(photograph("astronaut.png")[: SIZE[1], 80 : 80 + SIZE[0]])


@dataclass(frozen=True)
class Made:
    """A finished run of one photograph with two dubs."""

    manifest: Path
    out: Path
    report: Report

    @property
    def job(self) -> Job:
        return Job(manifest.load(self.manifest), self.out, config.load())


def write_job(folder: Path, photograph: str, sounds: dict[str, str], **title: object) -> Path:
    dubs = [{"language": k, "audio": v} for k, v in sounds.items()]
    one = {"id": "still", "video": photograph, "dubs": dubs, **title}
    (folder / "job.yaml").write_text(json.dumps({"version": 1, "titles": [one]}), encoding="utf-8")
    return folder / "job.yaml"


def write_sound(path: Path, wave: np.ndarray) -> Path:
    with media.ClipWriter(path, sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(wave.astype(np.float32)[:, None])
    return path


@pytest.fixture(scope="module")
def still_run(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    from dubbing.demo.voice import Utterance, say

    folder = tmp_path_factory.mktemp("a portrait's")
    cv2.imwrite(str(folder / "portrait.png"), picture)
    for language, seconds in LENGTHS.items():
        wave = np.zeros(round(seconds * HZ), np.float32)
        text = "Open the map before the bells." if seconds > 3 else "Open the map."
        spoken = say([Utterance(text, "en-us", seconds - LEAD_S[language] - 0.3)])[0].samples
        wave[round(LEAD_S[language] * HZ) :][: len(spoken)] = spoken
        write_sound(folder / f"{language}.flac", wave)
    job = write_job(folder, "portrait.png", {k: f"{k}.flac" for k in LENGTHS})
    report = run(job, folder / "out")
    with unchanged(folder):
        yield Made(job, folder / "out", report)


def frames_of(seconds: float, rate: float = 25) -> int:
    return int(np.ceil(round(seconds * HZ) / HZ * rate))


@pytest.mark.parametrize("language", LENGTHS)
def test_each_master_is_as_long_as_its_dub_and_carries_it_bit_for_bit(still_run: Made, language: str) -> None:
    assert still_run.report.exit_code in (0, 3), still_run.report.summary
    path = still_run.out / "still" / language / f"still.{language}.mp4"
    info = media.probe(path)
    assert info.video is not None and info.video.codec == "h264" and info.video.pix_fmt == "yuv420p"
    assert info.upright_size == (SIZE[0] - 1, SIZE[1] - 1)
    assert (info.video.primaries, info.video.transfer, info.video.matrix, info.video.range) == (1, 1, 1, 1)
    line = media.timeline(path)
    assert len(line) == frames_of(LENGTHS[language]) and line.rate == 25
    given = media.read_sound(still_run.manifest.parent / f"{language}.flac", rate_hz=None)
    heard = media.read_sound(path, rate_hz=None)
    assert 0 <= len(line) * HZ / 25 - len(given) < HZ / 25
    assert heard.shape == given.shape and (heard == given).all()


def test_one_shot_is_dubbed_and_has_nothing_to_be_compared_with(still_run: Made) -> None:
    for language, seconds in LENGTHS.items():
        (row,) = read_rows(still_run.out / "still" / language / "shots.parquet")
        assert (row["status"], row["start_frame"], row["end_frame"]) == ("dubbed", 0, frames_of(seconds))
        assert row["lse_d"] is not None and row["sharpness"] is not None
        assert row["source_lse_d"] is None and row["source_lse_offset_frames"] is None
    assert all(len(dub["sheets"]) == 1 and Path(dub["sheets"][0]).exists() for dub in still_run.report.summary)


def test_a_report_tells_photographs_from_films_and_measures_their_mouths_in_silence(still_run: Made) -> None:
    lines = by_language([still_run.out])
    assert {line.source for line in lines} == {"still"} and {line.source_lse_d for line in lines} == {None}
    (leak,) = (line.lip_leak for line in lines if line.language == "fr")
    assert leak is not None and leak < 0.5, "shut lips of a photograph move by no more than the mesh's own noise"


def test_the_mouth_moves_with_speech_and_rests_in_silence(still_run: Made) -> None:
    """Seen in the master itself, as a viewer sees it."""
    path = still_run.out / "still" / "fr" / "still.fr.mp4"
    line = media.timeline(path)
    shape, _ = canonical(meshes_of(p.bgr() for p in media.read(path, line)))
    opening = mouth_measures(shape)["opening"]
    job = still_run.job
    title = job.manifest.titles[0]
    (step,) = job.dub(title, title.dubs[0], {}).steps
    patches = media.patch_frames(step.take.folder / "face_1")
    frames, wanted = patches["frame"].to_numpy(), patches["wanted_opening"].to_numpy()
    rendered = np.isin(np.arange(len(line)), frames)
    assert 30 < rendered.sum() < len(line) - 10
    assert np.corrcoef(wanted, opening[frames])[0, 1] > 0.85
    silent = np.arange(2, 25)  # before the patch begins
    assert np.ptp(opening[silent]) < 0.02 < 0.06 < np.ptp(opening[rendered])
    assert not rendered[silent].any()


def test_outside_the_mattes_the_film_is_the_photograph(still_run: Made, picture: np.ndarray) -> None:
    """Before the encode not one code value changes; and the film's colours are the photograph's."""
    job = still_run.job
    title = job.manifest.titles[0]
    (step,) = job.dub(title, title.dubs[0], {}).steps
    line, folder = job.timeline(title), step.take.folder / "face_1"
    patches = {p.frame: p for p in media.read_patches(folder)}
    first = None
    for n, planes in enumerate(media.pasted_frames(job.film(title), line, [folder])):
        first = planes if first is None else first
        free = np.ones(planes[0].shape, bool)
        if n in patches:
            p = patches[n]
            height, width = p.matte_HW.shape
            free[p.y : p.y + height, p.x : p.x + width] &= p.matte_HW == 0
        assert (planes[0][free] == first[0][free]).all()
    shown = next(media.read(job.film(title), line, 0, 1)).bgr().astype(int)
    kept = picture[: SIZE[1] - 1, : SIZE[0] - 1].astype(int)
    grey = (0.114, 0.587, 0.299)
    assert np.abs((shown - kept) @ grey).mean() < 1.5, "only colour is halved in size"
    assert np.abs(cv2.blur((shown - kept).astype(np.float32), (15, 15))).max() < 6


def test_a_second_run_does_nothing(still_run: Made, tmp_path: Path) -> None:
    assert still_run.job.stages[0] is MakeFilm
    shutil.copytree(still_run.out, tmp_path / "out")
    assert started_by(still_run.manifest, tmp_path / "out") == set()


def test_check_plan_and_status_know_it(still_run: Made, dub: Dub) -> None:
    code, told, _ = dub("check", still_run.manifest, "--out", still_run.out, "--json")
    (title,) = json.loads(told)["titles"]
    assert code == 0 and title["frames"] == frames_of(LENGTHS["fr"]) and not title["has_sound"]
    assert [-1 < d["over_frames"] <= 0 for d in title["dubs"]] == [True, True]
    assert any("last column and row" in n for n in json.loads(told)["notes"])
    code, told, _ = dub("plan", still_run.manifest, "--out", still_run.out, "--json")
    assert code == 0 and (stage := json.loads(told)["stages"][0])["stage"] == "still"
    assert (stage["tasks"], stage["done"]) == (1, 1)
    code, told, _ = dub("status", still_run.out)
    assert code == 0 and "dubbed" in told


def test_review_shows_the_film_that_was_made(still_run: Made, tmp_path: Path) -> None:
    from dubbing.review.library import Library
    from dubbing.review.packing import ProxyPlan, one_frame, sides_of

    shutil.copytree(still_run.out, tmp_path / "out")
    library = Library(tmp_path / "out")
    assert library.film("still").size == (SIZE[0] - 1, SIZE[1] - 1)
    shown = library.find("still", "de", "shot_0001")
    plan = ProxyPlan(sides_of(library, shown, "source", "current"))
    assert plan.frames >= frames_of(LENGTHS["de"])
    packed = list(plan.pictures(20, 24))
    assert len(packed) == 4
    still, moved = (next(media.read(plan.sides.video, shown.line, 30, 31)).bgr(), one_frame(library, shown, 30)[0])
    assert np.abs(still.astype(int) - moved).max() > 20, "the take lies over it"


# -- blinks and motion --------------------------------------------------------------------------------


def lid_gap(picture: np.ndarray) -> float:
    """How far the lids stand apart, over the eye's width; the mean of both eyes."""
    mesh = meshes_of([picture] * 3)[-1]
    eyes = [((159, 145), (33, 133)), ((386, 374), (362, 263))]
    return float(np.mean([np.linalg.norm(mesh[a] - mesh[b]) / np.linalg.norm(mesh[c] - mesh[d])
                          for (a, b), (c, d) in eyes]))  # fmt: skip


@pytest.fixture(scope="module")
def faces(picture: np.ndarray) -> list[np.ndarray]:
    detector, meshes = Detector(), Meshes()
    try:
        return find_faces(picture, detector, meshes)
    finally:
        detector.close()
        meshes.close()


def test_blinks_shut_the_eyes_and_change_nothing_else(picture: np.ndarray, faces: list[np.ndarray]) -> None:
    assert len(faces) == 1
    eyes = Blinks(picture, faces)
    pictures = [eyes.at((n + 0.5) / 25, 1 / 25) for n in range(250)]
    closing = np.array([p is not pictures[0] for p in pictures])
    begins = np.flatnonzero(np.diff(closing.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(closing.astype(int)) == -1)
    assert 1 <= len(begins) <= 4 and all(3 <= b - a <= 5 for a, b in zip(begins, ends, strict=False))
    change = [np.abs(p.astype(int) - picture).sum() for p in pictures]
    assert lid_gap(pictures[int(np.argmax(change))]) < 0.5 * lid_gap(picture)
    far = np.ones(picture.shape[:2], bool)
    for side in ((33, 133, 159, 145, 52), (362, 263, 386, 374, 282)):
        at = faces[0][list(side), :2]
        (x0, y0), (x1, y1) = at.min(0).astype(int) - 8, at.max(0).astype(int) + 8
        far[y0:y1, x0:x1] = False
    assert all((p[far] == picture[far]).all() for p in pictures)
    again = Blinks(picture, faces)
    assert all((again.at((n + 0.5) / 25, 1 / 25) == p).all() for n, p in enumerate(pictures)), "the same every time"


def test_blinks_come_every_three_to_six_seconds() -> None:
    times = blink_times(np.random.default_rng(1), 300)
    assert 50 <= len(times) <= 100
    assert np.diff(times).min() >= 3 and np.diff(times).max() <= 6


def test_the_head_moves_a_little_and_the_border_not_at_all(picture: np.ndarray, faces: list[np.ndarray]) -> None:
    sway = Sway(picture, faces[0])
    angles = np.degrees([sway.angles(t) for t in np.arange(0, 60, 0.04)])
    assert 0.5 < np.abs(angles).max() < 2
    assert np.abs(np.diff(angles, axis=0)).max() < 0.2, "smooth"
    assert (sway.move(picture, 0.0) == picture).all(), "it begins with the photograph"
    at = 0.04 * float(np.abs(angles[:, 0]).argmax())
    moved = sway.move(picture, at)
    border = np.ones(picture.shape[:2], bool)
    border[1:-1, 1:-1] = False
    assert (moved[border] == picture[border]).all()
    nose = np.linalg.norm(meshes_of([moved] * 3)[-1][1, :2] - meshes_of([picture] * 3)[-1][1, :2])
    assert 0.3 < nose < 0.08 * np.ptp(faces[0][:, 0])


def test_the_film_of_a_moving_still_has_its_rate_and_moves(picture: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    inputs = StillInputs(File(tmp_path / "p.png", ""), "24000/1001", 60, blinks=True, motion=True)
    films = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stage = MakeFilm()
        said = stage.process(inputs, tmp_path / name, lambda n: None)
        stage.close()
        assert said == StillFilm(60, faces=1, head=True)
        films.append((tmp_path / name / "film.mp4").read_bytes())
    assert films[0] == films[1], "the same bytes every time"
    line = media.timeline(tmp_path / "a" / "film.mp4")
    assert len(line) == 60 and line.rate == Fraction(24000, 1001)
    seen = [p.bgr().astype(int) for p in media.read(tmp_path / "a" / "film.mp4", line)]
    assert np.abs(seen[0] - seen[59]).max() > 30
    assert np.abs(seen[0][:2] - seen[59][:2]).max() < 12, "the border stands"
