#!/usr/bin/env bash
# Many sockets, one in twenty of them active: 19,000 on one process, then 57,000 on three, with the same messages per
# second in total.
#
#   loadtest/crowd.sh [SECONDS]     20 by default; needs `cargo build --release` and `cargo build --release -p loadtest`
#
# A process may open 20,000 files here, so each server has a generator of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
active=950 idle=18050

one() { target/release/loadtest pipeline --rate "$1" --sockets $active --idle $idle --duration "$seconds" 2>/dev/null; }

echo "== $((active + idle)) sockets on one process, $active active"
one 948
echo "== three times as many on three processes"
logs=$(mktemp -d)
trap 'rm -rf "$logs"; kill $(jobs -p) 2>/dev/null || true' EXIT
for n in 1 2 3; do one 316 >"$logs/$n" & done
wait
cat "$logs"/*
