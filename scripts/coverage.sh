#!/usr/bin/env bash
# Which lines of Catalog, Fetch, Indexer and Lake the Swift tests reach.
#
#   coverage.sh [FILTER]     the tests that a regular expression names, or all of them
#
# A debug build in a directory of its own, .build-coverage, since counters are compiled in.
# The table goes to .build-coverage/coverage.txt too, the lines that nothing reaches to
# .build-coverage/unreached.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=.build-coverage
modules=(Catalog Fetch Indexer Lake)

# Those of the compiler, which read its format.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
# The tool ends by _exit, which writes no counters: as it is linked here, it does. What is killed
# is not counted.
mkdir -p $scratch
"$tools/clang" -x c -c -o $scratch/exit.o - <<'END'
int __llvm_profile_write_file(void) __attribute__((weak));
void __real__exit(int) __attribute__((noreturn));
void __attribute__((noreturn)) __wrap__exit(int status) {
  if (__llvm_profile_write_file) __llvm_profile_write_file();
  __real__exit(status);
}
END
swift build --build-tests --enable-code-coverage --scratch-path $scratch \
  -Xlinker --wrap=_exit -Xlinker "$PWD/$scratch/exit.o"
bundle=$scratch/debug/tarnPackageTests.xctest
profiles=$scratch/profiles
rm -rf $profiles
mkdir -p $profiles
# %p: a file for each process, since tests start the tool.
echo "running the tests, output in $scratch/tests.log"
LLVM_PROFILE_FILE="$PWD/$profiles/%p.profraw" \
  "$bundle" --testing-library swift-testing ${1:+--filter "$1"} >$scratch/tests.log 2>&1 </dev/null ||
  echo "coverage: tests failed; the table is of what ran" >&2
tail -1 $scratch/tests.log
find $profiles -name '*.profraw' -size +0 >$scratch/profiles.txt
"$tools/llvm-profdata" merge --sparse --failure-mode=all --input-files=$scratch/profiles.txt -o $scratch/merged.profdata
"$tools/llvm-cov" export --format=lcov "$bundle" --object $scratch/debug/tarn --instr-profile $scratch/merged.profdata \
  --ignore-filename-regex='/\.build|/Tests/' >$scratch/coverage.lcov
python3 -B scripts/coverage_table.py $scratch/coverage.lcov $scratch/unreached.txt "${modules[@]}" | tee $scratch/coverage.txt
