#!/usr/bin/env bash
# Tries dist/*.deb and dist/*.tar.gz where nothing is installed: a Debian of this machine's release,
# made anew by debootstrap from this machine's own package sources, without Swift and compilers.
# There the package is installed by apt with what it depends on, the demo runs, and the package goes
# again; beside it a user without root unpacks the tarball in a home directory and runs that.
#
#   check-deb.sh [--keep DIRECTORY]     DIRECTORY keeps the root for the next time
#
# Needs root (or sudo), debootstrap, and the package sources within reach.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deb=$(ls "$root"/dist/tarn_*.deb)
tarball=$(ls "$root"/dist/tarn-*-linux-*.tar.gz)
[ "$(id -u)" -eq 0 ] || exec sudo "${BASH_SOURCE[0]}" "$@"

# A namespace of mounts, so that whatever happens none of them stays.
if [ -z "${TARN_CHECK_DEB:-}" ]; then
  TARN_CHECK_DEB=1 exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi
if [ "${1:-}" = --keep ]; then
  clean=${2:?a directory}
else
  clean=$(mktemp -d "${TMPDIR:-/tmp}/tarn-root.XXXXXX")
fi

say() { printf '\n# %s\n' "$*"; }
inside() { chroot "$clean" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }

. /etc/os-release
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
  sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' | head -1) || true
[ -n "$mirror" ] || { echo "check-deb: no package source in /etc/apt" >&2; exit 1; }
say "A root of Debian $VERSION_ID ($VERSION_CODENAME), minimal"
if [ ! -x "$clean/usr/bin/apt-get" ]; then
  mkdir -p "$clean"
  chmod 755 "$clean"
  debootstrap --variant=minbase "$VERSION_CODENAME" "$clean" "$mirror" >"$clean.log" 2>&1 ||
    { tail -5 "$clean.log" >&2; exit 1; }
  rm -f "$clean.log"
  cp /etc/apt/sources.list.d/debian.sources "$clean/etc/apt/sources.list.d/" 2>/dev/null && rm -f "$clean/etc/apt/sources.list"
  printf '#!/bin/sh\nexit 101\n' >"$clean/usr/sbin/policy-rc.d"
  chmod 755 "$clean/usr/sbin/policy-rc.d"
fi
cp /etc/resolv.conf "$clean/etc/resolv.conf" 2>/dev/null || true
[ -z "${TARN_CHECK_APT_CONF:-}" ] || cp "$TARN_CHECK_APT_CONF" "$clean/etc/apt/apt.conf.d/99check"
mount -t proc proc "$clean/proc"
mount --rbind /dev "$clean/dev"
mount -t tmpfs tmpfs "$clean/run"
if [ "${1:-}" != --keep ]; then
  trap 'umount -R "$clean/proc" "$clean/dev" "$clean/run"; rm -rf --one-file-system "$clean"' EXIT
fi
for absent in swift gcc clang; do
  ! inside sh -c "command -v $absent" || { echo "check-deb: the root has $absent" >&2; exit 1; }
done
inside apt-get update -qq

say "The tarball first, as a user of that machine, with nothing installed"
inside sh -c 'id user >/dev/null 2>&1 || useradd --create-home user'
cp "$tarball" "$clean/home/user/"
inside su user -c 'cd && tar xzf tarn-*.tar.gz && rm tarn-*.tar.gz && cd tarn-*/ && bin/tarn --version && bin/tarn init ~/lake && bin/tarn status --lake ~/lake && rm -r ~/lake'

say "The package and what it depends on"
cp "$deb" "$clean/tmp/"
inside sh -c "apt-get install -y -qq --no-install-recommends /tmp/$(basename "$deb") >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }; rm /tmp/*.deb; grep -c '^Setting up' /tmp/apt.log | sed 's/\$/ packages were set up/'"
inside tarn --version
inside sh -c 'ls -l /usr/libexec/tarn /usr/bin/tarn; ldd /usr/libexec/tarn/tarn | grep -i swift && exit 1 || echo "no library of Swift is needed"'

say "The demo, by the package's tool"
inside apt-get install -y -qq --no-install-recommends nginx-light python3 sqlite3 >/dev/null 2>&1
inside /usr/share/tarn/scripts/demo.sh >"$clean/tmp/demo.log" 2>&1 || { tail -20 "$clean/tmp/demo.log"; exit 1; }
tail -5 "$clean/tmp/demo.log"

say "And by the tarball's, in the home directory"
inside su user -c 'cd ~/tarn-*/ && TARN=$PWD/bin/tarn share/tarn/scripts/demo.sh' >"$clean/tmp/demo.log" 2>&1 || { tail -20 "$clean/tmp/demo.log"; exit 1; }
tail -5 "$clean/tmp/demo.log"

say "Nothing stays when the package goes"
inside apt-get purge -y -qq tarn >/dev/null 2>&1
left=$(inside sh -c 'find / -xdev -path /proc -prune -o -name "*tarn*" -print | grep -v -e ^/home -e ^/tmp -e /var/lib/apt -e /var/log' || true)
[ -z "$left" ] || { echo "check-deb: left behind: $left" >&2; exit 1; }
inside sh -c 'rm -rf /home/user/tarn-* /tmp/*.log'
echo "check-deb: passed"
