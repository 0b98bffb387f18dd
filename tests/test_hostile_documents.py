"""Manifests and settings that were written to break a reader: each is refused in one sentence, with its line."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import pytest
from command import Dub

from dubbing import config, manifest
from dubbing.errors import InputError, ManifestError
from dubbing.inputs import MOST_NESTED, json_bytes, json_value, nested
from dubbing.remote import place

GOOD = """\
version: 1
titles:
- id: reel
  video: reel.mp4
  dubs:
  - language: fr
    audio: fr.flac
"""


def refused(folder: Path, text: str) -> str:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(ManifestError) as caught:
        manifest.load(path)
    assert time.monotonic() - began < 10, "at once, on a machine that is busy"
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700
    return said.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: " + "1" * 5000, "has 5000 digits; 18 are allowed"),
        (GOOD + "generator: {name: rewrite, seed: " + "9" * 19 + "}", "has 19 digits; 18 are allowed"),
        ("version: !!int abc", "line 1: the tag '!!int' does not belong to this value"),
        ("version: !!float abc", "the tag '!!float'"),
        ("version: !!float .inf", "the tag '!!float'"),
        ("version: !!bool abc", "the tag '!!bool'"),
        ("version: !!timestamp 2001", "the tag '!!timestamp'"),
        ("version: !!binary '*'", "the tag '!!binary'"),
        ("version: !!set {a}", "the tag '!!set'"),
        ("version: !own 1", "the tag '!own'"),
        ("!!int 1: 2", "has no 'version'"),
        ("version: 1e999", "line 1: '1e999' is larger than any number can be"),
        (GOOD.replace("reel.mp4", r'"\ud800.mp4"'), "line 4:"),
        (GOOD.replace("id: reel", r'id: "\udc80"'), "half a letter"),
        (GOOD.replace("reel.mp4", "a" * 300), "one name in it has 300 bytes; 255 are the most"),
        (GOOD.replace("reel.mp4", "a/" * 2500), "5"),
        (GOOD.replace("reel.mp4", r'"a\0b"'), "must be the path of a file"),
        ("[" * 100_000, "lists inside lists without end"),
        ("version: " + "[" * 50 + "]" * 50, "line 1: lists inside lists without end; 40 are allowed"),
        ("a: &a [*a]", "line 1: this list or mapping contains itself"),
        ("a: &a\n" + "".join(f"  - k{n}\n" for n in range(1500)) + "titles:\n" + "  - *a\n" * 1500,
         "its aliases (*name) make"),
        ("a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(20)), "more are allowed"),
        ("".join(f"k{n}: 1\n" for n in range(3000)), "a mapping of 3000 keys; 1000 are allowed"),
        (GOOD + "? " + "k" * 100_000 + "\n: 1\n", "unknown key"),
    ],
)  # fmt: skip
def test_a_manifest_that_breaks_readers_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_aliases_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD.replace("audio: fr.flac", "audio: &mix fr.flac\n    dialogue: *mix"), encoding="utf-8")
    assert manifest.load(path).titles[0].dubs[0].dialogue == tmp_path / "fr.flac"


@pytest.mark.parametrize("name", ["con", "prn", "aux", "nul", "com1", "lpt9"])
def test_a_name_that_no_folder_can_have_on_windows_is_no_id(tmp_path: Path, name: str) -> None:
    assert f"'id' is '{name}', which names a device on Windows" in refused(
        tmp_path, GOOD.replace("reel\n", f"{name}\n")
    )
    (tmp_path / "job.yaml").write_text(GOOD.replace("reel\n", f"{name}_1\n"), encoding="utf-8")
    assert manifest.load(tmp_path / "job.yaml").titles[0].id == f"{name}_1"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("jp", "did you mean 'ja'?"), ("cn", "did you mean 'zh'?"), ("xx", "lists no such"),
        ("en-UK", "did you mean 'en-GB'?"), ("eng", "did you mean 'en'?"), ("deu-AT", "did you mean 'de-AT'?"),
        ("ger", "did you mean 'de'?"), ("en-abcde", "lists no such"), ("en_GB", "did you mean 'en-GB'?"),
        ("jp-JP", "did you mean 'ja-JP'?"), ("con", "names a device on Windows"),
        ("x-" + "-".join(["abcdefgh"] * 40), "which has 361 letters; 128 are allowed"),
    ],
)  # fmt: skip
def test_a_language_that_the_registry_does_not_list(tmp_path: Path, tag: str, said: str) -> None:
    assert said in refused(tmp_path, GOOD.replace("fr\n", f"{tag}\n", 1))


@pytest.mark.parametrize("tag", ["ja", "en-GB", "zh-Hant", "x-klingon", "qaa", "qtz", "qaa-x-alien", "en-x-kids", "cmn",
                                 "yue", "es-419", "mul", "und", "sr-Latn-RS", "ca-valencia", "he", "iw"])  # fmt: skip
def test_a_language_that_it_lists_and_private_use(tmp_path: Path, tag: str) -> None:
    (tmp_path / "job.yaml").write_text(GOOD.replace("fr\n", f"{tag}\n", 1), encoding="utf-8")
    assert manifest.load(tmp_path / "job.yaml").titles[0].dubs[0].language == tag


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999", "!!float .inf", "!!float .nan"])
@pytest.mark.parametrize(
    "setting", ["length_tolerance_frames: {}", "speakers: {{min_face_px: {}}}", "review: {{lse_d_over_source: {}}}",
                "engine: {{deadline_s: {}}}", "engine: {{stages: {{faces: {{cpus: {}}}}}}}"]
)  # fmt: skip
def test_no_setting_is_infinite(tmp_path: Path, setting: str, value: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(setting.format(value), encoding="utf-8")
    with pytest.raises(ManifestError, match="line 1: "):
        config.load(path)


def test_no_setting_is_infinite_from_python_either() -> None:
    for value in (math.inf, math.nan):
        with pytest.raises(ManifestError, match="finite number"):
            config.Config(length_tolerance_frames=value)


SCHEMES = ("gs", "gcs", "abfs", "az", "adl", "sftp", "ssh", "ftp", "github", "git", "zip", "tar", "webhdfs",
           "hdfs", "hf",
           "dropbox", "gdrive", "smb", "dask", "jupyter", "reference", "blockcache", "oss", "wandb", "dvc", "data",
           "libarchive", "box", "lakefs", "dbfs", "root", "generic", "dir", "oci", "asynclocal",
           "simplecache::s3", "s4", "javascript", "ray")  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_that_is_not_tested_is_refused_without_asking_anybody(scheme: str) -> None:
    before = set(sys.modules)
    with pytest.raises(InputError, match="which dub does not support; allowed are a path") as caught:
        place(f"{scheme}://127.0.0.1:9/films/a.mp4")
    assert "dubbing[s3]" in str(caught.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("fsspec")]


@pytest.mark.parametrize(
    "uri", ["s3://[", "s3://b/\x07", "file:///a%00b", "file:///" + "a" * 300, "s3://a\ud800/b", "s3:// /"]
)
def test_a_uri_that_is_none(uri: str) -> None:
    try:
        found = place(uri)
    except InputError as e:
        assert "\n" not in str(e)
    else:
        assert uri == "s3:// /" and str(found).startswith("s3://")


class TestJson:
    def test_depth_is_counted_outside_texts(self) -> None:
        assert nested('{"a[[[[": ["]]", {"b": "\\"[["}]}') == 3
        assert nested("[" * 100_000) == 100_000

    @pytest.mark.parametrize("text", ["[" * 100_000, "[NaN]", "[Infinity]", "[" + "1" * 5000 + "]", "", "{", b"\xff"])
    def test_what_no_reader_survives_is_refused(self, text: str | bytes) -> None:
        with pytest.raises(ValueError, match="."):
            json_value(text)

    def test_as_deep_as_allowed(self) -> None:
        assert json_value("[" * MOST_NESTED + "]" * MOST_NESTED)

    def test_names_in_bytes_that_are_no_utf8_come_back(self) -> None:
        name = b"caf\xe9".decode("utf-8", "surrogateescape")
        assert json_value(json_bytes({"name": name})) == {"name": name}
        assert "é".encode() in json_bytes({"name": "é"})
        assert json.loads(json_bytes([1], indent=None)) == [1]


def test_a_manifest_in_a_folder_whose_name_is_no_text(tmp_path: Path, dub: Dub) -> None:
    folder = tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.mkdir()
    (folder / "job.yaml").write_text(GOOD, encoding="utf-8")
    code, _, err = dub("check", folder / "job.yaml")
    assert code == 2 and "bytes that are no UTF-8" in err and err.count("\n") == 1
