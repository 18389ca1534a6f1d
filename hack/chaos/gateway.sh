#!/bin/bash
# gateway.sh: prints `export` lines for a gateway of our own to the store of the test bed: PODFERRY_S3_ENDPOINT, where it will answer, and
# PODFERRY_CHAOS_GATEWAY, the words (JSON) that run it in the foreground. The test bed's own gateway is nobody's to kill but the test bed's.
set -euo pipefail

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")/../testbed" && pwd)
for part in common processes packages network base-image store; do
  # shellcheck source=/dev/null
  source "$TESTBED/lib/$part.sh"
done

endpoint=$BRIDGE_IP:7490
namespace=$(pid_of store namespace) || die "the store is not up"
words=(setpriv --pdeathsig KILL -- nsenter --target "$namespace" --mount chroot "$CEPH_ROOT" radosgw -c /store/ceph.conf -n client.rgw.chaos -f
  --rgw-frontends "beast endpoint=$endpoint tcp_nodelay=1")
printf 'export PODFERRY_S3_ENDPOINT=http://%s\n' "$endpoint"
printf 'export PODFERRY_CHAOS_GATEWAY=%q\n' "$(printf '%s\n' "${words[@]}" | node -e \
  'process.stdin.toArray().then((parts) => console.log(JSON.stringify(Buffer.concat(parts).toString().trimEnd().split("\n"))))')"
