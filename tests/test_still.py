"""A photograph as a title's picture: its film is as long as each dub, its mouth speaks, its head and lids act.

Made of the demo's photograph (NASA, public domain), with espeak's voice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Dub
from films import run, started_by, unchanged
from people import meshes_of

from dubbing import config, manifest, media, preflight
from dubbing.api.by_language import by_language
from dubbing.engine import Report
from dubbing.face import canonical, mouth_measures, still_mesh
from dubbing.generators import Rendered, RenderRequest, create
from dubbing.generators.rewrite.generator import Rewrite
from dubbing.job import Job
from dubbing.mesh import Detector, Meshes
from dubbing.performance.blinks import Eyes
from dubbing.performance.head import Head
from dubbing.performance.motion import LIMITS
from dubbing.performance.performed import Performance, Performed
from dubbing.records import Line, Patch, Track
from dubbing.shot_table import read_rows
from dubbing.stages.lipsync import Lipsync
from dubbing.stages.still import MakeFilm, find_faces

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
    patches = media.mouth_frames(step.take.folder / "face_1")
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


# -- head, lids and brows -----------------------------------------------------------------------------


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


def test_the_disk_that_is_asked_for_holds_a_head_that_moves(still_run: Made, tmp_path: Path) -> None:
    found = preflight.look(manifest.load(still_run.manifest), config.load(), tmp_path / "out")
    takes = [p.stat().st_size for p in still_run.out.rglob("*") if p.is_file()]
    assert sum(takes) < found.disk_needed < 20 * sum(takes)


def test_a_master_moves_its_head_from_the_photographs_pose_on_and_its_border_not_at_all(still_run: Made) -> None:
    path = still_run.out / "still" / "fr" / "still.fr.mp4"
    pictures = [p.bgr() for p in media.read(path, media.timeline(path))]
    meshes = np.stack(meshes_of(pictures))
    nose = np.linalg.norm(meshes[:, 1, :2] - meshes[0, 1, :2], axis=1)
    wide = float(np.ptp(meshes[0, :, 0]))
    assert nose[:4].max() < 0.02 * wide, "it begins as the photograph"
    assert 0.025 * wide < nose.max() < 0.2 * wide
    assert np.abs(np.diff(nose)).max() < 0.03 * wide, "smooth"
    first, last = (pictures[n].astype(int) for n in (0, int(nose.argmax())))
    border = np.ones(first.shape[:2], bool)
    border[2:-2, 2:-2] = False
    assert np.abs(first - last)[border].mean() < 2 < np.abs(first - last).mean(), "the picture's border stands"


def test_lids_shut_the_eyes_and_change_nothing_else(picture: np.ndarray, faces: list[np.ndarray]) -> None:
    assert len(faces) == 1
    eyes, shut = Eyes(picture, faces[0][:, :2]), picture.copy()
    eyes.close(shut, 1.0)
    assert lid_gap(shut) < 0.5 * lid_gap(picture)
    far = np.ones(picture.shape[:2], bool)
    for x, y, w, h in eyes.boxes:
        far[y : y + h, x : x + w] = False
    assert far.mean() > 0.8 and (shut[far] == picture[far]).all()


def test_a_head_turns_with_its_hair_and_leaves_border_and_other_faces(
    picture: np.ndarray, faces: list[np.ndarray]
) -> None:
    size = (SIZE[0] // 2 * 2, SIZE[1] // 2 * 2)
    head = Head(faces[0], size, (100, 100, 40, 40))
    x, y, w, h = head.region
    assert x >= 0 and y >= 0 and x + w <= size[0] and y + h <= size[1] and not (x % 2 or y % 2 or w % 2 or h % 2)
    part = np.ascontiguousarray(picture[y : y + h, x : x + w])
    assert (head.moved(part, np.zeros(6)) == part).all()
    pose = LIMITS * (0.5, -0.8, 0.6, 0.5, 0, 0)
    whole = picture[: size[1], : size[0]].copy()
    whole[y : y + h, x : x + w] = np.where(head.matte_HW[..., None] > 0, head.moved(part, pose), part)
    seen = meshes_of([whole] * 3)[-1]
    skull = [10, 33, 263, 168, 1, 127, 356]
    wanted = head.points(faces[0], pose)[skull, :2]
    assert np.abs(wanted - faces[0][skull, :2]).max() > 4
    assert np.abs(seen[skull, :2] - wanted).max() < 3, "where a turned head would be"
    edge = np.ones(whole.shape[:2], bool)
    edge[1:-1, 1:-1] = False
    assert (whole[edge] == picture[: size[1], : size[0]][edge]).all()
    beside = (float(faces[0][:, 0].max()) + 2, 60.0, 80.0, 110.0)
    stands = Head(faces[0], size, (100, 100, 40, 40), others=[beside])
    middle = (int(beside[1] + 55 - stands.region.y), int(beside[0] + 40 - stands.region.x))
    assert (stands.matte_HW[middle[0], middle[1] :] == 0).all(), "another's face is not dragged along"


def test_a_head_that_lies_nods_along_its_own_axis(faces: list[np.ndarray]) -> None:
    lying = faces[0][:, [1, 0, 2]] * (1, -1, 1) + (0, 300, 0)  # turned by a quarter to the left
    pose = LIMITS * (0.7, -0.5, 0.4, 0.6, 0.3, 0)
    upright, turned = (
        Head(mesh, size, (100, 100, 40, 40)).points(mesh, pose) - mesh
        for mesh, size in ((faces[0], (300, 274)), (lying, (274, 300)))
    )
    assert np.abs(turned - upright[:, [1, 0, 2]] * (1, -1, 1)).max() < 1e-6 < 1 < np.abs(upright).max()


def test_brows_rise_and_lids_stay(picture: np.ndarray, faces: list[np.ndarray]) -> None:
    head = Head(faces[0], (300, 274), (100, 100, 40, 40))
    x, y, w, h = head.region
    part = np.ascontiguousarray(picture[y : y + h, x : x + w])
    raised = head.moved(part, np.zeros(6), 0.06)
    meshes = [meshes_of([p] * 3)[-1] for p in (part, raised)]
    brow, lid = ([float((meshes[0] - meshes[1])[list(at), 1].mean()) / head.eye for at in pair][0]
                 for pair in (((52, 65, 282, 295),), ((145, 374, 33, 263),)))  # fmt: skip
    assert brow > 0.02 and abs(lid) < 0.01


@pytest.fixture(scope="module")
def asked(picture: np.ndarray, faces: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> RenderRequest:
    """50 frames of the photograph, of which 14 in the middle are spoken."""
    path, count = tmp_path_factory.mktemp("photograph") / "film.mp4", 50
    with media.ClipWriter(path, 300, 274, 25, crf=0.0, matrix=media.BT709) as film:
        for _ in range(count):
            film.frame(np.ascontiguousarray(picture[:274, :300]))
    meshes = np.repeat(faces[0][None].astype(np.float32), count, 0)
    track = Track("shot_0001/face_1", np.arange(count, dtype=np.int32), meshes, np.ones(count, bool),
                  np.zeros(count, np.float32), 120.0)  # fmt: skip
    speech = np.zeros(count, bool)
    speech[20:34] = True
    wave = np.repeat(speech, 640) * np.random.default_rng(1).normal(0, 0.2, count * 640)
    return RenderRequest(
        path, media.timeline(path), (300, 274), track, (Line(track.id, 15, 40),), wave.astype(np.float32), speech, None,
        still=True,
    )  # fmt: skip


ALL = Performance(True, True, ((0, 50),))


def rendered(work: RenderRequest, acts: Performance | None = ALL, **changed: object) -> dict[int, tuple]:
    work = replace(work, **changed)
    mouths = create("rewrite", {}).render(work)
    patches = Performed(work, acts).over(mouths) if acts else mouths
    return {one.patch.frame: (one.patch.bgr_HWC, one.patch.matte_HW, one.mouth, one.wanted_opening) for one in patches}


def test_every_frame_performs_and_only_the_spoken_have_another_mouth(asked: RenderRequest) -> None:
    whole = rendered(asked)
    assert list(whole) == list(range(50))
    assert [n for n, (_, _, mouth, _) in whole.items() if mouth] == list(range(15, 40))
    assert all(np.isfinite(opening) == mouth for *_, mouth, opening in whole.values())
    parts = rendered(asked, window=(0, 22)) | rendered(asked, window=(22, 50))
    assert list(parts) == list(whole), "windows change nothing"
    assert all((parts[n][0] == whole[n][0]).all() and (parts[n][1] == whole[n][1]).all() for n in whole)


def test_without_motion_only_the_mouth_changes_and_left_frames_are_left(asked: RenderRequest) -> None:
    assert list(rendered(asked, None)) == list(range(15, 40))
    some, all_of = rendered(asked, Performance(True, False, ((10, 45),))), rendered(asked)
    assert list(some) == list(range(10, 45))
    assert np.abs(some[10][0].astype(int) - all_of[0][0]).max() <= 1, "a part begins where the photograph has the head"
    lids = rendered(asked, Performance(False, True, ((0, 50),)))
    assert set(range(15, 40)) <= set(lids) and len(lids) < 50, "a frame in which nothing moves has no patch"


def test_a_networks_mouth_is_moved_as_well(asked: RenderRequest, picture: np.ndarray) -> None:
    """Whatever renders mouths: here a red square on the chin."""
    red = np.full((20, 20, 3), (0, 0, 255), np.uint8)
    mouths = (Rendered(Patch(n, 140, 130, red, np.full((20, 20), 255, np.uint8)), 0.1) for n in range(15, 40))
    performed = Performed(asked, ALL)
    found = {one.patch.frame: one for one in performed.over(mouths)}
    middles = []
    for n in (16, 38):
        patch = found[n].patch
        rows, cols = np.nonzero((patch.bgr_HWC[..., 2] > 200) & (patch.bgr_HWC[..., 1] < 40))
        middles.append(np.array([cols.mean() + patch.x, rows.mean() + patch.y]))
    moved = middles[1] - middles[0]
    at = np.array([[149.5, 139.5, float(still_mesh(asked.track.mesh_NP3)[152, 2])]])
    head = Head(still_mesh(asked.track.mesh_NP3), (300, 274), (100, 100, 40, 40))
    poses = performed.acts.pose_N6
    wanted = head.points(at, poses[38])[0, :2] - head.points(at, poses[16])[0, :2]
    assert np.abs(moved - wanted).max() < 1.5 and np.abs(wanted).max() > 0.5


def test_a_generator_that_moves_heads_itself_gets_the_whole_film_and_nothing_is_laid_over_it(
    still_run: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RenderRequest] = []

    def render(self: object, work: RenderRequest) -> Iterator[Rendered]:
        asked.append(work)
        grey = np.full((16, 16, 3), 128, np.uint8)
        for _, a, b in work.spans:
            yield from (Rendered(Patch(n, 0, 0, grey, grey[..., 0]), 0.0) for n in range(a, b))

    monkeypatch.setattr(Rewrite, "performs", True, raising=False)
    monkeypatch.setattr(Rewrite, "render", render)
    job = still_run.job
    (step,) = job.dub(job.manifest.titles[0], job.manifest.titles[0].dubs[0], {}).steps
    take = Lipsync().process(step.take.inputs, tmp_path, lambda n: None)
    whole = (0, frames_of(LENGTHS["fr"]))
    assert [(x.start_frame, x.end_frame) for x in asked[0].lines] == [whole] == list(take.faces[0].lines)
    made = media.patch_frames(tmp_path / "face_1")
    assert len(made) == whole[1] and media.MOUTH not in made.column_names
    (first, *_) = media.read_patches(tmp_path / "face_1", 0, 1)
    assert first.matte_HW.shape == (16, 16), "its own patches"
