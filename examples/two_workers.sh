#!/usr/bin/env bash
# Trains with two workers on this machine: the same train.py line twice, each with its own place in TF_CONFIG.
#   examples/two_workers.sh [RUN_DIR] [FLAGS …]
set -euo pipefail
cd "$(dirname "$0")/.."
run_dir=${1:-runs/two_workers-$(date +%Y%m%d-%H%M%S)}
python=.venv/bin/python
[[ -x $python ]] || python=python3

# Two ports that nobody uses at the moment.
read -r first second < <("$python" -c '
import socket
with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
    print(a.getsockname()[1], b.getsockname()[1])')
cluster="{\"worker\": [\"127.0.0.1:$first\", \"127.0.0.1:$second\"]}"

worker() {
  export TF_CONFIG="{\"cluster\": $cluster, \"task\": {\"type\": \"worker\", \"index\": $1}}"
  shift
  exec "$python" train.py --flagfile=configs/fashion_mnist_mini.cfg --strategy=multi_worker --run_dir="$run_dir" "$@"
}

# Worker 1 speaks into a log beside the run, worker 0 (the chief) to the terminal.
mkdir -p "$run_dir"
worker 1 "${@:2}" >"$run_dir.worker_1.log" 2>&1 &
other=$!
trap 'kill "$other" 2>/dev/null || true' EXIT
code=0
(worker 0 "${@:2}") || code=$?
wait "$other" || code=$?
trap - EXIT
exit "$code"
