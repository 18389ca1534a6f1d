#!/usr/bin/env bash
# Sets everything up and passes the tests; the last line is "N passed, N failed".
#   hack/test.sh                      verify, unit, integration, e2e
#   hack/test.sh unit|integration|e2e [mocha arguments]
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."
suite=${1:-all}
shift || true
results=$(mktemp -d)
started_testbed='' started_api=''

finish() {
  local status=$?
  [[ -z $started_api ]] || "$hack/testbed/testbed.sh" down --api-only >&2 || status=1
  if [[ -n $started_testbed && -z ${PODFERRY_KEEP:-} ]]; then "$hack/testbed/testbed.sh" down >&2 || status=1; fi
  node "$hack/sum-results.mjs" "$results" "$status" || status=1
  rm -rf "$results"
  exit "$status"
}
trap finish EXIT

# run_mocha NAME ARGS...: prints as it goes and leaves the counts in $results; a failure is remembered, not fatal
failed=''
run_mocha() {
  local name=$1
  shift
  echo "== $name" >&2
  PODFERRY_RESULTS="$results/$name.json" node_modules/.bin/mocha --reporter "$hack/counting-reporter.mjs" "$@" || failed=1
}

"$hack/prepare.sh"

if [[ $suite == all ]]; then
  "$hack/verify.sh"
fi

if [[ $suite == all || $suite == unit ]]; then
  run_mocha unit 'test/unit/**/*.test.ts' 'test/golden/**/*.test.ts' "$@"
fi

# The cluster comes first: the integration tests use its store.
if [[ $suite != unit ]]; then
  if [[ -z ${KUBECONFIG:-} ]] && ! "$hack/testbed/testbed.sh" status >/dev/null 2>&1; then started_testbed=1; fi
  cluster_env=$("$hack/cluster-env.sh")
  eval "$cluster_env"
fi

if [[ $suite == all || $suite == integration ]]; then
  if ! "$hack/testbed/testbed.sh" status --api-only >/dev/null 2>&1; then started_api=1; fi
  "$hack/testbed/testbed.sh" up --api-only >&2
  KUBECONFIG_API=$("$hack/testbed/testbed.sh" env --api-only | sed -n 's/^export KUBECONFIG=//p')
  PODFERRY_AGENT_ROOT=$("$hack/testbed/agent-root.sh" | tail -n 1)
  export KUBECONFIG_API PODFERRY_AGENT_ROOT
  run_mocha integration 'test/integration/**/*.test.ts' "$@"
fi

if [[ $suite == all || $suite == e2e ]]; then
  images=$("$hack/install.sh" --test-images)
  eval "$images"
  run_mocha e2e 'test/e2e/**/*.test.ts' "$@"
fi

[[ -z $failed ]]
