# Certificates and kubeconfigs of one API server. Sourced.
# shellcheck shell=bash

# make_ca DIR: the authority, and the key pair that signs service account tokens
make_ca() {
  mkdir -p "$1"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=podferry-testbed \
    -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
  openssl genrsa -out "$1/sa.key" 2048 2>/dev/null
  openssl rsa -in "$1/sa.key" -pubout -out "$1/sa.pub" 2>/dev/null
}

# make_cert DIR NAME SUBJECT [SUBJECT-ALT-NAMES]: for both ends of a connection
make_cert() {
  local dir=$1 name=$2 subject=$3 alternatives=${4:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" \
    -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
  openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 3650 \
    -out "$dir/$name.crt" -extfile <(
      echo extendedKeyUsage=clientAuth,serverAuth
      [[ -z $alternatives ]] || echo "subjectAltName=$alternatives"
    ) 2>/dev/null
  rm "$dir/$name.csr"
}

# make_kubeconfig DIR NAME SERVER FILE: with everything inside, so that the file can be copied
make_kubeconfig() {
  local dir=$1 name=$2 server=$3
  cat >"$4" <<CONF
apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: $server
    certificate-authority-data: $(base64 -w0 "$dir/ca.crt")
users:
- name: $name
  user:
    client-certificate-data: $(base64 -w0 "$dir/$name.crt")
    client-key-data: $(base64 -w0 "$dir/$name.key")
contexts:
- name: testbed
  context: {cluster: testbed, user: $name}
current-context: testbed
CONF
}
