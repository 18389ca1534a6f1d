#!/usr/bin/env bash
# The kill campaign: moves a process again and again with the real agent, CRIU and object store, kills something each time, and looks from outside
# whether the process is still one, whole, and running, and whether every checkpoint that exists can be read.
#   hack/chaos.sh [--runs N] [--seed S] [--faults agent,criu,page-server,store] [--resume FILE]
#     --runs N       200; --seed S: 1; every run follows from the seed and its number
#     --faults ...   who is killed: the agents, criu's dump and restore, the filler that lazy pages come through, radosgw; all of them
#     --resume FILE  goes on where the campaign that wrote FILE ended
# Needs root, crun, gcc, musl-gcc, and nothing of the cluster. The radosgw that is killed is one of its own, in front of the test bed's Ceph.
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."
testbed=$hack/testbed/testbed.sh

options=()
while (($# > 0)); do
  case $1 in
    --runs | --seed | --faults | --resume) options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    *) sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

has_started=''
finish() {
  local status=$?
  if [[ -n $has_started ]]; then "$testbed" down --store >&2 || status=1; fi
  exit "$status"
}
trap finish EXIT

"$hack/prepare.sh"
if [[ -z ${PODFERRY_S3_ENDPOINT:-} ]]; then
  if ! "$testbed" status --store >/dev/null 2>&1; then has_started=1; fi
  "$testbed" up --store >&2
  store_env=$("$testbed" env | grep PODFERRY_S3_)
  eval "$store_env"
  gateway=$("$hack/chaos/gateway.sh")
  eval "$gateway"
fi
if [[ -z ${PODFERRY_AGENT_ROOT:-} ]]; then
  PODFERRY_AGENT_ROOT=$("$hack/testbed/agent-root.sh" | tail -n 1)
  export PODFERRY_AGENT_ROOT
fi
NODE_NO_WARNINGS=1 node --import tsx hack/chaos/main.ts "${options[@]}"
