#!/bin/busybox sh
# The first process of a guest: loads modules, runs the demo and the live tests, and reports on the second serial port. The
# first one belongs to the kernel, so that nothing it says comes in between.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Nothing is mounted there: a checkout may lie below it, and with it the programs under test.
mkdir -p /tmp
chmod 1777 /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

stty -F /dev/ttyS1 raw
exec </dev/null >/dev/ttyS1 2>&1

# Name and arguments of a part; its lines lie between two of these marks, the second one with its exit status.
part() {
    name=$1
    shift
    echo "@guest begin $name"
    "$@"
    echo "@guest end $name $?"
}

# What /etc/modules asks for, in its order; says what could not be had.
load_modules() {
    while read -r what module; do
        if [ "$what" != load ]; then
            # Some are not even listed among those built in, but show themselves.
            [ -d "/sys/module/$module" ] && what=builtin
            echo "$what $module"
        elif insmod "/lib/modules/$module.ko"; then
            echo "loaded $module"
        else
            echo "refused $module"
        fi
    done </etc/modules
}

# The live tests with these arguments; what they print is kept too.
live() (
    set -o pipefail
    "@LIVE@" "$@" 2>&1 | tee -a /tmp/live
)

# The tests that failed, as libtest lists them at the end.
failed() {
    sed -n '/^failures:$/,$ s/^    \([a-z0-9_:]*\)$/\1/p' /tmp/live | sort -u
}

part kernel uname -r
part modules load_modules
part doctor "@FINWAIT@" doctor
part demo "@FINWAIT@" demo
export FINWAIT_ROWS=/tmp/rows
mkdir "$FINWAIT_ROWS"
part live live --show-output @TESTS@
if [ -n "@ALONE@" ]; then
    part alone live --show-output --test-threads=1 --exact @ALONE@
fi
again=$(failed)
if [ -n "$again" ]; then
    # Names have no blanks: every word is one.
    part again live --show-output --test-threads=1 --exact $again
fi
part rows sh -c 'cat "$FINWAIT_ROWS"/*'
sync
poweroff -f
