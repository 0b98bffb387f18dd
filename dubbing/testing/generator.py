"""What every generator keeps; see `dubbing.generators.Generator`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from dubbing import generators, plugins
from dubbing.errors import ManifestError, MediaError
from dubbing.generators import Generator, Rendered, RenderRequest
from dubbing.models import Model
from dubbing.records import Line
from dubbing.testing import material

__all__ = ["GeneratorContract"]

_HASH = """
import json, sys
from dubbing import generators
print(generators.create(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] or None, device="cpu").hash)
"""


class GeneratorContract:
    """A subclass gives `name`, and where they are not these: `frames`, the length of what it is tried on (24 at
    least); `held_frames`, the most source frames that it holds at once; `change`, a setting that gives other patches,
    with its value; and the fixtures `settings`, what a manifest says of it, and `models_folder`.
    """

    name: ClassVar[str]
    frames: ClassVar[int] = 40
    held_frames: ClassVar[int] = 16
    change: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        """What a manifest says of the generator besides its name."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def models_folder(cls) -> str | None:
        """Where published models lie."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, settings: Mapping[str, Any], models_folder: str | None) -> Callable[..., Generator]:
        """Makes the generator anew, with more settings."""
        return lambda **more: generators.create(cls.name, {**settings, **more}, models_folder, device="cpu")

    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, made: Callable[..., Generator]) -> Generator:
        """The generator that is tried."""
        return made()

    @pytest.fixture(scope="class")
    @classmethod
    def work(cls, tmp_path_factory: pytest.TempPathFactory) -> RenderRequest:
        """What it is to render: two lines of a drawn face."""
        return material.request(tmp_path_factory.mktemp("contract"), cls.frames)

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, generator: Generator, work: RenderRequest) -> list[Rendered]:
        """All patches of `work`."""
        return list(generator.render(work))

    # -- what the class says -----------------------------------------------------------------

    def test_it_is_found_by_its_name_and_says_what_it_is(self) -> None:
        assert self.name in generators.names(), f"no entry point {self.name!r} in the group {plugins.GENERATORS}"
        kind = generators.find(self.name)
        assert isinstance(kind.version, int) and isinstance(kind.profits_from_gpu, bool)
        assert kind.wants <= generators.WANTS
        assert all(isinstance(m, Model) for m in kind.published)

    def test_every_setting_is_described_and_others_are_refused(self, made: Callable[..., Generator]) -> None:
        for name, said in generators.settings(self.name).items():
            assert said.get("description"), f"the setting {name} has no description"
        with pytest.raises(ManifestError, match=f"generator {self.name}: no_such_setting: "):
            made(no_such_setting=1)

    def test_it_can_be_used(self, generator: Generator) -> None:
        generator.check()
        assert generator.size_bytes >= 0

    def test_its_hash_names_it_on_every_machine(
        self, made: Callable[..., Generator], settings: Mapping[str, Any], models_folder: str | None
    ) -> None:
        own = made().hash
        assert len(own) == 12 and set(own) <= set("0123456789abcdef")
        command = [sys.executable, "-c", _HASH, self.name, json.dumps(dict(settings)), models_folder or ""]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert told.stdout.strip() == own, "another process names it otherwise"

    def test_a_setting_changes_its_hash(self, made: Callable[..., Generator]) -> None:
        if generators.settings(self.name):
            assert self.change, "say in `change` a setting that gives other patches"
            assert made(**self.change).hash != made().hash

    # -- what it renders ---------------------------------------------------------------------

    def test_every_frame_of_every_line_gets_one_patch_in_order_and_no_other_does(
        self, whole: list[Rendered], work: RenderRequest
    ) -> None:
        wanted = [f for line in work.lines for f in range(line.start_frame, line.end_frame)]
        assert [one.patch.frame for one in whole] == wanted

    def test_patches_are_of_one_size_inside_the_picture(self, whole: list[Rendered], work: RenderRequest) -> None:
        assert len({one.patch.bgr_HWC.shape for one in whole}) == 1
        for patch in (one.patch for one in whole):
            height, width = patch.matte_HW.shape
            assert patch.bgr_HWC.shape == (height, width, 3)
            assert patch.bgr_HWC.dtype == patch.matte_HW.dtype == np.uint8
            assert patch.x % 2 == patch.y % 2 == height % 2 == width % 2 == 0, "places and sizes are even"
            assert patch.x >= 0 and patch.y >= 0
            assert patch.x + width <= work.picture_wh[0] and patch.y + height <= work.picture_wh[1]

    def test_the_picture_changes_somewhere_and_the_wanted_opening_is_a_number(self, whole: list[Rendered]) -> None:
        assert max(int(one.patch.matte_HW.max()) for one in whole) > 0
        assert all(isinstance(one.wanted_opening, float) and not np.isinf(one.wanted_opening) for one in whole)

    def test_windows_change_no_patch(self, generator: Generator, work: RenderRequest, whole: list[Rendered]) -> None:
        first, last = work.track.start_frame, work.track.end_frame
        edges = [0, first + 5, first + 17, first + 18, last + 10]  # inside a line, in the gap, one frame, to beyond
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            part = list(generator.render(replace(work, window=(a, b))))
            assert_same(part, [one for one in whole if a <= one.patch.frame < b])

    def test_nothing_is_rendered_outside_lines(self, generator: Generator, work: RenderRequest) -> None:
        first = work.track.start_frame
        assert not list(generator.render(replace(work, lines=())))
        assert not list(generator.render(replace(work, window=(first + 11, first + 13))))

    def test_the_same_work_gives_the_same_patches(
        self, made: Callable[..., Generator], work: RenderRequest, whole: list[Rendered]
    ) -> None:
        first = work.track.start_frame
        window = (first, first + 20)
        again = list(made().render(replace(work, window=window)))
        assert_same(again, [one for one in whole if one.patch.frame < window[1]])

    def test_it_holds_few_frames_however_long_a_line_is(
        self, generator: Generator, work: RenderRequest, tmp_path: Path
    ) -> None:
        """Of a film that ends early, all patches come that can be made before its end, but for those it holds."""
        first, last = work.track.start_frame, work.track.end_frame
        there = first + self.frames * 2 // 3
        assert self.held_frames < there - first, "`frames` must be longer for a generator that holds so many"
        material.write_film(tmp_path / "short.mp4", work.track, there)
        whole = replace(work, source=tmp_path / "short.mp4", lines=(Line(work.track.id, first, last),))
        patches = generator.render(whole)
        assert iter(patches) is patches, "patches are to come one by one, not as a list"
        found = seen_until_it_breaks(patches)
        assert found == list(range(first, first + len(found)))
        assert len(found) >= there - first - self.held_frames


def seen_until_it_breaks(patches: Iterator[Rendered]) -> list[int]:
    """The frames that come before the source cannot be read; all of them from a generator that does not read it."""
    found: list[int] = []
    try:
        for one in patches:
            found.append(one.patch.frame)
    except MediaError:
        pass
    return found


def assert_same(some: list[Rendered], others: list[Rendered]) -> None:
    """The same frames, places, pixels, mattes and openings."""
    assert [one.patch.frame for one in some] == [one.patch.frame for one in others]
    for one, other in zip(some, others, strict=True):
        a, b = one.patch, other.patch
        assert (a.x, a.y, a.bgr_HWC.shape) == (b.x, b.y, b.bgr_HWC.shape), f"frame {a.frame} lies elsewhere"
        assert a.bgr_HWC.tobytes() == b.bgr_HWC.tobytes(), f"frame {a.frame} has other pixels"
        assert a.matte_HW.tobytes() == b.matte_HW.tobytes(), f"frame {a.frame} has another matte"
        np.testing.assert_equal(one.wanted_opening, other.wanted_opening)
