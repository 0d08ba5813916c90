#!/bin/sh
# debian-source.sh PACKAGE DIR: unpacks the source of Debian's PACKAGE as in trixie, with Debian's patches, into DIR/PACKAGE. A suite
# added to apt's sources for source packages changes nothing about which packages get installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$1 dir=$2
"$here/setup-debian.sh" dpkg-dev
"$here/debian-suite.sh" deb-src trixie
rm -rf "${dir:?}/$package" "$dir/fetched"
mkdir -p "$dir/fetched"
(cd "$dir/fetched" && apt-get -o Acquire::Retries=5 source -qq --download-only "$package/trixie" 2>apt.log) || {
    cat "$dir/fetched/apt.log" >&2
    echo "source of $package: apt-get cannot fetch it" >&2
    exit 1
}
# Debian 12's keyring may lack trixie's uploader; apt has checked the files against the signed index.
dpkg-source --no-check -x "$dir/fetched/$package"_*.dsc "$dir/$package" >/dev/null
