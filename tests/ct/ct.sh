#!/bin/sh
# usage: ct.sh PROGRAM: every case of ct.c or engine.c under memcheck. Those that leak must be reported, the others not.
set -eu
program=$1 failed=0
for name in $("$program"); do
    status=0
    out=$(valgrind -q --error-exitcode=99 --expensive-definedness-checks=yes --suppressions="$(dirname "$0")/outcomes.supp" "$program" "$name" 2>&1) || status=$?
    case $name in
    leak-*) wanted=99 ;;
    *) wanted=0 ;;
    esac
    if [ "$status" = "$wanted" ]; then
        echo "ok   $name"
    else
        echo "FAIL $name: status $status, wanted $wanted"
        echo "$out"
        failed=1
    fi
done
exit $failed
