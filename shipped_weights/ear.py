"""Make the ear that ships with `rewrite`: the front of whisper base, in eight bits.

    python -m shipped_weights.ear WHISPER_BASE.pt [--blocks 3] [--out FILE]

WHISPER_BASE.pt: the published checkpoint of whisper base (MIT), as `dub models pull whisper_base` brings it. Nothing is
trained. The prior names the file by its hash: after another ear, `shipped_weights.prior` is run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dubbing.generators.rewrite.hearing import EAR_FILE
from dubbing.models import load_state
from dubbing.networks import whisper_front

__all__ = ["main", "write"]

NAMES = {torch.int8: "I8", torch.float16: "F16", torch.float32: "F32"}


def write(state: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file: the length of its header, the header, every tensor's bytes in the order of their names."""
    header, parts, start = {}, [], 0
    for name in sorted(state):
        data = np.ascontiguousarray(state[name].numpy()).tobytes()
        header[name] = {
            "dtype": NAMES[state[name].dtype], "shape": list(state[name].shape),
            "data_offsets": [start, start + len(data)],
        }  # fmt: skip
        parts.append(data)
        start += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def main() -> None:
    """Pack, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("whisper", type=Path, help="the published checkpoint of whisper base")
    parser.add_argument("--blocks", type=int, default=3, help="of its encoder's six")
    parser.add_argument("--out", type=Path, default=EAR_FILE)
    given = parser.parse_args()
    write(whisper_front.pack(load_state(given.whisper), given.blocks), given.out)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
