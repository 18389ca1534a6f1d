#!/bin/bash
# agent-root.sh: builds the agent's image of this checkout, whose packages must be installed, and prints the path of a directory with its root file
# system, for tests that run its programs outside a cluster. Cached by the image's id; those of some hours ago are removed.
set -euo pipefail

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in common processes packages base-image images registry; do
  # shellcheck source=/dev/null
  source "$TESTBED/lib/$part.sh"
done

CHECKOUT=$(dirname "$(dirname "$TESTBED")")
IMAGE=$REGISTRY/podferry/agent:dev

# extract_image OUT
extract_image() {
  # one namespace for all: the mount of a container must outlive the command that made it
  buildah_namespace bash -euo pipefail -c '
    container=$(buildah from --pull-never "$1")
    cp -a "$(buildah mount "$container")/." "$2"
    buildah rm "$container" >/dev/null
  ' extract "$IMAGE" "$1"
}

(cd "$CHECKOUT" && npm run --silent build >&2)
make_image agent "$CHECKOUT/agent/Dockerfile" "$CHECKOUT"
id=$(buildah_in_namespace inspect --type image --format '{{.FromImageID}}' "$IMAGE")
name=agent-root-${id:0:16}
build_root() { mkdir "$1" && extract_image "$1"; }
cached "$name" build_root
find "$CACHE" -maxdepth 1 -name 'agent-root-*' ! -name "$name" -cmin +240 -exec rm -rf --one-file-system {} + # a younger one may be in use
echo "$CACHE/$name"
