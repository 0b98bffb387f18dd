"""Two people in one shot, who speak one after the other: everything that is said of a shot is said of each of them.

Over 400 lines: one film, which takes as long to make as all of these tests.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Dub
from films import run, started_by
from pages import Visitor, served

from dubbing import config, media, open_results
from dubbing.artifacts.tracks import load_tracks
from dubbing.decisions import DecisionLog
from dubbing.errors import InputError
from dubbing.evaluate import takes as evaluated
from dubbing.media import ClipWriter
from dubbing.networks.face_descriptor import FaceDescriptor
from dubbing.review.curves import curves
from dubbing.review.export import refusal
from dubbing.review.library import Library, Shown
from dubbing.review.moments import moment
from dubbing.review.overlays import overlays
from dubbing.review.proxy import Proxies
from dubbing.review.report import report
from dubbing.review.rerun import rerun
from dubbing.shot_table import read_rows

pytestmark = pytest.mark.long
KEY = ("two", "hi", "shot_0001")
SPEAKS = 72  # frames of the short film in which its one face speaks: here the left one says them, then the right one
WIDE = 300  # pixels of the picture that belong to each
HZ = 48_000


def said_twice(sound: Path, first_s: Fraction, seconds: Fraction) -> np.ndarray:
    """float32 (T, 2): a stretch of a sound, twice."""
    wave = media.read_sound(sound, HZ, mono=False)[int(first_s * HZ) :]
    part = np.zeros((int(seconds * HZ), 2), np.float32)
    part[: len(wave)] = wave[: len(part)]
    return np.concatenate([part, part])


@pytest.fixture(scope="module")
def out(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a film of one shot; so strict that every take is complained of, each with its own numbers."""
    folder = tmp_path_factory.mktemp("two")
    source = film.parent / "film.mp4"
    line = media.timeline(source)
    left = [p.bgr()[:, 240 - WIDE // 2 :][:, :WIDE] for p in media.read(source, line, 12, 12 + SPEAKS)]
    right = [cv2.flip(p, 1) for p in left]
    first_s, seconds = line.time(12), SPEAKS / line.rate
    with ClipWriter(folder / "two.mp4", 2 * WIDE, 270, line.rate, sample_rate_hz=HZ, channels=2, crf=16) as clip:
        for one, other in [*((p, right[0]) for p in left), *((left[-1], p) for p in right)]:
            clip.frame(np.concatenate([one, other], 1))
        clip.sound(said_twice(source, first_s, seconds))
    with ClipWriter(folder / "two.hi.flac", sample_rate_hz=HZ, channels=2) as clip:
        clip.sound(said_twice(film.parent / "film.hi.flac", first_s, seconds))
    title = {"id": "two", "video": "two.mp4", "dubs": [{"language": "hi", "audio": "two.hi.flac"}]}
    (folder / "job.yaml").write_text(json.dumps({"version": 1, "titles": [title]}), encoding="utf-8")
    strict = config.load().model_copy(update={"review": config.Review(min_sharpness=0.99)})
    assert run(folder / "job.yaml", folder / "out", settings=strict).exit_code in (0, 3)
    return folder / "out"


@pytest.fixture(scope="module")
def library(out: Path) -> Library:
    return Library(out)


@pytest.fixture(scope="module")
def shown(library: Library) -> Shown:
    return library.find(*KEY)


@pytest.fixture(scope="module")
def rendered(shown: Shown) -> dict[str, set[int]]:
    """By track, the frames that its patches hold: what all else is held against."""
    take = shown.takes[0]
    return {f.track: {p.frame for p in media.read_patches(take.folder / f.folder)} for f in take.faces}


@pytest.fixture(scope="module")
def sides(shown: Shown, rendered: dict[str, set[int]]) -> tuple[str, str]:
    """The tracks of the left and of the right face, both of which are rendered, one after the other."""
    by_time = sorted(rendered, key=lambda track: min(rendered[track]))
    assert len(by_time) == 2 and max(rendered[by_time[0]]) - min(rendered[by_time[1]]) < 24
    return by_time[0], by_time[1]


def test_every_face_is_scored_over_its_own_frames_and_the_shot_is_its_worst(
    out: Path, rendered: dict[str, set[int]], sides: tuple[str, str]
) -> None:
    home = out / "two" / "hi"
    faces, (row,) = read_rows(home / "faces.parquet"), read_rows(home / "shots.parquet")
    assert pq.read_schema(home / "faces.parquet").metadata[b"schema"] == b"dub.face.1"
    assert {f["track"] for f in faces} == set(sides)
    for face in faces:
        frames = rendered[face["track"]]
        assert (face["start_frame"], face["end_frame"]) == (min(frames), max(frames) + 1)
        assert face["rendered_frames"] == len(frames) and 0 < face["lse_windows"] <= len(frames) * 25 / 23.976
        assert face["shot"] == "shot_0001" and face["source_lse_d"] and face["following"] > 0.6 and face["sharpness"]
        assert f"sharpness {face['sharpness']:.2f} is under 0.99" in face["review_reason"]
    worst = max(faces, key=lambda f: f["severity"])
    assert row["face"] == worst["track"] and row["severity"] == worst["severity"]
    for name in ("lse_d", "lse_c", "lse_offset_frames", "source_lse_d", "lse_windows", "sharpness", "following",
                 "face_px", "yaw_deg", "actor"):  # fmt: skip
        assert row[name] == worst[name], name
    for face in faces:  # both complain, each by its name
        name = face["track"].split("/")[1].replace("_", " ")
        assert f"{name}: {face['review_reason']}" in row["review_reason"]
    assert row["needs_review"]


def test_python_programs_see_the_faces_too(out: Path) -> None:
    dub = open_results(out).dub("two", "hi")
    (take,) = dub.takes("shot_0001")
    assert take.review_reason == dub.shots.to_pylist()[0]["review_reason"]
    assert dub.faces.to_pylist() == read_rows(out / "two" / "hi" / "faces.parquet")
    assert set(take.face_scores) == set(take.faces) == {"face_1", "face_2"}
    worst = max(take.face_scores.values(), key=lambda f: f["severity"])
    assert take.scores["lse_d"] == worst["lse_d"] and take.scores["face"] == worst["track"]
    for face in dub.faces.to_pylist():
        assert take.face_scores[face["track"].split("/")[1]]["lse_d"] == pytest.approx(face["lse_d"], rel=1e-6)


def test_the_contact_sheet_has_a_block_for_each_face(shown: Shown) -> None:
    take = shown.takes[0]
    height = cv2.imread(str(take.folder / "sheet.jpg")).shape[0]
    assert height == 2 * (26 + 26 + 4 * 240)


def test_the_mouth_pane_follows_whoever_is_rendered(
    library: Library, shown: Shown, rendered: dict[str, set[int]], sides: tuple[str, str], tmp_path: Path
) -> None:
    left, right = sides
    proxies = Proxies(library, tmp_path)
    said = proxies.ask(shown)
    assert set(said["faces"]) == {left, right} and said["mouths"][0][0] == said["first"]
    assert said["mouths"][-1][1] == said["last"]
    whose = {f: track for a, b, track in said["mouths"] for f in range(a, b)}
    for frame, track in whose.items():
        x, _, w, _ = said["mouth_boxes"][frame - said["first"]]
        assert (x + w / 2 < WIDE) == (track == left), frame
        if (frame in rendered[left]) != (frame in rendered[right]):
            assert frame in rendered[track], frame
    fixed = proxies.ask(shown, face=left)
    assert fixed["mouths"] == [[said["first"], said["last"], left]] and fixed["url"] != said["url"]
    assert all(x + w / 2 < WIDE for x, _, w, _ in fixed["mouth_boxes"])
    at = max(rendered[right])  # a frame in which the right face alone is changed
    for face, changed in ((None, True), (left, False)):
        packed = cv2.imdecode(np.frombuffer(proxies.still(shown, frame=at, face=face), np.uint8), cv2.IMREAD_COLOR)
        x, y, w, h = said["layout"]["panes"]["diff_mouth"]
        assert (packed[y : y + h, x : x + w].mean() > 1) == changed, face
    with pytest.raises(InputError, match="re-renders no face 'face_9'"):
        proxies.ask(shown, face="face_9")
    proxies.close()


def test_labels_and_curves_are_true_at_every_frame(
    library: Library, shown: Shown, rendered: dict[str, set[int]]
) -> None:
    drawn = {f["track"]: f for f in overlays(library, shown)["faces"]}
    lines = {f["track"]: f for f in curves(library, shown)["faces"]}
    assert set(lines) == set(rendered) <= set(drawn)
    for track, frames in rendered.items():
        for spans in (drawn[track]["rendered"], lines[track]["rendered"]):
            assert {f for a, b in spans for f in range(a, b)} == frames
        opening = lines[track]["opening"]
        assert {f for f, v in zip(opening["frames"], opening["seen"], strict=True) if v is not None} == frames
        sure = lines[track]["confidence"]
        counted = {f for f, v in zip(sure["frames"], sure["dub"], strict=True) if v is not None}
        assert counted <= frames and len(counted) > len(frames) / 2
    assert all(f["rendered"] == [] for f in overlays(library, shown, "source")["faces"])


def test_the_report_shows_the_worst_face_where_it_is_rendered(
    library: Library, shown: Shown, rendered: dict[str, set[int]]
) -> None:
    take = shown.takes[0]
    assert moment(shown, take).frame in rendered[take.scored[0]["track"]]
    page = report(library)
    for face in take.scored:
        assert re.search(rf"{face['track'].split('/')[1].replace('_', ' ')}[^<]*frames {face['start_frame']}", page)


def test_an_evaluation_measures_both_faces(library: Library) -> None:
    job = library.job(*next((t.id, d.language) for t, d in library.dubs()))
    ((title, dub),) = library.dubs()
    film = SimpleNamespace(job=job, failed={}, steps=lambda language: job.dub(title, dub, {}).steps)
    found, reasons = evaluated.finished(film, "hi")  # type: ignore[arg-type]
    assert reasons == [] and [t.name for t in found] == ["shot_0001_face_1", "shot_0001_face_2"]
    for take in found:
        assert evaluated.following(take)["opening_corr"] == pytest.approx(take.score["following"], abs=0.02)


# -- in the browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def again(out: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same with a second take beside the first: (folder, the new take's id)."""
    copy = shutil.copytree(out, tmp_path_factory.mktemp("again") / "out")
    library = Library(copy)
    (made,) = rerun(
        library, [KEY], library.choice({"name": "rewrite", "opening": 0.6}), "Ana", lambda part, stage: None
    )
    assert made.take and not made.error
    return copy, made.take


def test_a_complaint_belongs_to_the_take_it_was_measured_on(again: tuple[Path, str]) -> None:
    folder, new = again
    library = Library(folder)
    one, two = library.find(*KEY).takes
    assert two.id == new and one.current
    said = [t.row(library.config.review)["review_reason"] for t in (one, two)]
    for take, reason in zip((one, two), said, strict=True):
        assert all(f"sharpness {f['sharpness']:.2f}" in reason for f in take.scored)
    assert said[0] != said[1] and library.rows()[0]["review_reason"] == said[0]
    DecisionLog(folder).append(KEY, "choose", "Ana", take=new, generator=two.generator)
    try:
        (row,) = library.rows()
        assert (row["take"], row["review_reason"], row["lse_d"]) == (new, said[1], two.scores["lse_d"])
        assert row["face"] == two.scored[0]["track"] and row["needs_review"]
        assert said[1] in report(library) and said[0] not in report(library)
    finally:
        DecisionLog(folder).path.unlink()


@pytest.fixture
def ana(chromium: Any, again: tuple[Path, str]) -> Iterator[Visitor]:
    with served(again[0]) as url:
        visitor = Visitor(chromium, url)
        yield visitor
        visitor.end()


def test_the_page_follows_the_speaker_and_tells_each_takes_own_complaint(
    ana: Visitor, again: tuple[Path, str], sides: tuple[str, str], rendered: dict[str, set[int]]
) -> None:
    page = ana.shot(*KEY)
    page.wait_for_selector("#offset-words:has-text('dub')")
    names = [track.split("/")[1].replace("_", " ") for track in sides]
    whose = "() => document.querySelector('#picture').dataset.mouth"
    assert page.evaluate(whose) == names[0]
    assert page.locator("#numbers .face-name").count() == 2
    page.keyboard.press("End")
    ana.at(2 * SPEAKS - 1)
    assert page.evaluate(whose) == names[1] and names[1] in page.inner_text("#offset-face")
    page.click(f"#face-choice button:text-is('{names[0].capitalize()}')")
    page.wait_for_function("name => document.querySelector('#picture').dataset.mouth === name", arg=names[0])
    ana.at(2 * SPEAKS - 1)
    assert page.locator("#numbers .face-name").all_inner_texts()[0].startswith(names[0])
    assert page.locator("#numbers .face-name").count() == 1
    page.click("#face-choice button:text-is('Each face')")
    ana.shown()

    library = Library(again[0])
    said = [t.row(library.config.review)["review_reason"] for t in library.find(*KEY).takes]
    assert said[0] in page.inner_text("#complaint")
    held: list[Any] = []
    page.route("**/api/curves/**", lambda route: held.append(route))  # as on a slow machine
    page.keyboard.press("u")
    page.wait_for_function("text => document.querySelector('#complaint').textContent.includes(text)", arg=said[1])
    assert said[0] not in page.inner_text("#complaint") and page.inner_text("#offset-words") == ""
    page.wait_for_selector("#timeline[data-state='reading']")
    ana.shown()
    assert page.get_attribute("#timeline", "data-state") == "reading", "the other take's curves are gone meanwhile"
    for route in held:
        route.continue_()
    page.unroute("**/api/curves/**")
    page.wait_for_selector("#timeline[data-state='drawn']")
    page.wait_for_selector("#offset-words:has-text('dub')")


# -- names ---------------------------------------------------------------------------------------


def test_names_stand_everywhere_at_once_and_render_nothing_again(out: Path, dub: Dub, tmp_path: Path) -> None:
    folder = shutil.copytree(out, tmp_path / "out")
    code, told, _ = dub("cast", folder, "--name", "2=ANNA", "--json")
    people = json.loads(told)["people"]
    assert code == 0 and [(p["number"], p["name"], p["by"]) for p in people] == [(1, None, None), (2, "ANNA", "name")]
    assert all(p["shots"] == ["shot_0001"] and 5 < p["seconds"] < 7 for p in people)
    height, width = cv2.imread(str(folder / "review" / "cast-two.jpg")).shape[:2]
    assert (height, width) == (244, 400)

    code, _, said = dub("cast", folder, "--name", "1=BORIS")
    library = Library(folder)
    (row,) = library.rows()
    names = {p["tracks"][0]: name for p, name in zip(people, ("BORIS", "ANNA"), strict=True)}
    assert (code, said, row["character"]) == (0, "", names[row["face"]])
    assert library.find(*KEY).current, "what the run made is shown before another run"
    assert f"<b>{row['character']}</b>" in report(library)

    strict = config.load().model_copy(update={"review": config.Review(min_sharpness=0.99)})
    started: set[str] = set()
    run(
        out.parent / "job.yaml",
        folder,
        settings=strict,
        show=lambda e: started.add(e.task_id) if e.kind == "started" else None,
    )
    assert started == {"cast two", "turns two/hi"}
    faces = read_rows(folder / "two" / "hi" / "faces.parquet")
    assert {f["track"]: f["character"] for f in faces} == {f["track"]: names[f["track"]] for f in faces}

    dub("cast", folder, "--unname", "1")
    assert {p["name"] for p in json.loads(dub("cast", folder, "--json")[1])["people"]} == {None, "ANNA"}
    for wrong, why in (("9=X", "There is no person 9"), ("ANNA", "such as 2=ANNA"), ("1=", "such as 2=ANNA"),
                       ("two/x=Y", "named by number"), ("other/1=Y", "There is no title 'other'")):  # fmt: skip
        code, _, said = dub("cast", folder, "--name", wrong)
        assert code == 2 and why in said and said.count("\n") == 1, wrong


def test_a_picture_finds_its_person_and_the_run_is_shown_without_the_network_too(
    out: Path, face_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = out.parent / "two.mp4", shutil.copytree(out, tmp_path / "out")
    line = media.timeline(source)
    picture = next(iter(media.read(source, line, 30, 31))).bgr()
    cv2.imwrite(str(tmp_path / "anna.png"), picture[:, :WIDE])
    job = json.loads((out.parent / "job.yaml").read_text(encoding="utf-8"))
    title = job["titles"][0]
    title |= {"video": str(source), "cast": {"ANNA": {"face": "anna.png", "consent": "signed"}}}
    title["dubs"][0]["audio"] = str(out.parent / "two.hi.flac")
    (tmp_path / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
    strict = config.load().model_copy(update={"review": config.Review(min_sharpness=0.99)})
    started: set[str] = set()
    told = run(
        tmp_path / "job.yaml", folder, settings=strict,
        show=lambda e: started.add(e.task_id) if e.kind == "started" else None,
    )  # fmt: skip
    assert {"descriptors two/shot_0001", "people two", "cast two"} <= started
    assert not any(task.startswith(("lipsync", "sync", "master")) for task in started), "nobody's mouth has changed"
    assert told.run_json["cast"]["two"]["ANNA"] == {
        "consent": "signed", "leave_alone": False, "off_screen": False, "shots": 1
    }  # fmt: skip
    monkeypatch.setattr(FaceDescriptor, "identity", classmethod(lambda cls: None))
    library = Library(folder)
    centre = {t.id: t.mesh_NP3[:, 1, 0].mean() for t in load_tracks(library.find(*KEY).step.faces.folder)}
    assert [track for track in centre if centre[track] < WIDE] == list(library.characters("two"))
    assert refusal(library) is None
    assert "signed" in report(library)


def test_with_consent_required_only_the_face_of_who_consented_is_rendered(
    out: Path, tmp_path: Path, dub: Dub, sides: tuple[str, str]
) -> None:
    folder, job = (
        shutil.copytree(out, tmp_path / "out"),
        json.loads((out.parent / "job.yaml").read_text(encoding="utf-8")),
    )
    title = job["titles"][0] | {"video": str(out.parent / "two.mp4"), "cast": {"ANNA": {"consent": "contract 7"}}}
    title["dubs"][0]["audio"] = str(out.parent / "two.hi.flac")
    (tmp_path / "job.yaml").write_text(json.dumps(job | {"titles": [title], "consent": "required"}), encoding="utf-8")
    people = {t: p["number"] for p in json.loads(dub("cast", folder, "--json")[1])["people"] for t in p["tracks"]}
    table = folder / "two" / "hi" / "shots.parquet"

    run(tmp_path / "job.yaml", folder)  # nobody has said who Anna is
    (row,) = read_rows(table)
    assert (row["status"], row["reason"]) == ("untouched", "no_consent")
    assert "left alone or failed: 1 no_consent" in dub("status", folder)[1]
    dub("cast", folder, "--name", f"{people[sides[0]]}=anna")
    told = run(tmp_path / "job.yaml", folder).run_json
    (row,), (face,) = read_rows(table), read_rows(folder / "two" / "hi" / "faces.parquet")
    assert (row["status"], face["track"], face["character"]) == ("dubbed", sides[0], "anna")
    assert told["cast"]["two"]["ANNA"]["consent"] == "contract 7"
    left = "consent is required, and was not found for 1 person without a name: left as in the source in 1 shot."
    assert left in told["dubs"][0]["notices"]
    shown = report(Library(folder))
    assert left in shown and "no faces are re-rendered but those of ANNA" in shown and "contract 7" in shown


def test_each_face_may_have_its_own_generator_in_one_take(
    out: Path, sides: tuple[str, str], rendered: dict[str, set[int]], tmp_path: Path
) -> None:
    """The left one is named, and a condition names her."""
    home = shutil.copytree(out, tmp_path / "out") / "two" / "hi"
    (plain,) = (home / "takes" / "shot_0001").iterdir()
    DecisionLog(tmp_path / "out").name("two", [sides[0]], "ANNA", "Ana")
    (title,) = json.loads((out.parent / "job.yaml").read_text())["titles"]
    title["video"], title["cast"] = str(out.parent / "two.mp4"), {"ANNA": {}}
    title["dubs"][0]["audio"] = str(out.parent / "two.hi.flac")
    by = {"characters": {"ANNA": {"name": "rewrite", "jump_cost": 0.1}}, "others": "rewrite"}
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"version": 1, "titles": [title], "generator": by}))
    assert run(job, tmp_path / "out").exit_code in (0, 3)
    (shown,) = (t for t in Library(tmp_path / "out").find(*KEY).takes if t.current)
    assert shown.id != plain.name and {f.track for f in shown.faces} == set(rendered)
    made = {f.track: f for f in shown.faces}
    assert made[sides[0]].generator != made[sides[1]].generator and made[sides[0]].generator.startswith("rewrite@")
    same = {
        track: patches_of(shown.folder / f.folder) == patches_of(plain / "patch" / f.folder)
        for track, f in made.items()
    }
    assert same == {sides[0]: False, sides[1]: True}, "only the face that was named is rendered otherwise"
    DecisionLog(tmp_path / "out").append(KEY, "choose", "Ana", take=shown.id, generator=shown.generator)
    began = started_by(job, tmp_path / "out")
    assert not {name for name in began if name.startswith(("lipsync", "master"))}, "it is the take that is delivered"


def patches_of(folder: Path) -> list[bytes]:
    """Pixels and mattes of a face's patches."""
    return [p.bgr_HWC.tobytes() + p.matte_HW.tobytes() for p in media.read_patches(folder)]
