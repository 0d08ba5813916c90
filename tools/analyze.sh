#!/bin/sh
# Static analysis of all that runs in the three zones: gcc's analyzer, clang-tidy (.clang-tidy), cppcheck. Not a word, or it fails.
# usage: analyze.sh BUILD-FOLDER [gcc | clang-tidy | cppcheck]...
set -eu

build=$1
shift
[ $# -gt 0 ] || set -- gcc clang-tidy cppcheck
for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "analyze: no $tool (apt-get install clang-tidy cppcheck)" >&2; exit 1; }
done
cmake -G Ninja -S . -B "$build" -DCMAKE_C_COMPILER=gcc -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_C_FLAGS=-fanalyzer >/dev/null
jobs=$(nproc)

# What is generated, and what only tests link, is not looked at.
files() {
    jq -r '.[].file' "$build/compile_commands.json" | sort -u | grep -E "^$PWD/(src|enclave|host|client)/"
}

for tool in "$@"; do
    echo "analyze: $tool"
    case $tool in
    gcc) ninja -C "$build" -j "$jobs" programs ;;
    # The flags of gcc that clang does not know are no finding.
    clang-tidy) files | xargs -P "$jobs" -n 4 clang-tidy --quiet --warnings-as-errors='*' -p "$build" \
        --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unused-command-line-argument ;;
    cppcheck)
        jq "[.[] | select(.file | test(\"^$PWD/(src|enclave|host|client)/\"))]" "$build/compile_commands.json" >"$build/zones.json"
        cppcheck --quiet -j "$jobs" --enable=warning,performance,portability --std=c11 --inline-suppr --suppress=missingIncludeSystem \
            --project="$build/zones.json" --error-exitcode=1 ;;
    *) echo "analyze: no such tool: $tool" >&2; exit 1 ;;
    esac
done
