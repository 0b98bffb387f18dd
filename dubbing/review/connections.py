"""Connections to the review server, held to limits before anybody has shown the token.

Who opens connections and says nothing, or says it slowly, or never reads, must not keep others out. A connection that
has brought no token counts: at most so many from one address and from all; when there are more, the one that has waited
longest goes, so that a newcomer is always let in. Each request must be whole within a time, whoever sends it. Knows no
page and no cookie: `Guard` says whom it has recognised.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

__all__ = ["BACKLOG", "MOST_STRANGERS", "MOST_STRANGERS_OF_ONE", "REQUEST_S", "Connection"]

BACKLOG = 64  # connections that the kernel holds ready; as many are accepted at once
# Connections without a token, of one address and of all: several times the above, so that in a flood a newcomer's
# request is read before its turn to go comes, and well below the 1,024 files that a process may usually open.
MOST_STRANGERS_OF_ONE, MOST_STRANGERS = 256, 384
REQUEST_S = 15.0  # from its first byte, or from the connection, to the last byte of a request


class Connection(H11Protocol):
    """One connection, as uvicorn makes it. In a request's scope it stands at `state`, `connection`."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.stranger = True
        self.since_s = self.loop.time()
        self._limit: asyncio.TimerHandle | None = None

    def recognise(self) -> None:
        """The client has brought the token: the connection no longer counts."""
        self.stranger = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        strangers = [
            c for c in self.connections
            if isinstance(c, Connection) and c.stranger and c is not self and not c.transport.is_closing()
        ]  # fmt: skip
        same = [c for c in strangers if c.address == self.address]
        if len(same) >= MOST_STRANGERS_OF_ONE:
            _longest(same).transport.abort()
        elif len(strangers) >= MOST_STRANGERS:
            _longest(strangers).transport.abort()
        self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._await_request()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def address(self) -> str | None:
        return self.client[0] if self.client else None

    def _await_request(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _longest(strangers: list[Connection]) -> Connection:
    return min(strangers, key=lambda c: c.since_s)
