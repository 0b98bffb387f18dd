"""Hooks of mkdocs.yml: what of the site does not lie in docs/.

README, CONTRIBUTING and CHANGELOG become pages, and the reference is made from docstrings, page by page as REFERENCE
says; the settings of generators come from the generators themselves. A link into the repository leads to the page that
shows the file; where the site does not show it, only the link's words stay. A link to what is nowhere is left, so that
the strict build refuses it.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
from collections.abc import Mapping
from typing import Any

from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
REFERENCE = {
    "reference/dubbing.md": ("Python API", ["dubbing"]),
    "reference/stages.md": (
        "Stages, tasks, results", ["dubbing.stage", "dubbing.task", "dubbing.artifact", "dubbing.pipeline"],
    ),
    "reference/plugins.md": (
        "Generators, experts, metrics",
        ["dubbing.generators", "dubbing.experts", "dubbing.experts.lse", "dubbing.metrics", "dubbing.plugins",
         "dubbing.testing"],
    ),
    "reference/media.md": ("Media", ["dubbing.media"]),
    "reference/records.md": ("Records, time, errors", ["dubbing.records", "dubbing.clock", "dubbing.errors"]),
}  # fmt: skip
SETTINGS = "reference/settings.md"
# Functions that are called like the module they come from, which hides them from a reader of the source.
HIDDEN = {"dubbing.media": ("delivery", "excerpt", "probe", "read")}
STYLE = """
.doc-heading { font-size: 1.1rem; margin-top: 2rem; }
h2.doc-heading { font-size: 1.5rem; border-bottom: 1px solid #ccc; }
.doc-contents .doc-contents { margin-left: 1.2rem; }
.headerlink { opacity: 0; margin-left: 0.4em; }
:hover > .headerlink { opacity: 0.6; }
table { display: block; overflow-x: auto; margin-bottom: 1rem; }
th, td { padding: 0.25rem 0.6rem; border: 1px solid #ddd; vertical-align: top; }
[role=main] img { max-width: 100%; }
"""


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that do not lie in docs/, and the style of code and reference."""
    root = os.path.dirname(config.config_file_path)
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=os.path.join(root, source)))
    for page, (title, modules) in REFERENCE.items():
        blocks = [f"::: {module}" for module in modules]
        for module, name in ((m, n) for m in modules for n in HIDDEN.get(m, ())):
            blocks.append(f"::: {module}.{name}.{name}\n    options: {{heading: {module}.{name}, heading_level: 3}}")
        files.append(File.generated(config, page, content="\n\n".join([f"# {title}", *blocks]) + "\n"))
    sys.path.insert(0, root)  # of this tree, also where another one is installed
    from dubbing.generators import find, schemas

    ours = {n: s for n, s in schemas()[0].items() if find(n).__module__.startswith("dubbing.")}
    files.append(File.generated(config, SETTINGS, content=settings_page(ours)))
    style = HtmlFormatter(style="default").get_style_defs(".highlight") + STYLE
    files.append(File.generated(config, "css/site.css", content=style))
    return files


def settings_page(schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """Every setting of every generator with its default and what it may be. schemas: JSON Schema, by generator."""
    parts = [
        "# Settings of generators",
        "What a manifest may say under `generator: {name: NAME, SETTING: VALUE, ...}`, and `dub rerun --generator` "
        "too. This page is made from the generators' own declarations; `dub schema` says the same for machines.",
    ]
    for name, schema in schemas.items():
        parts.append(f"## {name}")
        lines = ["| setting | default | may be | what it does |", "|---|---|---|---|"]
        for setting, one in schema["properties"].items():
            cells = (f"`{setting}`", f"`{yaml_of(one.get('default'))}`", allowed(one), one["description"])
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def yaml_of(value: Any) -> str:
    """A default as a manifest writes it."""
    return json.dumps(value) if value in (None, "") or isinstance(value, bool) else str(value)


def allowed(schema: Mapping[str, Any]) -> str:
    """What a setting may be, from its JSON Schema: `a whole number, at least 60`."""
    if "anyOf" in schema:
        return " or ".join(allowed(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    words = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
    kind = words.get(schema.get("type", ""), "`null`")
    bounds = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "over", "exclusiveMaximum": "under"}
    return ", ".join([kind, *(f"{word} {schema[key]}" for key, word in bounds.items() if key in schema)])


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links into the repository into links of the site."""
    root = os.path.dirname(config.config_file_path)
    at = page.file.src_uri
    folder = dict.fromkeys(PAGES.values(), "").get(at, posixpath.join("docs", posixpath.dirname(at)))

    def turned(found: re.Match[str]) -> str:
        mark, words, target = found["mark"], found["words"], found["target"]
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return found[0]
        there = posixpath.normpath(posixpath.join(folder, path))
        shown = PAGES.get(there, there.removeprefix("docs/") if there.startswith("docs/") else None)
        if shown and files.get_file_from_path(shown):
            return f"{mark}[{words}]({posixpath.relpath(shown, posixpath.dirname(at) or '.')}{hash_}{anchor})"
        return words if os.path.exists(os.path.join(root, there)) else found[0]

    return re.sub(r"(?P<mark>!?)\[(?P<words>[^\[\]]*)\]\((?P<target>[^()\s]+)\)", turned, markdown)
