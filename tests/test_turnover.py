"""What a compositor is given: laid over the film it is the master's picture."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from test_depth import BOX, COUNT, PATCHED, H, W, film, patches

import dubbing
from dubbing import media
from dubbing.errors import InputError
from dubbing.media.colour import planes_of
from dubbing.review.turnover import Part, turn_over


def rgba(file: Path, frame: int = 0) -> np.ndarray:
    """A stored picture, float (H, W, 4), 0..1."""
    with av.open(str(file)) as container:
        pictures = list(container.decode(video=0))
    picture = pictures[frame]
    if picture.format.name == "gbrapf32le":
        green, blue, red, alpha = (
            np.frombuffer(memoryview(p), np.float32).reshape(p.height, p.line_size // 4)[:, : p.width]
            for p in picture.planes
        )
        return np.dstack([red, green, blue, alpha])
    return picture.to_ndarray(format="rgba64le").astype(float) / 65535


@pytest.mark.parametrize(("kind", "crop"), [("exr", False), ("tiff", True), ("png", False)])
def test_layers_over_the_film_are_the_master(tmp_path: Path, kind: str, crop: bool) -> None:
    source = film(tmp_path / "film.mkv", "ffv1", "gbrp12le", {"level": "3"})
    line, folder = media.timeline(source), patches(source, tmp_path / "p")
    part = Part("shot_0001", 0, COUNT, (folder,))
    listed, script = turn_over(source, line, [part], tmp_path / "out", "film.fr", kind, crop=crop, plate=True)
    about = json.loads(listed.read_text())
    (shot,) = about["shots"]
    assert [f["frame"] for f in shot["frames"]] == list(PATCHED)
    assert shot["frames"][0]["tc"] == "01:00:00:02" and about["premultiplied"] == (kind == "exr")
    place = (shot["x"], shot["y"], shot["width"], shot["height"])
    assert place == (BOX if crop else (0, 0, W, H))
    x, y, width, height = place
    wanted = list(media.pasted_frames(source, line, [folder]))
    for one in shot["frames"]:
        layer, plate = (rgba(listed.parent / one[name]) for name in ("file", "plate"))
        alpha = layer[..., 3:]
        over = (layer[..., :3] if about["premultiplied"] else layer[..., :3] * alpha) + plate[..., :3] * (1 - alpha)
        green, blue, red = (p[y : y + height, x : x + width] / 4095 for p in wanted[one["frame"]])
        assert np.abs(over - np.dstack([red, green, blue])).max() < 1 / 4000
    assert f"translate {{{x} {H - y - height}}}" in script.read_text()


def test_a_movie_of_layers_has_every_frame_of_the_shot_and_its_timecode(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "ffv1", "yuv422p10le", {"level": "3"})
    part = Part("shot_0001", 1, COUNT, (patches(source, tmp_path / "p"),))
    listed, _ = turn_over(source, media.timeline(source), [part], tmp_path / "out", "film.fr", "prores4444")
    (shot,) = json.loads(listed.read_text())["shots"]
    movie = listed.parent / shot["file"]
    video = media.probe(movie).video
    assert video is not None and video.start_tc == "01:00:00:01" and video.alpha
    with av.open(str(movie)) as container:
        mattes = [planes_of(f)[3].copy() for f in container.decode(video=0)]
    assert len(mattes) == COUNT - 1
    assert [n + 1 for n, matte in enumerate(mattes) if matte.any()] == list(PATCHED)


def test_layers_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'gif'; give one of exr"):
        dubbing.export(tmp_path, layers="gif")
    with pytest.raises(InputError, match="say which kind"):
        dubbing.export(tmp_path, plate=True)
