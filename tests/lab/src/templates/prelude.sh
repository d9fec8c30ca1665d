#!/bin/sh
# PID 1 of @NAME@: it gives the machine its own /run, /var/log and /var/lib and keeps its services
# running. Everything here ends, mounts included, when this process ends.
set -eu
PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rshared /
mount -t tmpfs -o mode=755,nosuid tmpfs /run
mkdir /run/bin /run/lab /run/lock /run/netns
mount --bind @PROGRAMS@ /run/bin
mount --bind @STATE@ /run/lab
mount --bind @HOME@/log /var/log
mount --bind @HOME@/lib /var/lib
mount --bind /var/lib/grampus/resolv.conf /etc/resolv.conf
mount --bind /var/lib/grampus/boot_id /proc/sys/kernel/random/boot_id
hostname @NAME@

# As an init system would: a service that ends is started again.
keep() {
    name=$1
    shift
    while :; do
        "$@" >>"/var/log/$name.log" 2>&1 || true
        echo "lab: $name ended, starting it again" >>"/var/log/$name.log"
        sleep 1
    done
}

