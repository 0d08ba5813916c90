#!/bin/sh
# usage: bundle-host.sh BUILD OUT.tar.gz [IMAGE.eif]: the host's release archive out of a build folder.
# Holds eml-hostd, eml and eml-eif with the libraries and loader they were linked with, so that they run on a distribution with
# other ones (Amazon Linux has nitro-cli, the programs are built on Debian), and this folder. Same input, same bytes.
set -eu
[ $# = 2 ] || [ $# = 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
build=$1 out=$2 image=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/bin" "$tree/lib" "$tree/libexec"
for program in host/eml-hostd client/cli/eml tools/eif/eml-eif; do
    name=$(basename "$program")
    install -s -m 0755 "$build/$program" "$tree/libexec/$name"
    ldd "$build/$program" | awk '{for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i}' | while read -r lib; do
        [ -e "$tree/lib/$(basename "$lib")" ] || install -m 0755 "$lib" "$tree/lib/"
    done
    cat >"$tree/bin/$name" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/..
exec "\$here/lib/ld-linux-x86-64.so.2" --library-path "\$here/lib" --argv0 $name "\$here/libexec/$name" "\$@"
WRAPPER
    chmod 0755 "$tree/bin/$name"
done
cp -r "$here" "$tree/deploy"
[ -z "$image" ] || install -m 0644 "$image" "$tree/enclave.eif"
tar -C "$tree" --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w --mtime="@${SOURCE_DATE_EPOCH:-0}" -cf - . | gzip -9n >"$out"
sha256sum "$out"
