"""Photographs as the picture of a title: whether a file is one, its pixels, and the film made of it.

Pixels come out upright (EXIF), in sRGB (a colour profile is applied, not ignored), 8 bits, of even size.
What would have to be guessed is refused: what lies behind transparency, what ink looks like without a
profile, which picture of several is meant. It knows no face and no sound.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.errors import MediaError, UnsupportedMedia
from dubbing.inputs import read_file
from dubbing.media.probe import MediaInfo, VideoInfo, refusal

__all__ = ["LEAST_PX", "MOST_BLOCKS", "READ", "Photograph", "film_of", "is_photograph", "read_photograph"]

ALLOWED = "a photograph is a PNG, JPEG, WebP or TIFF file"
MOST_BLOCKS = 36_864  # of 16 x 16 pixels: H.264's level 5.2, such as 4096 x 2304
MOST_PX = 8688  # on a side, by the same level: the square root of eight times as many blocks
LEAST_PX = 32
_MOST_LOOKED_AT = 64_000_000  # pixels of a picture that becomes no film
BT709 = 1
READ = ("PNG", "JPEG", "MPO", "WEBP", "TIFF")
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a", b"BM")
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_FILMS = (".mjpg", ".mjpeg")  # a stream of JPEG pictures begins as one does


@dataclass(frozen=True, eq=False)
class Photograph:
    """bgr_HWC: uint8, upright, sRGB, H and W even; notices: sentences about what differs from the file."""

    bgr_HWC: np.ndarray
    notices: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.bgr_HWC.shape[1], self.bgr_HWC.shape[0]


def is_photograph(path: str | Path) -> bool:
    """Whether a file is a picture and not a film, by its first bytes; True also for kinds that are refused.

    False where it cannot be opened: `probe` says why.
    """
    try:
        head = read_file(path, 32)
    except OSError:
        return False
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return True
    return head.startswith(_BEGINNINGS) and Path(path).suffix.lower() not in _FILMS


def read_photograph(path: str | Path, *, for_film: bool = True) -> Photograph:
    """The picture in a file. for_film: refuse sizes that no film can have.

    Raises UnsupportedMedia where it could only be guessed at, MediaError: no picture.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are looked at here, and of odd tags
            with Image.open(path) as picture:
                _check_kind(path, picture, for_film)
                bits = _bits(path, picture)
                upright = ImageOps.exif_transpose(picture)
                upright.load()
                rgb_HWC, notices = _rgb(path, upright)
    except OSError as e:
        if e.errno is not None:
            raise refusal(path, e) from e
        raise MediaError(f"{path} is damaged, or a kind of picture that cannot be read ({e}); {ALLOWED}.") from e
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise MediaError(f"{path} is damaged, or a kind of picture that cannot be read ({e}); {ALLOWED}.") from e
    if bits > 8:
        notices.append(f"{Path(path).name} has {bits} bits a sample; the master has 8.")
    height, width = rgb_HWC.shape[:2]
    if height % 2 or width % 2:
        left = " and ".join(name for name, odd in (("column", width % 2), ("row", height % 2)) if odd)
        notices.append(
            f"{Path(path).name} is {width}x{height}: its last {left} is left out, because H.264 needs even sizes."
        )
        rgb_HWC = rgb_HWC[: height // 2 * 2, : width // 2 * 2]
    return Photograph(np.ascontiguousarray(rgb_HWC[..., ::-1]), tuple(notices))


def _check_kind(path: str | Path, picture: Any, for_film: bool) -> None:
    """Raises UnsupportedMedia from what the file's header says."""
    if picture.format not in READ:
        raise UnsupportedMedia(f"{path} is {_a(picture.format)}; {ALLOWED}: save it as PNG.")
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":
        what = "is animated" if picture.format in ("PNG", "WEBP") else "holds several pages"
        raise UnsupportedMedia(f"{path} {what} ({count} pictures); give one still picture, or a film.")
    width, height = picture.size
    if not for_film:
        if width * height > _MOST_LOOKED_AT:
            raise UnsupportedMedia(f"{path} is {width}x{height}, more than is looked at; scale it down.")
        return
    if -(-width // 16) * -(-height // 16) > MOST_BLOCKS:
        by = (MOST_BLOCKS * 256 / (width * height)) ** 0.5
        fits = f"{int(width * by) // 16 * 16}x{int(height * by) // 16 * 16}"
        raise UnsupportedMedia(
            f"{path} is {width}x{height}, more than H.264's level 5.2 holds (9.4 megapixels, such as 4096x2304): "
            f"scale it down, to {fits} for example."
        )
    if max(width, height) > MOST_PX:
        raise UnsupportedMedia(
            f"{path} is {width}x{height}; H.264's level 5.2 holds {MOST_PX} pixels on a side: "
            "cut out the part with the face."
        )
    if min(width, height) < LEAST_PX:
        raise UnsupportedMedia(f"{path} is {width}x{height}; a photograph needs {LEAST_PX} pixels on each side.")


def _bits(path: str | Path, picture: Any) -> int:
    """Bits of each sample in the file; decoding makes them all 8."""
    if picture.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]
    return max(picture.tag_v2.get(258, (8,))) if picture.format == "TIFF" else 8


def _a(kind: str | None) -> str:
    return f"a picture of the kind {kind}" if kind else "no picture that is known"


def _rgb(path: str | Path, picture: Any) -> tuple[np.ndarray, list[str]]:
    """uint8 (H, W, 3) in sRGB, and notices for the user."""
    mode = picture.mode
    notices: list[str] = []
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            raise UnsupportedMedia(
                f"{path} has transparent parts, and nothing says what lies behind them: lay it on a background."
            )
        picture = _with_profile(picture, picture.convert("LA" if mode[0] in "L" else "RGBA").convert(
            "L" if mode[0] in "L" else "RGB"))  # fmt: skip
    elif mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint16)
        picture = _with_profile(picture, _from_array((deep >> 8).astype(np.uint8)))
    elif mode in ("1", "P", "YCbCr"):
        picture = _with_profile(picture, picture.convert("L" if mode == "1" else "RGB"))
    elif mode not in ("L", "RGB", "CMYK"):
        raise UnsupportedMedia(f"{path} has samples of the kind {mode}; save it as an RGB picture of 8 bits.")
    profile = picture.info.get("icc_profile")
    if profile:
        return _to_srgb(path, picture, profile, notices)
    if picture.mode == "CMYK":
        raise UnsupportedMedia(f"{path} is CMYK without a colour profile: convert it to RGB.")
    return np.asarray(picture.convert("RGB")), notices


def _from_array(grey_HW: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(grey_HW)


def _with_profile(picture: Any, converted: Any) -> Any:
    converted.info["icc_profile"] = picture.info.get("icc_profile")
    return converted


def _to_srgb(path: str | Path, picture: Any, profile: bytes, notices: list[str]) -> tuple[np.ndarray, list[str]]:
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        said = ImageCms.getProfileDescription(own).strip()
        if picture.mode == "RGB" and said.startswith("sRGB"):
            return np.asarray(picture), notices
        srgb = ImageCms.createProfile("sRGB")
        converted: Any = ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError) as e:
        raise UnsupportedMedia(f"{path} has a colour profile that cannot be used ({e}): convert it to sRGB.") from e
    notices.append(f"{Path(path).name} is converted from its colour profile ({said or 'unnamed'}) to sRGB.")
    return np.asarray(converted), notices


def film_of(path: str | Path, photograph: Photograph, rate: Fraction, frames: int) -> MediaInfo:
    """The MediaInfo of the film that is made of a photograph: mp4, H.264, BT.709, no sound."""
    width, height = photograph.size
    video = VideoInfo(
        index=0, codec="h264", tag="avc1", width=width, height=height, pix_fmt="yuv420p", bit_depth=8, alpha=False,
        rate=rate, time_base=1 / rate, start_pts=0, sample_aspect=Fraction(1), rotation_deg=0, matrix9=None,
        primaries=BT709, transfer=BT709, matrix=BT709, range=1, chroma_location="left", interlaced=False,
        start_tc=None, frames_hint=frames, bit_rate=0, language=None,
    )  # fmt: skip
    return MediaInfo(
        path=Path(path), container="mov,mp4,m4a,3gp,3g2,mj2", brand="isom", video=video, audio=(), subtitles=(),
        others=(), chapters=0, metadata={}, duration_s=frames / rate,
    )  # fmt: skip
