"""Cuts: found in pictures whose cuts are known, read from cut lists, exact on the reel."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest

from dubbing import media
from dubbing.analysis import cutlist
from dubbing.analysis.cuts import CutFinder
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.clock import Timeline
from dubbing.errors import ManifestError
from dubbing.stages.shots import Shots, ShotsInputs

REEL_CUTS = [72, 216, 360, 576, 816, 914, 936, 1104, 1130]
NTSC_FILM = Fraction(24000, 1001)


def scene(seed: int, contrast: float = 1.0) -> np.ndarray:
    """A soft random picture, larger than what is shown of it, uint8 (160, 400, 3)."""
    import cv2

    grid = np.random.default_rng(seed).uniform(40, 215, (8, 20, 3)).astype(np.float32)
    grid = 128 + (grid - 128) * contrast
    return cv2.resize(grid, (400, 160), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def shot(seed: int, frames: int, speed: float = 0.5) -> list[np.ndarray]:
    """A camera drifting over one scene, with grain."""
    picture, noise = scene(seed), np.random.default_rng(seed + 1000)
    out = []
    for n in range(frames):
        x = int(n * speed)
        grain = noise.normal(0, 2, (144, 256, 3))
        out.append((picture[8:152, x : x + 256] + grain).clip(0, 255).astype(np.uint8))
    return out


def found(pictures: list[np.ndarray], **settings: float) -> list[int]:
    finder = CutFinder(**settings)  # type: ignore[arg-type]
    for picture in pictures:
        finder.feed(picture)
    return finder.finish()


class TestFinding:
    def test_cuts_are_exact(self) -> None:
        assert found(shot(1, 30) + shot(2, 7) + shot(3, 40)) == [30, 37]

    def test_a_moving_camera_is_no_cut(self) -> None:
        assert found(shot(1, 40, speed=3.5)) == []

    def test_a_flash_is_no_cut(self) -> None:
        for length in (1, 2):
            pictures = shot(1, 40)
            pictures[20 : 20 + length] = [np.full_like(pictures[0], 250)] * length
            assert found(pictures) == []

    def test_repeated_frames_do_not_make_movement_a_cut(self) -> None:
        film = shot(4, 30, speed=4)
        pulled = [p for n, p in enumerate(film) for _ in range(2 + n % 2)]
        assert found(pulled) == []
        cut = [p for n, p in enumerate(shot(4, 15, speed=4) + shot(5, 15, speed=4)) for _ in range(2 + n % 2)]
        assert found(cut) == [37]

    def test_between_two_stills(self) -> None:
        slides = [scene(1)[:144, :256]] * 20 + [scene(2)[:144, :256]] * 20
        assert found(slides) == [20]

    def test_a_fade_through_black_is_a_cut(self) -> None:
        light = [*np.ones(20), *np.linspace(1, 0, 25), *np.linspace(0, 1, 25), *np.ones(20)]
        film = shot(1, 45) + shot(2, 45)
        cuts = found([(p * k).astype(np.uint8) for p, k in zip(film, light, strict=True)])
        assert len(cuts) == 1
        assert abs(cuts[0] - 45) <= 3

    def test_no_shot_is_shorter_than_asked(self) -> None:
        assert found(shot(1, 20) + shot(2, 4) + shot(3, 20) + shot(4, 3), min_frames=6) == [20]

    def test_no_frames(self) -> None:
        assert found([]) == []


def make_film(path: Path, pictures: list[np.ndarray], timecode: str | None = None) -> Path:
    with media.ClipWriter(path, 256, 144, NTSC_FILM, timecode=timecode) as clip:
        for picture in pictures:
            clip.frame(picture)
    return path


def run(source: Path, out: Path, cuts: Path | None = None) -> ShotList:
    out.mkdir()
    seen: list[int] = []
    inputs = ShotsInputs(File(source, ""), File(cuts, "") if cuts else None, threshold=3.0, min_frames=6)
    result = Shots().process(inputs, out, seen.append)
    assert sum(seen) == result.frames
    return result


class TestStage:
    def test_shots_cover_every_frame_and_the_timeline_is_kept(self, tmp_path: Path) -> None:
        film = make_film(tmp_path / "-a 'film'.mp4", shot(1, 20) + shot(2, 25), timecode="01:00:00:00")
        result = run(film, tmp_path / "out")
        assert result == ShotList(45, ((0, 20), (20, 45)))
        assert [(s.id, s.start_frame, s.end_frame) for s in result.shots] == [
            ("shot_0001", 0, 20),
            ("shot_0002", 20, 45),
        ]
        line = media.load_timeline(tmp_path / "out")
        assert (len(line), line.rate, line.timecode(44)) == (45, NTSC_FILM, "01:00:01:20")

    def test_a_cut_list_is_followed_to_the_frame(self, tmp_path: Path) -> None:
        film = make_film(tmp_path / "film.mp4", shot(1, 45), timecode="01:00:00:00")
        edl = tmp_path / "cuts.edl"
        edl.write_text(
            "TITLE: x\nFCM: NON-DROP FRAME\n"
            "001  A001 V     C        05:00:00:00 05:00:00:11 01:00:00:00 01:00:00:11\n"
            "002  A002 V     C        00:00:00:00 00:00:01:10 01:00:00:11 01:00:01:21\n"
        )
        assert run(film, tmp_path / "out", edl).cuts == ((0, 11), (11, 45))

    @pytest.mark.long
    def test_the_reel(self, shared: Path, tmp_path: Path) -> None:
        result = run(shared / "media" / "reel.mp4", tmp_path / "out")
        assert [a for a, _ in result.cuts] == [0, *REEL_CUTS]
        assert result.frames == 1224

    @pytest.mark.parametrize(("clip", "cuts"), [("webcam_glasses.mp4", []), ("frontal_512.mp4", [])])
    def test_single_shots_stay_whole(self, shared: Path, tmp_path: Path, clip: str, cuts: list[int]) -> None:
        assert [a for a, _ in run(shared / "media" / clip, tmp_path / "out").cuts][1:] == cuts

    def test_a_talk_with_many_cuts(self, shared: Path, tmp_path: Path) -> None:
        cuts = [a for a, _ in run(shared / "media" / "stage_cuts.mp4", tmp_path / "out").cuts][1:]
        assert {291, 452, 580, 757, 912, 1020, 1141, 1433} <= set(cuts)
        assert len(cuts) <= 9  # one more is a change of the projected slide


def line(frames: int, rate: Fraction = NTSC_FILM, start_tc: str = "01:00:00:00") -> Timeline:
    return Timeline(np.arange(frames, dtype=np.int64), 1 / rate, frames, rate, start_tc)


def edl(folder: Path, *events: str, head: str = "TITLE: x\n") -> Path:
    path = folder / "list.edl"
    path.write_text(head + "\n".join(events) + "\n", encoding="utf-8")
    return path


EVENT = "{:03d}  REEL  V     C        00:00:00:00 00:00:01:00 {} {}"


def cuts_of(path: Path, film: Timeline) -> list[int]:
    """The cuts of a list in which the film's picture has no say."""

    def asked(frames: Sequence[int]) -> list[float]:
        raise AssertionError(f"the picture was looked at, at {frames}")

    return cutlist.read_cuts(path, film, asked)


class TestEdl:
    @pytest.mark.parametrize(("rate", "start"), [(Fraction(50), "10:00:00:00"), (Fraction(60000, 1001), "10:00:00;00")])
    @pytest.mark.parametrize("counts", ["frames", "pairs"])
    def test_the_picture_tells_whether_a_list_counts_frames_or_pairs(
        self, tmp_path: Path, rate: Fraction, start: str, counts: str
    ) -> None:
        base, mark = round(rate), ";" if ";" in start else ":"
        unit = base if counts == "frames" else base // 2
        film = line(250, rate, start)
        frames = [0, 74, 148, 250] if rate == 50 else [0, 84, 148, 250]
        codes = [f"10:00:{f * unit // base // unit:02d}{mark}{f * unit // base % unit:02d}" for f in frames]
        path = edl(tmp_path, *(EVENT.format(n + 1, a, b) for n, (a, b) in enumerate(pairwise(codes))))
        true = frames[1:3]
        assert cutlist.read_cuts(path, film, lambda at: [50.0 if f in true else 1.0 for f in at]) == true
        if counts == "frames":  # frame 48 of a second is no pair of it
            return
        with pytest.raises(ManifestError, match=f"a count of {base} .* and one of {base // 2} pairs"):
            cutlist.read_cuts(path, film, lambda at: [3.0 for _ in at])

    def test_a_list_that_can_only_count_frames_asks_no_picture(self, tmp_path: Path) -> None:
        path = edl(
            tmp_path, EVENT.format(1, "10:00:00:00", "10:00:00:30"), EVENT.format(2, "10:00:00:30", "10:00:02:00")
        )
        assert cuts_of(path, line(100, Fraction(50), "10:00:00:00")) == [30]

    def test_gaps_and_audio_and_comments(self, tmp_path: Path) -> None:
        path = edl(
            tmp_path,
            EVENT.format(1, "01:00:00:00", "01:00:01:00"),
            "* FROM CLIP NAME: A_001.MOV",
            "M2   REEL       048.0                00:00:00:00",
            "002  REEL  A     C        00:00:00:00 00:00:01:00 01:00:00:12 01:00:01:12",
            "",
            EVENT.format(3, "01:00:02:00", "01:00:03:00"),
        )
        assert cuts_of(path, line(100)) == [24, 48, 72]

    def test_a_dissolve_cuts_in_its_middle(self, tmp_path: Path) -> None:
        path = edl(
            tmp_path,
            EVENT.format(1, "01:00:00:00", "01:00:02:00"),
            "002  REEL  V     C        00:00:00:00 00:00:00:00 01:00:02:00 01:00:02:00",
            "002  REEL  V     D    012 00:00:00:00 00:00:02:04 01:00:02:00 01:00:04:04",
        )
        assert cuts_of(path, line(100)) == [54]

    def test_drop_frame_counts_as_the_film_does(self, tmp_path: Path) -> None:
        film = line(2000, Fraction(30000, 1001), "00:00:59;00")
        path = edl(
            tmp_path,
            EVENT.format(1, "00:00:59:00", "00:00:59:29"),
            EVENT.format(2, "00:00:59:29", "00:01:00:02"),
            EVENT.format(3, "00:01:00:02", "00:01:01:00"),
            head="TITLE: x\nFCM: DROP FRAME\n",
        )
        assert cuts_of(path, film) == [29, 30, 58]

    def test_an_hour_is_taken_as_the_start_of_a_film_without_timecode(self, tmp_path: Path) -> None:
        path = edl(
            tmp_path, EVENT.format(1, "01:00:00:00", "01:00:01:00"), EVENT.format(2, "01:00:01:00", "01:00:02:00")
        )
        assert cuts_of(path, line(48, start_tc="00:00:00:00")) == [24]

    @pytest.mark.parametrize(
        ("events", "named"),
        [
            ([EVENT.format(1, "01:00:00:00", "01:00:05:00")], ["line 2", "01:00:05:00", "01:00:04:04"]),
            ([EVENT.format(1, "00:59:59:00", "01:00:01:00")], ["line 2", "00:59:59:00"]),
            ([EVENT.format(1, "01:00:00:00", "01:00:02:00"), EVENT.format(2, "01:00:01:00", "01:00:03:00")],
             ["line 3", "01:00:01:00", "line 2"]),
            ([EVENT.format(1, "01:00:00:00", "01:00:00:24")], ["line 2", "01:00:00:24"]),
            (["001  REEL  V  C  nonsense"], ["line 2", "nonsense"]),
            ([EVENT.format(1, "01:00:01:00", "01:00:00:00")], ["line 2", "before"]),
            ([], ["no picture edit"]),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_named(self, tmp_path: Path, events: list[str], named: list[str]) -> None:
        with pytest.raises(ManifestError) as error:
            cuts_of(edl(tmp_path, *events), line(100))
        assert all(text in str(error.value) for text in named), str(error.value)


def otio_list(folder: Path, lengths: list[float], rate: float, start: float | None) -> Path:
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    for n, length in enumerate(lengths):
        time = otio.opentime.TimeRange(otio.opentime.RationalTime(7, rate), otio.opentime.RationalTime(length, rate))
        track.append(otio.schema.Clip(name=f"clip {n}", source_range=time))
    timeline = otio.schema.Timeline(global_start_time=otio.opentime.RationalTime(start, rate) if start else None)
    timeline.tracks.append(track)
    path = folder / "list.otio"
    otio.adapters.write_to_file(timeline, str(path))
    return path


class TestOtio:
    @pytest.mark.parametrize("start", [None, 86400])
    def test_cuts(self, tmp_path: Path, start: float | None) -> None:
        path = otio_list(tmp_path, [10, 30, 5], 24000 / 1001, start)
        assert cuts_of(path, line(60)) == [10, 40, 45]

    def test_another_rate_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="30 frames a second, the film counts 24"):
            cuts_of(otio_list(tmp_path, [10, 30], 30, None), line(60))

    def test_an_edit_beyond_the_end_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match=r"edit 2 \(clip 1\): 01:00:03:08"):
            cuts_of(otio_list(tmp_path, [40, 40], 24, None), line(60))

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        for name, text in (("cuts.xml", "<xmeml/>"), ("cuts.otio", "{"), ("none.edl", None)):
            if text is not None:
                (tmp_path / name).write_text(text)
            with pytest.raises(ManifestError, match=name):
                cuts_of(tmp_path / name, line(60))
