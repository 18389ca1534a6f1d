#!/bin/sh
# build.sh OUT: compiles the placeholder. Needs musl-tools: it runs in images that hold no C library, or another one.
set -eu
cd "$(dirname "$0")"
exec musl-gcc -std=gnu17 -static -Os -s -Wall -Wextra -Werror -o "$1" ./*.c
