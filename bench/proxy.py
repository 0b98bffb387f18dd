"""How long a reviewer waits for pictures: the first still of a shot, a thumbnail, and the proxy, on a finished run.

    python -m bench.proxy OUT [--shots 10]

Every shot's still, thumbnail and proxy are made into a folder that is thrown away, one after another. CPU seconds are
of all threads: a busy machine does not stretch them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dubbing.review.library import Library
from dubbing.review.proxy import Proxies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shots", type=int, default=10)
    args = parser.parse_args()
    library = Library(args.out)
    rows = sorted(library.rows(), key=lambda r: (r["title"], r["language"], r["order"]))[: args.shots]
    stills, thumbs, rates, cpus, sizes = [], [], [], [], []
    heads = ("frames", "still s", "thumb s", "ready s", "CPU s", "s per s", "MB per s")
    print(f"{'shot':<28}" + "".join(f"{head:>9}" for head in heads))
    with tempfile.TemporaryDirectory(prefix="dub-proxies-") as folder:
        proxies = Proxies(library, Path(folder))
        for row in rows:
            shown = library.find(row["title"], row["language"], row["shot"])
            still_s = timed(partial(proxies.still, shown))
            thumb_s = timed(partial(proxies.thumb, shown))
            cpu, started = time.process_time(), time.monotonic()
            said = proxies.wait(shown)
            ready_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
            file = proxies.path(said["url"].rsplit("/", 1)[-1]) if said["url"] else None
            if file is None:
                print(f"{row['title']}/{row['language']}/{row['shot']}: {said['error']}")
                continue
            length_s = said["duration_s"]
            size = file.stat().st_size / 1e6 / length_s
            name = f"{row['title']}/{row['language']}/{row['shot']}"
            numbers = (still_s, thumb_s, ready_s, cpu_s, ready_s / length_s, size)
            print(f"{name:<28}{said['last'] - said['first']:>9}" + "".join(f"{n:>9.2f}" for n in numbers), flush=True)
            stills.append(still_s)
            thumbs.append(thumb_s)
            rates.append(ready_s / length_s)
            cpus.append(cpu_s / length_s)
            sizes.append(size)
        proxies.close()
    still, thumb, rate, cpu_rate, size = (statistics.median(v) for v in (stills, thumbs, rates, cpus, sizes))
    print(f"medians: still {still:.2f} s (most {max(stills):.2f}), thumb {thumb:.2f} s, "
          f"proxy {rate:.2f} s ({cpu_rate:.2f} CPU s) and {size:.2f} MB for a second of film")  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
