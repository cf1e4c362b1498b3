#!/usr/bin/env bash
# The whole job on the example features: serve them from nginx, register them as
# sources, sync, train, build, ask, reproduce. Prints each command before its output.
#
# TARN is the binary (default: that of `make tool`, else the one in PATH). TARN_DEMO_KEEP=1 keeps the lake.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
features=$root/Examples/features
built=$root/.build-static/release/tarn
[ -x "$built" ] || built=$(command -v tarn || echo "$built")
binary=${TARN:-$built}
[ -x "$binary" ] || { echo "demo: $binary is not built; run: make tool" >&2; exit 1; }
for program in nginx python3 sqlite3; do
  command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] ||
    { echo "demo: $program is missing; on Debian: apt-get install nginx-light python3 sqlite3" >&2; exit 1; }
done

# Everything below runs inside a server that stops when it ends.
if [ -z "${TARN_DEMO_URL:-}" ]; then
  exec python3 -B "$root/scripts/webserver.py" "$features" -- "${BASH_SOURCE[0]}"
fi

exec </dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/tarn-demo.XXXXXX")
if [ -n "${TARN_DEMO_KEEP:-}" ]; then
  trap 'echo "The lake is kept in $work/lake" >&2' EXIT
else
  trap 'rm -rf "$work"' EXIT
fi

# The commands below are printed as they would be typed.
mkdir "$work/bin"
ln -s "$binary" "$work/bin/tarn"
PATH=$work/bin:$PATH
unset TARN_LAKE
cd "$work"
cp "$features"/{sizes.txt,sha256sums.txt,queries.npy} "$root/Examples/encoders/ngrams.py" .

say() { printf '\n# %s\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  eval "$*"
}

say "A lake is a directory. It is found from any directory below it."
run "tarn init lake"
cd lake

say "Two sources in LAION's layout. nginx serves them on a loopback port."
run "tarn source add images --url '$TARN_DEMO_URL/img_emb/img_emb_{ordinal:04}.npy' --count 6 \\
    --dimension 512 --dtype float16 --modality image --sizes ../sizes.txt --sha256 ../sha256sums.txt"
run "tarn source add captions --url '$TARN_DEMO_URL/text_emb/text_emb_{ordinal:04}.npy' --count 6 \\
    --dimension 512 --dtype float16 --modality text --sizes ../sizes.txt --sha256 ../sha256sums.txt"
run "tarn sync"

say "Paired k-means: images are the points, captions the centroids."
run "tarn train clip --images images --captions captions --nlist 64 --iterations 10 --seed 1"
run "tarn build clips --trained clip --images images --shards-per-output 2"

say "What is there, and how it came to be, in SQL."
run "tarn status"
run "tarn sql \"SELECT ordinal, shard, state, rows, bytes, substr(sha256, 1, 12) AS sha256 FROM v_shard
    WHERE source = 'images'\""
run "tarn show clips@1"
run "ls -l versions/clips@1"

say "160 captions that training never saw, against the images: ids and scores as .npy files."
run "tarn search clips@1 --queries ../queries.npy -k 5 --nprobe 8 --output answers"
"$root/scripts/show_answers.py" answers "$features" 10
say "Where those five rows came from."
run "tarn locate clips@1 $("$root/scripts/show_answers.py" answers "$features" 10 --ids)"

say "Words. Features of the pictures' names, by the letters in them, and an encoder that makes questions alike."
mkdir ../names
run "for shard in 0000 0001 0002 0003 0004 0005; do
    python3 ../ngrams.py --features '$features'/metadata/metadata_\$shard.txt ../names/names_\$shard.npy; done"
run "tarn source add names --directory ../names --modality other && tarn sync names"
run "tarn train names --images names --method kmeans --nlist 32 --seed 1 && tarn build names --trained names --images names"
run "tarn search names@1 --text 'sailing boat' -k 5 --unique 0.94 --encoder 'python3 ../ngrams.py' --output words"
"$root/scripts/show_answers.py" words "$features" "sailing boat" | tee ../words
grep -qi 'sailing.*boat' <(tail -n +2 ../words) || { echo "demo: FAILED: no sailing boat among the answers" >&2; exit 1; }

say "The version pins its inputs, parameters and outputs. Rebuild it and compare."
run "tarn reproduce clips@1"

say "The same commands again: nothing to do."
state() {
  sha256sum versions/*/* $(find artifacts shards -type f | sort)
  sqlite3 catalog.sqlite .dump
}
state >../before
run "tarn sync"
run "tarn train clip --images images --captions captions --nlist 64 --iterations 10 --seed 1"
run "tarn build clips --trained clip --images images --shards-per-output 2"
state >../after
cmp ../before ../after || { echo "demo: FAILED: the second run changed something" >&2; exit 1; }

cat <<'END'

demo: proved: 12 shards came over HTTP from nginx with the digests that were given; 3,600 images were built into
      3 FAISS files by centroids of captions; typed words found pictures of that name; the
      rebuild from pinned inputs is the same byte for byte; a second run of everything changed no byte of any file and
      no row of the catalog.
END
