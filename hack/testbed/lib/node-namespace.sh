#!/bin/bash
# node-namespace.sh DIR: prepares a node's mount namespace and stays, so that the namespaces stay.
# Started in a network and a mount namespace of its own, which follows the host's mounts but shows it none.
set -euo pipefail
dir=$1

# crun refuses a cgroup v2 mount beside v1's when v2 holds a controller
umount /sys/fs/cgroup/unified 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount --bind "$dir/var-log" /var/log
mount --make-rshared /
touch "$dir/ready/mounts"
exec sleep infinity
