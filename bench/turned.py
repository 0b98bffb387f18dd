"""What a spatial transformer is worth on turned heads: checkpoints on held-out faces, turned by known angles.

    dub train wav2lip --data data --out plain --steps 400 --set rotation_deg=30 --set sync_weight=0
    dub train spt_wav2lip --data data --out spt --steps 400 --set rotation_deg=30 --set sync_weight=0
    python -m bench.turned --data data --split val plain/wav2lip.pth spt/spt_wav2lip.pth

Prints mean L1 in the lips' boxes for each checkpoint and angle, beside that of the other moment's own face (which is
what a network that copies would get), and writes a sheet: rows are angles; columns the masked face, the truth, each
result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from dubbing import models
from dubbing.dataset.shards import Dataset
from dubbing.networks.spt import SptWav2LipNet
from dubbing.networks.wav2lip import Wav2LipNet, plan_of
from dubbing.train import losses, windows
from dubbing.train.recipe import ClipLike

ANGLES_DEG = (0, 10, 20, 30)


def load(path: Path, size_px: int | None) -> Wav2LipNet:
    """A checkpoint of `wav2lip` or `spt_wav2lip` in its network."""
    state = models.load_state(path)
    plan = plan_of(state, size_px, path.stem)
    kind = SptWav2LipNet if any(key.startswith("transformer.") for key in state) else Wav2LipNet
    return models.fit(kind(plan), state, path.stem).eval()


def picture(faces_NHWC: np.ndarray) -> Tensor:
    """uint8 BGR to 0..1, (N, 3, S, S)."""
    return torch.from_numpy(np.ascontiguousarray(faces_NHWC)).permute(0, 3, 1, 2).float() / 255


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--size", type=int, help="of the networks' pictures, where a checkpoint leaves a choice")
    parser.add_argument("--most", type=int, default=40, help="windows of five frames")
    parser.add_argument("--sheet", type=Path, default=Path("turned.png"))
    said = parser.parse_args()
    torch.set_num_threads(1)
    data = Dataset(said.data)
    nets = {str(path): load(path, said.size) for path in said.checkpoints}
    found: dict[str, dict[int, list[float]]] = {name: {a: [] for a in ANGLES_DEG} for name in ("copied", *nets)}
    rows: list[np.ndarray] = []
    seen = 0
    for sample in data.of(said.split):
        for first in range(1, sample.frames - 2 * windows.WINDOW, windows.WINDOW):
            if seen >= said.most:
                break
            seen += 1
            clip = data.load(sample, first, windows.WINDOW, tail=windows.TAIL + 3 * 640)
            other = data.load(sample, (first + sample.frames // 2) % (sample.frames - windows.WINDOW), windows.WINDOW)
            mels = torch.from_numpy(windows.mel_windows(clip, first, list(range(first - 1, first + 4))))[:, None]
            for angle in ANGLES_DEG:
                made = _one(clip, other, mels, angle, nets)
                lips = torch.from_numpy(made.pop("lips").copy())
                for name in ("copied", *nets):
                    mask = losses.lips_mask(lips, *made["real"].shape[2:])
                    apart = (torch.from_numpy(made[name] - made["real"]).abs().mean(1, keepdim=True) * mask).sum()
                    found[name][angle].append(float(apart / mask.sum().clamp(min=1)))
                if seen == 1:
                    line = [made[k][0].transpose(1, 2, 0) for k in ("masked", "real", *nets)]
                    rows.append(np.concatenate(line, 1))
    print(f"{seen} windows of {said.split}; mean L1 in the lips' box by angle, 0..1")
    print(f"{'':44s}" + "".join(f"{a:>8d}°" for a in ANGLES_DEG))
    for name, by_angle in found.items():
        print(f"{name[-42:]:44s}" + "".join(f"{np.mean(by_angle[a]):9.4f}" for a in ANGLES_DEG))
    big = cv2.resize((np.concatenate(rows) * 255).round().astype(np.uint8), None, fx=3, fy=3)
    cv2.imwrite(str(said.sheet), big)


def _one(
    clip: ClipLike, other: ClipLike, mels: Tensor, angle: int, nets: dict[str, Wav2LipNet]
) -> dict[str, np.ndarray]:
    """Pictures (5, 3, S, S) 0..1 at one angle by name, and the lips' boxes (5, 4)."""
    made: dict[str, np.ndarray] = {}
    for name, net in nets.items():
        size = net.plan.size_px
        real, lips = windows.leaned(windows.sized(clip.faces_NHWC, size), clip.lips_N4, angle)
        reference, _ = windows.leaned(windows.sized(other.faces_NHWC, size), other.lips_N4, angle)
        masked = picture(real)
        masked[:, :, size // 2 :] = 0
        with torch.inference_mode():
            made[name] = net(mels, torch.cat([masked, picture(reference)], 1)).numpy()
        made |= {"real": picture(real).numpy(), "masked": masked.numpy(), "copied": picture(reference).numpy(),
                 "lips": lips}  # fmt: skip
    return made


if __name__ == "__main__":
    main()
