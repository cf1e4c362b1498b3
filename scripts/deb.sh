#!/usr/bin/env bash
# Makes dist/tarn_VERSION_ARCH.deb of the built tool. TOOLS is the directory of tarn and tarn-adopt,
# TARN_MAINTAINER whom the package names, TARN_DEB_COMPRESSION (xz) how it is packed.
#
# What it depends on is read off the binaries by dpkg-shlibdeps: the Swift runtime is in
# them, so no Swift is needed where it is installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${TOOLS:-$root/.build-static/release}
export TOOLS
version=$("$TOOLS/tarn" --version | sed -n 's/^tarn //p')
# Of the packaging, behind the version.
revision=$version-1
maintainer=${TARN_MAINTAINER:-The authors of tarn <tarn@example.org>}
architecture=$(dpkg --print-architecture)
# The commit's time is the time of every file, so that the same build makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/CHANGELOG.md")}
export SOURCE_DATE_EPOCH
work=$(mktemp -d "${TMPDIR:-/tmp}/tarn-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
work=$(realpath "$work")
package=$work/debian/tarn
umask 022

DESTDIR=$package PREFIX=/usr ZSH_FUNCTIONS=share/zsh/vendor-completions "$root/scripts/install.sh" install >/dev/null
# dpkg knows its files itself, and removes them.
rm "$package/usr/share/tarn/installed.txt" "$package/usr/share/tarn/directories.txt"

doc=$package/usr/share/doc/tarn
mkdir -p "$doc"
install -m 644 "$root/scripts/deb/copyright" "$doc/copyright"
gzip -9nc "$root/CHANGELOG.md" >"$doc/changelog.gz"
printf 'tarn (%s) unstable; urgency=medium\n\n  * Version %s; changelog.gz says what changed.\n\n -- %s  %s\n' \
  "$revision" "$version" "$maintainer" "$(date -uR -d "@$SOURCE_DATE_EPOCH")" | gzip -9nc >"$doc/changelog.Debian.gz"
# One copy: some systems keep nothing of share/doc.
ln -s ../../tarn/Examples "$doc/examples"
ln -s ../../tarn/docs "$doc/docs"
ln -s ../../tarn/README.md "$doc/README.md"
rm "$package/usr/share/tarn/LICENSE" "$package/usr/share/tarn/CHANGELOG.md"

mkdir -p "$package/DEBIAN"
printf 'Source: tarn\n\nPackage: tarn\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -e"$package/usr/libexec/tarn/tarn" -e"$package/usr/libexec/tarn/tarn-adopt" |
  sed -n 's/^shlibs:Depends=//p')
# Loaded when it is first asked for something (Sources/Fetch/CCurl/library.c): no program names it.
# CURLOPT_PROTOCOLS_STR came with 7.85.
curl=$(dpkg-query -S "*/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/libcurl.so.4" | sed -n '1s/:.*//p')
depends="$depends, $curl (>= 7.85)"
cat >"$package/DEBIAN/control" <<END
Package: tarn
Version: $revision
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$package/usr" | cut -f1)
Depends: $depends
Recommends: ca-certificates
Suggests: nginx-light, python3, sqlite3
Section: science
Priority: optional
Description: data lake of embedding features, tracked in SQLite
 tarn registers shards of embedding features on web servers and object stores,
 fetches and verifies them, trains IVF indexes by paired k-means, builds FAISS
 files of them, and makes any version again byte for byte from what its catalog
 pins. Swift's runtime is linked in. The demo, /usr/share/tarn/scripts/demo.sh,
 wants the packages that are suggested.
END
(cd "$package" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$package" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"

mkdir -p "$root/dist"
deb=$root/dist/tarn_${revision}_$architecture.deb
dpkg-deb --root-owner-group "-Z${TARN_DEB_COMPRESSION:-xz}" --build "$package" "$deb" >/dev/null
echo "$deb: $(stat -c %s "$deb" | numfmt --to=iec), needs $depends"
