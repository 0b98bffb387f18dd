"""Where results lie and how they get there: folders of this machine, or objects at a URI.

`open_store` hides the difference from stages, engines and commands.
"""

from __future__ import annotations

from pathlib import Path

from dubbing.errors import OutputError
from dubbing.inputs import unwritable_name
from dubbing.remote import Uri, place
from dubbing.store.contents import RESULT, Look
from dubbing.store.folder import (
    PART,
    Stamp,
    Store,
    alone,
    content_key,
    content_of,
    key_of,
    output_error,
    read_folder,
    read_json,
    stamp_of,
    standing,
)
from dubbing.store.home import user_folder
from dubbing.store.temporary import temporary

__all__ = [
    "PART", "RESULT", "Look", "Stamp", "Store", "alone", "content_key", "content_of", "key_of", "open_store",
    "output_error", "read_folder", "read_json", "stamp_of", "standing", "temporary", "user_folder",
]  # fmt: skip


def open_store(out: Store | Path | str, patience_s: float | None = None) -> Store:
    """The store at a path or URI; nothing is read or written yet.

    patience_s: for how long a remote place that fails is tried again; default: two minutes. Raises
    InputError for a URI that cannot be used.
    """
    if isinstance(out, Store):
        return out
    where = place(out)
    if problem := unwritable_name(where):
        raise OutputError(f"{str(where)!r} cannot be an output folder: {problem}; choose another.")
    if isinstance(where, Uri):
        from dubbing.store.mirror import RemoteStore

        return RemoteStore(where, patience_s)
    return Store(where)
