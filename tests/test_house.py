"""The house rules that no other tool checks: lengths, documentation, pins, light imports; that ruff has the others."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from dubbing.cli.app import dub

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    p for d in ("dubbing", "tests", "shipped_weights", "bench", "examples") for p in (ROOT / d).rglob("*.py")
)
PACKAGE = [p for p in SOURCES if p.is_relative_to(ROOT / "dubbing")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "dubbing" / "review" / "static").glob("*.js"))
ALARM, WALL = 400, 600


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_a_file_is_short_or_says_why_not() -> None:
    for path in (*SOURCES, *PAGES):
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        assert lines <= WALL, f"{name_of(path)} has {lines} lines, over {WALL}: split it"
        said = f"Over {ALARM} lines: " in text[:2500]
        assert lines <= ALARM or said, f"{name_of(path)} has {lines} lines without a reason"


def test_a_module_names_what_it_offers() -> None:
    """That each of these names is defined, and documented, is ruff's to say."""
    for path in PACKAGE:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        own = [n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"]
        named = [t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
        assert "__all__" in named or not own or path.name == "__main__.py", f"{name_of(path)} has no __all__"


def unsafe_to_compare(text: str) -> list[str]:
    """Classes of a module whose generated `==` would compare arrays: that has no truth value, so `in`, `remove`,
    `index` and `==` on such records fail, and only where two of them differ late enough."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef):
            continue
        kinds = [ast.unparse(d) for d in (*node.decorator_list, *node.bases)]
        compares = any(
            re.search(r"\b(NamedTuple|dataclass)\b", kind) and "eq=False" not in kind.replace(" ", "") for kind in kinds
        )
        own = any(isinstance(part, ast.FunctionDef) and part.name == "__eq__" for part in node.body)
        fields = [ast.unparse(part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)]
        if compares and not own and any(re.search(r"\b(ndarray|Tensor|DataFrame|NDArray)\b", f) for f in fields):
            found.append(node.name)
    return found


def test_records_that_hold_arrays_compare_by_identity() -> None:
    found = {name_of(p): unsafe_to_compare(p.read_text(encoding="utf-8")) for p in SOURCES}
    assert not any(found.values()), f"write @dataclass(..., eq=False): {[n for n in found.items() if n[1]]}"


def test_what_compares_arrays_is_found() -> None:
    head = "from dataclasses import dataclass\nimport numpy as np\n"
    one = "@dataclass(frozen=True{})\nclass One:\n    at: dict[int, np.ndarray]\n"
    assert unsafe_to_compare(head + one.format("")) == ["One"]
    assert unsafe_to_compare(head + one.format(", eq=False")) == []
    assert unsafe_to_compare("class Two(NamedTuple):\n    curve: np.ndarray\n    d: float\n") == ["Two"]


RULED = {
    "a module": ('x = 1\n', "D100"), "a package": ("", "D104"),
    "a class": ('"""M."""\n\n\nclass Open:\n    x = 1\n', "D101"),
    "a function": ('"""M."""\n\n\ndef offered() -> None:\n    pass\n', "D103"),
    "a name": ('"""M."""\n\n__all__ = ["absent"]\n', "F822"),
    "a print": ('"""M."""\n\nprint("result")\n', "T201"),
    "a shell": ('"""M."""\n\nimport subprocess\n\nsubprocess.run("ls", shell=True)\n', "S602"),
    "another shell": ('"""M."""\n\nimport os\n\nos.system("ls")\n', "S605"),
}  # fmt: skip


@pytest.mark.parametrize("what", RULED)
def test_ruff_refuses_what_the_house_forbids(what: str) -> None:
    text, rule = RULED[what]
    name = "dubbing/made_up/__init__.py" if what == "a package" else "dubbing/made_up.py"
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "--stdin-filename", name, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and rule in done.stdout, done.stdout + done.stderr


PRIVATE = re.compile(
    r"""(?<!\bself)(?<!\bcls)(?<!\bos)(?<=[\w)\]])\._[a-zA-Z](?!eplace\()\w*  # of a module or an object
    |\bimport\s(?:[^\n"'(]*|\s*\([^)]*)(?<![\w.])_[a-zA-Z]\w*               # brought by name
    |attr\([^()]*(?:\([^()]*\))*[^()]*["'](?:[\w.]+\.)?_[a-zA-Z]\w*["']       # named for setattr, getattr or delattr
    |__defaults__|__dict__\[["']_[a-zA-Z]""",
    re.VERBOSE,
)


def test_no_test_reaches_for_a_private_name() -> None:
    """Within strings too: names for monkeypatch, and programs that are run in a process of their own."""
    for path in (ROOT / "tests").rglob("*.py"):
        found = [m[0] for m in PRIVATE.finditer(path.read_text(encoding="utf-8"))]
        assert path == Path(__file__) or not found, f"{name_of(path)}: make public, or test through what is: {found}"


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("from dubbing.stages.lipsync import lines_of, _kept", True),
        ("from dubbing import (\n    media,\n    _hidden,\n)", True),
        ('"import sys; from dubbing.cli.app import _code"', True),
        ('monkeypatch.setattr(preflight, "_dub", fails)', True),
        ('monkeypatch.setattr(made(1), "_dub", fails)', True),
        ('monkeypatch.setattr("dubbing.cli.app._read", fails)', True),
        ("'while one._starting: one.wait()'", True),
        ("pool()._idle = []", True),
        ("self._net = cls._net; __import__('a').__name__; row._replace(x=1)", False),
        ('monkeypatch.setattr(Job, "forget", fails)', False),
        ('(folder / "._of_a_mac"); import_module("a_b"); import a_b', False),
    ],
)
def test_what_is_private_is_known(text: str, private: bool) -> None:
    assert bool(PRIVATE.search(text)) is private


def test_text_files_hold_no_path_of_a_machine() -> None:
    kinds = (".py", ".md", ".yaml", ".toml", ".sh", "")
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        ours = parts[0] not in ("out", "demo-out", "build", ".git")  # .git: a file, in a worktree
        if not ours or any(p[0] == "." and p != ".ci" or "__" in p for p in parts[:-1]):
            continue
        if path.is_file() and path.suffix in kinds and path.stat().st_size < 1_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"(?<![\w.])/(work|root|home/\w+)/", text) or path == Path(__file__), name_of(path)


def test_readme_prints_the_tree() -> None:
    tree = README[README.index("## The tree") :]
    entries = [p for p in (ROOT / "dubbing").iterdir() if p.name != "__pycache__"]
    entries += [
        p
        for p in ROOT.iterdir()
        if p.name in ("configs", "manifests", "tests", "shipped_weights", "bench", "docs", "examples")
    ]
    for path in entries:
        if path.name[:2] != "__" and (path.is_file() or any(path.iterdir())):
            name = path.name + ("/" if path.is_dir() else "")
            assert re.search(rf"^\s*{re.escape(name)}\s+\S", tree, re.MULTILINE), f"README's tree lacks {name}"


def commands() -> list[tuple[str, click.Command]]:
    return sorted(dub.commands.items())


@pytest.mark.parametrize(("name", "command"), commands())
def test_a_command_is_documented_and_has_help(name: str, command: click.Command) -> None:
    assert f"`dub {name}" in README, f"README does not say what dub {name} does"
    assert command.help and command.short_help and "Examples:" in (command.epilog or "")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"dub {name} {parameter.opts}: no help"


def readme_lines() -> list[str]:
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [line.strip() for b in blocks for line in b.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("line", readme_lines())
def test_a_command_in_the_readme_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0].startswith("./"):
        script = ROOT / words[0]
        assert script.is_file() and script.stat().st_mode & 0o111
    elif words[0] == "dub":
        words = words[1 : words.index(">")] if ">" in words else words[1:]
        command = dub.commands[words[0]]
        command.make_context(words[0], words[1:])
    else:
        assert words[0] in ("git", "cd", "python3.11")


def test_commands_print_by_one_function() -> None:
    """It shows what a name would tell the terminal, instead of passing it on."""
    for path in (p for p in PACKAGE if p.parent.name == "cli" and p.name != "say.py"):
        assert not re.search(r"click\.s?echo\(|(?<![\w.])print\(", path.read_text(encoding="utf-8")), name_of(path)


HEAVY = "torch ray mediapipe librosa matplotlib scipy.interpolate scipy.signal scipy.stats".split()  # seconds each


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("dubbing.cli", [*HEAVY, *"av numpy cv2 pyarrow scipy pydantic yaml rich".split()]),  # --help
        ("dubbing.job", HEAVY),  # whatever reads a manifest
    ],
)
def test_commands_load_little(module: str, without: list[str]) -> None:
    code = f"import sys, {module}; print([m for m in {without} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["prior", "sync"])
def test_what_trains_the_shipped_weights_starts(name: str) -> None:
    command = [sys.executable, "-m", f"shipped_weights.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--media" in done.stdout, done.stderr


def test_the_command_line_may_call_no_new_module_unless_it_is_told_so() -> None:
    """Every module that is not forbidden to it is one of these."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (forbidden,) = (c["forbidden_modules"] for c in contracts if c.get("source_modules") == ["dubbing.cli"])
    there = {p.stem for p in (ROOT / "dubbing").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    open_ = there - {name.removeprefix("dubbing.") for name in forbidden}
    assert open_ == {"__init__", "__main__", "api", "cli", "config", "errors", "manifest", "remote"}


def test_every_pin_says_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    pins = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    for pin in pins:
        line = next(one for one in text.splitlines() if f'"{pin}"' in one)
        assert re.search(r'",?\s+# \w', line) or ">=" in pin and "<" not in pin, f"{pin} gives no reason"
    names = {re.split(r"[^\w-]", p)[0].lower() for p in pins}
    assert {"mediapipe", "ray", "torch", "av", "numpy"} <= names


def test_the_changelog_knows_this_version() -> None:
    from dubbing import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
