"""Listening with Whisper's published base model: languages of real speech, and a whole `dub listen`."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Dub
from films import plain_job

from dubbing import media
from dubbing.listening import tongues
from dubbing.listening.ear import Ear
from dubbing.media import ClipWriter

pytestmark = pytest.mark.long
HZ = 16_000


@pytest.fixture(scope="module")
def model(shared: Path) -> Path:
    path = shared / "models" / "whisper_base.pt"
    if not path.exists():
        pytest.skip("needs Whisper's base model in ../shared/models")
    return path


def test_a_wrong_language_is_found_in_all_six(model: Path, shared: Path, one_thread: None) -> None:
    hears = Ear(model, "cpu")
    spoken = {"de": "de", "fr": "fr", "ja": "ja", "ru": "ru", "zh": "zh", "en": "en_48k"}
    for language, name in spoken.items():
        wave = media.read_sound(shared / "media" / "speech" / f"{name}.wav")
        heard = hears.hear(wave)
        own = tongues.verdict(heard.chances, language, hears.languages)
        assert (own.verdict, own.language) == ("as tagged", language)
        for other in spoken.keys() - {language}:
            wrong = tongues.verdict(heard.chances, other, hears.languages)
            assert (wrong.verdict, wrong.language) == ("another", language) and wrong.probability > 0.5


def speech(folder: Path, name: str, wave: np.ndarray, before_s: float, length_s: float) -> None:
    """A sound of that length: silence, then some of a speech."""
    sound = np.zeros(int(length_s * HZ), np.float32)
    first = int(before_s * HZ)
    sound[first:] = wave[: len(sound) - first]
    with ClipWriter(folder / name, sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(sound[:, None])


def test_dub_listen_hears_language_and_words(
    model: Path, shared: Path, tmp_path: Path, dub: Dub, one_thread: None
) -> None:
    french = media.read_sound(shared / "media" / "speech" / "fr.wav")
    french = french[np.flatnonzero(np.abs(french) > 0.02)[0] :]  # from the first word on
    german = media.read_sound(shared / "media" / "speech" / "de.wav")
    job = plain_job(tmp_path, {"fr": "fr.flac", "de": "de.flac"}, 125)
    for name in ("fr.flac", "de.flac"):  # the same sound under two tags
        speech(tmp_path, name, french, 1.5, 5.0)
    speech(tmp_path, "anna.flac", german[2 * HZ :], 0.0, 5.0)
    manifest = json.loads(job.read_text("utf-8"))
    manifest["titles"][0]["dubs"][0]["stems"] = {"Anna": "anna.flac"}
    manifest["titles"][0]["dubs"][0]["lines"] = "fr.csv"
    lines = (
        "character,in,out,text\nBEN,1.5,4.5,En utilisant son navigateur comme d'habitude\nBEN,0.2,1,Bonjour Monsieur\n"
    )
    (tmp_path / "fr.csv").write_text(lines, "utf-8")
    job.write_text(json.dumps(manifest), "utf-8")
    asked = ("listen", job, "--out", tmp_path / "out", "--engine", "local", "--model", model, "--json")
    code, out, err = dub(*asked)
    assert code == 2 and "de.flac is French (fr), probability" in err and "not 'de' (probability 0.0" in err
    told = json.loads(out)
    assert any("stem of Anna" in note and "German (de)" in note for note in told["notes"])
    heard = {(s["whose"], s["character"]): s for s in told["sounds"]}
    assert heard["original", None]["verdict"] == "no speech"  # a tone
    assert "utilisant son navigateur" in heard["fr", None]["text"]
    differ = [(d["kind"], d["line"], d["at"]) for d in told["lines"]["reel/fr"] if d["character"] != "Anna"]
    assert ("missing", 1, "00:00:00:05") in differ and not any(line == 2 for _, line, _ in differ)
    rows = pq.read_table(tmp_path / "out" / "reel" / "fr" / "words.parquet").to_pylist()
    words = [r for r in rows if r["character"] is None]
    assert words[0]["word"] == "En" and abs(words[0]["start_s"] - 1.5) < 0.2
    assert {r["character"] for r in rows} == {None, "Anna"}
    assert "<v Anna>" in (tmp_path / "out" / "reel" / "fr" / "words.vtt").read_text("utf-8")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("result.json")}
    assert len(before) == 4
    assert dub(*asked)[1] == out  # heard once
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("result.json")} == before
