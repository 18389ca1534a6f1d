#!/bin/bash
# dns-names.sh KUBECTL KUBECONFIG DIR: keeps DIR/services in step with the cluster's Services and their endpoints; dnsmasq
# sees the change by itself. Level-triggered: every event means "list again".
set -uo pipefail
kubectl=("$1" --kubeconfig "$2") dir=$3

# Three kinds of line: ADDRESS NAME.NAMESPACE for a Service, `headless` NAME.NAMESPACE, `endpoint` ADDRESS NAME.NAMESPACE
read -r -d '' template <<'TEMPLATE'
{{- range .items}}{{$name := printf "%s.%s" .metadata.name .metadata.namespace}}
  {{- if eq .kind "Endpoints"}}
    {{- range .subsets}}{{range .addresses}}endpoint {{.ip}} {{$name}}{{"\n"}}{{end}}{{end}}
  {{- else if eq (or .spec.clusterIP "None") "None"}}headless {{$name}}{{"\n"}}
  {{- else}}{{.spec.clusterIP}} {{$name}}{{"\n"}}
  {{- end}}
{{- end}}
TEMPLATE

write_names() {
  "${kubectl[@]}" get services,endpoints --all-namespaces --output "go-template=$template" >"$dir.list" || return
  awk '
    $1 == "headless" { headless[$2] = 1; next }
    $1 == "endpoint" { if ($3 in headless) print $2, $3 ".svc.cluster.local"; next }
    { print $1, $2 ".svc.cluster.local" }
  ' "$dir.list" | sort >"$dir.new"
  cmp -s "$dir.new" "$dir/services" && return
  mv "$dir.new" "$dir/services"
}

while true; do
  write_names
  {
    "${kubectl[@]}" get services --all-namespaces --watch --output name &
    "${kubectl[@]}" get endpoints --all-namespaces --watch --output name &
    wait -n # a watch ends now and then: list again and watch anew
    jobs -p | xargs kill
  } 2>/dev/null | while read -r _; do
    while read -r -t 0.05 _; do :; done # one listing for a burst of events
    write_names
  done
  sleep 0.2
done
