#!/usr/bin/env bash
# The server's processor time for a message, by type, for loadtest/src/scale/service.toml: with the workers stopped
# (only the edge and main_q), and with everything running until every message is done.
#
#   loadtest/service.sh [RATE] [SECONDS] [BINARY]        1,000 a second for 8 s, of each type, on a release build
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-1000} seconds=${2:-8} binary=${3:-target/release/soundoff}

[ -x target/release/loadtest ] || cargo build --quiet --release -p loadtest
[ -x "$binary" ] || cargo build --quiet --release -p soundoff
work=$(mktemp -d)
"$binary" up --listen 127.0.0.1:0 --data "$work/data" --timeline-interval-ms 2000 >"$work/up.log" &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$work"' EXIT
until url=$(grep -om1 'ws://[0-9.:]*' "$work/up.log"); do
  kill -0 $server || { echo "the server did not start" >&2; exit 1; }
done
used() { awk '{ print $14 + $15 }' "/proc/$server/stat"; } # in hundredths of a second
settle() {
  for _ in $(seq 1200); do
    "$binary" queues --data "$work/data" --json | grep -qE '"(visible|in_flight)":[1-9]' || return 0
    sleep 0.1
  done
  echo "the workers did not catch up in two minutes" >&2
  exit 1
}
# Microseconds of processor time a message.
measure() {
  local before=$(used)
  target/release/loadtest accepted --url "$url" --rate "$rate" --duration "$seconds" --type "$1" --json "$work/out.json" >/dev/null 2>&1 || echo "$1: not all accepted" >&2
  [ "$2" = paused ] || settle
  python3 -c "import json,sys; print(round(($(used)-$before)*1e4/json.load(open('$work/out.json'))['accepted'],1))"
}
"$binary" workers pause --data "$work/data" >/dev/null
printf '%-16s %8s us\n' 'edge alone' "$(measure typing paused)"
"$binary" workers resume --data "$work/data" >/dev/null
settle
for type in typing profile.get post.create post.list dm.send dm.list presence.get timeline.fetch; do
  printf '%-16s %8s us\n' "$type" "$(measure "$type" running)"
done
