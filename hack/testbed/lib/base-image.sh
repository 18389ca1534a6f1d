# The base image that Dockerfiles name, made from Debian packages (no registry to pull it from here). Sourced.
# shellcheck shell=bash

BASE_SUITE=trixie
BASE_IMAGE=docker.io/library/debian:$BASE_SUITE-slim
BASE_TAR=base-$BASE_SUITE-r1.tar
SOURCE_DATE_EPOCH=1700000000 # one date for everything in an image: the same input gives the same digest
export SOURCE_DATE_EPOCH

ensure_base_tar() {
  [[ ! -e $CACHE/$BASE_TAR ]] || return 0
  packages "${IMAGE_PACKAGES[@]}"
  cached "$BASE_TAR" build_base_tar
}

# build_base_tar OUT: a root like debian:SUITE-slim, without documentation, apt lists and anything of this machine
build_base_tar() {
  log "base image: building from packages"
  local excludes=() path hooks
  for path in doc man info locale groff lintian linda; do excludes+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
  hooks=$TESTBED/lib/base-image-hook.sh
  TMPDIR=$CACHE isolated_mmdebstrap --format=tar "${excludes[@]}" --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --aptopt='Acquire::Languages "none"' --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' \
    --customize-hook="$hooks" "$BASE_SUITE" "$1" "$(debian_source_line "$BASE_SUITE")"
  log "base image: built"
}

# isolated_mmdebstrap ARGS...: in a mount namespace of its own, so that a killed one leaves no mounts under its target
isolated_mmdebstrap() {
  nice -n 5 unshare --mount --propagation private mmdebstrap --mode=root --variant=minbase --quiet \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' "$@" >>"$CACHE/mmdebstrap.log" 2>&1
}

debian_source_line() {
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $1 main"
}
