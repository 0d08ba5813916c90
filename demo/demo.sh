#!/bin/bash
# usage: demo.sh BUILD_DIR MODELS_DIR [TEXT]
# The main job, end to end, on this machine: PP-OCRv4 reads a picture of TEXT inside an (emulated) enclave. KMS, host and
# enclave are processes of their own; what the host sees is recorded by a tap in front of it. The NSM is a development one;
# everything else is the real thing. Leaves nothing behind but the picture and the report on the terminal.
set -euo pipefail
bin=$(cd "$1" && pwd)
models=$(cd "$2" && pwd)
text=${3:-Patient 4711: biopsy negative}
here=$(cd "$(dirname "$0")" && pwd)
python=/usr/bin/python3
export PATH="$bin/client/cli:$bin/host:$bin/enclave:$bin/mock/kmsd:$bin/mock/pki:$PATH"

work=$(mktemp -d /tmp/eml-demo.XXXXXX)
started=()
finish() {
    code=$?
    trap - EXIT
    [ $code -eq 0 ] || tail -n 5 "$work"/*.log >&2 || true
    for pid in "${started[@]:-}"; do
        [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
    [ $code -eq 0 ] || echo "demo: failed (see the lines above)" >&2
    exit $code
}
trap finish EXIT
step() { printf '\n%s\n' "$*"; }
start() { # name, command...
    local name=$1
    shift
    "$@" >"$work/$name.out" 2>"$work/$name.log" &
    started+=($!)
}
first_line() { # waits for the first line that a service prints
    for _ in $(seq 3000); do
        [ -s "$1" ] && { head -n 1 "$1"; return 0; }
        sleep 0.1
    done
    echo "demo: a service did not start" >&2
    return 1
}
wait_port() {
    for _ in $(seq 3000); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.1
    done
    echo "demo: nothing listens on port $1" >&2
    return 1
}
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
now_ms() { date +%s%3N; }

step "1. The owner decomposes PP-OCRv4 recognition and draws the input"
mkdir "$work/model" "$work/in" "$work/tap"
eml check "$models/ppocr-rec.onnx"
t0=$(now_ms)
eml decompose "$models/ppocr-rec.onnx" -o "$work/model"
t1=$(now_ms)
"$here/draw.py" "$text" "$work/in/x.npy" "$work/in/x.png"
ls -l "$work/model" | awk 'NR > 1 {printf "   %s %9d bytes  %s\n", $1, $5, $NF}'
printf '   input: a picture of "%s"\n' "$text"

step "2. Services start: development PKI and KMS, host, enclave (each a process of its own)"
eml-devpki "$work/pki" >"$work/pki.out"
eml-devpki --tls "$work/tls" localhost >"$work/tls.out"
eml-devpki --pcrs "$(command -v eml-enclaved-dev)" >"$work/pcrs.json"
kms_port=$(free_port)
export AWS_ACCESS_KEY_ID=AKIADEVELOPMENT AWS_SECRET_ACCESS_KEY=development-secret
start kms eml-kmsd --listen "127.0.0.1:$kms_port" --store "$work/kms" --tls-cert "$work/tls/kms.pem" \
    --tls-key "$work/tls/kms.key" --root "$work/pki/root.pem" --access-key "$AWS_ACCESS_KEY_ID=$AWS_SECRET_ACCESS_KEY"
wait_port "$kms_port"
printf '{"AccessKeyId": "%s", "SecretAccessKey": "%s", "Region": "us-east-1"}' \
    "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >"$work/credentials.json"
chmod 600 "$work/credentials.json"
host_port=$(free_port)
start host eml-hostd --listen "tcp:127.0.0.1:$host_port" --enclave "unix:$work/enclave.sock" --service "unix:$work/service.sock" \
    --store "$work/store" --audit "$work/audit" --kms-endpoint "tcp:127.0.0.1:$kms_port" --credentials "$work/credentials.json"
EML_DEV_PKI="$work/pki" start enclave eml-enclaved-dev --listen "unix:$work/enclave.sock" --host "unix:$work/service.sock" \
    --kms-ca "$work/tls/kms-ca.pem" --kms-endpoint "localhost:$kms_port"
wait_port "$host_port"
start tap "$here/tap.py" 127.0.0.1 "$host_port" "$work/tap"
host="tcp:127.0.0.1:$(first_line "$work/tap.out")"
for _ in $(seq 3000); do [ -S "$work/enclave.sock" ] && break || sleep 0.1; done

step "3. The owner pins what it trusts: the enclave's measurements in a policy, and in the KMS key's own policy"
eml policy --measurements "$work/pcrs.json" --root "$work/pki/root.pem" -o "$work/policy.json"
pcr0=$(sed -n 's/.*"0": *"\([0-9a-f]*\)".*/\1/p' "$work/pcrs.json")
printf '   PCR0 %.32s...\n' "$pcr0"
"$python" "$here/key_policy.py" "$pcr0" >"$work/create.json"
arn=$(curl -sS --fail-with-body --cacert "$work/tls/kms-ca.pem" --aws-sigv4 "aws:amz:us-east-1:kms" \
    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H 'Content-Type: application/x-amz-json-1.1' \
    -H 'X-Amz-Target: TrentService.CreateKey' --data-binary "@$work/create.json" "https://localhost:$kms_port/" |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["KeyMetadata"]["Arn"])')
echo "   KMS key $arn: decrypts for that measurement only"

step "4. The sealed weights go to the host; then one inference inside the enclave"
eml push "$work/model" --host "$host" | sed 's/^/   /'
eml infer --host "$host" --policy "$work/policy.json" --topology "$work/model/topology.key" --input "x=$work/in/x.npy" \
    --output "$work/out" --kms-key "$arn" --kms-endpoint "https://localhost:$kms_port" --kms-ca "$work/tls/kms-ca.pem" \
    --json >"$work/report.json"
result=$(ls "$work"/out/*.npy)
bold='' plain=''
[ -t 1 ] && bold=$'\033[1m' plain=$'\033[0m'
printf '\n   The enclave read: %s%s%s\n' "$bold" "$("$here/read.py" "$result" "$models/ppocr-keys.txt")" "$plain"

step "5. What the client verified before it sent anything"
"$python" "$here/report.py" checks "$work/report.json"

step "6. What the host saw (recorded in front of it; looked through for the model, topology key, input and result)"
sleep 0.3
object=$(find "$work/store" -type f)
id=$(basename "$object")
[ ${#id} = 64 ] || id=$(basename "$(dirname "$object")")$id
find "$work/audit" -type f -exec cat {} + >"$work/audit.all"
"$here/seen.py" "from client to host=$work/tap/to_host.bin" "from host to client=$work/tap/from_host.bin" \
    "weights in its store=$object" "audit log (meant to be read)=$work/audit.all" "--public=$id" \
    --secret "$models/ppocr-rec.onnx" "$work/model/topology.key" "$work/in/x.npy" "$result"

step "7. Times"
"$python" "$here/report.py" times "$work/report.json" $((t1 - t0))

step "8. The same model run locally by its owner"
eml run --topology "$work/model/topology.key" --weights "$work/model/weights.sealed" --input "x=$work/in/x.npy" \
    --output "$work/local" >/dev/null
cmp "$result" "$work/local/$(basename "$result")"
echo "   equals the enclave's result bit for bit ($(stat -c %s "$result") bytes)"
