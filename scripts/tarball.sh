#!/usr/bin/env bash
# Makes dist/tarn-VERSION-linux-MACHINE.tar.gz: the tool with every shared library that it needs
# but glibc's, to be unpacked in a home directory and run from there. TOOLS is the directory of
# tarn and tarn-adopt. Needs patchelf.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${TOOLS:-$root/.build-static/release}
export TOOLS
version=$("$TOOLS/tarn" --version | sed -n 's/^tarn //p')
machine=$(uname -m)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/CHANGELOG.md")}
name=tarn-$version-linux-$machine
work=$(mktemp -d "${TMPDIR:-/tmp}/tarn-tarball.XXXXXX")
trap 'rm -rf "$work"' EXIT
work=$(realpath "$work")
umask 022

# Installed below a directory of any name: nothing that is written holds the prefix.
DESTDIR=$work PREFIX=/$name "$root/scripts/install.sh" install >/dev/null
place=$work/$name
mkdir "$place/libexec/tarn/lib" "$place/share/tarn/licenses"

# Loaded when it is first asked for something (Sources/Fetch/CCurl/library.c): no program names it.
curl=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p | awk '$1 == "libcurl.so.4" && $2 ~ /,/ && !found++ { print $NF }')
[ -n "$curl" ] || { echo "tarball: there is no libcurl.so.4 to bring along; install libcurl4" >&2; exit 1; }

# What the two binaries need, and what that needs. glibc stays the system's: it must fit its kernel,
# its locales and its name service.
{
  echo "libcurl.so.4 $curl"
  ldd "$place"/libexec/tarn/{tarn,tarn-adopt} "$curl" | sed -n 's/^\t\([^ ]*\) => \(\/[^ ]*\) .*/\1 \2/p'
} | sort -u |
  while read -r library path; do
    case $library in
      libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|librt.so.*|libresolv.so.*|ld-linux*) continue ;;
    esac
    install -m 644 "$(readlink -f "$path")" "$place/libexec/tarn/lib/$library"
    # RPATH, not RUNPATH: libraries of these libraries are found by it too.
    patchelf --force-rpath --set-rpath '$ORIGIN' "$place/libexec/tarn/lib/$library"
    # What its licence asks for comes along. dpkg knows files where they were before /lib became /usr/lib.
    file=$(readlink -f "$path")
    package=$(dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}" 2>/dev/null || true)
    package=${package%%:*}
    if [ -n "$package" ]; then
      install -m 644 "/usr/share/doc/$package/copyright" "$place/share/tarn/licenses/$package"
    else
      echo "tarball: no package has $file; its licence is not known" >&2
      exit 1
    fi
  done
install -m 644 "$root/scripts/deb/copyright" "$place/share/tarn/licenses/tarn"
for tool in tarn tarn-adopt; do
  patchelf --force-rpath --set-rpath '$ORIGIN/lib' "$place/libexec/tarn/$tool"
done
left=$(ldd "$place"/libexec/tarn/{tarn,tarn-adopt} "$place/libexec/tarn/lib/libcurl.so.4" | grep -vF "$place/" |
  sed -n 's/^\t\([^ ]*\) => \/.*/\1/p' | sort -u | tr '\n' ' ')

mkdir -p "$root/dist"
tarball=$root/dist/$name.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
  gzip -9n >"$tarball"
glibc=$(objdump -T "$place"/libexec/tarn/{tarn,tarn-adopt} "$place"/libexec/tarn/lib/* | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
echo "$tarball: $(stat -c %s "$tarball" | numfmt --to=iec); of the system it takes ${left}(glibc ${glibc#GLIBC_} or later)"
