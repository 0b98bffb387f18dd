# Finds Python, makes and reuses .venv, installs what pyproject.toml asks for. Sourced by ./demo and
# ./check with $root set; sets $bin. The first time takes about 3 minutes and 7 GB, later ones nothing.

say() { printf '%s\n' "$*" >&2; }

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3 python; do
        if [ -n "$candidate" ] && suits "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    say "No suitable Python: this needs Python 3.11 or 3.12 with its venv module (on Debian and Ubuntu:"
    say "apt install python3.11 python3.11-venv). Found: $(python3 --version 2>/dev/null || echo no python3)."
    say "If yours has another name, say PYTHON=/path/to/python3.11 and run this again."
    return 1
}

# What the installed set depends on: the list of packages, where .venv lies, which Python it is.
stamp_of() {
    "$root/.venv/bin/python" - "$root" <<'PY'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
print(hashlib.sha256(f"{root} {sys.version}".encode() + (root / "pyproject.toml").read_bytes()).hexdigest())
PY
}

bin="$root/.venv/bin"
if ! suits "$bin/python"; then
    python=$(find_python) || exit 2
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$root/.venv" || exit 2
fi
stamp=$(stamp_of) || exit 2
if [ "$stamp" != "$(cat "$root/.venv/.installed" 2>/dev/null)" ]; then
    say "installing into .venv (the first time: about 3 minutes, 7 GB)"
    "$bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[demo,dev]" || {
        say "The packages could not be installed; see the lines above. Running this again goes on from here."
        exit 2
    }
    printf '%s' "$stamp" > "$root/.venv/.installed"
fi
