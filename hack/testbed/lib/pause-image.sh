# The sandbox image: pause.c as an archive that containerd imports. Sourced.
# shellcheck shell=bash

PAUSE_IMAGE=localhost/podferry-pause:1
PAUSE_TAR=$CACHE/pause-$(sha256sum "$TESTBED/pause.c" | cut -c1-12).tar

ensure_pause_image() {
  cached "${PAUSE_TAR##*/}" build_pause_image
}

# build_pause_image OUT: a docker archive with one layer of one static program
build_pause_image() {
  local out=$1 work=$CACHE/.building-pause
  rm -rf "$work"
  mkdir -p "$work/root" "$work/image"
  gcc -Os -Wall -Werror -static -s -o "$work/root/pause" "$TESTBED/pause.c"
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/root" -cf "$work/image/layer.tar" .
  cat >"$work/image/config.json" <<CONF
{"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)"]}}
CONF
  echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$PAUSE_IMAGE\"], \"Layers\": [\"layer.tar\"]}]" >"$work/image/manifest.json"
  tar -C "$work/image" -cf "$out" manifest.json config.json layer.tar
  rm -rf "$work"
}
