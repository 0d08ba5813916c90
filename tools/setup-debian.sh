#!/bin/sh
# Installs what the project builds and tests with, from Debian 12. Run by `make`; does nothing when all is there.
# Arguments are further packages, which only some targets need. docs/decisions/0001-dependencies.md gives a line of reason for each.
set -eu

packages="
  gcc libc6-dev clang libclang-rt-14-dev cmake ninja-build make pkg-config git ca-certificates
  libssl-dev libsodium-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
  libjansson-dev libmicrohttpd-dev libseccomp-dev libipsec-mb-dev zlib1g-dev
  libcmocka-dev valgrind libonnx-testdata python3-onnx python3-numpy python3-pil fonts-dejavu-core
  strace mandoc openssl curl procps
  clang-format-14 shellcheck systemd python3-yaml jq $*
"
command -v node >/dev/null 2>&1 || packages="$packages nodejs"
command -v npm >/dev/null 2>&1 || packages="$packages npm"

missing=""
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    command -v sudo >/dev/null 2>&1 || {
        echo "setup: these Debian packages are missing:$missing" >&2
        echo "setup: run as root: apt-get install$missing" >&2
        exit 1
    }
fi
echo "setup: installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 update -q >/dev/null || { echo "setup: apt-get update failed" >&2; exit 1; }
# shellcheck disable=SC2086 # a list of words
$sudo apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends $missing >/dev/null || {
    echo "setup: apt-get install failed; see the messages above" >&2
    exit 1
}
