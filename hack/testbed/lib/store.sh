# The object store: Ceph's RGW with a monitor and one OSD, from Debian packages in a root of their own. Sourced.
# shellcheck shell=bash

CEPH_ROOT=$CACHE/ceph-$BASE_SUITE-r1
STORE=$STATE/store
STORE_SEED=store-r2 # raise when what build_store_seed makes changes
STORE_FSID=6f1c5ce5-7e55-4f7b-9d5e-0f5c7b1d9a10 # any
STORE_ENDPOINT=http://$BRIDGE_IP:7480
STORE_BUCKET=podferry
STORE_REGION=us-east-1
STORE_ACCESS_KEY=podferry-testbed
STORE_SECRET_KEY=podferry-testbed-secret
STORE_ROLE=podferry-agent
STORE_ROLE_ARN=arn:aws:iam:::role/$STORE_ROLE
MONITOR=127.0.0.1:13300 # loopback: only RGW is for others

ensure_ceph_root() {
  [[ ! -d $CEPH_ROOT ]] || return 0
  packages "${STORE_PACKAGES[@]}"
  cached "${CEPH_ROOT##*/}" build_ceph_root
}

build_ceph_root() {
  log "store: installing Ceph"
  isolated_mmdebstrap --format=directory --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --include=ceph-mon,ceph-osd,radosgw,ceph-common --customize-hook='mkdir "$1"/store' \
    "$BASE_SUITE" "$1" "$(debian_source_line "$BASE_SUITE")"
  log "store: Ceph installed"
}

# store_up: a copy of a store that has been initialised once (which takes 15 s) is started in 3 s
store_up() {
  ensure_ceph_root
  if store_healthy; then return 0; fi
  store_down
  cached "$STORE_SEED" build_store_seed
  log "store: starting"
  mkdir -p "$STORE/data"
  cp --archive --sparse=always "$CACHE/$STORE_SEED/." "$STORE/data/"
  store_namespace
  spawn_in_store mon ceph-mon -i a -f
  spawn_in_store osd ceph-osd -i 0 -f
  gateway_start
  log "store: ready at $STORE_ENDPOINT"
}

# build_store_seed OUT: initialises a store with its user and bucket, stops it and copies its data
build_store_seed() {
  log "store: initialising"
  mkdir -p "$STORE"/data/{mon,osd,run,log} "$STORE/log"
  store_namespace
  in_store ceph-mon -i a --mkfs --fsid "$STORE_FSID" --public-addrv "[v2:$MONITOR/0]" >>"$STORE/log/setup.log" 2>&1
  spawn_in_store mon ceph-mon -i a -f
  wait_for 60 "Ceph's monitor" in_store ceph --connect-timeout 5 --status

  local osd daemon
  osd=$(</proc/sys/kernel/random/uuid)
  in_store ceph osd new "$osd" 0 >>"$STORE/log/setup.log" 2>&1
  in_store ceph-osd -i 0 --mkfs --osd-uuid "$osd" >>"$STORE/log/setup.log" 2>&1
  spawn_in_store osd ceph-osd -i 0 -f
  wait_for 60 "Ceph's OSD" osd_is_up

  gateway_start
  in_store radosgw-admin user create --uid=podferry --display-name=podferry \
    --access-key="$STORE_ACCESS_KEY" --secret-key="$STORE_SECRET_KEY" >"$STORE/log/user.json" 2>>"$STORE/log/setup.log"
  make_bucket "$STORE_BUCKET"
  make_role >>"$STORE/log/setup.log" 2>&1

  for daemon in rgw osd mon; do stop_daemon store $daemon; done
  cp --archive --sparse=always "$STORE/data" "$1"
  store_down
}

# store_namespace: the mounts that Ceph's root needs live in a mount namespace kept by a process, and vanish with it
store_namespace() {
  ceph_config >"$STORE/data/ceph.conf"
  rm -f "$STORE/data/mounted"
  spawn store namespace unshare --mount --propagation private "$TESTBED/lib/store-namespace.sh" "$CEPH_ROOT" "$STORE/data"
  wait_for 10 "the store's namespace" test -e "$STORE/data/mounted"
}

store_down() {
  end_scope store
  rm -rf --one-file-system "$STORE"
}

# gateway_start, gateway_stop: RGW alone; the data stays, and connections are refused meanwhile
gateway_start() {
  pid_of store rgw >/dev/null || spawn_in_store rgw radosgw -n client.rgw.a -f
  wait_for 60 "RGW" curl --silent --fail --output /dev/null "$STORE_ENDPOINT"
}

gateway_stop() {
  stop_daemon store rgw
}

store_healthy() {
  local name
  for name in namespace mon osd rgw; do pid_of store "$name" >/dev/null || return 1; done
  curl --silent --fail --max-time 2 --output /dev/null "$STORE_ENDPOINT"
}

osd_is_up() {
  in_store ceph osd stat | grep -q '1 up'
}

make_bucket() {
  curl --silent --show-error --fail --aws-sigv4 "aws:amz:$STORE_REGION:s3" --user "$STORE_ACCESS_KEY:$STORE_SECRET_KEY" \
    --header "x-amz-content-sha256: $(sha256sum </dev/null | cut -d' ' -f1)" --request PUT "$STORE_ENDPOINT/$1" >&2
}

# make_role: what the operator assumes to give agents rights of their own; every session of it is narrowed further
make_role() {
  local bucket=arn:aws:s3:::$STORE_BUCKET trust rights
  trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam:::user/podferry"]},"Action":["sts:AssumeRole"]}]}'
  rights='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":["'$bucket'","'$bucket'/*"]}]}'
  in_store radosgw-admin role create --role-name="$STORE_ROLE" --assume-role-policy-doc="$trust"
  in_store radosgw-admin role policy put --role-name="$STORE_ROLE" --policy-name=store --policy-doc="$rights"
}

# in_store PROGRAM ARGS...: a program of Ceph, in its root
in_store() {
  local program=$1
  shift
  nsenter --target "$(pid_of store namespace)" --mount chroot "$CEPH_ROOT" "$program" -c /store/ceph.conf "$@"
}

spawn_in_store() {
  local name=$1 program=$2
  shift 2
  spawn store "$name" nsenter --target "$(pid_of store namespace)" --mount chroot "$CEPH_ROOT" "$program" -c /store/ceph.conf "$@"
}

# No authentication inside Ceph (loopback only, one machine); RGW does enforce S3's signatures.
ceph_config() {
  cat <<CONF
[global]
fsid = $STORE_FSID
mon initial members = a
mon host = [v2:$MONITOR/0]
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
# without keys the monitor's default mode list (secure first) finds no agreement
ms mon client mode = crc secure
ms mon service mode = crc secure
ms mon cluster mode = crc secure
ms bind ipv6 = false
run dir = /store/run
admin socket = /store/run/\$name.asok
log file = /store/log/\$name.log
log to stderr = false
err to stderr = true
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 2
mon data avail crit = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = bluestore
osd memory target = 939524096
bluestore block create = true
# a sparse file
bluestore block size = $((24 << 30))
# without tcp_nodelay a 4 KiB GET takes 44 ms instead of 3
rgw frontends = beast endpoint=${STORE_ENDPOINT#http://} tcp_nodelay=1
rgw relaxed s3 bucket names = true
# STS, for roles; the key encrypts session tokens and has 16 characters
rgw s3 auth use sts = true
rgw sts key = podferrytestbed1
rgw gc obj min wait = 5
rgw gc processor period = 5

[mon.a]
mon data = /store/mon
public addr = v2:$MONITOR/0

[osd.0]
osd data = /store/osd
CONF
}
