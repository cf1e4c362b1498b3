#!/usr/bin/env bash
# Puts the built tool where PREFIX says, and takes it away again.
#
#   install.sh install     the tool, completions, man pages, documents and examples
#   install.sh uninstall   what `install` wrote there, and nothing else
#
# PREFIX (/usr/local) is where it runs; DESTDIR goes before every path that is written, for
# packages; TOOLS is the directory of tarn and tarn-adopt. ZSH_FUNCTIONS is relative to PREFIX.
# Whatever kills it, share/tarn/installed.txt names every file that may lie there, and directories.txt beside it the
# directories that were made for them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
verb=${1:?install or uninstall}
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
TOOLS=${TOOLS:-$root/.build-static/release}
ZSH_FUNCTIONS=${ZSH_FUNCTIONS:-share/zsh/site-functions}
[[ $PREFIX == /* ]] || { echo "install: PREFIX must begin with /, not be $PREFIX" >&2; exit 64; }
# Absolute before anything changes the directory.
[[ -z $DESTDIR || $DESTDIR == /* ]] || DESTDIR=$PWD/$DESTDIR
[[ $TOOLS == /* ]] || TOOLS=$PWD/$TOOLS
to=$DESTDIR$PREFIX
list=$to/share/tarn/installed.txt
directories=share/tarn/directories.txt
# Directories and files are for everyone, whatever the caller keeps to himself.
umask 022

old=()
[ ! -f "$list" ] || mapfile -t old <"$list"
made=()
[ ! -f "$to/$directories" ] || mapfile -t made <"$to/$directories"

kept=()
# take PLACE…: removes files below the prefix; `kept` are those that would not go.
take() {
  local place
  for place in "$@"; do
    [ -z "$place" ] || rm -f -- "$to/$place" || kept+=("$place")
  done
  # Directories that were made for it; those of others are not empty, or not below these.
  for place in libexec/tarn share/tarn; do
    [ ! -d "$to/$place" ] || find "$to/$place" -depth -type d -empty -delete || true
  done
}

# Removes the directories that were made, the inner ones first; others' files keep theirs.
tidy() {
  local place
  while IFS= read -r place; do
    case $place in
      '') ;;
      .) rmdir -- "$to" 2>/dev/null || true ;;
      *) rmdir -- "$to/$place" 2>/dev/null || true ;;
    esac
  done < <(printf '%s\n' "${made[@]}" | LC_ALL=C sort -ru)
}

# One that is there keeps its mode.
directory() { [ -d "$1" ] || install -d -m 755 "$1"; }

# record PLACE…: the list, which is whole at every moment.
record() {
  directory "${list%/*}" && printf '%s\n' "$@" >"$list.new" && mv -fT "$list.new" "$list"
}

if [ "$verb" = uninstall ]; then
  [ -f "$list" ] || { echo "uninstall: nothing of tarn is installed in $to ($list is missing)" >&2; exit 1; }
  rm -f "$list.new" || true
  take "${old[@]}"
  if [ ${#kept[@]} -gt 0 ]; then
    if [ ${#made[@]} -eq 0 ]; then
      record "${kept[@]}" || true
    else
      { record "${kept[@]}" "$directories" && printf '%s\n' "${made[@]}" >"$to/$directories"; } || true
      tidy
    fi
    echo "uninstall: removed $((${#old[@]} - ${#kept[@]})) files from $to; these could not be removed:" >&2
    printf '  %s\n' "${kept[@]/#/$to/}" >&2
    exit 1
  fi
  rm -f "$list"
  take
  tidy
  echo "removed ${#old[@]} files from $to"
  exit 0
fi
[ "$verb" = install ] || { echo "install.sh: $verb is neither install nor uninstall" >&2; exit 64; }
for tool in tarn tarn-adopt; do
  [ -x "$TOOLS/$tool" ] || { echo "install: $TOOLS/$tool is not built; run: make tool" >&2; exit 1; }
done

modes=() files=() places=()
# put MODE FILE PLACE: a file that shall be at a place below the prefix; MODE link makes a link to FILE.
put() {
  modes+=("$1") files+=("$2") places+=("$3")
}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/tarn-install.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
scratch=$(realpath "$scratch")

# Before the files that lie in them.
put 644 "$scratch/directories" "$directories"
# tarn-adopt lies beside tarn's file, where tarn looks for it, and in nobody's PATH.
for tool in tarn tarn-adopt; do
  cp "$TOOLS/$tool" "$scratch/$tool"
  strip "$scratch/$tool"
  put 755 "$scratch/$tool" "libexec/tarn/$tool"
done
put link ../libexec/tarn/tarn bin/tarn

tarn=$TOOLS/tarn
# It is read by a shell, not run.
"$tarn" --generate-completion-script bash | sed '1{/^#!/d}' >"$scratch/bash"
"$tarn" --generate-completion-script zsh >"$scratch/zsh"
"$tarn" --generate-completion-script fish >"$scratch/fish"
put 644 "$scratch/bash" share/bash-completion/completions/tarn
put 644 "$scratch/zsh" "$ZSH_FUNCTIONS/_tarn"
put 644 "$scratch/fish" share/fish/vendor_completions.d/tarn.fish

version=$("$tarn" --version | sed -n 's/^tarn //p')
# The day of the commit, so that the same commit makes the same pages.
date=$(git -C "$root" log -1 --format=%cs 2>/dev/null || date -u -r "$root/CHANGELOG.md" +%F)
python3 -B "$root/scripts/manpages.py" "$tarn" "$version" "$date" "$scratch/man"
gzip -9n "$scratch"/man/*.1
for page in "$scratch"/man/*.1.gz; do put 644 "$page" "share/man/man1/$(basename "$page")"; done

# As they lie in the repository, so that their links lead somewhere and the demo finds its features.
cd "$root"
while IFS= read -r -d '' file; do put 644 "$root/$file" "share/tarn/$file"; done \
  < <(find README.md CHANGELOG.md LICENSE SECURITY.md docs Examples -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z)
for script in demo.sh webserver.py show_answers.py; do put 755 "$root/scripts/$script" "share/tarn/scripts/$script"; done

# What only an older version had goes. A file of it may stand where there is a directory now.
declare -A is_new=() is_obsolete=()
for place in "${places[@]}"; do is_new[$place]=1; done
obsolete=()
for place in "${old[@]}"; do
  [ -z "$place" ] || [ -n "${is_new[$place]:-}" ] || { obsolete+=("$place"); is_obsolete[$place]=1; }
done

# Nothing is written where something is in the way.
for place in "${places[@]}" share/tarn/installed.txt share/tarn/installed.txt.new; do
  if [ -d "$to/$place" ] && [ ! -L "$to/$place" ]; then
    echo "install: $to/$place is a directory, and a file of tarn's would be there; nothing was written" >&2
    exit 1
  fi
  above=${place%/*}
  while [ ! -d "$to/$above" ]; do
    if [ -e "$to/$above" ] || [ -L "$to/$above" ]; then
      [ -z "${is_obsolete[$above]:-}" ] || break
      echo "install: $to/$above is not a directory, and files of tarn's would be in it; nothing was written" >&2
      exit 1
    fi
    [[ $above == */* ]] || break
    above=${above%/*}
  done
done

# The directories that are not there yet, besides those that an installation before made.
for place in "${places[@]}"; do
  above=${place%/*}
  while [ ! -d "$to/$above" ]; do
    made+=("$above")
    [[ $above == */* ]] || break
    above=${above%/*}
  done
done
[ -d "$to" ] || made+=(.)
printf '%s\n' "${made[@]}" | LC_ALL=C sort -u | sed '/^$/d' >"$scratch/directories"

# Old and new, so that an installation that was cut short can be taken away, or made whole by another.
record "${places[@]}" "${obsolete[@]}"
take "${obsolete[@]}"
for index in "${!places[@]}"; do
  place=$to/${places[index]}
  directory "${place%/*}"
  if [ "${modes[index]}" = link ]; then
    ln -sfT "${files[index]}" "$place"
  else
    install -T -m "${modes[index]}" "${files[index]}" "$place"
  fi
done
record "${places[@]}" "${kept[@]}"
echo "installed tarn $version: ${#places[@]} files in $to; $PREFIX/share/tarn/scripts/demo.sh shows the whole job"
if [ ${#kept[@]} -gt 0 ]; then
  echo "install: of the version before, these could not be removed:" >&2
  printf '  %s\n' "${kept[@]/#/$to/}" >&2
  exit 1
fi
