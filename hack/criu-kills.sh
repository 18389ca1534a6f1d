#!/usr/bin/env bash
# Kills `criu dump` at each of its calls of ptrace, wait4, send and recv, one after another, before the call, after it, and some milliseconds later, in
# programs of several shapes that notice when they are disturbed, and looks whether each goes on as if nothing had happened and can still be moved.
#   hack/criu-kills.sh [--shapes sleep,poll,threads,tree] [--every N] [--from CALL] [--moves N]
#     --every N   every Nth call; 1: all of them
#     --from CALL the first one; 1
#     --moves N   the program is checkpointed and restored after every N kills; 25
# Needs root, gcc, musl-gcc and the root file system of the agent's image (PODFERRY_AGENT_ROOT); no cluster and no store.
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."

options=()
while (($# > 0)); do
  case $1 in
    --shapes | --every | --from | --moves) options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    *) sed -n '2,8s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

"$hack/prepare.sh"
if [[ -z ${PODFERRY_AGENT_ROOT:-} ]]; then
  PODFERRY_AGENT_ROOT=$("$hack/testbed/agent-root.sh" | tail -n 1)
  export PODFERRY_AGENT_ROOT
fi
NODE_NO_WARNINGS=1 node --import tsx hack/criu-kills/main.ts "${options[@]}"
