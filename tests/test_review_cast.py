"""The cast on the review page: everybody with a picture, and names that stand in every answer at once."""

import shutil
from pathlib import Path

import httpx
import pytest
from films import Finished
from pages import served

pytestmark = pytest.mark.xdist_group("review")


def test_people_are_shown_and_named(finished: Finished, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    with served(out) as url, httpx.Client(base_url=(base := url.split("/?")[0]), headers={"origin": base}) as web:
        web.get(url)
        page = web.get("/cast").text
        assert 'src="/api/portrait/film/1.jpg' in page and "Person 1" in page and "Person 2" not in page
        picture = web.get("/api/portrait/film/1.jpg")
        assert picture.headers["content-type"] == "image/jpeg" and len(picture.content) > 3000
        said = {"title": "film", "number": 1, "track": "shot_0002/face_1", "name": "ANNA", "reviewer": "Ana"}
        assert web.post("/api/name", json=said).json() == {"note": None}
        told = web.get("/api/shots").json()
        rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
        assert {r["character"] for r in rows if r["shot"] == "shot_0002"} == {"ANNA"}
        assert web.get("/api/shot/film/hi/shot_0002").json()["names"] == {"shot_0002/face_1": "ANNA"}
        assert 'value="ANNA"' in web.get("/cast").text
        for wrong, why in (
            ({"track": "shot_0001/face_1"}, "load the page again"), ({"number": 9}, "There is no person 9"),
            ({"title": "../film"}, "There is no title"), ({"name": "A\nB"}, "letters on one line"),
        ):  # fmt: skip
            answer = web.post("/api/name", json=said | wrong)
            assert answer.status_code == 422 and why in answer.json()["error"], wrong
