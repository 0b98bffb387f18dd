"""The set-up: locks that agree with pyproject.toml, an installer that says in one sentence what is wrong.

The installer runs here on a small project with a package of its own, from a folder of wheels: nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import platform_tags
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
NAMES = {"run": ["s3"], "demo": ["demo"], "dev": ["demo", "dev"]}

sys.path.insert(0, str(ROOT / ".ci"))
import install  # noqa: E402 - it lies in no package

sys.path.remove(str(ROOT / ".ci"))


def wanted(extras: list[str]) -> list[Requirement]:
    """What pyproject.toml asks for with some extras, those that they name themselves included."""
    found = [Requirement(r) for r in PYPROJECT["project"]["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, EXTRAS[extra]):
            found += wanted(sorted(requirement.extras)) if requirement.name == "dubbing" else [requirement]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_holds_what_pyproject_asks_for(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    mark = install.MARK.search(text)
    assert mark and mark[1] == install.asked(), "pyproject.toml has changed: run ./lock"
    locked = {canonicalize_name(one): Version(version) for one, version, _ in install.PIN.findall(text)}
    overridden = {Requirement(r).name for r in PYPROJECT["tool"]["uv"]["override-dependencies"]}
    for requirement in wanted(NAMES[name]):
        if requirement.name in overridden:
            assert canonicalize_name(requirement.name) not in locked
        else:
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("name", [*NAMES, "uv"])
def test_a_lock_names_no_place_and_a_hash_for_everything(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if not line.startswith("#")]
    pins = [line for line in code if not line.startswith(" ")]
    assert all(install.PIN.match(line) and line.endswith("\\") for line in pins)
    rest = [line.strip(" \\") for line in code if line.startswith(" ")]
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in rest)
    assert len(pins) == len(install.PIN.findall(text)) and len(rest) >= len(pins)


@pytest.mark.parametrize("package", ["numpy", "pandas", "yarl", "torch", "av"])
def test_a_lock_names_every_file_of_a_release(package: str) -> None:
    """Of both Pythons and of every platform; an index that held a release in part would leave some out."""
    text = (LOCKS / "dev.txt").read_text(encoding="utf-8")
    (hashes,) = re.findall(rf"^{package}==\S+[^\n]*\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    assert hashes.count("--hash") >= 8


def test_one_package_has_one_version_in_every_lock() -> None:
    all_pins = [set(install.PIN.findall((LOCKS / f"{name}.txt").read_text(encoding="utf-8"))) for name in NAMES]
    versions: dict[tuple[str, str], set[str]] = {}
    for pins in all_pins:
        for name, version, marker in pins:
            versions.setdefault((name, marker.strip()), set()).add(version)
    assert all(len(v) == 1 for v in versions.values())


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("error: Failed to copy: No space left on device (os error 28)", "no space left"),
     ("OSError: [Errno 28] No space left on device", "no space left"),
     ("error: Failed to fetch\n  cause: dns error: failed to lookup address", "index was not reached"),
     ("  cause: Hash mismatch for `absl-py==2.5.1`\n", "gave for absl-py==2.5.1 is not what the lock names"),
     ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE\n    absl-py==2.5.1 from x:\n",
      "gave for absl-py==2.5.1 is not what the lock names"),
     ("ERROR: [Errno 13] Permission denied: 'x'", "belongs to another user")],
)  # fmt: skip
def test_what_went_wrong_is_one_sentence(said: str, sentence: str) -> None:
    told = install.explain(said)
    assert told and sentence in told and "\n" not in told
    assert install.explain("something nobody has seen") is None


# -- the installer on a small project --------------------------------------------------------

BACKEND = """
import base64, hashlib, pathlib, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "dubbing-0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as made:
        made.writestr("dubbing-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: dubbing\\nVersion: 0\\n")
        made.writestr("dubbing-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        made.writestr("dubbing-0.dist-info/RECORD", "")
    return name
build_wheel = build_editable
"""


@dataclass
class Small:
    """A project that asks for one package, `tiny`, whose wheel lies beside it."""

    root: Path
    wheels: Path
    digest: str

    def lock(self, digest: str | None = None) -> None:
        for name in NAMES:
            head = f"# pyproject.toml: {self.asked()}\n"
            pin = f"tiny==1.0 \\\n    --hash=sha256:{digest or self.digest}\n"
            (self.root / "requirements" / f"{name}.txt").write_text(head + pin, encoding="utf-8")

    def asked(self) -> str:
        code = "import sys; sys.path.insert(0, '.ci'); import install; print(install.asked())"
        done = subprocess.run([sys.executable, "-c", code], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """./demo of that project, which only prints where tiny is."""
        pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "PYTHON"))}
        environment = {**keep, **pip, "PYTHON": sys.executable, **environment}
        return subprocess.run([self.root / "demo"], env=environment, capture_output=True, text=True, timeout=600)


def wheel_of(folder: Path, tag: str) -> Path:
    """A wheel of `tiny` for machines of this tag, whose code says the tag."""
    wheel = folder / f"tiny-1.0-{tag}.whl"
    files = {
        "tiny.py": f"tag = {tag!r}\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }  # fmt: skip
    record = ""
    with zipfile.ZipFile(wheel, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        made.writestr("tiny-1.0.dist-info/RECORD", record + "tiny-1.0.dist-info/RECORD,,\n")
    return wheel


@pytest.fixture
def small(tmp_path: Path) -> Small:
    root, wheels = tmp_path / "a project", tmp_path / "wheels"
    (root / "requirements").mkdir(parents=True)
    wheels.mkdir()
    shutil.copytree(ROOT / ".ci", root / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(LOCKS / "uv.txt", root / "requirements")
    demo = (ROOT / "demo").read_text(encoding="utf-8")
    shown = 'exec "$bin/python" -c "import tiny; print(tiny.__file__)"\n'
    (root / "demo").write_text(re.sub(r"^exec .*\n", lambda _: shown, demo, flags=re.MULTILINE), encoding="utf-8")
    (root / "demo").chmod(0o755)
    (root / "backend.py").write_text(BACKEND, encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "dubbing"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["tiny"]\n'
        "optional-dependencies = {}\n",
        encoding="utf-8",
    )
    wheel = wheel_of(wheels, "py3-none-any")
    project = Small(root, wheels, hashlib.sha256(wheel.read_bytes()).hexdigest())
    project.lock()
    return project


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds pip alone. Only to copy."""
    made = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    return made


@pytest.fixture
def with_uv(small: Small, venv: Path) -> Small:
    """The project with uv in its .venv, as pip would have put it there."""
    uv = Path(sys.prefix) / "bin" / "uv"
    if not uv.exists():
        pytest.skip("uv is not in this environment; ./check puts it there")
    shutil.copytree(venv, small.root / ".venv", symlinks=True)
    (small.root / ".venv" / ".folder").write_text(str(small.root / ".venv"), encoding="utf-8")
    os.link(uv, small.root / ".venv" / "bin" / "uv")
    return small


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2 and "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_uv_installs_the_lock_and_a_second_time_nothing(with_uv: Small) -> None:
    done = with_uv.run()
    assert done.returncode == 0 and ".venv" in done.stdout, done.stderr
    assert "uv could not" not in done.stderr and "pip does it" not in done.stderr and "installed in" in done.stderr
    again = with_uv.run()
    assert again.stdout == done.stdout and again.stderr == ""


def test_pip_installs_the_same_lock_where_uv_cannot_run(small: Small) -> None:
    done = small.run()  # no index: pip finds no uv
    assert done.returncode == 0 and "uv does not run here; pip installs" in done.stderr, done.stderr


def test_a_broken_venv_heals(with_uv: Small) -> None:
    where = Path(with_uv.run().stdout.strip())
    where.unlink()
    assert with_uv.run().returncode == 0 and where.exists()  # a file of a package is gone
    (with_uv.root / ".venv" / ".installed").unlink()
    assert with_uv.run().returncode == 0  # it was interrupted
    shutil.rmtree(with_uv.root / ".venv" / "bin")
    assert with_uv.run().returncode == 0  # it is half gone


def test_a_changed_pyproject_with_an_old_lock_is_refused(with_uv: Small) -> None:
    path = with_uv.root / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"tiny"', '"tiny>=1"'), encoding="utf-8")
    assert "run ./lock" in one_sentence(with_uv.run())


def test_another_hash_is_refused_by_both(with_uv: Small) -> None:
    with_uv.lock("0" * 64)
    assert "its hash is another" in one_sentence(with_uv.run())
    pip = with_uv.root / ".venv" / "bin" / "uv"
    pip.unlink()
    assert "its hash is another" in one_sentence(with_uv.run())
    assert not list((with_uv.root / ".venv").rglob("tiny.py"))


def test_without_a_network_it_says_so(with_uv: Small) -> None:
    nowhere = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_FIND_LINKS": ""}
    nowhere |= {"UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0", "UV_CACHE_DIR": str(with_uv.root / "cache")}
    assert "index was not reached" in one_sentence(with_uv.run(**nowhere))


def test_of_several_indexes_the_file_for_this_machine_is_taken(with_uv: Small, tmp_path: Path) -> None:
    indexes, hashes = [], ["0" * 64]  # and one of another machine's file
    for name, tag in (("first", "py3-none-any"), ("second", f"py3-none-{next(platform_tags())}")):
        folder = tmp_path / name / "tiny"
        folder.mkdir(parents=True)
        wheel = wheel_of(folder, tag)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (folder / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>', encoding="utf-8")
        indexes.append((tmp_path / name).as_uri())
        hashes.append(digest)
    with_uv.lock(" --hash=sha256:".join(hashes))
    places = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": indexes[0],
              "PIP_EXTRA_INDEX_URL": " ".join(indexes)}  # fmt: skip
    done = with_uv.run(**places)
    assert done.returncode == 0, done.stderr
    assert "none-any" not in Path(done.stdout.strip()).read_text(encoding="utf-8")


def test_a_moved_venv_and_another_python(with_uv: Small, tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\necho Python 3.10.4\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    shutil.rmtree(with_uv.root / ".venv")
    assert "needs Python 3.11 or 3.12" in one_sentence(with_uv.run(PYTHON=str(old)))
    (with_uv.root / ".venv").mkdir()
    (with_uv.root / ".venv" / ".folder").write_text("/elsewhere/.venv", encoding="utf-8")
    assert "made as /elsewhere/.venv and moved here" in one_sentence(with_uv.run())
