# The Debian packages the test bed runs on. Sourced.
# shellcheck shell=bash

CLUSTER_PACKAGES=(
  etcd-server containerd crun containernetworking-plugins dnsmasq-base iproute2 openssl curl util-linux gcc libc6-dev
  iptables conntrack ebtables kmod # called by kube-proxy and the kubelet
)
API_PACKAGES=(etcd-server openssl curl)
BUILD_PACKAGES=(golang-1.19-go dpkg-dev)
IMAGE_PACKAGES=(buildah mmdebstrap curl)
REGISTRY_PACKAGES=(docker-registry iproute2 curl)
STORE_PACKAGES=(mmdebstrap iproute2 curl)

# packages NAME...: installs those that are missing
packages() {
  local missing=() name
  for name in "$@"; do
    [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
  done
  ((${#missing[@]} > 0)) || return 0
  log "installing ${missing[*]}"
  keep_services_stopped
  install_packages "${missing[@]}" || { apt_get update && install_packages "${missing[@]}"; } ||
    die "apt-get could not install ${missing[*]}: see $CACHE/apt.log"
}

apt_get() {
  mkdir -p "$CACHE"
  DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet -o DPkg::Lock::Timeout=600 "$@" >>"$CACHE/apt.log" 2>&1
}

install_packages() {
  apt_get install --yes --no-install-recommends "$@"
}

# The packages bring services (etcd, containerd, the registry); the test bed starts its own. On a machine with an
# init system they would start at installation: a machine that has no policy of its own gets one that says no.
keep_services_stopped() {
  [[ -e /usr/sbin/policy-rc.d ]] || install -m 755 /dev/stdin /usr/sbin/policy-rc.d <<<$'#!/bin/sh\nexit 101'
}
