"""Masters as they are asked for: other containers, codecs, depths, and several of one decoding."""

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from command import Dub
from films import Finished, plain_job
from test_depth import COUNT, PATCHED, film, patches, planes
from test_master import dub as flac
from test_master import film as film_of
from test_master import payloads_of, same_sound, same_time

import dubbing
from dubbing import config, manifest, media
from dubbing.errors import UnsupportedMedia
from dubbing.job import Job
from dubbing.master_choice import MasterChoice
from dubbing.media.film import Film

PRORES = {"profile": "hq", "vendor": "apl0"}


def with_whole_paths(finished: Finished) -> dict[str, Any]:
    """The short film's manifest, as it may stand in another folder."""
    document: dict[str, Any] = yaml.safe_load(finished.film.read_text())
    for part in (document["titles"][0], *document["titles"][0]["dubs"]):
        part |= {k: str(finished.film.parent / v) for k, v in part.items() if k in ("video", "audio", "dialogue")}
    return document


def prores(path: Path) -> Path:
    return film(path, "prores_ks", "yuv422p10le", PRORES)


def test_several_masters_of_one_decoding_are_each_what_it_would_be_alone(tmp_path: Path) -> None:
    source, sound = prores(tmp_path / "film.mov"), flac(tmp_path / "d.wav", COUNT * 1920)
    line, drawn = media.timeline(source), [patches(source, tmp_path / "p")]
    asked = {
        "own": MasterChoice(),
        "proxy": MasterChoice(codec="h264", bit_depth=8, chroma="4:2:0", bitrate="2M", suffix="proxy"),
        "mxf": MasterChoice(codec="prores", profile="lt", container="mxf", suffix="lt"),
    }
    together = {tmp_path / f"{name}{'.mxf' if name == 'mxf' else '.mov'}": choice for name, choice in asked.items()}
    opened: list[Path] = []

    class Counted(Film):
        def __init__(self, path: str | Path, threads: int = 0) -> None:
            opened.append(Path(path))
            super().__init__(path, threads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dubbing.media.master.Film", Counted)
        media.encode_masters(source, line, drawn, sound, together, language="fr")
    assert opened == [source]  # and decoded once, for all three
    for path, choice in together.items():
        alone = path.with_name(f"alone-{path.name}")
        media.encode_masters(source, line, drawn, sound, {alone: choice}, language="fr")
        assert path.read_bytes() == alone.read_bytes(), path.name
        same_time(line, media.timeline(path))
        same_sound(sound, path)
        video = media.probe(path).video
        assert video is not None and video.start_tc == "01:00:00:00"
        assert media.compare_pictures(source, path, drawn).psnr_db > 42
    kinds = [(v.codec, v.pix_fmt) for v in (media.probe(path).video for path in together) if v is not None]
    assert kinds == [("prores", "yuv422p10le"), ("h264", "yuv420p"), ("prores", "yuv422p10le")]
    was, now = ([data for *_, data in payloads_of(p, "video")] for p in (source, tmp_path / "own.mov"))
    assert [n for n in range(COUNT) if was[n] != now[n]] == list(PATCHED)


@pytest.mark.parametrize(("more", "said"), [(-3000, "62.5 ms shorter"), (480, "10.0 ms longer")])
def test_mxf_keeps_every_picture_of_a_film_whose_dub_is_not_as_long(tmp_path: Path, more: int, said: str) -> None:
    source, sound = prores(tmp_path / "film.mov"), flac(tmp_path / "d.wav", COUNT * 1920 + more)
    line, target = media.timeline(source), tmp_path / "film.fr.mxf"
    (made,) = media.encode_masters(source, line, [], sound, {target: MasterChoice(container="mxf")}, language="fr")
    same_time(line, media.timeline(target))
    assert any(f"d.wav is {said} than the picture, and MXF has both equally long" in note for note in made.notices)
    was, now = (media.read_sound(path, None, False) for path in (sound, target))
    assert len(now) == COUNT * 1920 and not now[len(was) :].any()
    assert np.array_equal(was[: len(now)], now[: len(was)])
    (found,) = (c for c in dubbing.verify(target, source, dub=sound).checks if c.what == "samples of track 1")
    assert found.status == ("equal" if more < 0 else "differs"), "a dub that is cut is not whole"


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "gbrp10le", "yuv444p12le"])
def test_range_matrix_and_depth_are_converted_and_told(tmp_path: Path, pix_fmt: str) -> None:
    """Colours of a master in another format are the source's, whichever of range, YUV and RGB it was in."""
    codec = "ffv1" if pix_fmt != "yuvj420p" else "mjpeg"
    source = film(
        tmp_path / "film.mkv", codec, pix_fmt, {"level": "3"} if codec == "ffv1" else {"qmin": "1", "qmax": "2"}
    )
    sound, line = flac(tmp_path / "d.flac", COUNT * 1920), media.timeline(source)
    target = tmp_path / "m.mov"
    choice = MasterChoice(codec="prores", container="mov")
    (made,) = media.encode_masters(source, line, [], sound, {target: choice}, language="fr")
    one, two = (next(media.read(path, media.timeline(path), 3, 4)).bgr().astype(float) for path in (source, target))
    assert np.abs(one - two).mean() < 1.5 and abs((one - two).mean()) < 0.5
    said = " ".join(made.notices)
    assert ("limited range" in said) == (pix_fmt == "yuvj420p")
    assert ("YUV of its RGB" in said) == pix_fmt.startswith("gbr")
    assert ("10 of its 12 bits" in said) == (pix_fmt == "yuv444p12le")


@pytest.mark.parametrize(("matrix", "said"), [(2, None), (5, 5)])
def test_prores_says_the_matrix_that_the_source_says_or_none(tmp_path: Path, matrix: int, said: int | None) -> None:
    source, sound = tmp_path / "film.mp4", flac(tmp_path / "d.flac", 5 * 1920)
    with media.ClipWriter(source, 96, 64, Fraction(25), matrix=matrix) as clip:
        for n in range(5):
            clip.frame(np.full((64, 96, 3), 40 * n, np.uint8))
    target = tmp_path / "film.fr.mov"
    choice = {target: MasterChoice(codec="prores", container="mov")}
    media.encode_masters(source, media.timeline(source), [], sound, choice, language="fr")
    was, now = (media.probe(path).video for path in (source, target))
    assert was is not None and now is not None and was.matrix == now.matrix == said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"codec": "prores", "container": "mp4"}, "a master in ProRes cannot be in mp4; it may be in mov, mkv, mxf"),
        ({"codec": "ffv1", "container": "mov"}, "a master in FFV1 cannot be in mov; it may be in mkv"),
        ({"codec": "prores", "profile": "hqx"}, "ProRes has no profile 'hqx'; its profiles are proxy"),
        ({"codec": "dnxhr"}, "is 96x64, and DNxHR has at least 256x120"),
        ({"codec": "prores", "profile": "lt", "bit_depth": 12}, "ProRes cannot have profile lt, 12 bits"),
        ({"codec": "av1", "chroma": "4:2:2"}, "AV1 cannot have 4:2:2; it may have 8 bits in 4:2:0; 10 bits in 4:2:0"),
        ({"codec": "h264", "bit_depth": 12}, "H.264 cannot have 12 bits"),
        ({"codec": "h264", "profile": "hq"}, "H.264 has no profile 'hq'; it has none: give bit_depth and chroma"),
        ({"codec": "h264", "container": "mp4"}, "cannot be in an mp4 sample for sample"),
        ({"codec": "prores", "crf": 12}, "'crf' is for H.264, HEVC and AV1; ProRes has none"),
        ({"codec": "h264", "crf": 60}, "'crf' is 60, and H.264 has 0 to 51"),
        ({"codec": "av1", "preset": "slow"}, "'preset' is slow, and of AV1 it is a number from 0 to 13"),
        ({"container": "mxf"}, "has 44100 Hz, and sound in MXF has 48,000"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    source, sound = prores(tmp_path / "film.mov"), flac(tmp_path / "d.wav", 14_112, rate_hz=44_100)
    with pytest.raises(UnsupportedMedia) as refused:
        media.delivery(media.probe(source), media.probe(sound), None, MasterChoice(**asked))
    assert said in str(refused.value)


def test_a_dub_is_asked_before_its_title_and_that_before_manifest_and_configuration(
    finished: Finished, tmp_path: Path
) -> None:
    document = with_whole_paths(finished)
    (title,) = document["titles"]
    one, two = title["dubs"]
    settings, file = config.Config(master={"suffix": "config"}), tmp_path / "job.yaml"
    seen = []
    for where in (None, "manifest", "title", "dub"):
        at = {"manifest": document, "title": title, "dub": one}.get(where or "", {})
        at["master"] = ["as_source", {"codec": "h264", "suffix": where}]
        file.write_text(yaml.safe_dump(document))
        job = Job(manifest.load(file), finished.out, settings)
        seen.append([job.master_names(t, d)[-1] for t in job.manifest.titles for d in t.dubs])
    names = [f"film.{d['language']}." for d in (one, two)]
    levels = [("config", "config"), ("manifest", "manifest"), ("title", "title"), ("dub", "title")]
    assert seen == [[f"{n}{level}.mp4" for n, level in zip(names, both, strict=True)] for both in levels]


@pytest.mark.long
def test_a_run_makes_every_master_and_names_it(finished: Finished, tmp_path: Path, dub: Dub) -> None:
    out, job = tmp_path / "out", tmp_path / "job.yaml"
    shutil.copytree(finished.out, out)
    document = with_whole_paths(finished)
    one = document["titles"][0]["dubs"][0]
    document["titles"][0]["dubs"] = [one]
    document["master"] = ["as_source", {"codec": "prores", "profile": "hq", "container": "mov", "suffix": "cut"}]
    job.write_text(yaml.safe_dump(document))
    before = (out / "film" / one["language"] / f"film.{one['language']}.mp4").read_bytes()
    code, told, _ = dub("run", job, "--out", out, "--engine", "local")
    home = out / "film" / one["language"]
    names = [f"film.{one['language']}.mp4", f"film.{one['language']}.cut.mov"]
    assert code in (0, 3) and all(name in told for name in names)
    assert (home / names[0]).read_bytes() == before
    video = media.probe(home / names[1]).video
    assert video is not None and (video.codec, video.tag) == ("prores", "apch")
    (row,) = json.loads((out / "run.json").read_text())["dubs"]
    assert [Path(p).name for p in (row["master"], *row["other_masters"])] == names
    (home / names[1].replace(".cut.", ".old.")).write_bytes(b"of an earlier run")
    shown = json.loads(dub("status", out, "--json")[1])["dubs"][0]
    assert [Path(p).name for p in (shown["master"], *shown["other_masters"])] == names
    for name in names:  # each is what it was asked to be
        code, told, _ = dub("verify", home / name, "--source", document["titles"][0]["video"])
        assert code == 0 and "all as it should be" in told, told


@pytest.mark.parametrize(
    ("size", "box"), [((320, 96), (120, 20, 40, 30)), ((312, 90), (262, 58, 50, 32)), ((312, 90), (0, 0, 16, 16))]
)
def test_of_a_prores_picture_only_the_slices_under_the_mouth_are_new(
    tmp_path: Path, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    """In the middle, at the ragged right and bottom edge, and in the corner: outside of the touched slices every sample
    of the decoded picture is the source's, inside them the patch is there."""
    width, height = size
    source, sound = tmp_path / "film.mov", flac(tmp_path / "d.wav", 4 * 1920)
    noise = np.random.default_rng(2).integers(12_000, 50_000, (height, width, 3)).astype(np.uint16)
    with media.ClipWriter(
        source, width, height, codec="prores_ks", crf=None, pix_fmt="yuv422p10le", options=PRORES
    ) as clip:
        for n in range(4):
            clip.frame(np.roll(noise // 2 + 16_000, 3 * n, axis=1))
    x, y, across, down = box
    (tmp_path / "p").mkdir()
    line, matte = media.timeline(source), np.full((down, across), 255, np.uint8)
    with media.PatchWriter(tmp_path / "p", across, down, transfer=0) as writer:
        for n in (1, 2):
            flat = np.full((down, across, 3), (60.0, 120.0, 200.0), np.float32)
            writer.write(media.patch_of(n, x, y, flat, matte, 0))
    target = tmp_path / "m.mov"
    media.encode_masters(source, line, [tmp_path / "p"], sound, {target: MasterChoice()}, language="fr")
    top, bottom, left, right = y // 16 * 16, -(-(y + down) // 16) * 16, x // 128 * 128, -(-(x + across) // 128) * 128
    if right > width // 128 * 128:  # narrower slices at the edge are made with it
        right = width
    for n in (1, 2):
        for was, now in zip(planes(source, n), planes(target, n), strict=True):
            sub = 1 if was.shape[1] < width else 0
            kept = np.ones(was.shape, bool)
            kept[top:bottom, left >> sub : right >> sub] = False
            assert kept.any() and np.array_equal(was[kept], now[kept])
    new = next(media.read(target, line, 1, 2)).bgr(box).astype(float)
    assert np.abs(new - (60, 120, 200))[2:-2, 2:-2].mean() < 4


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_the_films_own_tracks_are_kept_where_that_is_asked(tmp_path: Path, suffix: str) -> None:
    source, sound = tmp_path / f"film{suffix}", flac(tmp_path / "d.wav", 25 * 1920)
    own = np.random.default_rng(7).normal(0, 0.1, (25 * 1920, 2)).astype(np.float32)
    with media.ClipWriter(source, 96, 64, sample_rate_hz=48_000, sound_codec="pcm_s16le") as clip:
        for _ in range(25):
            clip.frame(np.full((64, 96, 3), 90, np.uint8))
        clip.sound(own)
    target, choice = tmp_path / f"m{suffix}", MasterChoice(sound={"keep_source_tracks": True})
    media.encode_masters(source, media.timeline(source), [], sound, {target: choice}, language="fr")
    was, now = media.probe(source), media.probe(target)
    assert [t.language for t in now.audio] == ["fra", was.audio[0].language]
    checks = media.check_sound(media.probe(sound), now, None, "fr", was)
    assert {c.status for c in checks} == {"equal"} and "and the source's 1" in checks[0].detail
    assert any(c.what == "the source's track 1" and "48000" in c.detail.replace(",", "") for c in checks)
    for asked, said in ((choice, "equal"), (MasterChoice(), "differs")):  # which nobody asked for
        (proof,) = media.prove(source, {target: asked}, sound, patch_folders=[], language="fr")
        assert next(c.status for c in proof.checks if c.what == "sound tracks") == said
    with av.open(str(target)) as file:
        kinds = [bool(s.disposition & type(s.disposition).default) for s in file.streams.audio]
    assert kinds == [True, False]


def test_subtitles_are_left_out_of_a_container_that_was_asked_for_and_of_no_other(tmp_path: Path) -> None:
    plain, source = film(tmp_path / "plain.mkv", "libx264", "yuv420p"), tmp_path / "film.mkv"
    (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:00,200\nSay it.\n")
    with av.open(str(plain)) as one, av.open(str(tmp_path / "s.srt")) as two, av.open(str(source), "w") as made:
        streams = {f: made.add_stream_from_template(f.streams[0]) for f in (one, two)}
        for file, stream in streams.items():
            for packet in file.demux(file.streams[0]):
                if packet.size:
                    packet.stream = stream
                    made.mux(packet)
    sound, line = flac(tmp_path / "d.flac", COUNT * 1920), media.timeline(source)
    assert len(media.probe(source).subtitles) == 1
    asked = {tmp_path / "own.mkv": MasterChoice(), tmp_path / "m.mp4": MasterChoice(container="mp4", suffix="a")}
    own, other = media.encode_masters(source, line, [], sound, asked, language="fr")
    assert [len(media.probe(m.path).subtitles) for m in (own, other)] == [1, 0]
    assert any("subrip subtitles, which .mp4 cannot carry: not in this master" in note for note in other.notices)
    assert not any("subtitles" in note for note in own.notices)


def test_silence_that_only_the_labels_of_a_track_tell_stays_in_the_master(tmp_path: Path) -> None:
    """A gap of half a second in Matroska; the lips are rendered for it, and PCM has no labels."""
    wave = np.random.default_rng(1).normal(0, 0.1, (24_000, 1)).astype(np.float32)
    sound = tmp_path / "dub.mkv"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("flac", rate=48_000, layout="mono")
        for n, at in enumerate((0, 48_000)):
            frame = av.AudioFrame.from_ndarray((wave.T * 20_000).astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
            out.mux(stream.encode(frame) if n == 0 else [*stream.encode(frame), *stream.encode(None)])
    wanted = media.read_sound(sound, None)
    source = film_of(tmp_path / "film.mov", 38)
    target = tmp_path / "master.mov"
    media.encode_master(source, media.timeline(source), [], sound, target)
    made = media.read_sound(target, None)
    assert len(wanted) == 72_000 and np.array_equal(made[:72_000], wanted)


@pytest.mark.parametrize("choice", [{"crf": 60}, {"preset": 5}])
def test_a_quality_that_the_sources_codec_has_not_is_refused_before_work(
    tmp_path: Path, choice: dict[str, int]
) -> None:
    source = film_of(tmp_path / "film.mp4", 3)
    with pytest.raises(UnsupportedMedia, match=next(iter(choice))):
        media.delivery(media.probe(source), media.probe(flac(tmp_path / "d.flac", 4800)), None, MasterChoice(**choice))


def test_a_draft_of_dnxhd_is_one_that_its_half_size_allows(tmp_path: Path) -> None:
    source = tmp_path / "film.mov"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("dnxhd", rate=25, width=1920, height=1080, pix_fmt="yuv422p")
        stream.codec_context.bit_rate = 120_000_000
        for n in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((1080, 1920, 3), 90, np.uint8), "bgr24").reformat(
                format="yuv422p"
            )
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    target = tmp_path / "draft.mov"
    media.encode_master(source, media.timeline(source), [], flac(tmp_path / "d.flac", 3840), target, draft=True)
    made = media.probe(target).video
    assert made is not None and (made.width, made.height, made.codec) == (960, 540, "dnxhd")


@pytest.mark.parametrize("codec", ["mjpeg", "prores_ks"])
def test_a_film_that_is_damaged_in_the_middle_makes_no_master(tmp_path: Path, dub: Dub, codec: str) -> None:
    """In a picture that would be copied as it is: nobody's mouth is in it."""
    job, film_path = plain_job(tmp_path, {"fr": "fr.wav"}, 50, video="film.mov"), tmp_path / "film.mov"
    rng = np.random.default_rng(1)
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv422p10le"
    with media.ClipWriter(film_path, 128, 96, codec=codec, crf=None, pix_fmt=pix_fmt, sample_rate_hz=16_000, channels=1,
                          timecode="01:00:00:00") as clip:  # fmt: skip
        for _ in range(50):
            clip.frame(rng.integers(0, 255, (96, 128, 3), np.uint8))
        clip.sound(rng.normal(0, 0.01, (32_000, 1)).astype(np.float32))
    with av.open(str(film_path)) as container:
        at, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][30]
    data = bytearray(film_path.read_bytes())
    data[at + size // 2 : at + size // 2 + size // 4] = bytes(size // 4)
    film_path.write_bytes(data)
    for command in (("check", "--deep"), ("run", "--engine", "local")):
        code, _, err = dub(command[0], job, "--out", tmp_path / "out", *command[1:])
        said = [line for line in err.splitlines() if "damaged" in line]
        assert code == 2 and len(said) == 1 and "is damaged at 01:00:01:05 (frame 30); give a whole" in said[0], err
    assert not list(tmp_path.glob("out/reel/fr/**/*.mov")), "no half of a master is left"


def test_av1_of_a_bitrate_is_the_same_every_time(tmp_path: Path) -> None:
    """Its encoder shares out bits among threads, which are not to race."""
    source, sound = tmp_path / "film.mp4", flac(tmp_path / "d.flac", 20 * 1920)
    noise = np.random.default_rng(1).integers(16, 235, (360, 640, 3), np.uint8)
    with media.ClipWriter(source, 640, 360, 25) as clip:
        for n in range(20):
            clip.frame(np.roll(noise, 3 * n, 1))
    targets = [tmp_path / f"m{n}.mp4" for n in range(3)]
    for target in targets:
        choice = {target: MasterChoice(codec="av1", bitrate="2M", preset=10)}
        media.encode_masters(source, media.timeline(source), [], sound, choice, language="fr")
    assert len({target.read_bytes() for target in targets}) == 1
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "its encoder leaves this process among the others"
