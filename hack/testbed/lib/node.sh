# A node: containerd, kubelet and kube-proxy in a network and a mount namespace of their own. Sourced.
# shellcheck shell=bash
#
# Node N is called nN, is 10.77.0.1N on the bridge, has the pods 10.88.N.0/24 and the cgroup root /podferry-nN.
# Its namespaces belong to a process that only sleeps: daemons are started into them one by one, so that each can be
# stopped and started by itself.

POD_NETWORK=10.88
NODE_DAEMONS=(containerd kubelet kube-proxy)

node_address() {
  echo "${BRIDGE_IP%.*}.1$1"
}

pod_subnet() {
  echo "$POD_NETWORK.$1.0/24"
}

# node_up N: until its daemons run; node_ready tells when the cluster has it
node_up() {
  local n=$1 dir=$STATE/n$1
  mkdir -p "$dir"/{containerd,kubelet,cni,certs.d,var-log,ready}
  make_node_cgroups "$n"
  spawn "n$n" namespace unshare --net --mount --propagation slave "$TESTBED/lib/node-namespace.sh" "$dir"
  wait_for 10 "the namespaces of n$n" test -e "$dir/ready/mounts"
  connect_node "$n"
  configure_registries "$dir/certs.d"
  node_credentials "$n"
  create_node "$n"
  start_containerd "$n"
  in_node "$n" ctr --namespace k8s.io images import "$PAUSE_TAR" >>"$dir/log/images.log" 2>&1
  start_kubelet "$n"
  start_kube-proxy "$n"
}

node_down() {
  local n=$1 hierarchy state
  # a frozen process does not even die
  for state in $(find "$CGROUPS/freezer/podferry-n$n" -name freezer.state 2>/dev/null); do echo THAWED >"$state" || true; done
  for hierarchy in "$CGROUPS"/*; do kill_cgroup "$hierarchy/podferry-n$n"; done
  for hierarchy in "$CGROUPS"/*; do remove_cgroup "$hierarchy/podferry-n$n"; done
  ip link delete "podferry-n$n" 2>/dev/null || true
  rm -rf --one-file-system "$STATE/n$n"
}

# Pods get their cgroups below a root of the node's own, in every hierarchy: all that the node runs can be found there.
make_node_cgroups() {
  local hierarchy root file
  for hierarchy in "$CGROUPS"/*; do
    root=$hierarchy/podferry-n$1
    mkdir -p "$root"
    [[ -f $hierarchy/cpuset.cpus ]] || continue
    for file in cpuset.cpus cpuset.mems; do cat "$hierarchy/$file" >"$root/$file"; done # a new cpuset starts empty
  done
}

# connect_node N: to the bridge, with routes to the other nodes' pods; the host gets one to this node's
connect_node() {
  local n=$1 address pid other
  address=$(node_address "$n")
  pid=$(pid_of "n$n" namespace)
  ip link add "podferry-n$n" type veth peer name eth0 netns "$pid"
  ip link set "podferry-n$n" master "$BRIDGE" up
  in_node "$n" sh -e -c "
    sysctl -qw net.ipv4.ip_forward=1
    sysctl -qw net.bridge.bridge-nf-call-iptables=1 # Services between pods of one node pass its bridge
    ip link set lo up
    ip address add $address/24 dev eth0
    ip link set eth0 up
    ip route add default via $BRIDGE_IP
  "
  for other in "${NODES[@]}"; do
    [[ $other == "$n" ]] || in_node "$n" ip route add "$(pod_subnet "$other")" via "$(node_address "$other")"
  done
  ip route replace "$(pod_subnet "$n")" via "$address"
}

# configure_registries DIR: containerd reads it at every pull. Images of docker.io are looked for in our registry too.
configure_registries() {
  local host
  for host in "$REGISTRY" docker.io; do
    mkdir -p "$1/$host"
    printf 'server = "http://%s"\n\n[host."http://%s"]\ncapabilities = ["pull", "resolve"]\n' "$REGISTRY" "$REGISTRY" >"$1/$host/hosts.toml"
  done
}

node_credentials() {
  local n=$1 pki=$STATE/cluster/pki server=https://$BRIDGE_IP:${API_PORT[cluster]}
  make_cert "$pki" "n$n" "/O=system:nodes/CN=system:node:n$n" "DNS:n$n,IP:$(node_address "$n")"
  make_kubeconfig "$pki" "n$n" "$server" "$STATE/n$n/kubelet.kubeconfig"
  make_cert "$pki" "n$n-proxy" /CN=system:kube-proxy
  make_kubeconfig "$pki" "n$n-proxy" "$server" "$STATE/n$n/kube-proxy.kubeconfig"
}

# in_node N COMMAND...: in the node's namespaces and, so that nothing outlives the node, in its cgroup
in_node() {
  local n=$1 pid
  shift
  pid=$(pid_of "n$n" namespace) || die "n$n is not up"
  (
    drop_locks
    join_scope "n$n"
    exec nsenter --target "$pid" --net --mount --wdns=/ "$@"
  )
}

spawn_in_node() {
  local n=$1 name=$2
  shift 2
  spawn "n$n" "$name" nsenter --target "$(pid_of "n$n" namespace)" --net --mount --wdns=/ "$@"
}

start_containerd() {
  containerd_config "$1" >"$STATE/n$1/containerd.toml"
  spawn_in_node "$1" containerd containerd --config "$STATE/n$1/containerd.toml"
  wait_for 30 "containerd on n$1" in_node "$1" ctr version
}

start_kubelet() {
  local socket=unix:///run/containerd/containerd.sock dir=$STATE/n$1
  kubelet_config "$1" >"$dir/kubelet.yaml"
  # What the default profile of containerd 2 refuses and this one's allows; a pod asks for it as `localhostProfile: no-io-uring.json`.
  install -D -m 0644 "$TESTBED/no-io-uring.json" "$dir/kubelet/seccomp/no-io-uring.json"
  spawn_in_node "$1" kubelet "$KUBERNETES_BIN/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$dir/kubelet.kubeconfig" \
    --hostname-override="n$1" --node-ip="$(node_address "$1")" --root-dir="$dir/kubelet" --cert-dir="$dir/kubelet/pki" \
    --seccomp-profile-root="$dir/kubelet/seccomp" --container-runtime=remote --container-runtime-endpoint=$socket --image-service-endpoint=$socket \
    --pod-infra-container-image=$PAUSE_IMAGE
}

start_kube-proxy() {
  kube_proxy_config "$1" >"$STATE/n$1/kube-proxy.yaml"
  spawn_in_node "$1" kube-proxy "$KUBERNETES_BIN/kube-proxy" --config="$STATE/n$1/kube-proxy.yaml"
}

# kubelet_healthy N: it works, whatever the cluster still thinks of the node
kubelet_healthy() {
  in_node "$1" curl --silent --fail --max-time 2 http://127.0.0.1:10248/healthz
}

node_ready() {
  [[ $(kubectl cluster get node "n$1" --output 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

# create_node N: before its kubelet does. A kubelet that finds its pod network reports Ready at once, not seconds later.
# (Without any resource in the status 1.20's kubelet crashes.)
create_node() {
  kubectl cluster create --filename - <<NODE >/dev/null
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n$1"},
 "spec": {"podCIDR": "$(pod_subnet "$1")", "podCIDRs": ["$(pod_subnet "$1")"]},
 "status": {"capacity": {"pods": "0"}, "allocatable": {"pods": "0"}}}
NODE
}

node_daemons_alive() {
  local daemon
  for daemon in namespace "${NODE_DAEMONS[@]}"; do pid_of "n$1" "$daemon" >/dev/null || return 1; done
}

containerd_config() {
  local dir=$STATE/n$1
  cat <<CONF
version = 2
root = "$dir/containerd"
state = "/run/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_apparmor = true
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE it cannot be lowered
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$dir/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "crun"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
        BinaryName = "/usr/bin/crun"
        SystemdCgroup = false
CONF
  cat >"$dir/cni/10-bridge.conflist" <<CONF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/cni-addresses", "ranges": [[{"subnet": "$(pod_subnet "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CONF
}

kubelet_config() {
  local pki=$STATE/cluster/pki
  cat <<CONF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $(node_address "$1")
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/n$1.crt
tlsPrivateKeyFile: $pki/n$1.key
cgroupDriver: cgroupfs
cgroupRoot: /podferry-n$1
cgroupsPerQOS: true
enforceNodeAllocatable: [pods]
failSwapOn: false
hairpinMode: none
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
healthzBindAddress: 127.0.0.1
readOnlyPort: 0
staticPodPath: ""
volumePluginDir: $STATE/n$1/kubelet/volume-plugins
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
configMapAndSecretChangeDetectionStrategy: Watch
nodeStatusUpdateFrequency: 4s
syncFrequency: 10s
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
CONF
}

kube_proxy_config() {
  cat <<CONF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: $(node_address "$1")
healthzBindAddress: 127.0.0.1:10256
clientConnection: {kubeconfig: $STATE/n$1/kube-proxy.kubeconfig}
clusterCIDR: $POD_NETWORK.0.0/16
hostnameOverride: n$1
mode: iptables
iptables: {minSyncPeriod: 0s, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s} # these are the machine's
CONF
}
