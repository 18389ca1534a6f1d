# etcd and the API server, for the cluster or alone; controller manager and scheduler for the cluster. Sourced.
# shellcheck shell=bash
#
# A scope is one API server with its state: `cluster` on the bridge, since nodes live in other network namespaces,
# `api` (integration tests) on loopback. Both can run at the same time.

SERVICE_IPS=10.96.0.0/16
declare -A API_ADDRESS=([cluster]=$BRIDGE_IP [api]=127.0.0.1)
declare -A API_PORT=([cluster]=6443 [api]=16443)
declare -A ETCD_PORT=([cluster]=12379 [api]=22379) # the peer port is the next one

kubeconfig() {
  echo "$STATE/$1/admin.kubeconfig"
}

kubectl() {
  local scope=$1
  shift
  "$KUBERNETES_BIN/kubectl" --kubeconfig "$(kubeconfig "$scope")" "$@"
}

# api_up SCOPE [FLAGS...]: etcd and the API server
api_up() {
  local scope=$1 dir=$STATE/$1 pki=$STATE/$1/pki address=${API_ADDRESS[$1]} port=${API_PORT[$1]} etcd=${ETCD_PORT[$1]}
  shift
  mkdir -p "$dir"
  spawn "$scope" etcd etcd --name testbed --data-dir "$dir/etcd" \
    --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
    --listen-peer-urls "http://127.0.0.1:$((etcd + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$((etcd + 1))" \
    --initial-cluster "testbed=http://127.0.0.1:$((etcd + 1))"

  make_ca "$pki"
  make_cert "$pki" apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:$address,IP:${SERVICE_IPS%.*}.1"
  make_cert "$pki" kubelet-client /O=system:masters/CN=apiserver-kubelet-client
  make_cert "$pki" admin /O=system:masters/CN=admin
  make_kubeconfig "$pki" admin "https://$address:$port" "$(kubeconfig "$scope")"

  spawn "$scope" apiserver "$KUBERNETES_BIN/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd" \
    --bind-address="$address" --advertise-address="$address" --secure-port="$port" --service-cluster-ip-range=$SERVICE_IPS \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$pki/sa.key" --service-account-key-file="$pki/sa.pub" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true "$@"
  wait_for 120 "the API server" api_ready "$scope"
}

api_ready() {
  local pki=$STATE/$1/pki
  curl --silent --fail --max-time 2 --output /dev/null --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
    "https://${API_ADDRESS[$1]}:${API_PORT[$1]}/readyz"
}

api_healthy() {
  pid_of "$1" etcd >/dev/null && pid_of "$1" apiserver >/dev/null && api_ready "$1"
}

api_down() {
  end_scope "$1"
  rm -rf --one-file-system "${STATE:?}/$1"
}

# controllers_up: what the cluster has besides
controllers_up() {
  local pki=$STATE/cluster/pki server=https://${API_ADDRESS[cluster]}:${API_PORT[cluster]} name config
  for name in controller-manager scheduler; do
    config=$STATE/cluster/$name.kubeconfig
    make_cert "$pki" "$name" "/CN=system:kube-$name"
    make_kubeconfig "$pki" "$name" "$server" "$config"
  done
  config=$STATE/cluster/controller-manager.kubeconfig
  spawn cluster controller-manager "$KUBERNETES_BIN/kube-controller-manager" --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --port=0 --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
  config=$STATE/cluster/scheduler.kubeconfig
  spawn cluster scheduler "$KUBERNETES_BIN/kube-scheduler" --kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --port=0 --leader-elect=false
}
