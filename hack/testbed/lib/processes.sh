# Starting, watching and ending processes. Sourced.
# shellcheck shell=bash
#
# Every process started here joins a cgroup of ours before it runs, and its children stay in it. Ending a part means
# ending what its cgroup holds, so nothing is missed when a command is killed at a bad moment and nothing else is hit.
# A record (pid, start time, boot) serves `status` and the commands that stop one daemon.

SCOPES=$CGROUPS/pids/podferry

# scope_dir SCOPE: a node's scope is inside that node's own cgroup root, the others are together
scope_dir() {
  case $1 in
    n[0-9]*) echo "$CGROUPS/pids/podferry-$1/daemons" ;;
    *) echo "$SCOPES/$1" ;;
  esac
}

join_scope() {
  local dir
  dir=$(scope_dir "$1")
  mkdir -p "$dir"
  echo "$BASHPID" >"$dir/cgroup.procs"
}

# identity PID: start time and boot, so that a recycled pid is never taken for ours
identity() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the command name may hold spaces
  # shellcheck disable=SC2086 # the fields are wanted one by one; 20 further on is the start time
  set -- $stat
  [[ $1 != Z ]] || return 1
  echo "${20} $(</proc/sys/kernel/random/boot_id)"
}

# spawn SCOPE NAME COMMAND...: in the background, its output in the scope's log directory
spawn() {
  local scope=$1 name=$2 dir=$STATE/$1
  shift 2
  mkdir -p "$dir/pids" "$dir/log"
  (
    drop_locks
    join_scope "$scope"
    exec setsid "$@"
  ) </dev/null >>"$dir/log/$name.log" 2>&1 &
  record "$scope" "$name" $!
  disown $! # bash has nothing to say when it ends
}

record() {
  local file=$STATE/$1/pids/$2
  echo "$3 $(identity "$3")" >"$file.new" || { rm -f "$file.new"; die "$2 ended at once: see $STATE/$1/log/$2.log"; }
  mv "$file.new" "$file"
}

# pid_of SCOPE NAME: prints the pid when that very process is alive
pid_of() {
  local pid known
  [[ -s $STATE/$1/pids/$2 ]] || return 1
  read -r pid known <"$STATE/$1/pids/$2"
  [[ $(identity "$pid") == "$known" ]] || return 1
  echo "$pid"
}

# stop_daemon SCOPE NAME: this process only, TERM and after 5 s KILL
stop_daemon() {
  local pid signal tries
  for signal in TERM KILL; do
    for ((tries = 0; tries < 50; tries++)); do
      pid=$(pid_of "$1" "$2") || { rm -f "$STATE/$1/pids/$2"; return 0; }
      ((tries > 0)) || kill -"$signal" "$pid" 2>/dev/null || true
      sleep 0.1
    done
  done
  die "$2 (pid $pid) does not end"
}

# kill_cgroup DIR: kills all processes in a cgroup and those below it, however often they fork
kill_cgroup() {
  local dir=$1 tries pids
  [[ -d $dir ]] || return 0
  for ((tries = 0; tries < 100; tries++)); do
    # 0 stands for a process of another pid namespace, which cannot be ours
    pids=$(find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -v '^0$' | sort -u || true)
    [[ -n $pids ]] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
  log "some processes in $dir do not end: $(tr '\n' ' ' <<<"$pids")"
}

remove_cgroup() {
  [[ -d $1 ]] || return 0
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || { sleep 0.3; find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
}

# end_scope SCOPE: all of its processes, at once; what they leave behind is for the caller to remove
end_scope() {
  kill_cgroup "$(scope_dir "$1")"
  remove_cgroup "$(scope_dir "$1")"
  rmdir "$SCOPES" 2>/dev/null || true
}

# job NAME FUNCTION...: a part of `up` beside the others; join_jobs waits for all of them
declare -A JOBS=()
job() {
  local name=$1
  shift
  mkdir -p "$STATE/jobs"
  (
    drop_locks
    join_scope jobs
    "$@"
  ) </dev/null &
  JOBS[$name]=$!
}

# join_job NAME: waits for one job
join_job() {
  local pid=${JOBS[$1]}
  unset "JOBS[$1]"
  wait "$pid" || die "$1 failed"
}

join_jobs() {
  local name
  for name in "${!JOBS[@]}"; do join_job "$name"; done
}
