"""Runs a command in a network of its own that has only loopback, and says what it asked of it: JSON, the last line.

    unshare --net --map-root-user python own_network.py COMMAND...

There is no way out of that network, so an attempt to leave it harms nothing, and the kernel counts it whoever makes it:
a packet, or a socket that is only given an address outside. What is listened to and connected with is read from the
kernel's tables until the command and all that it started have ended. Needs Linux; knows nothing of dub.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

LOOK_S = 0.02
LEFT_S = 60.0  # for what the command started to end after it
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_LISTENS = "0A"  # of a row of /proc/net/tcp


def counters() -> dict[str, int]:
    """What the kernel has counted in this network since it was made."""
    rows = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    named = {(name[0], key): int(value) for name, values in zip(rows[::2], rows[1::2], strict=True)
             for key, value in zip(name[1:], values[1:], strict=True)}  # fmt: skip
    six = {row.split()[0]: int(row.split()[1]) for row in Path("/proc/net/snmp6").read_text().splitlines()}
    return {
        "ways_out_asked_for": named["Ip:", "OutNoRoutes"] + six["Ip6OutNoRoutes"],
        "datagrams": named["Udp:", "OutDatagrams"] + six["Udp6OutDatagrams"],
    }


def address(text: str) -> str:
    """`0100007F:1F90` as the kernel writes it -> `127.0.0.1`."""
    raw = bytes.fromhex(text.split(":")[0])
    words = struct.unpack(f"={len(raw) // 4}I", raw)
    found = ipaddress.ip_address(struct.pack(f">{len(words)}I", *words))
    return str(getattr(found, "ipv4_mapped", None) or found)


def sockets() -> tuple[set[str], set[str]]:
    """(addresses listened on or bound for datagrams, addresses that others are connected with), now."""
    listening: set[str] = set()
    remote: set[str] = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            _, here, there, state, *_ = row.split()
            if state == _LISTENS or kind.startswith("udp"):
                listening.add(address(here))
            if not there.endswith(":0000"):
                remote.add(address(there))
    return listening, remote


def main(command: list[str]) -> None:
    with socket.socket() as one:
        fcntl.ioctl(one, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    before, ended = counters(), threading.Event()
    listening: set[str] = set()
    remote: set[str] = set()

    def look() -> bool:
        """Add what there is now; whether anything listens."""
        here, there = sockets()
        listening.update(here)
        remote.update(there)
        return bool(here)

    def watch() -> None:
        while not ended.wait(LOOK_S):
            look()

    watching = threading.Thread(target=watch)
    watching.start()
    done = subprocess.run(command, check=False)
    for _ in range(round(LEFT_S / LOOK_S)):
        if not look():
            break
        ended.wait(LOOK_S)
    left = look()
    ended.set()
    watching.join()
    counted = {name: value - before[name] for name, value in counters().items()}
    found = {"code": done.returncode, "listening": sorted(listening), "remote": sorted(remote), "left": left}
    print(json.dumps(found | counted))


if __name__ == "__main__":
    main(sys.argv[1:])
