#!/usr/bin/env bash
# A Ray cluster that is there already, through its Jobs API.
#
#   export RAY_AUTH_TOKEN=...                  # or ~/.ray/auth_token; `ray get-auth-token` on the head prints it
#   jobs/ray_jobs.sh http://HEAD:8265 MANIFEST OUT [OPTION...]
#
# Machine: 4 with 16 cores and 64 GB of memory each, no GPU (the built-in generator and expert ask for none; networks
#          that profit hold a share of one where there is any, or what `engine: stages:` in a config file says), which
#          see MANIFEST's media and OUT under the same names: shared storage, or s3:// URIs.
# Hours:   a feature of 100 minutes in 10 languages is 26.5 core-hours at 1280x720: 1.667 h x (1.03 + 9 x 0.77) on
#          2 cores (measured: LOG.md, whole runs, the reel). On 64 cores 0.41 h if the work spreads evenly, which is
#          computed, not measured.
# Cost:    26.5 core-hours; at an assumed 0.05 USD a core-hour: 1.33 USD.
#
# Ctrl-C leaves the job running; the same command comes back to it. It ends with the run's own exit code.
# An image without dubbing (docker/Dockerfile has it) needs its packages at least: then add --with-code.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
export PATH="${DUB_BIN:-$root/.venv/bin}:$PATH"
if [ $# -lt 3 ]; then
    echo "Usage: jobs/ray_jobs.sh http://HEAD:8265 MANIFEST OUT [OPTION...]" >&2
    exit 2
fi
address=$1 manifest=$2 out=$3
shift 3
exec dub submit --address "$address" --out "$out" --wait "$@" -- "$manifest"
