#!/usr/bin/env bash
# Attacks the webhook's server over TLS with random requests, and looks whether it lives, stays small, refuses what is bad with a 4xx, and
# answers what is good beside it.
#   hack/fuzz-webhook.sh [--seconds N] [--seed S]     60 s; the seed is printed
set -euo pipefail
hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$hack/.."
"$hack/prepare.sh"
NODE_NO_WARNINGS=1 exec node --import tsx hack/fuzz/main.ts "$@"
