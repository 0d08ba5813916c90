#!/bin/sh
# debian-suite.sh deb|deb-src SUITE: sees to it that apt knows the suite as it is now, from the mirror that it uses here already.
set -eu
case $1 in
deb) index=Packages ;;
deb-src) index=Sources ;;
*) echo "usage: debian-suite.sh deb|deb-src SUITE" >&2; exit 2 ;;
esac
# shellcheck disable=SC2016 # apt's own variables
known=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)')
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
if ! echo "$known" | grep -q "^$index $2 "; then
    mirror=$(echo "$known" | sed -n 's|^Packages [^ ]* \(.*/debian/*\)$|\1|p' | head -n 1)
    [ -n "$mirror" ] || { echo "apt: $2 is needed, and there is no Debian mirror among apt's sources" >&2; exit 1; }
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\n%s\n' "$1" "$mirror" "$2" \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' | $sudo tee "/etc/apt/sources.list.d/eml-$2-$1.sources" >/dev/null
fi
$sudo apt-get -o Acquire::Retries=5 update -qq || { echo "apt-get update failed; $2 is needed of it" >&2; exit 1; }
