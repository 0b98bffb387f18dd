"""What every sync expert keeps; see `dubbing.experts.Expert`."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import cv2
import numpy as np
import pytest

from dubbing import experts, plugins
from dubbing.experts import Expert, lse
from dubbing.experts.feed import CropExpert
from dubbing.models import Model
from dubbing.testing import material

__all__ = ["ExpertContract"]


class ExpertContract:
    """A subclass gives `name`, and the fixture `models_folder` where its weights are published ones."""

    name: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def models_folder(cls) -> str | None:
        """Where published models lie."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def expert(cls, models_folder: str | None) -> Expert:
        """The expert that is tried."""
        return experts.load(cls.name, models_folder, device="cpu")

    def test_it_is_found_by_its_name_and_says_what_it_is(self) -> None:
        assert self.name in experts.names(), f"no entry point {self.name!r} in the group {plugins.EXPERTS}"
        kind = experts.find(self.name)
        assert kind.wants in ("mesh", "crop") and isinstance(kind.profits_from_gpu, bool)
        assert all(isinstance(m, Model) for m in kind.published)

    def test_its_hash_is_known_before_it_is_loaded(self, expert: Expert, models_folder: str | None) -> None:
        assert isinstance(expert, Expert)
        assert len(expert.hash12) == 12 and set(expert.hash12) <= set("0123456789abcdef")
        assert experts.identity(self.name, models_folder) == experts.model_name(expert)

    @pytest.mark.parametrize("rate", [24000 / 1001, 25, 50])
    @pytest.mark.parametrize("count", [6, 7, 31])
    def test_every_window_has_one_embedding_of_lips_and_one_of_sound(
        self, expert: Expert, rate: float, count: int
    ) -> None:
        times_s = np.arange(count) / rate
        windows = lse.windows_in(times_s)
        if not windows:
            assert experts.score(expert, frames(expert, count), times_s, sound(count)) is None
            return
        lips = expert.embed_video(frames(expert, count), times_s)
        heard = expert.embed_sound(sound(count), 0.0, windows)
        assert lips.dtype == heard.dtype == np.float32
        assert lips.shape == heard.shape == (windows, lips.shape[1])
        assert np.isfinite(lips).all() and np.isfinite(heard).all()

    @pytest.mark.parametrize("wave", [np.zeros(0, np.float32), np.zeros(16_000, np.float32), np.ones(50, np.float32)])
    def test_silence_and_sound_that_ends_early_are_embedded_too(self, expert: Expert, wave: np.ndarray) -> None:
        heard = expert.embed_sound(wave, 0.04, 9)
        assert len(heard) == 9 and np.isfinite(heard).all()

    def test_the_same_stretch_gives_the_same_embeddings(self, expert: Expert) -> None:
        times_s, seen, heard = np.arange(12) / 25, frames(expert, 12), sound(12)
        kept = seen.copy(), heard.copy()
        windows = lse.windows_in(times_s)
        for _ in range(2):
            np.testing.assert_array_equal(expert.embed_video(seen, times_s), expert.embed_video(kept[0], times_s))
            np.testing.assert_array_equal(
                expert.embed_sound(heard, 0.0, windows), expert.embed_sound(kept[1], 0.0, windows)
            )
        np.testing.assert_array_equal(seen, kept[0])
        np.testing.assert_array_equal(heard, kept[1])

    def test_a_score_names_the_expert(self, expert: Expert) -> None:
        times_s = np.arange(20) / 25
        found = experts.score(expert, frames(expert, 20), times_s, sound(20))
        assert found is not None and found.model == experts.model_name(expert)
        assert found.windows == lse.windows_in(times_s) and np.isfinite(found.distance_S).all() and found.d >= 0

    def test_who_wants_crops_says_where_to_cut_them(self, expert: Expert) -> None:
        if expert.wants == "crop":
            one = cast(CropExpert, expert)
            assert one.crop_px > 0
            places = one.crops(material.face(material.openings(12)), np.arange(12) / 25)
            assert len(places) == 12 and all(p.left < p.right and p.top < p.bottom for p in places)


def frames(expert: Any, count: int) -> np.ndarray:
    """What an expert looks at, of `count` frames: meshes, or crops of soft noise."""
    if expert.wants == "mesh":
        return material.face(material.openings(count))
    small = np.random.default_rng(4).integers(0, 256, (count, 7, 7, 3), np.uint8)
    return np.stack([cv2.resize(one, (expert.crop_px,) * 2, interpolation=cv2.INTER_CUBIC) for one in small])


def sound(count: int) -> np.ndarray:
    """The voice under `count` frames at 25 a second, float32 mono 16 kHz."""
    return material.voice(material.openings(count))
