"""Files that this project wrote itself, as somebody else left them: run.json and the logs of a review. Each damage is
named with its file, exit code 2, and nothing of it is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Dub

from dubbing.decisions import DecisionLog
from dubbing.errors import InputError, OutputError
from dubbing.run_file import read_run
from dubbing.store import open_store

MANIFEST: dict[str, Any] = {
    "version": 1, "generator": {"name": "rewrite"},
    "titles": [{"id": "reel", "video": "/films/reel.mp4", "dubs": [{"language": "fr", "audio": "/films/fr.wav"}]}],
}  # fmt: skip
RUN: dict[str, Any] = {"dub": "0", "state": "finished", "started": "2026-01-01", "manifest": MANIFEST, "config": {},
                       "dubs": [{"title": "reel", "language": "fr", "error": None}], "exit_status": 0}  # fmt: skip


def changed(**parts: Any) -> str:
    return json.dumps({**RUN, **parts})


def title(**parts: Any) -> str:
    return changed(manifest={**MANIFEST, "titles": [{**MANIFEST["titles"][0], **parts}]})


DAMAGE: dict[str, str | bytes] = {
    "a list": "[]",
    "nothing": "null",
    "a number": "1",
    "empty": "",
    "cut short": json.dumps(RUN)[:80],
    "no text": b"\xff\xfe",
    "nested": '{"manifest":' * 100_000,
    "brackets": "[" * 100_000,
    "a number without end": json.dumps(RUN)[:-1] + ', "a": ' + "1" * 5000 + "}",
    "NaN": changed(seconds=float("nan")),
    "no manifest": json.dumps({k: v for k, v in RUN.items() if k != "manifest"}),
    "a manifest that is null": changed(manifest=None),
    "a manifest of nothing": changed(manifest={}),
    "titles that are text": changed(manifest={**MANIFEST, "titles": "reel"}),
    "a title that is null": changed(manifest={**MANIFEST, "titles": [None]}),
    "an id that climbs": title(id="../../x"),
    "an id that is a number": title(id=1),
    "a reserved id": title(id="con"),
    "a language that climbs": title(dubs=[{"language": "../fr", "audio": "a"}]),
    "dubs that are null": title(dubs=None),
    "a path that is a list": title(video=["a"]),
    "a path with a NUL": title(video="a\0b"),
    "half a letter": title(video="\ud800"),
    "a foreign scheme": title(video="webhdfs://127.0.0.1:9/a"),
    "a state of no kind": changed(state="flying"),
    "a state that is a list": changed(state=[]),
    "dubs of a run that are text": changed(dubs="reel"),
    "a dub that is null": changed(dubs=[None]),
    "an exit status that is text": changed(exit_status="0"),
    "seconds that are text": changed(seconds_by_stage={"faces": "many"}),
    "a config that is a list": changed(config=[]),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_run_json_is_named(tmp_path: Path, dub: Dub, what: str) -> None:
    data = DAMAGE[what]
    (tmp_path / "run.json").write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    for command in (
        ("status", tmp_path), ("status", tmp_path, "--json"), ("export", tmp_path), ("review", tmp_path),
        ("rerun", tmp_path, "--shots", "1"), ("dataset", "prepare", tmp_path, "--out", tmp_path / "data"),
    ):  # fmt: skip
        code, out, err = dub(*command)
        assert code == 2 and "run.json" in err and err.count("\n") == 1, (command, code, out, err)
        assert "defect" not in err and len(err) < 600, err
    assert not (tmp_path / "data").exists()


def test_one_that_is_whole_is_read(tmp_path: Path, dub: Dub) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    found = read_run(open_store(tmp_path))
    assert found.titles == (("reel", ("fr",)),) and found.error("reel", "fr") is None and found.state == "finished"
    assert dub("status", tmp_path)[0] == 0


def test_settings_of_another_version_matter_only_where_they_are_used(tmp_path: Path, dub: Dub) -> None:
    (tmp_path / "run.json").write_text(changed(config={"gone": 1}), encoding="utf-8")
    assert dub("status", tmp_path)[0] == 0
    code, _, err = dub("export", tmp_path)
    assert code == 2 and "settings of another version" in err


def test_a_run_json_that_is_a_pipe(tmp_path: Path, dub: Dub) -> None:
    os.mkfifo(tmp_path / "run.json")
    code, _, err = dub("status", tmp_path)
    assert code == 2 and "it is a pipe, and not a file" in err


@pytest.mark.parametrize(
    "text", ["null", "[]", "{", '{"at": "now"}', '{"at": 1}', '{"at": 1, "part": [], "stage": 3}', "[" * 9999]
)
def test_damaged_figures_of_a_run_under_way_are_left_out(tmp_path: Path, dub: Dub, text: str) -> None:
    (tmp_path / "run.json").write_text(changed(state="running"), encoding="utf-8")
    (tmp_path / ".progress.json").write_text(text, encoding="utf-8")
    with open_store(tmp_path).lock():
        code, out, _ = dub("status", tmp_path)
    assert code == 0 and "running since 2026-01-01" in out


KEY = ("reel", "fr", "shot_0001")
LINE = {"schema": "dub.decision.1", "seq": 2, "time": "t", "reviewer": "Ann", "title": "reel", "language": "fr",
        "shot": "shot_0001", "kind": "original"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seq": "2"}, "seq"), ({"seq": 1}, "its number is 1, and 1 came before"), ({"seq": 2.5}, "seq"),
        ({"kind": "fly"}, "kind"), ({"kind": []}, "kind"), ({"take": 7}, "take"), ({"text": None}, "text"),
        ({"generator": "rewrite"}, "generator"), ({"generator": {"grain": 1}}, "its generator has no name"),
        ({"frame": "1"}, "frame"), ({"severity": "awful"}, "severity"), ({"title": None}, "title"),
        ({"more": 1}, "another schema"), ({"schema": "dub.decision.9"}, "another schema"), ({"undoes": [1]}, "undoes"),
    ],
)  # fmt: skip
def test_a_decision_of_wrong_types_is_named_by_its_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    log = DecisionLog(tmp_path)
    log.append(KEY, "original", "Ann")
    with log.path.open("a", encoding="utf-8") as f:
        f.write(json.dumps({**LINE, **change}) + "\n")
    with pytest.raises(OutputError, match="Line 2 of .*decisions.jsonl.* is not a decision") as caught:
        DecisionLog(tmp_path).records()
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"schema": NaN}'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    log = DecisionLog(tmp_path)
    log.append(KEY, "original", "Ann")
    with log.path.open("ab") as f:
        f.write(line + b"\n")
    with pytest.raises(OutputError, match="Line 2 of .*decisions.jsonl"):
        DecisionLog(tmp_path).records()


def test_no_number_is_given_twice_after_a_line_was_taken_out(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    for _ in range(3):
        log.append(KEY, "original", "Ann")
    first, _, third = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(first + third)
    again = DecisionLog(tmp_path)
    assert again.append(KEY, "original", "Ann").seq == 4
    assert [r.seq for r in DecisionLog(tmp_path).records()] == [1, 3, 4]


def test_half_a_letter_in_a_key_is_refused(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    make: Callable[..., Any] = log.append
    with pytest.raises(InputError, match="half a letter"):
        make(KEY, "rerun", "Ann", generator={"name": "rewrite", "\ud800": 1})
    assert log.path.read_bytes() == b"" and make(KEY, "original", "Ann").seq == 1


def test_what_is_no_file_among_the_records_is_named(tmp_path: Path, dub: Dub) -> None:
    (tmp_path / "review").mkdir()
    os.mkfifo(tmp_path / "review" / "decisions.jsonl")
    for call in (DecisionLog(tmp_path).records, lambda: DecisionLog(tmp_path).append(KEY, "original", "Ann")):
        with pytest.raises(OutputError, match="decisions.jsonl' is a pipe, and not a file"):
            call()


NO_FOLDER = {
    "x" * 256: "one name in it has 256 bytes; 255 are the most",
    "é" * 128: "one name in it has 256 bytes",
    "/".join(["d" * 100] * 50): "4095 are the most that a path may have",
    b"caf\xe9".decode("utf-8", "surrogateescape"): "bytes that are no UTF-8",
    "loop": "its links lead round in a circle",
    "loop/below": "its links lead round in a circle",
    "file": "is a file",
    "file/below": "is a file",
    "pipe": "is a file, so nothing can be written under it",
}


@pytest.mark.parametrize("name", NO_FOLDER, ids=range(len(NO_FOLDER)))
def test_an_output_folder_that_cannot_be_is_refused_before_work(tmp_path: Path, dub: Dub, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "job.yaml").write_text(json.dumps(MANIFEST), encoding="utf-8")
    code, _, err = dub("check", tmp_path / "job.yaml", "--out", tmp_path / name)
    assert code == 2 and NO_FOLDER[name] in err, err


@pytest.mark.parametrize("name", ["🎬 été", "日本", "a b", "%41", "-x", "[x]", "a:b"])
def test_an_output_folder_may_be_called_as_people_like(tmp_path: Path, dub: Dub, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    code, out, _ = dub("status", tmp_path / name)
    assert code == 0 and name in out


@pytest.mark.parametrize("option", ["--cache-gb=nan", "--cache-gb=inf", "--port=1e9"])
def test_options_that_are_no_numbers(tmp_path: Path, dub: Dub, option: str) -> None:
    code, _, err = dub("review", tmp_path, option)
    assert code == 2 and "Invalid value" in err and err.count("\n") == 1


@pytest.mark.parametrize("text", ["[" * 5000, "{name: " * 5000, "{a: 1}", "!!python/name:os.system", "3", "null"])
def test_a_generator_that_is_none(tmp_path: Path, dub: Dub, text: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    code, _, err = dub("rerun", tmp_path, "--shots", "1", f"--generator={text}")
    assert code == 2 and "--generator is a name, or a mapping" in err and len(err) < 300
