"""Which cluster, and the token it asks for: from the command line, the environment and Ray's token file.

Looked up in the order in which Ray 2.60 does it itself. A token is never written anywhere, not into an
error either. It knows no Ray: nothing is connected here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dubbing.errors import ClusterError

__all__ = ["Token", "address_of", "token_of"]

_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_HOW = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it, or put it into ~/.ray/auth_token"


@dataclass(frozen=True)
class Token:
    """A token, or none. value: never shown, None where there is none; source: where it came from or why not."""

    value: str | None = field(repr=False)
    source: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def missing(self, address: str) -> ClusterError:
        """The error for a cluster that asks for a token (HTTP 401)."""
        if self.value:
            return self.refused(address)
        if self.source == "RAY_AUTH_MODE":
            return ClusterError(
                f"The cluster at {address} asks for a token, and RAY_AUTH_MODE=disabled says to send none; unset it."
            )
        return ClusterError(
            f"The cluster at {address} asks for a token, and there is none here: {_HOW} "
            "(`ray get-auth-token` prints it on the cluster's head)."
        )

    def refused(self, address: str) -> ClusterError:
        """The error for a cluster that refuses this token (HTTP 403)."""
        if not self.value:
            return ClusterError(f"Access to {address} was refused (HTTP 403), and dub has no token to send: {_HOW}.")
        return ClusterError(
            f"The cluster at {address} refused the token from {self.source}; `ray get-auth-token` on its head "
            f"prints the right one: {_HOW}."
        )


def address_of(given: str | None, environment: Mapping[str, str]) -> str:
    """`http://HOST:PORT` of a cluster's dashboard: what was given, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS.

    Raises ClusterError where there is none, or it is no web address.
    """
    name = "--address"
    if given is None:
        for name in _ADDRESSES:
            found = environment.get(name, "").strip()
            if found and (name != "RAY_ADDRESS" or found.startswith(("http://", "https://"))):
                given = found
                break
        else:
            raise ClusterError(
                "Which cluster? Give --address http://HOST:8265 (its dashboard), or set RAY_API_SERVER_ADDRESS."
            )
    text = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(text)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", text):
        raise ClusterError(
            f"{name} is {given!r}; give the address of the cluster's dashboard, for example http://HOST:8265."
        )
    if parts.username is not None or parts.password is not None:
        raise ClusterError(f"{name} holds a user name or password; leave it out: {_HOW}.")
    return text.rstrip("/")


def token_of(environment: Mapping[str, str], home: Path | None = None) -> Token:
    """The token to send: RAY_AUTH_TOKEN, else the file RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token, else none.

    Raises ClusterError where RAY_AUTH_TOKEN_PATH cannot be read, or what was found can be no token.
    """
    if environment.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return Token(None, "RAY_AUTH_MODE")
    if value := environment.get("RAY_AUTH_TOKEN", "").strip():
        return _checked(value, "RAY_AUTH_TOKEN")
    if named := environment.get("RAY_AUTH_TOKEN_PATH", ""):
        try:
            value = Path(named).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as e:
            raise ClusterError(
                f"RAY_AUTH_TOKEN_PATH is {named!r}, which cannot be read; name a file with the token."
            ) from e
        if not value:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH is {named!r}, which is empty; name a file with the token.")
        return _checked(value, f"the file {named!r} (RAY_AUTH_TOKEN_PATH)")
    try:
        value = ((home or Path.home()) / ".ray" / "auth_token").read_text(encoding="utf-8").strip()
    except (OSError, RuntimeError, UnicodeDecodeError):
        value = ""
    return _checked(value, "~/.ray/auth_token") if value else Token(None, "")


def _checked(value: str, source: str) -> Token:
    if not re.fullmatch(r"[!-~]+", value):
        raise ClusterError(f"What {source} holds is no token: a token is one line of letters and digits.")
    return Token(value, source)
