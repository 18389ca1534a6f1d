# Constants and small helpers shared by every part of the test bed. Sourced, never run.
# shellcheck shell=bash

CACHE=${PODFERRY_CACHE:-$HOME/.cache/podferry}   # costs time to lose, nothing else
STATE=/var/lib/podferry-testbed                  # dies with `down`
CGROUPS=/sys/fs/cgroup                           # cgroup v1: one directory per hierarchy

BRIDGE=podferry0
BRIDGE_IP=10.77.0.1
REGISTRY=$BRIDGE_IP:5000
NODES=(1 2)

STARTED_AT=${EPOCHREALTIME/./}

# log MESSAGE: progress, with the time since this command began
log() {
  local took=$(( ${EPOCHREALTIME/./} - STARTED_AT ))
  printf '[+%d.%ds] %s\n' $((took / 1000000)) $((took / 100000 % 10)) "$*" >&2
}

die() {
  log "error: $*"
  exit 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; dies with WHAT when it never does
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || die "gave up waiting for $what"
    sleep 0.1
  done
}

# lock NAME: serialises the commands that change a part; released when this process ends.
# Daemons and background jobs must not inherit it (see drop_locks), or a killed `up` would block the next.
HELD_LOCKS=()
lock() {
  local fd
  exec {fd}>"/run/podferry-testbed-$1.lock"
  if ! flock --nonblock "$fd"; then
    log "waiting for another testbed command ($1)"
    flock --timeout 1800 "$fd" || die "another testbed command holds the lock ($1)"
  fi
  HELD_LOCKS+=("$fd")
}

drop_locks() {
  local fd
  for fd in "${HELD_LOCKS[@]}"; do exec {fd}>&-; done
  HELD_LOCKS=()
}

# cached NAME BUILDER...: makes $CACHE/NAME once. BUILDER gets a temporary path and fills it (a file or a directory);
# only a finished one is renamed into place, so a killed build leaves nothing that looks like a result.
# Children keep the lock open on purpose: an orphan still writing the temporary path keeps others away.
cached() {
  local name=$1 fd temporary=$CACHE/.building-$1
  shift
  [[ ! -e $CACHE/$name ]] || return 0
  mkdir -p "$CACHE"
  exec {fd}>"$CACHE/.lock-$name"
  flock "$fd"
  if [[ ! -e $CACHE/$name ]]; then
    rm -rf --one-file-system "$temporary"
    "$@" "$temporary"
    sync -f "$temporary"
    mv "$temporary" "$CACHE/$name"
  fi
  exec {fd}>&-
}

# debian_mirror [security]: this machine's own mirror; its name is never written in a file of the project
debian_mirror() {
  local wanted=${1:-main}
  awk -v wanted="$wanted" '
    /^URIs:/ { uri = $2 }
    /^Suites:/ { kind = ($2 ~ /-security/) ? "security" : "main"; if (kind == wanted) { print uri; exit } }
  ' /etc/apt/sources.list.d/debian.sources
}
