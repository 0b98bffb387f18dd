# Finds Python, makes and reuses .venv, and installs into it exactly what a lock in requirements/ names. Sourced by
# ./demo, ./check and ./lock with $root set and the name of a lock in $lock (or "tools": uv alone); sets $bin.

say() { printf '%s\n' "$*" >&2; }

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if suits "$PYTHON"; then
            printf '%s' "$PYTHON"
            return
        fi
        say "PYTHON is $PYTHON ($({ "$PYTHON" --version 2>/dev/null || echo 'which does not run'; } | head -n 1)); this needs Python 3.11 or 3.12 with its venv module: set PYTHON to one, or to nothing."
        return 1
    fi
    for candidate in python3.11 python3.12 python3 python; do
        if suits "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    say "No suitable Python was found ($(python3 --version 2>/dev/null || echo no python3)); this needs Python 3.11 or 3.12 with its venv module (on Debian and Ubuntu: apt install python3.11 python3.11-venv), and PYTHON=/path/to/python3.11 names one that lies elsewhere."
    return 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

bin="$root/.venv/bin"
if [ -f "$root/.venv/.folder" ] && [ "$(cat "$root/.venv/.folder")" != "$root/.venv" ]; then
    say "The folder $root/.venv was made as $(cat "$root/.venv/.folder") and moved here, where its programs do not work: delete it (rm -r '$root/.venv') and run this again."
    exit 2
fi
if ! suits "$bin/python" || { [ -n "${PYTHON:-}" ] && [ "$(version_of "$bin/python")" != "$(version_of "$PYTHON")" ]; }; then
    python=$(find_python) || exit 2
    say "making .venv with $("$python" --version)"
    if ! problem=$("$python" -m venv --clear "$root/.venv" 2>&1); then
        say "The folder $root/.venv could not be made: $(printf '%s' "$problem" | tail -n 1) Mend that and run this again."
        exit 2
    fi
    printf '%s' "$root/.venv" >"$root/.venv/.folder"
fi
"$bin/python" "$root/.ci/install.py" "$lock" || exit $?
