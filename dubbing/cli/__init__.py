"""The command line. Nothing heavy is imported before a command runs, so `dub --help` answers at once."""

from dubbing.cli.app import main

__all__ = ["main"]
