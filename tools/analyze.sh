#!/bin/sh
# Static analysis of what runs in the three zones: gcc's analyzer, clang-tidy (.clang-tidy), cppcheck. Fails at the first finding.
# usage: [FOLDERS="enclave src/wire"] analyze.sh BUILD-FOLDER [gcc | clang-tidy | cppcheck]...
# FOLDERS: what clang-tidy and cppcheck look at; all of the zones by default.
set -eu

build=$1
shift
[ $# -gt 0 ] || set -- cppcheck clang-tidy gcc
for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "analyze: no $tool: make analyze installs it" >&2; exit 1; }
done
# One file at a time gcc does not know that eml_fail fails, so it follows NULLs and unset values that no caller ever meets: those two kinds
# are left to clang-tidy and the sanitizers, leaks through a pointer into a block to LeakSanitizer. Double frees, uses after free, unsafe
# calls in signal handlers, exposed secrets and the rest stay.
analyzer="-fanalyzer -Wno-analyzer-null-dereference -Wno-analyzer-null-argument -Wno-analyzer-use-of-uninitialized-value"
analyzer="$analyzer -Wno-analyzer-malloc-leak"
cmake -G Ninja -S . -B "$build" -DCMAKE_C_COMPILER=gcc -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "-DCMAKE_C_FLAGS=$analyzer" >/dev/null
# The others see the same files without gcc's own flags. What is generated, and what only tests link, is not looked at.
mkdir -p "$build/zones"
jq --arg flags "$analyzer" --arg here "$PWD" --arg folders "${FOLDERS:-src enclave host client}" \
    '[.[] | select(.file | startswith($here + "/" + ($folders / " ")[] + "/"))
          | .command |= (sub($flags; "") | gsub("-mmem(cpy|set)-strategy=[^ ]+"; ""))]' "$build/compile_commands.json" >"$build/zones/compile_commands.json"
jobs=$(nproc)
# The one header that is generated.
ninja -C "$build" eml_onnxschema >/dev/null

for tool in "$@"; do
    echo "analyze: $tool"
    case $tool in
    cppcheck)
        # legacyUninitvar takes EML_ROOM(array), room to be filled, for a use of what is in it.
        cppcheck --quiet -j "$jobs" --enable=warning,performance,portability --std=c11 --inline-suppr --suppress=missingIncludeSystem \
            --suppress=legacyUninitvar --project="$build/zones/compile_commands.json" --error-exitcode=1 ;;
    clang-tidy)
        jq -r '.[].file' "$build/zones/compile_commands.json" | sort -u | xargs -P "$jobs" -n 4 clang-tidy --quiet --warnings-as-errors='*' \
            -p "$build/zones" --extra-arg=-Wno-unknown-warning-option ;;
    gcc) ninja -C "$build" -j "$jobs" programs ;;
    *) echo "analyze: no such tool: $tool" >&2; exit 1 ;;
    esac
done
