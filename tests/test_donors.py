"""Mouths that the shots of one actor lend to each other: what is kept of them, and when they are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made import put, ref
from people import meshes_of

from dubbing import media
from dubbing.analysis.burned_in import Cover
from dubbing.artifact import File, Ref
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import save_overlays
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.tracks import FaceTracks, load_tracks, save_tracks
from dubbing.errors import ModelError
from dubbing.face import canonical, mouth_measures, yaw_deg
from dubbing.generators import RenderRequest, grain
from dubbing.generators.rewrite import donors
from dubbing.generators.rewrite.generator import Rewrite, RewriteSettings, ShotPlan
from dubbing.generators.rewrite.lending import Here, lend, reach
from dubbing.records import Line, Track
from dubbing.stages.donors import CollectDonors, DonorsInputs

SIZE = (320, 320)
SHUT, OPEN = 30, 42  # frames of the two shots


@dataclass(frozen=True, eq=False)
class Filmed:
    """A film of two shots of one woman: in the first, which is darker, her mouth stays shut."""

    folder: Path
    tracks: tuple[Track, Track]
    faces: tuple[Ref[FaceTracks], Ref[FaceTracks]]

    @property
    def film(self) -> Path:
        return self.folder / "film.mkv"

    def inputs(self, *people: tuple[int, tuple[str, ...]], over: tuple[Any, ...] | None = None) -> DonorsInputs:
        return DonorsInputs(File(self.film, "film"), people, self.faces, over, ref(ShotList, self.folder))

    def work(self, store: Path | None, **more: Any) -> RenderRequest:
        track = self.tracks[0]
        rng, t = np.random.default_rng(4), np.arange(SHUT * 640) / 16000
        wave = 0.3 * rng.standard_normal(len(t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
        return RenderRequest(
            self.film, media.timeline(self.film), SIZE, track, (Line(track.id, 0, SHUT),), wave.astype(np.float32),
            np.ones(SHUT, bool), None, donors=store, **more,
        )  # fmt: skip


@pytest.fixture(scope="module")
def filmed(demo_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    from dubbing.demo import talking_face

    folder = tmp_path_factory.mktemp("two shots")
    opens = np.concatenate([np.zeros(SHUT), 0.5 - 0.5 * np.cos(np.arange(OPEN) / 3)])
    grain_of = np.random.default_rng(1)
    pictures = []
    for n, picture in enumerate(talking_face(opens, SIZE)):
        noisy = picture * (0.8 if n < SHUT else 1.0) + grain_of.normal(0, 2, picture.shape[:2])[..., None]
        pictures.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    with media.ClipWriter(folder / "film.mkv", *SIZE, Fraction(25), crf=4) as clip:
        for picture in pictures:
            clip.frame(picture)
    media.save_timeline(folder, media.timeline(folder / "film.mkv"))
    tracks, faces, first = [], [], 0
    for number, count in enumerate((SHUT, OPEN), 1):
        meshes = meshes_of(pictures[first : first + count])
        frames = np.arange(first, first + count, dtype=np.int32)
        track = Track(f"shot_{number:04d}/face_1", frames, meshes, np.ones(count, bool), yaw_deg(meshes), 200.0)
        (folder / str(number)).mkdir()
        save_tracks(folder / str(number), [track])
        tracks += load_tracks(folder / str(number))
        faces.append(ref(FaceTracks, folder / str(number)))
        first += count
    return Filmed(folder, (tracks[0], tracks[1]), (faces[0], faces[1]))


def collected(filmed: Filmed, out: Path, *people: tuple[int, tuple[str, ...]]) -> DonorStores:
    out.mkdir(parents=True)
    return CollectDonors().process(filmed.inputs(*people), out, lambda n: None)


@pytest.fixture(scope="module")
def store_file(filmed: Filmed) -> Path:
    found = collected(filmed, filmed.folder / "store", (0, tuple(t.id for t in filmed.tracks)))
    return filmed.folder / "store" / found.store_files[0]


def test_a_store_is_the_same_every_time_and_holds_shut_mouths_and_open_ones(
    filmed: Filmed, store_file: Path, tmp_path: Path
) -> None:
    again = collected(filmed, tmp_path / "again", (0, tuple(t.id for t in filmed.tracks)))
    made = tmp_path / "again" / again.store_files[0]
    assert made.name == store_file.name
    assert made.with_suffix(".raw").read_bytes() == store_file.with_suffix(".raw").read_bytes()
    store = donors.load(store_file)
    assert len(store) == again.frames[0] <= SHUT + OPEN
    opening = store.measures_M3[:, 0]
    true = mouth_measures(canonical(filmed.tracks[1].mesh_NP3)[0])["opening"]
    assert opening.min() < 0.03 and opening.max() > 0.9 * true.max()
    assert (store.follows_M >= 0).mean() > 0.5, "mouths come in runs"
    face = store.face(0)
    assert face.bgr_HWC.dtype == np.uint8 and face.bgr_HWC.shape[1::-1] == (face.box.width, face.box.height)
    assert ((face.mesh_P2[13] > 0) & (face.mesh_P2[13] < (face.box.width, face.box.height))).all()


def test_a_crop_lies_where_its_frame_has_it(filmed: Filmed, store_file: Path) -> None:
    store = donors.load(store_file)
    m = int(np.argmax(store.measures_M3[:, 0]))
    frame = int(store.frame_M[m])
    (picture,) = media.read(filmed.film, media.timeline(filmed.film), frame, frame + 1)
    face, track = store.face(m), filmed.tracks[1]
    shift = np.rint(np.median(track.mesh_NP3[frame - SHUT, :, :2] - face.mesh_P2, axis=0)).astype(int)
    own = picture.bgr()[shift[1] : shift[1] + face.box.height, shift[0] : shift[0] + face.box.width]
    assert (own == face.bgr_HWC).all()


def test_a_store_never_holds_another_person(filmed: Filmed, tmp_path: Path) -> None:
    one, other = (t.id for t in filmed.tracks)
    found = collected(filmed, tmp_path / "two", (0, (one,)), (3, (other,)))
    assert set(found.store_files) == {0, 3}
    alone = collected(filmed, tmp_path / "one", (7, (other,)))
    assert alone.store_files == {7: found.store_files[3]}, "named by what is in it, not by who comes before"
    parts = []
    for number, track in ((3, other), (0, one)):
        (tmp_path / str(number)).mkdir()
        part = replace(filmed.inputs((number, (track,))), among=2)
        parts.append(put(tmp_path / str(number), CollectDonors().process(part, tmp_path / str(number), lambda n: None)))
    (tmp_path / "joined").mkdir()
    asked = replace(filmed.inputs((0, (one,)), (3, (other,))), parts=tuple(parts))
    assert CollectDonors().process(asked, tmp_path / "joined", lambda n: None) == found
    for file in (tmp_path / "two").iterdir():
        assert (tmp_path / "joined" / file.name).read_bytes() == file.read_bytes()
    for number, track in ((0, one), (3, other)):
        store = donors.load(tmp_path / "two" / found.store_files[number])
        assert store.tracks.tolist() == [track] and not store.track_M.any()


def test_a_mouth_under_letters_is_not_kept(filmed: Filmed, tmp_path: Path) -> None:
    one, other = filmed.tracks
    x, y = (int(v) for v in other.mesh_NP3[0, 13, :2])
    letters = Cover(SHUT, SHUT + 20, x - 10, y - 4, np.ones((8, 20), bool), 1.0, False)
    for name in ("over", "store"):
        (tmp_path / name).mkdir()
    over = put(tmp_path / "over", save_overlays(tmp_path / "over", [letters]))
    asked = filmed.inputs((0, (one.id, other.id)), over=(None, over))
    found = CollectDonors().process(asked, tmp_path / "store", lambda n: None)
    frames = donors.load(tmp_path / "store" / found.store_files[0]).frame_M
    assert frames.min() < SHUT and not ((frames >= SHUT) & (frames < SHUT + 20)).any() and frames.max() >= SHUT + 20


def test_what_is_kept_is_bounded_and_covers_what_there_is() -> None:
    rng = np.random.default_rng(3)
    count = 5000
    measures = np.column_stack([rng.gamma(2, 0.04, count), rng.normal(0.55, 0.04, count), rng.normal(0.2, 0.02, count)])
    about = {
        "measures_N3": measures, "yaw_N": rng.normal(0, 10, count), "quality_N": rng.random(count),
        "track_N": np.arange(count) // 250, "frame_N": np.arange(count), "bytes_N": np.full(count, 100_000),
    }  # fmt: skip
    few = donors.pick(**about)
    assert 350 <= len(few) <= donors.MOST_FRAMES and (np.diff(few) > 0).all()
    assert measures[few, 0].max() > np.percentile(measures[:, 0], 99.5) and measures[few, 0].min() < 0.02
    assert len(np.unique(few // 250)) > 15, "of all shots"
    deep = donors.pick(**(about | {"bytes_N": np.full(count, 900_000)}))
    assert len(deep) * 900_000 <= donors.MOST_BYTES < (len(deep) + 5) * 900_000
    assert not len(donors.pick(**{k: v[:0] for k, v in about.items()}))


def test_crops_of_deep_films_count_and_are_kept_with_sixteen_bits(filmed: Filmed, tmp_path: Path) -> None:
    (all_of_them,) = donors.looks_of(filmed.tracks[1], SIZE)
    looks = all_of_them.only(3)
    writer = donors.StoreWriter(tmp_path, "deep")
    x, y, width, height = (int(v) for v in donors.boxes_of(looks.mesh_NP2, SIZE)[0])
    kept = np.random.default_rng(1).integers(0, 65536, (height, width, 3), np.uint16)
    writer.add(looks, "shot_0002/face_1", kept, (x, y, width, height))
    name, count = writer.close()
    assert name is not None and count == 1 and (tmp_path / name).with_suffix(".raw").stat().st_size == kept.nbytes
    np.testing.assert_array_equal(donors.load(tmp_path / name).face(0).bgr_HWC, kept * np.float32(1 / 257))


def test_another_file_is_no_store(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", schema=np.array("dub.donors.0"))
    with pytest.raises(ModelError, match=r"dub\.donors\.0"):
        donors.load(tmp_path / "other.npz")


# -- choosing --------------------------------------------------------------------------------


def here(store: donors.Store, **more: Any) -> Here:
    about: dict[str, Any] = {
        "track": "shot_0001/face_1", "first_frame": 0, "scale_T": np.full(8, store.scale_M.mean()),
        "light_33": store.light_M33.astype(float).mean(0), "grain_B": store.grain_MB.astype(float).mean(0),
    }  # fmt: skip
    return Here(**(about | more))


def test_a_lent_mouth_is_taken_where_the_own_ones_do_not_open_and_only_there(store_file: Path) -> None:
    store = donors.load(store_file)
    m = int(np.argmax(store.measures_M3[:, 0]))
    shut, wide = (store.measures_M3[i].astype(float) for i in (int(np.argmin(store.measures_M3[:, 0])), m))
    turn = np.repeat(store.turn_M3[m : m + 1].astype(float), 8, 0)
    own = np.repeat(shut[None], 8, 0)
    want = np.repeat(wide[None], 8, 0)
    more = {"pose_weight": 0.02, "jump": 0.6}
    usable = np.ones(8, bool)
    lent = lend(want, own, turn, turn, usable, store=store, here=here(store), **more)
    assert (lent.path_T >= lent.own).all()
    assert np.abs(lent.have_SK[lent.path_T, 0] - wide[0]).max() < 0.05
    near = lend(own, own, turn, turn, usable, store=store, here=here(store), **more)
    assert (near.path_T < near.own).all() and not len(near.at), "nothing is looked for where the own are near"
    still = lend(want, own, turn, turn, usable, changed_T=~usable, store=store, here=here(store), **more)
    assert not len(still.at), "nor where nothing is rendered"
    light = here(store).light_33
    large = np.full(8, 1.4 * store.scale_M.max())
    for unlike in (
        {"light_33": light * 3}, {"light_33": light * (1, 1, 0.6)}, {"light_33": light * np.nan}, {"scale_T": large}
    ):  # fmt: skip
        none = lend(want, own, turn, turn, usable, store=store, here=here(store, **unlike), **more)
        assert (none.path_T < none.own).all(), unlike
    itself = here(store, track=str(store.tracks[store.track_M[m]]), first_frame=SHUT, scale_T=here(store).scale_T)
    others = lend(want, own, turn, turn, usable, store=store, here=itself, **more)
    frames = store.frame_M[others.at]
    assert not ((frames >= SHUT) & (frames < SHUT + 8)).any(), "the stretch's own frames are its own"


def test_the_range_of_mouths_reaches_as_far_as_the_store(filmed: Filmed, store_file: Path) -> None:
    plan = ShotPlan(filmed.work(store_file), RewriteSettings())
    low, high = reach(plan.have_N3, plan.usable_N, None)
    wide_low, wide_high = reach(plan.have_N3, plan.usable_N, plan.store)
    assert (wide_low <= low).all() and (wide_high >= high).all() and wide_high[0] > high[0] + 0.05


# -- rendering -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(filmed: Filmed, store_file: Path) -> dict[str, list[Any]]:
    made = Rewrite(RewriteSettings())
    return {name: [r.patch for r in made.render(filmed.work(file))] for name, file in
            (("own", None), ("lent", store_file))}  # fmt: skip


def test_a_lent_mouth_is_seen_and_has_the_shots_light(filmed: Filmed, pictures: dict[str, list[Any]]) -> None:
    plan = ShotPlan(filmed.work(None), RewriteSettings())
    n = int(np.argmax(plan.want_N3[:, 0]))
    own, lent = pictures["own"][n], pictures["lent"][n]
    assert own.bgr_HWC.shape == lent.bgr_HWC.shape and (own.bgr_HWC != lent.bgr_HWC).any()
    sure = own.matte_HW == 255
    light = [float(cv2.cvtColor(p.bgr_HWC, cv2.COLOR_BGR2GRAY)[sure].mean()) for p in (own, lent)]
    assert abs(light[0] - light[1]) < 0.06 * light[0], "the other shot is a quarter brighter"


def test_windows_change_no_lent_mouth(filmed: Filmed, store_file: Path, pictures: dict[str, list[Any]]) -> None:
    made = Rewrite(RewriteSettings())
    parts: list[Any] = []
    for window in ((0, 13), (13, SHUT)):
        parts += [r.patch for r in made.render(filmed.work(store_file, window=window))]
    assert [p.frame for p in parts] == [p.frame for p in pictures["lent"]]
    for a, b in zip(parts, pictures["lent"], strict=True):
        assert (a.bgr_HWC == b.bgr_HWC).all() and (a.matte_HW == b.matte_HW).all()


# -- grain -----------------------------------------------------------------------------------


def test_grain_that_was_lost_is_put_back_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(5)
    slope = np.tile(np.linspace(90, 130, 160, dtype=np.float32)[None, :, None], (120, 1, 3))
    film = slope + rng.normal(0, 3, (120, 160)).astype(np.float32)[..., None]
    mask = np.ones((120, 160), bool)
    wanted = grain.levels(film, mask)
    blurred = cv2.GaussianBlur(film, (0, 0), 1.2)
    assert grain.levels(blurred, mask)[0] < 0.3 * wanted[0]
    back = grain.regrained(blurred, mask, wanted, 7)
    np.testing.assert_allclose(grain.levels(back, mask), wanted, rtol=0.12)
    assert abs(float((back - blurred).mean())) < 0.1
    assert (back == grain.regrained(blurred, mask, wanted, 7)).all()
    assert (back != grain.regrained(blurred, mask, wanted, 8)).any()
    assert (grain.regrained(film, mask, wanted, 7) == film).all(), "what has its grain gets none"
    soft = grain.blurred(film, grain.blur_px(film, mask, grain.levels(blurred, mask)))
    assert grain.levels(soft, mask)[0] < 0.2 * wanted[0]
    tiny = np.zeros((120, 160), bool)
    assert (grain.regrained(blurred, tiny, wanted, 7) == blurred).all()
