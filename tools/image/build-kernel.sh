#!/bin/sh
# build-kernel.sh OUT_DIR: OUT_DIR/bzImage from Debian's linux-source-6.12 and kernel.config, the same bytes wherever it is
# built; OUT_DIR/kernel.json says what went in. Nothing is done when OUT_DIR holds the result for the same input.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/lock"
flock 9 # who comes second finds it done
"$here/../setup-debian.sh" linux-source-6.12 bc flex bison libelf-dev binutils
version=$(dpkg-query -W -f='${Version}' linux-source-6.12)
compiler=$(gcc -dumpfullversion)-$(dpkg-query -W -f='${Version}' binutils)
input=$(cat "$here/kernel.config" "$here/build-kernel.sh" | sha256sum | cut -c1-64)
stamp="$version $compiler $input"
if [ -f "$out/bzImage" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
echo "kernel: building Linux $version in $out (some minutes; kept for later)" >&2
rm -rf "$out/linux" "$out/stamp"
mkdir "$out/linux"
tar -xf /usr/src/linux-source-6.12.tar.xz -C "$out/linux" --strip-components=1
cd "$out/linux"
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=eml KBUILD_BUILD_HOST=eml KBUILD_BUILD_VERSION=1
export LC_ALL=C TZ=UTC
make -s KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig >/dev/null
# An option that a dependency took away, or one that something else selected, must not pass unseen.
wrong=0
grep -E '^CONFIG_' "$here/kernel.config" | while IFS= read -r line; do
    name=${line%%=*}
    if [ "${line#*=}" = n ]; then
        ! grep -q "^$name=" .config || { echo "kernel: $name is on" >&2; wrong=1; }
    else
        grep -qxF "$line" .config || { echo "kernel: $line did not take" >&2; wrong=1; }
    fi
    [ "$wrong" = 0 ] || echo wrong >"$out/wrong"
done
if [ -f "$out/wrong" ]; then
    rm -f "$out/wrong"
    exit 1
fi
nice -n 10 make -s -j"$(nproc)" bzImage >"$out/build.log" 2>&1 || { tail -30 "$out/build.log" >&2; exit 1; }
cp arch/x86/boot/bzImage "$out/bzImage"
cp .config "$out/config"
printf '{"name": "linux", "version": "%s", "release": "%s", "config_sha256": "%s"}\n' "$version" \
    "$(make -s kernelrelease)" "$(sha256sum .config | cut -c1-64)" >"$out/kernel.json"
cd "$out"
rm -rf linux
echo "$stamp" >stamp
