#!/bin/sh
# usage: run.sh BUILD_DIR EML_KMSD EML_DEVPKI ATTEST_KEY
# Installs the pinned SDK into the build directory once, starts eml-kmsd under a fresh PKI, runs test.mjs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1 kmsd=$2 devpki=$3 attest_key=$4
for need in node npm openssl; do
    command -v "$need" >/dev/null || { echo "skipped: $need is not installed"; exit 77; }
done

modules=$build/kms_sdk
mkdir -p "$modules"
if ! cmp -s "$here/package-lock.json" "$modules/installed"; then
    cp "$here/package.json" "$here/package-lock.json" "$modules/"
    (cd "$modules" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp "$here/package-lock.json" "$modules/installed"
fi
cp "$here/test.mjs" "$modules/test.mjs"

work=$(mktemp -d)
kms=
trap '[ -z "$kms" ] || kill "$kms"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
"$devpki" "$work/pki" >"$work/pki.out"
"$devpki" --tls "$work/tls" localhost >"$work/tls.out"
"$devpki" --pcrs "$attest_key" >"$work/pcrs.json"
"$kmsd" --listen 127.0.0.1:0 --store "$work/store" --tls-cert "$work/tls/kms.pem" --tls-key "$work/tls/kms.key" \
    --root "$work/pki/root.pem" --access-key AKIDTEST=test-secret \
    --access-key AKIDOTHER=other-secret,arn:aws:iam::999999999999:user/other >"$work/kms.out" 2>"$work/kms.log" &
kms=$!
for _ in $(seq 3000); do
    grep -q '^listening ' "$work/kms.out" && break
    kill -0 "$kms" 2>/dev/null || { cat "$work/kms.log"; exit 1; }
    sleep 0.1
done
EML_DEV_PKI="$work/pki" EML_WORK="$work" EML_ATTEST_KEY="$attest_key" \
    EML_KMS_PORT="$(sed -n 's/^listening .*://p' "$work/kms.out")" \
    NODE_EXTRA_CA_CERTS="$work/tls/kms-ca.pem" node --test --test-reporter=spec "$modules/test.mjs"
if grep -q -e test-secret -e c2VjcmV0 "$work/kms.log"; then
    echo "a secret is in eml-kmsd's log"
    exit 1
fi
