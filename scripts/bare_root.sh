# Sourced by check-deb.sh and check-clone.sh: a Debian of this machine's release where
# nothing is installed, made anew by debootstrap from this machine's own package sources.
# Gives `clean`, its directory, and `say`, `inside`. Needs root (or sudo), debootstrap, and
# the package sources within reach.
#
#   --keep DIRECTORY     of the script that sources this: keeps the root for the next time

[ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
# A namespace of mounts, so that whatever happens none of them stays.
if [ -z "${TARN_BARE_ROOT:-}" ]; then
  TARN_BARE_ROOT=1 exec unshare --mount --propagation private "$0" "$@"
fi
# Whatever is mounted below the root goes first, the machine's own toolchain among it: nothing of that is removed with
# the root, which stays where one of them does.
remove_root() {
  local place
  while read -r place; do
    umount "$place" || { echo "bare_root: $place stays mounted, and $clean stays" >&2; return; }
  done < <(awk -v below="$clean/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac)
  rm -rf --one-file-system "$clean" "$clean.log"
}
if [ "${1:-}" = --keep ]; then
  clean=${2:?a directory}
  mkdir -p "$clean"
else
  clean=$(mktemp -d "${TMPDIR:-/tmp}/tarn-root.XXXXXX")
  trap remove_root EXIT
fi

say() { printf '\n# %s\n' "$*"; }
inside() {
  chroot "$clean" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@"
}
# Runs a command inside, and shows the end of what it prints; all of it where it fails.
inside_quietly() {
  inside "$@" >"$clean/tmp/printed.log" 2>&1 || { cat "$clean/tmp/printed.log"; exit 1; }
  tail -5 "$clean/tmp/printed.log"
  rm "$clean/tmp/printed.log"
}

. /etc/os-release
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
  sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' | head -1) || true
[ -n "$mirror" ] || { echo "bare_root: no package source in /etc/apt" >&2; exit 1; }
say "A root of Debian $VERSION_ID ($VERSION_CODENAME), minimal"
if [ ! -x "$clean/usr/bin/apt-get" ]; then
  chmod 755 "$clean"
  debootstrap --variant=minbase "$VERSION_CODENAME" "$clean" "$mirror" >"$clean.log" 2>&1 ||
    { tail -5 "$clean.log" >&2; exit 1; }
  rm -f "$clean.log"
  cp /etc/apt/sources.list.d/debian.sources "$clean/etc/apt/sources.list.d/" 2>/dev/null && rm -f "$clean/etc/apt/sources.list"
  printf '#!/bin/sh\nexit 101\n' >"$clean/usr/sbin/policy-rc.d"
  chmod 755 "$clean/usr/sbin/policy-rc.d"
  for absent in swift gcc clang make; do
    ! inside sh -c "command -v $absent" || { echo "bare_root: the root has $absent" >&2; exit 1; }
  done
fi
cp /etc/resolv.conf "$clean/etc/resolv.conf" 2>/dev/null || true
[ -z "${TARN_CHECK_APT_CONF:-}" ] || cp "$TARN_CHECK_APT_CONF" "$clean/etc/apt/apt.conf.d/99check"
mount -t proc proc "$clean/proc"
mount --rbind /dev "$clean/dev"
mount -t tmpfs tmpfs "$clean/run"
inside apt-get update -qq
