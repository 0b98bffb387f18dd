"""This process's way into a Ray cluster: one it is a part of, one that RAY_ADDRESS names, or one of its own.

A cluster of its own is for this machine and this run alone. Ray as it comes asks 8.8.8.8 for a route and cloud
providers' metadata addresses for a name, listens on all interfaces, and leaves a token and its logs where others can
read them. Here every socket is bound to loopback, the process that asks is not started, the token is in the memory of
the run's processes only, and the rest lies in a folder that only its owner can look into. Where Ray has no switch for
that, parts of it are replaced while it starts; `docs/trust.md` says what remains, `tests/test_network.py` watches.

`local_node` does the same for `ray start` (jobs/local.sh), which calls what RAY_START_HOOK names.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray._private.services as services
from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader
from ray._private.node import Node

from dubbing.config import Engine
from dubbing.errors import ClusterError, DubError, EngineError
from dubbing.store import temporary

__all__ = ["Connection", "connect", "first_line", "local_node", "started"]

_TRIES = 3
_STORE_BYTES = 100 * 2**20  # only references travel
_SOCKET_NAME = 67  # characters that Ray adds to its folder, and 107 is the limit of the kernel's
_LOOPBACK = "127.0.0.1"
_NO_REPORT = f"http://{_LOOPBACK}:9/"  # nobody listens there; Ray sends "disabled" to its maker's address otherwise
_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
_CHILDREN = {  # for the processes that Ray starts: the first makes them take loopback for the machine's address
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": _NO_REPORT,
    "GLOO_SOCKET_IFNAME": _INTERFACE, "NCCL_SOCKET_IFNAME": _INTERFACE,
}  # fmt: skip


@dataclass
class Connection:
    """own: whether this process was in no cluster before; alone: whether the cluster is this machine and this run."""

    own: bool
    alone: bool
    _after: ExitStack

    def close(self) -> None:
        """Leave the cluster, and end it where it was made for this run. Nothing happens where `own` is False."""
        self._after.close()


def connect(config: Engine, say: Callable[[str], None] = lambda text: None) -> Connection:
    """Make sure that this process is in a cluster. say: told, a line each time, that it starts and starts again.

    Raises ClusterError where RAY_ADDRESS names a cluster that does not answer; EngineError where one of its own does
    not start in three tries; OutputError where its folder cannot be made.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        return Connection(False, False, ExitStack())
    if address := _address():
        importlib.import_module("torch")  # loaded after Ray's library, its MKL did not find itself in a job
        try:
            _init(address=address)
        except Exception as e:
            raise ClusterError(
                f"The Ray cluster at {address} (RAY_ADDRESS) cannot be joined: {first_line(e)}; see that it runs, or "
                "unset RAY_ADDRESS to use this machine alone."
            ) from e
        after = ExitStack()
        after.callback(ray.shutdown)
        return Connection(True, False, after)
    say("starting workers")
    for attempt in range(1, _TRIES + 1):
        try:
            return Connection(True, True, started(config))
        except DubError:
            raise
        except Exception as e:
            why, error = first_line(e), e
        if attempt < _TRIES:
            say(f"the workers did not start ({why}); trying again, {attempt + 1} of {_TRIES}")
    raise EngineError(
        f"The workers did not start in {_TRIES} tries ({why}). Mostly the machine is too busy or short of memory: run "
        "the same command again when it is less so, or with --engine local, which needs no workers."
    ) from error


def _address() -> str | None:
    """The cluster that RAY_ADDRESS names, as inside a job. A web address there is the Jobs API's (`dub submit`)."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") or address.startswith(("http://", "https://")) else address


def started(config: Engine) -> ExitStack:
    """Start a cluster on this machine. Returns what closes it; has closed what there was of it where it raises."""
    nodes: list[Any] = []

    def head(node: Any) -> None:
        """`Node.start_head_processes` of Ray 2.60 without the autoscaler's monitor, and without the dashboard's server:
        that runs even where no dashboard is wanted, and asks which cloud this is. Nor does anybody read what the log
        monitor would tell."""
        nodes.append(node)
        node._ray_params.include_log_monitor = False
        node.start_gcs_server()
        node._write_cluster_info_to_kv()

    def stop() -> None:
        ray.shutdown(wait_for_processes=True)
        for node in nodes:  # of a start that failed, Ray itself forgets
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)

    with ExitStack() as stack:
        folder = stack.enter_context(temporary("ray", _short()))
        stack.callback(AuthenticationTokenLoader.instance().reset_cache)  # another cluster has another token
        stack.enter_context(_replaced(os.environ, {"RAY_AUTH_TOKEN": secrets.token_hex(32)}))
        AuthenticationTokenLoader.instance().reset_cache()
        stack.callback(stop)
        with _replaced(os.environ, _CHILDREN), _replaced(vars(services), {"get_node_ip_address": _loopback}):
            start_head_processes = Node.start_head_processes
            Node.start_head_processes = head
            try:
                _init(address="local", num_cpus=config.workers or os.cpu_count() or 1, include_dashboard=False,
                      object_store_memory=_STORE_BYTES, _node_ip_address=_LOOPBACK, _temp_dir=str(folder))  # fmt: skip
            finally:
                Node.start_head_processes = start_head_processes
        return stack.pop_all()


def _init(**where: Any) -> None:
    """ray.init without a word, and without its handler of SIGTERM, which would end this process on the spot."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it tells of its token at every start
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def local_node(params: Any, head: bool) -> None:
    """For RAY_START_HOOK: `ray start` on loopback only, and asking nobody outside. params: Ray's, to be changed.

    The dashboard is wanted here, for its Jobs API. Its server asks no metadata address where its home folder holds a
    file that says how the cluster was made; other processes keep their home.
    """
    os.environ.update(_CHILDREN)
    services.get_node_ip_address = _loopback
    params.node_ip_address = _LOOPBACK
    if not head:
        return
    home = Path(params.temp_dir)
    home.mkdir(exist_ok=True)
    (home / "ray_bootstrap_config.yaml").write_text("{}\n", encoding="utf-8")
    start = services.start_ray_process

    def start_ray_process(command: Any, process_type: str, *rest: Any, **more: Any) -> Any:
        if process_type == "dashboard":
            more["env_updates"] = {**(more.get("env_updates") or {}), "HOME": str(home)}
        return start(command, process_type, *rest, **more)

    services.start_ray_process = start_ray_process


def _loopback(address: str | None = None) -> str:
    """In place of Ray's way to learn the machine's own address, which opens a socket towards 8.8.8.8."""
    return _LOOPBACK


def _short() -> str:
    """Where Ray's folder lies: its sockets are there, whose names are limited."""
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return given if len(os.fsencode(given)) + len("/dub-ray-12345678/r") + _SOCKET_NAME <= 107 else "/tmp"


@contextmanager
def _replaced(names: Any, values: dict[str, Any]) -> Iterator[None]:
    """Other values in a mapping for a while."""
    before = {name: names.get(name) for name in values}
    names.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                names.pop(name, None)
            else:
                names[name] = value


def first_line(error: Exception) -> str:
    """The first telling line of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
