"""dubbing as a library: the bytes of the command, errors that name the field, results that can be read at any time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from films import Finished, facts_on_disk

import dubbing
from dubbing import Dub, Event, Manifest, ManifestError, Title, media
from dubbing.api.scores import Watch as ScoreWatch
from dubbing.remote import Uri
from dubbing.shot_table import read_rows

SHOT = "shot_0002"  # the one with a face


class Enough(Exception):
    """What a user's own code raises."""


@pytest.fixture(scope="module")
def results(finished: Finished) -> dubbing.Results:
    return dubbing.open_results(finished.out)


# -- the package -----------------------------------------------------------------------------


def test_it_imports_nothing_until_it_is_used() -> None:
    heavy = ["torch", "ray", "mediapipe", "av", "numpy", "cv2", "pyarrow", "scipy", "pydantic", "yaml", "dubbing.api"]
    code = f"import sys, dubbing; dir(dubbing); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_whatever_was_imported_before() -> None:
    code = "import dubbing.scoring, dubbing.review.export, dubbing; print([n for n in dubbing.__all__ if not callable("
    code += "getattr(dubbing, n))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(dubbing.__all__) <= set(dir(dubbing))
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = dubbing.rnu
    assert (files("dubbing") / "py.typed").is_file()


def test_every_function_says_what_it_raises() -> None:
    for name in ("check", "plan", "run", "score", "rerun", "export", "open_results"):
        function = getattr(dubbing, name)
        assert "Raises" in (function.__doc__ or ""), name
        assert function.__annotations__["return"], name


# -- a manifest built in Python --------------------------------------------------------------


def of_film(film: Path, **changed: object) -> Manifest:
    """The short film's own manifest, built in Python."""
    dubs = [Dub(language=x, audio=f"film.{x}.flac") for x in ("hi", "ta")]
    return Manifest.of([Title(**{"id": "film", "video": "film.mp4", "dubs": dubs, **changed})], base=film.parent)


def test_a_manifest_built_is_the_manifest_read(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dubbing import manifest

    read = manifest.load(film)
    plain = [t.model_dump(exclude_none=True) for t in read.titles]
    assert [t.model_dump(exclude_none=True) for t in Manifest.of([Title(**t) for t in plain]).titles] == plain
    assert of_film(film).titles[0].video == film.parent / "film.mp4"
    monkeypatch.chdir(film.parent)
    here = Manifest(version=1, titles=[Title(id="a", video="b/c.mp4", dubs=[Dub(language="fr", audio=Path("d.wav"))])])
    assert (here.titles[0].video, here.titles[0].dubs[0].audio) == (Path.cwd() / "b/c.mp4", Path.cwd() / "d.wav")
    there = Manifest.of(here.titles, base="s3://films/job")
    assert there.titles[0].video == Path.cwd() / "b/c.mp4", "absolute already"
    far = Manifest.of([Title(id="a", video="c.mp4", dubs=[Dub(language="fr", audio="d.wav")])], base="s3://films/job")
    assert isinstance(far.titles[0].video, Uri) and far.titles[0].video == "s3://films/job/c.mp4"


DUB = {"language": "fr", "audio": "a.wav"}
TITLE = {"id": "a", "video": "v.mp4", "dubs": [DUB]}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Dub(language="fr_FR", audio="a"), "Dub.language: 'language' is 'fr_FR', which is no BCP 47 tag"),
        (lambda: Dub(language="fr"), "Dub: a dub needs 'audio', the mix that is delivered, or 'text'"),  # type: ignore
        (lambda: Dub(**DUB, audoi="x"), "Dub.audoi: unknown key 'audoi'; did you mean 'audio'?"),
        (lambda: Dub(**{**DUB, "audio": 3}), "Dub.audio: 'audio' must be the path of a file; found 3."),
        (lambda: Title(**{**TITLE, "dubs": [DUB, DUB]}), "Title.dubs[1].language: the language 'fr' comes twice"),
        (lambda: Title(**{**TITLE, "id": 1917}), "Title.id: 'id' must be text; found 1917."),
        (lambda: Title(**{**TITLE, "dubs": ()}), "Title.dubs: 'dubs' must be a list; found ()."),
        (lambda: Manifest.of([Title(**TITLE)] * 2), "Manifest.titles[1].id: the id 'a' comes twice"),
        (lambda: Manifest.of([]), "Manifest.titles: 'titles' must not be empty"),
        (lambda: Manifest.of(Title(**TITLE)), "Manifest.titles: 'titles' must be a list; found Title("),  # type: ignore
        (lambda: Manifest.of([Title(**TITLE)], generator={"jump": 1}), "Manifest.generator: 'generator' has no 'name'"),
        (lambda: Manifest(titles=[Title(**TITLE)]), "Manifest: it has no 'version'; add it."),  # type: ignore
        (lambda: dubbing.GeneratorChoice(name=""), "GeneratorChoice.name: 'name' must not be empty"),
        (lambda: dubbing.Config(master={"crf": 99}), "Config.master[0].crf: 'crf' must be less than or equal to 63"),
        (lambda: dubbing.Config(mastr={}), "Config.mastr: unknown key 'mastr'; did you mean 'master'?"),
    ],
)
def test_what_is_wrong_names_the_field(made: object, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        made()  # type: ignore[operator]
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_what_is_wrong_in_the_files_names_the_field_too(film: Path, tmp_path: Path) -> None:
    found = dubbing.check(of_film(film, video="absent.mp4"), tmp_path / "out")
    assert [str(p).partition(":")[0] for p in found.problems] == ["titles[0].video"]
    with pytest.raises(dubbing.MediaError, match=r"^titles\[0\]\.video: "):
        dubbing.run(of_film(film, video="absent.mp4"), tmp_path / "out", engine="local")
    (tmp_path / "wrong.yaml").write_text("version: 1\ntitels: []\n")
    for call in (dubbing.check, dubbing.plan, dubbing.run):
        with pytest.raises(ManifestError, match="did you mean 'titles'"):
            call(tmp_path / "wrong.yaml", tmp_path / "out")
        with pytest.raises(ManifestError, match="No such config"):
            call(film, tmp_path / "out", config=tmp_path / "absent.yaml")
    for engined in (dubbing.plan, dubbing.run):
        with pytest.raises(dubbing.InputError, match="no engine 'spark'"):
            engined(film, tmp_path / "out", engine="spark")
    assert not (tmp_path / "out").exists()


# -- a run -----------------------------------------------------------------------------------


def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes(film: Path, finished: Finished, tmp_path: Path) -> None:
    """Interrupted by a user's own error, inside a shot: no shot is failed for it, and nothing is lost."""
    out, begun = tmp_path / "out", dubbing.plan(of_film(film), tmp_path / "out", engine="local")
    assert not begun.done and not begun.finished

    def stop(event: Event) -> None:
        assert out.joinpath(".progress.json").exists() or event.kind == "planned"
        if event.kind == "frames" and event.stage == "lipsync":
            raise Enough("the disk of mine is full")

    noted: list[dubbing.Findings] = []
    with pytest.raises(Enough, match="the disk of mine"):
        dubbing.run(of_film(film), out, engine="local", on_event=stop, on_check=noted.append)
    assert noted[0].titles[0].frames == 84 and not out.joinpath(".progress.json").exists()
    left = dubbing.open_results(out)
    assert (left.state, left.exit_code, left.counts) == ("stopped", 130, {})
    assert left.run["error"] == "the disk of mine is full"
    assert [(d.language, d.finished, d.master, d.shots.num_rows) for d in left.dubs] == [
        ("hi", False, None, 0), ("ta", False, None, 0),
    ]  # fmt: skip
    assert not any(d.takes(SHOT) for d in left.dubs) and left.manifest.titles == of_film(film).titles
    planned = dubbing.plan(of_film(film), out, engine="local")
    assert planned.done and not planned.finished

    report = dubbing.run(of_film(film), out, engine="local")
    assert facts_on_disk(out) == facts_on_disk(finished.out)
    assert report.exit_code in (0, 3) and report.run_json["found_done"] == len(planned.done)
    assert dubbing.plan(of_film(film), out, engine="local").finished


# -- results ---------------------------------------------------------------------------------


def test_where_no_run_was_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(dubbing.InputError, match=r"^There is no run.json in .*; give the folder") as caught:
        dubbing.open_results(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(dubbing.InputError, match="was not written by dub"):
        dubbing.open_results(tmp_path)
    with pytest.raises(dubbing.InputError, match="does not support"):
        dubbing.open_results("s4://films/out")


def test_shots_are_the_table(results: dubbing.Results, finished: Finished) -> None:
    assert results.state == "finished" and results.exit_code in (0, 3)
    assert [(t.id, t.frames, len(t.dubs)) for t in results.titles] == [("film", 84, 2)]
    assert results.counts == {"untouched": 2, "dubbed": 2}
    for dub in results.dubs:
        home = finished.out / "film" / dub.language
        assert dub.shots.to_pylist() == read_rows(home / "shots.parquet")
        assert dub.shots.schema.metadata[b"schema"] == b"dub.shot.1"
        assert dub.to_pandas()["shot"].tolist() == ["shot_0001", SHOT]
        assert dub.worst["shot"].to_pylist() == [SHOT]
        assert dub.master == home / f"film.{dub.language}.mp4" and dub.master.is_file()
    with pytest.raises(dubbing.InputError, match="no dub film/fr in .*; there is: film/hi, film/ta"):
        results.dub("film", "fr")


def test_takes_and_their_patches(results: dubbing.Results) -> None:
    dub = results.dub("film", "hi")
    take = dub.take(SHOT)
    row = dub.shots.to_pylist()[1]
    assert take is not None and (take.id, take.delivered, take.status) == (row["take"], True, "dubbed")
    assert take.scores["lse_d"] == pytest.approx(row["lse_d"], rel=1e-6) and take.generator == {"name": "rewrite"}
    patches = list(take.patches())
    assert [p.frame for p in patches] == sorted({p.frame for p in patches}) and 12 <= patches[0].frame < 84
    read = list(media.read_patches(next(iter((dub.master.parent / "takes" / SHOT).glob("*/patch/face_1")))))
    assert len(read) == len(patches)
    for got, wanted in zip(patches, read, strict=True):
        height, width = got.alpha.shape
        assert got.bgr.shape == (height, width, 3) and got.bgr.dtype == got.alpha.dtype == np.uint8
        assert np.array_equal(got.bgr, wanted.bgr_HWC) and np.array_equal(got.alpha, wanted.matte_HW)
    some = list(take.patches(take.faces[0], first=20, last=25))
    assert [p.frame for p in some] == [p.frame for p in patches if 20 <= p.frame < 25]
    with pytest.raises(dubbing.InputError, match="no face 'face_9'; it has: face_1"):
        take.patches("face_9")
    left = dub.takes("shot_0001")
    assert dub.take("shot_0001") is None and [t.status for t in left] == ["untouched"] and not list(left[0].patches())
    with pytest.raises(dubbing.InputError, match="no shot 'shot_0003'; it has shot_0001 to shot_0002"):
        dub.takes("shot_0003")


def test_status_prints_the_same(results: dubbing.Results, finished: Finished, dub: object) -> None:
    told = json.loads(dub("status", finished.out, "--json")[1])  # type: ignore[operator]
    assert told == json.loads(json.dumps(results.to_dict(), default=str))


# -- what follows ----------------------------------------------------------------------------


def test_rerun_and_export(finished: Finished, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    with pytest.raises(dubbing.InputError, match="No shot fits"):
        dubbing.rerun(out, "fr/9", engine="local")
    with pytest.raises(dubbing.InputError, match="no engine 'spark'"):
        dubbing.rerun(out, "hi/2", engine="spark")
    parts: list[float] = []
    (made,) = dubbing.rerun(
        out, "hi/2", generator={"name": "rewrite", "jump_cost": 0.3}, choose=True, engine="local", reviewer="Ana",
        on_part=lambda part, stage: parts.append(part),
    )  # fmt: skip
    assert (made.title, made.language, made.shot, made.known, made.error) == ("film", "hi", SHOT, False, None)
    assert made.before is not None and made.take is not None and made.take.generator["jump_cost"] == 0.3
    assert made.before.delivered and not made.take.delivered and made.take.scores["lse_d"] > 0 and parts[-1] == 1
    done = dubbing.export(out, engine="local", reviewer="Ana")
    assert done.exit_code in (0, 3) and [(d.language, len(d.changes)) for d in done.dubs] == [("hi", 1), ("ta", 0)]
    take = dubbing.open_results(out).dub("film", "hi").take(SHOT)
    assert take is not None and take.id == made.take.id
    with pytest.raises(dubbing.OutputError, match="copy 's3://films/out' here"):
        dubbing.rerun("s3://films/out", "review")


def test_score(film: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Watch(ScoreWatch):
        def begin(self, film: Path, number: int, films: int, pictures: int) -> None:
            told.append(f"{film.name} {number} of {films}")

    found = dubbing.score(film.parent / "film.mp4", out=tmp_path / "scores.parquet", watch=Watch())
    assert found.exit_code == 0 and not found.errors and told == ["film.mp4 1 of 1"]
    assert found.to_pandas()["track"].tolist() == [f"{SHOT}/face_1"] and found.table.num_rows == 1
    again = dubbing.score([str(film.parent / "film.mp4")], out=tmp_path / "scores.parquet", watch=Watch())
    assert again.table.equals(found.table) and len(told) == 1, "kept"
    with pytest.raises(dubbing.InputError, match="Another sound goes with one film; found 2"):
        dubbing.score([film.parent / "film.mp4", film.parent / "film.hi.flac"], audio=film)
    with pytest.raises(dubbing.MediaError, match="No such file"):
        dubbing.score(tmp_path / "absent.mp4")
