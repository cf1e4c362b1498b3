#!/usr/bin/env bash
# Tries dist/*.deb and dist/*.tar.gz in a Debian where nothing is installed (bare_root.sh),
# without Swift and compilers. There the package is installed by apt with what it depends
# on, the demo and the tutorial run, and the package goes again; beside it a user without
# root unpacks the tarball in a home directory and runs that.
#
#   check-deb.sh [--keep DIRECTORY]     DIRECTORY keeps the root for the next time
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deb=$(ls "$root"/dist/tarn_*.deb)
tarball=$(ls "$root"/dist/tarn-*-linux-*.tar.gz)
. "$root/scripts/bare_root.sh"

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
inside apt-get install -y -qq --no-install-recommends nginx-light python3 sqlite3 curl >/dev/null 2>&1
inside_quietly /usr/share/tarn/scripts/demo.sh

say "The tutorial, its output held against the page"
mkdir -p "$clean/root/tarn"
tar -C "$root" -cf - README.md CHANGELOG.md CONTRIBUTING.md Examples docs scripts Tests/docs | tar -C "$clean/root/tarn" -xf -
inside_quietly env TARN=/usr/bin/tarn python3 -B /root/tarn/Tests/docs/run.py /root/tarn/docs/TUTORIAL.md
rm -rf "$clean/root/tarn"

say "And the demo by the tarball's tool, in the home directory"
inside_quietly su user -c 'cd ~/tarn-*/ && TARN=$PWD/bin/tarn share/tarn/scripts/demo.sh'

say "Nothing stays when the package goes"
inside apt-get purge -y -qq tarn >/dev/null 2>&1
left=$(inside sh -c 'find / -xdev -path /proc -prune -o -name "*tarn*" -print | grep -v -e ^/home -e ^/tmp -e /var/lib/apt -e /var/log' || true)
[ -z "$left" ] || { echo "check-deb: left behind: $left" >&2; exit 1; }
inside sh -c 'rm -rf /home/user/tarn-* /tmp/*.log'
echo "check-deb: passed"
