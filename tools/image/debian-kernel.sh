#!/bin/sh
# debian-kernel.sh OUT_DIR: Debian's own kernel for virtual machines (linux-image-6.12-cloud-amd64) instead of one built here:
# OUT_DIR/bzImage, OUT_DIR/modules/*.ko (what init.c loads), OUT_DIR/cmdline and OUT_DIR/kernel.json. The package is unpacked, not
# installed. Nothing is done when OUT_DIR holds the result for the same package.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9>"$out/lock"
flock 9 # who comes second finds it done
"$here/../setup-debian.sh" xz-utils
meta=linux-image-6.12-cloud-amd64
package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
version=$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: //p')
if [ -z "$package" ] || [ -z "$version" ]; then
    echo "kernel: apt does not know $meta" >&2
    exit 1
fi
stamp="$package $version $(cat "$here/debian-kernel.sh" "$here/cmdline" | sha256sum | cut -c1-64)"
if [ -f "$out/bzImage" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
rm -rf "$out/tree" "$out/modules" "$out/stamp"
mkdir "$out/tree" "$out/modules"
(cd "$out/tree" && apt-get -o Acquire::Retries=3 -qq download "$package=$version" 2>/dev/null) || {
    echo "kernel: apt-get cannot download $package" >&2
    exit 1
}
dpkg-deb -x "$out"/tree/*.deb "$out/tree"
# A module's signature is over the module as it was before it was compressed; the kernel has no decompressor in early boot.
for m in drivers/virtio/virtio_mmio net/vmw_vsock/vsock net/vmw_vsock/vmw_vsock_virtio_transport_common \
    net/vmw_vsock/vmw_vsock_virtio_transport drivers/misc/nsm; do
    xz -dc "$out"/tree/lib/modules/*/kernel/$m.ko.xz >"$out/modules/${m##*/}.ko"
done
cp "$out"/tree/boot/vmlinuz-* "$out/bzImage"
cp "$out"/tree/boot/config-* "$out/config"
# What kernel.config has built in, as far as words can say it: the modules above are signed by Debian, and load before PID 1 ends
# loading for good.
printf '%s %s\n' "$(cat "$here/cmdline")" 'lockdown=confidentiality init_on_free=1 slab_nomerge vsyscall=none' >"$out/cmdline"
printf '{"name": "linux", "version": "%s", "release": "%s", "config_sha256": "%s"}\n' "$version" "${package#linux-image-}" \
    "$(sha256sum "$out/config" | cut -c1-64)" >"$out/kernel.json"
rm -rf "$out/tree"
echo "$stamp" >"$out/stamp"
