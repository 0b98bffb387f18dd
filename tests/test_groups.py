"""Groups of pictures of H.264 in which nothing changed: they are copied, and what stands beside them fits."""

import base64
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from command import Dub
from test_master import dub as flac
from test_master import film, patches, same_picture_tags, same_sound, same_time, scene
from test_parts import parts_of

from dubbing import media
from dubbing.clock import Timeline
from dubbing.master_choice import MasterChoice
from dubbing.media.colour import planes_of
from dubbing.media.film import Film

COUNT, PATCHED = 48, range(18, 26)
COPY = MasterChoice(untouched="copy")
GROUPS = {"g": "8", "keyint_min": "8", "sc_threshold": "0", "bf": "3", "preset": "medium"}
HEVC = {"x265-params": "log-level=none:pools=1:frame-threads=1:keyint=8:min-keyint=8:open-gop=0"}
COPIED = [n for n in range(COUNT) if n not in range(16, 32)]


def grouped(path: Path, **more: Any) -> Path:
    """A film with a clean key frame every 8 pictures, and a pyramid of B-frames between."""
    return film(path, COUNT, options=GROUPS | more.pop("options", {}), timecode="01:00:00:00", **more)


def packets(path: Path, line: Timeline) -> dict[int, bytes]:
    """Of the picture, by frame; their times of decoding increase and are never later than those of showing."""
    with av.open(str(path)) as container:
        found = [p for p in container.demux(video=0) if p.size]
        times = [(p.dts, p.pts) for p in found if p.dts is not None]
        assert all(dts <= pts for dts, pts in times) and all(
            a[0] < b[0] for a, b in zip(times, times[1:], strict=False)
        )
        hevc = container.streams.video[0].codec_context.name == "hevc"
        data = [without_sets(bytes(p)) if hevc else bytes(p) for p in found]
        at = [int(np.searchsorted(line.pts * line.time_base, p.pts * p.time_base)) for p in found]
        return dict(zip(at, data, strict=True))


def without_sets(data: bytes) -> bytes:
    """A packet of HEVC without its parameter sets, which come with each key frame of a master."""
    kept, at = b"", 0
    while at < len(data):
        begin, at = at, at + 4 + int.from_bytes(data[at : at + 4], "big")
        kept += data[begin:at] if data[begin + 4] >> 1 & 63 not in (32, 33, 34) else b""
    return kept


def pictures(path: Path, threads: str) -> list[list[np.ndarray]]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.thread_type, context.thread_count = threads, 1 if threads == "NONE" else 4
        return [[plane.copy() for plane in planes_of(frame)] for frame in container.decode(video=0)]


def same_pictures(source: Path, target: Path, frames: Sequence[int]) -> None:
    """Frames that are the source's, sample for sample, however a decoder divides its work."""
    for threads in ("NONE", "FRAME"):
        was, now = pictures(source, threads), pictures(target, threads)
        assert len(was) == len(now)
        for n in frames:
            assert all(np.array_equal(a, b) for a, b in zip(was[n], now[n], strict=True)), (threads, n)


def master(
    source: Path, target: Path, drawn: Sequence[Path], choices: Sequence[MasterChoice] = (COPY,), **more: Any
) -> media.Mastered:
    sound = flac(target.with_suffix(".flac"), COUNT * 1920)
    targets = {target.with_stem(f"{target.stem}{n or ''}"): choice for n, choice in enumerate(choices)}
    (made, *_) = media.encode_masters(source, media.timeline(source), drawn, sound, targets, language="fr", **more)
    same_sound(sound, target)
    return made


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        (".mp4", {}),
        (".mkv", {"options": {"x264-params": "slices=3:sps-id=31"}}),
        (".mov", {"pix_fmt": "yuv422p10le", "options": {"bf": "1"}}),
        (".mp4", {"codec": "libx265", "options": HEVC}),
        (".mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": HEVC}),
        (".mp4", {"options": {"bf": "0", "profile": "baseline", "x264-params": "cabac=0:repeat-headers=1"}}),
    ],
)
def test_groups_without_a_patch_are_copied_and_the_others_stand_between_them(
    tmp_path: Path, suffix: str, settings: dict[str, Any]
) -> None:
    source, target = grouped(tmp_path / f"film{suffix}", **settings), tmp_path / f"m{suffix}"
    line, drawn = media.timeline(source), [patches(tmp_path / "p", PATCHED)]
    told = master(source, target, drawn).notices
    assert not any("encoded" in note for note in told)
    same_time(line, media.timeline(target))
    same_picture_tags(source, target)
    was, now = packets(source, line), packets(target, line)
    assert [n for n in range(COUNT) if was[n] == now[n]] == COPIED
    same_pictures(source, target, COPIED)
    (proof,) = media.prove(source, {target: COPY}, target.with_suffix(".flac"), patch_folders=drawn, language="fr")
    seen = proof.pictures
    assert not proof.differing and seen is not None and seen.same == len(COPIED)
    assert seen.psnr_db > 45 and seen.worst_db is not None and seen.worst_db > 42
    shown = next(media.read(target, line, PATCHED[0], PATCHED[0] + 1)).bgr()
    assert shown[28, 36, 2] > 180, "the patch is there"
    together = tmp_path / f"t{suffix}"
    master(source, together, drawn, [COPY, MasterChoice(suffix="proxy", untouched="encode")])
    assert together.read_bytes() == target.read_bytes()
    assert media.compare_pictures(source, together.with_stem("t1"), drawn).psnr_db > 42


def test_a_film_in_an_mpeg_stream_and_one_that_is_left_off_early_are_copied_too(tmp_path: Path) -> None:
    source, stream = grouped(tmp_path / "film.mp4"), tmp_path / "film.ts"
    with av.open(str(source)) as a, av.open(str(stream), "w") as b:
        there = b.add_stream_from_template(a.streams.video[0])
        for packet in a.demux(video=0):
            if packet.size:
                packet.stream = there
                b.mux(packet)
    drawn, target = [patches(tmp_path / "p", PATCHED)], tmp_path / "m.mp4"
    master(stream, target, drawn)
    same_time(media.timeline(stream), media.timeline(target))
    same_pictures(stream, target, COPIED)
    short = tmp_path / "short.mp4"
    sound, line = flac(tmp_path / "short.flac", 44 * 1920), media.timeline(source)
    media.encode_masters(source, line, drawn, sound, {short: COPY}, language="fr", frames=44)
    was, now = packets(source, line), packets(short, line)
    assert [n for n in now if was[n] == now[n]] == [n for n in now if n in COPIED and n < 40] and len(now) == 44


@pytest.mark.parametrize("look", [False, True])
def test_windows_of_a_long_film_copy_what_lies_in_them(tmp_path: Path, look: bool) -> None:
    """A group that two windows share is encoded; nothing else changes, whether they are looked at or not."""
    source, target = grouped(tmp_path / "film.mp4"), tmp_path / "m.mp4"
    line, drawn = media.timeline(source), [patches(tmp_path / "p", PATCHED)]
    choices = [COPY, MasterChoice(suffix="proxy", crf=30)]
    parts = parts_of(source, line, tmp_path / "parts", drawn, choices, (0, 21, 36, COUNT), look=look)
    (told,) = master(source, target, drawn, choices, parts=parts).notices
    assert "8 pictures without a patch had to be encoded, because their groups reach over the edges" in told
    same_time(line, media.timeline(target))
    was, now = packets(source, line), packets(target, line)
    copied = [n for n in COPIED if n not in range(32, 40)]
    assert [n for n in range(COUNT) if was[n] == now[n]] == copied
    same_pictures(source, target, copied)
    assert media.compare_pictures(source, target, drawn).psnr_db > 45


def test_a_window_of_open_groups_is_not_decoded_from_the_films_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean key frames are frames 0 and 340 alone; from the second on a window may copy."""
    source, parts, target = tmp_path / "film.mp4", [tmp_path / "a", tmp_path / "b"], tmp_path / "m.mp4"
    with av.open(str(source), "w") as file:
        stream: Any = file.add_stream(
            "libx264", 25, {"x264-params": "keyint=8:open-gop=1:scenecut=0", "forced-idr": "1"}
        )
        stream.width, stream.height = 96, 64
        for n in range(360):
            frame = av.VideoFrame.from_ndarray(scene(n, 96, 64), "bgr24").reformat(format="yuv420p")
            frame.pict_type = 1 if n in (0, 340) else 0
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    line, drawn, looked = media.timeline(source), [patches(tmp_path / "p", range(310, 335))], list[int]()
    check = Film.check
    monkeypatch.setattr(Film, "check", lambda self, frame, n: looked.append(n) or check(self, frame, n))
    for part, (first, last) in zip(parts, ((0, 320), (320, 360)), strict=True):
        looked.clear()
        part.mkdir()
        media.make_part(source, line, drawn, [COPY], part, first, last)
    assert min(looked) >= 300
    assert any("no clean key frame is near" in told for told in master(source, target, drawn, parts=parts).notices)
    same_time(line, media.timeline(target))
    same_pictures(source, target, range(340, 360))
    assert media.compare_pictures(source, target, drawn).fits


@pytest.mark.parametrize(
    ("settings", "why", "copied"),
    [
        ({"options": {"x264-params": "interlaced=1"}}, "because its pictures may be coded as fields", 0),
        (
            {"options": {"x264-params": "open-gop=1"}},
            "40 pictures without a patch had to be encoded, because each group",
            0,
        ),
        ({"uneven": True}, "because it has a variable frame rate, and pictures that are not coded in the order", 0),
        ({"uneven": True, "options": {"bf": "0"}}, "", 32),
    ],
)
def test_what_cannot_be_copied_is_encoded_and_says_why(
    tmp_path: Path, settings: dict[str, Any], why: str, copied: int
) -> None:
    uneven = settings.pop("uneven", False)
    source, target = tmp_path / "film.mkv", tmp_path / "m.mkv"
    if uneven:
        from test_master import H, W, scene

        with media.ClipWriter(
            source, W, H, Fraction(25), time_base=Fraction(1, 1000), options=GROUPS | settings.get("options", {})
        ) as clip:
            for n in range(COUNT):
                clip.frame(scene(n), 40 * n + (25 if n % 5 == 3 else 0))
    else:
        grouped(source, **settings)
    made = master(source, target, [patches(tmp_path / "p", PATCHED)])
    line = media.timeline(source)
    same_time(line, media.timeline(target))
    assert why in " ".join(made.notices) and bool(why) == any("encoded" in n for n in made.notices)
    was, now = packets(source, line), packets(target, line)
    assert sum(was[n] == now[n] for n in range(COUNT)) == copied


def test_sets_that_change_on_the_way_end_the_copying(tmp_path: Path) -> None:
    """Two films of one size, other settings: the second's sets come with its first packet."""
    halves = [
        film(tmp_path / f"{n}.mpegts", 24, options=GROUPS | {"x264-params": f"ref={2 + n}:repeat-headers=1"})
        for n in range(2)
    ]  # fmt: skip
    raw = tmp_path / "film.mkv"
    with av.open(str(raw), "w") as made:
        stream: Any = None
        for n, half in enumerate(halves):
            with av.open(str(half)) as one:
                stream = stream or made.add_stream_from_template(one.streams.video[0])
                for packet in one.demux(video=0):
                    if packet.size:
                        packet.pts, packet.dts = (t + 24 * 3600 * n for t in (packet.pts, packet.dts))
                        packet.stream = stream
                        made.mux(packet)
    target = tmp_path / "m.mkv"
    told = master(raw, target, [patches(tmp_path / "p", range(2, 4))]).notices
    line = media.timeline(raw)
    assert any("24 pictures without a patch had to be encoded, because its parameter sets change" in n for n in told)
    assert media.compare_pictures(raw, target, [tmp_path / "p"]).psnr_db > 42
    same_pictures(raw, target, range(8, 24))
    assert len(line) == COUNT


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"codec": "prores", "container": "mov"}, "h264 of yuv420p, cannot stand in a master of ProRes"),
        ({"bit_depth": 10}, "cannot stand in a master of H.264 of 10 bits"),
    ],
)
def test_what_is_not_the_sources_own_is_not_copied_and_check_says_so(
    tmp_path: Path, dub: Dub, asked: dict[str, Any], said: str
) -> None:
    grouped(tmp_path / "film.mp4", sample_rate_hz=48_000)
    flac(tmp_path / "film.fr.flac", COUNT * 1920)
    title = {"id": "film", "video": "film.mp4", "dubs": [{"language": "fr", "audio": "film.fr.flac"}]}
    job = {"version": 1, "titles": [title], "master": {"untouched": "copy", **asked}}
    written = json.dumps(job, indent=1)
    (tmp_path / "job.yaml").write_text(written)
    code, _, err = dub("check", tmp_path / "job.yaml")
    assert code == 2 and said in err and "remove `untouched: copy`" in err
    line = 1 + next(n for n, text in enumerate(written.splitlines()) if '"master"' in text)
    assert f"job.yaml, line {line}:" in err


def test_every_picture_is_encoded_where_that_is_asked_of_a_codec_that_would_copy(tmp_path: Path) -> None:
    source, target = film(tmp_path / "film.mov", 8, codec="mjpeg", crf=None, pix_fmt="yuvj422p"), tmp_path / "m.mov"
    line, sound = media.timeline(source), flac(tmp_path / "d.wav", 8 * 1920)
    for choice, same in ((MasterChoice(), 8), (MasterChoice(untouched="encode"), 0)):
        media.encode_masters(source, line, [], sound, {target: choice}, language="fr")
        was, now = packets(source, line), packets(target, line)
        assert sum(was[n] == now[n] for n in was) == same


SHOWN = """async ([film, times]) => {
  const video = document.createElement("video"), errors = [];
  video.addEventListener("error", () => errors.push(video.error.message));
  const sought = (name) => new Promise((done) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", done, { once: true });
  });
  const presented = (time) => new Promise((done) => {  // what is sought may be announced before it is there to be drawn
    const look = (_, { mediaTime }) =>
      time > mediaTime && time < mediaTime + 0.04 ? done() : video.requestVideoFrameCallback(look);
    video.requestVideoFrameCallback(look);
    setTimeout(done, 2000);
  });
  video.muted = true;
  document.body.append(video);
  video.src = URL.createObjectURL(await (await fetch(film)).blob());
  await sought("loadeddata");
  const [width, height] = [video.videoWidth, video.videoHeight];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const shown = [];
  for (const time of times) {
    const there = Promise.all([sought("seeked"), presented(time)]);
    video.currentTime = time;
    await there;
    canvas.getContext("2d").drawImage(video, 0, 0);
    shown.push(canvas.toDataURL("image/png"));
  }
  video.currentTime = 0;
  await sought("seeked");
  await video.play();
  await sought("ended");
  const { corruptedVideoFrames, totalVideoFrames } = video.getVideoPlaybackQuality();
  return { errors, shown, corruptedVideoFrames, totalVideoFrames };
}"""


@pytest.mark.browser
def test_a_browser_shows_the_right_picture_on_either_side_of_each_seam(tmp_path: Path, chromium: Any) -> None:
    source, target = grouped(tmp_path / "film.mp4"), tmp_path / "m.mp4"
    drawn = [patches(tmp_path / "p", PATCHED), patches(tmp_path / "q", range(44, 45))]
    master(source, target, drawn)
    line = media.timeline(target)
    wanted = [n for seam in (16, 32, 40) for n in range(seam - 3, seam + 3)] + [0, 5, 27, COUNT - 1, 20]
    page = chromium.new_page()
    page.route("http://films.test/**", lambda route: route.fulfill(
        body=target.read_bytes() if route.request.url.endswith(".mp4") else b"<body></body>",
        content_type="video/mp4" if route.request.url.endswith(".mp4") else "text/html",
    ))  # fmt: skip
    page.goto("http://films.test/")
    times = [float((int(line.pts[n]) + Fraction(1, 2) / line.rate / line.time_base) * line.time_base) for n in wanted]
    got = page.evaluate(SHOWN, ["/m.mp4", times])
    page.close()
    assert got["errors"] == [] and got["corruptedVideoFrames"] == 0 and len(got["shown"]) == len(wanted)
    decoded = [picture.bgr().astype(float) for picture in media.read(target, line)]
    for n, shown in zip(wanted, got["shown"], strict=True):
        data = np.frombuffer(base64.b64decode(shown.partition(",")[2]), np.uint8)
        seen = cv2.imdecode(data, cv2.IMREAD_COLOR).astype(float)
        apart = {k: float(np.abs(seen - decoded[k]).mean()) for k in range(max(0, n - 2), min(COUNT, n + 3))}
        assert min(apart, key=lambda k: apart[k]) == n and apart[n] < 2, (n, apart)
