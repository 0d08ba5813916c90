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
# Of backports only meson is taken: Debian 12's is too old for QEMU 10.
"$here/../../tools/debian-suite.sh" deb bookworm-backports
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends gcc libc6-dev make pkg-config ninja-build bison flex python3 \
    python3-venv python3-pip python3-setuptools zlib1g-dev libglib2.0-dev libgnutls28-dev libcbor-dev libfdt-dev \
    meson/bookworm-backports qemu-system-data >/dev/null || fail 'apt-get cannot install what QEMU is built with'

rm -rf "$out/src" "$out/stamp"
"$here/../../tools/debian-source.sh" qemu "$out/src"
cd "$out/src/qemu"

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
