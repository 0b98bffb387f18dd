"""Masters that are looked at while they are made: what is taken of it for a file, and how much is held meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import av
import pytest
from test_master import dub as sound_of
from test_master import film, patches

from dubbing import media
from dubbing.master_choice import MasterChoice
from dubbing.media.looked import confirmed
from dubbing.media.looks import Looks
from dubbing.media.times import save_timeline
from dubbing.stages.proof import ProveMasters

COUNT = 60
PLAIN = MasterChoice()


def made(
    source: Path, drawn: Sequence[Path], choices: dict[Path, MasterChoice]
) -> list[tuple[media.Looked, ...] | None]:
    """What is seen of masters of a film while they are made."""
    sound, line = sound_of(source.with_name("d.flac"), COUNT * 1920), media.timeline(source)
    return [one.looked for one in media.encode_masters(source, line, drawn, sound, choices, language="fr", look=True)]


def exchanged(source: Path, target: Path, behind: int) -> Path:
    """A file with the times of two packets exchanged, the first that can be from that place on."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in old.streams}
        packets: list[Any] = [packet for packet in old.demux() if packet.size]
        shown = [packet for packet in packets if packet.stream.type == "video"]
        a, b = next((a, b) for a, b in zip(shown[behind:], shown[behind + 1 :], strict=False) if b.dts <= b.pts < a.pts)
        a.pts, b.pts = b.pts, a.pts
        for packet in packets:
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return target


@pytest.mark.parametrize(("untouched", "behind"), [(None, 20), ("copy", 40)])
def test_a_file_in_which_two_pictures_have_each_others_times_is_not_confirmed(
    tmp_path: Path, untouched: Literal["copy"] | None, behind: int
) -> None:
    source = film(tmp_path / "film.mp4", COUNT, options={"x264-params": "keyint=12:min-keyint=12:scenecut=0"})
    drawn, target = [patches(tmp_path / "p", range(15, 30))], tmp_path / "m.mp4"
    (runs,) = made(source, drawn, {target: MasterChoice(untouched=untouched)})
    line = media.timeline(source)
    assert runs is not None and confirmed(source, target, line, runs) is not None
    copied = not any(run.first <= behind < run.last for run in runs)
    assert copied == (untouched == "copy"), "the packets are of another kind than this test is about"
    assert confirmed(source, exchanged(target, tmp_path / "x.mp4", behind), line, runs) is None


def test_a_master_that_cannot_be_looked_at_takes_nothing_from_one_that_can(tmp_path: Path) -> None:
    source, drawn = film(tmp_path / "film.mp4", COUNT), [patches(tmp_path / "p", range(15, 30))]
    choices = {tmp_path / "a.mov": MasterChoice(codec="prores"), tmp_path / "b.mp4": PLAIN}
    first, second = made(source, drawn, choices)
    assert first is None and second is not None
    (tmp_path / "part").mkdir()
    line, asked = media.timeline(source), [*choices.values()]
    first, second = media.make_part(source, line, drawn, asked, tmp_path / "part", 0, COUNT, look=True)
    assert first is None and second is not None


def test_an_encoder_that_keeps_too_much_is_not_looked_at_any_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, drawn = film(tmp_path / "film.mp4", COUNT), [patches(tmp_path / "p", range(10, 20))]
    choices = {tmp_path / "a.mp4": MasterChoice(preset="medium"), tmp_path / "b.mp4": PLAIN}
    assert None not in made(source, drawn, choices)
    held: list[int] = []
    forget = Looks.forget

    def told(looks: Looks) -> None:
        forget(looks)
        held.append(looks.size)

    monkeypatch.setattr(Looks, "forget", told)
    monkeypatch.setattr("dubbing.media.looks.MOST_HELD", most := 20 * 96 * 64 * 3 // 2)
    deep, shallow = made(source, drawn, choices)
    assert deep is None and shallow is not None and 0 < max(held) <= most and held[-1] < most
    monkeypatch.setattr("dubbing.media.looks.MOST_HELD", 1)
    assert made(source, drawn, choices) == [None, None]


def test_a_long_film_whose_master_is_not_confirmed_shows_that_it_is_compared(tmp_path: Path) -> None:
    source, target = film(tmp_path / "film.mp4", COUNT), tmp_path / "m.mp4"
    (runs,) = made(source, [], {target: PLAIN})
    assert runs is not None
    line = media.timeline(source)
    save_timeline(tmp_path, line)

    def done(runs: tuple[media.Looked, ...]) -> int:
        of_master = SimpleNamespace(
            folder=tmp_path, key="k", read=lambda: SimpleNamespace(files=["m.mp4"], looked=[runs])
        )
        window = SimpleNamespace(read=lambda: SimpleNamespace(sums=(None,)))
        inputs: Any = SimpleNamespace(
            film=SimpleNamespace(path=source), sound=SimpleNamespace(path=tmp_path / "d.flac"), takes=(), window=None,
            master=of_master, asked=(("m.mp4", PLAIN),), parts=(window, window),
            timeline=SimpleNamespace(folder=tmp_path), frames=None, tracks=None, language="fr", draft=None,
        )  # fmt: skip
        told: list[int] = []
        (proof,) = ProveMasters().process(inputs, tmp_path, told.append).masters
        assert proof.pictures is not None and not [c for c in proof.checks if c.status == "differs"]
        return sum(told)

    assert done(runs) == 0 and done(runs[:-1]) >= COUNT // 2
