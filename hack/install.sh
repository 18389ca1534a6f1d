#!/usr/bin/env bash
# Installs Podferry from this checkout into the cluster of KUBECONFIG, as a user would, by kubectl apply -k.
# Needs what hack/cluster-env.sh exports. Builds and pushes the images first, unless PODFERRY_IMAGES says they are there.
# Prints `export` lines of the test programs' images when called with --test-images.
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$hack")
say() { printf '[install] %s\n' "$*" >&2; }

# has_capability NUMBER: of this shell's effective set
has_capability() {
  local effective
  effective=$(awk '/^CapEff:/ {print $2}' /proc/self/status)
  (((16#$effective >> $1) & 1))
}
readonly cap_sys_resource=24

build() { "$hack/testbed/testbed.sh" build-image "$@" | tail -n 1; }

# kustomize_image NAME REFERENCE: an entry of `images:` for REPOSITORY@DIGEST
kustomize_image() { printf -- '- name: %s\n  newName: %s\n  digest: %s\n' "$1" "${2%@*}" "${2#*@}"; }

say 'bundling'
(cd "$root" && npm run --silent build >&2)

say 'building the images from their Dockerfiles'
operator=$(build operator "$root/operator/Dockerfile" "$root")
webhook=$(build webhook "$root/webhook/Dockerfile" "$root")
agent=$(build agent "$root/agent/Dockerfile" "$root")
# Without CAP_SYS_RESOURCE even a privileged container cannot read the limits of another user's process; the test bed's
# own variant of the agent image answers from /proc. Ordinary nodes have the capability.
if [[ -n ${PODFERRY_TESTBED:-} ]] && ! has_capability $cap_sys_resource; then
  say 'this machine lacks CAP_SYS_RESOURCE: adding the test bed shim to the agent image'
  agent=$(build agent-shim "$hack/testbed/agent-shim/Dockerfile" "$hack/testbed/agent-shim" --build-arg "AGENT=$PODFERRY_REGISTRY/podferry/agent:dev")
fi
if [[ ${1:-} == --test-images ]]; then
  for program in counter static redis programs; do
    reference=$(build "test-$program" "$root/test/e2e/images/$program/Dockerfile" "$root/test/e2e/images/$program")
    printf 'export PODFERRY_IMAGE_%s=%q\n' "${program^^}" "$reference"
  done
fi

overlay=$(mktemp -d)
trap 'rm -rf "$overlay"' EXIT
base=$(realpath --relative-to="$overlay" "$root/manifests/base")
cat > "$overlay/store.yaml" <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: podferry-store, namespace: migration-system}
data:
  endpoint: "$PODFERRY_S3_ENDPOINT"
  region: "$PODFERRY_S3_REGION"
  bucket: "$PODFERRY_S3_BUCKET"
  prefix: podferry
  forcePathStyle: "true"
---
apiVersion: v1
kind: Secret
metadata: {name: podferry-store, namespace: migration-system}
stringData:
  accessKeyId: "$PODFERRY_S3_ACCESS_KEY_ID"
  secretAccessKey: "$PODFERRY_S3_SECRET_ACCESS_KEY"
YAML
cat > "$overlay/agent-image.yaml" <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: podferry-webhook, namespace: migration-system}
spec:
  template:
    spec:
      containers:
      - name: webhook
        env:
        - {name: PODFERRY_AGENT_IMAGE, value: "$agent"}
YAML
budgets=$(realpath --relative-to="$overlay" "$root/manifests/disruption-budgets")
versions=$(kubectl api-versions)
grep -qx policy/v1 <<<"$versions" || budgets=$budgets-v1beta1
{
  printf 'bases: [%s, %s]\nresources: [store.yaml]\npatchesStrategicMerge: [agent-image.yaml]\nimages:\n' "$base" "$budgets"
  kustomize_image podferry/operator "$operator"
  kustomize_image podferry/webhook "$webhook"
} > "$overlay/kustomization.yaml"

say 'applying the manifests'
kubectl apply -k "$overlay" >&2
for deployment in podferry-certs podferry-webhook podferry-operator; do
  kubectl rollout status deployment -n migration-system "$deployment" --timeout=90s >&2
done
kubectl wait --for=condition=Established --timeout=30s crd/{migrations,checkpoints,migratableapps}.migration.io >&2
say "installed; agent image $agent"
