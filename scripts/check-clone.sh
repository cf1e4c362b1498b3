#!/usr/bin/env bash
# README's two commands, for the first time: in a Debian where nothing is installed
# (bare_root.sh) but what swift.org lists, with this machine's Swift, in a clone of HEAD.
#
#   check-clone.sh [--keep DIRECTORY]     DIRECTORY keeps the root for the next time
#
# Where git takes packages from a directory of this machine (insteadOf), so it does there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
swift=$(command -v swift) || { echo "check-clone: no swift in PATH" >&2; exit 1; }
toolchain=$(realpath "$(dirname "$(realpath "$swift")")/../..")
. "$root/scripts/bare_root.sh"

borrow() {
  mkdir -p "$clean$1"
  mount --bind -o ro "$1" "$clean$1"
}
borrow "$toolchain"
settings=$(git config --global --list 2>/dev/null; git config --system --list 2>/dev/null) || true
while IFS= read -r directory; do
  borrow "$directory"
done < <(sed -n 's/^url\.\(\/.*\)\.insteadof=.*/\1/p' <<<"$settings" | sort -u)

say "What swift.org lists for it, as README has it"
packages=$(tr '\n' ' ' <"$root/README.md" | sed -n 's/.*lists for Debian 12 (`\([^`]*\)`).*/\1/p')
[ -n "$packages" ] || { echo "check-clone: README has no list of packages" >&2; exit 1; }
inside sh -c "apt-get install -y -qq --no-install-recommends ca-certificates $packages >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }; grep -c '^Setting up' /tmp/apt.log | sed 's/\$/ packages were set up/'"
for file in /etc/gitconfig "$HOME/.gitconfig" /etc/gitignore; do
  [ ! -f "$file" ] || install -D -m 644 "$file" "$clean${file/#$HOME//root}"
done

say "A clone"
rm -rf "$clean/root/tarn"
git clone --quiet --no-hardlinks "$root" "$clean/root/tarn"
chown -R root:root "$clean/root/tarn"

for command in "scripts/install-deps.sh" "make demo"; do
  say "$command"
  began=$SECONDS
  inside_quietly sh -c "cd /root/tarn && PATH=$toolchain/usr/bin:\$PATH $command"
  echo "$command: $((SECONDS - began)) s"
done
rm -rf "$clean/root/tarn"
echo "check-clone: passed"
