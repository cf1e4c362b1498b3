#!/usr/bin/env bash
# Prints the commit of this tree: of a clone by git, with "+changes" where files differ
# from it; of an export without git by the line below, which `git archive` fills in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exported='$Format:%H$'

if [ -e .git ] && commit=$(git describe --always --abbrev=12 --exclude='*' --dirty=+changes 2>/dev/null); then
  echo "$commit"
elif [[ $exported != *Format* ]]; then
  echo "${exported:0:12}"
else
  echo unknown
fi
