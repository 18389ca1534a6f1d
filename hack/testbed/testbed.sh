#!/bin/bash
# The test bed: a two-node Kubernetes, an object store and an image registry on this machine, from Debian packages.
set -euo pipefail

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in common processes packages network kubernetes base-image pause-image images registry store pki control-plane dns node parts; do
  # shellcheck source=/dev/null
  source "$TESTBED/lib/$part.sh"
done

usage() {
  cat <<'TEXT'
usage: testbed.sh COMMAND

  up                    cluster (nodes n1 and n2), object store and registry; does nothing when all of it is healthy
  up --api-only         etcd and an API server on loopback, beside whatever else is up
  up --store            the object store alone
  up --registry         the registry alone
  down [--api-only | --store | --registry]
                        ends that part, or without a flag everything, and leaves the machine as it was
  status [--api-only | --store | --registry]
                        one line per component; exits 0 when all of that part (without a flag: of what `up` starts) is healthy
  env [--api-only]      `export` lines for a shell: KUBECONFIG, PODFERRY_REGISTRY, PODFERRY_S3_*
  kubectl [--api-only] ARGS...
  node-exec NODE COMMAND...
                        in the network and mount namespace of n1 or n2
  node-stop NODE DAEMON, node-start NODE DAEMON
                        containerd, kubelet or kube-proxy; containers keep running
  store-stop, store-start
                        connections to the store are refused in between; its data stays
  build-image NAME DOCKERFILE CONTEXT [BUILDAH ARGS...]
                        builds and pushes podferry/NAME:dev; the last line printed is the reference by digest

Caches are in ${PODFERRY_CACHE:-$HOME/.cache/podferry}, state in /var/lib/podferry-testbed.
TEXT
}

# node_number NODE
node_number() {
  local n
  for n in "${NODES[@]}"; do [[ $1 != "n$n" ]] || { echo "$n"; return; }; done
  die "no node is called $1"
}

# node_daemon DAEMON
node_daemon() {
  local name
  for name in "${NODE_DAEMONS[@]}"; do [[ $1 != "$name" ]] || return 0; done
  die "a node has no daemon $1 (${NODE_DAEMONS[*]})"
}

# api_scope ARGS...: which API server `--api-only` as first argument chooses
api_scope() {
  if [[ ${1:-} == --api-only ]]; then echo api; else echo cluster; fi
}

print_env() {
  local scope
  scope=$(api_scope "$@")
  printf 'export PATH=%q:"$PATH"\n' "$KUBERNETES_BIN" # kubectl
  printf 'export %s=%q\n' KUBECONFIG "$(kubeconfig "$scope")" PODFERRY_REGISTRY "$REGISTRY" \
    PODFERRY_S3_ENDPOINT "$STORE_ENDPOINT" PODFERRY_S3_BUCKET "$STORE_BUCKET" PODFERRY_S3_REGION "$STORE_REGION" \
    PODFERRY_S3_ACCESS_KEY_ID "$STORE_ACCESS_KEY" PODFERRY_S3_SECRET_ACCESS_KEY "$STORE_SECRET_KEY" \
    PODFERRY_S3_ROLE_ARN "$STORE_ROLE_ARN"
}

main() {
  local command=${1:-} n
  shift || true
  case $command in
    up | down | status)
      case ${1:-} in
        '') "everything_$command" ;;
        --api-only) "api_only_$command" ;;
        --store) "store_only_$command" ;;
        --registry) "registry_only_$command" ;;
        *) die "unknown option $1" ;;
      esac
      ;;
    env) print_env "$@" ;;
    kubectl)
      local scope
      scope=$(api_scope "$@")
      [[ $scope == cluster ]] || shift
      exec "$KUBERNETES_BIN/kubectl" --kubeconfig "$(kubeconfig "$scope")" "$@"
      ;;
    node-exec)
      n=$(node_number "${1:?a node}")
      shift
      in_node "$n" "$@"
      ;;
    node-stop)
      n=$(node_number "${1:?a node}")
      node_daemon "${2:?a daemon}"
      stop_daemon "n$n" "$2"
      ;;
    node-start)
      n=$(node_number "${1:?a node}")
      node_daemon "${2:?a daemon}"
      pid_of "n$n" "$2" >/dev/null || "start_$2" "$n"
      if [[ $2 == kubelet ]]; then wait_for 60 "the kubelet of n$n" kubelet_healthy "$n"; fi
      ;;
    store-stop) gateway_stop ;;
    store-start) gateway_start ;;
    build-image)
      (($# >= 3)) || die "build-image needs a name, a Dockerfile and a context"
      build_image "$@"
      ;;
    help | --help | -h) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
