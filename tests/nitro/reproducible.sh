#!/bin/sh
# reproducible.sh [kernel]: the image built a second time, from the sources alone, in a folder of another name, by a user with
# another mask, locale, time zone and compiler flags: it must be the same file. The kernel, whose build takes long, is taken as it is
# unless asked for.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
case ${1:-} in
kernel) name=another-folder kernel="" ;; # Linux does not build in a folder with spaces
*) name="a folder of another name" kernel=$EML_KERNEL ;;
esac
other=$(mktemp -d "${TMPDIR:-/tmp}/$name-XXXXXX")
trap 'rm -rf "$other"' EXIT
mkdir "$other/source"
(cd "$root" && tar -cf - --exclude=./build --exclude='./build-*' --exclude=./.git .) | (cd "$other/source" && tar -xf -)
(
    umask 077
    export CFLAGS=-O1 LC_ALL=C.UTF-8 TZ=Asia/Tokyo SOURCE_DATE_EPOCH=1234567890
    cd "$other/source"
    tools/image/build.sh ${kernel:+--kernel "$kernel"}
)
if [ -z "$kernel" ]; then
    cmp "$EML_KERNEL" "$other/source/build/kernel/bzImage"
    echo "two builds, one kernel: $(sha256sum "$EML_KERNEL" | cut -c1-64)"
fi
diff "$root/build/eif/eml.pcrs.json" "$other/source/build/eif/eml.pcrs.json"
cmp "$root/build/eif/eml.eif" "$other/source/build/eif/eml.eif"
echo "two builds, one image: $(sha256sum "$root/build/eif/eml.eif" | cut -c1-64)"
