"""The type check of the review page: it sees a misspelt word, and its types are what server and templates say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deno import find_deno_bin
from films import Finished
from pages import served

REVIEW = Path(__file__).resolve().parents[1] / "dubbing" / "review"
TYPES = (REVIEW / "types.d.ts").read_text(encoding="utf-8")


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the step `javascript` of ./check says of the page in a folder."""
    return subprocess.run(
        [find_deno_bin(), "check", "--quiet", "--no-lock", "--no-remote", "--config", str(folder / "deno.json"),
         str(folder / "static")],
        capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page, its types and the check's settings, to be broken."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(REVIEW / "static", folder / "static")
    for name in ("types.d.ts", "deno.json"):
        shutil.copy(REVIEW / name, folder)
    return folder


WRONG = {
    "row.js": ('import { complaint } from "./words.js";\n'
               "export const f = (/** @type {Row} */ r) => complaint(r) + r.badnes;",
               "'badnes' does not exist on type 'Row'"),
    "answer.js": ('import { get } from "./api.js";\nexport const f = async () => (await get("/api/info")).threshold;',
                  "'threshold' does not exist on type 'Info'"),
    "path.js": ('import { get } from "./api.js";\nexport const f = async () => (await get("/api/infos")).out;',
                "'out' does not exist on type 'never'"),
    "property.js": ('import { $ } from "./dom.js";\n$("#search").vaule;',
                    "'vaule' does not exist on type 'HTMLInputElement'"),
    "id.js": ('import { $ } from "./dom.js";\n$("#serch").value = "";', "'value' does not exist on type 'never'"),
    "method.js": ('import { Player } from "./player.js";\n/** @param {Player} p */\n'
                  "export const f = (p) => p.pauze();", "'pauze' does not exist on type 'Player'"),
    "parameter.js": ("export const f = (row) => row.severity;", "'row' implicitly has an 'any' type"),
}  # fmt: skip


def test_misspelt_words_fail(page: Path) -> None:
    """All at once, and each is said with its file; nothing else is, so that the page as it is passes."""
    for name, (text, _) in WRONG.items():
        (page / "static" / name).write_text(text, encoding="utf-8")
    try:
        done = checked(page)
    finally:
        for name in WRONG:
            (page / "static" / name).unlink()
    assert done.returncode != 0
    said = re.findall(r"TS\d+ \[ERROR\]: (.*?)\n.*?/([\w.]+):\d+:\d+", done.stderr, re.S)
    for name, (_, wanted) in WRONG.items():
        assert any(wanted in words and file == name for words, file in said), (name, done.stderr)
    assert len(said) == len(WRONG), done.stderr


def fields(name: str) -> tuple[set[str], set[str]]:
    """Properties of an interface in types.d.ts: (all, those that must be there)."""
    extended, body = re.search(rf"^interface {name} (?:extends (\w+) )?{{\n(.*?)^}}", TYPES, re.M | re.S).groups()  # type: ignore[union-attr]
    found = re.findall(r"^  (\w+)(\??):", body, re.M)
    every, needed = {n for n, _ in found}, {n for n, mark in found if not mark}
    if extended:
        more, must = fields(extended)
        every, needed = every | more, needed | must
    return every, needed


@pytest.fixture(scope="module")
def web(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A session with the review server on a finished run with a comment and a verdict."""
    out = shutil.copytree(finished.out, tmp_path_factory.mktemp("typed") / "out")
    with served(out) as url:
        base = url.split("/?")[0]
        with httpx.Client(base_url=base, headers={"origin": base}, timeout=60, trust_env=False) as client:
            client.get(url)
            for kind, about in (("comment", {"text": "look", "severity": "issue"}), ("approve", {})):
                said = {"key": ["film", "hi", "shot_0002"], "kind": kind, "reviewer": "Ana", **about}
                assert client.post("/api/decide", json=said).status_code == 200
            yield client


def one_of(web: httpx.Client, name: str) -> dict[str, Any]:
    """What the server sends of a kind."""

    def get(path: str) -> Any:
        answer = web.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    of = "film/hi/shot_0002"
    if name == "Row":
        table = get("/api/shots")
        return dict(zip(table["columns"], table["rows"][0], strict=True))
    if name in ("Info", "Limits", "GeneratorInfo", "DubInfo"):
        info = get("/api/info")
        return {"Info": info, "Limits": info["thresholds"], "GeneratorInfo": info["generators"][0],
                "DubInfo": info["dubs"][0]}[name]  # fmt: skip
    if name in ("Table", "Found"):
        return get("/api/shots" if name == "Table" else "/api/changes?since=0")
    if name in ("ProxyFacts", "Layout"):
        proxy = web.post(f"/api/proxy/{of}", json={}).json()
        return proxy["layout"] if name == "Layout" else proxy
    if name in ("Curves", "FaceCurves", "Offset", "Wave"):
        curves = get(f"/api/curves/{of}")
        face = curves["faces"][0]
        return {"Curves": curves, "FaceCurves": face, "Offset": face["offset"], "Wave": curves["waveform"]["dub"]}[name]
    if name in ("Overlays", "Face"):
        overlays = get(f"/api/overlays/{of}")
        return overlays["faces"][0] if name == "Face" else overlays
    facts = get(f"/api/shot/{of}")
    standing = facts["standing"]
    take = facts["takes"][0]
    return {"ShotFacts": facts, "Standing": standing, "Take": take, "FaceScores": take["faces"][0],
            "Decision": standing["comments"][0]}[name]  # fmt: skip


SENT = ["Row", "Info", "Limits", "GeneratorInfo", "DubInfo", "Table", "Found", "ProxyFacts", "Layout", "Curves",
        "FaceCurves", "Offset", "Wave", "Overlays", "Face", "ShotFacts", "Standing", "Take", "FaceScores",
        "Decision"]  # fmt: skip


@pytest.mark.parametrize("name", SENT)
def test_the_types_are_what_the_server_sends(web: httpx.Client, name: str) -> None:
    every, needed = fields(name)
    sent = set(one_of(web, name))
    assert sent <= every, f"types.d.ts lacks {sent - every} of {name}"
    assert needed <= sent, f"the server sends no {needed - sent} of {name}"


def test_the_ids_are_the_templates(page: Path) -> None:
    known = dict(re.findall(r'^  "#([\w-]+)": Tags\["(\w+)"\];', TYPES, re.M))
    found: dict[str, str] = {}
    for name in ("base", "queue", "shot", "dashboard", "languages"):
        text = (REVIEW / "templates" / f"{name}.html").read_text(encoding="utf-8")
        found |= {i: tag for tag, i in re.findall(r'<(\w+)\b[^>]*?\sid="([^"]+)"', text)}
    assert known == found


def test_the_check_says_nothing_is_left_out() -> None:
    """No file of the page opts out, and the settings are the strict ones."""
    for path in (REVIEW / "static").glob("*.js"):
        assert not re.search(r"@ts-(nocheck|ignore|expect-error)", path.read_text(encoding="utf-8")), path.name
    options = json.loads((REVIEW / "deno.json").read_text(encoding="utf-8"))["compilerOptions"]
    assert options["checkJs"] and options["strict"] and "noImplicitAny" not in options
