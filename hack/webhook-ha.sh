#!/usr/bin/env bash
# The webhook's availability: asks for Deployments at a fixed rate while both replicas are restarted in turn, the certificate and its CA are
# rotated and the operator's leader changes. Each Deployment has opted in, so one that is refused or comes back uninjected is a failure.
#   hack/webhook-ha.sh [--seconds N] [--rate N]
#     --seconds N  600: for at least so long; --rate N: 50 each second
# Installs this checkout into the cluster of hack/cluster-env.sh. Exit code 1: a Deployment failed.
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."

options=()
while (($# > 0)); do
  case $1 in
    --seconds | --rate) options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    *) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

has_started=''
finish() {
  local status=$?
  if [[ -n $has_started ]]; then "$hack/testbed/testbed.sh" down >&2 || status=1; fi
  exit "$status"
}
trap finish EXIT

"$hack/prepare.sh"
export PATH=$PWD/node_modules/.bin:$PATH
if [[ -z ${KUBECONFIG:-} ]] && ! "$hack/testbed/testbed.sh" status >/dev/null 2>&1; then has_started=1; fi
cluster_env=$("$hack/cluster-env.sh")
eval "$cluster_env"
"$hack/install.sh"
NODE_NO_WARNINGS=1 node --import tsx hack/webhook-ha/main.ts "${options[@]}"
