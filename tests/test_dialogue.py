"""Which tracks and channels of a file are listened to and delivered, whatever way its sound is laid out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from command import Dub
from made import put

from dubbing import media
from dubbing.analysis.dialogue import choose
from dubbing.analysis.speech import Listener
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import load_wave
from dubbing.clock import Timeline
from dubbing.errors import MediaError
from dubbing.stages.audio import DubAudio, DubAudioInputs, SourceAudio, SourceAudioInputs

HZ = 48_000
LENGTH_S = 4


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def voice(shared: Path) -> np.ndarray:
    """Four seconds in which somebody speaks, float32 (T,) at 48 kHz."""
    wave = media.read_sound(shared / "media" / "speech" / "fr.wav", HZ)
    return 0.5 * wave[HZ // 2 : HZ // 2 + LENGTH_S * HZ] / np.abs(wave).max()


@pytest.fixture(scope="module")
def other_voice(shared: Path) -> np.ndarray:
    wave = media.read_sound(shared / "media" / "speech" / "de.wav", HZ)
    return 0.5 * wave[HZ // 2 : HZ // 2 + LENGTH_S * HZ] / np.abs(wave).max()


def music(seed: int = 3) -> np.ndarray:
    """Chords without a word, float32 (T,)."""
    rng, t = np.random.default_rng(seed), np.arange(LENGTH_S * HZ) / HZ
    tones = rng.choice([110, 131, 165, 196, 220, 262, 330], 5, replace=False)
    return (0.03 * sum(np.sin(2 * np.pi * f * t + p) for f, p in zip(tones, rng.random(5) * 6, strict=True))).astype(
        np.float32
    )


Track = tuple[np.ndarray, dict[str, str], str]
"""Samples (T,) or (T, C), tags, and FFmpeg's roles."""


def sound_file(path: Path, tracks: Sequence[Track], layout: str | None = None) -> Path:
    with av.open(str(path), "w") as out:
        streams: list[tuple[Any, np.ndarray]] = []
        for samples, tags, roles in tracks:
            columns = samples.reshape(len(samples), -1)
            stream = out.add_stream("pcm_s16le", rate=HZ)
            names = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1"}
            stream.codec_context.layout = layout or names[columns.shape[1]]
            stream.metadata.update(tags)
            kinds = type(stream.disposition)
            marks = kinds(0)
            for role in roles.split():
                marks |= kinds[role]
            stream.disposition = marks
            streams.append((stream, (columns * 32767).astype(np.int16)))
        for at in range(0, len(streams[0][1]), HZ // 2):
            for stream, columns in streams:
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(columns[at : at + HZ // 2].reshape(1, -1)),
                    "s16",
                    stream.codec_context.layout.name,
                )
                frame.sample_rate, frame.pts, frame.time_base = HZ, at, Fraction(1, HZ)
                out.mux(stream.encode(frame))
        for stream, _ in streams:
            out.mux(stream.encode(None))
    return path


def stereo(wave: np.ndarray) -> np.ndarray:
    return np.stack([wave, wave], 1)


def surround(voice: np.ndarray) -> np.ndarray:
    """L R C LFE Ls Rs, with the words in C alone."""
    return np.stack([music(1), music(2), voice, 0.5 * music(5), music(3), music(4)], 1)


def mono_tracks(voice: np.ndarray, language: str) -> list[Track]:
    return [(column, {"language": language}, "default" if n == 0 else "") for n, column in enumerate(surround(voice).T)]


@pytest.mark.parametrize("side", ["source", "dub"])
@pytest.mark.parametrize(
    "way",
    ["mono tracks", "interleaved", "several languages", "description first", "commentary last", "one channel inverted",
     "one channel only", "music and effects first"],
)  # fmt: skip
def test_the_dialogue_is_found_however_it_is_laid_out(
    tmp_path: Path, listener: Listener, voice: np.ndarray, other_voice: np.ndarray, way: str, side: str
) -> None:
    own, foreign = ("fra", "deu") if side == "dub" else ("eng", "deu")
    mine = (stereo(voice + music()), {"language": own}, "default")
    theirs = (stereo(other_voice + music()), {"language": foreign}, "")
    tracks, wanted, mark = {
        "mono tracks": (mono_tracks(voice, own), (3, None), ""),
        "interleaved": ([(surround(voice), {"language": own}, "default")], (1, (2,)), "centre channel"),
        "several languages": (
            ([mine, theirs], (1, None), "") if side == "source" else ([theirs, mine], (2, None), "tagged fra")
        ),
        "description first": (
            [(stereo(other_voice), {"language": own, "title": "Audio Description"}, "default"), mine], (2, None),
            "track 1 is not dialogue",
        ),
        "commentary last": (
            [mine, (stereo(other_voice), {"language": own}, "comment")], (1, None), "track 2 is not dialogue",
        ),
        "one channel inverted": (
            [(np.stack([voice, -voice], 1), {"language": own}, "default")], (1, (0,)), "cancel each other",
        ),
        "one channel only": ([(np.stack([voice, 0 * voice], 1), {"language": own}, "default")], (1, None), ""),
        "music and effects first": (
            [(stereo(music()), {"language": own}, "default"), (*mine[:2], "")], (2, None), "most speech",
        ),
    }[way]  # fmt: skip
    path = sound_file(tmp_path / "sound.mka", tracks)
    found = choose(path, media.probe(path), listener, language="fr" if side == "dub" else None)
    assert (
        found.chosen.track,
        found.chosen.channels if found.chosen.channels != (0,) or way != "mono tracks" else None,
    ) == (wanted)
    assert mark in found.said
    assert 1.5 < found.chosen.speech_s < LENGTH_S


@pytest.fixture(scope="module")
def stages() -> Iterator[dict[str, SourceAudio | DubAudio]]:
    made: dict[str, SourceAudio | DubAudio] = {"source": SourceAudio(), "dub": DubAudio()}
    for stage in made.values():
        stage.setup()
    yield made
    for stage in made.values():
        stage.close()


@pytest.mark.parametrize("side", ["source", "dub"])
@pytest.mark.parametrize("layout", ["mono tracks", "interleaved"])
@pytest.mark.parametrize(("several", "described"), [(True, False), (False, True), (True, True)])
def test_the_lips_hear_the_dialogue_alone_in_every_combination(
    tmp_path: Path, stages: dict[str, SourceAudio | DubAudio], voice: np.ndarray, other_voice: np.ndarray, side: str,
    layout: str, several: bool, described: bool,
) -> None:  # fmt: skip
    """Six mono tracks or one 5.1, of one language or of two, behind an audio description or not: what the stage keeps
    is the voice itself. Of a dub the other language comes first, and the tags tell; a film's own comes first."""
    own, length = ("fra", "deu")[side == "source"], 5 * HZ // 2
    mine, theirs = (
        mono_tracks(wave, tag) if layout == "mono tracks" else [(surround(wave), {"language": tag}, "default")]
        for wave, tag in ((voice, own), (other_voice, ("deu", "fra")[side == "source"]))
    )
    description = (stereo(other_voice), {"language": own, "title": "Audio Description"}, "default")
    tracks = [*[description] * described, *(theirs if several and side == "dub" else []), *mine,
              *(theirs if several and side == "source" else [])]  # fmt: skip
    path = sound_file(tmp_path / "sound.mka", [(samples[:length], tags, roles) for samples, tags, roles in tracks])
    line = Timeline(np.arange(60, dtype=np.int64), Fraction(1, 24), 60, Fraction(24))
    shots = put(tmp_path / "shots", ShotList(60, ((0, 60),)))
    media.save_timeline(tmp_path / "shots", line)
    sound, out = File(path, ""), tmp_path / "out"
    out.mkdir()
    inputs: Any = SourceAudioInputs(sound, shots)
    if side == "dub":
        inputs = DubAudioInputs(sound, shots, "refuse", 2.0, None, "fr")
    made: Any = stages[side]
    found = made.process(inputs, out, lambda n: None)
    heard, said = load_wave(out), media.read_sound(sound_file(tmp_path / "voice.wav", [(voice[:length], {}, "")]))
    assert np.corrcoef(heard, said[: len(heard)])[0, 1] > 0.99, found.listened
    first = described + (len(theirs) if several and side == "dub" else 0) + 1
    assert f"track {first + 2 if layout == 'mono tracks' else first} " in found.listened
    assert ("not dialogue" in found.listened) is described


def test_music_that_is_in_phase_does_not_hide_a_voice_that_is_not(
    tmp_path: Path, listener: Listener, voice: np.ndarray
) -> None:
    path = sound_file(tmp_path / "a.wav", [(np.stack([voice + music(), music() - voice], 1), {}, "")])
    found = choose(path, media.probe(path), listener)
    assert found.chosen.channels in ((0,), (1,))
    assert found.chosen.speech_s > 1.5


def test_what_the_user_names_is_listened_to(tmp_path: Path, listener: Listener, voice: np.ndarray) -> None:
    path = sound_file(tmp_path / "a.mka", [(stereo(voice), {}, ""), (surround(voice), {}, "")])
    info = media.probe(path)
    assert choose(path, info, listener, track=2, channels=("L", "Rs")).chosen.channels == (0, 5)
    assert choose(path, info, listener, track=2, channels=["2"]).chosen.channels == (1,)
    assert choose(path, info, listener, track=1).chosen.track == 1
    with pytest.raises(MediaError, match="has no sound track 3; it has 2, counted from 1"):
        choose(path, info, listener, track=3)
    with pytest.raises(MediaError, match=r"track 1 of .* has no channel 'C'; it has FL, FR"):
        choose(path, info, listener, track=1, channels=("C",))


def test_a_file_without_a_word_says_so(tmp_path: Path, listener: Listener) -> None:
    path = sound_file(tmp_path / "a.mka", [(music(1), {}, ""), (music(2), {}, "")])
    found = choose(path, media.probe(path), listener)
    assert found.chosen.track == 1
    assert "no speech was found in any track" in found.said


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("picture") / "film.mov"
    with media.ClipWriter(path, 64, 48, Fraction(25), sample_rate_hz=HZ, channels=2) as clip:
        for n in range(LENGTH_S * 25):
            clip.frame(np.full((48, 64, 3), 40 + n, np.uint8))
        clip.sound(np.zeros((LENGTH_S * HZ, 2), np.float32))
    yield path


@pytest.mark.parametrize("chosen", [None, (6, 3)])
def test_every_track_is_delivered_or_those_that_are_named(
    tmp_path: Path, picture: Path, voice: np.ndarray, chosen: tuple[int, ...] | None
) -> None:
    tracks = [(samples, {**tags, "title": name}, roles) for (samples, tags, roles), name in
              zip(mono_tracks(voice, "fra"), ("L", "R", "C", "LFE", "Ls", "Rs"), strict=True)]  # fmt: skip
    dub = sound_file(tmp_path / "dub.mov", tracks)
    target = tmp_path / "master.mov"
    media.encode_master(picture, media.timeline(picture), [], dub, target, language="fr", tracks=chosen)
    order = chosen or (1, 2, 3, 4, 5, 6)
    made = media.probe(target).audio
    names = [tracks[n - 1][1]["title"] for n in order]
    assert [(t.channels, t.language, t.title) for t in made] == [(1, "fra", name) for name in names]
    assert [t.index for t in made if "default" in t.roles] == [made[0].index]
    for number, track in zip(order, made, strict=True):
        samples = media.read_sound(target, None, mono=False, stream_index=track.index)
        wanted = (tracks[number - 1][0] * 32767).astype(np.int16)
        assert np.array_equal(np.rint(samples[:, 0] * 32768).astype(np.int16), wanted)


def test_tracks_of_several_languages_keep_their_own(tmp_path: Path, picture: Path, voice: np.ndarray) -> None:
    dub = sound_file(tmp_path / "dub.mov", [
        (stereo(voice), {"language": "fra"}, "default"), (surround(voice), {"language": "fra"}, ""),
        (stereo(voice), {"language": "spa", "title": "Comentario"}, "comment"), (voice, {}, ""),
    ])  # fmt: skip
    target = tmp_path / "master.mov"
    media.encode_master(picture, media.timeline(picture), [], dub, target, language="fr")
    made = media.probe(target).audio
    assert [(t.layout, t.language) for t in made] == [
        ("stereo", "fra"),
        ("5.1", "fra"),
        ("stereo", "spa"),
        ("mono", "fra"),
    ]
    assert made[2].title == "Comentario"


def test_a_track_that_is_not_there_cannot_be_delivered(tmp_path: Path, picture: Path, voice: np.ndarray) -> None:
    dub = sound_file(tmp_path / "dub.wav", [(voice, {}, "")])
    with pytest.raises(MediaError, match="has no sound track 2; it has 1"):
        media.encode_master(picture, media.timeline(picture), [], dub, tmp_path / "m.mov", tracks=(2,))
    assert not (tmp_path / "m.mov").exists()


def job(folder: Path, picture: Path, sound: str, **title: object) -> Path:
    (folder / "film.mov").write_bytes(picture.read_bytes())
    own = {"language": "fr", "audio": sound, **(title.pop("dub", None) or {})}  # type: ignore[dict-item]
    text = json.dumps({"version": 1, "titles": [{"id": "film", "video": "film.mov", "dubs": [own], **title}]}, indent=1)
    (folder / "job.yaml").write_text(text, encoding="utf-8")
    return folder / "job.yaml"


def test_check_says_what_is_listened_to_and_what_is_delivered(
    tmp_path: Path, picture: Path, voice: np.ndarray, dub: Dub
) -> None:
    sound_file(tmp_path / "fr.mov", mono_tracks(voice, "fra"))
    code, told, _ = dub("check", job(tmp_path, picture, "fr.mov"))
    assert code == 0
    lines = {line[:8].strip(): line for line in told.splitlines() if "track 3 of 6" in line}
    assert "track 3 of 6 (mono, fra): where most speech was found" in lines["fr"]
    assert told.count("not track ") == 5
    assert "6 tracks, pcm_s16le, copied" in told
    said = " ".join(told.split())
    assert "note: film: film.mov has 0.0 s of speech and fr.mov" in said
    assert "looks like music and effects" in said


@pytest.mark.parametrize(
    ("named", "refused"),
    [
        ({"dub": {"track": 7}}, "fr.mov has no sound track 7; it has 6, counted from 1"),
        ({"dub": {"track": 2, "channels": ["R"]}}, "track 2 of .* has no channel 'R'; it has FC"),
        ({"dub": {"deliver_tracks": [1, 9]}}, "fr.mov has no sound track 9; it has 6"),
        ({"dub": {"channels": []}}, "channels"),
        ({"dub": {"track": 0}}, "track"),
        ({"original": {"track": 4}}, "film.mov has no sound track 4; it has 1"),
        ({"original": {"dialogue": "no.wav"}}, "no.wav"),
        ({"original": {"dialogue": "short.wav"}}, "short.wav is .* frames shorter than the picture"),
    ],
)
def test_what_is_named_and_not_there_is_refused_before_work(
    tmp_path: Path, picture: Path, voice: np.ndarray, dub: Dub, named: dict[str, object], refused: str
) -> None:
    sound_file(tmp_path / "fr.mov", mono_tracks(voice, "fra"))
    sound_file(tmp_path / "short.wav", [(voice[: HZ * 2], {}, "")])
    code, _, said = dub("run", job(tmp_path, picture, "fr.mov", **named), "--out", tmp_path / "out")
    assert code == 2
    assert re.search(refused, " ".join(said.split()))
    assert not (tmp_path / "out" / "run.json").exists()
