"""From files to a first manifest: `dub init`, `dub quick`, and a film given in place of a manifest."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from command import Dub
from films import plain_job

from dubbing import languages, manifest
from dubbing.api import starting
from dubbing.errors import InputError

FRAMES = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film and sounds of its length: their names say a language, none, or one that a tag contradicts."""
    folder = tmp_path_factory.mktemp("files")
    plain_job(folder, {"fr": "reel.fr.flac", "de": "mix.flac"}, FRAMES, video="reel.mp4")
    for name, tag in (("tagged.mka", "jpn"), ("reel.es.mka", "ita")):
        with av.open(str(folder / name), "w", format="matroska") as file:
            stream = file.add_stream("flac", rate=16_000, layout="mono")
            stream.metadata["language"] = tag
            block = av.AudioFrame.from_ndarray(
                np.random.default_rng(1).integers(-9000, 9000, (1, FRAMES * 640), np.int16), "s16", "mono"
            )
            block.sample_rate, block.pts, block.time_base = 16_000, 0, Fraction(1, 16_000)
            file.mux([*stream.encode(block), *stream.encode(None)])
    return folder


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("reel.fr", "fr"), ("reel_pt_BR", "pt-BR"), ("de", "de"), ("reel-ja", "ja"), ("reel.zh-Hant", "zh-Hant"),
        ("reel_FR", "fr"), ("reel_EN", "en"), ("my_fr", "fr"),
        ("reel_BR", None), ("reel_JP", None), ("final mix", None), ("reel_fin", None), ("reel_st", None),
        ("reel_en-UK", None), ("reel2", None), ("reelfr", None),
    ],
)  # fmt: skip
def test_only_a_certain_language_is_read_from_a_name(name: str, language: str | None) -> None:
    assert languages.at_the_end_of(name) == language


def test_a_stream_tag_names_a_language() -> None:
    tags = {"fra": "fr", "fre": "fr", "ger": "de", "chi": "zh", "und": None, "mul": None, None: None, "xx": None}
    assert {tag: languages.of_stream_tag(tag) for tag in tags} == tags


def test_init_writes_what_check_and_run_take(dub: Dub, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    code, out, err = dub("init", "reel.mp4", "reel.fr.flac", "tagged.mka", "pt-BR=mix.flac", "--to", "one.yaml")
    assert (code, out, err) == (0, "one.yaml: `dub check one.yaml`\n", "")
    text = Path("one.yaml").read_text()
    assert yaml.safe_load(text)["titles"] == [
        {"id": "reel", "video": "reel.mp4", "dubs": [
            {"language": "fr", "audio": "reel.fr.flac"}, {"language": "ja", "audio": "tagged.mka"},
            {"language": "pt-BR", "audio": "mix.flac"}]}
    ]  # fmt: skip
    assert "# 128x96, 25 frames a second" in text and "# by its stream's tag" in text
    code, out, _ = dub("check", "one.yaml", "--json")
    assert code == 0 and [d["language"] for d in json.loads(out)["titles"][0]["dubs"]] == ["fr", "ja", "pt-BR"]


def test_init_asks_where_nothing_is_certain(dub: Dub, made: Path, tmp_path: Path) -> None:
    to = tmp_path / "asks.yaml"
    code, out, _ = dub("init", made / "reel.mp4", made / "mix.flac", made / "reel.es.mka", "--to", to, "--json")
    told = json.loads(out)
    assert code == 0 and [d["language"] for d in told["dubs"]] == [None, None]
    lines = to.read_text().splitlines()
    assert [lines[n - 1].strip()[:11] for n in told["lines_to_complete"]] == ["- language:", "- language:"]
    assert "neither its name nor a tag says" in lines[told["lines_to_complete"][0] - 1]
    assert "its name says es, its stream's tag says it" in lines[told["lines_to_complete"][1] - 1]
    code, _, err = dub("check", to)
    assert code == 2 and f"{to}, line {told['lines_to_complete'][0]}: 'language' must be text" in err
    completed = to.read_text().replace("language: #", "language: fr #", 1).replace("language: #", "language: es #", 1)
    to.write_text(completed)
    assert [d.language for d in manifest.load(to).titles[0].dubs] == ["fr", "es"]


def test_two_sounds_of_one_language_are_not_certain(made: Path) -> None:
    (made / "other").mkdir(exist_ok=True)
    (made / "other" / "fr.flac").write_bytes((made / "mix.flac").read_bytes())
    twice = [str(made / "reel.fr.flac"), str(made / "other" / "fr.flac")]
    assert [s.language for s in starting.first(made / "reel.mp4", twice, made).sounds] == [None, None]
    with pytest.raises(InputError, match="comes twice"):
        starting.first(made / "reel.mp4", [f"fr={s}" for s in twice], made)


def test_init_never_writes_over_a_file(dub: Dub, made: Path, tmp_path: Path) -> None:
    (mine := tmp_path / "mine.yaml").write_text("mine")
    code, out, err = dub("init", made / "reel.mp4", made / "reel.fr.flac", "--to", mine)
    assert (code, out, err.count("\n")) == (2, "", 1) and "is there already" in err
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["absent.mp4"], "absent.mp4"),
        (["mix.flac"], "mix.flac has no picture"),
        (["reel.mp4", "xx=mix.flac"], "names the language 'xx'"),
        (["reel.mp4", "absent.fr.wav"], "absent.fr.wav"),
        (["reel.mp4", "one-line.txt"], "one-line.txt"),
    ],
)
def test_what_cannot_be_a_job_is_one_sentence(
    dub: Dub, made: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(made)
    Path("one-line.txt").write_text("no sound\n")
    for command in ("init", "quick"):
        if command == "quick" and len(args) < 2:
            continue
        code, out, err = dub(command, *args)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err
    assert not Path("reel.yaml").exists() and not Path("out").exists()


def test_a_film_in_place_of_a_manifest_is_shown_one(
    dub: Dub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is a manifest: with the sounds beside the film whose names begin as its own does."""
    monkeypatch.chdir(tmp_path)
    for command in ("run", "check", "plan"):
        code, out, err = dub(command, made / "reel.mp4")
        assert code == 2 and err.count("\n") == 1 and "is a film, and this takes a manifest" in err
        assert yaml.safe_load(out)["titles"][0]["dubs"] == [
            {"language": None, "audio": str(made / "reel.es.mka")},
            {"language": "fr", "audio": str(made / "reel.fr.flac")},
        ]
    (tmp_path / "a.yaml").write_text("titles: 3\n")
    assert dub("run", "a.yaml")[1] == "", "a manifest that is wrong is no film"


def test_quick_is_the_run_of_that_manifest(
    dub: Dub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = dub("quick", made / "reel.mp4", made / "mix.flac", "--engine", "local")
    assert code == 2 and "Which language is" in err and f"fr={made / 'mix.flac'}" in err
    code, out, err = dub("quick", made / "reel.mp4", made / "reel.fr.flac", "--out", "a", "--engine", "local")
    assert code == 0 and "reel.fr.mp4" in out, err
    dub("init", made / "reel.mp4", made / "reel.fr.flac")
    assert dub("run", "reel.yaml", "--out", "b", "--engine", "local")[0] == 0
    masters = [(tmp_path / out / "reel" / "fr" / "reel.fr.mp4").read_bytes() for out in ("a", "b")]
    assert masters[0] == masters[1]
    assert dub("status", "a")[0] == 0


def test_odd_names_survive(made: Path, tmp_path: Path) -> None:
    """Names that YAML would take for something else, and an id that Windows does not allow."""
    film = tmp_path / "con.mp4"
    film.write_bytes((made / "reel.mp4").read_bytes())
    sound = tmp_path / "no: # yes.no.flac"
    sound.write_bytes((made / "mix.flac").read_bytes())
    told = yaml.safe_load(starting.first(film, [str(sound)], tmp_path).text)["titles"][0]
    assert told == {"id": "con_1", "video": "con.mp4", "dubs": [{"language": "no", "audio": "no: # yes.no.flac"}]}
