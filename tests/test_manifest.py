"""What a manifest or config may say, and what a person is told when it says something else."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from dubbing import config, manifest
from dubbing.errors import ManifestError
from dubbing.remote import Uri

ROOT = Path(__file__).resolve().parents[1]
GOOD = """\
version: 1
titles:
- id: reel
  video: media/reel.mp4
  dubs:
  - language: fr
    audio: media/fr.flac
"""


def load(folder: Path, text: str) -> manifest.Manifest:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return manifest.load(path)


def refused(folder: Path, text: str) -> str:
    """The sentence that a bad manifest is answered with, without its path."""
    with pytest.raises(ManifestError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "job.yaml") in message
    return message.replace(str(folder / "job.yaml"), "job.yaml")


def test_good(tmp_path: Path) -> None:
    job = load(tmp_path, GOOD)
    title = job.titles[0]
    assert (title.id, title.video, title.dubs[0].language) == ("reel", tmp_path / "media/reel.mp4", "fr")
    assert title.dubs[0].drivers == (tmp_path / "media/fr.flac",)
    assert (job.generator.name, job.generator.settings) == ("rewrite", {})
    assert job.place("titles", 0, "video") == f"{tmp_path / 'job.yaml'}, line 4"


def test_a_loaded_manifest_survives_its_own_json(tmp_path: Path) -> None:
    job = load(tmp_path, GOOD + "generator: {name: rewrite, grain: 2}\n")
    again = manifest.Manifest.model_validate(json.loads(job.model_dump_json()))
    assert again.model_dump() == job.model_dump() and again.generator.settings == {"grain": 2}


@pytest.mark.parametrize(
    "name", ["a b.mp4", "it's.mp4", 'say "x".mp4', "映画 第1話.mp4", "-odd.mp4", "a:b.mp4", "50%.mp4", "~x.mp4", "no"]
)
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    text = GOOD.replace("media/reel.mp4", json.dumps(name, ensure_ascii=False))
    assert load(tmp_path, text).titles[0].video == tmp_path / name


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def video(text: str) -> Path:
        return load(tmp_path, GOOD.replace("media/reel.mp4", text)).titles[0].video

    assert video("/films/a.mp4") == Path("/films/a.mp4")
    assert video("file:///films/a%20b.mp4") == Path("/films/a b.mp4")
    assert video("file://localhost/films/a.mp4") == Path("/films/a.mp4")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd.yaml").write_text(GOOD)
    assert manifest.load("-odd.yaml").titles[0].video == tmp_path / "media/reel.mp4"
    assert os.path.isabs(manifest.load(Path("job.yaml")).titles[0].video)


@pytest.mark.parametrize("uri", ["s3://films/a b.mp4", "https://films/a.mp4", "memory://films/a.mp4"])
def test_what_lies_elsewhere_stays_a_uri(tmp_path: Path, uri: str) -> None:
    job = load(tmp_path, GOOD.replace("media/reel.mp4", uri))
    assert isinstance(job.titles[0].video, Uri) and job.titles[0].video == uri
    assert job.files[0] == uri and job.model_dump(mode="json")["titles"][0]["video"] == uri
    assert isinstance(job.titles[0].dubs[0].audio, Path)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file://server/a.mp4", "another machine"),
        ("s4://films/a.mp4", "does not support"),
        ("s3://", "names nothing"),
        ("s3://key:secret@films/a.mp4", "password"),
        ("https://films/a.mp4?X-Amz-Signature=secret", "signature"),
        ("simplecache::s3://films/a.mp4", "does not support"),
    ],
)
def test_uris_that_cannot_be_used(tmp_path: Path, uri: str, said: str) -> None:
    message = refused(tmp_path, GOOD.replace("media/reel.mp4", uri))
    assert "line 4" in message and said in message and "secret" not in message


@pytest.mark.parametrize("tag", ["fr", "pt-BR", "zh-Hant", "es-419", "de-CH-1996", "sl-rozaj-biske", "en-u-ca-gregory",
                                 "zh-cmn-Hans-CN", "fr-x-kids", "x-elvish", "no"])  # fmt: skip
def test_languages(tmp_path: Path, tag: str) -> None:
    assert load(tmp_path, GOOD.replace("fr\n", f"{tag}\n", 1)).titles[0].dubs[0].language == tag


@pytest.mark.parametrize("tag", ["french", "pt_BR", "f", "fr-", "fr--CA", "../fr", "analysis", "fr/ca", "fr FR"])
def test_what_is_no_language(tmp_path: Path, tag: str) -> None:
    message = refused(tmp_path, GOOD.replace("fr\n", f"{tag}\n", 1))
    assert "line 6" in message and repr(tag) in message and "BCP 47" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "generatr: rewrite\n", "line 8: unknown key 'generatr'; did you mean 'generator'?"),
        (GOOD.replace("    audio", "    audoi"), "line 7: unknown key 'audoi'; did you mean 'audio'?"),
        (GOOD.replace("    audio: media/fr.flac", ""), "line 6: a dub needs 'audio', the mix that is delivered, or"),
        (GOOD.replace("version: 1\n", ""), "line 1: this file has no 'version'; add it."),
        (GOOD.replace("version: 1", "version: 2"), "line 1: 'version' is 2, but this dub reads version 1"),
        (GOOD.replace("version: 1", "version: true"), "line 1: 'version' is true, but"),
        (GOOD + "version: 1\n", "line 8: the key 'version' was already given at line 1"),
        (GOOD + GOOD[11:], "line 8: the key 'titles' was already given at line 2"),
        (GOOD.replace("id: reel", "id: Reel 1"), "line 3: 'id' is 'Reel 1', but it names the output folder"),
        (GOOD.replace("id: reel", "id: ../x"), "line 3: 'id' is '../x', but it names the output folder"),
        (GOOD.replace("id: reel", "id: 1917"), "line 3: 'id' must be text (put it in quotes); found 1917."),
        (GOOD.replace("media/reel.mp4", ""), "line 4: 'video' must be the path of a file; found nothing."),
        (GOOD.replace("media/reel.mp4", "[a, b]"), "line 4: 'video' must be the path of a file; found a list of 2."),
        (GOOD.replace("media/reel.mp4", '"a\\0b"'), "line 4: 'video' must be the path of a file"),
        ("version: 1\ntitles: []\n", "line 2: 'titles' must not be empty; found an empty list."),
        (GOOD.replace("\n  - language: fr\n    audio: media/fr.flac", " []"), "line 5: 'dubs' must not be empty"),
        (GOOD.replace("\n  - language: fr\n    audio: media/fr.flac", " fr"), "line 5: 'dubs' must be a list"),
        (GOOD + "  - {language: FR, audio: b}\n", "line 8: the language 'FR' comes twice in this title (dubs 1 and 2)"),
        (GOOD + GOOD[GOOD.index("- id") :], "line 8: the id 'reel' comes twice (titles 1 and 2); both titles would go"),
        (GOOD + "    stems: {A: a.wav}\n    dialogue: b.wav\n", "either 'dialogue' or 'stems'"),
        (GOOD + "  cast: {A: {fase: a.png}}\n", "line 8: unknown key 'fase'; did you mean 'face'?"),
        (GOOD + "  shots: cuts.txt\n", "line 8: 'shots' is 'cuts.txt', but a cut list is an .edl or .otio file."),
        (GOOD + "generator: 3\n", "line 8: 'generator' must be a name, or a mapping with a name; found 3."),
        (GOOD + "generator: {grain: 1}\n", "line 8: 'generator' has no 'name'; add it."),
        ("- a\n", "line 1: a manifest is a mapping that begins with 'version: 1'"),
        ("a: [1,\nb: 2\n", "this is not YAML"),
        ("a:\n\tb: 1\n", "line 2: this is not YAML"),
        ("a: !!python/name:os.system\n", "line 1: the tag '!!python/name:os.system' does not belong"),
        ("[a, b]: 1\n", "line 1: a key must be a word"),
        ("[" * 5000, "lists inside lists without end"),
        ("", "is empty"),
        ("\x01", "is no manifest"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_several_problems_are_counted(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("id: reel", "id: A").replace("fr\n", "french\n") + "x: 1\n")
    assert "line 3: 'id' is 'A'" in message
    assert message.endswith("(and 2 more: lines 6, 8).")
    message = refused(tmp_path, GOOD.replace("titles:", "titels:"))
    assert "line 2: unknown key 'titels'; did you mean 'titles'?" in message and "more" not in message


def test_what_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(ManifestError, match="YAML text file in UTF-8"):
        manifest.load(tmp_path / "job.yaml")
    with pytest.raises(ManifestError, match="No such manifest"):
        manifest.load(tmp_path / "absent.yaml")
    with pytest.raises(ManifestError, match="cannot be read"):
        manifest.load(tmp_path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert manifest.load(tmp_path / "job.yaml").titles[0].id == "reel"


def test_schema_agrees_with_the_loader(tmp_path: Path) -> None:
    for kind, name in (("Title", "video"), ("Dub", "audio")):
        assert "s3://films/reel.mp4" in manifest.schema()["$defs"][kind]["properties"][name]["examples"]
    check = jsonschema.Draft202012Validator(manifest.schema())
    jsonschema.Draft202012Validator.check_schema(manifest.schema())
    assert not list(check.iter_errors(yaml.safe_load(GOOD)))
    for bad in (GOOD.replace("audio", "audoi"), GOOD + "x: 1\n", GOOD.replace("id: reel", "id: A B"), "version: 1\n"):
        assert list(check.iter_errors(yaml.safe_load(bad)))
    for example in sorted((ROOT / "manifests").glob("*.yaml")):
        assert manifest.load(example).titles
        assert not list(check.iter_errors(yaml.safe_load(example.read_text())))


# -- config ----------------------------------------------------------------------------------


def test_default_yaml_documents_every_default() -> None:
    written = yaml.safe_load((ROOT / "configs/default.yaml").read_text())
    assert written == config.Config().model_dump(mode="json")
    assert config.load(ROOT / "configs/default.yaml") == config.Config()


@pytest.mark.parametrize("name", ["draft", "h200"])
def test_other_configs_hold_differences_only(name: str) -> None:
    path = ROOT / f"configs/{name}.yaml"
    default = config.Config().model_dump(mode="json")
    config.load(path)
    for group, settings in yaml.safe_load(path.read_text()).items():
        for key, value in settings.items() if isinstance(settings, dict) else [(None, settings)]:
            assert value != (default[group][key] if key else default[group]), f"{group}.{key} is the default"


def test_a_config_changes_only_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("speakers:\n  min_face_px: 40\n")
    changed = config.load(path)
    assert changed.speakers.min_face_px == 40
    assert changed.model_copy(update={"speakers": config.Config().speakers}) == config.Config()
    path.write_text("# nothing differs\n")
    assert config.load(path) == config.load(None) == config.Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("master:\n  crff: 1\n", "line 2: unknown key 'crff'; did you mean 'crf'?"),
        ("mastre: {}\n", "line 1: unknown key 'mastre'; did you mean 'master'?"),
        ("master:\n  crf: 99\n", "line 2: 'crf' must be less than or equal to 63; found 99."),
        ("master:\n  crf: high\n", "line 2: 'crf' must be a whole number"),
        ("\nlength_difference: paad\n", "line 2: 'length_difference' must be 'refuse' or 'allow'; found 'paad'."),
        ("master: 3\n", "line 1: 'master' must be a mapping"),
        ("- a\n", "line 1: a config is a mapping"),
    ],
)
def test_what_is_wrong_in_a_config_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        config.load(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_config_schema() -> None:
    check = jsonschema.Draft202012Validator(config.schema())
    assert not list(check.iter_errors(yaml.safe_load((ROOT / "configs/default.yaml").read_text())))
    assert list(check.iter_errors({"master": {"crff": 1}}))
