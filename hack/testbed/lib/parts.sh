# What `up`, `down` and `status` do for each part and for all together. Sourced.
# shellcheck shell=bash
#
# A part is brought up only when it is not healthy, after ending whatever is left of it: a killed `up` needs no other
# treatment. Each part has a lock, so that parts can come and go beside each other.

everything_up() {
  require_machine
  lock cluster
  if all_healthy && base_image_pushed; then
    log "already up"
    return 0
  fi
  end_scope jobs # of a killed `up`
  trap end_jobs EXIT
  install_everything
  job registry registry_only_up
  job store store_only_up
  job base-image ensure_base_tar
  if ! cluster_healthy; then
    cluster_down
    cluster_up
  fi
  join_job registry
  join_job base-image
  base_image_pushed || push_base_image
  join_jobs
  log "up"
}

end_jobs() {
  trap - EXIT
  JOBS=()
  end_scope jobs
}

install_everything() {
  local wanted=("${CLUSTER_PACKAGES[@]}" "${REGISTRY_PACKAGES[@]}" "${IMAGE_PACKAGES[@]}" "${STORE_PACKAGES[@]}")
  [[ -d $KUBERNETES_BIN ]] || wanted+=("${BUILD_PACKAGES[@]}")
  packages "${wanted[@]}"
}

everything_down() {
  lock cluster
  lock store
  lock registry
  lock api
  end_scope jobs
  cluster_down
  store_down
  registry_down
  api_down api
  bridge_down
  rm -rf --one-file-system "$STATE"
  log "down"
}

cluster_up() {
  local n
  ensure_kubernetes
  ensure_pause_image
  log "cluster: starting"
  bridge_up
  sysctls_change
  # the API server runs beside the nodes, without kube-proxy: it dials the endpoints of a Service itself
  api_up cluster --enable-aggregator-routing=true
  log "cluster: the API server is ready"
  controllers_up
  for n in "${NODES[@]}"; do job "n$n" node_up "$n"; done
  dns_up
  for n in "${NODES[@]}"; do join_job "n$n"; done
  for n in "${NODES[@]}"; do wait_for 120 "n$n to be Ready" node_ready "$n"; done
  # pods are refused until the controller manager has made it
  wait_for 60 "the default service account" kubectl cluster get serviceaccount default
  log "cluster: both nodes are Ready"
}

cluster_down() {
  local n
  for n in "${NODES[@]}"; do node_down "$n"; done
  api_down cluster
  sysctls_restore
}

cluster_healthy() {
  local name n
  for name in etcd apiserver controller-manager scheduler dns dns-names; do pid_of cluster "$name" >/dev/null || return 1; done
  api_ready cluster || return 1
  for n in "${NODES[@]}"; do
    node_daemons_alive "$n" && node_ready "$n" || return 1
  done
}

all_healthy() {
  registry_healthy && store_healthy && cluster_healthy
}

api_only_up() {
  require_machine
  lock api
  if api_healthy api; then return 0; fi
  packages "${API_PACKAGES[@]}"
  ensure_kubernetes
  api_down api
  # no controller makes service account tokens here; pods and Deployments are only stored
  api_up api --disable-admission-plugins=ServiceAccount
  log "API server: ready at https://${API_ADDRESS[api]}:${API_PORT[api]}"
}

api_only_down() {
  lock api
  api_down api
}

store_only_up() {
  require_machine
  lock store
  packages "${STORE_PACKAGES[@]}"
  bridge_up
  store_up
}

store_only_down() {
  lock store
  store_down
  last_part_down
}

registry_only_up() {
  require_machine
  lock registry
  registry_up
}

registry_only_down() {
  lock registry
  registry_down
  last_part_down
}

# ensure_registry: for a push while nothing else is up
ensure_registry() {
  registry_healthy || (registry_only_up)
}

# last_part_down: the bridge goes with the last part that uses it
last_part_down() {
  [[ -d $STATE/cluster || -d $STATE/store || -d $STATE/registry ]] || bridge_down
  rmdir "$STATE" 2>/dev/null || true
}

require_machine() {
  ((EUID == 0)) || die "the test bed needs root"
  [[ -d $CGROUPS/pids ]] || die "the test bed needs cgroup v1 at $CGROUPS"
}

# report SCOPE NAME CHECK...: one line of status; healthy means alive and CHECK succeeds
report() {
  local scope=$1 name=$2 pid state=healthy
  shift 2
  pid=$(pid_of "$scope" "$name") || { pid=-; state=down; }
  [[ $state == down ]] || "$@" >/dev/null 2>&1 || state=unhealthy
  printf '%-9s %-19s %-8s %s\n' "$scope" "$name" "$pid" "$state"
  [[ $state == healthy ]] || REPORT_FAILED=1
}

everything_status() {
  local n name
  REPORT_FAILED=0
  report registry registry registry_healthy
  for name in mon osd; do report store $name true; done
  report store rgw store_healthy
  report cluster etcd true
  report cluster apiserver api_ready cluster
  for name in controller-manager scheduler dns dns-names; do report cluster $name true; done
  for n in "${NODES[@]}"; do
    report "n$n" containerd in_node "$n" ctr version
    report "n$n" kubelet node_ready "$n"
    report "n$n" kube-proxy true
  done
  return "$REPORT_FAILED"
}

api_only_status() {
  REPORT_FAILED=0
  report api etcd true
  report api apiserver api_ready api
  return "$REPORT_FAILED"
}

store_only_status() {
  local name
  REPORT_FAILED=0
  for name in mon osd; do report store $name true; done
  report store rgw store_healthy
  return "$REPORT_FAILED"
}

registry_only_status() {
  REPORT_FAILED=0
  report registry registry registry_healthy
  return "$REPORT_FAILED"
}
