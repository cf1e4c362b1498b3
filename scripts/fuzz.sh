#!/usr/bin/env bash
# Coverage-guided fuzzing of every reader, with AddressSanitizer.
#
#   scripts/fuzz.sh [READER…]       FUZZ_SECONDS for each (600)
#   scripts/fuzz.sh keep [READER…]  replaces Tests/Fuzz/Seeds by the smallest files that reach all that was reached
#
# What is found grows in .build-fuzz/corpus/READER, from run to run; a file that
# breaks a reader is .build-fuzz/findings/READER-… and belongs into Tests/Fuzz/Seeds/READER
# once the reader is mended. Seconds and executions so far: .build-fuzz/log/READER.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD/.build-fuzz
seconds=${FUZZ_SECONDS:-600}
keep=
if [ "${1:-}" = keep ]; then keep=1; shift; fi

# SwiftPM passes the two sanitizers in any order, and swiftc forgets the counters when the fuzzer's is not the last.
TARN_FUZZ=1 swift build --configuration release --scratch-path "$root" --sanitize address --sanitize fuzzer \
  -Xswiftc -sanitize-coverage=edge,trace-cmp,inline-8bit-counters,pc-table --product tarn-fuzz
fuzz=$root/release/tarn-fuzz
reader=$(find "$root"/release/*.build/ -name ZipDirectory.swift.o -print -quit)
if [ -z "$reader" ] || ! grep -q __sancov_cntrs "$reader"; then
  echo "scripts/fuzz.sh: the readers are not instrumented: nothing would lead the fuzzer" >&2
  exit 1
fi
# Swift's runtime leaks by design.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1

if [ $# -gt 0 ]; then readers=("$@"); else mapfile -t readers < <("$fuzz" readers); fi
mkdir -p "$root/findings" "$root/log"
broken=0
for reader in "${readers[@]}"; do
  corpus=$root/corpus/$reader
  seeds=Tests/Fuzz/Seeds/$reader
  mkdir -p "$corpus" "$seeds"
  "$fuzz" seeds "$reader" "$corpus"
  if [ -n "$keep" ]; then
    least=$(mktemp -d)
    "$fuzz" "$reader" -merge=1 -max_len=4096 "$least" "$corpus" "$seeds" >"$root/log/$reader.merge" 2>&1
    if [ -z "$(ls -A "$least")" ]; then
      echo "$reader: nothing came of merging, see $root/log/$reader.merge" >&2
      exit 1
    fi
    # What once broke the reader stays whatever it reaches.
    find "$seeds" -type f -not -name 'broke-*' -delete
    cp "$least"/* "$seeds"
    rm -r "$least"
    echo "$reader: $(find "$seeds" -type f | wc -l) files, $(du -sb "$seeds" | cut -f1) bytes"
    continue
  fi
  log=$root/log/$reader
  if "$fuzz" "$reader" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3072 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$root/findings/$reader-" "$corpus" "$seeds" >"$log.last" 2>&1; then
    result='nothing found'
  else
    result="BROKEN: $(grep -m1 -E 'violation:|SUMMARY|Fatal error' "$log.last" || true)"
    broken=1
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log.last")
  echo "$seconds ${runs:-0}" >>"$log"
  awk -v name="$reader" -v result="$result" -v last="$(grep -E '	(DONE|REDUCE|NEW|pulse)' "$log.last" | tail -1)" '
    { s += $1; n += $2 }
    END {
      edges = last; sub(/.*cov: /, "", edges); sub(/ .*/, "", edges)
      files = last; sub(/.*corp: /, "", files); sub(/ .*/, "", files)
      printf "%-12s %6d s, %11d executions in all; %s edges, corpus %s: %s\n", name, s, n, edges, files, result
    }' "$log"
done
exit $broken
