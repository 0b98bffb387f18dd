"""`render` of many frames at once, in torch: what a GPU does instead of OpenCV, and a processor can do to prove it.

A batch is a few frames of a stretch, as many as MOST_BYTES hold. What of them needs only meshes, the outlines of mouths
and what is drawn between lips stay with OpenCV (`geometry`, `interior`); pictures go to the device once a batch, and
come back once, as patches. All is float32 in between, and rounded to 8 bits at the end alone, where OpenCV rounds after
each step: of two patches a sample may be 1 apart, and few are more. A frame's patch does not depend on those
beside it. Axes: B frames, M mouths (a frame may have two), and those of `tensors`. Knows nothing of sound or time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dubbing.errors import ModelError
from dubbing.generators import needs
from dubbing.generators.rewrite.geometry import Bend, Box, Face, Plan, Wanted, outline, planned
from dubbing.generators.rewrite.render import RING, STILL_PX, blackened, finished, render, ring_step
from dubbing.generators.rewrite.tensors import (
    ROOM,
    Samples,
    blurred,
    enlarged,
    gathered,
    half_places,
    halved,
    levels,
    node_maps,
    order_statistic,
    read,
    regrained,
    sent,
    softened,
)  # fmt: skip
from dubbing.media import Planes

__all__ = ["FRAMES", "MOST_BYTES", "frames_at_once", "in_batches", "require_memory"]

FRAMES = 16
"""Frames of a batch, at most."""
MOST_BYTES = 1_500_000_000
"""Of pictures on the device at once, unless a single frame has more."""
_PIXEL_BYTES = 200  # of all tensors, for each pixel of a crop, at most
_ROOM_BYTES = 500_000_000  # for what libraries of the GPU take


def in_batches(
    frames: Iterable[Wanted], device: str, grid: int = 48, most: int = FRAMES
) -> Iterator[tuple[np.ndarray | Planes, np.ndarray]]:
    """`render.render` of every frame, in order. device: of torch; most: frames at once. Raises as `require_memory`."""
    require_memory(device)
    left = iter(frames)
    for first in left:
        chunk = [first, *islice(left, min(most, frames_at_once(first.target.box)) - 1)]
        yield from _batch(chunk, torch.device(device), grid)


def frames_at_once(box: Box) -> int:
    """How many crops of that size a batch has."""
    return max(1, min(FRAMES, MOST_BYTES // (_PIXEL_BYTES * box.width * box.height)))


@cache
def require_memory(device: str) -> None:
    """Asked once of each device. Raises ModelError: a GPU has too little memory free."""
    free, wanted = needs.free_bytes(device), MOST_BYTES + _ROOM_BYTES
    if free is not None and free < wanted:
        raise ModelError(
            f"generator rewrite needs {wanted / 1e9:.1f} GB of the GPU's memory, and {free / 1e9:.1f} GB are free; let "
            "fewer workers share it, or leave `gpu` out of the generator's settings."
        )


def _batch(chunk: list[Wanted], device: torch.device, grid: int) -> list[tuple[np.ndarray | Planes, np.ndarray]]:
    """Those that are alike are rendered together."""
    found: dict[int, tuple[np.ndarray | Planes, np.ndarray]] = {}
    alike: dict[object, list[tuple[int, Wanted, Plan]]] = {}
    for n, one in enumerate(chunk):
        plan = planned(one, grid)
        if plan.jaw is None or plan.mouths is None:  # at the picture's edge: there is little to bend
            found[n] = render(one, grid)
            continue
        grids = [(bend.nodes.step_px, bend.twice) for bend in (plan.jaw, plan.mouths)]
        kind = (plan.jaw.nodes.size_wh, _kind(one.target), one.grain_of is None, *grids)
        alike.setdefault(kind, []).append((n, one, plan))
    for group in alike.values():
        numbers, frames, plans = zip(*group, strict=True)
        with torch.inference_mode():
            made, matte_BHW = _Batch(frames, plans, device).rendered()
        for n, one, plan, pixels, matte in zip(numbers, frames, plans, made, matte_BHW, strict=True):
            if isinstance(one.target.pixels, Planes):
                found[n] = blackened(Planes(pixels, one.target.pixels.colour), matte), matte
            else:
                found[n] = finished(pixels, matte, one, plan)
    return [found[n] for n in range(len(chunk))]


def _kind(face: Face) -> tuple[object, ...]:
    """What pictures have in common that are worked on at once: shapes of their layers, and the type."""
    return *(layer.shape for layer in face.layers), face.layers[0].dtype


@dataclass(frozen=True, eq=False)
class _Mouth:
    """One that is lent. frame: its place in the batch; slot: which of the frame's it is."""

    frame: int
    slot: int
    face: Face
    weight: float


class _Batch:
    """Frames of one crop size and type, whose nodes are equally far apart. frames, plans: as of `planned`."""

    def __init__(self, frames: Sequence[Wanted], plans: Sequence[Plan], device: torch.device) -> None:
        self.frames, self.plans, self._to = frames, plans, device
        self.parts = [plan.part for plan in plans if plan.part is not None]
        # of one size: each part in the top left, and room after it
        self.size_hw = tuple(max(getattr(p, s) for p in self.parts) + ROOM for s in ("height", "width"))
        self.eight = frames[0].target.layers[0].dtype == np.uint8
        self.mouths = [_Mouth(b, slot, *lent) for b, one in enumerate(frames) for slot, lent in enumerate(one.donors)]
        self.frame_M = self._sent(np.array([m.frame for m in self.mouths]))
        self.device = self.frame_M.device
        self.corner_B2 = self._sent(np.array([(p.x, p.y) for p in self.parts]))
        self.part_hw_B2 = self._sent(np.array([(p.height, p.width) for p in self.parts]))

    def _sent(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._to)

    def rendered(self) -> tuple[np.ndarray, np.ndarray]:
        """(pixels of the targets' type: BGR (B, H, W, 3), or luma and chroma as of `Planes`; matte (B, H, W) uint8)."""
        given = self._layers([one.target for one in self.frames])
        mouth_matte = self._mouth_mattes()
        faces, changed_BHW = self._jaws(given, mouth_matte)
        unders = [self._windows(face, n) for n, face in enumerate(faces)]
        mouths = self._mouths(given[0], unders, mouth_matte)
        for n, (face, under, mouth) in enumerate(zip(faces, unders, mouths, strict=True)):
            matte = halved(mouth_matte) if n else mouth_matte
            mixed = under + (mouth - under) * matte[:, None]
            for b, p in enumerate(self.parts):
                y, x, height, width = (v >> n for v in (p.y, p.x, p.height, p.width))
                face[b, :, y : y + height, x : x + width] = mixed[b, :, :height, :width]
        shown = (mouth_matte * 6).clamp(max=1)
        for b, p in enumerate(self.parts):
            part = changed_BHW[b, p.y : p.y + p.height, p.x : p.x + p.width]
            torch.maximum(part, shown[b, : p.height, : p.width], out=part)
        matte_BHW = (self._ended(changed_BHW) * 255).round().to(torch.uint8)
        if self.eight:
            faces = [face.clamp_(0, 255).round_().to(torch.uint8) for face in faces]
        made = [face.permute(0, 2, 3, 1) for face in faces]
        whole = made[0].contiguous()
        if len(made) > 1:
            whole = torch.cat([one.reshape(len(one), -1, matte_BHW.shape[2]) for one in made], 1)
        return whole.cpu().numpy(), matte_BHW.cpu().numpy()

    def _layers(self, faces: Sequence[Face]) -> list[Tensor]:
        """Those of faces of one kind, float32 (M, K, H, W) each."""
        out = []
        for n in range(len(faces[0].layers)):
            layer = sent([face.layers[n] for face in faces], self._to)
            out.append((layer[:, None] if layer.ndim == 3 else layer.permute(0, 3, 1, 2)).float())
        return out

    def _windows(self, layer_BKHW: Tensor, less: int) -> Tensor:
        """The parts of one layer, (B, K, h, w). less: how often its sides were halved."""
        size = (self.size_hw[0] >> less, self.size_hw[1] >> less)
        return gathered(layer_BKHW.permute(0, 2, 3, 1), self.corner_B2 >> less, size).permute(0, 3, 1, 2)

    def _mouth_mattes(self) -> Tensor:
        """Soft mattes of the mouths in their parts, float32 (B, h, w) 0..1."""
        made = [outline(plan.hull_M2, part, plan.eye) for plan, part in zip(self.plans, self.parts, strict=True)]
        out = torch.zeros((len(made), *self.size_hw), device=self.device)
        for less in sorted({less for _, _, less in made}):
            some = [b for b, one in enumerate(made) if one[2] == less]
            height, width = (-(-n // less) for n in self.size_hw)
            masks = np.zeros((len(some), 1, height, width), np.float32)
            for row, b in enumerate(some):
                mask = made[b][0]
                masks[row, 0, : mask.shape[0], : mask.shape[1]] = mask
            soft = blurred(self._sent(masks), [made[b][1] for b in some], mirrored=False)
            if less > 1:
                soft = F.interpolate(soft, scale_factor=float(less), mode="bilinear", align_corners=False)
            out[self._sent(np.array(some))] = soft[:, 0, : self.size_hw[0], : self.size_hw[1]]
        return ((out - 0.08) / 0.84).clamp_(0, 1)

    def _maps(self, bends: Sequence[Bend], moves: Sequence[np.ndarray], shape: tuple[int, int]) -> Tensor:
        """Displacements at the nodes, float32 (M, 2, R, C): of each bend with moves of its own, (P, 2)."""
        points, like = sent([bend.points_P2 for bend in bends], self._to), bends[0]
        step, smooth, twice = like.nodes.step_px, like.smooth, like.twice
        return node_maps(points, sent(moves, self._to), shape, step, smooth, twice=twice)

    def _jaws(self, given: Sequence[Tensor], mouth_matte: Tensor) -> tuple[list[Tensor], Tensor]:
        """The layers of the targets' own pixels with jaws where they are wanted, and where they differ, (B, H, W)."""
        bends = [plan.jaw for plan in self.plans if plan.jaw is not None]
        nodes = bends[0].nodes
        size_hw = nodes.size_wh[::-1]
        weight = sent([plan.weight_RC for plan in self.plans if plan.weight_RC is not None], self._to)[:, None]
        move = self._maps(bends, [bend.moves_PK for bend in bends], nodes.shape) * weight
        where = (move.abs() > STILL_PX).any(1, keepdim=True).float()
        changed = enlarged(torch.minimum(weight * 5, _dilated(where)), nodes.step_px, size_hw)[:, 0]
        whole = torch.zeros_like(changed)
        for b, p in enumerate(self.parts):
            whole[b, p.y : p.y + p.height, p.x : p.x + p.width] = mouth_matte[b, : p.height, : p.width] >= 1
        rows, cols = (
            self._sent(np.clip(a.ravel().astype(int), 0, n - 1)) for a, n in zip(nodes.at, size_hw, strict=True)
        )
        where = where * _dilated(1 - whole[:, rows][:, :, cols][:, None])
        moved = enlarged(torch.cat([move, where], 1), nodes.step_px, size_hw)
        y, x = (torch.arange(n, device=self.device, dtype=torch.float32) for n in size_hw)
        x, y, there = moved[:, 0] + x, moved[:, 1] + y[:, None], moved[:, 2:] > 0
        faces = []
        for n, layer in enumerate(given):
            if n:
                x, y, there = half_places(x), half_places(y), F.max_pool2d(there.float(), 2) > 0
            faces.append(torch.where(there, self._kept(read(layer, x, y)), layer))
        return faces, changed

    def _kept(self, pictures: Tensor) -> Tensor:
        """Where pictures have 8 bits, a cubic does not swing over."""
        return pictures.clamp_(0, 255) if self.eight else pictures

    def _mouths(self, given: Tensor, unders: Sequence[Tensor], mouth_matte: Tensor) -> list[Tensor]:
        """The layers of the mouths as they are to lie over the faces, in their parts, (B, K, h, w) each. given: the
        first layer of the targets."""
        bent = self._bent(unders)
        weight_M = self._sent(np.array([m.weight for m in self.mouths], np.float32))
        planes = [
            self._colour_planes(layer, under, mouth_matte, n) * weight_M[:, None, None]
            for n, (layer, under) in enumerate(zip(bent, unders, strict=True))
        ]
        samples, wanted_BB = None, None
        if self.frames[0].grain_of is not None:
            skins = [plan.skin(one.target.local_P2) for plan, one in zip(self.plans, self.frames, strict=True)]
            samples = Samples.of(skins, self.size_hw[1], self._to)
            wanted_BB = levels(self._windows(given, 0), samples)
            if lent := [m for m, one in enumerate(self.mouths) if one.face.lent]:
                at = self._sent(np.array(lent))
                of = self.frame_M[at]
                soft = softened([layer[at] for layer in bent], samples.of_frames(of), wanted_BB[of])
                for layer, found in zip(bent, soft, strict=True):
                    layer[at] = found
        mouths = []
        for n, (layer, plane_M3K, under) in enumerate(zip(bent, planes, unders, strict=True)):
            mouth, plane = torch.zeros_like(under), under.new_zeros((len(self.frames), 3, under.shape[1]))
            for slot in range(max(m.slot for m in self.mouths) + 1):  # a frame stands in each but once
                some = self._sent(np.array([m for m, one in enumerate(self.mouths) if one.slot == slot]))
                mouth[self.frame_M[some]] += layer[some] * weight_M[some][:, None, None, None]
                plane[self.frame_M[some]] += plane_M3K[some]
            mouths.append(mouth + self._field(plane, n))
        if samples is not None and wanted_BB is not None:
            numbers = [one.grain_of for one in self.frames if one.grain_of is not None]
            mouths[0] = regrained(mouths[0], samples, wanted_BB, numbers)
        return mouths

    def _bent(self, like: Sequence[Tensor]) -> list[Tensor]:
        """The layers of the donors' mouths bent onto the wanted ones, (M, K, h, w) each, as large as `like`."""
        bends, moves = [], []
        for one in self.mouths:
            bend = self.plans[one.frame].mouths
            assert bend is not None
            bends.append(bend)
            moves.append(bend.moves_PK[:, 2 * one.slot : 2 * one.slot + 2])
        step = bends[0].nodes.step_px
        shape = (self.size_hw[0] // step + 4, self.size_hw[1] // step + 4)
        moved = enlarged(self._maps(bends, moves, shape), step, self.size_hw)
        corner_M2 = self.corner_B2[self.frame_M].float()[:, :, None, None]
        x = moved[:, 0] + corner_M2[:, 0] + torch.arange(self.size_hw[1], device=self.device)
        y = moved[:, 1] + corner_M2[:, 1] + torch.arange(self.size_hw[0], device=self.device)[:, None]
        places = [(x, y)]
        if len(like) > 1:
            places.append((half_places(x), half_places(y)))
        out = [x.new_empty((len(self.mouths), *layer.shape[1:])) for layer in like]
        alike: dict[object, list[int]] = {}
        for m, one in enumerate(self.mouths):
            alike.setdefault(_kind(one.face), []).append(m)
        for some in alike.values():
            pictures = {_memory(self.mouths[m].face): self.mouths[m].face for m in some}
            which = self._sent(np.array([list(pictures).index(_memory(self.mouths[m].face)) for m in some]))
            at, eight = self._sent(np.array(some)), self.mouths[some[0]].face.layers[0].dtype == np.uint8
            faces = self._layers(list(pictures.values()))
            for made, layer, (across, down) in zip(out, faces, places, strict=True):
                found = read(layer[which], across[at], down[at])
                made[at] = found.clamp_(0, 255) if eight else found
        return out

    def _colour_planes(self, bent_MKhw: Tensor, under_BKhw: Tensor, mouth_matte: Tensor, less: int) -> Tensor:
        """What to add so that each mouth's skin equals the face's on the ring where its matte comes and goes, float32
        (M, 3, K): in the middle, and more from edge to edge across and down. less: how often a layer's sides were
        halved, of which every other place of the ring is enough."""
        steps = [ring_step(p.height, p.width) for p in self.parts]
        many = [max(-(-getattr(p, side) // s) for p, s in zip(self.parts, steps, strict=True))
                for side in ("height", "width")]  # fmt: skip
        step_B1 = self._sent(np.array(steps))[:, None]
        rows, cols = (step_B1 * torch.arange(n, device=self.device) for n in many)
        height, width = (self.part_hw_B2[:, k : k + 1] for k in (0, 1))
        inside = (rows < height)[:, :, None] & (cols < width)[:, None]
        last = [n - 1 for n in self.size_hw]
        at = (rows.clamp(max=last[0])[:, :, None] * self.size_hw[1] + cols.clamp(max=last[1])[:, None]).flatten(1)
        value = mouth_matte.flatten(1).gather(1, at)
        ring = inside.flatten(1) & (value >= RING[0]) & (value <= RING[1])
        count = ring.sum(1)
        enough = count * step_B1[:, 0] ** 2 >= 50
        down, across = rows / height - 0.5, cols / width - 0.5
        basis = torch.stack(
            torch.broadcast_tensors(torch.ones_like(down)[:, :, None], across[:, None], down[:, :, None])
        )
        of, channels = self.frame_M, bent_MKhw.shape[1]
        if less:
            at = (rows.clamp(max=last[0]) >> 1)[:, :, None] * (self.size_hw[1] >> 1) + (cols.clamp(max=last[1]) >> 1)[
                :, None
            ]
            at, ring = at.flatten(1), ring & (ring.cumsum(1) % 2 == 1)
            count = ring.sum(1)
        basis_MSk, ring_MS = basis.flatten(2).permute(1, 2, 0).double()[of], ring[of]
        at_MKS = at[of][:, None].expand(-1, channels, -1)
        apart = under_BKhw.flatten(2)[of].gather(2, at_MKS) - bent_MKhw.flatten(2).gather(2, at_MKS)
        place = (0.9 * (channels * count[of] - 1)).long().clamp(min=0)
        far = order_statistic(apart.abs().flatten(1), ring_MS.repeat(1, channels), place).clamp(min=4)
        keep = ((apart.abs() <= far[:, None, None]).all(1) & ring_MS).double()
        held = basis_MSk * keep[:, :, None]
        stiff = self._sent(np.diag([1e-3, 1.0, 1.0]) * 0.02)
        gram = held.transpose(1, 2) @ basis_MSk + stiff * keep.sum(1).clamp(min=1)[:, None, None]
        plane = torch.linalg.solve_ex(gram, held.transpose(1, 2) @ apart.transpose(1, 2).double())[0].float()
        return torch.where(enough[of][:, None, None], plane, 0.0)

    def _field(self, plane_B3K: Tensor, less: int) -> Tensor:
        """Colour planes at every pixel of the parts of a layer, (B, K, h, w)."""
        down, across = (
            torch.arange(n >> less, device=self.device) / (self.part_hw_B2[:, k : k + 1] >> less) - 0.5
            for k, n in enumerate(self.size_hw)
        )
        middle, more_across, more_down = plane_B3K[..., None, None].unbind(1)
        return middle + more_across * across[:, None, None] + more_down * down[:, None, :, None]

    def _ended(self, changed_BHW: Tensor) -> Tensor:
        """Mattes that fall to 0 over their crop's last pixels."""
        soft_B = self._sent(np.array([max(2.0, 0.08 * plan.eye) for plan in self.plans], np.float32))
        out = changed_BHW
        for axis in (1, 2):
            at = torch.arange(out.shape[axis], device=self.device)
            end = torch.minimum(at, at.flip(0)) / soft_B[:, None]
            out = torch.minimum(out, end.unsqueeze(3 - axis))
        return out


def _memory(face: Face) -> int:
    """By which it is known that two faces are one crop."""
    return id(face.pixels.both if isinstance(face.pixels, Planes) else face.pixels)


def _dilated(values_B1RC: Tensor) -> Tensor:
    return F.max_pool2d(values_B1RC, 3, 1, 1)
