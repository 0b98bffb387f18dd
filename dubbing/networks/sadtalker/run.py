"""All of SadTalker as one network, and prepared for inference. NumPy in, NumPy out; knows no film and no file.

Nothing depends on how a sequence is cut, on how many threads there are, or on a neighbour: each frame is worked on
alone, on a processor several side by side with one thread each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dubbing.device import exact
from dubbing.networks.folding import in_lanes
from dubbing.networks.sadtalker import coefficients as faces
from dubbing.networks.sadtalker.expression import ExpNet
from dubbing.networks.sadtalker.generator import GeneratorShape, SpadeGenerator
from dubbing.networks.sadtalker.keypoints import DetectorShape, KeypointDetector
from dubbing.networks.sadtalker.mapping import MappingNet, moved
from dubbing.networks.sadtalker.motion import MotionShape
from dubbing.networks.sadtalker.pose import BLOCK, PoseVAE
from dubbing.networks.sadtalker.quick import QuickGenerator, Seen
from dubbing.networks.sadtalker.windows import EXPRESSION, Sound

__all__ = ["PARTS", "Face", "SadTalker", "SadTalkerNet", "Shape", "shape_of"]

PARTS = ("kp_extractor", "generator", "audio2exp", "audio2pose", "face_3drecon", "mapping")
"""The sub-networks, by their prefixes in the published file; `mapping` is published in files of its own."""
_GROUP = 10  # windows of sound at once
_LANES = 16  # jobs handed out at once


@dataclass(frozen=True)
class Shape:
    """Sizes of the layers. coefficients: 70 or 73, that mapping takes; mapping: its channels; face: channels of the
    first layer of the network of coefficients."""

    detector: DetectorShape = DetectorShape()
    generator: GeneratorShape = GeneratorShape()
    coefficients: int = 70
    mapping: int = 1024
    face: int = 64


class SadTalkerNet(nn.Module):
    """Every network that rendering needs, under the published prefixes, and the standard face (5, 3) for alignment."""

    mean_face: Tensor

    def __init__(self, shape: Shape = Shape()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.kp_extractor = KeypointDetector(shape.detector)
        self.generator = SpadeGenerator(shape.generator)
        self.audio2exp = ExpNet()
        self.audio2pose = PoseVAE(whole=False)
        self.face_3drecon = faces.FaceCoefficients(shape.face)
        self.mapping = MappingNet(shape.coefficients, shape.mapping)
        self.register_buffer("mean_face", torch.zeros(5, 3))
        self.coefficients = shape.coefficients


def shape_of(states: Mapping[str, Mapping[str, Tensor]]) -> Shape:
    """The sizes of the layers of checkpoints by part; those of the published one where a key is missing, so that
    loading then says what is."""
    published = Shape()

    def size(part: str, key: str, axis: int, otherwise: int) -> int:
        value = states.get(part, {}).get(key)
        return int(value.shape[axis]) if value is not None and value.ndim > axis else otherwise

    def count(part: str, pattern: str, otherwise: int) -> int:
        found = {m[1] for key in states.get(part, {}) if (m := re.match(pattern, key))}
        return len(found) or otherwise

    d, g = published.detector, published.generator
    blocks = count("kp_extractor", r"predictor\.down_blocks\.down(\d+)\.", d.blocks)
    most = size("kp_extractor", "predictor.conv.weight", 1, d.most)
    detector = DetectorShape(
        size("kp_extractor", "kp.weight", 1, d.first), most, blocks,
        max(1, size("kp_extractor", "predictor.conv.weight", 0, most * d.depth) // most),
    )  # fmt: skip
    volume = size("generator", "resblocks_3d.3dr0.conv1.weight", 0, g.volume)
    depth = max(1, size("generator", "second.weight", 0, volume * g.depth) // volume)
    hourglass = "dense_motion_network.hourglass"
    levels = count("generator", rf"{hourglass}\.encoder\.down_blocks\.(\d+)\.", g.motion.blocks)
    motion = MotionShape(
        size("generator", f"{hourglass}.decoder.up_blocks.{levels - 1}.conv.weight", 0, g.motion.first),
        size("generator", f"{hourglass}.encoder.down_blocks.{levels - 1}.conv.weight", 0, g.motion.most), levels,
        size("generator", "dense_motion_network.compress.weight", 0, g.motion.compress), depth,
    )  # fmt: skip
    downs = count("generator", r"down_blocks\.(\d+)\.", g.downs)
    generator = GeneratorShape(
        size("generator", "first.conv.weight", 0, g.first),
        size("generator", f"down_blocks.{downs - 1}.conv.weight", 0, g.most), downs, volume, depth,
        count("generator", r"resblocks_3d\.3dr(\d+)\.", g.residuals), motion,
        size("generator", "fourth.weight", 0, g.seg),
        size("generator", "decoder.G_middle_0.norm_0.mlp_shared.0.weight", 0, g.hidden),
        size("generator", "decoder.conv_img.weight", 1, g.last),
    )  # fmt: skip
    return Shape(
        detector, generator, size("mapping", "first.0.weight", 1, published.coefficients),
        size("mapping", "first.0.weight", 0, published.mapping),
        size("face_3drecon", "backbone.conv1.weight", 0, published.face),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Face:
    """A picture as the renderer has seen it. seen: what it draws from; canonical: keypoints (1, 15, 3)."""

    seen: Seen
    canonical: Tensor


class SadTalker:
    """Ready to run, float32. device: of torch. coefficients: 70 or 73, that a window holds."""

    def __init__(self, net: SadTalkerNet, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self.coefficients = net.coefficients
        self.mean_face = net.mean_face.double().numpy()
        net = net.eval()
        self._draws = QuickGenerator(net.generator, self._device)
        self._points, self._exp = net.kp_extractor.to(self._device), net.audio2exp.to(self._device)
        self._pose, self._faces = net.audio2pose.to(self._device), net.face_3drecon.to(self._device)
        self._map = net.mapping.to(self._device)

    def coefficients_of(self, aligned: Sequence[np.ndarray]) -> np.ndarray:
        """Coefficients of aligned faces, uint8 RGB (224, 224, 3) each: expression 64, pose 6, float32 (N, 70)."""
        found = self._alone([partial(self._face, one) for one in aligned])
        return torch.cat(found).cpu().numpy()

    def expressions(self, sound: Sound, reference_T64: np.ndarray, ratio_T: np.ndarray) -> np.ndarray:
        """Expressions (T, 64) of every frame of a sound; reference: the still's, for each; ratio: of lids."""

        def one(n: int) -> Tensor:
            end = min(n + _GROUP, sound.count)
            given = sound.part(n, end), reference_T64[n:end], ratio_T[n:end, None]
            out: Tensor = self._exp(*map(self._to, given))
            return out

        found = self._alone([partial(one, n) for n in range(0, sound.count, _GROUP)])
        return torch.cat(found).cpu().numpy() if found else np.zeros((0, EXPRESSION), np.float32)

    def poses(self, sound: Sound, reference_6: np.ndarray, style: int, chance_BZ: np.ndarray) -> np.ndarray:
        """Poses (T, 6) of every frame of a sound, as drawn. chance: (blocks, 64), `PoseVAE.blocks` many."""
        reference, chance = self._to(reference_6), self._to(chance_BZ)

        def one(n: int) -> Tensor:
            rest = sound.count - 1
            end = min(BLOCK * (n + 1), rest)
            heard = self._pose.audio_encoder(self._to(sound.part(1 + max(0, end - BLOCK), 1 + end)))
            return self._pose.block(heard, end - BLOCK * n, reference, style, chance[n])

        motion = self._alone([partial(one, n) for n in range(PoseVAE.blocks(sound.count))])
        found = torch.cat([torch.zeros_like(reference)[None], *motion])[: sound.count]
        return (reference + found).cpu().numpy()

    def see(self, pictures: Sequence[np.ndarray]) -> list[Face]:
        """Look at pictures that are to move, uint8 RGB (S, S, 3) each."""
        found: dict[int, Face] = {}

        def look(n: int) -> Tensor:
            picture = self._picture(pictures[n])
            found[n] = Face(self._draws.see(picture), self._points(picture))
            return picture

        self._alone([partial(look, n) for n in range(len(pictures))])
        return [found[n] for n in range(len(pictures))]

    def keypoints(self, face: Face, windows_NC: np.ndarray, angles: Mapping[str, np.ndarray]) -> np.ndarray:
        """Keypoints (N, 15, 3) of windows of coefficients (N, 70 or 73, 27). angles: of those of yaw, pitch and roll
        that stand in for the windows' own, N degrees each."""

        def one(n: int) -> Tensor:
            head = self._map(self._to(windows_NC[n : n + 1]))
            own = {name: self._to(values[n : n + 1]) for name, values in angles.items()}
            return moved(face.canonical, head, **own)

        found = self._alone([partial(one, n) for n in range(len(windows_NC))])
        return torch.cat(found).cpu().numpy() if found else np.zeros((0, 15, 3), np.float32)

    def draw(self, work: Iterable[tuple[Face, np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """New pictures, float32 RGB (S, S, 3), 0..255, of faces with their old and new keypoints, (15, 3) each."""
        jobs = [(face, self._to(old[None]), self._to(new[None])) for face, old, new in work]
        made = self._alone([partial(self._draws.draw, face.seen, old, new) for face, old, new in jobs])
        return [picture[0].permute(1, 2, 0).cpu().numpy() * 255 for picture in made]

    def _face(self, rgb_HWC: np.ndarray) -> Tensor:
        return faces.kept(self._faces(self._picture(rgb_HWC)))

    def _alone(self, jobs: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        if self._device.type == "cpu":
            return [one for n in range(0, len(jobs), _LANES) for one in in_lanes(_call, jobs[n : n + _LANES])]
        with torch.inference_mode(), exact(self._device):
            return [_call(job) for job in jobs]

    def _picture(self, rgb_HWC: np.ndarray) -> Tensor:
        return self._to(rgb_HWC).permute(2, 0, 1)[None].contiguous() / 255

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device)


def _call(job: Callable[[], Tensor]) -> Tensor:
    return job()
