# Cluster DNS: dnsmasq on the bridge, behind the address that the kubelets give to pods. Sourced.
# shellcheck shell=bash
#
# Debian has no CoreDNS. This answers for Services (name.namespace.svc.cluster.local) and says that nothing else exists.

DNS_IP=10.96.0.10

dns_up() {
  local dir=$STATE/cluster/dns
  mkdir -p "$dir"
  spawn cluster dns dnsmasq --keep-in-foreground --log-facility=- --pid-file= --conf-file=/dev/null --user=root \
    --listen-address="$BRIDGE_IP" --bind-interfaces --no-hosts --hostsdir="$dir" --no-resolv --address=/#/ --local-ttl=1
  spawn cluster dns-names "$TESTBED/lib/dns-names.sh" "$KUBERNETES_BIN/kubectl" "$(kubeconfig cluster)" "$dir"
  kubectl cluster create --filename - <<SERVICE >/dev/null
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
   "spec": {"clusterIP": "$DNS_IP", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}},
  {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
   "subsets": [{"addresses": [{"ip": "$BRIDGE_IP"}], "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}]}]}
SERVICE
}
