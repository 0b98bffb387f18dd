"""Who may ask the review server for what: a token, this host's own names, this page's own writes.

The token comes once in the address, becomes a cookie that scripts cannot read, and leaves the address. The cookie
comes with a link from another site (a URL in a chat must open), never with what such a site loads or writes. A request
for another host's name is refused (DNS rebinding), so is a write from another site's page, and every answer says what
its page may load: nothing from outside. Whoever is refused loses the connection; how many may be open at once without a
token is the matter of `connections`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

__all__ = ["Guard", "is_loopback", "new_token"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_YEAR_S = 365 * 86400
_MOST_BYTES = 1 << 20  # of a write


def new_token() -> str:
    """A fresh token, 192 bits."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK


class Guard:
    """ASGI middleware around the whole server.

    token: what a visitor must bring; host, port: where it listens. On a host that is not loopback any name of
    this machine is accepted, because it cannot know them all; the token is asked for everywhere.
    """

    def __init__(self, app: _App, token: str, host: str, port: int) -> None:
        self._app, self._token = app, token
        self._names = None if not is_loopback(host) else {*_LOOPBACK, host}
        self._cookie = f"dub_review_{port}"
        self._value = hashlib.sha256(f"dub review {token}".encode()).hexdigest()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no websocket here
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            return await _answer(send, *refused)
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        token = given.pop("token", None)
        if token is not None and scope["method"] == "GET":
            if not hmac.compare_digest(token.encode(), self._token.encode()):
                return await _answer(
                    send, 403, "This token is not the one that `dub review` printed; use its newest URL."
                )
            where = quote(scope["path"].lstrip("/\\")) + (f"?{urlencode(given)}" if given else "")
            cookie = f"{self._cookie}={self._value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={_YEAR_S}"
            _recognise(scope)
            # `//host/path` would be another site's address
            return await _answer(send, 303, "", {"location": f"/{where}", "set-cookie": cookie})
        if not self._known(headers.get("cookie", "")):
            return await _answer(send, 401, "Open the URL that `dub review` printed: it ends with the token.")
        _recognise(scope)
        await self._app(scope, receive, _sealed(send, _REPORT if scope["path"] == "/report.html" else _PAGE))

    def _refused(self, scope: _Scope, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        """Status and reason of a request that no token makes good."""
        host = headers.get("host", "")
        if self._names is not None and _name(host) not in self._names:
            return 421, "This server answers to its own host's name only."
        chunked, length = "transfer-encoding" in headers, headers.get("content-length", "")
        if scope["method"] in ("GET", "HEAD"):
            return (413, "A request to read has no body.") if chunked or length not in ("", "0") else None
        if scope["method"] != "POST":
            return 405, "Only GET, HEAD and POST are known here."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None and site is None:
            return 403, "A write must say which page it comes from (Origin)."
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "A write must come from the review page itself."
        if site is not None and site != "same-origin":
            return 403, "A write must come from the review page itself."
        if not headers.get("content-type", "").startswith("application/json"):
            return 415, "A write is JSON."
        if chunked or not length.isdecimal() or len(length) > 20 or int(length) > _MOST_BYTES:
            return 413, f"A write says how long it is (no chunks), and has at most {_MOST_BYTES} bytes."
        return None

    def _known(self, cookies: str) -> bool:
        try:
            brought = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            return False
        return brought is not None and hmac.compare_digest(brought.value.encode(), self._value.encode())


def _recognise(scope: _Scope) -> None:
    """Tell the connection that its client has the token, where the server counts those who have not."""
    if connection := scope.get("state", {}).get("connection"):
        connection.recognise()


def _name(host: str) -> str:
    """`127.0.0.1` of `127.0.0.1:8000`, `::1` of `[::1]:8000`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _sealed(send: _Send, policy: str) -> _Send:
    async def sealed(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            held = {k.lower() for k, _ in message["headers"]}
            more = {**_HEADERS, "content-security-policy": policy, "cache-control": "no-store"}
            message["headers"] = [
                *message["headers"], *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in held)
            ]  # fmt: skip
        await send(message)

    return sealed


async def _answer(send: _Send, status: int, error: str, headers: MutableMapping[str, str] | None = None) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    kinds = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    if error:  # what else it sends, a body of any length, is not read
        kinds["connection"] = "close"
    sealed = _sealed(send, _PAGE)
    await sealed({"type": "http.response.start", "status": status,
                  "headers": [(k.encode(), v.encode("latin-1")) for k, v in kinds.items()]})  # fmt: skip
    await sealed({"type": "http.response.body", "body": body})
