"""What the installed packages weigh, heaviest first, and which of the lock's packages that is.

    python -m bench.installed [--least MB]

Sizes are of the files that each package's own record names, in MB (1e6 bytes), in the environment that runs this.
"""

from __future__ import annotations

import argparse
import importlib.metadata
from pathlib import Path


def main() -> None:
    """Print one line a package and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=10.0, help="MB; lighter packages are only counted")
    least = parser.parse_args().least
    rows = []
    for found in importlib.metadata.distributions():
        files = [Path(str(found.locate_file(f))) for f in found.files or []]
        rows.append((sum(f.stat().st_size for f in files if f.is_file()) / 1e6, found.name, found.version))
    rows.sort(reverse=True)
    for size, name, version in rows:
        if size >= least:
            print(f"{size:8.1f}  {name} {version}")
    print(f"{sum(r[0] for r in rows):8.1f}  {len(rows)} packages in all")


if __name__ == "__main__":
    main()
