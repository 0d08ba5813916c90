#!/bin/sh
# usage: fetch-node-tests.sh DIR: unpacks the ONNX node tests of Debian trixie (ONNX 1.17) into DIR/node.
# Asks the mirror that this machine's apt is set up for, with Debian's own keys; installs nothing.
set -eu
dir=${1:?usage: fetch-node-tests.sh DIR}
[ -d "$dir/node" ] && exit 0
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\/debian\)\/*\( .*\)*$/\1/p; s/^deb \(\[[^]]*\] \)*\([^ ]*\/debian\)\/* .*/\2/p' | head -n 1)
[ -n "$mirror" ] || { echo "fetch-node-tests: no Debian mirror in this machine's apt sources" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$dir"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
apt() {
    (cd "$work" && apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@" >/dev/null)
}
echo "fetch-node-tests: fetching libonnx-testdata of trixie"
apt update
apt download libonnx-testdata
dpkg-deb -x "$work"/libonnx-testdata_*.deb "$work/x"
mv "$work/x/usr/share/libonnx-testdata/data/node" "$dir/node"
