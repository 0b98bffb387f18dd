"""`dub models`: the registry, its folder and downloads, against a real HTTP server on this machine.

Over 400 lines: one server and its fixtures serve all of it.
"""

import fcntl
import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest
from command import Dub
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from dubbing import config
from dubbing.cli.models import download_shown
from dubbing.errors import ManifestError, ModelError, OutputError
from dubbing.models import (
    Licence,
    Model,
    ModelSet,
    ModelStore,
    digest,
    find,
    folder,
    is_present,
    path,
)
from dubbing.models.download import pull

DATA = random.Random(3).randbytes(700_000)
HALF = len(DATA) // 2
TINY = Model(
    name="tiny",
    file="tiny.pth",
    what="a test",
    licence=Licence("MIT", "Any use.", "any"),
    source="https://example.org/tiny",
    layout="flat",
    size=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
)
LIMITED = replace(
    TINY, name="limited", file="limited.pth", licence=Licence("nc", "No sale.", "non-commercial research", limited=True)
)
UNKNOWN = replace(TINY, name="unknown", file="unknown.pth", size=None, sha256=None)
ENTRIES = (TINY, LIMITED, UNKNOWN)
BOTH = ModelSet("both", "a test", ("tiny", "limited"))


class Server(ThreadingHTTPServer):
    """Answers GET with `data`; `faults` are used up first, one per request; `asked` are the Range headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data, self.faults, self.asked = DATA, list[str](), list[str | None]()
        self.paths = list[str]()
        self.over = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Range"])
        self.server.paths.append(self.path)
        fault, _, value = (self.server.faults.pop(0) if self.server.faults else "").partition(" ")
        data, start = self.server.data, 0
        if fault == "hang":
            self.server.over.wait(10)
            return
        if fault == "endless":
            self.send_response(200)
            self.end_headers()
            while not self.server.over.is_set():
                self.wfile.write(bytes(100_000))
            return
        if fault == "page":
            data = b"<html>Sign in</html>"
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", value)
            self.end_headers()
            return
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if (span := re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")) and fault != "whole":
            start = int(span[1])
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + int(value)] if fault == "cut" else data[start:])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.over.set()
        running.shutdown()


@pytest.fixture
def model_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", ENTRIES)


@pytest.fixture
def fetch(model_store: ModelStore, server: Server) -> Callable[..., Path]:
    """Pulls a model from the server without pauses."""

    def get(name: str = "tiny", **how: object) -> Path:
        return pull(model_store, name, **{"mirror": server.base, "timeout_s": 5.0, "pause_s": 0.0, **how})[0]  # type: ignore[arg-type]

    return get


Fetch = Callable[..., Path]


def left(model_store: ModelStore) -> list[str]:
    return sorted(p.name for p in model_store.root.glob("*")) if model_store.root.exists() else []


# -- the registry ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "tiny.pth", "wav2lip_gam"])
def test_only_names_of_entries_lead_to_files(name: str, model_store: ModelStore, tmp_path: Path) -> None:
    for use in (find, path, is_present, partial(model_store.add, source=tmp_path), partial(pull, model_store)):
        with pytest.raises(ModelError, match="There is no model"):
            use(name)
    assert left(model_store) == []


def test_where_models_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DUB_MODELS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home-of-ann")
    monkeypatch.setattr(platformdirs, "PlatformDirs", Unix)
    assert folder() == Path("/home-of-ann/.local/share/dub/models")
    monkeypatch.setattr(platformdirs, "PlatformDirs", MacOS)
    assert folder() == Path("/home-of-ann/Library/Application Support/dub/models")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert folder() == tmp_path / "dub" / "models"
    assert folder("~/m") == Path("/home-of-ann/m")
    monkeypatch.setenv("DUB_MODELS", "/nets")
    assert folder("~/m") == Path("/nets") and not Path("/nets").exists()


def test_the_configuration_says_folder_and_mirror(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: {folder: /nets, mirror: 'https://mirror.example/m'}")
    assert config.load(file).models == config.Models(folder="/nets", mirror="https://mirror.example/m")
    for wrong in ("folder: nets", "mirror: 'file:///nets'", "mirrors: x"):
        file.write_text(f"models: {{{wrong}}}")
        with pytest.raises(ManifestError, match="line 1"):
            config.load(file)


# -- pull ------------------------------------------------------------------------------------


def test_pull_loads_once(fetch: Fetch, model_store: ModelStore, server: Server) -> None:
    seen: list[tuple[int, int | None]] = []
    file = fetch(on_bytes=lambda done, total: seen.append((done, total)))
    assert file.read_bytes() == DATA and left(model_store) == ["tiny.pth"]
    assert seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA)) and seen == sorted(seen)
    assert fetch() == file and len(server.asked) == 1 and server.paths == ["/tiny.pth"]


def test_a_broken_connection_is_taken_up_where_it_broke(fetch: Fetch, server: Server) -> None:
    server.faults = [f"cut {HALF}", "503"]
    assert fetch().read_bytes() == DATA
    assert server.asked == [None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_an_interrupted_pull_goes_on_with_the_next_command(
    fetch: Fetch, model_store: ModelStore, server: Server
) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(on_bytes=stop)
    assert left(model_store) == ["tiny.pth.part"]
    state = model_store.state(TINY)
    assert state.state == "partly" and HALF < state.size < len(DATA)
    assert fetch().read_bytes() == DATA and server.asked == [None, f"bytes={state.size}-"]


def test_a_server_that_always_breaks_off_leaves_a_part_only(
    fetch: Fetch, model_store: ModelStore, server: Server
) -> None:
    server.faults = ["cut 1000"] * 3
    with pytest.raises(ModelError, match=r"broke off after 3000 of 700000 bytes; run the command again"):
        fetch()
    assert left(model_store) == ["tiny.pth.part"]
    server.faults = ["whole"]  # a server without Range: from the start
    assert fetch().read_bytes() == DATA


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 1), DATA])
def test_a_part_of_something_else_is_replaced(part: bytes, fetch: Fetch, model_store: ModelStore) -> None:
    model_store.root.mkdir()
    model_store.part(TINY).write_bytes(part)
    assert fetch().read_bytes() == DATA and not model_store.part(TINY).exists()


def test_another_hash_is_refused(fetch: Fetch, model_store: ModelStore, server: Server) -> None:
    server.data = DATA[:-1] + b"?"
    with pytest.raises(ModelError, match=rf"sent is not the published tiny\.pth.*not 700000 with {TINY.sha256}"):
        fetch()
    assert left(model_store) == [] and len(server.asked) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("404", r"answered 404 Not Found for http.*dub models add tiny FILE"),
        ("403", "answered 403 Forbidden"),
        ("page", "offers a web page where tiny.pth has 700000 bytes"),
        ("endless", "sends more than the 700000 bytes"),
        ("redirect file:///etc/passwd", "redirects to 'file:///etc/passwd', which is not followed"),
        ("redirect ftp://127.0.0.1/x", "not followed"),
        ("redirect /tiny.pth", "not followed"),
    ],
)
def test_what_a_server_may_not_do(fault: str, said: str, fetch: Fetch, model_store: ModelStore, server: Server) -> None:
    server.faults = [fault]
    with pytest.raises(ModelError, match=said):
        fetch()
    assert left(model_store) == [] and len(server.asked) == 1


def test_a_refusal_does_not_cost_what_was_loaded(fetch: Fetch, model_store: ModelStore, server: Server) -> None:
    server.faults = [f"cut {HALF}", "404"]
    with pytest.raises(ModelError, match="404"):
        fetch()
    assert model_store.state(TINY).size == HALF


def test_a_server_that_is_silent_or_absent(fetch: Fetch, model_store: ModelStore, server: Server) -> None:
    server.faults = ["hang"] * 2
    with pytest.raises(ModelError, match=r"no answer within 0\.2 s"):
        fetch(timeout_s=0.2, tries=2)
    with pytest.raises(ModelError, match="no connection"):
        fetch(mirror="http://127.0.0.1:9", tries=1)
    assert left(model_store) == []


def test_a_redirect_keeps_the_range(fetch: Fetch, server: Server) -> None:
    server.faults = [f"cut {HALF}", f"redirect {server.base}/elsewhere"]
    assert fetch().read_bytes() == DATA
    assert server.paths == ["/tiny.pth", "/tiny.pth", "/elsewhere"] and server.asked[-1] == f"bytes={HALF}-"


@pytest.mark.parametrize("base", ["file:///", "ftp://x", "http://", "data:,x", "x", "http://u:p@h", "http://a b"])
def test_only_http_addresses_are_asked(base: str, fetch: Fetch, model_store: ModelStore) -> None:
    with pytest.raises(ModelError) as refused:
        fetch(mirror=base)
    assert "p@" not in str(refused.value) and left(model_store) == []


def test_the_next_source_is_tried(server: Server, model_store: ModelStore) -> None:
    server.faults = ["404"]
    model_store.models = (replace(TINY, urls=(f"{server.base}/old", f"{server.base}/new")),)
    assert pull(model_store, "tiny")[0].read_bytes() == DATA and server.paths == ["/old", "/new"]


def test_without_a_source_it_says_what_to_do_by_hand(model_store: ModelStore) -> None:
    with pytest.raises(ModelError, match=rf"(?s)cannot be pulled.*{TINY.sha256}.*dub models add tiny FILE.*mirror"):
        pull(model_store, "tiny")


def test_two_pulls_do_not_meet_in_one_file(fetch: Fetch, model_store: ModelStore) -> None:
    model_store.root.mkdir()
    with model_store.part(TINY).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="pulled by another process"):
            fetch()
    assert fetch().exists()


def test_a_full_disk_is_told_before(fetch: Fetch, model_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match="has 1000 bytes free"):
        fetch()
    assert left(model_store) == []


# -- licences --------------------------------------------------------------------------------


def test_a_limited_licence_is_accepted_once_and_recorded(
    fetch: Fetch, model_store: ModelStore, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="non-commercial research only .*--accept-licence"):
        fetch("limited")
    with pytest.raises(ModelError, match="--accept-licence"):
        (right := tmp_path / "right").write_bytes(DATA)
        model_store.add("limited", right)
    assert server.asked == []
    model_store.accept(LIMITED)
    record = json.loads((model_store.root / "accepted.json").read_text())["limited"]
    assert record["licence"] == "No sale." and record["by"] and re.match(r"20\d\d-\d\d-\d\dT", record["at"])
    assert fetch("limited").exists()
    changed = replace(LIMITED, licence=replace(LIMITED.licence, text="No sale, no gift."))
    assert model_store.is_accepted(LIMITED) and not model_store.is_accepted(changed)


# -- files that are here ---------------------------------------------------------------------


def test_path_is_checked_and_says_the_next_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared: Path) -> None:
    monkeypatch.delenv("DUB_MODELS", raising=False)
    with pytest.raises(ModelError, match=r"not on this machine.*run `dub models pull yunet_n_640`\."):
        path("yunet_n_640", configured=tmp_path)
    with pytest.raises(ModelError, match="run `dub models add wav2lip_color FILE`"):
        path("wav2lip_color", configured=tmp_path)
    file = tmp_path / "yunet_n_640.onnx"
    shutil.copyfile(shared / "models" / file.name, file)
    assert is_present("yunet_n_640", configured=tmp_path)
    assert path("yunet_n_640", configured=tmp_path) == file
    assert digest("yunet_n_640", configured=tmp_path) == find("yunet_n_640").sha256
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"is not the published yunet_n_640\.onnx.*pull yunet_n_640"):
        path("yunet_n_640", configured=tmp_path)


def test_a_hash_is_remembered_and_verify_reads_anyway(model_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    model_store.root.mkdir()
    model_store.file(TINY).write_bytes(DATA)
    model_store.checked("tiny")
    memory = json.loads((model_store.root / ".hashes.json").read_text())
    assert [v[-1] for v in memory.values() if isinstance(v, list)] == [TINY.sha256]
    monkeypatch.setattr("dubbing.models.store.content_key", lambda *_: pytest.fail("read again"))
    assert model_store.checked("tiny") == model_store.file(TINY)
    count: list[int] = []
    assert model_store.verify(TINY, count.append) == TINY.sha256 and sum(count) == len(DATA)


def test_a_damaged_file_is_replaced_by_pull(fetch: Fetch, model_store: ModelStore) -> None:
    model_store.root.mkdir()
    model_store.file(TINY).write_bytes(DATA[:-9])
    assert model_store.state(TINY).state == "wrong size"
    with pytest.raises(ModelError, match="699991 bytes"):
        model_store.verify(TINY)
    assert fetch().read_bytes() == DATA


def test_add_takes_the_published_file_only(model_store: ModelStore, tmp_path: Path) -> None:
    mine = tmp_path / "with 'odd' name.pth"
    mine.write_bytes(DATA)
    assert model_store.add("tiny", mine) == (model_store.file(TINY), TINY.sha256, False) and mine.exists()
    assert model_store.add("tiny", model_store.file(TINY))[0].read_bytes() == DATA
    for data, said in (
        (DATA[1:], "has 699999 bytes where that has 700000"),
        (DATA[:-1] + b"?", "is not the published"),
    ):
        mine.write_bytes(data)
        with pytest.raises(ModelError, match=said):
            model_store.add("tiny", mine)
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelError):
            model_store.add("tiny", wrong)
    assert model_store.file(TINY).read_bytes() == DATA and not [n for n in left(model_store) if "part" in n]


def test_without_a_published_hash_the_first_file_counts(model_store: ModelStore, fetch: Fetch, server: Server) -> None:
    model_store.root.mkdir()
    model_store.file(UNKNOWN).write_bytes(DATA)
    with pytest.raises(ModelError, match="was never added"):
        model_store.checked("unknown")
    source = model_store.root / "mine"
    source.write_bytes(DATA)
    assert model_store.add("unknown", source) == (model_store.file(UNKNOWN), TINY.sha256, True)
    assert json.loads((model_store.root / "added.json").read_text())["unknown"]["from"] == str(source)
    assert model_store.add("unknown", source)[2] is False and model_store.checked("unknown")
    source.write_bytes(b"other")
    with pytest.raises(ModelError, match=r"is not the first added unknown\.pth"):
        model_store.add("unknown", source)
    model_store.file(UNKNOWN).unlink()
    server.faults = ["cut 5"]  # nothing says whether a part belongs to what comes next: never resumed
    assert fetch("unknown").read_bytes() == DATA and server.asked == [None, None]


# -- the command -----------------------------------------------------------------------------


@pytest.fixture
def dub(dub: Dub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> Dub:
    """Runs `dub models ...` with three small models and the server as mirror: (exit code, stdout, stderr)."""
    monkeypatch.delenv("DUB_MODELS", raising=False)
    monkeypatch.setattr("dubbing.models.ModelStore", partial(ModelStore, models=ENTRIES, sets=(BOTH,)))
    settings = tmp_path / "c.yaml"
    settings.write_text(f"models: {{folder: {tmp_path / 'models'}, mirror: '{server.base}'}}")
    return lambda *args: dub("models", *args, "--config", settings)


def test_the_whole_way(dub: Dub, model_store: ModelStore, server: Server) -> None:
    code, out, _ = dub("list")
    assert code == 0 and re.search(r"limited +absent +700 kB +nc +non-commercial research", out)
    code, out, err = dub("pull", "tiny", "unknown")
    assert code == 0 and out.count("its hash is right") == 1 and "counts from now on" in err
    assert dub("pull", "tiny")[1] == f"tiny: {model_store.file(TINY)} (was here already)\n"
    assert dub("where", "tiny")[1] == f"{model_store.file(TINY)}\n" and dub("where")[1] == f"{model_store.root}\n"
    code, out, _ = dub("verify")
    assert code == 0 and out.count("good") == 2
    model_store.file(TINY).write_bytes(b"damage")
    code, out, err = dub("verify")
    assert code == 2 and re.search(r"tiny +wrong", out) and err.count("\n") == 1 and "dub models add tiny FILE" in err
    assert re.search(r"tiny +wrong size", dub("list")[1])


def test_a_licence_is_asked_once(dub: Dub, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    code, out, err = dub("pull", "limited")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "--accept-licence" in err and server.asked == []
    with monkeypatch.context() as m:
        for answer, expected in (("n\n", 2), ("y\n", 0)):
            m.setattr("sys.stdin", Tty(answer))
            m.setattr(sys.stderr, "isatty", lambda: True, raising=False)
            code, _, err = dub("pull", "limited")
            assert code == expected and "No sale." in err
    assert dub("pull", "limited", "--json")[0] == 0 and len(server.asked) == 1


def test_a_set_comes_as_a_whole_and_goes_on_where_it_broke(dub: Dub, model_store: ModelStore, server: Server) -> None:
    assert re.search(r"both +0 of 2 +1400 kB +a test +tiny, limited", dub("list")[1])
    code, _, err = dub("pull", "both")
    assert code == 2 and "--accept-licence" in err and server.asked == []  # before the first byte of either
    server.faults = ["", *["cut 5"] * 3]
    code, _, err = dub("pull", "both", "--accept-licence")
    assert code == 2 and "limited" in err and model_store.file(TINY).read_bytes() == DATA
    server.asked.clear()
    code, out, _ = dub("pull", "both", "tiny", "--json")
    assert code == 0 and [m["loaded"] for m in json.loads(out)] == [False, True] and server.asked == ["bytes=15-"]
    assert dub("verify", "both")[1].count("good") == 2
    model_store.file(TINY).unlink()
    listed = json.loads(dub("list", "--json")[1])
    assert listed["sets"] == [{"name": "both", "what": "a test", "models": ["tiny", "limited"]}]


def test_a_file_is_looked_at_before_its_licence_is_asked_for(
    dub: Dub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two wrong files: one of another size, and one of the right size with another content."""
    (wrong := tmp_path / "wrong").write_bytes(b"x")
    (alike := tmp_path / "alike").write_bytes(b"x" * len(DATA))
    monkeypatch.setattr("sys.stdin", Tty("y\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for file, said in ((wrong, "it has 1 bytes"), (alike, f"is not the published {LIMITED.file}")):
        code, _, err = dub("add", "limited", file)
        assert code == 2 and said in err and "No sale." not in err and "within that" not in err


@pytest.mark.parametrize("recipe", ["speech_gan", "wav2lip"])
def test_an_own_file_that_is_no_such_model_is_refused(dub: Dub, tmp_path: Path, recipe: str) -> None:
    """The card says one network, the file holds another: the first key that does not fit is named."""
    import torch

    file = tmp_path / "mine.pth"
    torch.save({"state_dict": {"layer.weight": torch.zeros(3, 5)}, "model": recipe}, file)
    card = {"schema": "dub.model.1", "file": file.name, "recipe": recipe, "steps": 1, "data": "x", "title": None,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(card))
    code, out, err = dub("add", "ours", file)
    assert (code, out, err.count("\n")) == (2, "", 1) and "it fits no generator that is here" in err, err
    assert "another architecture" in err if recipe == "wav2lip" else str(file) in err
    assert not (tmp_path / "models" / "own-ours.pth").exists()


def test_machines(dub: Dub, tmp_path: Path, model_store: ModelStore) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(DATA)
    code, out, _ = dub("add", "limited", mine, "--accept-licence", "--json")
    assert code == 0 and json.loads(out) == {
        "name": "limited", "path": str(model_store.file(LIMITED)), "sha256": LIMITED.sha256,
        "trusted_on_first_use": False, "found": None,
    }  # fmt: skip
    assert json.loads(dub("pull", "tiny", "--json")[1])[0]["loaded"] is True
    listed = {m["name"]: m for m in json.loads(dub("list", "--json")[1])["models"]}
    assert listed["tiny"]["state"] == "present" and listed["unknown"]["path"] is None
    assert listed["limited"]["licence_accepted"] and listed["limited"]["sha256"] == LIMITED.sha256
    assert [m["good"] for m in json.loads(dub("verify", "--json")[1])["models"]] == [True, True]
    assert json.loads(dub("where", "--json")[1])["files"]["tiny"] == str(model_store.file(TINY))
    assert json.loads(dub("where", "tiny", "--json")[1])["sha256"] == TINY.sha256


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("pull", "tinny"), "did you mean 'tiny'"),
        (("pull", "../tiny"), "There is no model"),
        (("add", "tiny", "absent"), "No such file"),
        (("where", "tiny"), "run `dub models add tiny FILE`"),
        (("verify", "tiny"), "not on this machine"),
        (("pull",), "Missing argument"),
    ],
)
def test_refusals_are_one_sentence(args: tuple[str, ...], said: str, dub: Dub) -> None:
    code, _, err = dub(*args)
    assert code == 2 and said in err and err.count("\n") == 1 and "Traceback" not in err


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, log = Tty(), io.StringIO()
    for stream in (screen, log):
        monkeypatch.setattr("dubbing.cli.models.LINE_S", 0.0)
        with download_shown(stream, "tiny.pth") as at:
            at(350_000, 700_000)
    assert "tiny.pth" in screen.getvalue() and log.getvalue() == "tiny.pth: 50 % of 700 kB\n"


def test_torch_is_not_imported_to_manage_files(tmp_path: Path) -> None:
    code = (
        "import atexit, sys; from dubbing.cli import main; atexit.register(lambda: print('torch' in sys.modules))\n"
        "main(['models', 'list'])"
    )
    env = {"DUB_MODELS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert "wav2lip_gan" in done.stdout and done.stdout.endswith("False\n")
