#!/bin/sh
# The image built a second time, from the sources alone, in a folder of another name, by a user with another mask, locale and time
# zone: it must be the same file. The kernel, whose build takes long, is taken as it is.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
other=$(mktemp -d "${TMPDIR:-/tmp}/a folder of another name XXXXXX")
trap 'rm -rf "$other"' EXIT
mkdir "$other/source"
(cd "$root" && tar -cf - --exclude=./build --exclude='./build-*' --exclude=./.git .) | (cd "$other/source" && tar -xf -)
(
    umask 077
    cd "$other/source"
    LC_ALL=C.UTF-8 TZ=Asia/Tokyo SOURCE_DATE_EPOCH=1234567890 tools/image/build.sh --kernel "$EML_KERNEL"
)
diff "$root/build/eif/eml.pcrs.json" "$other/source/build/eif/eml.pcrs.json"
cmp "$root/build/eif/eml.eif" "$other/source/build/eif/eml.eif"
echo "two builds, one image: $(sha256sum "$root/build/eif/eml.eif" | cut -c1-64)"
