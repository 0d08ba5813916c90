#!/bin/sh
# usage: sizes.sh [BUILD_DIR]: lines of C by folder (code and tests), and the programs' sizes with the libraries they need.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
count() { git ls-files -- "$@" | xargs -r cat | wc -l; }
printf '%-22s %8s %8s\n' folder code tests
for d in src/*/; do
    name=$(basename "$d")
    printf '%-22s %8d %8d\n' "src/$name" "$(count "$d*.[ch]" "$d**/*.[ch]" "$d*.def")" "$(count "tests/unit/$name/*.c")"
done
for d in client/*/ host enclave mock/*/; do
    d=${d%/}
    [ -d "$d" ] && printf '%-22s %8d %8d\n' "$d" "$(count "$d/*.[ch]" "$d/*.def")" "$(count "tests/unit/$(basename "$d")/*.c")"
done
printf '%-22s %8s %8d\n' 'tests (all C, Python)' '' "$(count 'tests/*.c' 'tests/*.h' 'tests/*.py' 'tests/*.mjs')"
echo
[ -d "$build" ] || { echo "no $build: cmake --preset release && cmake --build --preset release"; exit 0; }
for p in client/cli/eml host/eml-hostd enclave/eml-enclaved enclave/eml-enclaved-dev mock/kmsd/eml-kmsd mock/pki/eml-devpki; do
    [ -x "$build/$p" ] || continue
    stripped=$(mktemp)
    strip -o "$stripped" "$build/$p"
    libraries=$(ldd "$build/$p" | awk '/=>/ {print $1}' | grep -v '^libc\.\|^libm\.' | sed 's/\.so.*//' | sort | tr '\n' ' ')
    printf '%-18s %9d bytes   %s\n' "$(basename "$p")" "$(stat -c %s "$stripped")" "$libraries"
    rm -f "$stripped"
done
