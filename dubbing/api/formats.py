"""Which files are supported: what `dub formats` lists, made from the tables and rules by which the code decides."""

from __future__ import annotations

from dubbing.manifest import CUT_LISTS
from dubbing.media import Known, known_formats
from dubbing.remote import unusable

__all__ = ["formats"]

_EXAMPLES = ("file:///films/a.mp4", "s3://films/a.mp4", "https://host/a.mp4", "gs://films/a.mp4", "sftp://host/a.mp4")


def formats() -> tuple[Known, ...]:
    """Every kind of container, codec, picture, rate, sound, subtitle, photograph, cut list and address: whether it is
    supported, what becomes of it, and what to do where it is refused."""
    cuts = ", ".join(CUT_LISTS)
    lists = (
        Known("cut list", cuts, True, "its cuts are used in place of detected ones"),
        Known("cut list", "every other (.aaf, .xml, .fcpxml, .ale)", False, "refused", f"export one of {cuts}"),
    )
    places = (Known("address", "a path", True, "read and written"), *(_place(uri) for uri in _EXAMPLES))
    return (*known_formats(), *lists, *places)


def _place(uri: str) -> Known:
    name = uri.partition("://")[0] + "://"
    if unusable(uri):
        return Known("address", name, False, "refused", "copy it to this machine, or to s3://")
    return Known("address", name, True, "read" if name == "https://" else "read and written")
