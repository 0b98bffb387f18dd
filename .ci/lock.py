"""Makes the locks in requirements/ from pyproject.toml with uv, and prints what moved. ./lock runs it.

run.txt is what images and jobs install, demo.txt what ./demo does, dev.txt everything; one resolution serves all
three, so that a package has one version in all of them. uv.txt is uv itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import install

EXTRAS = {"dev": ["demo", "dev"], "demo": ["demo"], "run": ["s3"]}  # the largest first: the others take its versions
SAYS = {
    "run": "What `dub` needs to run, with s3:// places: images and jobs install this.",
    "demo": "What ./demo installs: what `dub` needs to run, and what makes the demo film.",
    "dev": "Everything: what ./check installs.",
    "uv": "uv, which installs the other locks.",
}
UV = "uv==0.13.9"  # goes up by ./lock after a change here; the locks' form is uv's


def pins(path: Path) -> dict[str, str]:
    """Versions by package and environment marker of a lock; none where it is not there."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return {f"{name} ; {marker.strip()}".rstrip(" ;"): version for name, version, marker in install.PIN.findall(text)}


def constraints_of(found: dict[str, str]) -> str:
    """Pins as lines of a requirements file, without hashes."""
    parts = [(one.partition(" ;"), version) for one, version in found.items()]
    return "".join(f"{package}=={version}{mark}{rest}\n" for (package, mark, rest), version in parts)


def environment() -> dict[str, str]:
    """The environment that reaches the main index alone: a further index, or a folder of wheels, may hold a release in
    part, and the lock would then name the files of one machine."""
    found = install.uv_environment()
    return {name: value for name, value in found.items() if name not in ("UV_INDEX", "UV_FIND_LINKS")}


def make(name: str, source: list[str], given: str | None, options: list[str]) -> tuple[str, dict[str, str]]:
    """Resolve one lock and write it: what moved, and its pins. given: text of pins that must hold."""
    path = install.LOCKS / f"{name}.txt"
    before = pins(path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "lock.txt"
        target.write_text(constraints_of(before), encoding="utf-8")  # uv keeps what still fits; hashes are asked anew
        command = [str(install.VENV / "bin" / "uv"), "pip", "compile", "--universal", "--generate-hashes"]
        command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--no-emit-index-url"]
        command += ["--no-emit-find-links", "--quiet", "--output-file", str(target), *options, *source]
        if given is not None:
            constraints = Path(folder) / "given.txt"
            constraints.write_text(given, encoding="utf-8")
            command += ["--constraints", str(constraints)]
        status, said = install.run(command, environment())
        if status:
            install.refuse(install.explain(said) or "uv found no set of packages that fits pyproject.toml; see above.")
        lines = target.read_text(encoding="utf-8")
    lines = lines.replace(f"{install.ROOT}/", "")
    head = f"# {SAYS[name]}\n# Made by ./lock; exact versions with hashes.\n# pyproject.toml: {install.asked()}\n"
    path.write_text(head + lines, encoding="utf-8")
    after = pins(path)
    moved = [
        f"  {one} {before.get(one, '(new)')} -> {after.get(one, '(gone)')}"
        for one in sorted(before | after)
        if before.get(one) != after.get(one)
    ]
    return f"{path.name}: {len(after)} packages\n" + "".join(f"{line}\n" for line in moved), after


def main(options: list[str]) -> None:
    if any(not o.startswith("--upgrade") and o.startswith("-") for o in options):
        install.refuse(f"./lock was given {' '.join(options)}; it knows --upgrade and --upgrade-package NAME.")
    pyproject = str(install.ROOT / "pyproject.toml")
    given = None
    for name, extras in EXTRAS.items():
        source = [pyproject, "--group", f"{pyproject}:lock", *(w for e in extras for w in ("--extra", e))]
        said, found = make(name, source, given, options)
        print(said, end="")
        if given is None:
            given = constraints_of(found)
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "uv.in"
        asked.write_text(f"{UV}\n", encoding="utf-8")
        print(make("uv", [str(asked)], None, [])[0], end="")


if __name__ == "__main__":
    main(sys.argv[1:])
