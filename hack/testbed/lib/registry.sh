# The image registry on the bridge. Sourced.
# shellcheck shell=bash

registry_up() {
  if registry_healthy; then return 0; fi
  registry_down
  packages "${REGISTRY_PACKAGES[@]}"
  bridge_up
  mkdir -p "$STATE/registry"
  # the packaged configuration asks for passwords
  cat >"$STATE/registry/config.yml" <<CONF
version: 0.1
log:
  level: warn
  accesslog: {disabled: true}
storage:
  filesystem: {rootdirectory: $STATE/registry/data}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
http:
  addr: $REGISTRY
  secret: testbed
CONF
  spawn registry registry env OTEL_TRACES_EXPORTER=none docker-registry serve "$STATE/registry/config.yml"
  wait_for 20 "the registry" registry_healthy
  log "registry: ready at $REGISTRY"
}

registry_down() {
  end_scope registry
  rm -rf --one-file-system "$STATE/registry"
}

registry_healthy() {
  pid_of registry registry >/dev/null && curl --silent --fail --max-time 2 --output /dev/null "http://$REGISTRY/v2/"
}
