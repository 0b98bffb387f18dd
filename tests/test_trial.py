"""A trial of a few seconds: where they are taken, what they cost, and what is said when it is refused."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import HZ, plain_job

from dubbing import config, estimate, manifest, media
from dubbing.errors import MediaError
from dubbing.estimate.costs import Rates
from dubbing.job import Job
from dubbing.media import probe, read, timeline

trials = sys.modules["dubbing.estimate.trial"]  # `estimate.trial` is its function
FRAMES = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two plain shots of 50 frames, and two dubs."""
    return plain_job(tmp_path_factory.mktemp("plan"), {"fr": "fr.flac", "de": "de.flac"}, FRAMES).parent


def test_a_trial_measures_every_stage_that_it_reaches(folder: Path) -> None:
    seen: list[str] = []
    tried = estimate.trial(manifest.load(folder / "job.yaml"), config.load(), lambda e: seen.append(e.stage))
    assert tried.trial and len(tried.titles) == 3 and {"shots", "faces", "master"} <= set(seen)
    assert all(25 <= t["shots"].frames <= 80 for t in tried.titles)
    found = Rates.pooled([tried], "rewrite", "lips")
    assert found.trial and {"shots", "faces", "source_audio", "audio", "master"} <= set(found.stages)
    assert "lipsync" not in found.stages, "no face, so nothing can be said of lips"


def test_an_excerpt_is_the_film_from_a_key_frame_on(folder: Path, tmp_path: Path) -> None:
    begins = media.excerpt(folder / "film.mp4", tmp_path / "x.mp4", Fraction(5, 2), Fraction(1))
    first = int(begins * 25)
    assert begins * 25 == first and 37 < first <= 62, "key frames come about every second"
    was, now = timeline(folder / "film.mp4"), timeline(tmp_path / "x.mp4")
    assert 88 <= first + len(now) <= 93 and len(set(np.diff(now.pts))) == 1, "to a second after, no hole at the end"
    source = list(read(folder / "film.mp4", was, first, first + len(now)))
    for a, b in zip(source, read(tmp_path / "x.mp4", now), strict=True):
        assert (a.bgr() == b.bgr()).all()
    assert probe(tmp_path / "x.mp4").audio


def test_a_sound_excerpt_is_sample_exact_and_padded(folder: Path, tmp_path: Path) -> None:
    whole = media.read_sound(folder / "fr.flac", rate_hz=HZ)
    media.sound_excerpt(folder / "fr.flac", tmp_path / "x.flac", Fraction(3), Fraction(2))
    part = media.read_sound(tmp_path / "x.flac", rate_hz=HZ)
    assert len(part) == 2 * HZ and (part[:HZ] == whole[3 * HZ :]).all() and not part[HZ:].any()


@pytest.mark.parametrize(
    "name", ["containers/rot.mp4", "containers/mkv.mkv", "containers/nodur_webm.webm", "grid/*.mpg"]
)
def test_an_excerpt_of_any_container_is_whole_and_as_upright(shared: Path, tmp_path: Path, name: str) -> None:
    film = sorted((shared / "media").glob(name))[0]
    part = tmp_path / film.name
    media.excerpt(film, part, Fraction(1), Fraction(1))
    was, now = probe(film).video, probe(part).video
    assert was and now and (was.rotation_deg, was.codec) == (now.rotation_deg, now.codec)
    assert 10 <= len(timeline(part)) <= 90


def test_an_excerpt_of_no_film_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no video stream"):
        media.excerpt(folder / "fr.flac", tmp_path / "x.flac", Fraction(0), Fraction(1))


def test_a_trial_goes_where_the_dub_speaks_and_names_the_manifests_files(
    folder: Path, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dub of a minute that is silent but for a few seconds near its end."""
    voice = media.read_sound(shared / "media" / "reel.fr.flac", HZ)[: 12 * HZ]
    wave = np.zeros((60 * HZ, 1), np.float32)
    wave[44 * HZ : 56 * HZ, 0] = voice
    with media.ClipWriter(tmp_path / "dub.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(wave)
    starts = trials.spoken(tmp_path / "dub.flac", Fraction(60))
    assert len(starts) == 3 and all(42 < float(s) < 56 for s in starts)
    with media.ClipWriter(tmp_path / "silent.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(wave[: 4 * HZ] * 0)
    job = tmp_path / "job.yaml"
    job.write_text((folder / "job.yaml").read_text("utf-8").replace("fr.flac", str(tmp_path / "silent.flac")), "utf-8")
    job.write_text(
        job.read_text("utf-8")
        .replace("film.mp4", str(folder / "film.mp4"))
        .replace("de.flac", str(folder / "de.flac")),
        "utf-8",
    )
    with pytest.raises(MediaError, match=rf"{tmp_path / 'silent.flac'} holds no sound"):
        estimate.trial(manifest.load(job), config.load())

    def refuses(job: Job, *_: Any) -> Any:
        raise MediaError(f"{job.manifest.titles[1].dubs[0].audio} and {job.manifest.titles[2].video} are odd.")

    monkeypatch.setattr(trials, "run_job", refuses)
    with pytest.raises(MediaError) as caught:
        estimate.trial(manifest.load(folder / "job.yaml"), config.load())
    assert str(caught.value) == f"{folder / 'fr.flac'} and {folder / 'film.mp4'} are odd."
