"""Installs one lock of requirements/ into the .venv that runs this: python install.py run|demo|dev|tools

uv does it, itself installed by pip from requirements/uv.txt; where uv cannot run, pip does it from the same lock.
Of one version in several indexes uv takes what the first one has, pip the file that fits the machine best: packages
that came without their library that way are installed again by pip. Both check every file's hash. pip's own settings
(index, proxy, certificates) are handed to uv. An installation that is whole is left alone, which takes about a second;
one that is not is made whole. Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
VENV = Path(sys.prefix)
DONE = VENV / ".installed"
HOLDS = {"run": ("run", "demo", "dev"), "demo": ("demo", "dev"), "dev": ("dev",)}  # the locks that hold all of one
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)(?:\s*;\s*([^\\]+))?", re.MULTILINE)
MARK = re.compile(r"^# pyproject\.toml: (\w+)$", re.MULTILINE)


def asked() -> str:
    """A digest of everything in pyproject.toml that a lock depends on."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    project = tables["project"]
    parts = [
        project["requires-python"], project["dependencies"], project["optional-dependencies"],
        tables.get("dependency-groups", {}), tables.get("tool", {}).get("uv", {}),
    ]  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def refuse(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def applies(marker: str | None) -> bool:
    """Whether a pin's environment marker holds for this Python and platform (pip brings the reader of markers)."""
    if not marker:
        return True
    from pip._vendor.packaging.markers import Marker

    return Marker(marker.strip()).evaluate()


def is_whole(lock: str) -> bool:
    """Whether every package that the lock names is installed with all of its files."""
    there = {re.sub(r"[-_.]+", "-", d.name).lower(): d for d in importlib.metadata.distributions()}
    for name, version, marker in PIN.findall(lock):
        if not applies(marker):
            continue
        found = there.get(re.sub(r"[-_.]+", "-", name).lower())
        if found is None or found.version != version:
            return False
        # from the record itself: `found.files` leaves out what is not there, from Python 3.12 on
        for file, _, size in csv.reader((found.read_text("RECORD") or "").splitlines()):
            if size and not file.endswith(".pyc"):
                try:
                    if os.stat(found.locate_file(file)).st_size != int(size):
                        return False
                except OSError:
                    return False
    return "dubbing" in there


def pip_settings() -> dict[str, str]:
    """pip's settings from its files and its environment, by name."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):  # the later one wins, as in pip
        for line in done.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                found[name.removeprefix(section)] = value[1:-1].replace("\\n", " ")
    return found


def uv_environment() -> dict[str, str]:
    """The environment in which uv reaches what pip reaches; what the user set for uv itself stands."""
    pip = pip_settings()
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url"),
        "UV_INDEX": pip.get("extra-index-url"),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "UV_HTTP_TIMEOUT": pip.get("timeout") or pip.get("default-timeout"),
        "HTTP_PROXY": pip.get("proxy"),
        "HTTPS_PROXY": pip.get("proxy"),
        "SSL_CERT_FILE": pip.get("cert"),
        "SSL_CLIENT_CERT": pip.get("client-cert"),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in ("1", "true", "yes", "on") else None,
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # pip's own way; every file is held to its hash
        "UV_SYSTEM_CERTS": None if pip.get("cert") else "1",
    }
    return {**{name: value for name, value in wanted.items() if value}, **os.environ}


def run(command: list[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command whose messages a person sees as they come: (exit status, the messages).

    On a terminal it is given one of its own, so that it draws its progress; elsewhere it prints lines.
    """
    if not sys.stderr.isatty():
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        reading = process.stdout.fileno() if process.stdout else -1
    else:
        import fcntl
        import pty
        import termios

        reading, writing = pty.openpty()
        size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
        process = subprocess.Popen(command, env=environment, stdout=writing, stderr=writing)
        os.close(writing)
    said = bytearray()
    try:
        while piece := os.read(reading, 65536):
            said += piece
            sys.stderr.buffer.write(piece)
            sys.stderr.flush()
    except OSError:  # a terminal whose other end has closed
        pass
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise SystemExit(130) from None
    return process.wait(), said.decode(errors="replace")


def explain(said: str) -> str | None:
    """What kept an installation from its end, and what to do; None where nothing known did."""
    low = said.lower()
    if "no space left" in low or "os error 28" in low or "errno 28" in low or "quota exceeded" in low:
        free = shutil.disk_usage(VENV).free / 1e9
        return (
            f"There is no space left for the packages ({free:.1f} GB are free at {VENV}; they need about 5 GB, and "
            "as much again for uv's cache where that lies on another disk): make room and run this again."
        )
    if "hash mismatch" in low or "hashes from the requirements file" in low or "do not match the hashes" in low:
        package = re.search(r"(?:for|of) `?([\w.-]+==[\w.+-]+)|^\s+([\w.-]+==[\w.+-]+) from", said, re.MULTILINE)
        name = next((g for g in package.groups() if g), "a package") if package else "a package"
        return (
            f"What the package index gave for {name} is not what the lock names: its hash is another. Nothing of it "
            "was installed; ask whoever keeps your index, or make the lock again (./lock)."
        )
    signs = (
        "dns error", "failed to lookup", "name resolution", "connection refused", "network is unreachable",
        "error trying to connect", "client error (connect)", "failed to establish a new connection",
        "connection timed out", "newconnectionerror", "tunnel", "timed out", "network connectivity is disabled",
        "request failed after", "error sending request",
    )  # fmt: skip
    if any(sign in low for sign in signs):
        return (
            "The package index was not reached: check the network, and pip's settings of index and proxy "
            "(pip config list), and run this again; what was already fetched is kept."
        )
    if "permission denied" in low:
        return f"Packages could not be written into {VENV}: it belongs to another user; delete it and run this again."
    return None


def stopped(said: str) -> None:
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "no message")
    refuse(explain(said) or f"The packages could not be installed ({last}); mend that and run this again.")


def universal(lock: str) -> list[str]:
    """The pins of a lock, with their hashes, that are installed from a file for any machine though there are others.

    A package of one wheel and one source has two hashes; one with more has files of its own for some machines.
    """
    there = {re.sub(r"[-_.]+", "-", d.name).lower(): d for d in importlib.metadata.distributions()}
    found = []
    for block in re.split(r"\n(?=\S)", lock):
        pin = PIN.match(block)
        if pin and block.count("--hash=") > 2 and applies(pin[3]):
            wheel = there.get(re.sub(r"[-_.]+", "-", pin[1]).lower())
            tags = re.findall(r"^Tag: (\S+)", (wheel.read_text("WHEEL") if wheel else None) or "", re.MULTILINE)
            if tags and all(tag.endswith("-none-any") for tag in tags):
                found.append(block)
    return found


def get_uv() -> Path | None:
    """uv in .venv at its pinned version; None where this machine has none that runs."""
    pinned = PIN.search((LOCKS / "uv.txt").read_text(encoding="utf-8"))
    uv = VENV / "bin" / "uv"
    try:
        done = subprocess.run([uv, "--version"], capture_output=True, text=True)
        if pinned and done.returncode == 0 and done.stdout.split()[1] == pinned[2]:
            return uv
    except (OSError, IndexError):
        pass
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--force-reinstall"]
    done = subprocess.run([*pip, *options, "-r", str(LOCKS / "uv.txt")], capture_output=True, text=True)
    if done.returncode:
        known = explain(done.stderr)
        if known:
            refuse(known)
        return None
    try:
        return uv if subprocess.run([uv, "--version"], capture_output=True).returncode == 0 else None
    except OSError:
        return None


def again_by_pip(pins: list[str]) -> None:
    """Install these pins once more, each from the file that pip finds best for this machine."""
    if not pins:
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(pins) + "\n")
        file.flush()
        status, said = run([*pip, "--no-deps", "--force-reinstall", "-r", file.name])
    if status:
        stopped(said)


def install(name: str) -> None:
    """Bring .venv to what the lock `name` says, or leave it where it holds that already."""
    lock = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    mark = MARK.search(lock)
    if not mark or mark[1] != asked():
        refuse(
            f"pyproject.toml asks for other packages than requirements/{name}.txt was made for: "
            "run ./lock, look at what moved, and commit both."
        )
    marks = {
        one: hashlib.sha256(
            f"{VENV} {sys.version} {(LOCKS / f'{one}.txt').read_text(encoding='utf-8')}".encode()
            + (ROOT / "pyproject.toml").read_bytes()
        ).hexdigest()
        for one in HOLDS
    }
    stood = DONE.read_text(encoding="utf-8") if DONE.exists() else ""
    if stood in [marks[one] for one in HOLDS[name]] and is_whole(lock):
        return
    started = time.monotonic()
    count = sum(applies(marker) for _, _, marker in PIN.findall(lock))
    print(f"installing {count} packages into .venv (the first time 3 GB are fetched)", file=sys.stderr)
    DONE.unlink(missing_ok=True)
    file = str(LOCKS / f"{name}.txt")
    uv = get_uv()
    status = 1
    if uv is not None:
        again = [] if stood in marks.values() and not stood == marks[name] else ["--reinstall"]
        command = [str(uv), "pip", "sync", "--python", sys.executable, "--require-hashes", "--no-config", *again, file]
        environment = uv_environment()
        status, said = run(command, environment)
        if status and (known := explain(said)):
            refuse(known)
        if status:
            print("uv could not install these; pip does it, which takes some minutes", file=sys.stderr)
    else:
        print("uv does not run here; pip installs the packages, which takes some minutes", file=sys.stderr)
    if status:
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        status, said = run([*pip, "-r", file])
        if status:
            stopped(said)
    elif pip_settings().get("extra-index-url") or pip_settings().get("find-links"):
        again_by_pip(universal(lock))
    # the project itself, built by the lock's own setuptools
    own = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    status, said = run([*own, "--no-build-isolation", "--no-index", "--editable", str(ROOT)])
    if status:
        stopped(said)
    DONE.write_text(marks[name], encoding="utf-8")
    print(f"installed in {time.monotonic() - started:.0f} s", file=sys.stderr)


def main(name: str) -> None:
    if name == "tools":
        if get_uv() is None:
            refuse("uv does not run on this machine, and only uv makes locks: use another machine for this.")
    else:
        install(name)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as e:
        refuse(explain(str(e)) or f"The packages could not be installed: {e}. Mend that and run this again.")
