"""Provenance: masters that are signed as altered content by C2PA (c2pa.org), and what is asked of that.

    credentials   certificate and key, looked at before any work
    claims        what is said of a master, signed and read back

Only these two know the libraries of the extra `provenance`, c2pa-python and cryptography. Nothing here asks the
network, but for a time stamp where an address is given. The key is read where something is signed, and kept nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from dubbing import document
from dubbing.yaml_text import short

__all__ = ["Signing"]


def _path(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value or "://" in value:
        raise ValueError(f"it must be the path of a PEM file on this machine; found {short(value)}.")
    return Path(value)


_Pem = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]


class Signing(document.Model):
    """How masters are signed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    certificate: _Pem = Field(description="PEM: the signer's certificate, then those that vouch for it.")
    key: _Pem = Field(description="PEM: the certificate's private key, without a passphrase.")
    algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] | None = Field(
        None, description="null: the one that fits the key."
    )
    timestamp_url: str | None = Field(
        None, description="Time-stamp authority (RFC 3161) that is asked for each master; null: none is."
    )

    @field_validator("timestamp_url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError(f"'timestamp_url' must begin with http:// or https://; found {short(value)}.")
        return value

    def below(self, folder: Path) -> Signing:
        """The same with paths that are relative taken from a folder, and `~` for the user's own."""
        paths = {name: folder / getattr(self, name).expanduser() for name in ("certificate", "key")}
        return self.model_copy(update=paths)
