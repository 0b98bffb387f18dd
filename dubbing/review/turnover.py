"""A turnover for compositing: of every delivered shot the new pixels with their matte, frame by frame, so that somebody
can finish by hand what was begun here.

A folder for each dub: pictures with transparency, `turnover.json` that says which frame and place each is, and a script
for Nuke that lays them over the source. Pixels are upright, and hold the film's own code values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.clock import Timeline
from dubbing.records import Patch
from dubbing.store import Store

__all__ = ["Part", "turn_over"]

SCHEMA = "dub.turnover.1"


@dataclass(frozen=True)
class Part:
    """One delivered shot. folders: of the patches of each of its faces."""

    shot: str
    start_frame: int
    end_frame: int
    folders: tuple[Path, ...]


def turn_over(
    film: Path, line: Timeline, parts: Sequence[Part], folder: Path, name: str, kind: str, *, crop: bool = False,
    plate: bool = False, progress: Callable[[int], None] = lambda frames: None,
) -> list[Path]:  # fmt: skip
    """Write the turnover of one dub; returns its list and its script.

    name: `reel.fr`; kind: of `media.LAYERS`; crop: pictures no larger than the shot's patches need, with their place in
    the list, else of the film's size; plate: also the source's own pictures of these frames, without a matte (not with
    movies, beside which the film itself lies); progress(n): n more frames are written.

    Raises what `media.read` and `media.read_patches` raise; OSError where it cannot be written.
    """
    info = media.probe(film)
    video, size = info.video, info.upright_size
    assert video is not None
    store, listed = Store(folder), []
    reads: list[tuple[Part, str, int | None]] = []
    ending, multiplied = media.LAYERS[kind]
    first = next(media.read(film, line, 0, 1))
    for part in parts:
        box = _around(part.folders, size) if crop else (0, 0, *size)
        frames: list[dict[str, Any]] = []
        home = folder / part.shot
        home.mkdir(parents=True, exist_ok=True)
        pictures = _merged(part, box)
        if kind == "prores4444":
            file = home / f"{name}.{part.shot}{ending}"
            tags = (video.primaries, video.transfer, video.matrix)
            with media.LayerMovie(
                file, box[2], box[3], line.rate, first.colour, tags, line.timecode(part.start_frame)
            ) as movie:
                for frame, bgr, matte in _every(part, pictures, box):
                    movie.write(bgr, matte)
                    progress(1)
                    if matte.any():
                        frames.append({"frame": frame, "tc": line.timecode(frame)})
            listed.append(_said(part, line, box) | {"file": _below(file, folder), "frames": frames})
            reads.append((part, _below(file, folder), part.start_frame))
            continue
        for frame, bgr, matte in pictures:
            file = home / f"{name}.{part.shot}.{frame:07d}{ending}"
            store.write_bytes(file, media.layer_bytes(kind, bgr, matte))
            frames.append({"frame": frame, "tc": line.timecode(frame), "file": _below(file, folder)})
            progress(1)
        if plate and frames:
            _plates(film, line, frames, box, home, f"{name}.{part.shot}.plate", kind, store)
        listed.append(_said(part, line, box) | {"frames": frames})
        reads.append((part, f"{part.shot}/{name}.{part.shot}.%07d{ending}", None))
    about = {
        "schema": SCHEMA, "dub": name, "film": str(film), "size": list(size), "rate": str(line.rate),
        "kind": kind, "premultiplied": multiplied, "code_values": "the film's own, 0 to 1; not linear",
        "primaries": video.primaries, "transfer": video.transfer, "matrix": video.matrix, "shots": listed,
    }  # fmt: skip
    files = {
        "turnover.json": json.dumps(about, indent=1),
        f"{name}.nk": _nuke(film, line, size, reads, listed, multiplied),
    }
    for name_of, text in files.items():
        store.write_bytes(folder / name_of, text.encode())
    return [folder / one for one in files]


def _said(part: Part, line: Timeline, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {
        "shot": part.shot, "start_frame": part.start_frame, "end_frame": part.end_frame,
        "start_tc": line.timecode(part.start_frame), "end_tc": line.timecode(part.end_frame),
        "x": box[0], "y": box[1], "width": box[2], "height": box[3],
    }  # fmt: skip


def _below(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _around(folders: Sequence[Path], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (x, y, w, h) of the picture that holds all of a shot's patches, even."""
    left, top, right, bottom = size[0], size[1], 0, 0
    for folder in folders:
        for patch in media.read_patches(folder):
            height, width = patch.matte_HW.shape
            left, top = min(left, patch.x), min(top, patch.y)
            right, bottom = max(right, patch.x + width), max(bottom, patch.y + height)
    left, top = max(0, left) // 2 * 2, max(0, top) // 2 * 2
    return left, top, min(size[0], right) - left, min(size[1], bottom) - top


def _merged(part: Part, box: tuple[int, int, int, int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(frame, colour, matte) of every frame with a patch: float32 0..1 in a box, several faces in one picture."""
    queue = media.PatchQueue(part.folders)
    for frame in range(part.start_frame, part.end_frame):
        patches = queue.at(frame)
        if patches:
            yield (frame, *_laid(patches, box))


def _laid(patches: Sequence[Patch], box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    x, y, width, height = box
    colour, matte = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for patch in patches:
        rows, cols = patch.matte_HW.shape
        top, left = max(0, y - patch.y), max(0, x - patch.x)
        bottom, right = min(rows, y + height - patch.y), min(cols, x + width - patch.x)
        if bottom <= top or right <= left:
            continue
        cut = (slice(top, bottom), slice(left, right))
        at = (slice(patch.y + top - y, patch.y + bottom - y), slice(patch.x + left - x, patch.x + right - x))
        if patch.deep_HWC is None:
            new = patch.bgr_HWC[cut].astype(np.float32) / 255
        else:
            new = patch.deep_HWC[cut].astype(np.float32) / 65535
        over = patch.matte_HW[cut].astype(np.float32) / 255
        under = matte[at] * (1 - over)
        whole = over + under
        mixed = new * over[..., None] + colour[at] * under[..., None]
        colour[at] = np.where(whole[..., None] > 0, mixed / np.maximum(whole, 1e-6)[..., None], 0)
        matte[at] = whole
    return colour, matte


def _every(
    part: Part, pictures: Iterator[tuple[int, np.ndarray, np.ndarray]], box: tuple[int, int, int, int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Every frame of a shot, those without a patch clear."""
    clear = np.zeros((box[3], box[2], 3), np.float32), np.zeros((box[3], box[2]), np.float32)
    following = next(pictures, None)
    for frame in range(part.start_frame, part.end_frame):
        if following is not None and following[0] == frame:
            yield following
            following = next(pictures, None)
        else:
            yield frame, *clear


def _plates(
    film: Path, line: Timeline, frames: list[dict[str, Any]], box: tuple[int, int, int, int], home: Path, name: str,
    kind: str, store: Store,
) -> None:  # fmt: skip
    wanted = {f["frame"]: f for f in frames}
    solid = np.ones((box[3], box[2]), np.float32)
    for picture in media.read(film, line, min(wanted), max(wanted) + 1):
        if picture.frame in wanted:
            file = home / f"{name}.{picture.frame:07d}{media.LAYERS[kind][0]}"
            store.write_bytes(file, media.layer_bytes(kind, picture.own_bgr(box).astype(np.float32) / 255, solid))
            wanted[picture.frame]["plate"] = f"{home.name}/{file.name}"


def _nuke(
    film: Path, line: Timeline, size: tuple[int, int], reads: Sequence[tuple[Part, str, int | None]],
    listed: Sequence[dict[str, Any]], multiplied: bool,
) -> str:  # fmt: skip
    """A script for Nuke: the film, and each shot's pictures over it, in order. Frame 0 of the film is frame 0."""
    end = len(line) - 1
    nodes = [
        f"Root {{\n inputs 0\n first_frame 0\n last_frame {end}\n fps {float(line.rate):.6f}\n"
        f' format "{size[0]} {size[1]} 0 0 {size[0]} {size[1]} 1 film"\n}}',
        f'Read {{\n inputs 0\n file "{film.as_posix()}"\n first 1\n last {end + 1}\n frame_mode offset\n frame 1\n'
        " raw true\n name film\n}\nset below [stack 0]",
    ]
    for n, ((part, file, start), said) in enumerate(zip(reads, listed, strict=True), 1):
        shown = [f["frame"] for f in said["frames"]] or [part.start_frame]
        ends = (1, part.end_frame - part.start_frame) if start is not None else (min(shown), max(shown))
        shift = f" frame_mode offset\n frame {1 - start}\n" if start is not None else ""
        nodes += [
            f'Read {{\n inputs 0\n file "[file dirname [value root.name]]/{file}"\n first {ends[0]}\n last {ends[1]}\n'
            f" before black\n after black\n on_error black\n raw true\n{shift} name {part.shot}_{n}\n}}",
            *([] if multiplied else [f"Premult {{\n name premult_{n}\n}}"]),
            f"Transform {{\n translate {{{said['x']} {size[1] - said['y'] - said['height']}}}\n filter Impulse\n"
            f" name place_{n}\n}}",
            f"push $below\nMerge2 {{\n inputs 2\n operation over\n name over_{n}\n}}\nset below [stack 0]",
        ]
    return "\n".join([*nodes, f"Write {{\n file_type mov\n first 0\n last {end}\n use_limit true\n name out\n}}", ""])
