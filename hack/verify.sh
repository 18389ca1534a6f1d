#!/usr/bin/env bash
# Everything that must hold before a commit, and changes nothing: types, lint, format, generated files.
# The import rule between components is a unit test (test/unit/import-rule.test.ts).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=node_modules/.bin

step() { echo "verify: $1" >&2; }

step types
"$bin/tsc" --noEmit
step lint
"$bin/oxlint" --type-aware --deny-warnings
step format
"$bin/prettier" --check --log-level warn .
step 'generated files'
generated=(proto/gen manifests/base/crds README.md)
scratch=$(mktemp -d)
cp -a --parents "${generated[@]}" "$scratch"
restore() {
  rm -rf "${generated[@]}"
  (cd "$scratch" && cp -a --parents "${generated[@]}" "$OLDPWD")
  rm -rf "$scratch"
}
trap restore EXIT
hack/generate.sh >/dev/null
for path in "${generated[@]}"; do
  diff -r "$scratch/$path" "$path" || { echo "verify: $path is not what hack/generate.sh makes; run it and commit" >&2; exit 1; }
done
step 'shell scripts'
while IFS= read -r script; do bash -n "$script"; done < <(find hack .ci -type f \( -name '*.sh' -o -path '.ci/run' \))
echo 'verify: ok' >&2
