# What the parts share on the host: the bridge and kernel settings. Sourced.
# shellcheck shell=bash

SYSCTLS_SAVED=$STATE/sysctls
# The kubelet writes the first six; the rest are ours: pipes of 4 MiB for the agents, watches for many containers.
SYSCTLS_TOUCHED=(
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes
  fs.pipe-max-size fs.inotify.max_user_instances
)

bridge_up() {
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
  ip address replace "$BRIDGE_IP/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
}

bridge_down() {
  ip link delete "$BRIDGE" 2>/dev/null || true # takes its routes along
}

sysctls_change() {
  # saved once: after a killed `up` the present values are already changed ones
  if [[ ! -s $SYSCTLS_SAVED ]]; then
    mkdir -p "$STATE"
    sysctl "${SYSCTLS_TOUCHED[@]}" | sed 's/ = /=/' >"$SYSCTLS_SAVED.new"
    mv "$SYSCTLS_SAVED.new" "$SYSCTLS_SAVED"
  fi
  sysctl --quiet --write fs.pipe-max-size=$((4 << 20)) fs.inotify.max_user_instances=1024
}

sysctls_restore() {
  [[ -s $SYSCTLS_SAVED ]] || return 0
  sysctl --quiet --load "$SYSCTLS_SAVED"
  rm -f "$SYSCTLS_SAVED"
}
