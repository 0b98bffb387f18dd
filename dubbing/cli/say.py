"""What commands print, in one place: text for a terminal, in which a file's name cannot speak to the terminal itself.

Names of files and titles, and what libraries say of them, may hold the codes by which a terminal is told to move, to
recolour, to rename its window or to read from right to left. They are shown, not obeyed.
"""

from __future__ import annotations

import re
from typing import TextIO

import click

__all__ = ["echo", "echo_on", "safe"]

# C0 but tab and line end, DEL, C1; what has no width, marks of writing direction, and two separators that some
# terminals take for line ends; halves of letters.
_CODES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)


def safe(text: str) -> str:
    """The text with every such code as an escape, `\\u001b`, which JSON reads back as what it was."""
    return _CODES.sub(lambda code: f"\\u{ord(code[0]):04x}", text)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """A text on stdout, or on stderr; nl: and a line end."""
    click.echo(safe(str(text)), err=err, nl=nl)


def echo_on(text: str, stream: TextIO) -> None:
    """A text on a stream, at once."""
    print(safe(text), file=stream, flush=True)
