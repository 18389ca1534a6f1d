#!/bin/bash
# store-namespace.sh ROOT DATA: gives Ceph's root what its daemons need and stays, so that the mount namespace stays.
# Started in a mount namespace of its own.
set -euo pipefail
root=$1 data=$2

for dir in proc sys dev dev/pts; do mount --bind "/$dir" "$root/$dir"; done
mount --bind "$data" "$root/store"
touch "$data/mounted"
exec sleep infinity
