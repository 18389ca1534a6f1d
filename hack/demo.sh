#!/usr/bin/env bash
# From nothing to a plain Deployment that is annotated, rolled out, and moved n1 -> n2 -> n1 while it runs.
#   hack/demo.sh [--json] [--keep]   --json: the last line is one JSON object; --keep: leaves the cluster up
#   hack/demo.sh down                removes all that a kept demo left
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."

json='' keep=''
for argument in "$@"; do
  case $argument in
    --json) json=1 ;;
    --keep) keep=1 ;;
    down)
      if [[ -n ${KUBECONFIG:-} ]]; then
        kubectl delete namespace podferry-demo --ignore-not-found >&2
        kubectl delete -k manifests/base --ignore-not-found >&2
      else
        "$hack/testbed/testbed.sh" down >&2
      fi
      exit 0
      ;;
    *) sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

started=''
finish() {
  local status=$?
  if [[ -n $started && -z $keep ]]; then "$hack/testbed/testbed.sh" down >&2 || status=1; fi
  # the JSON object is the very last line
  if [[ -n $json && -s ${result:-} ]]; then cat "$result"; fi
  rm -f "${result:-}"
  exit "$status"
}
trap finish EXIT
result=$(mktemp)

"$hack/prepare.sh"
if [[ -z ${KUBECONFIG:-} ]] && ! "$hack/testbed/testbed.sh" status >/dev/null 2>&1; then started=1; fi
cluster_env=$("$hack/cluster-env.sh")
eval "$cluster_env"
images=$("$hack/install.sh" --test-images)
eval "$images"
PODFERRY_DEMO_RESULT=$result node_modules/.bin/tsx hack/demo.ts ${keep:+--keep}
