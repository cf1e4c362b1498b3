#!/usr/bin/env bash
# Runs a command with its output in .build/test-logs/NAME.log: a line a minute says how far
# it is, and where it fails what it printed last stands here. Exits as the command does.
#
#   logged.sh NAME COMMAND…
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=.build/test-logs/$1.log
shift
mkdir -p .build/test-logs
begin=$SECONDS
"$@" >"$log" 2>&1 </dev/null &
child=$!
# The command, and then whoever waits for it, ends on Ctrl-C.
trap 'kill "$child" 2>/dev/null || true; exit 130' INT TERM
while kill -0 "$child" 2>/dev/null; do
  for _ in {1..60}; do
    sleep 1
    kill -0 "$child" 2>/dev/null || break 2
  done
  printf '  %d:%02d  %s\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)) "$(tail -1 "$log" | cut -c1-100)"
done
status=0
wait "$child" || status=$?
if [ "$status" -ne 0 ]; then
  echo "failed with $status after $((SECONDS - begin)) s: $*   ($log)"
  grep -E '(error|warning): ' "$log" | sort -u | head -20 || true
  echo "its last lines:"
  tail -25 "$log"
fi
exit "$status"
