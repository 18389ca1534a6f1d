#!/usr/bin/env bash
# Prints `export` lines for the cluster to work on: the one of KUBECONFIG when that is set (then PODFERRY_S3_* and
# PODFERRY_REGISTRY must be set too), else our own test bed, which is brought up first.
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ -n ${KUBECONFIG:-} ]]; then
  for name in PODFERRY_REGISTRY PODFERRY_S3_ENDPOINT PODFERRY_S3_BUCKET PODFERRY_S3_REGION PODFERRY_S3_ACCESS_KEY_ID PODFERRY_S3_SECRET_ACCESS_KEY; do
    [[ -n ${!name:-} ]] || { echo "cluster-env: KUBECONFIG is set, so $name must be set as well" >&2; exit 1; }
  done
  exit 0
fi
"$hack/testbed/testbed.sh" up >&2
"$hack/testbed/testbed.sh" env
printf 'export PODFERRY_TESTBED=%q\n' "$hack/testbed/testbed.sh"
