#!/usr/bin/env bash
# Installs the Debian packages that are missing, make among them, and those named
# as arguments; does nothing when none is. Needs a shell and apt, nothing else.
set -euo pipefail

packages=(
  libsqlite3-dev libcurl4-openssl-dev
  libfaiss-dev libopenblas-dev libdnnl-dev
  libsnappy-dev libzstd-dev zlib1g-dev
  make g++ nginx-light sqlite3 curl ca-certificates git pkg-config
  python3 python3-venv "$@"
)

if ! command -v swift >/dev/null; then
  echo "deps: no swift in PATH; install Swift 6.2 or later from https://www.swift.org/install/linux/" >&2
  exit 1
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps: not a Debian system; these packages, or what they are called here, must be installed:" >&2
  echo "  ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "deps: installing ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "deps: not root and no sudo; install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

# Debian starts a service as it is installed. The demo and the tests run their own
# nginx and Slurm, on ports and with configurations of their own; the system's stay down.
services=()
if [[ " ${missing[*]} " == *" nginx-light "* ]] && ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ]; then
  services+=(nginx)
fi
[[ " ${missing[*]} " != *" munge "* ]] || services+=(munge)
[[ " ${missing[*]} " != *" slurm-wlm "* ]] || services+=(slurmctld slurmd)
if [ ${#services[@]} -gt 0 ]; then
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
    "${as_root[@]}" chmod 755 /usr/sbin/policy-rc.d
    trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
  fi
fi

"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  "${missing[@]}" </dev/null >/dev/null

if [ ${#services[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
  for service in "${services[@]}"; do "${as_root[@]}" systemctl disable --quiet "$service.service" || true; done
fi
