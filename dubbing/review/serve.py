"""The review page on a port of this machine, from the folder of a run to the URL. Knows no command."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from dubbing.errors import InputError
from dubbing.remote import Uri
from dubbing.review.background_jobs import BackgroundJobs
from dubbing.review.connections import BACKLOG, Connection
from dubbing.review.library import Library
from dubbing.review.proxy import Proxies
from dubbing.review.safety import is_loopback, new_token
from dubbing.review.server import Desk, create_app

__all__ = ["ReviewServer", "open_server"]


@dataclass(frozen=True)
class ReviewServer:
    """A page that listens already. url: with its token; open_to_network: whether others than this machine reach it;
    left_out: dubs of earlier runs that cannot be shown, and why."""

    url: str
    open_to_network: bool
    left_out: Mapping[str, str]
    _server: uvicorn.Server = field(repr=False)
    _listening: socket.socket = field(repr=False)

    def serve(self) -> None:
        """Answer until SIGINT or SIGTERM; decisions are kept as they are taken. Raises KeyboardInterrupt."""
        with self._listening:
            self._server.run(sockets=[self._listening])


def open_server(out: Path | Uri | str, *, port: int, host: str, cache_bytes: int) -> ReviewServer:
    """Listen for the page of a finished run. port: 0 for any that is free; cache_bytes: most disk for proxies.

    Raises OutputError (no run there, or at a URI) and InputError (no dub is finished; the port cannot be had).
    """
    library = Library(out)
    if not library.rows():
        raise InputError(f"No dub in {str(out)!r} is finished; `dub run` its manifest to the end, then review.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as e:
        raise InputError(
            f"{host}:{port} cannot be listened on ({e.strerror or e}); choose another --port, or leave it out."
        ) from e
    port, token = listening.getsockname()[1], new_token()
    proxies = Proxies(library, library.out / "review" / "proxies", cache_bytes)
    app = create_app(Desk(library, proxies, BackgroundJobs(library.out)), token, host, port)
    shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}"
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=Connection, ws="none", backlog=BACKLOG, log_level="error", access_log=False,
            timeout_graceful_shutdown=3, server_header=False,
        )
    )  # fmt: skip
    return ReviewServer(url, not is_loopback(host), library.left_out, server, listening)
