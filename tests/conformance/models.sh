#!/bin/sh
# models.sh SCRIPT RUN_MODEL: SCRIPT (compare, silero, steps) with the models and node_modules of the
# environment variables EML_MODELS and EML_NODE_MODULES; exit code 77 (skipped) without them.
if [ -z "$EML_MODELS" ] || [ -z "$EML_NODE_MODULES" ] || ! command -v node >/dev/null; then
    echo "EML_MODELS, EML_NODE_MODULES or node is missing: nothing compared"
    exit 77
fi
exec node "$(dirname "$0")/$1.mjs" "$2" "$EML_MODELS" "$EML_NODE_MODULES"
