#!/bin/sh
# usage: install.sh --region R --bucket B --log-group G --cpus N --memory MIB [--root DIR]
# Sets this host up from the release archive unpacked in /opt/ephemeralml. --root: into DIR, and nothing is started.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
region='' bucket='' log_group='' cpus='' memory='' root=''
while [ $# -ge 2 ]; do
    case $1 in
    --region) region=$2 ;;
    --bucket) bucket=$2 ;;
    --log-group) log_group=$2 ;;
    --cpus) cpus=$2 ;;
    --memory) memory=$2 ;;
    --root) root=$2 ;;
    *) break ;;
    esac
    shift 2
done
for value in "$region" "$bucket" "$log_group" "$cpus" "$memory"; do
    if [ $# != 0 ] || [ -z "$value" ]; then
        sed -n '2s/^# //p' "$0" >&2
        exit 2
    fi
done

fill() {
    sed -e "s|@REGION@|$region|g" -e "s|@BUCKET@|$bucket|g" -e "s|@LOG_GROUP@|$log_group|g" -e "s|@CPUS@|$cpus|g" \
        -e "s|@MEMORY_MIB@|$memory|g" -e "s|@HOST@|$(uname -n)|g" "$1" >"$2"
}
etc=$root/etc/ephemeralml
mkdir -p "$etc" "$root/etc/nitro_enclaves" "$root/etc/systemd/system" "$root/etc/sysusers.d" "$root/etc/logrotate.d"
fill "$here/etc/hostd.env" "$etc/hostd.env"
fill "$here/etc/enclave.env" "$etc/enclave.env"
fill "$here/etc/cloudwatch-agent.json" "$etc/cloudwatch-agent.json"
fill "$here/etc/allocator.yaml" "$root/etc/nitro_enclaves/allocator.yaml"
fill "$here/etc/prometheus-agent.yml" "$etc/prometheus-agent.yml"
cp "$here/etc/sysusers.conf" "$root/etc/sysusers.d/ephemeralml.conf"
cp "$here/etc/logrotate.conf" "$root/etc/logrotate.d/ephemeralml"
cp "$here"/systemd/*.service "$here"/systemd/*.timer "$root/etc/systemd/system/"
[ -z "$root" ] || exit 0

systemd-sysusers
install -d -m 0755 -o ephemeralml -g ephemeralml /var/lib/ephemeralml /var/lib/ephemeralml/images
systemctl daemon-reload
systemctl enable --now nitro-enclaves-allocator.service
systemctl enable --now eml-credentials.timer eml-sync.timer eml-hostd.service eml-enclave.service
/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$etc/cloudwatch-agent.json"
if [ -r /opt/ephemeralml/enclave.eif ]; then
    PATH=/opt/ephemeralml/bin:/opt/ephemeralml/deploy/bin:$PATH run-enclave install /opt/ephemeralml/enclave.eif
fi
