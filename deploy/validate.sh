#!/bin/sh
# usage: validate.sh [--dry-run] [--key-policy FILE] [--kms-key ARN --ciphertext FILE] [--model DIR --input NAME=FILE] [--other-image EIF]
# Runs, on the host, the checks that only real hardware can prove, and prints a table. Exit: 0 all passed, 1 some failed, 2 usage;
# what was not asked for is "skipped": a table with skipped lines proves only the others.
#   --dry-run      prints what would run, and runs nothing
#   --key-policy   the key's policy, from its owner (aws kms get-key-policy --policy-name default --query Policy --output text)
#   --kms-key      a key of cloudformation/key.yaml made for this; --ciphertext: a CiphertextBlob under it, from its owner
#                  (aws kms generate-data-key --key-spec AES_256 --query CiphertextBlob --output text | base64 -d)
#   --model        a decomposed model that is no secret, pushed already; with short-lived credentials of the key's owner in
#                  OWNER_ACCESS_KEY_ID, OWNER_SECRET_ACCESS_KEY, OWNER_SESSION_TOKEN also under the key. The host sees all of them.
#   --other-image  another sound image, run in place of the current one for a minute: KMS must refuse it. Disruptive.
set -eu

: "${EML_CONF:=/etc/ephemeralml/enclave.env}"
# shellcheck source=/dev/null
[ ! -r "$EML_CONF" ] || . "$EML_CONF"
: "${EML_IMAGES:=/var/lib/ephemeralml/images}" "${EML_NAME:=ephemeralml}" "${EML_CID:=16}" "${EML_HOST:=tcp:127.0.0.1:7000}"
: "${EML_CPUS:=6}" "${EML_MEMORY_MIB:=12288}" "${EML_IMDS:=http://169.254.169.254}" "${EML_RUNS:=10}"
: "${EML_NE_DEVICE:=/dev/nitro_enclaves}"
PATH=/opt/ephemeralml/bin:/opt/ephemeralml/deploy/bin:$PATH

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dry='' key='' key_policy='' ciphertext='' model='' input='' other=''
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes && shift && continue ;;
    --key-policy) key_policy=${2:-} ;;
    --kms-key) key=${2:-} ;;
    --ciphertext) ciphertext=${2:-} ;;
    --model) model=${2:-} ;;
    --input) input=${2:-} ;;
    --other-image) other=${2:-} ;;
    *) usage ;;
    esac
    [ -n "${2:-}" ] || usage
    shift 2
done
if { [ -n "$key" ] && [ -z "$ciphertext" ]; } || { [ -n "$model" ] && [ -z "$input" ]; }; then usage; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=$EML_IMAGES/current
failed=0 skipped=0

# --- the table ---

line() { printf '| %-7s | %-58s | %s\n' "$1" "$2" "$3"; }

# check WHAT FUNCTION [NEEDED...]: skipped if a needed value is empty. The function's standard output is the remark; saying nothing is
# failing (jq of no input ends well).
check() {
    what=$1 function=$2
    shift 2
    for needed; do
        if [ -z "$needed" ]; then
            line skipped "$what" "not asked for"
            skipped=$((skipped + 1))
            return
        fi
    done
    if [ -n "$dry" ]; then
        line dry-run "$what" "would run: $function"
    elif remark=$($function 2>"$work/error") && [ -n "$remark" ]; then
        line passed "$what" "$remark"
    else
        line FAILED "$what" "$remark $(tail -n 1 "$work/error")"
        failed=$((failed + 1))
    fi
}

# --- the enclave as nitro-cli sees it ---

enclave() { nitro-cli describe-enclaves | jq -ec --arg name "$EML_NAME" '.[] | select(.EnclaveName == $name)'; }
device() { [ -c "$EML_NE_DEVICE" ] && echo "$EML_NE_DEVICE"; }
running() { enclave | jq -re 'select(.State == "RUNNING") | .EnclaveID'; }
not_debug() { enclave | jq -re 'select(.Flags == "NONE") | "Flags NONE"'; }
# In debug mode it stays attached until `timeout` ends it (124).
console_closed() {
    code=0
    timeout 10 nitro-cli console --enclave-id "$(running)" >/dev/null 2>"$work/answer" || code=$?
    [ "$code" != 0 ] && [ "$code" != 124 ] && echo "refused: $(tail -n 1 "$work/answer")"
}
cid() { enclave | jq -re --argjson cid "$EML_CID" 'select(.EnclaveCID == $cid) | "CID \(.EnclaveCID)"'; }
resources() {
    enclave | jq -re --argjson cpus "$EML_CPUS" --argjson memory "$EML_MEMORY_MIB" \
        'select(.NumberOfCPUs == $cpus and .MemoryMiB >= $memory) | "\(.NumberOfCPUs) vCPUs, \(.MemoryMiB) MiB"'
}

same_pcrs() {
    eml-eif describe "$image/enclave.eif" >"$work/ours.json" && "$@" >"$work/theirs.json" &&
        jq -re --slurpfile ours "$work/ours.json" '.Measurements as $a | $ours[0].Measurements as $b
            | select(all("PCR0", "PCR1", "PCR2"; $b[.] != null and $a[.] == $b[.])) | "PCR0 \($a.PCR0[:16])..."' "$work/theirs.json"
}
running_pcrs() { same_pcrs enclave; }
file_pcrs() { same_pcrs nitro-cli describe-eif --eif-path "$image/enclave.eif"; }

# --- attestation ---

attest() { eml attest --host "$EML_HOST" --policy "$1" --timeout 30; }
# Refused by policy (4), not failed for another reason.
refused() {
    code=0
    attest "$1" >/dev/null || code=$?
    [ "$code" = 4 ] && echo "refused"
}
document() {
    eml policy --from-eif "$image/enclave.eif" --root aws -o "$work/policy.json" &&
        attest "$work/policy.json" >"$work/checks" && echo "chain to AWS's root, signature, freshness, PCRs"
}
other_pcr0() {
    jq '.measurements[0]["0"] |= (if .[:1] == "0" then "1" else "0" end) + .[1:]' "$work/policy.json" >"$work/other.json" &&
        refused "$work/other.json"
}
other_root() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -keyout "$work/key" -out "$work/root.pem" -days 1 \
        -subj /CN=another-root 2>/dev/null &&
        eml policy --from-eif "$image/enclave.eif" --root "$work/root.pem" -o "$work/root.json" && refused "$work/root.json"
}

# --- KMS ---

lint_key_policy() {
    code=0
    eml kms lint "$key_policy" >"$work/findings" || code=$?
    tail -n 1 "$work/findings"
    return "$code"
}
decrypt_without_document() {
    ! aws kms decrypt --key-id "$key" --ciphertext-blob "fileb://$ciphertext" >/dev/null 2>"$work/answer" &&
        grep -o AccessDeniedException "$work/answer"
}
infer() {
    rm -rf "$work/out"
    AWS_ACCESS_KEY_ID=${OWNER_ACCESS_KEY_ID:-} AWS_SECRET_ACCESS_KEY=${OWNER_SECRET_ACCESS_KEY:-} \
        AWS_SESSION_TOKEN=${OWNER_SESSION_TOKEN:-} \
        eml infer --host "$EML_HOST" --topology "$model/topology.key" --input "$input" --output "$work/out" "$@"
}
infer_under_key() { infer --policy "$work/policy.json" --kms-key "$key" >/dev/null && echo "decrypted in the enclave, result verified"; }
# The client would accept this image: it is KMS that must refuse.
other_image_refused() {
    eml policy --from-eif "$other" --root aws -o "$work/other-image.json"
    nitro-cli terminate-enclave --enclave-name "$EML_NAME" >/dev/null
    nitro-cli run-enclave --eif-path "$other" --enclave-name "$EML_NAME" --enclave-cid "$EML_CID" --cpu-count "$EML_CPUS" \
        --memory "$EML_MEMORY_MIB" >/dev/null
    tries=0
    until attest "$work/other-image.json" >/dev/null || [ "$tries" = 30 ]; do sleep 2 && tries=$((tries + 1)); done
    code=0
    infer --policy "$work/other-image.json" --kms-key "$key" >/dev/null || code=$?
    systemctl restart eml-enclave.service
    [ "$code" = 4 ] && [ "$tries" -lt 30 ] && echo "KMS refused another image"
}

# --- speed ---

now_ms() { date +%s%3N; }
latency() {
    n=0
    while [ "$n" -lt "$EML_RUNS" ]; do
        from=$(now_ms)
        infer --policy "$work/policy.json" >/dev/null || return 1
        echo $(($(now_ms) - from))
        n=$((n + 1))
    done | sort -n >"$work/times"
    [ "$(wc -l <"$work/times")" = "$EML_RUNS" ] &&
        echo "$(sed -n "$(((EML_RUNS + 1) / 2))p" "$work/times") ms median, $(head -n 1 "$work/times") least, of $EML_RUNS, with attestation"
}

# --- the instance ---

imdsv1_closed() {
    code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$EML_IMDS/latest/meta-data/") && [ "$code" = 401 ] && echo "401"
}
steal() { awk '/^cpu /{t = 0; for (i = 2; i <= 9; i++) t += $i; printf "%.2f %% steal since boot\n", 100 * $9 / t}' /proc/stat; }

[ -z "$dry" ] || echo "dry run: nothing is proven"
line result check remark
check "Nitro Enclaves device" device
check "enclave runs" running
check "enclave is not in debug mode" not_debug
check "its console is closed to the host" console_closed
check "vsock CID is the one configured" cid
check "vCPUs and memory are those configured" resources
check "PCRs of the running enclave = eml-eif's of the file" running_pcrs
check "nitro-cli describe-eif agrees with eml-eif" file_pcrs
check "attestation document verifies to AWS's root" document
check "a policy for another PCR0 refuses it" other_pcr0
check "a policy for another root refuses it" other_root
check "key policy has no finding (eml kms lint)" lint_key_policy "$key_policy"
check "KMS refuses the host's role without a document" decrypt_without_document "$key"
check "KMS decrypts for this enclave" infer_under_key "$key" "$model" "${OWNER_ACCESS_KEY_ID:-}"
check "KMS refuses another image" other_image_refused "$key" "$model" "$other" "${OWNER_ACCESS_KEY_ID:-}"
check "time of a request" latency "$model"
check "instance metadata needs a token (IMDSv2)" imdsv1_closed
check "processor time stolen from the host" steal
echo "$failed failed, $skipped skipped"
[ "$failed" = 0 ]
