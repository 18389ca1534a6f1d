# Kubernetes' server binaries, built from Debian bookworm's source package with its Go. Sourced.
# shellcheck shell=bash

KUBERNETES_VERSION=1.20.2
KUBERNETES=kubernetes-$KUBERNETES_VERSION-r3 # raise the last number when this recipe changes
KUBERNETES_BIN=$CACHE/$KUBERNETES
KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)

ensure_kubernetes() {
  [[ ! -d $KUBERNETES_BIN ]] || return 0
  packages "${BUILD_PACKAGES[@]}"
  cached "$KUBERNETES" build_kubernetes
}

# build_kubernetes OUT: about 4 minutes on two cores
build_kubernetes() {
  local out=$1 work=$CACHE/.building-kubernetes-source
  rm -rf --one-file-system "$work"
  mkdir -p "$out" "$work"
  log "kubernetes: fetching the source"
  fetch_kubernetes_source "$work"
  cp "$work/client/usr/bin/kubectl" "$out/"
  patch_kubernetes "$work"
  (
    # What the go command keeps of an interrupted build is sound: its cache lives on until the build is through.
    export PATH=/usr/lib/go-1.19/bin:$PATH GOCACHE=$CACHE/.go-build
    # GOPATH mode, as in the package's own rules: vendor/k8s.io/* are links into staging/
    export GOPATH=$work/gopath GO111MODULE=off GOPROXY=off GOFLAGS=-p=2 CGO_ENABLED=0
    cd "$GOPATH/src/k8s.io/kubernetes"
    log "kubernetes: generating the OpenAPI definitions"
    generate_openapi
    local program
    for program in "${KUBERNETES_PROGRAMS[@]}"; do
      log "kubernetes: building $program"
      # dockerless: the kubelet does not look for Docker, which takes 5 s at every start when there is none
      nice -n 5 go build -tags providerless,dockerless -ldflags "$(kubernetes_linker_flags)" -o "$out/$program" "./cmd/$program"
    done
  )
  rm -rf --one-file-system "$work" "$CACHE/.go-build"
}

fetch_kubernetes_source() {
  local work=$1
  mkdir -p "$work/lists/partial" "$work/gopath/src/k8s.io"
  # the same mirror and suite, with source packages, in lists of our own
  sed 's/^Types:.*/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources >"$work/debian.sources"
  local apt=(apt-get --quiet --quiet -o "Dir::Etc::SourceList=$work/debian.sources" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
  (
    cd "$work"
    "${apt[@]}" update
    "${apt[@]}" source --download-only kubernetes
    dpkg-source --no-check -x kubernetes_*.dsc gopath/src/k8s.io/kubernetes
    "${apt[@]}" download golang-github-modern-go-reflect2-dev
    dpkg-deb --extract golang-github-modern-go-reflect2-dev_*.deb reflect2
    # kubectl of the same version, unpacked only: the machine may have a package with a newer one
    "${apt[@]}" download kubernetes-client
    dpkg-deb --extract kubernetes-client_*.deb client
  ) >>"$CACHE/apt.log" 2>&1
}

patch_kubernetes() {
  local work=$1 tree=$1/gopath/src/k8s.io/kubernetes
  # Go 1.18 and later need reflect2 1.0.2: with the vendored 1.0.1 the API server crashes on the first custom resource
  local vendored=$tree/vendor/github.com/modern-go/reflect2
  rm -f "$vendored"/*.go "$vendored"/*.s
  cp "$work"/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$vendored/"
  # no cloud metadata probes when the kubelet starts: without a cloud they take 12 s
  sed -i '/pkg\/credentialprovider\/\(aws\|azure\|gcp\)"/d' "$tree/cmd/kubelet/app/plugins.go"
}

# Debian's source comes without the generated file that the API server needs
generate_openapi() {
  local root=k8s.io/kubernetes packages
  go build -o "$GOPATH/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=' vendor/k8s.io/*/ cmd pkg plugin |
    grep -vE 'vendor/k8s.io/(code-generator|sample-apiserver|sample-controller|gengo|kube-openapi)/|_test.go|/testdata/' |
    xargs -n1 dirname | LC_ALL=C sort -u | sed "s#^#$root/#" | paste -sd,)
  "$GOPATH/openapi-gen" --logtostderr --input-dirs "$packages" --output-package $root/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    --report-filename "$GOPATH/violations.report" --output-base "$GOPATH/src"
}

kubernetes_linker_flags() {
  local package flags='-s -w'
  for package in k8s.io/kubernetes/vendor/k8s.io/{component-base,client-go/pkg}/version; do
    flags+=" -X $package.gitVersion=v$KUBERNETES_VERSION -X $package.gitMajor=1 -X $package.gitMinor=20"
    flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=faecb196815e248d3ecfb03c680a4507229c2a56"
    flags+=" -X $package.buildDate=2021-01-13T13:20:00Z"
  done
  echo "$flags"
}
