"""`dub eval --protocol`: which sound meets which picture, films at 25 frames a second, and a data set's numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import Dub

from dubbing import config, experts, media
from dubbing.errors import InputError, MediaError, StageError
from dubbing.evaluate import protocol
from dubbing.evaluate.pairs import Pair, pairs_of
from dubbing.evaluate.session import Session
from dubbing.store import Store


def laid_out(root: Path, *names: str) -> Path:
    """Empty films of these names: whoever pairs films opens none."""
    for name in names:
        path = root / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def names(pairs: list[Pair], root: Path) -> list[tuple[str, str]]:
    return [tuple(p.relative_to(root).with_suffix("").as_posix() for p in (one.video, one.sound)) for one in pairs]


# -- pairs -------------------------------------------------------------------------------------


def test_hdtf_is_driven_by_its_own_sound_or_the_next_one_s(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "hdtf", "WDA_B_000", "RD_A_000", "RD_A_001")
    assert names(pairs_of("hdtf", root), root) == [(n, n) for n in ("RD_A_000", "RD_A_001", "WDA_B_000")]
    turned = [("RD_A_000", "RD_A_001"), ("RD_A_001", "WDA_B_000"), ("WDA_B_000", "RD_A_000")]
    found = pairs_of("hdtf", root, driven="other")
    assert names(found, root) == turned and not any(p.own for p in found)
    assert len({p.id for p in found}) == 3 and all(p.id.replace("-", "").replace("_", "").isalnum() for p in found)
    (root / "pairs.txt").write_text("RD_A_000 WDA_B_000\n")
    assert names(pairs_of("hdtf", root, root / "pairs.txt"), root) == [("WDA_B_000", "RD_A_000")]


def test_lrs2_has_a_test_list_or_the_published_pairs(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "mvlrs_v1", "main/1/00001", "main/1/00002", "main/2/00001")
    (root / "test.txt").write_text("1/00001 NF 1\n2/00001 MV 2\n")
    main = root / "main"
    assert names(pairs_of("lrs2", root), main) == [("1/00001", "2/00001"), ("2/00001", "1/00001")]
    assert names(pairs_of("lrs2", root, driven="own"), main) == [("1/00001", "1/00001"), ("2/00001", "2/00001")]
    (listed := tmp_path / "lrs2.txt").write_text("1/00002 1/00001\n\n2/00001 1/00002\n")
    assert names(pairs_of("lrs2", root, listed), main) == [("1/00001", "1/00002"), ("1/00002", "2/00001")]


def test_what_is_no_data_set(tmp_path: Path, dub: Dub) -> None:
    root = laid_out(tmp_path / "data", "a")
    (listed := tmp_path / "listed.txt").write_text("a b\n")
    (short := tmp_path / "short.txt").write_text("a a\na\n")
    for protocol_, where, pairs, said in (
        ("hdtf", tmp_path / "absent", None, "is no folder"),
        ("lrs2", root, None, "There is no test.txt"),
        ("hdtf", root, listed, "names b, and there is no"),
        ("hdtf", root, short, "line 2: a line is a sound and a picture"),
        ("hdtf", root, tmp_path / "absent.txt", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            pairs_of(protocol_, where, pairs)
    with pytest.raises(InputError, match="One film alone"):
        pairs_of("hdtf", root, driven="other")
    with pytest.raises(MediaError):
        (tmp_path / "empty").mkdir()
        pairs_of("hdtf", tmp_path / "empty")
    for args, said in (
        ((root, "--protocol", "hdtf", "--only", "2"), "takes one folder"),
        ((root, "--pairs", listed), "belong to --protocol"),
        ((root, "--protocol", "hdtf", "--out", tmp_path / "out"), "dub models pull syncnet_v2"),
    ):
        code, _, err = dub("eval", *args)
        assert code == 2 and said in err and err.count("\n") == 1, err


# -- films -------------------------------------------------------------------------------------


def test_films_are_brought_to_25_frames_and_to_their_sound(tmp_path: Path) -> None:
    from fractions import Fraction

    for name, rate, seconds in (("thirty", 30, 1.6), ("short", 25, 1.2), ("blink", 25, 0.4)):
        with media.ClipWriter(tmp_path / f"{name}.mp4", 64, 48, Fraction(rate), sample_rate_hz=48000) as writer:
            for n in range(round(rate * seconds)):
                writer.frame(np.full((48, 64, 3), 4 * n, np.uint8))
            writer.sound(np.zeros((round(48000 * seconds), 2), np.float32))
    thirty, short, blink = (tmp_path / f"{name}.mp4" for name in ("thirty", "short", "blink"))
    with Session(Store(tmp_path / "out"), config.load(), {"name": "rewrite"}, lambda name: None) as session:
        assert protocol.film_of(session, Pair("a", short, thirty)) == short
        assert protocol.film_of(session, Pair("b", short, short)) == short
        made = protocol.film_of(session, Pair("c", thirty, short))
        found = [p.bgr().mean() for p in media.scan(made).pictures()]
        assert media.probe(made).video.rate == 25 and len(found) in (29, 30)  # as long as its sound, 1.2 s
        assert found[25] == pytest.approx(4 * 30, abs=5)  # a second in, whatever the rate was
        assert protocol.film_of(session, Pair("c", thirty, short)) == made
        with pytest.raises(StageError, match="too short"):
            protocol.film_of(session, Pair("d", thirty, blink))


# -- numbers -----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_data_set_s_numbers_and_what_cannot_be_dubbed(film: Path, tmp_path: Path, dub: Dub) -> None:
    root = tmp_path / "hdtf"
    root.mkdir()
    shutil.copy(film.parent / "film.mp4", root / "speaks.mp4")
    (root / "broken.mp4").write_bytes(b"no film")
    said: list[str] = []
    pairs = pairs_of("hdtf", root)
    settings = config.load()
    for _ in range(2):  # the second time everything is read
        report = protocol.measure(
            pairs, tmp_path / "out", {"name": "rewrite"}, settings, protocol="hdtf", driven="own", expert="lips",
            say=said.append,
        )  # fmt: skip
    broken, speaks = report.pairs
    assert broken.reason and broken.lse_d is None and broken.reason in said
    assert speaks.reason is None and speaks.frames > 30 and report.lse_d == speaks.lse_d > 0
    assert report.by["lse"] == experts.identity("lips") and report.generator == "rewrite"
    assert report.fid is None and "inception_fid" in report.absent["fid"]
    assert (report.csim is None) == ("csim" in report.absent)
    assert report.csim is None or 0.8 < report.csim <= 1
    written = json.loads(protocol.file_of(tmp_path / "out", "hdtf").read_text())
    assert written["schema"] == protocol.SCHEMA and written["lse_d"] == report.lse_d
