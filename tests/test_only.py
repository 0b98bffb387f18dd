"""Only what is asked: parts of a film by timecode, frames or shot are re-rendered, and the rest is the source's own."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Dub, code_of
from films import Finished, facts_on_disk, plain_job, started_by

from dubbing import Parts, config, manifest, media, open_results
from dubbing.analysis import windows
from dubbing.analysis.asked import ShownFilm, asked
from dubbing.engine import run_job
from dubbing.errors import ManifestError
from dubbing.job import Job
from dubbing.manifest import Dub as OneDub
from dubbing.manifest import Manifest, Title
from dubbing.records import Patch, Shot
from dubbing.shot_table import read_rows

START, END = 30, 60  # of the speaking shot, frames 12 to 84
RANGE = "01:00:01:06-01:00:02:12"  # the same by the film's timecode, 24 a second from 01:00:00:00


# -- what is meant -------------------------------------------------------------------------------

SHOTS = [Shot(1, 0, 100), Shot(2, 100, 250), Shot(3, 250, 251), Shot(4, 251, 1000)]


def film(rate: Fraction = Fraction(25), start_tc: str | None = "10:00:00:00", shots: Any = SHOTS) -> ShownFilm:
    return ShownFilm(1000, rate, start_tc, shots)


def of(
    only: Any = None, leave: Any = None, dub_only: Any = None, dub_leave: Any = None, **shown: Any
) -> tuple[tuple[int, int], ...] | None:
    """The frames that are asked for."""
    plain = {"id": "reel", "video": "/film.mp4", "only": only, "leave": leave,
             "dubs": [{"language": "fr", "audio": "/fr.wav", "only": dub_only, "leave": dub_leave}]}  # fmt: skip
    (title,) = Manifest.model_validate({"version": 1, "titles": [plain]}).titles
    return asked(title, title.dubs[0], film(**shown))


def test_ranges_are_frames_up_to_their_end_and_shots_are_whole() -> None:
    assert of() is None
    assert of({"timecodes": ["10:00:01:00-10:00:02:05"]}) == ((25, 55),)
    assert of({"frames": ["0-1", "999-1000"]}) == ((0, 1), (999, 1000))
    assert of({"shots": [1, "shot_0003"]}) == ((0, 100), (250, 251))
    assert of({"shots": ["2-3"], "frames": ["300-400"]}) == ((100, 251), (300, 400))
    assert of(None, {"shots": ["2-4"]}) == ((0, 100),)
    assert of({"frames": ["50-150"]}, {"shots": [2]}) == ((50, 100),)
    assert of({"frames": ["0-500", "500-1000"]}) == ((0, 1000),), "what lies side by side is one"


def test_a_dub_s_own_only_holds_and_leave_adds_up() -> None:
    assert of({"shots": [1]}, None, {"shots": [2]}) == ((100, 250),)
    assert of({"shots": [1]}, {"frames": ["0-10"]}, None, {"frames": ["90-120"]}) == ((10, 90),)
    assert of(None, {"frames": ["0-500"]}, None, {"frames": ["500-1000"]}) == ()


def test_timecode_is_the_film_s_own() -> None:
    ntsc = {"rate": Fraction(30000, 1001), "shots": None}
    assert of({"timecodes": ["01:00:10:00-01:00:20:00"]}, start_tc="01:00:00:00", **ntsc) == ((300, 600),)
    # a minute of drop-frame has 1798 frames: 00 and 01 of its beginning are left out
    assert of({"timecodes": ["00:00:20;00-00:00:30;00"]}, start_tc="00:00:00;00", **ntsc) == ((600, 900),)
    assert of({"timecodes": ["01:01:00;02-01:01:10;00"]}, start_tc="01:00:40;00", **ntsc) == ((600, 898),)
    assert of({"timecodes": ["00:00:01:000-00:00:01:05"]}, start_tc=None, rate=Fraction(120)) == ((120, 125),)
    assert of({"timecodes": ["23:59:59:00-00:00:01:00"]}, start_tc="23:59:50:00", shots=None) == ((225, 275),)
    assert of({"timecodes": ["00:00:01:00-00:00:02:00"]}, start_tc=None, shots=None) == ((25, 50),)


@pytest.mark.parametrize(
    ("parts", "shown", "said"),
    [
        ({"only": {"frames": ["990-1001"]}}, {}, "frames 990-1001 is outside the film, which runs from 10:00:00:00 to "
         "10:00:40:00 (1000 frames)."),
        ({"only": {"timecodes": ["09:59:59:00-10:00:01:00"]}}, {}, "09:59:59:00-10:00:01:00 is outside the film"),
        ({"leave": {"frames": ["20-10"]}}, {}, "frames 20-10 ends before it begins"),
        ({"leave": {"frames": ["20-20"]}}, {}, "frames 20-20 holds no frame"),
        ({"only": {"timecodes": ["10:00:02:00-10:00:01:00"]}}, {}, "ends before it begins"),
        ({"only": {"shots": ["3-2"]}}, {}, "shots 3-2 ends before it begins"),
        ({"only": {"shots": [5]}}, {}, "there is no shot 5: the film has 4 shots, counted from 1."),
        ({"only": {"frames": ["0-10", "9-12"]}}, {}, "frames 0-10 and frames 9-12 overlap"),
        ({"only": {"frames": ["90-110"], "shots": [2]}}, {}, "frames 90-110 and shot 2 overlap"),
        ({"only": {"shots": [7, "5-9"]}}, {"shots": None}, "shots 5-9 and shot 7 overlap"),
        ({"only": {"shots": [2]}, "leave": {"frames": ["90-250"]}}, {}, "'only' and 'leave' both name shot 2"),
        ({"only": {"shots": [2]}, "leave": {"shots": ["1-9"]}}, {"shots": None}, "both name shot 2"),
        ({"only": {"timecodes": ["10:00:01:25-10:00:02:00"]}}, {}, "'10:00:01:25' is not a timecode at 25 frames"),
        ({"only": {"timecodes": ["10:00:01;00-10:00:02;00"]}}, {}, "counts drop-frame, but the film starts at 10:00"),
        ({"only": {"timecodes": ["00:00:01;00-00:00:02;00"]}}, {"rate": Fraction(30000, 1001), "start_tc": None},
         "counts drop-frame, but the film has no timecode"),
        ({"only": {"timecodes": ["10:00:01:00-10:00:02:00"]}},
         {"rate": Fraction(30000, 1001), "start_tc": "10:00:00;00"}, "counts non-drop, but the film starts at"),
        ({"only": {"timecodes": ["10:01:00;00-10:01:02;00"]}},
         {"rate": Fraction(30000, 1001), "start_tc": "10:00:00;00"}, "that drop-frame leaves out"),
        ({"only": {"timecodes": ["24:00:01:00-24:00:02:00"]}}, {}, "is no timecode of a day"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(parts: dict[str, Any], shown: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        of(parts.get("only"), parts.get("leave"), **shown)
    assert said in str(caught.value) and str(caught.value).count("\n") == 0
    with pytest.raises(ManifestError) as of_dub:
        of(None, None, parts.get("only"), parts.get("leave"), **shown)
    assert str(of_dub.value) == str(caught.value) and of_dub.value.at[:2] == ("dubs", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("only: {}", "line 4: name at least one part of the film"),
        ("only: [1]", "line 4: 'only' must be a mapping"),
        ("only: {shot: [1]}", "unknown key 'shot'; did you mean 'shots'?"),
        ("leave: {shots: 2}", "'shots' must be a list, as in shots: [...]; found 2."),
        ("leave: {shots: [0]}", "0 is no shot; write its number, 2 or shot_0002"),
        ("leave: {shots: [true]}", "true is no shot"),
        ("only: {frames: [240]}", "240 is no range of frames; write the first frame and the frame after the last"),
        ("only: {timecodes: ['01:00-02:00']}", "'01:00-02:00' is no range of timecodes"),
    ],
)
def test_what_is_not_written_so_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        f"version: 1\ntitles:\n- id: reel\n  {text}\n  video: a.mp4\n  dubs: [{{language: fr, audio: b.wav}}]\n"
    )
    with pytest.raises(ManifestError) as caught:
        manifest.load(path)
    assert said in str(caught.value)


def test_the_command_line_s_parts_take_the_place_of_the_manifest_s() -> None:
    title = Title(id="reel", video="/a.mp4", only=Parts(shots=[1]), leave=Parts(shots=[9]),
                  dubs=[OneDub(language="fr", audio="/b.wav", only=Parts(shots=[2]))])  # fmt: skip
    (made,) = Manifest.of([title]).narrowed([RANGE, "shots:2,5-7"], ["frames:0-12", "shots:9"]).titles
    assert made.only == Parts(timecodes=[RANGE], shots=["2", "5-7"]) and made.dubs[0].only is None
    assert made.leave == Parts(frames=["0-12"], shots=["9"])
    two = Manifest.of([title, title.model_copy(update={"id": "other"})])
    with pytest.raises(ManifestError, match="This manifest has 2 titles"):
        two.narrowed(["frames:0-12"])
    for text in ("5-7", "shot_0002", "12"):
        with pytest.raises(
            ManifestError, match=f"'{text}' may be frames or shots; write frames:{text} or shots:{text}"
        ):
            two.titles and Parts.written([text])
    assert Manifest.model_validate(json.loads(Manifest.of([made]).model_dump_json())).titles[0].only == made.only


# -- what is said before a run -------------------------------------------------------------------


def test_check_says_what_is_done_and_what_is_left(tmp_path: Path, dub: Dub) -> None:
    job = plain_job(tmp_path, {"fr": "fr.flac", "de": "de.flac"}, 50)
    plain = yaml.safe_load(job.read_text())
    (title,) = plain["titles"]
    title["only"] = {"timecodes": ["00:00:00:10-00:00:01:05"]}
    title["dubs"][1]["only"] = {"shots": [2]}
    job.write_text(json.dumps(plain))
    code, out, _ = dub("check", job, "--out", tmp_path / "out")
    assert code == 0
    assert "fr: 20 of 50 frames (00:00:00:10-00:00:01:05); the rest is left (excluded)\n" in out
    assert "de: parts of the film, by shots that are found when it runs; the rest is left (excluded)" in out
    title["shots"] = "cuts.edl"
    (tmp_path / "cuts.edl").write_text("001 A V C 00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00\n"
                                       "002 A V C 00:00:00:00 00:00:01:00 00:00:01:00 00:00:02:00\n")  # fmt: skip
    job.write_text(json.dumps(plain))
    _, out, _ = dub("check", job, "--out", tmp_path / "out")
    assert "fr: 20 of 50 frames (00:00:00:10-00:00:01:05) in 2 of 2 shots; the rest is left (excluded)\n" in out
    assert "de: 25 of 50 frames (00:00:01:00-00:00:02:00) in 1 of 2 shots; the rest is left (excluded)" in out
    code, out, err = dub("check", job, "--out", tmp_path / "out", "--shots", "3")
    assert (
        code == 2 and err.count("\n") == 1 and err.startswith("dub: --only: there is no shot 3: the film has 2 shots")
    )
    found = json.loads(dub("check", job, "--out", tmp_path / "out", "--leave", "frames:0-28", "--json")[1])
    assert [d["asked_frames"] for d in found["titles"][0]["dubs"]] == [[[28, 30]], [[28, 50]]]


def test_a_refusal_names_the_line(tmp_path: Path, dub: Dub) -> None:
    job = plain_job(tmp_path, {"fr": "fr.flac"}, 50)
    plain = yaml.safe_load(job.read_text())
    plain["titles"][0]["dubs"][0]["leave"] = {"frames": ["0-10", "40-51"]}
    job.write_text(yaml.safe_dump(plain))
    line = next(n for n, text in enumerate(job.read_text().splitlines(), 1) if "40-51" in text)
    for command in ("check", "run"):
        code, _, err = dub(command, job, "--out", tmp_path / "out")
        assert code == 2 and f"line {line}: frames 40-51 is outside the film" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    code, _, err = dub("run", job, "--out", tmp_path / "out", "--only", "00:00:01-00:00:02")
    assert code == 2 and err.startswith("dub: '00:00:01-00:00:02' is no range of timecodes") and err.count("\n") == 1


# -- what comes of it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def part(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of a part of the speaking shot, from the command line."""
    out = tmp_path_factory.mktemp("part") / "out"
    assert code_of("run", film, "--out", out, "--engine", "local", "--only", RANGE) in (0, 3)
    return Finished(film, out)


def rows(out: Path) -> list[dict[str, Any]]:
    return read_rows((out / "film" / "hi" / "shots.parquet").read_bytes())


def patches(out: Path) -> list[Patch]:
    (folder,) = out.glob("film/hi/takes/shot_0002/*/patch/face_1")
    return list(media.read_patches(folder))


def test_a_part_of_a_shot_is_rendered_and_the_master_is_whole(part: Finished, finished: Finished) -> None:
    left, done = rows(part.out)
    assert (left["status"], left["reason"], left["excluded_frames"]) == ("untouched", "excluded", 12)
    assert done["excluded_frames"] == 72 - (END - START) and rows(finished.out)[1]["excluded_frames"] is None
    assert (done["status"], done["start_frame"], done["end_frame"]) == ("dubbed", 12, 84)
    frames = [p.frame for p in patches(part.out)]
    assert frames == list(range(START, END)), "the whole film's take has patches there and beyond"
    assert {START - 5, END + 5} <= {p.frame for p in patches(finished.out)}
    ends = [int(p.matte_HW.max()) for p in patches(part.out)]
    assert ends[0] < 90 > ends[-1] and ends[15] > 200, "new lips come and go within the range"
    (dub, _) = open_results(part.out).dubs
    assert len(media.timeline(str(dub.master))) == 84 and dub.counts == {"untouched": 1, "dubbed": 1}


def test_the_rest_is_done_by_the_next_run_which_keeps_what_there_is(
    part: Finished, finished: Finished, tmp_path: Path
) -> None:
    out = shutil.copytree(part.out, tmp_path / "out")
    started = started_by(part.film, out)
    assert {name.split()[0] for name in started} == {"lipsync", "sync", "master", "proof"}, (
        "the analysis is the whole film's"
    )
    for old in out.glob("film/*/takes/shot_0002/*"):  # of the part, beside the whole one
        if not (finished.out / old.relative_to(out)).exists():
            shutil.rmtree(old)
    for old in out.glob("film/*/master-*"):
        if not (finished.out / old.relative_to(out)).exists():
            shutil.rmtree(old)
    assert facts_on_disk(out) == facts_on_disk(finished.out)
    job = Job(manifest.load(part.film).narrowed([RANGE]), out, config.load())
    assert not [t.id for t in job.tasks() if t.stage not in ("lipsync", "sync", "master", "proof") and not job.done(t)]


def test_a_shot_that_is_asked_for_whole_is_the_take_of_the_whole_film(finished: Finished, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    for said in (["shots:2"], ["frames:5-84"], ["frames:12-40", "shots:1", "frames:40-84"]):
        job = Job(manifest.load(finished.film).narrowed(said), out, config.load())
        takes = [t for t in job.tasks() if t.stage in ("lipsync", "sync") and t.shot == "shot_0002"]
        assert len(takes) == 4 and all(job.done(t) for t in takes), said


def test_what_is_left_is_counted_as_excluded(finished: Finished, tmp_path: Path, dub: Dub) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    code, said, noted = dub("run", finished.film, "--out", out, "--engine", "local", "--leave", "shots:1-2")
    assert "note: film/hi: the master that is there has 1 dubbed shot that this run is not asked for" in noted
    assert code == 0 and "2 untouched" in said and "dubbed" not in said
    assert [(r["status"], r["reason"]) for r in rows(out)] == [("untouched", "excluded")] * 2
    _, said, _ = dub("status", out)
    assert "film/hi: 84 frames excluded, as the manifest or its command said" in said
    assert "film/hi: left alone or failed: 2 excluded" in said and "film/ta: left alone or failed: 2 excluded" in said
    assert json.loads(dub("status", out, "--json")[1])["dubs"][0]["reasons"] == {"excluded": 2}
    code, _, err = dub("export", out)
    assert code == 0, err
    report = (out / "review" / "export" / "report.html").read_text()
    assert "film hi, left alone: 2 excluded." in report and "said: 84 frames." in report
    code, _, err = dub("rerun", out, "--shots", "hi/2")
    assert code == 2 and "film/hi/shot_0002 was left as it is, as 'only' or 'leave' says" in err


def test_a_dub_may_be_asked_for_something_else(finished: Finished, tmp_path: Path) -> None:
    plain = yaml.safe_load(finished.film.read_text())
    plain["titles"][0]["only"] = {"shots": [2]}
    plain["titles"][0]["dubs"][1]["leave"] = {"frames": ["0-84"]}
    job = finished.film.parent / "nowhere.yaml"
    made = Manifest.model_validate(plain, context={"folder": job.parent})
    tasks = Job(made, shutil.copytree(finished.out, tmp_path / "out"), config.load()).tasks()
    asked_for = {(t.language, t.shot): t.inputs.asked for t in tasks if t.stage == "lipsync"}
    assert asked_for == {
        ("hi", "shot_0001"): (), ("hi", "shot_0002"): None, ("ta", "shot_0001"): (), ("ta", "shot_0002"): (),
    }  # fmt: skip


def test_plan_counts_what_is_asked_for(part: Finished, tmp_path: Path, dub: Dub) -> None:
    def stages(*said: str) -> dict[str, tuple[int, int, int]]:
        code, text, _ = dub("plan", part.film, "--out", part.out, *said, "--json")
        assert code == 0
        found = json.loads(text)["estimate"]["stages"]
        return {s["stage"]: (s["tasks"], s["done"], s["frames"]) for s in found}

    whole = stages()
    assert whole["lipsync"] == (4, 0, 144) and whole["sync"] == (4, 0, 144)
    some = stages("--only", "frames:20-32", "--only", "frames:64-72")
    assert some["lipsync"] == (2, 0, 40) and some["sync"] == (2, 0, 40) and some["faces"] == whole["faces"]
    assert stages("--only", RANGE)["lipsync"] == (2, 2, 0)
    code, text, _ = dub("plan", part.film, "--out", tmp_path / "none", "--only", "frames:20-32", "--json")
    found = {s["stage"]: s["frames"] for s in json.loads(text)["estimate"]["stages"]}
    assert code == 0 and found["lipsync"] <= 24 and found["faces"] == 84
    code, _, err = dub("plan", part.film, "--out", tmp_path / "none", "--only", "frames:20-99")
    assert code == 2 and "frames 20-99 is outside the film" in err


def test_a_part_of_a_long_shot_is_the_same_in_windows(
    part: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_FRAMES", 30)
    out = tmp_path / "out"
    shutil.copytree(part.out / "film" / "analysis", out / "film" / "analysis")
    job = manifest.load(part.film).narrowed([RANGE])
    started: set[str] = set()
    run_job(Job(job, out, config.load()), "local", lambda e: started.add(e.task_id) if e.kind == "started" else None)
    assert "lipsync film/hi/shot_0002/window_2" in started
    for a, b in zip(patches(part.out), patches(out), strict=True):
        assert a.frame == b.frame and (a.bgr_HWC == b.bgr_HWC).all() and (a.matte_HW == b.matte_HW).all()
    narrow = manifest.load(part.film).narrowed(["frames:12-14"])  # no line is so short
    run_job(Job(narrow, out, config.load()), "local", lambda e: None)
    assert [(r["status"], r["reason"]) for r in rows(out)] == [("untouched", "excluded")] * 2


def test_a_shot_that_is_not_there_stops_the_run_once_the_cuts_are_known(tmp_path: Path, dub: Dub) -> None:
    job = plain_job(tmp_path, {"fr": "fr.flac"}, 50)
    code, _, err = dub("run", job, "--out", tmp_path / "out", "--engine", "local", "--shots", "1,3")
    assert code == 2 and "there is no shot 3: the film has 2 shots, counted from 1." in err.splitlines()[-1]
