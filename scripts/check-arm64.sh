#!/usr/bin/env bash
# Compiles every C and C++ file of Sources for aarch64 with the flags of
# Package.swift, by the compiler that comes with Swift; then runs the kernels that
# need no library here and, under qemu, there: the same bits must come out. The exact
# assignment runs too, over a BLAS by the book, each form of it against the
# definition: on this CPU also AVX-VNNI's, as the instructions of AVX-512 that do the same.
# Headers of the C library are Debian's for that CPU; those of curl, OpenBLAS, SQLite,
# FAISS and the codecs of parquet name no CPU that matters here, so this machine's serve.
set -euo pipefail
cd "$(dirname "$0")/.."

gcc=$(ls -d /usr/lib/gcc-cross/aarch64-linux-gnu/* 2>/dev/null | sort -V | tail -1)
if [ -z "$gcc" ] || [ ! -d /usr/aarch64-linux-gnu/include/c++ ]; then
  echo "arm64: no headers for aarch64; install g++-aarch64-linux-gnu" >&2
  exit 1
fi
version=${gcc##*/}
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
multiarch=/usr/include/x86_64-linux-gnu
mkdir "$scratch/include"
for found in /usr/include/faiss /usr/include/{snappy-c,sqlite3,zlib,zconf,zstd}.h "$multiarch/curl" "$multiarch"/openblas-pthread/*.h; do
  ln -s "$found" "$scratch/include/"
done

# The flags of `native` in Package.swift, and its warnings as errors.
read -ra native < <(sed -n 's/^let native = \[\(.*\)\]$/\1/p' Package.swift | tr -d '",')
[ ${#native[@]} -gt 0 ] || { echo "arm64: Package.swift has no flags for C" >&2; exit 1; }

includes=()
while read -r folder; do includes+=(-I "$folder"); done < <(find Sources -type d -name include | sort)

count=0
while read -r file; do
  language=(-std=gnu11)
  [ "${file##*.}" = cpp ] && language=(
    -std=c++17 -Wno-unused-parameter
    -nostdinc++ -isystem "/usr/aarch64-linux-gnu/include/c++/$version"
    -isystem "/usr/aarch64-linux-gnu/include/c++/$version/aarch64-linux-gnu")
  "$clang" --target=aarch64-linux-gnu "${native[@]}" "${language[@]}" "${includes[@]}" \
    -isystem "$scratch/include" -isystem /usr/aarch64-linux-gnu/include \
    -c "$file" -o "$scratch/$count.o"
  count=$((count + 1))
done < <(find Sources -name '*.c' -o -name '*.cpp' | sort)
[ "$count" -gt 0 ] || { echo "arm64: no C file in Sources" >&2; exit 1; }
echo "arm64: $count files compile"

command -v qemu-aarch64-static >/dev/null || { echo "arm64: no qemu-aarch64-static; install qemu-user-static" >&2; exit 1; }
kernels=(
  Tests/arm64/same_bits.c Sources/Base/CCpu/*.c Sources/Base/CSha256/*.c Sources/Features/CRows/*.c
  Sources/Indexer/CCodec/*.c Sources/Indexer/CScan/*.c Sources/Indexer/CKernels/router.c)
assignment=(
  Tests/arm64/same_winners.c Tests/arm64/blas.c Sources/Base/CCpu/*.c Sources/Features/CRows/*.c
  Sources/Indexer/CKernels/*.c)

# Builds a program for this CPU and for the other, runs both and compares.
both() {
  local what=$1
  shift
  "$clang" "${native[@]}" -std=gnu11 "${includes[@]}" -isystem "$multiarch/openblas-pthread" -DCASCADE_VNNI_OF_AVX512 \
    "$@" -lm -o "$scratch/here"
  "$clang" --target=aarch64-linux-gnu "${native[@]}" -std=gnu11 "${includes[@]}" "$@" -isystem "$scratch/include" \
    -isystem /usr/aarch64-linux-gnu/include -static --ld-path=/usr/bin/aarch64-linux-gnu-ld -lm -o "$scratch/there"
  "$scratch/here" >"$scratch/here.txt"
  qemu-aarch64-static "$scratch/there" >"$scratch/there.txt"
  diff "$scratch/here.txt" "$scratch/there.txt" || { echo "arm64: the $what are others there" >&2; exit 1; }
  echo "arm64: the same $what, $(wc -l <"$scratch/here.txt") lines of them"
}
both bits "${kernels[@]}"
both winners "${assignment[@]}"
