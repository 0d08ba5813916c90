#!/bin/sh
# usage: run.sh BUILD_DIR MODELS_DIR [RESULTS_DIR]: what `make bench` runs, in about ten minutes. Raw
# samples (CSV), the report that is printed, and plots (SVG) go to bench/results/ or RESULTS_DIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
models=$2
results=${3:-$here/results}
mkdir -p "$results"

facts() {
    echo "date: $(date -u +%Y-%m-%dT%H:%MZ)   revision: $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)"
    grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: /processor: /'
    echo "cores: $(nproc)   memory: $(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo)   kernel: $(uname -r)"
    echo "huge pages: $(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo unknown)"
    echo "load before: $(cut -d' ' -f1-3 /proc/loadavg) (nothing else should run: noise is told by p95)"
}

all() {
    failed=
    facts
    for part in models sizes contention service; do
        printf '\n== %s ==\n' "$part"
        node "$here/$part.mjs" "$build" "$models" --results "$results" 2>&1 || {
            echo "$part: FAILED"
            failed=yes
        }
    done
    node "$here/plot.mjs" "$results" || failed=yes
    printf '\nload after: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
    [ -z "$failed" ] || echo 'a part failed: see above'
}

all | tee "$results/report.txt"
! grep -q '^a part failed' "$results/report.txt"
