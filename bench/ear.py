"""What the ear of `rewrite` costs: milliseconds of one core per second of sound, beside the sync expert's.

    python -m bench.ear SOUND [--seconds 60]

SOUND: any file with sound; its first seconds are heard in one piece and in shots of three seconds, which hear a second
of silence at either end too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dubbing import media
from dubbing.generators.rewrite import hearing
from dubbing.networks.whisper_front import log_mel
from dubbing.sound import RATE_HZ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    wave = media.read_sound(given.sound)[: int(given.seconds * RATE_HZ)]
    prior = hearing.Prior.load()
    front = hearing.front(prior.ear)
    front.hear(wave[:RATE_HZ])
    shots = np.array_split(wave, max(1, round(len(wave) / RATE_HZ / 3)))
    cases: dict[str, Callable[[], object]] = {
        "log-mel of the ear": lambda: log_mel(wave),
        "ear, in one piece": lambda: front.hear(wave),
        "ear, in shots of 3 s": lambda: [front.hear(shot) for shot in shots],
        "all that the prior says": lambda: prior.hear(wave),
        "the same once more": lambda: prior.hear(wave),
    }
    for name, case in cases.items():
        began = time.process_time()
        case()
        print(f"{name:<26}{1000 * (time.process_time() - began) / (len(wave) / RATE_HZ):8.1f} ms per second of sound")


if __name__ == "__main__":
    main()
