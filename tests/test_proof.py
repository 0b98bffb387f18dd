"""The proof of masters: what is lost of a master that was just made is found, is loud, and is told everywhere."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from command import Dub
from films import plain_job, run
from test_depth import MASTERING, PATCHED, X265
from test_depth import film as deep_film
from test_depth import patches as deep_patches
from test_master import dub as sound_of
from test_master import film, master, patches
from test_master_carried import remuxed

import dubbing
from dubbing import media
from dubbing.master_choice import MasterChoice
from dubbing.media.gap import gap
from dubbing.review.library import Library
from dubbing.review.report import report
from dubbing.stages import master as mastering

COUNT, HZ = 20, 48_000


def sei(codec: str, text: bytes) -> bytes:
    """A unit of captions (ATSC A/53 in ITU-T T.35) for a packet of H.264 or HEVC, its length before it."""
    body = b"\xb5\x00\x31GA94\x03" + bytes([0x41, 0xFF, 0xFC]) + text + b"\xff"
    unit = (b"\x06" if codec == "libx264" else b"\x4e\x01") + bytes([4, len(body)]) + body + b"\x80"
    return len(unit).to_bytes(4, "big") + unit


def captioned(source: Path, target: Path, codec: str, but: int | None = None) -> Path:
    """The film with captions in every picture, `but` one, in the file's order."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for n, packet in enumerate(p for p in old.demux(video=0) if p.size):
            made = av.Packet((b"" if n == but else sei(codec, bytes([0xA1 + n, 0xC1]))) + bytes(packet))
            made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            made.duration, made.is_keyframe, made.stream = packet.duration, packet.is_keyframe, stream
            new.mux(made)
    return target


def proven(source: Path, target: Path, sound: Path, drawn: list[Path], **how: Any) -> media.Proof:
    return media.prove(source, {target: how.pop("choice", None)}, sound, patch_folders=drawn, language="fr", **how)[0]


def differing(found: media.Proof) -> dict[str, str]:
    return {c.what: c.detail for c in found.differing}


def said(found: media.Proof, what: str) -> str:
    return next(str(c) for c in found.checks if c.what == what)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_captions_in_pictures_come_along_and_one_that_is_lost_is_named(tmp_path: Path, codec: str) -> None:
    plain = film(tmp_path / "plain.mp4", COUNT, codec=codec)
    source = captioned(plain, tmp_path / "film.mp4", codec)
    sound, drawn = sound_of(tmp_path / "d.flac", COUNT * HZ // 25), [patches(tmp_path / "p", range(4, 8))]
    target, _ = master(source, sound, drawn)
    good = proven(source, target, sound, drawn)
    assert not good.differing and said(good, "captions") == "equal: in 20 frames"
    lost = differing(proven(source, captioned(plain, tmp_path / "x.mp4", codec, but=0), sound, drawn))
    assert "captions in 19 frames, the source has them in 20; the first other is that of frame 0" in lost["captions"]
    asked = MasterChoice(codec="prores", container="mov")
    plan = media.delivery(media.probe(source), media.probe(sound), None, asked)
    assert any("captions in its pictures, which ProRes does not carry" in note for note in plan.notices)
    media.encode_masters(source, media.timeline(source), drawn, sound, {tmp_path / "a.mov": asked}, language="fr")
    found = proven(source, tmp_path / "a.mov", sound, drawn, choice=asked)
    assert not found.differing and said(found, "captions").startswith("not looked at: 20 frames have them, and ProRes")


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx265", X265),
        ("libx264", {"crf": "10", "x264-params": f"mastering-display={MASTERING}:cll=1000,400"}),
    ],
)
def test_hdr_metadata_comes_along_and_what_is_lost_of_it_is_named(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    source = deep_film(tmp_path / "film.mp4", codec, "yuv420p10le", options, transfer=16)
    sound = sound_of(tmp_path / "d.wav", 8 * HZ // 25)
    target, _ = master(source, sound)
    good = proven(source, target, sound, [])
    assert not good.differing and said(good, "HDR metadata") == "equal: mastering display, light levels"
    without = deep_film(tmp_path / "plain.mp4", codec, "yuv420p10le", {"crf": "10"}, transfer=16)
    told = differing(proven(source, master(without, sound)[0].rename(tmp_path / "x.mp4"), sound, []))
    assert "mastering display not said" in told["HDR metadata"] and "light levels not said" in told["HDR metadata"]


def test_chapters_timecode_and_tags_that_are_lost_are_named(tmp_path: Path) -> None:
    plain = film(tmp_path / "plain.mov", COUNT, timecode="01:00:00:00")
    source, sound = remuxed(plain, tmp_path / "film.mov", lambda new: []), sound_of(tmp_path / "d.wav", COUNT * 1920)
    assert not proven(source, master(source, sound)[0], sound, []).differing
    bare = film(tmp_path / "bare.mov", COUNT)
    told = differing(proven(source, master(bare, sound)[0], sound, []))
    assert {"chapters", "tags", "timecode"} <= set(told) and "01:00:00:00" in told["timecode"]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry for each pair of pictures that is compared from files."""
    found: list[int] = []
    monkeypatch.setattr("dubbing.media.likeness.gap_of", lambda *pair: found.append(1) or gap(*pair))
    return found


def stand_alone(folder: Path) -> tuple[Path, Path, list[Path], Path]:
    """A film of ProRes, its dub, its patches and its master."""
    source = deep_film(folder / "film.mov", "prores_ks", "yuv422p10le", {"profile": "hq", "vendor": "apl0"})
    sound, drawn = sound_of(folder / "d.wav", 8 * HZ // 25), [deep_patches(source, folder / "p")]
    return source, sound, drawn, master(source, sound, drawn)[0]


def test_packets_that_are_the_sources_own_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, sound, drawn, target = stand_alone(tmp_path)
    compared = counted(monkeypatch)
    found = proven(source, target, sound, drawn)
    assert not found.differing and len(compared) == len(PATCHED)
    assert found.pictures is not None and (found.pictures.same, found.pictures.masked) == (5, 3)
    assert "5 of 8 packets are the source's own" in said(found, "pictures")
    bare = proven(source, master(source, sound)[0], sound, drawn)  # without its patches
    assert "8 of 8 packets are the source's own, also of 3 frames with a matte" in said(bare, "pictures")


@pytest.mark.parametrize(("frame", "at"), [(0, 300), (0, 800), (3, 300)])  # copied, faintly, patched
def test_a_byte_that_is_another_in_a_picture_that_stands_alone_is_found(tmp_path: Path, frame: int, at: int) -> None:
    source, sound, drawn, target = stand_alone(tmp_path)
    data = bytearray(target.read_bytes())
    with av.open(str(target)) as container:
        packet = [p for p in container.demux(video=0) if p.size][frame]
    data[packet.pos + at] ^= 0x55
    target.write_bytes(data)
    told = differing(proven(source, target, sound, drawn, choice=MasterChoice()))
    assert f"frame {frame} " in " ".join(told.values())


def test_several_masters_are_proven_by_one_look_at_the_film(tmp_path: Path) -> None:
    source, sound, drawn, _ = stand_alone(tmp_path)
    line = media.timeline(source)
    choices = {tmp_path / "one.mov": MasterChoice(), tmp_path / "two.mp4": MasterChoice(codec="hevc", suffix="proxy")}
    flac = sound_of(tmp_path / "d.flac", 8 * HZ // 25)
    media.encode_masters(source, line, drawn, flac, choices, language="fr")
    found = media.prove(source, choices, flac, patch_folders=drawn, language="fr")
    assert [differing(one) for one in found] == [{}, {}]
    assert [one.pictures and one.pictures.same for one in found] == [5, 0]
    for path, one in zip(choices, found, strict=True):  # and each as it is alone
        alone = proven(source, path, flac, drawn, choice=choices[path])
        assert (alone.checks, alone.plain_pictures()) == (one.checks, one.plain_pictures())
    (tmp_path / "two.mp4").write_bytes((tmp_path / "two.mp4").read_bytes()[:900])
    good, bad = media.prove(source, choices, flac, patch_folders=drawn, language="fr")
    assert not good.differing and "truncated" in differing(bad)["file"]


def test_a_film_that_is_longer_than_its_dub_is_proven_as_far_as_it_is_delivered(tmp_path: Path) -> None:
    """As of a photograph."""
    source, sound = film(tmp_path / "film.mp4", 30), sound_of(tmp_path / "d.flac", 20 * 1920)
    line = media.timeline(source)
    media.encode_master(source, line, [], sound, tmp_path / "m.mp4", language="fr", frames=20)
    short = type(line)(line.pts[:20], line.time_base, int(line.pts[20]), line.rate, line.start_tc)
    assert not proven(source, tmp_path / "m.mp4", sound, [], timeline=short).differing
    assert "20 frames, the source has 30" in differing(proven(source, tmp_path / "m.mp4", sound, []))["frames"]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mov"])
def test_windows_of_a_film_come_to_what_one_look_finds_and_a_fault_is_looked_at_as_a_whole(
    tmp_path: Path, name: str
) -> None:
    if name.endswith("mov"):
        source, sound, drawn, target = stand_alone(tmp_path)
        edges = [(0, 3), (3, 6), (6, 8)]
    else:
        source = film(tmp_path / name, 60, "24000/1001")
        sound, drawn = sound_of(tmp_path / "d.flac", 60 * 2002), [patches(tmp_path / "p", range(15, 30))]
        target, edges = master(source, sound, drawn)[0], [(0, 21), (21, 40), (40, 60)]
    line, choices = media.timeline(source), {target: None}

    def parts() -> list[media.Sums | None]:
        return [media.prove_part(source, choices, drawn, line, *edge)[0] for edge in edges]

    whole = proven(source, target, sound, drawn, timeline=line)
    joined = proven(source, target, sound, drawn, timeline=line, parts={target: parts()})
    assert None not in parts() and not whole.differing
    assert (joined.checks, joined.plain_pictures()) == (whole.checks, whole.plain_pictures())
    bad = film(tmp_path / f"bad{source.suffix}", 60, "24000/1001") if name != "film.mov" else None
    if bad is not None:  # a frame less, and what comes after it is early
        with media.ClipWriter(bad, 96, 64, Fraction(24000, 1001)) as clip:
            for n, picture in enumerate(media.read(source, line)):
                if n != 50:
                    clip.frame(picture.bgr())
        spoilt = {bad: [media.prove_part(source, {bad: None}, drawn, line, *edge)[0] for edge in edges]}
        assert spoilt[bad][-1] is None
        assert (
            "frame 50 (00:00:02:02) missing"
            in differing(proven(source, bad, sound, drawn, timeline=line, parts=spoilt))["frames"]
        )


def changed(target: Path, frame: int) -> Path:
    """The file with another byte in one packet, by the order in which they lie there."""
    data = bytearray(target.read_bytes())
    with av.open(str(target)) as container:
        packet = [p for p in container.demux(video=0) if p.size][frame]
    data[packet.pos + packet.size // 2] ^= 0x55
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "untouched"),
    [
        ("film.mp4", "libx264", None), ("film.mkv", "libx264", None), ("film.mp4", "libx265", None),
        ("film.mkv", "libx265", None), ("film.mp4", "libx264", "copy"),
    ],
)  # fmt: skip
def test_what_was_seen_while_a_master_was_made_is_what_its_file_shows_and_a_byte_more_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, untouched: str | None
) -> None:
    options = {"x264-params": "keyint=12:min-keyint=12:scenecut=0"} if untouched else {}
    source = film(tmp_path / name, 60, codec=codec, options=options)
    line, choice = media.timeline(source), MasterChoice(untouched=untouched)
    sound, drawn = sound_of(tmp_path / "d.flac", 60 * 1920), [patches(tmp_path / "p", range(15, 30))]
    target = tmp_path / f"m{source.suffix}"
    (made,) = media.encode_masters(source, line, drawn, sound, {target: choice}, language="fr", look=True)
    assert made.looked is not None
    frames = [n for run in made.looked for n in range(run.first, run.last)]
    assert frames == list(range(12, 36) if untouched else range(60))
    about: dict[str, Any] = {"choice": choice, "timeline": line}
    whole = proven(source, target, sound, drawn, **about)
    assert not whole.differing
    compared = counted(monkeypatch)
    again = proven(source, target, sound, drawn, **about, looked={target: made.looked})
    assert (again.checks, again.plain_pictures()) == (whole.checks, whole.plain_pictures()) and not compared
    changed(target, 40)
    told = [proven(source, target, sound, drawn, **about, **more) for more in ({}, {"looked": {target: made.looked}})]
    assert [one.plain_pictures() for one in told] == [told[0].plain_pictures()] * 2 != [whole.plain_pictures()] * 2


# -- in a run --------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_of_a_long_film_proves_it_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dubbing.analysis.windows.FILM_S", 0.12)
    job, out = plain_job(tmp_path, {"fr": "fr.flac"}, 40), tmp_path / "out"
    started: list[str] = []
    compared = counted(monkeypatch)
    done = run(job, out, show=lambda e: started.append(e.task_id) if e.kind == "started" else None)
    proofs = [name for name in started if name.startswith("proof")]
    assert len(proofs) > 3 and proofs == [f"proof reel/fr/window_{n}" for n in range(1, len(proofs))] + [
        "proof reel/fr"
    ]
    assert done.exit_code == 0 and done.summary[0]["verified"] is True and not compared, "seen while it was made"
    assert not list((out / "reel" / "fr" / "windows").glob("proof-*"))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of two dubs of a film in which nobody is seen."""
    return plain_job(tmp_path_factory.mktemp("plain"), {"fr": "fr.flac", "de": "de.flac"}, 50)


def one_frame_twice(path: Path) -> None:
    """A master's second half shows other pictures than it should."""
    line = media.timeline(path)
    pictures = [p.bgr() for p in media.read(path, line)]
    made = path.with_name("other.mp4")
    with media.ClipWriter(made, 128, 96, Fraction(25)) as clip:
        for n in range(len(pictures)):
            clip.frame(pictures[n if n < 40 else n - 40])
    made.replace(path)


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every French master is spoilt as soon as it is made."""
    make = mastering.encode_masters

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        made = make(*args, **kwargs)
        for one in made:
            if ".fr." in one.path.name:
                one_frame_twice(one.path)
        return made

    monkeypatch.setattr(mastering, "encode_masters", spoilt)


@pytest.mark.usefixtures("tampered")
def test_a_master_that_is_not_its_film_is_loud_and_stays(job: Path, tmp_path: Path, dub: Dub) -> None:
    out = tmp_path / "out"
    code, told, _ = dub("run", job, "--out", out, "--engine", "local")
    assert code == 1 and "NOT PROVEN: reel/fr: reel.fr.mp4 is not proven: " in told and "reel.de.mp4" in told
    assert "frames 40 to 49 (00:00:01:15 to 00:00:01:24)" in told
    found = json.loads((out / "run.json").read_text())
    fr, de = found["dubs"]
    assert (fr["verified"], de["verified"], found["exit_status"]) == (False, True, 1)
    assert [c["what"] for c in fr["proof"][0]["checks"] if c["status"] == "differs"][0] == "pictures"
    assert {c["status"] for c in de["proof"][0]["checks"]} == {"equal"} and Path(fr["master"]).exists()
    shown = dubbing.open_results(out)
    assert [d.verified for d in shown.dubs] == [False, True]
    code, told, _ = dub("status", out)
    assert "NO" in told and "reel.fr.mp4 is not proven" in told
    verified = json.loads(dub("verify", fr["master"], "--source", job.parent / "film.mp4", "--json")[1])
    assert {k: v for k, v in verified.items() if k != "source"} == {
        k: v for k, v in fr["proof"][0].items() if k != "source"
    }
    page = report(Library(out))
    assert "not proven" in page and "reel.fr.mp4 is not proven: pictures: frames 40 to 49" in page
    assert page.count("✓ proven") == 1


def test_proof_off_is_said(job: Path, tmp_path: Path, dub: Dub) -> None:
    out, file = tmp_path / "out", tmp_path / "c.yaml"
    file.write_text("proof: false\n")
    code, told, _ = dub("run", job, "--out", out, "--engine", "local", "--config", file)
    assert code == 0 and "not compared" in told and "`proof: false`" in told
    found = json.loads((out / "run.json").read_text())
    assert [(d["verified"], d["proof"]) for d in found["dubs"]] == [(None, [])] * 2
    assert "proof" not in found["seconds_by_stage"] and "not compared" in dub("status", out)[1]
    assert "not compared: no master is made" in report(Library(out))


def test_of_a_draft_frames_times_and_sound_are_proven(job: Path, tmp_path: Path, dub: Dub) -> None:
    out = tmp_path / "out"
    assert dub("run", job, "--out", out, "--engine", "local", "--draft")[0] == 0
    rows = json.loads((out / "run.json").read_text())["dubs"]
    checks = {c["what"]: f"{c['status']}: {c['detail']}" for c in rows[0]["proof"][0]["checks"]}
    assert rows[0]["verified"] and checks["frames"] == "equal: 50 frames" and "samples of track 1" in checks
    assert checks["pictures"] == "not looked at: a draft has half the size" and "tags" not in checks
