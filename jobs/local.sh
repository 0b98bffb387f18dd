#!/usr/bin/env bash
# Two Ray nodes on one machine: the smallest cluster there is, to try everything that a large one does.
#
#   jobs/local.sh MANIFEST [OUT]
#
# Machine: one, 2 cores, 8 GB of memory, no GPU; uses all the cores that there are.
# Hours:   film length x (1.03 + 0.77 x further languages) on 2 cores (measured: LOG.md, whole runs, the reel
#          at 1280x720); a feature of 100 minutes in 10 languages: 1.667 h x (1.03 + 9 x 0.77) = 13.3 h.
# Cost:    13.3 h x 2 cores = 26.5 core-hours; at an assumed 0.05 USD a core-hour: 1.33 USD.
#
# A token is made for this cluster alone, which listens on loopback only and asks nobody outside (docs/trust.md).
# Only what is started here is stopped at the end, the folder in /tmp included. After an interruption the same command
# goes on: finished shots are kept.
set -euo pipefail
set -m # every node leads a process group of its own, so that it can be stopped with its children

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
bin=${DUB_BIN:-$root/.venv/bin}
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "Usage: jobs/local.sh MANIFEST [OUT]" >&2
    exit 2
fi
if [ ! -x "$bin/ray" ]; then
    echo "There is no $bin/ray; ./demo sets .venv up, or set DUB_BIN to the folder that holds dub and ray." >&2
    exit 2
fi
manifest=$1 out=${2:-out}
cores=$(nproc)
first=$(((cores + 1) / 2)) second=$((cores > 1 ? cores / 2 : 1))
folder=$(mktemp -d /tmp/dub-ray.XXXXXX)
exec 9>"$folder/lock" # nodes hold it too; where all of them were killed, the next run of dub removes the folder
flock 9
nodes=() waiting=

alive() { ps -eo pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

stop() {
    if [ -n "$waiting" ]; then kill -KILL -- "-$waiting" 2>/dev/null || true; fi
    for ((n = ${#nodes[@]} - 1; n >= 0; n--)); do # the head last
        kill -TERM "${nodes[n]}" 2>/dev/null || true # `ray start --block` stops what it started
        for _ in {1..20}; do
            alive "${nodes[n]}" || break
            sleep 0.5
        done
        kill -KILL -- "-${nodes[n]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

export PATH="$bin:$PATH" RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9/ # "disabled" is a report too: to nobody
export RAY_START_HOOK=dubbing.engine.connection.local_node
RAY_AUTH_TOKEN=$("$bin/python" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
unset RAY_ADDRESS RAY_API_SERVER_ADDRESS

read -r -a port < <("$bin/python" - <<'PY'
import socket
sockets = [socket.socket() for _ in range(9)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
)
address=http://127.0.0.1:${port[1]}

ray start --head --block --num-cpus="$first" --port="${port[0]}" --temp-dir="$folder/r" \
    --dashboard-host=127.0.0.1 --dashboard-port="${port[1]}" --ray-client-server-port="${port[2]}" \
    --dashboard-agent-listen-port="${port[3]}" --dashboard-agent-grpc-port="${port[4]}" \
    --metrics-export-port="${port[5]}" --object-store-memory=100000000 >"$folder/head.log" 2>&1 &
nodes+=($!)
disown
tries=0
until dub status --address "$address" >/dev/null 2>"$folder/why"; do
    tries=$((tries + 1))
    if [ $tries -gt 60 ]; then
        cat "$folder/head.log" "$folder/why" >&2
        exit 1
    fi
    sleep 1
done
ray start --address="127.0.0.1:${port[0]}" --block --num-cpus="$second" \
    --dashboard-agent-listen-port="${port[6]}" --dashboard-agent-grpc-port="${port[7]}" \
    --metrics-export-port="${port[8]}" --object-store-memory=100000000 >"$folder/worker.log" 2>&1 &
nodes+=($!)
disown

# in the background, because a signal must not have to wait for the run's end
dub submit "$manifest" --address "$address" --out "$out" --workers "$((first + second))" --wait &
waiting=$!
code=0
wait "$waiting" || code=$?
waiting=
exit $code
