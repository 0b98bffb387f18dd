"""`rewrite` in batches by torch beside OpenCV frame by frame: how far apart the patches are, and what both cost.

    python -m bench.batches FILM --dub fr=FR.flac --out OUT [--frames 16] [--most 300] [--pictures FOLDER] [--deep]
        [--meta]

A run with the local engine into OUT, where an analysis that is there already is used again; takes are made anew.
Every frame that is rendered goes both ways, on the processor: PSNR and the share of samples that are more than 1, 2 and
4 of 255 apart, where there is a patch (of a film of 4:2:0 its own samples, else BGR); mattes likewise; milliseconds of
processor time a frame of both.
--most: frames of a shot that are compared; --frames: of a batch; --deep: with fractions, as of a film of more than 8
bits; --pictures: of three frames a shot a picture, enlarged: the source, OpenCV's patch over it, torch's, and eight
times what is between them; --meta: the first batch goes through torch's `meta` too, whose tensors have no values: an
error where one is looked at, or two are of other devices.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

import dubbing
from dubbing import media
from dubbing.config import Config
from dubbing.generators.rewrite import generator
from dubbing.generators.rewrite.batches import in_batches
from dubbing.generators.rewrite.geometry import Face, Wanted
from dubbing.generators.rewrite.render import render
from dubbing.media.colour import in_every_pixel

Patch = tuple[np.ndarray, np.ndarray]


@dataclass(eq=False)
class Told:
    """Of one shot. histogram_256: samples by how far apart they are; mattes_256: likewise; seconds: of both ways."""

    frames: int = 0
    lent: int = 0
    drawn: int = 0
    size: tuple[int, int] = (0, 0)
    squares: float = 0.0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    mattes: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    worst: tuple[int, int] = (0, 0)


class Both:
    """In place of `render`: what it gave is given, and a batch is rendered the other way when it is full."""

    def __init__(self, frames: int, most: int, deep: bool, pictures: Path | None, meta: bool) -> None:
        self.frames, self.most, self.deep, self.pictures, self.meta = frames, most, deep, pictures, meta
        self.told: dict[str, Told] = defaultdict(Told)
        self.shot = ""
        self._held: list[tuple[Wanted, Patch]] = []

    def __call__(self, one: Wanted, grid: int = 48) -> tuple[np.ndarray | media.Planes, np.ndarray]:
        told = self.told[self.shot]
        if self.deep:
            one = replace(one, target=_deep(one.target), donors=[(_deep(f), w) for f, w in one.donors])
        began = time.process_time()
        pixels, matte = render(one, grid)
        if told.frames + len(self._held) < self.most:
            told.seconds[0] += time.process_time() - began
            self._held.append((one, _shown(pixels, matte)))
            if len(self._held) == self.frames:
                self.flush()
        return np.rint(pixels).astype(np.uint8) if self.deep and isinstance(pixels, np.ndarray) else pixels, matte

    def flush(self) -> None:
        """Render what is held in a batch, and compare."""
        if not self._held:
            return
        if self.meta:
            without_values([one for one, _ in self._held])
            self.meta = False
        told = self.told[self.shot]
        began = time.process_time()
        made = [_shown(*both) for both in in_batches((one for one, _ in self._held), "cpu", most=self.frames)]
        told.seconds[1] += time.process_time() - began
        for (one, found), other in zip(self._held, made, strict=True):
            self._compare(told, one, found, other)
        self._held = []

    def _compare(self, told: Told, one: Wanted, found: Patch, other: Patch) -> None:
        there = (found[1] > 0) | (other[1] > 0)
        apart = np.abs(found[0].astype(np.float32) - other[0])[there]
        apart[~((found[1] > 0) & (other[1] > 0))[there]] = 0  # of which a matte is 0, mattes tell
        told.squares += float((apart**2).sum())
        told.histogram += np.bincount(np.ceil(apart.ravel() - 1e-3).astype(int), minlength=256)
        told.mattes += np.bincount(np.abs(found[1].astype(int) - other[1])[there], minlength=256)
        told.size = (one.target.box.width, one.target.box.height)
        told.lent += any(f.lent for f, _ in one.donors)
        told.drawn += one.inside is not None
        if self.pictures is not None and told.frames % max(1, self.most // 3) == 0:
            rows = [one.target.bgr_HWC.astype(np.float32)]
            for values, matte in (found, other):
                own = one.target.pixels
                bgr = cv2.transform(values, own.colour.to_bgr) if isinstance(own, media.Planes) else values
                alpha = matte[..., None] / 255
                rows.append(rows[0] * (1 - alpha) + bgr * alpha)
            rows.append(np.abs(rows[1] - rows[2]) * 8)
            sheet = np.rint(np.concatenate(rows, 1)).clip(0, 255).astype(np.uint8)
            sheet = cv2.resize(sheet, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
            name = f"{self.shot.replace('/', '_')}_{told.frames:04d}.png"
            cv2.imwrite(str(self.pictures / name), sheet)
        told.frames += 1

    def on_event(self, event: dubbing.Event) -> None:
        """What is held is of one shot: another begins."""
        if str(event.shot) != self.shot:
            self.flush()
            self.shot = str(event.shot)


def without_values(frames: list[Wanted]) -> None:
    """Render on `meta`, from which nothing can be copied: zeros are, where patches would be, and nowhere else."""
    back: list[torch.Size] = []
    real = torch.Tensor.cpu

    def cpu(self: torch.Tensor) -> torch.Tensor:
        back.append(self.shape)
        return torch.zeros(self.shape, dtype=self.dtype)

    torch.Tensor.cpu = cpu  # type: ignore[assignment,method-assign]
    try:
        list(in_batches(frames, "meta", most=len(frames)))
    finally:
        torch.Tensor.cpu = real  # type: ignore[method-assign]
    print(f"meta: {len(frames)} frames, {len(back)} copies from the device: {', '.join(str(tuple(s)) for s in back)}")


def _shown(pixels: np.ndarray | media.Planes, matte_HW: np.ndarray) -> Patch:
    """BGR, or the film's own samples, Y, U and V of every pixel, (H, W, 3)."""
    if not isinstance(pixels, media.Planes):
        return pixels, matte_HW
    return in_every_pixel(*pixels.layers, (1, 1)).copy(), matte_HW


def _deep(face: Face) -> Face:
    """With fractions that no 8 bits hold, the same ones every time."""
    more = np.random.default_rng(int(face.bgr_HWC[0, 0, 0])).integers(-1, 2, face.bgr_HWC.shape) / 4
    return replace(face, pixels=np.clip(face.bgr_HWC + more, 0, 255).astype(np.float32))


def main() -> None:
    """Print a row of each shot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--dub", required=True, metavar="LANGUAGE=SOUND")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--meta", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    language, sound = args.dub.split("=", 1)
    dub = {"language": language, "audio": str(Path(sound).resolve())}
    title = {"id": "film", "video": str(args.film.resolve()), "dubs": [dub]}
    args.out.mkdir(parents=True, exist_ok=True)
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
    manifest = args.out / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "titles": [title], "generator": "rewrite"}))
    shutil.rmtree(args.out / "film" / language / "takes", ignore_errors=True)
    both = Both(args.frames, args.most, args.deep, args.pictures, args.meta)
    generator.render = both  # type: ignore[assignment]
    settings = Config.model_validate({"sync": {"score": False}, "proof": False})
    report = dubbing.run(manifest, args.out, engine="local", on_event=both.on_event, config=settings)
    both.flush()
    if report.exit_code not in (0, 3) or not both.told:
        raise SystemExit(f"The run ended with exit code {report.exit_code}, so that nothing was measured.")
    print(
        "shot          frames  crop     lent  drawn   PSNR dB   >1      >2      >4     matte >1   ms OpenCV  ms torch"
    )
    for shot, t in sorted(both.told.items()):
        if not t.frames:
            continue
        total, mattes = t.histogram.sum(), t.mattes.sum()
        psnr = 10 * np.log10(255**2 * total / max(t.squares, 1e-9))
        over = [t.histogram[n:].sum() / total for n in (2, 3, 5)]
        print(
            f"{shot:14s} {t.frames:5d}  {t.size[0]}x{t.size[1]}  {t.lent:4d}  {t.drawn:4d}  {psnr:8.2f}  "
            + "  ".join(f"{100 * o:5.3f}%" for o in over)
            + f"   {100 * t.mattes[2:].sum() / mattes:5.3f}%  "
            + "  ".join(f"{1000 * s / t.frames:9.2f}" for s in t.seconds)
        )


if __name__ == "__main__":
    main()
