#!/bin/sh
# Run by mmdebstrap with the new root as its argument: leaves what Debian's own slim image has in /etc/apt, and no more.
set -eu
root=$1

rm -f "$root"/var/cache/apt/*.bin "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
  "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/resolv.conf "$root"/etc/hostname

# A mount point for build-image, which puts the machine's own mirror over it while RUN lines run.
printf '# see build-image\n' >"$root/etc/apt/sources.list.d/debian.sources"

cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'CONF'
Acquire::Languages "none";
Apt::AutoRemove::SuggestsImportant "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
CONF
