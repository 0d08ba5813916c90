#!/bin/sh
# build.sh [--kernel FILE] [--libc musl] [--config DIR] [--region REGION] [--output DIR]: the enclave image from source.
#
#   DIR/eml.eif        the image                DIR/eml.pcrs.json  its measurements
#   DIR/eml.spdx.json  what is in it, and of what packages it was made
#
# --kernel: a bzImage, or "debian": Debian's stock cloud kernel with the modules that it needs, in build/eif-debian.
# --libc musl: the program with musl and without intel-ipsec-mb, in build/eif-musl.
# Two ramdisks: the program and its mount points (PCR1, with kernel and command line), and the configuration (PCR2). --config
# takes a folder in place of the production configuration: KMS of the region, under Amazon's roots.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
kernel="" config="" region=us-east-1 output="" libc="" cmdline=$here/cmdline
while [ $# -gt 0 ]; do
    case $1 in
    --kernel) kernel=$2 ;;
    --libc) libc=$2 ;;
    --config) config=$2 ;;
    --region) region=$2 ;;
    --output) output=$2 ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
[ -n "$output" ] || output=$root/build/eif$([ "$kernel" != debian ] || echo -debian)${libc:+-$libc}
umask 022
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
unset CFLAGS CPPFLAGS LDFLAGS # they would be in the program
mkdir -p "$output"
output=$(cd "$output" && pwd)
boot=$output/boot
rm -rf "$boot" "$output/config"
mkdir -p "$boot/dev" "$boot/proc" "$boot/sys" "$output/config/etc"

if [ -z "$kernel" ]; then
    kernel=$root/build/kernel/bzImage
    "$here/build-kernel.sh" "$root/build/kernel"
elif [ "$kernel" = debian ]; then
    "$here/debian-kernel.sh" "$root/build/kernel-debian"
    kernel=$root/build/kernel-debian/bzImage cmdline=$root/build/kernel-debian/cmdline
    cp -R "$root/build/kernel-debian/modules" "$boot/"
fi
(cd "$root" && cmake --preset image >"$output/build.log" && cmake --build --preset image >>"$output/build.log") || {
    tail -30 "$output/build.log" >&2
    exit 1
}
program=$root/build/image/enclave/eml-enclaved
case $libc in
'') ;;
musl)
    "$here/musl.sh" "$root/build/musl"
    (cd "$root" && cmake --preset image-musl >"$output/build.log" && cmake --build --preset image-musl >>"$output/build.log") || {
        tail -30 "$output/build.log" >&2
        exit 1
    }
    program=$root/build/image-musl/enclave/eml-enclaved
    ;;
*) echo "build.sh: no C library '$libc'" >&2; exit 2 ;;
esac
strip --strip-all --remove-section=.comment --remove-section=.note.gnu.build-id -o "$boot/init" "$program"

if [ -n "$config" ]; then
    cp -R "$config/." "$output/config"
else
    # Amazon Trust Services' roots, the same bytes whichever version of the package has them.
    (cd /usr/share/ca-certificates/mozilla && cat Amazon_Root_CA_1.crt Amazon_Root_CA_2.crt Amazon_Root_CA_3.crt \
        Amazon_Root_CA_4.crt Starfield_Services_Root_Certificate_Authority_-_G2.crt) >"$output/config/etc/kms-ca.pem"
    echo "dfaa39c0350288ded35812f7b80f76c4a422b97ecc04c4ac84e325bec528b1b8  $output/config/etc/kms-ca.pem" | sha256sum --check --quiet >&2
    cp "$here/eml-enclaved.options" "$output/config/etc/"
    printf '%s\n' --kms-ca=/etc/kms-ca.pem "--kms-endpoint=kms.$region.amazonaws.com:443" \
        >>"$output/config/etc/eml-enclaved.options"
fi
"$root/build/image/tools/eif/eml-eif" build --kernel "$kernel" --cmdline-file "$cmdline" --ramdisk "$boot" \
    --ramdisk "$output/config" --output "$output/eml.eif" >"$output/eml.pcrs.json"
python3 "$here/sbom.py" --image "$output/eml.eif" --pcrs "$output/eml.pcrs.json" --kernel "$kernel" \
    --program-map "$program.map" ${libc:+--built "$root/build/$libc/packages.json"} "$boot" "$output/config" >"$output/eml.spdx.json"
