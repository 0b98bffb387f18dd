"""Prints what a pyproject.toml depends on, one requirement a line: for the layer below the code.

python requirements.py pyproject.toml [EXTRA...]
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
wanted = [*project["dependencies"], *(r for extra in sys.argv[2:] for r in project["optional-dependencies"][extra])]
sys.stdout.write("".join(f"{requirement}\n" for requirement in wanted))
