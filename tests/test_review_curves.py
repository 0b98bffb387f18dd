"""Curves and overlays of a shot, on a run of the project's own short film and on made-up results."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import Finished

from dubbing import media
from dubbing.artifacts.sound import load_wave
from dubbing.artifacts.tracks import load_tracks
from dubbing.clock import Timeline
from dubbing.errors import InputError
from dubbing.experts.lse import confidence, lse
from dubbing.face import canonical, mouth_measures
from dubbing.review.curves import curves
from dubbing.review.library import Library, Shown
from dubbing.review.overlays import overlays
from dubbing.review.proxy import Proxies
from dubbing.review.report import report
from dubbing.stages.sync import middle_frames
from dubbing.words import Word, write_words


@pytest.fixture(scope="module")
def library(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """12 frames without a face, then 72 of a speaking one."""
    return Library(shutil.copytree(finished.out, tmp_path_factory.mktemp("curves") / "out"))


@pytest.fixture
def shown(library: Library) -> Shown:
    return library.find("film", "hi", "shot_0002")


def test_openings_confidence_and_offset_are_the_takes_own(library: Library, shown: Shown) -> None:
    found = curves(library, shown, shown.takes[0].id)
    assert json.loads(json.dumps(found, allow_nan=False)) == found == curves(library, shown)
    assert found["frames"] == [0, 84]
    (face,) = found["faces"]
    opening = face["opening"]
    assert opening["frames"] == list(range(12, 84))
    assert {len(opening[k]) for k in ("wanted", "seen", "was")} == {72}
    assert np.corrcoef(*[[v for v, w in zip(opening[k], opening["wanted"], strict=True) if w is not None]
                         for k in ("wanted", "seen")])[0, 1] > 0.8  # fmt: skip
    sure = face["confidence"]
    assert len(sure["frames"]) == len(sure["dub"]) == len(sure["source"])
    counted = [v for v in sure["dub"] if v is not None]
    assert len(counted) == shown.row["lse_windows"]
    assert sure["frames"][0] == 14 and sure["frames"] == sorted(sure["frames"]) and sure["frames"][-1] <= 81
    scores = shown.takes[0].scores
    for name, whose in (("distance", ""), ("source_distance", "source_")):
        curve = face["offset"][name]
        assert face["offset"]["shifts"][int(np.argmin(curve))] == scores[f"{whose}lse_offset_frames"]
        assert min(curve) == pytest.approx(scores[f"{whose}lse_d"], abs=1e-3)
        assert np.median(curve) - min(curve) == pytest.approx(scores[f"{whose}lse_c"], abs=1e-3)
    middle = float(np.mean(counted))  # windows' own confidences gather around the stretch's
    assert middle == pytest.approx(scores["lse_c"], abs=0.5)


def test_words_that_were_heard_stand_with_their_shot(library: Library, finished: Finished, tmp_path: Path) -> None:
    assert curves(library, library.find("film", "hi", "shot_0002"))["words"] == {"source": [], "dub": []}
    assert {r["said"] for r in library.rows()} == {None}
    out = shutil.copytree(finished.out, tmp_path / "out")
    heard = Library(out)
    before = heard.rows()[0], heard.tables_stamp()
    line = heard.find("film", "hi", "shot_0002").line
    cut_s = float(line.time(12))
    words = [Word("पहले", cut_s - 0.3, cut_s - 0.1, 0.5, "hi"), Word("बाद", cut_s + 0.4, cut_s + 0.7, 0.5, "hi", True)]
    write_words(heard.store, out / "film" / "hi", "film", "hi", words)
    write_words(
        heard.store, out / "film" / "analysis", "film", None, [Word("zebra", cut_s + 1, cut_s + 1.2, 0.5, "en")]
    )
    assert before[0]["said"] is None and heard.tables_stamp() != before[1]
    rows = {(r["language"], r["shot"]): (r["said"], r["source_said"]) for r in heard.rows()}
    assert rows["hi", "shot_0001"] == ("पहले", None) and rows["hi", "shot_0002"] == ("बाद", "zebra")
    assert rows["ta", "shot_0002"] == (None, "zebra")
    shown = heard.find("film", "hi", "shot_0002")
    first_s = float(line.time(curves(heard, shown)["frames"][0]))
    found = curves(heard, shown)["words"]
    assert [w[0] for w in found["dub"]] == ["पहले", "बाद"]  # the handles before the cut are on the page too
    assert found["source"] == [["zebra", round(cut_s + 1 - first_s, 3), round(cut_s + 1.2 - first_s, 3), None]]
    page = report(heard)
    assert '<q lang="hi">बाद</q>' in page and "<q>zebra</q>" in page


def test_confidence_by_window_is_lse_c_before_its_filter() -> None:
    rng = np.random.default_rng(0)
    video = rng.normal(size=(60, 8)).astype(np.float32)
    sound = np.concatenate([video[:40], rng.normal(size=(20, 8))]).astype(np.float32)
    sure = confidence(lse(video, sound))
    assert sure[10:30].min() > 2 and sure[45:55].max() < 1


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60)])
def test_a_windows_middle_frame_is_the_one_shown_then(rate: Fraction) -> None:
    times_s = np.arange(100) / float(rate)
    middles = middle_frames(times_s, 20)
    for window, frame in enumerate(middles):
        assert times_s[frame] <= (window + 2.5) / 25 + 1e-9 < times_s[frame + 1] + 1e-9


def test_results_of_an_older_version_are_drawn_without_what_they_lack(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(library.out, out)
    for file in out.rglob("score-*/result.json"):  # one without faces has neither curves nor another's numbers
        file.write_text(file.read_text("utf-8").replace("dub.scores.2", "dub.scores.1"), "utf-8")
    old = Library(out)
    shown = old.find("film", "hi", "shot_0002")
    assert shown.takes[0].scores == {} and shown.row["lse_d"] > 0, "its table is still read"
    (face,) = curves(old, shown)["faces"]
    assert face["confidence"] == {"frames": [], "dub": None, "source": None}
    assert face["offset"]["distance"] is face["offset"]["source_distance"] is None
    assert len(face["opening"]["was"]) == 72 and set(face["opening"]["seen"]) == {None}


def test_both_sounds_are_drawn_as_they_are_heard(library: Library, shown: Shown) -> None:
    found = curves(library, shown)
    line: Timeline = shown.line
    assert shown.step.source_sound is not None
    for side, folder in (("source", shown.step.source_sound), ("dub", shown.step.sound)):
        drawn = found["waveform"][side]
        wave = load_wave(folder)
        assert drawn["start_s"] == 0.0 and len(drawn["low"]) == len(drawn["high"]) <= 2000
        assert len(drawn["low"]) * drawn["step_s"] == pytest.approx(float(line.duration), abs=drawn["step_s"])
        loudest = int(np.abs(wave).argmax()) / 16_000
        at = int(loudest / drawn["step_s"])
        assert max(-drawn["low"][at], drawn["high"][at]) == pytest.approx(float(np.abs(wave).max()), abs=1e-3)
    heard = load_wave(shown.step.sound)
    for a, b in found["silence"]:
        assert 0 <= a < b <= 84
    quiet = np.concatenate([heard[line.sample(a, 16_000) : line.sample(b, 16_000)] for a, b in found["silence"]])
    assert (quiet**2).mean() < 0.02 * (heard**2).mean()


def test_a_shot_that_was_left_alone_has_its_sounds_and_no_more(library: Library, shown: Shown) -> None:
    found = curves(library, library.find("film", "hi", "shot_0001"))
    assert found["faces"] == [] and found["waveform"]["dub"]["high"]
    source = curves(library, shown, "source")["faces"][0]["opening"]  # no take: the original's mouth alone
    track = load_tracks(shown.step.faces.folder)[0]
    assert source["was"] == pytest.approx(mouth_measures(canonical(track.mesh_NP3)[0])["opening"], abs=1e-4)
    assert set(source["wanted"]) == set(source["seen"]) == {None}
    with pytest.raises(InputError, match="has no take"):
        curves(library, shown, "0123456789ab")


def test_overlays_are_the_tracks_and_the_mattes(library: Library, shown: Shown) -> None:
    take = shown.takes[0]
    found = overlays(library, shown, take.id)
    assert json.loads(json.dumps(found)) == found == overlays(library, shown)  # the second from what was kept
    assert found["frames"] == [12, 84] and found["matte_step"] == 1 and len(json.dumps(found)) < 300_000
    track = load_tracks(shown.step.faces.folder)[0]
    (face,) = found["faces"]
    assert face["track"] == track.id and face["unseen"] == track.frames_N[~track.seen_N].tolist()
    x, y, w, h = face["boxes"]["40"]
    mesh = track.mesh_NP3[40 - track.start_frame]
    assert [x, y, x + w, y + h] == pytest.approx([*mesh[:, :2].min(0), *mesh[:, :2].max(0)], abs=1.01)
    patches = {p.frame: p for p in media.read_patches(take.folder / "face_1")}
    assert {f for a, b in face["rendered"] for f in range(a, b)} == set(patches)
    assert {int(f) for f in found["mattes"]} == set(patches)
    for frame in sorted(patches)[::9]:
        drawn = np.zeros((270, 480), np.uint8)
        for ring in found["mattes"][str(frame)]:
            cv2.fillPoly(drawn, [np.array(ring).reshape(-1, 2)], 1)
        true = np.zeros_like(drawn)
        patch = patches[frame]
        rows, cols = patch.matte_HW.shape
        true[patch.y : patch.y + rows, patch.x : patch.x + cols] = patch.matte_HW >= 128
        assert (drawn & true).sum() / (drawn | true).sum() > 0.9
    assert overlays(library, shown, "source")["mattes"] == {}
    assert overlays(library, library.find("film", "hi", "shot_0001"))["faces"] == []


def test_a_real_take_is_seen_on_side_b_only_and_the_rest_is_black(
    library: Library, shown: Shown, tmp_path: Path
) -> None:
    proxies = Proxies(library, tmp_path)
    still = cv2.imdecode(np.frombuffer(proxies.still(shown, frame=40), np.uint8), cv2.IMREAD_COLOR).astype(int)
    said = proxies.wait(shown)
    proxies.close()
    assert said["state"] == "ready" and said["size"] == [480, 270] and said["layout"]["mouth_scale"] == 1.0
    a, b, diff = (
        still[y : y + h, x : x + w] for x, y, w, h in (said["layout"]["panes"][n] for n in ("full_a", "full_b", "diff"))
    )
    patch = next(media.read_patches(shown.takes[0].folder / "face_1", 40, 41))
    rows, cols = patch.matte_HW.shape
    inside = np.zeros((270, 480), np.uint8)
    inside[patch.y : patch.y + rows, patch.x : patch.x + cols] = patch.matte_HW > 0
    far = cv2.dilate(inside, np.ones((17, 17))) == 0
    assert np.abs(a - b)[inside > 0].mean() > 1
    assert diff[far].mean() < 0.5 and diff[inside > 0].mean() > 2


def test_a_shot_without_a_face_has_no_mouth_panes(library: Library, tmp_path: Path) -> None:
    proxies = Proxies(library, tmp_path)
    said = proxies.wait(library.find("film", "hi", "shot_0001"))
    proxies.close()
    assert said["state"] == "ready" and set(said["layout"]["panes"]) == {"full_a", "full_b", "diff"}
    assert said["mouth_boxes"] is said["layout"]["mouth_scale"] is None and said["mouths"] == said["faces"] == []
    assert json.loads(json.dumps(said)) == said
