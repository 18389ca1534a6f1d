# Building the project's Dockerfiles with buildah, and pushing to the test bed's registry. Sourced.
# shellcheck shell=bash

BUILDAH=$CACHE/buildah
LAYERS_KEPT=300 # more than this and the layer cache starts anew

# build_image NAME DOCKERFILE CONTEXT [BUILDAH ARGS...]: prints the reference by digest
build_image() {
  make_image "$@"
  push_image "$REGISTRY/podferry/$1:dev"
}

# make_image NAME DOCKERFILE CONTEXT [BUILDAH ARGS...]: the same, kept where it was built
make_image() {
  local name=$1 dockerfile=$2 context=$3 image=$REGISTRY/podferry/$1:dev
  shift 3
  packages "${IMAGE_PACKAGES[@]}"
  ensure_base_tar
  lock images
  prepare_buildah
  log "image $name: building"
  # stdout is for the reference
  buildah_in_namespace bud --isolation chroot --network host --pull-never --layers --format oci --timestamp "$SOURCE_DATE_EPOCH" \
    --volume "$BUILDAH/debian.sources:/etc/apt/sources.list.d/debian.sources:ro" --file "$dockerfile" --tag "$image" "$@" "$context" >&2
}

# push_image IMAGE: to the registry, which is started when it is not there
push_image() {
  local digest
  ensure_registry
  buildah_in_namespace push --quiet --tls-verify=false --digestfile "$BUILDAH/digest" "$1" "docker://$1" >&2
  digest=$(<"$BUILDAH/digest")
  log "pushed $1"
  echo "${1%:*}@$digest"
}

# push_base_image: so that pods can be made from the base image as well
push_base_image() {
  ensure_base_tar
  lock images
  prepare_buildah
  buildah_in_namespace tag "$BASE_IMAGE" "$REGISTRY/${BASE_IMAGE#*/}"
  push_image "$REGISTRY/${BASE_IMAGE#*/}" >/dev/null
}

base_image_pushed() {
  local name=${BASE_IMAGE#*/}
  curl --silent --fail --max-time 2 --output /dev/null --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://$REGISTRY/v2/${name%:*}/manifests/${name##*:}"
}

# prepare_buildah: configuration and base image; nothing is written outside the cache
prepare_buildah() {
  if (($(find "$BUILDAH/storage/overlay" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l) > LAYERS_KEPT)); then
    rm -rf --one-file-system "$BUILDAH"
  fi
  mkdir -p "$BUILDAH"/{storage,run,tmp}
  rm -rf --one-file-system "$BUILDAH"/tmp/*
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$BUILDAH/storage" "$BUILDAH/run" >"$BUILDAH/storage.conf"
  printf 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n' >"$BUILDAH/registries.conf"
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$BUILDAH/policy.json"
  debian_sources >"$BUILDAH/debian.sources"
  buildah_in_namespace rm --all >/dev/null 2>&1 || true # what a killed build left
  import_base_image
}

# debian_sources: the machine's mirror for the base image's suite, mounted over the image's own file while RUN lines run
debian_sources() {
  local kind suites
  for kind in main security; do
    [[ -n $(debian_mirror $kind) ]] || continue
    case $kind in
      main) suites="$BASE_SUITE $BASE_SUITE-updates" ;;
      security) suites=$BASE_SUITE-security ;;
    esac
    printf '%s\n' 'Types: deb' "URIs: $(debian_mirror $kind)" "Suites: $suites" 'Components: main' \
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' 'Check-Valid-Until: no' 'Check-Date: no' ''
  done
}

# import_base_image: under the name that Dockerfiles use
import_base_image() {
  if buildah_in_namespace inspect --type image "$BASE_IMAGE" >/dev/null 2>&1; then return 0; fi
  # one namespace for all four: a container's mount must outlive the command that made it
  buildah_namespace bash -euo pipefail -c '
    container=$(buildah from --pull-never scratch)
    buildah add --quiet "$container" "$1" /
    buildah config --created-by "debian packages" --cmd "[\"bash\"]" \
      --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm --format oci --timestamp "$SOURCE_DATE_EPOCH" "$container" "$2"
  ' import "$CACHE/$BASE_TAR" "$BASE_IMAGE" >/dev/null
}

buildah_in_namespace() {
  buildah_namespace buildah "$@"
}

# buildah_namespace COMMAND...: with a mount namespace and a record of mounts that vanish together, so that a killed
# build leaves no mounts, nor a record of mounts that are gone
buildah_namespace() {
  CONTAINERS_STORAGE_CONF=$BUILDAH/storage.conf CONTAINERS_REGISTRIES_CONF=$BUILDAH/registries.conf \
    TMPDIR=$BUILDAH/tmp BUILDAH_ISOLATION=chroot \
    nice -n 5 unshare --mount --propagation private "$TESTBED/lib/buildah-namespace.sh" "$BUILDAH" "$@"
}
