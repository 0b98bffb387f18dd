"""Letters over a face: found where they stand still before a face that moves, and nowhere else; never touched."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from people import meshes_of

from dubbing.analysis.burned_in import Cover, Search
from dubbing.analysis.held import Held
from dubbing.analysis.overlays import KeepOut
from dubbing.demo.portrait import photograph
from dubbing.media import composite
from dubbing.records import Patch, Track

FRAMES, SIZE = 75, 512
Draw = Callable[[np.ndarray, int], None]


@pytest.fixture(scope="module")
def still() -> tuple[np.ndarray, np.ndarray]:
    """A public-domain portrait (NASA) and its mesh."""
    picture = cv2.resize(photograph("astronaut.png")[:256, 100:356], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return picture, meshes_of([picture])[0]


def nothing(picture: np.ndarray, n: int) -> None:
    """No letters."""


def write(text: str, at: tuple[int, int], size: float = 0.6) -> Draw:
    """White letters with a black edge."""

    def draw(picture: np.ndarray, n: int) -> None:
        for colour, width in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width, cv2.LINE_AA)

    return draw


def clock(picture: np.ndarray, n: int) -> None:
    """A running timecode on a black plate."""
    picture[CHIN[1] - 18 : CHIN[1] + 6, CHIN[0] - 4 : CHIN[0] + 108] = 0
    said = f"01:00:{n // 25:02d}:{n % 25:02d}"
    cv2.putText(picture, said, CHIN, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255,) * 3, 1, cv2.LINE_AA)


CHIN, LIPS = (185, 342), (185, 300)  # where letters begin that lie on the chin of the portrait, and on its lips


def film(still: tuple[np.ndarray, np.ndarray], draw: Draw, sway: float = 12.0) -> tuple[list[np.ndarray], Track]:
    """A head that sways by so many pixels, with what is drawn over it."""
    picture, mesh_P3 = still
    rng = np.random.default_rng(4)
    pictures, meshes = [], []
    for n in range(FRAMES):
        move = cv2.getRotationMatrix2D((240, 240), 4 * sway / 12 * np.sin(n / 9), 1.0)
        move[:, 2] += sway * np.sin(n / 7), 0.6 * sway * np.cos(n / 11)
        shown = cv2.warpAffine(picture, move, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        draw(shown, n)
        pictures.append(np.clip(shown + rng.normal(0, 2, shown.shape), 0, 255).astype(np.uint8))
        mesh = mesh_P3.copy()
        mesh[:, :2] = mesh_P3[:, :2] @ move[:, :2].T + move[:, 2] + rng.normal(0, 0.3, (len(mesh), 2))
        meshes.append(mesh)
    mesh_NP3 = np.stack(meshes).astype(np.float32)
    height = float(np.ptp(mesh_P3[:, 1]))
    seen = np.ones(FRAMES, bool)
    return pictures, Track("a", np.arange(FRAMES, dtype=np.int32), mesh_NP3, seen, np.zeros(FRAMES), height)


def found(pictures: Sequence[np.ndarray], track: Track) -> list[Cover]:
    search = Search(track, (SIZE, SIZE), 25.0)
    for n in sorted(search.frames):
        grey = cv2.cvtColor(pictures[n], cv2.COLOR_BGR2GRAY)
        search.add(n, [grey[y : y + h, x : x + w] for x, y, w, h in search.boxes(n)])
    return search.finish()


def drawn(draw: Draw, n: int) -> np.ndarray:
    """Where a frame has letters, bool (H, W)."""
    white, black = np.full((SIZE, SIZE, 3), 255, np.uint8), np.zeros((SIZE, SIZE, 3), np.uint8)
    draw(white, n)
    draw(black, n)
    return np.asarray(((white < 128) | (black > 128)).any(-1))


def covered(covers: Sequence[Cover], n: int) -> np.ndarray:
    mask = KeepOut(covers).mask(n, 0, 0, SIZE, SIZE)
    return np.zeros((SIZE, SIZE), bool) if mask is None else mask


@pytest.mark.parametrize("draw", [write("DUB 0427", CHIN), clock])
def test_letters_that_stand_before_a_face_are_found_whole(still: tuple[np.ndarray, np.ndarray], draw: Draw) -> None:
    covers = found(*film(still, draw))
    for n in (0, 30, 74):
        letters, mask = drawn(draw, n), covered(covers, n)
        assert mask[letters].mean() > 0.98
        assert mask.sum() < 4 * np.ptp(np.nonzero(letters), axis=1).prod()


def test_a_face_without_letters_has_none(still: tuple[np.ndarray, np.ndarray]) -> None:
    assert found(*film(still, nothing)) == []


def test_nothing_is_claimed_of_a_head_that_does_not_move(still: tuple[np.ndarray, np.ndarray]) -> None:
    assert found(*film(still, nothing, sway=0.3)) == []


def test_a_subtitle_is_kept_as_long_as_it_is_there(still: tuple[np.ndarray, np.ndarray]) -> None:
    says = write("so it is", CHIN)
    covers = found(*film(still, lambda picture, n: says(picture, n) if 15 <= n < 60 else None))
    there = [n for n in range(FRAMES) if covered(covers, n)[drawn(says, n)].mean() > 0.98]
    assert set(range(15, 60)) <= set(there) and min(there) >= 10 and max(there) < 65


def test_letters_stay_the_frame_s_own_and_leave_nothing_in_what_is_moved(still: tuple[np.ndarray, np.ndarray]) -> None:
    draw = write("DUB 0427", CHIN)
    pictures, track = film(still, draw)
    keep = KeepOut(found(pictures, track))
    letters = drawn(draw, 30)
    x, y, width, height = 150, 250, 200, 130
    part = np.ascontiguousarray(pictures[30][y : y + height, x : x + width])
    clean = keep.cleaned(30, x, y, part)
    plain = film(still, nothing)[0][30][y : y + height, x : x + width]
    inside = letters[y : y + height, x : x + width]
    off = np.abs(clean[inside].astype(int) - plain[inside]).mean()
    assert off < 0.35 * np.abs(part[inside].astype(int) - plain[inside]).mean()
    deep = keep.cleaned(30, x, y, part.astype(np.uint16) * 257)
    assert np.abs(deep[inside] / 257.0 - clean[inside]).mean() < 6
    moved = np.roll(part, 4, axis=0)
    patch, lies = keep.kept_out(Patch(30, x, y, moved, np.full((height, width), 255, np.uint8)))
    shown = composite(pictures[30], patch, 0, 0)
    assert lies and (shown[letters] == pictures[30][letters]).all()
    assert (patch.matte_HW == 255).mean() > 0.5
    assert not keep.kept_out(Patch(30, 0, 0, moved, np.zeros((height, width), np.uint8)))[1]


def test_only_letters_over_the_lips_stop_a_frame(still: tuple[np.ndarray, np.ndarray]) -> None:
    for place, stops in ((LIPS, True), (CHIN, False)):
        draw = write("DUB 0427", place)
        pictures, track = film(still, draw)
        blocked = KeepOut(found(pictures, track)).blocked(track)
        assert blocked.mean() > 0.9 if stops else not blocked.any()


def passing(shown: np.ndarray, frame: int) -> Any:
    """A picture of a film."""

    def bgr(box: tuple[int, int, int, int]) -> np.ndarray:
        return shown[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]

    return SimpleNamespace(frame=frame, size=(SIZE, SIZE), bgr=bgr)


@pytest.mark.parametrize("fails", ["tempfile.TemporaryFile", "os.pwrite"])
def test_nothing_of_a_shot_is_held_on_a_full_disk(
    still: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*about: Any, **more: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    shown, mesh_P3 = still
    with Held(tmp_path, 25.0) as held:
        if fails == "os.pwrite":
            held.hold(passing(shown, 1), [(1, mesh_P3)])
        assert held.has(1, (180, 240, 120, 110)) == (fails == "os.pwrite")
        with monkeypatch.context() as disk:
            disk.setattr(fails, full)
            held.hold(passing(shown, 3), [(1, mesh_P3)])
        held.hold(passing(shown, 5), [(1, mesh_P3)])
        assert not any(held.has(n, (180, 240, 120, 110)) for n in range(7))


def test_no_more_of_a_shot_is_held_than_may_be(still: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """Of a face that is first seen in frame 1 every second picture, and none once there are too many."""
    shown, mesh_P3 = still

    def picture(frame: int) -> Any:
        return passing(np.roll(shown, frame), frame)

    near = (180, 240, 120, 110)
    with Held(tmp_path, 25.0, most_bytes=3 * SIZE * SIZE) as held:
        for n in range(1, 5):
            held.hold(picture(n), [(1, mesh_P3)])
        assert [n for n in range(8) if held.has(n, near)] == [1, 3] and not held.has(3, (0, 0, SIZE, SIZE))
        grey = cv2.cvtColor(np.roll(shown, 3), cv2.COLOR_BGR2GRAY)[240:350, 180:300]
        assert np.array_equal(held.grey(3, near), grey)
        for n in range(5, 19):
            held.hold(picture(n), [(1, mesh_P3)])
        assert not any(held.has(n, near) for n in range(20))
