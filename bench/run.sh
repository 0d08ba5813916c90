#!/bin/sh
# usage: run.sh BUILD_DIR MODELS_DIR: what `make bench` runs; raw samples go to bench/results/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/results"
grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: /machine: /'
echo "processors: $(nproc)   memory: $(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo)"
exec node "$here/models.mjs" "$1" "$2" --csv "$here/results/models.csv"
