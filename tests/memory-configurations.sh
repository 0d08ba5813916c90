#!/bin/sh
# usage: memory-configurations.sh [CASES]
# The search of all memory (prop_05_10_memory) with the programs as both compilers make them: -O2, and -O3 with link-time optimisation,
# where wipes that nothing reads could be dropped and secrets copied to where nothing wipes. Builds what is missing, by preset.
set -eu
cd "$(dirname "$0")/.."
export EML_CASES="${1:-24}" PYTHONDONTWRITEBYTECODE=1
for preset in dev clang gcc-o3 clang-o3; do
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" --target programs tenant >/dev/null
    echo "$preset:"
    EML_BIN="$PWD/build/$preset" /usr/bin/python3 tests/prop/prop_05_10_memory.py
done
