"""The site: it is built from what is here, asks nothing of other hosts, and its reference has every public name."""

from __future__ import annotations

import ast
import html
import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from dubbing import generators

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
LOADING = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A strict build of the site. Only to read."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module that mkdocs.yml names under `hooks`."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / ".ci" / "site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loaded(HTMLParser):
    """What a page loads, and all ids in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loads |= {value for key in (LOADING.get(tag), "srcset") if key and (value := named.get(key))}
        if value := named.get("id"):
            self.ids.add(value)


def foreign(address: str) -> bool:
    return bool(re.match(r"(https?:)?//", address.strip()))


def test_it_asks_nothing_of_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assert not [a for a in Loaded(page).loads if foreign(a)], page.name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        asked = re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s;]+)", text)
        assert not [a for a in asked if foreign(a)], sheet.name


def test_everything_that_a_page_loads_is_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in Loaded(page).loads if page.name != "404.html" else ():
            if not address.startswith("data:"):
                assert (page.parent / address.partition("?")[0]).exists(), f"{page.name}: {address}"


def test_readme_contributing_and_changelog_are_pages(site: Path) -> None:
    for name, sentence in (
        ("index", "Re-renders the actors"), ("contributing", "Where does it go?"), ("changelog", "Newest first"),
        ("architecture", "Glossary"),
    ):  # fmt: skip
        assert sentence in (site / f"{name}.html").read_text(encoding="utf-8")


def test_links_between_files_are_links_between_pages(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="architecture.html"' in index and 'href="contributing.html"' in index
    assert 'src="still.jpg"' in index
    assert 'href="index.html"' in (site / "architecture.html").read_text(encoding="utf-8")
    cluster = (site / "cluster.html").read_text(encoding="utf-8")
    assert "<code>docker/Dockerfile</code>" in cluster and "../docker" not in cluster, "only its words are left"


def test_the_reference_has_every_public_name(site: Path, hooks: ModuleType) -> None:
    for page, (_, modules) in hooks.REFERENCE.items():
        ids = Loaded(site / page.replace(".md", ".html")).ids
        for module in modules:
            path = ROOT.joinpath(*module.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            missing = {n for n in offered(path) if not {f"{module}.{n}", f"{module}.{n}.{n}"} & ids}
            assert not missing, f"{page} lacks {sorted(missing)} of {module}"


def test_the_settings_of_every_generator_are_a_page(site: Path) -> None:
    def words(text: str) -> str:
        return " ".join(re.findall(r"[\w.]+", html.unescape(re.sub(r"<[^>]+>", " ", text))))

    shown = words((site / "reference" / "settings.html").read_text(encoding="utf-8"))
    schemas, _ = generators.schemas()
    for name in ("rewrite", "wav2lip", "spt_wav2lip", "lipgan", "speech_gan", "musetalk", "latentsync", "sadtalker"):
        for setting, schema in schemas[name]["properties"].items():
            assert setting in shown and words(schema["description"]) in shown, (name, setting)
    assert "opening 1.0 a number at least 0.2 at most 2.0 how far the mouth opens" in shown
    assert "alignment inference inference training sadtalker where a frame" in shown
    assert "size null a whole number at least 32 at most 1024 or null side of" in shown


def offered(path: Path) -> set[str]:
    """What a module offers, but for constants without a docstring, which the reference leaves out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    plain: set[str] = set()
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        for leaf in (leaf for t in targets if isinstance(t, ast.expr) for leaf in ast.walk(t)):
            if isinstance(leaf, ast.Name):
                if leaf.id == "__all__":
                    names = set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
                elif not said:
                    plain.add(leaf.id)
    imported = {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    return names - plain - {n for n in imported if n.isupper()}


def test_every_page_of_docs_is_in_the_navigation(hooks: ModuleType) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text[text.index("nav:") : text.index("validation:")]))
    there = {p.name for p in (ROOT / "docs").glob("*.md")}
    assert listed == there | set(hooks.PAGES.values()) | set(hooks.REFERENCE) | {hooks.SETTINGS}


def test_the_hooks_before_a_commit_are_local() -> None:
    said = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [r["repo"] for r in said["repos"]] == ["local"]
    check = (ROOT / "check").read_text(encoding="utf-8")
    for hook in said["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/") and f'"$bin/{Path(tool).name}"' in check
        assert f"begin {hook['id']} " in check and hook["language"] == "system"


@pytest.mark.parametrize(("link", "refused"), [("../check", False), ("nowhere.md", True), ("../nowhere.yaml", True)])
def test_what_check_runs_refuses_a_link_to_what_is_nowhere(tmp_path: Path, link: str, refused: bool) -> None:
    (step,) = re.findall(r'begin docs "\$bin/mkdocs" (.*)', (ROOT / "check").read_text(encoding="utf-8"))
    config = {"site_name": "one", "site_dir": "site", "plugins": [], "hooks": [str(ROOT / ".ci" / "site.py")]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "check"):
        (tmp_path / name).write_text("Nothing.\n", encoding="utf-8")
    (tmp_path / "docs" / "one.md").write_text(f"See [that]({link}).\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", *step.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode != 0) == refused, done.stdout + done.stderr
    assert not refused or f"contains a link '{link}'" in done.stderr
