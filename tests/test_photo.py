"""Which pictures may become a film: upright, sRGB, 8 bits, even; what would have to be guessed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command import Dub
from PIL import Image, ImageCms

from dubbing import media
from dubbing.errors import MediaError, UnsupportedMedia
from dubbing.media import ClipWriter

if TYPE_CHECKING:
    from storage import Faulty

HZ = 16_000


def ramp(width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 RGB: red grows to the right, green downwards, blue is 90."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)], -1).astype(np.uint8)


def turned(path: Path) -> None:
    """Stored on its side, with the EXIF mark that says so (6: turn clockwise to see it upright)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(ramp(), 1)).save(path, exif=exif)


def opaque(path: Path) -> None:
    Image.fromarray(ramp()).convert("RGBA").save(path)


def profiled(path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(ramp()).save(path, icc_profile=srgb.tobytes())


GOOD: dict[str, tuple[str, Callable[[Path], None], float]] = {
    "png": ("p.png", lambda p: Image.fromarray(ramp()).save(p), 0),
    "jpeg": ("p.jpg", lambda p: Image.fromarray(ramp()).save(p, quality=95, subsampling=0), 6),
    "webp": ("p.webp", lambda p: Image.fromarray(ramp()).save(p, lossless=True), 0),
    "tiff": ("p.tif", lambda p: Image.fromarray(ramp()).save(p), 0),
    "a jpeg called png": ("p.png", lambda p: Image.fromarray(ramp()).save(p, "JPEG", quality=95, subsampling=0), 6),
    "an opaque alpha": ("p.png", opaque, 0),
    "a turned png": ("p.png", turned, 0),
    "a turned tiff": ("p.tif", turned, 0),
    "a turned webp": ("p.webp", lambda p: turned(p.with_suffix(".png")) or _as_webp(p), 0),
    "its own sRGB": ("p.png", profiled, 1),
}  # fmt: skip


def _as_webp(path: Path) -> None:
    with Image.open(path.with_suffix(".png")) as picture:
        picture.save(path, lossless=True, exif=picture.getexif())


@pytest.mark.parametrize("kind", GOOD)
def test_a_photograph_is_read_upright(kind: str, tmp_path: Path) -> None:
    name, write, off = GOOD[kind]
    write(tmp_path / name)
    assert media.is_photograph(tmp_path / name)
    found = media.read_photograph(tmp_path / name)
    assert found.bgr_HWC.shape == (48, 64, 3) and found.notices == ()
    assert np.abs(found.bgr_HWC[..., ::-1].astype(int) - ramp()).max() <= off


def test_palettes_and_greys_are_read(tmp_path: Path) -> None:
    Image.fromarray(ramp()).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    found = media.read_photograph(tmp_path / "p.png").bgr_HWC
    assert np.abs(found[..., ::-1].astype(int) - ramp()).mean() < 12


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
@pytest.mark.parametrize("colours", [True, False])
def test_sixteen_bits_become_eight_and_are_told(name: str, colours: bool, tmp_path: Path) -> None:
    import cv2

    shown = ramp()[..., ::-1] if colours else np.repeat(ramp()[..., :1], 3, 2)
    cv2.imwrite(str(tmp_path / name), (shown if colours else shown[..., 0]).astype(np.uint16) * 257)
    found = media.read_photograph(tmp_path / name)
    assert (found.bgr_HWC == shown).all()
    assert found.notices == (f"{name} has 16 bits a sample; the master has 8.",)


def test_another_colour_profile_is_applied_and_told(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb.replace("sRGB".encode("utf-16-be"), "Lamp".encode("utf-16-be"))
    Image.fromarray(ramp()).save(tmp_path / "p.png", icc_profile=other)
    found = media.read_photograph(tmp_path / "p.png")
    assert np.abs(found.bgr_HWC[..., ::-1].astype(int) - ramp()).max() <= 2
    assert "is converted from its colour profile (Lamp built-in) to sRGB" in found.notices[0]


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (63, 47)])
def test_odd_sizes_lose_their_last_column_or_row_and_say_so(size: tuple[int, int], tmp_path: Path) -> None:
    Image.fromarray(ramp(*size)).save(tmp_path / "odd.png")
    found = media.read_photograph(tmp_path / "odd.png")
    assert found.size == (size[0] // 2 * 2, size[1] // 2 * 2)
    assert (found.bgr_HWC[..., ::-1] == ramp(*size)[: found.size[1], : found.size[0]]).all()
    (notice,) = found.notices
    assert f"odd.png is {size[0]}x{size[1]}: its last" in notice


def several(path: Path) -> None:
    Image.fromarray(ramp()).save(path, save_all=True, append_images=[Image.fromarray(255 - ramp())], duration=100)


def clear(path: Path) -> None:
    alpha = Image.fromarray(ramp()).convert("RGBA")
    alpha.putpixel((3, 3), (0, 0, 0, 254))
    alpha.save(path)


BAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an animated gif": ("p.gif", several, "kind GIF; a photograph is a PNG, JPEG, WebP or TIFF"),
    "a still gif": ("p.gif", lambda p: Image.fromarray(ramp()).save(p), "kind GIF"),
    "a bitmap": ("p.bmp", lambda p: Image.fromarray(ramp()).save(p), "kind BMP"),
    "an avif": ("p.avif", lambda p: Image.fromarray(ramp()).save(p), "kind AVIF"),
    "an animated webp": ("p.webp", several, "is animated .2 pictures"),
    "an animated png": ("p.png", several, "is animated .2 pictures"),
    "pages": ("p.tif", several, "holds several pages .2 pictures"),
    "transparency": ("p.png", clear, "transparent parts, and nothing says what lies behind"),
    "cmyk": ("p.jpg", lambda p: Image.fromarray(ramp()).convert("CMYK").save(p), "CMYK without a colour profile"),
    "floats": ("p.tif", lambda p: Image.fromarray(ramp()[..., 0].astype(np.float32)).save(p), "of the kind F"),
    "too large": ("p.png", lambda p: Image.new("RGB", (4400, 3000)).save(p), "4400x3000, more than .* for example"),
    "too small": ("p.png", lambda p: Image.new("RGB", (64, 30)).save(p), "needs 32 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_would_have_to_be_guessed_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    name, write, says = BAD[kind]
    write(tmp_path / name)
    assert media.is_photograph(tmp_path / name), "so that it is told why it is refused"
    with pytest.raises(UnsupportedMedia, match=says) as said:
        media.read_photograph(tmp_path / name)
    assert str(said.value).count(". ") == 0


def test_half_a_photograph_is_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("p.png", "p.jpg", "p.webp"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(MediaError, match="damaged"):
            media.read_photograph(tmp_path / name)


def test_a_film_is_no_photograph(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "film.mp4", 64, 48) as clip:
        clip.frame(ramp())
    (tmp_path / "text.png").write_text("not a picture")
    assert not media.is_photograph(tmp_path / "film.mp4") and not media.is_photograph(tmp_path / "text.png")
    assert not media.is_photograph(tmp_path / "absent.png")


def test_the_largest_that_is_not_refused_is(tmp_path: Path) -> None:
    Image.new("RGB", (4096, 2304)).save(tmp_path / "p.png")
    assert media.read_photograph(tmp_path / "p.png").size == (4096, 2304)


def test_the_promise_is_what_the_film_holds(tmp_path: Path) -> None:
    """Delivery is decided before the film is made, from what is promised of it."""
    Image.fromarray(ramp()).save(tmp_path / "p.png")
    photograph = media.read_photograph(tmp_path / "p.png")
    rate = Fraction(30000, 1001)
    promised = media.film_of(tmp_path / "p.png", photograph, rate, 10).video
    with ClipWriter(tmp_path / "film.mp4", *photograph.size, rate, crf=0, matrix=media.BT709) as clip:
        for _ in range(10):
            clip.frame(photograph.bgr_HWC)
    held = media.probe(tmp_path / "film.mp4").video
    assert promised is not None and held is not None
    for name in ("codec", "tag", "width", "height", "pix_fmt", "bit_depth", "alpha", "rate", "rotation_deg",
                 "primaries", "transfer", "matrix", "range", "interlaced", "start_tc", "frames_hint",
                 "sample_aspect"):  # fmt: skip
        assert getattr(held, name) == getattr(promised, name), name


# -- the manifest ---------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """A manifest with one dub of two seconds; what is said of the title replaces its parts."""
    with ClipWriter(tmp_path / "fr.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound((0.1 * np.sin(np.arange(2 * HZ) / 5)).astype(np.float32)[:, None])
    Image.fromarray(ramp()).save(tmp_path / "p.png")
    with ClipWriter(tmp_path / "film.mp4", 64, 48) as film:
        for _ in range(50):
            film.frame(ramp())

    def make(**title: object) -> Path:
        one = {"id": "reel", "video": "p.png", "dubs": [{"language": "fr", "audio": "fr.flac"}], **title}
        (tmp_path / "job.yaml").write_text(json.dumps({"version": 1, "titles": [one]}), encoding="utf-8")
        return tmp_path / "job.yaml"

    return make


REFUSED = {
    "settings of a film": ({"video": "film.mp4", "still": {"rate": 25}}, "is a film; 'still' is for photographs"),
    "cuts of a photograph": ({"shots": "cuts.edl"}, "is a photograph, which has no cuts; remove 'shots'"),
    "an unknown setting": ({"still": {"zoom": True}}, "zoom"),
    "an odd rate": ({"still": {"rate": 26}}, "rate"),
    "words for a switch": ({"still": {"blinks": "yes"}}, "blinks"),
    "a dialogue of another length": (
        {"dubs": [{"language": "fr", "audio": "fr.flac", "dialogue": "long.flac"}]}, "longer than the picture",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_belong_together_is_refused(
    case: str, job: Callable[..., Path], dub: Dub, tmp_path: Path
) -> None:
    title, says = REFUSED[case]
    with ClipWriter(tmp_path / "long.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound((0.1 * np.sin(np.arange(3 * HZ) / 5)).astype(np.float32)[:, None])
    (tmp_path / "cuts.edl").write_text("TITLE: X\n")
    code, _, err = dub("run", job(**title), "--out", tmp_path / "out", "--engine", "local")
    assert code == 2 and says in err and "Traceback" not in err
    assert not (tmp_path / "out" / "reel").exists()


def test_check_promises_a_film_as_long_as_the_longest_dub(job: Callable[..., Path], dub: Dub, tmp_path: Path) -> None:
    code, told, _ = dub("check", job(still={"rate": "30000/1001"}), "--out", tmp_path / "out", "--json", "--deep")
    (title,) = json.loads(told)["titles"]
    assert code == 0 and title["frames"] == 60 and title["exact"] and title["size_px"] == [64, 48]
    assert title["dubs"][0]["master"] == "reel.fr.mp4" and -1 < title["dubs"][0]["over_frames"] <= 0
    assert any("reel is a photograph" in n for n in json.loads(told)["notes"])


@pytest.mark.long
def test_a_photograph_without_a_face_is_delivered_untouched(job: Callable[..., Path], dub: Dub, tmp_path: Path) -> None:
    from dubbing.shot_table import read_rows

    code, _, err = dub(
        "run", job(still={"blinks": True, "motion": True}), "--out", tmp_path / "out", "--engine", "local"
    )
    assert code == 0, err
    (row,) = read_rows(tmp_path / "out" / "reel" / "fr" / "shots.parquet")
    assert (row["status"], row["reason"], row["end_frame"]) == ("untouched", "no_face", 50)
    master = tmp_path / "out" / "reel" / "fr" / "reel.fr.mp4"
    assert len(media.timeline(master)) == 50
    heard = media.read_sound(master, rate_hz=None)
    assert (heard == media.read_sound(tmp_path / "fr.flac", rate_hz=None)).all()


@pytest.mark.long
def test_a_film_made_on_another_machine_is_brought_here(
    job: Callable[..., Path], faulty: type[Faulty], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second dub, on a machine that did not make the film, with the output folder at a URI."""
    from films import started_by

    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "one machine"))
    out = "faulty://films/out"
    first = started_by(job(), out)  # type: ignore[arg-type]
    assert {"still reel", "shots reel", "master reel/fr"} <= first
    monkeypatch.setenv("DUB_SCRATCH", str(tmp_path / "another"))
    with ClipWriter(tmp_path / "de.flac", sample_rate_hz=HZ, channels=1) as clip:
        clip.sound((0.1 * np.sin(np.arange(HZ) / 5)).astype(np.float32)[:, None])
    both = [{"language": "fr", "audio": "fr.flac"}, {"language": "de", "audio": "de.flac"}]
    second = started_by(job(dubs=both), out)  # type: ignore[arg-type]
    assert "master reel/de" in second and not second & first
    (made,) = (tmp_path / "another").rglob("reel.de.mp4")
    assert len(media.timeline(made)) == 25
