#!/bin/sh
# build-qemu.sh OUT_DIR: OUT_DIR/bin/qemu-system-x86_64 with one machine, nitro-enclave, from Debian's source package (trixie's:
# Debian 12 has none with that machine), plus the hook of qemu-nsm-signer.h. Needs root for apt only. Kept for later.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9>"$out/lock"
flock 9 # who comes second finds it done
stamp=$(cat "$here/build-qemu.sh" "$here/qemu-nsm-signer.h" | sha256sum | cut -c1-64)
if [ -x "$out/bin/qemu-system-x86_64" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
echo "qemu: building in $out (some minutes; kept for later)" >&2
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
fail() {
    echo "qemu: $*" >&2
    exit 1
}
sources=/etc/apt/sources.list.d

# The mirror that apt uses here already. A deb-src entry changes nothing about which packages get installed; of backports, only
# meson is taken (Debian 12's is too old for QEMU 10).
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list $sources 2>/dev/null | head -n 1 | tr -d ' ')
[ -n "$mirror" ] || fail 'no Debian mirror in the sources of apt'
entry() { # NAME TYPES SUITE
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$2" "$mirror" "$3" | $sudo tee "$sources/eml-$1.sources" >/dev/null
}
grep -rqs 'bookworm-backports' /etc/apt/sources.list $sources || entry backports deb bookworm-backports
grep -rlsE '^(Types:.*deb-src|deb-src )' /etc/apt/sources.list $sources | xargs -r grep -qsw trixie || entry source deb-src trixie
export DEBIAN_FRONTEND=noninteractive
retry="-o Acquire::Retries=5"
# shellcheck disable=SC2086 # two words
$sudo apt-get $retry update -qq || fail 'apt-get update failed'
# shellcheck disable=SC2086
$sudo apt-get $retry install -y -qq --no-install-recommends dpkg-dev gcc libc6-dev make pkg-config ninja-build bison flex python3 \
    python3-venv python3-pip python3-setuptools zlib1g-dev libglib2.0-dev libgnutls28-dev libcbor-dev libfdt-dev \
    meson/bookworm-backports qemu-system-data >/dev/null || fail "apt-get cannot install what QEMU is built with"

rm -rf "$out/src" "$out/stamp"
mkdir "$out/src"
cd "$out/src"
# shellcheck disable=SC2086
apt-get $retry source -qq --download-only qemu/trixie 2>apt.log || {
    cat apt.log >&2
    fail "apt-get cannot fetch QEMU's source (deb-src of trixie, from $mirror)"
}
# Debian 12's keyring may lack trixie's uploader; apt has checked the files against the signed index.
dpkg-source --no-check -x qemu_*.dsc tree >/dev/null
cd tree

# Each response of the emulated NSM through the hook; the two places must be there.
cp "$here/qemu-nsm-signer.h" hw/virtio/
sed -i -e '/^static void handle_input(VirtIODevice \*vdev, VirtQueue \*vq)$/i #include "qemu-nsm-signer.h"\n' \
    -e '/^    sz = iov_from_buf(in_elem->in_sg, in_elem->in_num, 0, res.iov_base,$/i \    eml_test_sign(\&res);' hw/virtio/virtio-nsm.c
sed -i 's/^#include "qemu\/iov.h"$/&\n#include "qemu\/error-report.h"\n#include "qemu\/cutils.h"/' hw/virtio/virtio-nsm.c
[ "$(grep -c -e '"qemu-nsm-signer.h"' -e 'eml_test_sign(&res)' hw/virtio/virtio-nsm.c)" = 2 ] ||
    fail 'the source is not what the hook expects'

mkdir build
cd build
echo CONFIG_NITRO_ENCLAVE=y >../configs/devices/x86_64-softmmu/nitro.mak
# --python: one that is earlier on PATH does not see Debian's meson. Without libcbor, gnutls, fdt or vhost-user the machine is
# silently left out.
../configure --python=/usr/bin/python3 --target-list=x86_64-softmmu --without-default-features --without-default-devices \
    --with-devices-x86_64=nitro --enable-system --enable-tcg --enable-gnutls --enable-libcbor --enable-vhost-user \
    --enable-fdt=system --disable-docs --disable-tools --disable-user --disable-install-blobs --disable-werror \
    >configure.log 2>&1 || { tail -30 configure.log >&2; exit 1; }
nice -n 10 ninja -j"$(nproc)" qemu-system-x86_64 >build.log 2>&1 || { tail -30 build.log >&2; exit 1; }
mkdir -p "$out/bin" "$out/share/qemu"
install -s qemu-system-x86_64 "$out/bin/"
for f in qboot.rom bios-microvm.bin linuxboot_dma.bin linuxboot.bin pvh.bin kvmvapic.bin; do
    for d in /usr/share/qemu /usr/share/seabios; do
        [ ! -e "$d/$f" ] || { cp -L "$d/$f" "$out/share/qemu/" && break; }
    done
done
"$out/bin/qemu-system-x86_64" -M help | grep -q '^nitro-enclave' || fail 'no nitro-enclave machine'
cd "$out"
rm -rf src
echo "$stamp" >stamp
