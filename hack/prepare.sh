#!/usr/bin/env bash
# Brings this checkout's own tools: checks Node, installs the pinned npm packages. Does nothing when they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=20.19.0
have=$(node --version 2>/dev/null | tr -d v || true)
if [[ -z $have || $(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1) != "$wanted" ]]; then
  echo "prepare: Node.js >= $wanted is needed, ${have:-none} is here; install it (see README) and run this again" >&2
  exit 1
fi

lock=package-lock.json installed=node_modules/.package-lock.json
if [[ ! -e $installed || $lock -nt $installed ]]; then
  echo 'prepare: installing npm packages' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch "$installed"
fi
