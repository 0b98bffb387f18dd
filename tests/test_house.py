"""The house rules that no other tool checks: lengths, docstrings, documentation, pins, light imports."""

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
SOURCES = sorted(p for d in ("dubbing", "tests", "shipped_weights", "bench") for p in (ROOT / d).rglob("*.py"))
PACKAGE = [p for p in SOURCES if p.is_relative_to(ROOT / "dubbing")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WALL = 600


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= WALL, f"{name_of(path)} is over {WALL} lines: split it"
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.name != "__main__.py"], ids=name_of)
def test_a_module_names_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined: set[str] = set()
    offered: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {(a.asname or a.name).split(".")[0] for a in node.names}
        for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]:
            for leaf in ast.walk(target) if isinstance(target, ast.expr) else ():
                if isinstance(leaf, ast.Name):
                    defined.add(leaf.id)
                    if leaf.id == "__all__":
                        offered = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    own = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"}
    assert offered or not own, f"{name_of(path)} has no __all__"
    assert set(offered) <= defined, f"{name_of(path)} offers what it does not define"
    undocumented = [
        n.name
        for n in tree.body
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in offered and not ast.get_docstring(n)
    ]
    assert not undocumented, f"{name_of(path)}: no docstring at {undocumented}"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_no_shell_and_no_print(path: Path) -> None:
    calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    for call in calls:
        assert not any(k.arg == "shell" for k in call.keywords), f"{name_of(path)} asks for a shell"
        called = ast.unparse(call.func)
        assert called not in ("os.system", "os.popen"), f"{name_of(path)} asks for a shell"
        if called == "print":
            assert any(k.arg == "file" for k in call.keywords), f"{name_of(path)} prints to stdout"


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
        p for p in ROOT.iterdir() if p.name in ("configs", "manifests", "tests", "shipped_weights", "bench", "docs")
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


def test_help_is_light() -> None:
    heavy = ["torch", "ray", "mediapipe", "av", "numpy", "cv2", "pyarrow", "scipy", "pydantic", "yaml", "rich"]
    code = f"import sys, dubbing.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
