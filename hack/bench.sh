#!/usr/bin/env bash
# Measures Podferry beside plain CRIU on this machine, and says where the time goes.
#   hack/bench.sh [dump|restore|delta|freeze|webhook|all|generations]... [--full | --sizes=MIB,...] [--json]
#     dump, restore, delta   processes of this machine, an object store; freeze: moves between the nodes of the cluster
#     webhook                admission beside a webhook that does nothing, through an API server without nodes
#     generations            one process moved 51 times by real agents, without a cluster; not part of all: it takes its time
#     --full   all sizes that fit into memory, not only the quick ones; webhook: for longer
#     --json   the last lines are one JSON object for each benchmark
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."

json='' options=() names=()
for argument in "$@"; do
  case $argument in
    --json) json=1 ;;
    --full) options+=(--full) ;;
    --sizes=*) options+=("$argument") ;;
    dump | restore | delta | freeze | webhook | all | generations) names+=("$argument") ;;
    *) sed -n '2,8s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
((${#names[@]} > 0)) || names=(all)
testbed=$hack/testbed/testbed.sh

started=()
result=$(mktemp)
finish() {
  local status=$? part
  for part in "${started[@]}"; do
    # shellcheck disable=SC2086 # nothing: the whole test bed
    "$testbed" down $part >&2 || status=1
  done
  if [[ -n $json ]]; then cat "$result"; fi
  rm -f "$result"
  exit "$status"
}
trap finish EXIT

# up [PART]: brings it up, to be taken down at the end unless it was there
up() {
  if ! "$testbed" status "$@" >/dev/null 2>&1; then started=("${1:-}" "${started[@]}"); fi
  "$testbed" up "$@" >&2
}

"$hack/prepare.sh"
if [[ " ${names[*]} " =~ \ (freeze|all)\  ]]; then
  if [[ -z ${KUBECONFIG:-} ]] && ! "$testbed" status >/dev/null 2>&1; then started=(''); fi
  cluster_env=$("$hack/cluster-env.sh")
  eval "$cluster_env"
  "$hack/install.sh"
  workload=$("$testbed" build-image bench-workload "$hack/programs/workload/Dockerfile" "$hack/programs/workload" | tail -n 1)
  export PODFERRY_IMAGE_BENCH_WORKLOAD=$workload
elif [[ ${names[*]} != webhook && -z ${PODFERRY_S3_ENDPOINT:-} ]]; then
  up --store
  store_env=$("$testbed" env | grep PODFERRY_S3_)
  eval "$store_env"
fi
if [[ ${names[*]} != webhook && -z ${PODFERRY_AGENT_ROOT:-} ]]; then
  PODFERRY_AGENT_ROOT=$("$hack/testbed/agent-root.sh" | tail -n 1)
  export PODFERRY_AGENT_ROOT
fi
if [[ " ${names[*]} " =~ \ (webhook|all)\  ]]; then
  up --api-only
  KUBECONFIG_API=$("$testbed" env --api-only | sed -n 's/^export KUBECONFIG=//p')
  export KUBECONFIG_API
  node hack/bundle.mjs
fi
node hack/bench/bundle.mjs
PODFERRY_BENCH_RESULT=$result NODE_NO_WARNINGS=1 node dist/bench/main.mjs "${names[@]}" "${options[@]}"
