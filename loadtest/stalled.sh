#!/usr/bin/env bash
# Measures law 7: the time to `accepted` with the workers running and with all of them stopped, in turn, in one run.
#
#   loadtest/stalled.sh [ROUNDS] [RATE] [SECONDS]        5 rounds of 500 posts a second for 10 s, twice each
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} rate=${2:-500} seconds=${3:-10}

cargo build --quiet --release -p soundoff -p loadtest
work=$(mktemp -d)
target/release/soundoff up --listen 127.0.0.1:0 --data "$work/data" >"$work/up.log" &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$work"' EXIT
until url=$(grep -om1 'ws://[0-9.:]*' "$work/up.log"); do
  kill -0 $server || { echo "the server did not start" >&2; exit 1; }
done

# Waits until no message is left, so that a measurement does not begin with the backlog of the one before.
settle() {
  for _ in $(seq 600); do
    target/release/soundoff queues --data "$work/data" --json | grep -qE '"(visible|in_flight)":[1-9]' || return 0
    sleep 0.1
  done
  echo "the workers did not catch up in a minute" >&2
  exit 1
}
measure() {
  target/release/loadtest accepted --url "$url" --rate "$rate" --duration "$seconds" --type post.create --json "$work/$1.json" >/dev/null 2>&1
}
printf '%-7s %14s %14s %8s\n' round 'running p99' 'stopped p99' ratio
for round in $(seq "$rounds"); do
  settle
  measure running
  settle
  target/release/soundoff workers pause --data "$work/data" >/dev/null
  measure stopped
  target/release/soundoff workers resume --data "$work/data" >/dev/null
  python3 - "$work" "$round" <<'PY'
import json, sys
work, round_ = sys.argv[1:]
running, stopped = (json.load(open(f"{work}/{name}.json"))["accepted_us"]["p99"] / 1000 for name in ("running", "stopped"))
print(f"{round_:<7} {running:>11.2f} ms {stopped:>11.2f} ms {stopped / running:>8.2f}")
PY
done
