#!/bin/bash
# buildah-namespace.sh DIR COMMAND...: runs a command of buildah. Started in a mount namespace of its own.
set -euo pipefail
dir=$1
shift

mount -t tmpfs tmpfs "$dir/run"
# --signature-policy is not an option of every subcommand; this file is where all of them look
mount -t tmpfs tmpfs /etc/containers
cp "$dir/policy.json" /etc/containers/policy.json
exec "$@"
