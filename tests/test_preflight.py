"""What is looked at before a run starts, and what is refused: exit code 2, one sentence, nothing written."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from command import Dub
from films import plain_job

from dubbing import config, manifest, preflight
from dubbing.errors import InputError, ManifestError, MediaError, OutputError
from dubbing.generators import names
from dubbing.media import ClipWriter
from dubbing.preflight import characters
from dubbing.store import open_store

FRAMES, RATE, HZ = 50, Fraction(25), 16_000
Job = Callable[..., Path]


def write_film(path: Path, frames: int = FRAMES, sound: bool = True) -> Path:
    """A grey picture that brightens, 64x48 at 25 a second, with a tone."""
    with ClipWriter(path, 64, 48, RATE, sample_rate_hz=HZ if sound else None, channels=1) as clip:
        for n in range(frames):
            clip.frame(np.full((48, 64, 3), 40 + n, np.uint8))
        if sound:
            clip.sound(tone(frames))
    return path


def tone(frames: float = FRAMES, gain: float = 0.1) -> np.ndarray:
    """float32 (T, 1): 440 Hz for that many frames."""
    t = np.arange(round(frames * HZ / RATE)) / HZ
    return (gain * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[:, None]


def write_sound(path: Path, frames: float = FRAMES, gain: float = 0.1) -> Path:
    with ClipWriter(path, sample_rate_hz=HZ, channels=1) as clip:
        clip.sound(tone(frames, gain))
    return path


def test_a_voice_of_the_cast_that_nothing_compares_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = manifest.Manifest.model_validate(
        {"version": 1, "titles": [{
            "id": "reel", "video": tmp_path / "film.mp4", "cast": {"ANNA": {"voice": tmp_path / "anna.wav"}},
            "dubs": [{"language": "fr", "audio": tmp_path / "fr.flac"}],
        }]}
    ).titles  # fmt: skip
    monkeypatch.setattr(characters.resemblyzer, "installed", lambda: None)
    store, nothing = open_store(tmp_path), lambda *about: None
    (note,) = characters.look_at_voices(one, config.load(), store, nothing)
    assert note.startswith("reel: the voice of ANNA in 'cast' is not used, because the network")
    monkeypatch.setattr(characters.resemblyzer, "installed", lambda: tmp_path)
    assert not characters.look_at_voices(one, config.load(), store, nothing)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A manifest of one good title and dub, with parts replaced."""

    def make(**changed: str) -> Path:
        for name, write in (("film.mp4", write_film), ("fr.flac", write_sound)):
            if not (tmp_path / name).exists():
                write(tmp_path / name)
        one = {"id": "reel", "video": "film.mp4", "dubs": [{"language": "fr", "audio": "fr.flac"}]}
        dub = one["dubs"][0]  # type: ignore[index]
        for key, value in changed.items():
            (dub if key in ("audio", "dialogue", "stems") else one)[key] = value  # type: ignore[index]
        path = tmp_path / "job.yaml"
        path.write_text(json.dumps({"version": 1, "titles": [one]}, ensure_ascii=False), encoding="utf-8")
        return path

    return make


def look(path: Path, **changed: object) -> preflight.Findings:
    settings = config.Config().model_copy(update=changed)
    return preflight.look(manifest.load(path), settings, path.parent / "out")


def refused(path: Path, dub: Dub, out: Path | None = None) -> str:
    """`dub check` and `dub run` refuse it alike, in one sentence, and write nothing."""
    out = out or path.parent / "out"
    before = sorted(path.parent.rglob("*"))
    said = []
    for command in (["check"], ["run", "--engine", "local"]):
        code, _, err = dub(*command, path, "--out", out)
        assert code == 2 and err.count("\n") == 1 and "Traceback" not in err, err
        said.append(err)
    assert said[0] == said[1]
    assert sorted(path.parent.rglob("*")) == before
    return said[0]


def test_a_good_job(job: Job) -> None:
    found = look(job())
    assert not found.problems and not found.notes
    title = found.titles[0]
    assert (title.codec, title.size_px, title.bit_depth, title.rate) == ("h264", (64, 48), 8, RATE)
    assert (title.frames, title.duration_s, title.has_sound) == (FRAMES, 2.0, True)
    dub = title.dubs[0]
    assert (dub.language, dub.codec, dub.channels, dub.rate_hz, dub.samples) == ("fr", "flac", 1, HZ, 2 * HZ)
    assert dub.over_frames == 0 and dub.master.startswith("reel.fr.")
    assert found.disk_needed > 0 and found.disk_free > 0


def test_check_says_what_will_happen(job: Job, dub: Dub) -> None:
    path = job()
    for more in ([], ["--deep"]):
        code, out, _ = dub("check", path, "--out", path.parent / "out", *more)
        assert code == 0
        assert "h264 64x48, 8 bits, 50 frames" in out and "reel.fr." in out and "would make 1 master" in out
        assert ("by its header" in out) is (not more)
    assert not (path.parent / "out").exists()
    found = json.loads(dub("check", path, "--json")[1])
    assert found["problems"] == [] and found["titles"][0]["dubs"][0]["samples"] == 2 * HZ


@pytest.mark.parametrize(
    "name", ["a b.mp4", "it's.mp4", 'say "x".mp4', "映画 第1話.mp4", "-odd.mp4", "50%d.mp4", "a:b.mp4"]
)
def test_any_name_works(job: Job, tmp_path: Path, name: str) -> None:
    write_film(tmp_path / name)
    write_sound(tmp_path / f"{name}.flac")
    found = look(job(video=name, audio=f"{name}.flac"))
    assert not found.problems and found.titles[0].frames == FRAMES


def test_no_such_file(job: Job, dub: Dub) -> None:
    assert "line 1: There is no file" in refused(job(video="absent.mp4"), dub)
    assert "absent.flac" in refused(job(audio="absent.flac"), dub)
    assert "absent.wav" in refused(job(dialogue="absent.wav"), dub)
    assert "absent.edl" in refused(job(shots="absent.edl"), dub)


def test_what_is_no_media_file(job: Job, tmp_path: Path, dub: Dub) -> None:
    (tmp_path / "text.mp4").write_text("not a film\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    whole = write_film(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("text.mp4", "empty.mp4", "cut.mp4"):
        assert f"{name} is truncated or not a media file" in refused(job(video=name), dub)
    assert "is a folder" in refused(job(video="folder.mp4"), dub)


def test_no_picture_and_no_sound(job: Job, tmp_path: Path, dub: Dub) -> None:
    assert "has no video stream" in refused(job(video="fr.flac"), dub)
    write_film(tmp_path / "mute.mp4", sound=False)
    assert "has no sound stream" in refused(job(audio="mute.mp4"), dub)
    write_sound(tmp_path / "silent.flac", gain=0.0)
    assert "has no sound in it" in refused(job(audio="silent.flac"), dub)
    found = look(job(video="mute.mp4"))
    assert not found.problems and "no sound of its own" in found.notes[0]


@pytest.mark.parametrize("frames", [48.0, 49.9, 50.5, 52.0])
def test_two_frames_of_difference_are_accepted(job: Job, tmp_path: Path, frames: float) -> None:
    write_sound(tmp_path / "fr.flac", frames)
    found = look(job())
    assert not found.problems and found.titles[0].dubs[0].over_frames == pytest.approx(frames - FRAMES, abs=0.01)


@pytest.mark.parametrize(("frames", "word"), [(47.9, "shorter"), (52.1, "longer"), (100, "longer")])
def test_more_is_refused_with_both_lengths_and_the_setting(
    job: Job, tmp_path: Path, dub: Dub, frames: float, word: str
) -> None:
    write_sound(tmp_path / "fr.flac", frames)
    said = refused(job(), dub)
    assert f"{abs(frames - FRAMES):.1f} frames {word} than the picture" in said
    assert "0:00:02.000 of picture (50 frames)" in said and f"{frames / 25:.3f} of sound" in said
    assert "length_difference: allow" in said
    assert not look(job(), length_difference="allow").problems


def test_dialogue_is_held_to_the_same_length(job: Job, tmp_path: Path, dub: Dub) -> None:
    write_sound(tmp_path / "short.flac", 30)
    assert "short.flac is 20.0 frames shorter" in refused(job(dialogue="short.flac"), dub)


def test_unknown_generator(job: Job, tmp_path: Path, dub: Dub) -> None:
    path = job()
    path.write_text(json.dumps({**json.loads(path.read_text()), "generator": "rewrit"}))
    known = ", ".join(names())
    assert f"There is no generator 'rewrit'; did you mean 'rewrite'? There is: {known}." in refused(path, dub)


def test_a_folder_that_cannot_be_written(job: Job, tmp_path: Path, dub: Dub) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(job(), dub, out=tmp_path / "file" / "out")
    assert "is a file" in refused(job(), dub, out=tmp_path / "file")
    assert "cannot be written" in refused(job(), dub, out=Path("/proc/dub-out"))


def test_everything_wrong_is_listed(job: Job, tmp_path: Path, dub: Dub) -> None:
    path = job()
    one = json.loads(path.read_text())
    one["titles"] += [{"id": "b", "video": "absent.mp4", "dubs": [{"language": "fr", "audio": "fr.flac"}]}]
    one["titles"][0]["dubs"] += [{"language": "de", "audio": "absent.flac"}]
    path.write_text(json.dumps(one))
    found = look(path)
    assert [type(p) for p in found.problems] == [MediaError, MediaError]
    _, out, err = dub("check", path, "--out", tmp_path / "out")
    assert err.count("\n") == 3 and "absent.flac" in err and "absent.mp4" in err
    assert err.endswith("dub: `dub run` would refuse this, for 2 reasons.\n") and "refuse" not in out
    with pytest.raises(MediaError, match="and 1 more: `dub check` shows all"):
        found.raise_first()


def test_a_full_disk_is_said_beforehand(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("dubbing.preflight.shutil.disk_usage", lambda path: usage)
    found = look(job())
    assert not found.problems and "The disk may be too small" in found.notes[0]


def test_damage_in_the_middle_is_named_by_timecode(job: Job, tmp_path: Path, dub: Dub) -> None:
    frames = 100
    rng = np.random.default_rng(1)
    with ClipWriter(tmp_path / "film.mp4", 64, 48, RATE, sample_rate_hz=HZ, channels=1, timecode="01:00:00:00") as clip:
        for _ in range(frames):
            clip.frame(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        clip.sound(tone(frames))
    write_sound(tmp_path / "fr.flac", frames)
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    at = data.index(b"mdat") + 4
    middle = at + (len(data) - at) // 2
    data[middle : middle + 4000] = bytes(4000)
    (tmp_path / "film.mp4").write_bytes(data)
    code, _, err = dub("check", job(), "--deep", "--out", tmp_path / "out")
    assert code == 2 and "damaged at 01:00:0" in err and err.count("\n") == 1


def test_problems_are_of_the_kinds_a_run_would_raise(job: Job) -> None:
    for kind in (ManifestError, MediaError, OutputError):
        assert issubclass(kind, InputError) and kind.exit_code == 2


def test_code_that_was_sent_says_where_the_packages_are_others(job: Job, tmp_path: Path, monkeypatch) -> None:
    def notes() -> list[str]:
        found = preflight.look(manifest.load(job()), config.Config(), tmp_path / "out")
        return [note for note in found.notes if "requirements/run.txt" in note]

    here = preflight.versions()
    monkeypatch.setenv(preflight.SENT_WITH, " ".join(f"{name}=={v}" for name, v in here.items()))
    assert not notes()
    monkeypatch.setenv(preflight.SENT_WITH, "torch==1.0")
    (note,) = notes()
    assert f"torch {here['torch']} instead of 1.0" in note


LINES = """version: 1
titles:
  - id: reel
    video: {video}
    {more}
    dubs:
      - language: fr
        audio: {audio}
        dialogue: {dialogue}
      - language: de
        audio: fr.flac
        {driver}
generator:
  name: rewrite
  {setting}
"""


@pytest.mark.parametrize(
    ("line", "what", "changed"),
    [
        (4, "There is no file", {"video": "absent.mp4"}),
        (4, "is truly interlaced", {"video": "fields.mp4"}),
        (4, "has no video stream", {"video": "fr.flac"}),
        (5, "'still' is for photographs", {"more": "still: {blinks: true}"}),
        (5, "there is no file", {"more": "shots: absent.edl"}),
        (5, "'Ana' is no character", {"more": "leave: {characters: [Ana]}"}),
        (8, "There is no file", {"audio": "absent.flac"}),
        (8, "frames longer than the picture", {"audio": "long.flac"}),
        (9, "There is no file", {"dialogue": "absent.wav"}),
        (9, "frames longer than the picture", {"dialogue": "long.flac"}),
        (9, "has no sound stream", {"dialogue": "mute.mp4"}),
        (12, "There is no file", {"driver": "stems: {Ana: absent.flac}"}),
        (12, "frames longer than the picture", {"driver": "stems: {Ana: long.flac}"}),
        (15, "opening", {"setting": "opening: wide"}),
        (15, "jump_cots", {"setting": "jump_cots: 0.3"}),
    ],
)
def test_a_refusal_names_the_line_of_the_key_that_is_at_fault(
    job: Job, tmp_path: Path, dub: Dub, line: int, what: str, changed: dict[str, str]
) -> None:
    path = job()
    write_sound(tmp_path / "long.flac", 2 * FRAMES)
    write_film(tmp_path / "mute.mp4", sound=False)
    if "fields.mp4" in changed.values():
        fields(tmp_path / "fields.mp4")
    plain = {"video": "film.mp4", "audio": "fr.flac", "dialogue": "fr.flac", "more": "", "driver": "", "setting": ""}
    path.write_text(LINES.format(**{**plain, **changed}), encoding="utf-8")
    code, _, err = dub("check", path)
    assert code == 2 and err.startswith(f"dub: {path}, line {line}: ") and what in err, err
    assert err.count("\n") == 1, "said once, though there are two dubs"


def fields(path: Path) -> None:
    """A film of two moments in every picture: a bar that moves from field to field."""
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    with ClipWriter(path, 64, 48, RATE, options=options) as clip:
        for n in range(FRAMES):
            picture = np.full((48, 64, 3), 40, np.uint8)
            for field in (0, 1):
                at = 2 * (2 * n + field) % 48
                picture[field::2, at : at + 16] = 200
            clip.frame(picture)


def test_a_file_that_is_not_there_has_neighbours(job: Job, tmp_path: Path, dub: Dub) -> None:
    said = refused(job(audio="fr.flak"), dub)
    assert "Did you mean 'fr.flac'?" in said and said.endswith(
        "A path in a manifest starts at the manifest's own folder.\n"
    )
    assert f"There is no folder {str(tmp_path / 'medai')!r}." in refused(job(audio="medai/fr.flac"), dub)
    said = refused(job(audio=str(tmp_path / "FR.FLAC")), dub)
    assert "Did you mean 'fr.flac'?" in said and "manifest's own folder" not in said
    assert "Did you mean 'job.yaml'?" in dub("check", tmp_path / "jop.yaml")[2]


def test_a_note_is_said_once(tmp_path: Path, dub: Dub) -> None:
    path = plain_job(tmp_path, {"fr": "fr.wav", "de": "de.wav"}, FRAMES)
    note = "film.mp4 becomes a .mov: mp4 does not carry this sound without loss."
    assert dub("check", path, "--out", tmp_path / "out")[1].count(note) == 1
    code, out, err = dub("run", path, "--out", tmp_path / "out", "--engine", "local")
    assert code == 0 and (out + err).count(note) == 1 and f"note: {note}" in err
    assert f"`dub review {tmp_path / 'out'}` shows every shot" in out
