#!/usr/bin/env bash
# The model of a move: every interleaving of the operator's own plan with agents, kubelets, the API server, time, faults and the user, breadth first.
# Prints its bounds, the numbers of states and transitions, the depth and the time; a broken promise with the shortest way there, and exits 1.
#   hack/model.sh [--faults N] [--moves N] [--reports N] [--two-leaders] [--second-try] [--only WORDS] [--max-states N] [--mutants]
#     --faults N       2 in one exploration, of any kind; with --only of those with 'these words|or these' in their name
#     --moves N        1; how often the user tries after a move has failed
#     --reports N      1; reports of one agent that may be on their way at once
#     --two-leaders    another operator may begin to lead while the first still writes
#     --second-try     begins with the second try, while messages of the first are still on their way
#     --max-states N   2000000; takes about 1 KB each
#     --mutants        instead, that each seeded mistake is found, and how
# Needs Node.js, and nothing of the cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
options=()
while (($# > 0)); do
  case $1 in
    --faults | --moves | --reports | --only | --max-states) options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    --two-leaders | --second-try | --mutants) options+=("$1"); shift ;;
    *) sed -n '2,13s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
NODE_NO_WARNINGS=1 node --max-old-space-size=8192 --import tsx hack/model/main.ts "${options[@]}"
