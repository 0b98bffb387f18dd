"""How masters will be signed, looked at before any work: certificate and key, and where each signature will lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dubbing.config import Config
from dubbing.errors import ManifestError
from dubbing.manifest import Manifest
from dubbing.provenance import Signing
from dubbing.provenance.claims import embeds, sidecar_of
from dubbing.provenance.credentials import Credentials, load

__all__ = ["look_at_signing", "said_of_signing"]


def look_at_signing(manifest: Manifest, config: Config, attempt: Callable[..., Any]) -> Credentials | None:
    """What signs; None where nothing does, or what is asked for cannot be used, which `attempt` keeps."""
    if manifest.provenance is not None:
        return attempt((), ("provenance",), load, manifest.provenance)
    return None if config.provenance is None else attempt(None, (), _configured, config.provenance)


def _configured(signing: Signing) -> Credentials:
    try:
        return load(signing)
    except ManifestError as e:
        raise ManifestError(f"The configuration's provenance cannot be used: {e}") from e


def said_of_signing(found: Credentials, signing: Signing, masters: Sequence[str]) -> list[str]:
    """Notes: who will sign, until when, and which of these masters carry it or have it beside them."""
    inside = [name for name in masters if embeds(name)]
    beside = [f"{sidecar_of(name)} beside {name}" for name in masters if not embeds(name)]
    where = ([f"in {', '.join(inside)}"] if inside else []) + ([f"as {', '.join(beside)}"] if beside else [])
    asks = f", with a time stamp of {signing.timestamp_url}" if signing.timestamp_url else ""
    notes = [
        f"Masters are signed as altered content (C2PA, {found.algorithm}) by {found.by}, whose certificate is valid "
        f"until {found.until:%Y-%m-%d}{asks}: {' and '.join(where) or 'there are none'}."
    ]
    if found.open_key:
        notes.append(f"{signing.key} can be read by other accounts of this machine; chmod 600 keeps it to yours.")
    return notes
