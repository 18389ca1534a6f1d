#!/usr/bin/env bash
# Makes the checked-in generated files again: proto/gen (from proto/**/*.proto) and the CRDs (from proto/*.ts).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=node_modules/.bin
rm -rf proto/gen
"$bin/buf" generate --template proto/buf.gen.yaml
"$bin/tsx" hack/generate-crds.ts
"$bin/tsx" hack/generate-error-table.ts
"$bin/prettier" --log-level warn --write README.md
