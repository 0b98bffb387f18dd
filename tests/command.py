"""The command line as a user calls it, but in this process. Knows no command by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dubbing.cli import main

# Runs a command: (exit code, stdout, stderr). The fixture `dub` is one.
Dub = Callable[..., tuple[int, str, str]]


def code_of(*args: object) -> int:
    """Runs a command and gives its exit code; what it says stays where it went."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in args])
    return int(ended.value.code or 0)
